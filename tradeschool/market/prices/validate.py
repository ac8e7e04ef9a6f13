"""The rules that the rows of one ticker must hold, and its bars once they do.

What the finished bars must hold in order of time is checked in ``padding.py`` and ``moves.py``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from tradeschool.errors import DataError
from tradeschool.market.calendar import BUSINESS_DAYS
from tradeschool.market.findings import MAX_PER_RULE, Report
from tradeschool.market.panel import Floats
from tradeschool.market.prices.parse import Bools, Days, Rows
from tradeschool.market.prices.read import COLUMNS, PRICES

ROUNDING = 1e-4
"""Open or close outside the day's range by up to this share of the price is rounding, and repaired."""
SMALLEST_PRICE, LARGEST_PRICE, LARGEST_VOLUME = 1e-9, 1e12, 1e18
Splits = Literal["refuse", "accept"]
Spikes = Literal["refuse", "leave_out"]


@dataclass(frozen=True)
class Options:
    """How prices become bars.

    Attributes:
        adjust: where there is an Adj Close, multiply prices by Adj Close / Close and divide the volume by it, so that
            price times volume stays the money that was traded.
        splits: whether a split that prices are not adjusted for is an error, or a warning about a real move.
        spikes: whether a bar that is far from both of its neighbours is an error, or left out with a warning.
        accept: ticker and day, like "ABC 2016-01-04", of what would be refused although it is real.
        every: keep every finding, not the first ones of each rule.
        exchange: compare the dates with this exchange's calendar.
    """

    adjust: bool = True
    splits: Splits = "refuse"
    spikes: Spikes = "refuse"
    accept: frozenset[str] = frozenset()
    every: bool = False
    exchange: str | None = None

    @property
    def most(self) -> float:
        """The largest number of findings of one rule in one file that are kept one by one."""
        return float("inf") if self.every else MAX_PER_RULE


def accepted(entries: Sequence[str]) -> frozenset[str]:
    """Checked entries like ``ABC 2016-01-04``; a DataError if an entry has another form."""
    for entry in entries:
        if not re.fullmatch(r"\S.* \d{4}-\d{2}-\d{2}", entry):
            raise DataError(f"accept: '{entry}' is not a ticker and a day. Write it like 'ABC 2016-01-04'.")
    return frozenset(entries)


@dataclass(frozen=True)
class History:
    """The checked daily bars of one ticker.

    Attributes:
        dates_T: traded days, ascending.
        bars: open, high, low, close and volume, each [T].
        rows_T: where each bar is in the file.
        factor_T: what prices were multiplied by; 1 where they were not adjusted.
        report: receives the findings about the file.
        options: how prices become bars.
        has_adj_close: whether the file has an Adj Close, used or not.
        frequency: bars a year, days without trading included; None where there is no regular step.
    """

    ticker: str
    dates_T: Days
    bars: dict[str, Floats]
    rows_T: Rows
    factor_T: Floats
    report: Report
    options: Options
    has_adj_close: bool = False
    frequency: int | None = BUSINESS_DAYS

    def take(self, chosen: Any) -> "History":
        """The bars of a mask or an index."""
        bars = {name: value_T[chosen] for name, value_T in self.bars.items()}
        arrays = {name: getattr(self, name)[chosen] for name in ("dates_T", "rows_T", "factor_T")}
        return replace(self, bars=bars, **arrays)

    @cached_property
    def usual_move(self) -> float:
        """A robust standard deviation of the log returns."""
        return float(1.4826 * np.median(np.abs(np.diff(np.log(self.bars["close"])))))

    @property
    def shares_T(self) -> Floats:
        """The volume as it is in the file."""
        return self.bars["volume"] * self.factor_T

    def price_in_file(self, name: str, i: int) -> float:
        """A price of bar ``i`` before the adjustment."""
        return float(self.bars[name][i]) / float(self.factor_T[i])

    def is_accepted(self, i: int) -> bool:
        """Whether the options accept what would be refused about bar ``i``."""
        return f"{self.ticker} {self.dates_T[i]}" in self.options.accept

    def warn(self, i: int, rule: str, value: str, cure: str, kind: str = "") -> None:
        """Report a warning about bar ``i``."""
        self.report.warning(int(self.rows_T[i]), rule, value, cure, kind)

    def refuse(self, i: int, rule: str, value: str, cure: str, kind: str = "") -> None:
        """Report an error about bar ``i``, or an info if it is accepted."""
        row, entry = int(self.rows_T[i]), f"{self.ticker} {self.dates_T[i]}"
        if self.is_accepted(i):
            self.report.info(f"accepted as real: {kind or rule}", f"row {row}, {value}", kind="accepted as real")
            return
        accept = f"If it is real, accept it: market.accept: ['{entry}'] in a recipe, --accept '{entry}' in data check."
        self.report.error(row, rule, value, f"{cure} {accept}", kind)

    def locate(self) -> None:
        """Name the ticker and the days of the findings about its bars."""
        self.report.locate(self.ticker, self.rows_T, self.dates_T)


@dataclass(frozen=True)
class TickerRows:
    """The rows of one ticker as they are in a file.

    Attributes:
        rows_T: line or record numbers in the file.
        dates_T: NaT where they cannot be read.
        columns: prices and Volume by name; NaN in blank cells, inf in cells that hold no number and have an error.
    """

    rows_T: Rows
    dates_T: Days
    columns: Mapping[str, Floats]

    def take(self, chosen: Any) -> "TickerRows":
        """The rows of a mask, an index or a slice."""
        columns = {name: value_T[chosen] for name, value_T in self.columns.items()}
        return TickerRows(self.rows_T[chosen], self.dates_T[chosen], columns)


class BrokenRule(NamedTuple):
    """A rule and the rows that break it; ``shown`` are the columns whose values a finding names."""

    broken_T: Bools
    rule: str
    shown: tuple[str, ...]
    cure: str


def blank_rows(columns: Mapping[str, Floats]) -> Bools:
    """The rows in which every price is blank."""
    prices_FT = np.array([columns[name] for name in COLUMNS if name in columns and name != "Volume"])
    return np.asarray(np.isnan(prices_FT).all(axis=0))


def is_sound(columns: Mapping[str, Floats]) -> bool:
    """Whether every cell is filled and no rule of :func:`broken_rules` can be broken: a quick test most files pass.

    Prices outside the day's range by rounding, and unknown volumes, are left to the rules.
    """
    o, h, low, c, volume_T = (columns[name] for name in (*PRICES, "Volume"))
    adj_close_T = columns.get("Adj Close", c)
    # Comparisons with NaN are false.
    return bool(
        low.min() >= SMALLEST_PRICE
        and h.max() <= LARGEST_PRICE
        and SMALLEST_PRICE <= adj_close_T.min() <= adj_close_T.max() <= LARGEST_PRICE
        and 0 <= volume_T.min() <= volume_T.max() <= LARGEST_VOLUME
        and ((np.minimum(o, c) >= low) & (np.maximum(o, c) <= h)).all()
    )


def broken_rules(columns: Mapping[str, Floats]) -> Iterator[BrokenRule]:
    """Every rule about the rows of a ticker, with the rows that break it.

    A row without any price can only break those of the volume. A new rule is one more ``yield``.

    Args:
        columns: prices and Volume by name; NaN in blank cells, inf in cells that hold no number and have an error.
    """
    names = tuple(name for name in COLUMNS if name in columns and name != "Volume")
    o, h, low, c, volume_T = (columns[name] for name in (*PRICES, "Volume"))
    fill = "Fill them, or empty the whole row."
    partly_T = np.isnan([columns[name] for name in names]).any(axis=0) & ~blank_rows(columns)
    yield BrokenRule(partly_T, "some prices are empty, others are not", names, fill)
    cure = "Correct it, or leave it empty."
    yield BrokenRule(volume_T < 0, "the volume is negative", ("Volume",), cure)
    large_T = (volume_T > LARGEST_VOLUME) & np.isfinite(volume_T)
    yield BrokenRule(large_T, "the volume is not plausible", ("Volume",), cure)
    cure = "Correct it, or empty the row's prices."
    sane_T = np.isfinite([columns[name] for name in names]).all(axis=0)
    for name in names:
        price_T = columns[name]
        odd_T = (price_T > 0) & ((price_T < SMALLEST_PRICE) | (price_T > LARGEST_PRICE)) & np.isfinite(price_T)
        yield BrokenRule(price_T <= 0, f"{name} is zero or negative", (name,), cure)
        yield BrokenRule(odd_T, f"{name} is not a plausible price", (name,), cure)
        sane_T &= (price_T > 0) & ~odd_T
    slack_T = np.where(sane_T, ROUNDING * c, 0.0)
    below_T = sane_T & (h < low - slack_T)
    outside_T = sane_T & ~below_T & ((np.maximum(o, c) > h + slack_T) | (np.minimum(o, c) < low - slack_T))
    swapped = "Correct the row, or the header if columns are swapped."
    yield BrokenRule(below_T, "the high is below the low", ("High", "Low"), swapped)
    yield BrokenRule(outside_T, "open or close is outside the day's high and low", PRICES, "Correct the row.")
