"""The rules that the bars of one ticker must hold.

Row rules look at the columns of a file: a function of :data:`ROW_CHECKS` yields, per rule, the rows that break it. A
new rule is one function there. What the finished bars must hold in order of time is checked in ``padding.py`` and
``moves.py``.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from tradeschool.errors import DataError
from tradeschool.market.findings import MAX_PER_RULE, Report
from tradeschool.market.frequency import BUSINESS_DAYS, Frequency
from tradeschool.market.panel import Floats
from tradeschool.market.prices.parse import Bools, Days, Numbers, Rows
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
        accept: ticker and day of what would be refused although it is real.
        every: keep every finding, not the first ones of each rule.
        exchange: compare the dates with this exchange's calendar.
    """

    adjust: bool = True
    splits: Splits = "refuse"
    spikes: Spikes = "refuse"
    accept: frozenset[tuple[str, str]] = frozenset()
    every: bool = False
    exchange: str | None = None

    @property
    def most(self) -> float:
        """The largest number of findings of one rule in one file that are kept one by one."""
        return float("inf") if self.every else MAX_PER_RULE


def accepted(entries: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Pairs of ticker and day from entries like ``ABC 2016-01-04``.

    Raises:
        DataError: an entry has another form.
    """
    for entry in entries:
        if not re.fullmatch(r"\S.* \d{4}-\d{2}-\d{2}", entry):
            raise DataError(f"accept: '{entry}' is not a ticker and a day. Write it like 'ABC 2016-01-04'.")
    return frozenset((entry[:-11].strip(), entry[-10:]) for entry in entries)


@dataclass(frozen=True)
class TickerRows:
    """The rows of one ticker as they are in the file."""

    ticker: str
    rows_T: Rows
    dates_T: Days
    columns: dict[str, Numbers]

    @property
    def prices(self) -> tuple[str, ...]:
        """The price columns that the file has."""
        return tuple(name for name in COLUMNS if name in self.columns and name != "Volume")

    @property
    def values(self) -> dict[str, Floats]:
        """The numbers of each column, [T]."""
        return {name: column.values_T for name, column in self.columns.items()}

    @property
    def blank_T(self) -> Bools:
        """Rows without any price."""
        blank_T: Bools = np.all([self.columns[name].blank_T for name in self.prices], axis=0)
        return blank_T

    def take(self, chosen: Any) -> "TickerRows":
        """The rows of a slice, a mask or an index."""
        columns = {name: column.take(chosen) for name, column in self.columns.items()}
        return TickerRows(self.ticker, self.rows_T[chosen], self.dates_T[chosen], columns)


@dataclass(frozen=True)
class History:
    """The checked daily bars of one ticker.

    Attributes:
        dates_T: traded days, ascending.
        bars: open, high, low, close and volume, each [T].
        rows_T: where each bar is in the file.
        factor_T: what prices were multiplied by; None where they were not adjusted.
        has_adj_close: whether the file has an Adj Close, used or not.
        frequency: how often a bar comes, days without trading included; None where there is no regular step.
    """

    ticker: str
    dates_T: Days
    bars: dict[str, Floats]
    rows_T: Rows
    file: str = ""
    factor_T: Floats | None = None
    has_adj_close: bool = False
    frequency: Frequency | None = BUSINESS_DAYS

    def take(self, chosen: Any) -> "History":
        """The bars of a mask or an index."""
        return replace(
            self,
            dates_T=self.dates_T[chosen],
            bars={name: value_T[chosen] for name, value_T in self.bars.items()},
            rows_T=self.rows_T[chosen],
            factor_T=None if self.factor_T is None else self.factor_T[chosen],
        )

    @property
    def shares_T(self) -> Floats:
        """The volume as it is in the file."""
        return self.bars["volume"] if self.factor_T is None else self.bars["volume"] * self.factor_T

    def price_in_file(self, name: str, i: int) -> float:
        """A price of bar ``i`` before the adjustment."""
        factor = 1.0 if self.factor_T is None else float(self.factor_T[i])
        return float(self.bars[name][i]) / factor

    def is_accepted(self, i: int, options: Options) -> bool:
        """Whether the options accept what would be refused about bar ``i``."""
        return (self.ticker, str(self.dates_T[i])) in options.accept

    def refuse(
        self, i: int, rule: str, value: str, cure: str, report: Report, options: Options, kind: str = ""
    ) -> None:
        """Report an error about bar ``i``, or an info if it is accepted."""
        row, entry = int(self.rows_T[i]), f"{self.ticker} {self.dates_T[i]}"
        if self.is_accepted(i, options):
            report.info(f"accepted as real: {kind or rule}", f"row {row}, {value}", kind="accepted as real")
            return
        accept = f"If it is real, accept it: market.accept: ['{entry}'] in a recipe, --accept '{entry}' in data check."
        report.error(row, rule, value, f"{cure} {accept}", kind)


class RowRule(NamedTuple):
    """A rule and the rows that break it; ``shown`` are the columns whose values a finding names."""

    broken_T: Bools
    rule: str
    shown: tuple[str, ...]
    cure: str


def check_rows(rows: TickerRows, report: Report) -> None:
    """Report every row that breaks a row rule. A row without any price can only break those of the volume."""
    values = rows.values
    for rule in (one for check in ROW_CHECKS for one in check(rows)):
        at = np.flatnonzero(rule.broken_T)
        texts = (", ".join(f"{name} {values[name][i]:g}" for name in rule.shown) for i in at)
        report.error_each(rows.rows_T[at], rule.rule, texts, rule.cure)


def repair_rounding(rows: TickerRows, report: Report) -> TickerRows:
    """Widen high and low to contain open and close where they differ by rounding, and count unknown volumes."""
    values = rows.values
    o, h, low, c = (values[name] for name in PRICES)
    new = {"High": np.maximum(np.maximum(o, c), h), "Low": np.minimum(np.minimum(o, c), low)}
    kind = f"high or low was widened by at most {ROUNDING:.2%} to contain open and close"
    changed = rows.rows_T[(new["High"] > h) | (new["Low"] < low)]
    report.counted(changed, f"{rows.ticker}'s {kind}", "Nothing to do: this is rounding.", kind)
    kind = "rows without a volume"
    unknown = rows.rows_T[np.isnan(values["Volume"])]
    report.counted(unknown, f"{rows.ticker} has {kind}", "Nothing to do: it counts as unknown.", kind)
    widened = {name: replace(rows.columns[name], values_T=value_T) for name, value_T in new.items()}
    return replace(rows, columns=rows.columns | widened)


def _check_blanks(rows: TickerRows) -> Iterator[RowRule]:
    # A cell that is not a number has its own finding, so it does not count as empty here.
    any_blank_T = np.any([rows.columns[name].blank_T for name in rows.prices], axis=0)
    cure = "Fill them, or empty the whole row."
    yield RowRule(any_blank_T & ~rows.blank_T, "some prices are empty, others are not", rows.prices, cure)


def _check_volume(rows: TickerRows) -> Iterator[RowRule]:
    volume_T = rows.values["Volume"]
    cure = "Correct it, or leave it empty."
    yield RowRule(volume_T < 0, "the volume is negative", ("Volume",), cure)
    yield RowRule(volume_T > LARGEST_VOLUME, "the volume is not plausible", ("Volume",), cure)


def _check_prices(rows: TickerRows) -> Iterator[RowRule]:
    values = rows.values
    o, h, low, c = (values[name] for name in PRICES)
    sane_T = np.all([np.isfinite(values[name]) for name in rows.prices], axis=0)
    cure = "Correct it, or empty the row's prices."
    for name in rows.prices:
        bad_T = values[name] <= 0
        odd_T = ~bad_T & ((values[name] < SMALLEST_PRICE) | (values[name] > LARGEST_PRICE))
        yield RowRule(bad_T, f"{name} is zero or negative", (name,), cure)
        yield RowRule(odd_T, f"{name} is not a plausible price", (name,), cure)
        sane_T &= ~bad_T & ~odd_T
    slack_T = np.where(sane_T, ROUNDING * c, 0.0)
    with np.errstate(over="ignore"):
        below_T: Bools = sane_T & (h < low - slack_T)
        outside_T: Bools = sane_T & ~below_T & ((np.maximum(o, c) > h + slack_T) | (np.minimum(o, c) < low - slack_T))
    swapped = "Correct the row, or the header if columns are swapped."
    yield RowRule(below_T, "the high is below the low", ("High", "Low"), swapped)
    yield RowRule(outside_T, "open or close is outside the day's high and low", PRICES, "Correct the row.")


ROW_CHECKS: tuple[Callable[[TickerRows], Iterator[RowRule]], ...] = (_check_blanks, _check_volume, _check_prices)
