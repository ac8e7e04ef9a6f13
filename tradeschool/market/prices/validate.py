"""The rules that the bars of one ticker must hold.

Row rules look at the columns of a file: a function of :data:`ROW_CHECKS` yields, per rule, the rows that break it.
History checks look at the finished bars in order of time: a function of :data:`HISTORY_CHECKS` reports what it finds.
A new check is one function in one of the two.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.findings import Report
from tradeschool.market.panel import Floats
from tradeschool.market.prices.parse import Bools, Days, Numbers, Rows
from tradeschool.market.prices.read import COLUMNS, PRICES

ROUNDING = 1e-4
"""Open or close outside the day's range by up to this share of the price is rounding, and repaired."""
SMALLEST_PRICE, LARGEST_PRICE, LARGEST_VOLUME = 1e-9, 1e12, 1e18
JUMP = 1.9
"""A close that changes by this factor in a day gets a warning."""
SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 100.0)
"""Shares after a split for one before. A reverse split has the inverse."""
SPLIT_TOLERANCE = 0.05
"""How far the open after a split may be from the close before it divided by the ratio."""
VOLUME_DAYS = 10
"""Days before and after a split whose median volumes are compared."""
Splits = Literal["refuse", "accept"]


@dataclass(frozen=True)
class Options:
    """How prices become bars.

    Attributes:
        adjust: where there is an Adj Close, multiply prices by Adj Close / Close and divide the volume by it, so that
            price times volume stays the money that was traded.
        splits: whether a split that prices are not adjusted for is an error, or a warning about a real move.
    """

    adjust: bool = True
    splits: Splits = "refuse"


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
    """

    ticker: str
    dates_T: Days
    bars: dict[str, Floats]
    rows_T: Rows
    file: str = ""
    factor_T: Floats | None = None
    has_adj_close: bool = False


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


def _check_jumps(history: History, report: Report, options: Options) -> None:
    """Report every day whose close is ``JUMP`` times the close before, or its inverse, and every likely split."""
    bars, close_T = history.bars, history.bars["close"]
    step_T, change_T = bars["open"][1:] / close_T[:-1], close_T[1:] / close_T[:-1]
    ratios: dict[int, float] = {}
    for i in _days_beyond(step_T, SPLIT_RATIOS[0] * (1 - SPLIT_TOLERANCE)).tolist():
        if ratio := _split_ratio(bars, i, float(np.log(step_T[i - 1]))):
            ratios[i] = ratio
    for i in sorted({*_days_beyond(change_T, JUMP).tolist(), *ratios}):
        row = int(history.rows_T[i])
        value = f"{history.ticker} from {close_T[i - 1]:g} to {close_T[i]:g} on {history.dates_T[i]}"
        if i in ratios:
            _report_split(row, ratios[i], value, report, options, history.has_adj_close)
        else:
            cure = "Check whether prices are not adjusted for a split; if the move is real, nothing to do."
            report.warning(row, f"the close changes by more than {JUMP:g} times in one day", value, cure)


HISTORY_CHECKS: tuple[Callable[[History, Report, Options], None], ...] = (_check_jumps,)


def _days_beyond(factor_T: Floats, bound: float) -> NDArray[np.intp]:
    """The second day of every step up or down by more than the bound."""
    return np.flatnonzero((factor_T > bound) | (factor_T < 1 / bound)) + 1


def _report_split(row: int, ratio: float, value: str, report: Report, options: Options, has_adj_close: bool) -> None:
    name = "3:2" if ratio == 1.5 else f"{ratio:g}:1" if ratio > 1 else "2:3" if ratio > 0.6 else f"1:{1 / ratio:g}"
    near = f"{name}, the open is within {SPLIT_TOLERANCE:.0%} of that ratio"
    if has_adj_close:
        kind = "the price jumps as in a split, although there is an Adj Close"
        cure = "Check the Adj Close; if the move is real, nothing to do."
        report.warning(row, f"{kind}: {near}", value, cure, kind)
        return
    kind = "prices are not adjusted for a split"
    if options.splits == "accept":
        cure = "Nothing to do if the move is real: it was accepted."
        report.warning(row, f"{kind}: {near}", value, cure, kind)
    else:
        cure = (
            f"Give adjusted prices or an Adj Close column, or divide the prices before it by {ratio:g}. If the move is "
            "real, accept it: market.splits: accept in a recipe, --accept-splits in data check."
        )
        report.error(row, f"{kind}: {near}", value, cure, kind)


def _split_ratio(bars: dict[str, Floats], i: int, step: float) -> float | None:
    """The ratio of a likely split between days i-1 and i, in shares after for one before; None if there is none.

    The open must be within ``SPLIT_TOLERANCE`` of the close before divided by a ratio of ``SPLIT_RATIOS``, and the
    median volume must move the other way by at least the square root of the ratio.
    """
    sign = -1 if step > 0 else 1
    ratio = min(SPLIT_RATIOS, key=lambda one: abs(np.log(one) - abs(step)))
    volume_T = bars["volume"]
    before, after = _median(volume_T[max(0, i - VOLUME_DAYS) : i]), _median(volume_T[i : i + VOLUME_DAYS])
    if abs(np.exp(step) * ratio**sign - 1) > SPLIT_TOLERANCE or not before > 0 or not after > 0:
        return None
    return ratio**sign if sign * np.log(after / before) >= 0.5 * np.log(ratio) else None


def _median(volume_T: Floats) -> float:
    known_T = volume_T[np.isfinite(volume_T)]
    return float(np.median(known_T)) if len(known_T) else float("nan")
