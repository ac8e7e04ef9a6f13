"""The rules that a ticker's rows must hold, and the one repair that is certain: rounding."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.finding import Report
from tradeschool.market.panel import Floats
from tradeschool.market.prices.cells import Bools, Numbers
from tradeschool.market.prices.dates import Days
from tradeschool.market.prices.layout import PRICES

ROUNDING = 1e-4
"""Open or close outside the day's range by up to this share of the price is rounding and mended; more is an error."""
SMALLEST_PRICE, LARGEST_PRICE, LARGEST_VOLUME = 1e-9, 1e12, 1e18
_Rule = tuple[Bools, str, tuple[str, ...], str]


@dataclass(frozen=True)
class Raw:
    """The rows of one ticker as they stand in the file."""

    ticker: str
    rows_T: NDArray[np.int64]
    dates_T: Days
    columns: dict[str, Numbers]

    @property
    def prices(self) -> tuple[str, ...]:
        """The columns of prices that there are."""
        return tuple(name for name in (*PRICES, "Adj Close") if name in self.columns)

    def take(self, chosen: Any, ticker: str | None = None) -> "Raw":
        """The rows of a slice, a mask or an index."""
        columns = {name: column.take(chosen) for name, column in self.columns.items()}
        return Raw(self.ticker if ticker is None else ticker, self.rows_T[chosen], self.dates_T[chosen], columns)


def check_prices(raw: Raw, report: Report) -> None:
    """Report every row that breaks a rule. A row without any price breaks none but the volume's."""
    if _clean(raw):
        return
    values = {name: column.values_T for name, column in raw.columns.items()}
    for broken_T, rule, shown, cure in (*_volume_rules(raw), *_price_rules(raw)):
        at = np.flatnonzero(broken_T)
        texts = (", ".join(f"{name} {values[name][i]:g}" for name in shown) for i in at)
        report.error_each(raw.rows_T[at], rule, texts, cure)


def mended(raw: Raw, report: Report) -> dict[str, Floats]:
    """The values with high and low widened by rounding, where needed; unknown volumes are counted."""
    values = {name: column.values_T for name, column in raw.columns.items()}
    o, h, low, c = (values[name] for name in PRICES)
    high_T, low_T = np.maximum(np.maximum(o, c), h), np.minimum(np.minimum(o, c), low)
    kind = f"high or low was widened by at most {ROUNDING:.2%} to hold open and close"
    report.counted(
        raw.rows_T[(high_T > h) | (low_T < low)], f"{raw.ticker}'s {kind}", "Nothing to do: this is rounding.", kind
    )
    kind = "rows without a volume"
    unknown_T = np.isnan(values["Volume"])
    report.counted(raw.rows_T[unknown_T], f"{raw.ticker} has {kind}", "Nothing to do: it counts as unknown.", kind)
    return values | {"High": high_T, "Low": low_T}


def _clean(raw: Raw) -> bool:
    """Whether no rule can be broken: the common case, told in few passes. NaN is never clean."""
    o, h, low, c, volume = (raw.columns[name].values_T for name in (*PRICES, "Volume"))
    adjusted = raw.columns["Adj Close"].values_T if "Adj Close" in raw.columns else c
    return bool(
        low.min() >= SMALLEST_PRICE
        and h.max() <= LARGEST_PRICE
        and adjusted.min() >= SMALLEST_PRICE
        and adjusted.max() <= LARGEST_PRICE
        and volume.min() >= 0
        and volume.max() <= LARGEST_VOLUME
        and (np.minimum(o, c) >= low).all()
        and (np.maximum(o, c) <= h).all()
    )


def _volume_rules(raw: Raw) -> Iterator[_Rule]:
    volume_T = raw.columns["Volume"].values_T
    cure = "Correct it, or leave it empty."
    # A cell that is no number has its own finding, so here it is not called empty.
    blank_PT = np.array([raw.columns[name].blank_T for name in raw.prices])
    partly_T = np.any(blank_PT, axis=0) & ~np.all(blank_PT, axis=0)
    yield partly_T, "some prices are empty, others are not", raw.prices, "Fill them, or empty the whole row."
    yield volume_T < 0, "the volume is negative", ("Volume",), cure
    yield volume_T > LARGEST_VOLUME, "the volume is not plausible", ("Volume",), cure


def _price_rules(raw: Raw) -> Iterator[_Rule]:
    values = {name: raw.columns[name].values_T for name in raw.prices}
    o, h, low, c = (values[name] for name in PRICES)
    slack_T = ROUNDING * np.abs(c)
    sane_T = np.all([np.isfinite(values[name]) for name in raw.prices], axis=0)
    cure = "Correct it, or empty the row's prices."
    for name in raw.prices:
        bad_T = values[name] <= 0
        odd_T = ~bad_T & ((values[name] < SMALLEST_PRICE) | (values[name] > LARGEST_PRICE))
        yield bad_T, f"{name} is zero or negative", (name,), cure
        yield odd_T, f"{name} is no plausible price", (name,), cure
        sane_T &= ~bad_T & ~odd_T
    below_T: Bools = sane_T & (h < low - slack_T)
    swapped = "Correct the row, or the header if columns are swapped."
    yield below_T, "the high is below the low", ("High", "Low"), swapped
    outside_T: Bools = sane_T & ~below_T & ((np.maximum(o, c) > h + slack_T) | (np.minimum(o, c) < low - slack_T))
    yield outside_T, "open or close lies outside the day's high and low", PRICES, "Correct the row."
