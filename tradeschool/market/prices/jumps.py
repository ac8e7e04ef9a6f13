"""Jumps of the close from one day to the next: splits left unadjusted by their ratio, and all other large ones."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.finding import Report
from tradeschool.market.panel import Floats
from tradeschool.market.prices.rules import Raw

JUMP = 1.9
"""A close that changes by this factor in a day gets a warning."""
Splits = Literal["refuse", "accept"]
"""What becomes of a file with a split that was not adjusted for."""
SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 100.0)
"""Shares after for one before; a reverse split has the inverse."""
SPLIT_BOUND = 0.05
"""How far the first open after a split may lie from the close before, once divided by the ratio: 5 %."""
VOLUME_DAYS = 10
"""The median volume of so many days after must have moved against the price, by the ratio's square root or more."""


def check_jumps(raw: Raw, bars: dict[str, Floats], report: Report, splits: Splits = "refuse") -> None:
    """Report every day whose close is ``JUMP`` times the one before, or its inverse, and every likely split.

    A split is likely, from 3:2 on, where the open after is within ``SPLIT_BOUND`` of the close before divided by a
    ratio of ``SPLIT_RATIOS``, and the median volume of the ``VOLUME_DAYS`` from then on is higher than that of those
    before (lower in a reverse split) by at least the square root of the ratio. Without an Adj Close, which would
    account for it, it is an error, or a warning with ``splits="accept"``. With one, the vendor has told the splits:
    then it is a warning, and so is any other jump. Prices and dates are sorted, [T].
    """
    close_T = bars["close"]
    step_T, change_T = bars["open"][1:] / close_T[:-1], close_T[1:] / close_T[:-1]
    ratios: dict[int, float] = {}
    for i in _beyond(step_T, SPLIT_RATIOS[0] * (1 - SPLIT_BOUND)).tolist():
        if ratio := _split(bars, i, float(np.log(step_T[i - 1]))):
            ratios[i] = ratio
    for i in sorted({*_beyond(change_T, JUMP).tolist(), *ratios}):
        value = f"{raw.ticker} from {close_T[i - 1]:g} to {close_T[i]:g} on {raw.dates_T[i]}"
        if i in ratios:
            _report_split(raw, i, ratios[i], value, report, splits)
        else:
            cure = "Check whether it is a split that was not adjusted for; if it is real, nothing to do."
            rule = f"the close jumps in one day by more than the bound of {JUMP:g} times"
            report.warning(int(raw.rows_T[i]), rule, value, cure)


def _beyond(factor_T: Floats, bound: float) -> NDArray[np.intp]:
    """The later days of steps up or down by more than the bound."""
    return np.flatnonzero((factor_T > bound) | (factor_T < 1 / bound)) + 1


def _report_split(raw: Raw, i: int, ratio: float, value: str, report: Report, splits: Splits) -> None:
    name = "3:2" if ratio == 1.5 else f"{ratio:g}:1" if ratio > 1 else "2:3" if ratio > 0.6 else f"1:{1 / ratio:g}"
    row = int(raw.rows_T[i])
    near = f"the open is within the bound of {SPLIT_BOUND:.0%} of that ratio"
    if "Adj Close" in raw.columns:
        kind = "the price jumps as in a split, although there is an Adj Close"
        cure = "Check the Adj Close; if the move is real, nothing to do."
        report.warning(row, f"{kind}: {name}, {near}", value, cure, kind)
        return
    kind = "a split was not adjusted for"
    if splits == "accept":
        cure = "Nothing to do if the move is real: it was accepted."
        report.warning(row, f"{kind}: {name}, {near}", value, cure, kind)
        return
    cure = (
        f"Give adjusted prices or an Adj Close column, or divide the prices before it by {ratio:g}; "
        "if the move is real, accept it: splits: accept in the market of a recipe, --accept-splits in data check."
    )
    report.error(row, f"{kind}: {name}, {near}", value, cure, kind)


def _split(bars: dict[str, Floats], i: int, step: float) -> float | None:
    """The ratio of the split between days i-1 and i, in shares after for one before; None when it is none."""
    sign = -1 if step > 0 else 1
    ratio = min(SPLIT_RATIOS, key=lambda one: abs(np.log(one) - abs(step)))
    volume_T = bars["volume"]
    before, after = _median(volume_T[max(0, i - VOLUME_DAYS) : i]), _median(volume_T[i : i + VOLUME_DAYS])
    if abs(np.exp(step) * ratio**sign - 1) > SPLIT_BOUND or not before > 0 or not after > 0:
        return None
    return ratio**sign if sign * np.log(after / before) >= 0.5 * np.log(ratio) else None


def _median(volume_T: NDArray[np.float64]) -> float:
    known_T = volume_T[np.isfinite(volume_T)]
    return float(np.median(known_T)) if len(known_T) else float("nan")
