"""Jumps of the close from one day to the next: probable splits by their ratio, and all other large ones."""

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.finding import Report
from tradeschool.market.panel import Floats
from tradeschool.market.prices.rules import Raw

JUMP = 1.9
"""A close that changes by this factor in a day gets a warning."""
SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 100.0)
"""Shares after for one before; a reverse split has the inverse."""
SPLIT_BOUND = 0.05
"""How far the first open after a split may lie from the close before, once divided by the ratio: 5 %."""
VOLUME_DAYS = 10
"""The median volume of so many days after must have moved against the price, by the ratio's square root or more."""


def warn_of_jumps(raw: Raw, bars: dict[str, Floats], report: Report) -> None:
    """Warn of every day whose close is ``JUMP`` times the one before, or its inverse.

    A probable split is named as such, with its ratio, from 3:2 on: there is no Adj Close that could account for
    it, the open after is within ``SPLIT_BOUND`` of the close before divided by a ratio of ``SPLIT_RATIOS``, and
    the median volume of the ``VOLUME_DAYS`` from then on is higher than that of those before (lower in a
    reverse split) by at least the square root of the ratio. Prices and dates are sorted, [T].
    """
    close_T = bars["close"]
    step_T, change_T = bars["open"][1:] / close_T[:-1], close_T[1:] / close_T[:-1]
    splits: dict[int, float] = {}
    if "Adj Close" not in raw.columns:
        for i in _beyond(step_T, SPLIT_RATIOS[0] * (1 - SPLIT_BOUND)).tolist():
            if ratio := _split(bars, i, float(np.log(step_T[i - 1]))):
                splits[i] = ratio
    for i in sorted({*_beyond(change_T, JUMP).tolist(), *splits}):
        value = f"{raw.ticker} from {close_T[i - 1]:g} to {close_T[i]:g} on {raw.dates_T[i]}"
        if i in splits:
            _warn_of_split(raw, i, splits[i], value, report)
        else:
            cure = "Check whether it is a split that was not adjusted for; if it is real, nothing to do."
            report.warning(int(raw.rows_T[i]), "the close jumps in one day", value, cure)


def _beyond(factor_T: Floats, bound: float) -> NDArray[np.intp]:
    """The later days of steps up or down by more than the bound."""
    return np.flatnonzero((factor_T > bound) | (factor_T < 1 / bound)) + 1


def _warn_of_split(raw: Raw, i: int, ratio: float, value: str, report: Report) -> None:
    name = "3:2" if ratio == 1.5 else f"{ratio:g}:1" if ratio > 1 else "2:3" if ratio > 0.6 else f"1:{1 / ratio:g}"
    kind = "probably a split that was not adjusted for"
    cure = f"Divide the prices before it by {ratio:g}, give an Adj Close, or leave it if the jump is real."
    report.warning(int(raw.rows_T[i]), f"{kind}, {name}", value, cure, kind)


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
