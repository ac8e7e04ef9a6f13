"""Windows of a panel's closes for the forecast task: scaled inputs, indicators, statistics and outcomes.

Closes are scaled by a ``StandardNorm`` of the ticker's training closes. Shapes: T dates, N tickers, L inputs,
H horizons.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError, RecipeError
from tradeschool.market import features, labels
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.splits import PARTS, Part, Split, given_parts_TN
from tradeschool.market.windows import INDICATORS, STATISTICS, StandardNorm

STEP_DAYS = 20
"""Changes whose standard deviation is the daily volatility."""


class PanelWindows:
    """The windows of every ticker, made on demand.

    A ticker without training closes that differ has no window, because nothing can be scaled. Where the panel was made
    of windows in files (``Panel.given``), these are the windows, with the files' own scale, parts, indicators and
    statistics.

    Attributes:
        step_TN: the daily volatility in scaled units: the std of the last 20 changes; NaN where unknown or 0.
        known_TN: whether window, volatility and every outcome are known.
        naive_N: the mean absolute change of a day over the training closes, by which MASE is scaled.

    Args:
        panel: the market.
        split: whose training dates the scalers are fitted on, with all dates before them.
        inputs: closes in a window.
        horizons: days ahead.
    """

    def __init__(self, panel: Panel, split: Split, inputs: int, horizons: Sequence[int]) -> None:
        self.panel, self._inputs = panel, inputs
        self._part_TN = None if panel.given is None else given_parts_TN(panel)
        self._stop = stop = int(split.train_T[-1]) + 1 if split.train_T.size else 0
        self.scalers = [_scaler(panel, n, stop) for n in range(len(panel.tickers))]
        self.mean_N = np.array([math.nan if one is None else one.mean for one in self.scalers])
        self.std_N = np.array([math.nan if one is None else one.std for one in self.scalers])
        self.scaled_TN = self._scale(panel.close_TN)
        own = panel.own_bars
        scaled_BN = own.take(self.scaled_TN)
        change_BN = scaled_BN - own.shift(scaled_BN, 1)
        change_TN = own.put(change_BN)
        self.naive_N = _mean_size(change_TN[:stop])
        step_TN = own.put(features.rolling_std(change_BN, STEP_DAYS))
        self.step_TN = np.where(step_TN > labels.SMALLEST_VOLATILITY, step_TN, np.nan)
        self._outcome_HTN = np.stack([self._scale(labels.forward_close_TN(panel, h)) for h in horizons])
        whole_TN = own.put(own.shift(scaled_BN, inputs - 1))  # NaN where the window would reach over a suspension
        seen_TN = np.isfinite(self.scaled_TN) & np.isfinite(whole_TN) & np.isfinite(self.step_TN)
        self.known_TN = seen_TN & np.isfinite(self._outcome_HTN).all(axis=0)
        if self._part_TN is not None:
            self.known_TN &= self._part_TN >= 0
        self._values: dict[str, Floats] = {}

    def _scale(self, values_TN: Floats) -> Floats:
        scaled_TN: Floats = (values_TN - self.mean_N) / self.std_N
        return scaled_TN

    def asked(self, t: int, part: Part) -> NDArray[np.int64]:
        """The tickers with a window of a part at row t whose outcome is known."""
        known_N = self.known_TN[t]
        if self._part_TN is not None:
            known_N = known_N & (self._part_TN[t] == PARTS.index(part))
        return np.flatnonzero(known_N)

    def outcome(self, t: int, n: int) -> list[float]:
        """The scaled closes of the horizons, NaN where they are not known."""
        found: list[float] = self._outcome_HTN[:, t, n].tolist()
        return found

    def closes(self, t: int, n: int, bars: int) -> Floats:
        """The last ``bars`` scaled closes, oldest first; fewer where the history is shorter."""
        closes_L: Floats = self.scaled_TN[self.panel.own_bars.until(t, n, bars), n]
        return closes_L

    def own_closes(self, n: int) -> tuple[NDArray[np.int64], int]:
        """The rows of all closes of a ticker, and how many of them are training closes."""
        rows_B = np.flatnonzero(np.isfinite(self.scaled_TN[:, n]))
        return rows_B, int((rows_B < self._stop).sum())

    def indicators(self, t: int, n: int) -> dict[str, Floats]:
        """The indicators of VTA's window files by their names there, over the window and scaled like the closes."""
        if (given := self._given(t, n)) is not None:
            return {name: given[name] for name in INDICATORS}
        if not self._values:
            self._values = features.compute(self.panel, [name for name, _ in INDICATORS.values()])
        rows, scaler = self.panel.own_bars.until(t, n, self._inputs), self.scalers[n]
        found = {}
        for column, (name, unit) in INDICATORS.items():
            values_L = self._values[name][rows, n]
            if scaler is not None and unit != "none":
                values_L = scaler.transform(values_L) if unit == "level" else values_L / scaler.std
            found[column] = values_L
        return found

    def statistics(self, t: int, n: int) -> dict[str, float]:
        """The statistics that files give of the scaled window; empty without files."""
        given = self._given(t, n)
        return {} if given is None else {name: float(given[name]) for name in STATISTICS}

    def _given(self, t: int, n: int) -> dict[str, Any] | None:
        """The columns of a window that was read from files."""
        if self.panel.given is None:
            return None
        windows = self.panel.given[self.panel.tickers[n]]
        w = int(np.searchsorted(windows.end_rows_W, t))
        if w == len(windows.end_rows_W) or windows.end_rows_W[w] != t:
            return None
        return {name: values_W[w] for name, values_W in windows.columns.items()}


def check_given(panel: Panel, inputs: int, facts: Sequence[str]) -> None:
    """Check that windows in files, if the panel was made of them, allow the settings.

    Raises:
        RecipeError: facts are asked for, or another number of closes.
    """
    if panel.given is None:
        return
    if facts:
        named = ", ".join(facts)
        raise RecipeError(f"task.facts are {named}, but window files hold no market to state facts of. Remove them.")
    lengths = {windows.columns["sequence"].shape[1] for windows in panel.given.values()}
    if lengths != {inputs}:
        found = ", ".join(map(str, sorted(lengths)))
        raise RecipeError(f"task.inputs is {inputs}, but the windows in the files have {found} closes. Use that.")


def _scaler(panel: Panel, n: int, stop: int) -> StandardNorm | None:
    if panel.given is not None:
        return StandardNorm(panel.given[panel.tickers[n]].shift, 1.0)
    closes_T: Any = panel.close_TN[:stop, n]
    try:
        return StandardNorm.fit(closes_T[np.isfinite(closes_T)], panel.tickers[n])
    except DataError:
        return None


def _mean_size(change_TN: Floats) -> Floats:
    known_TN = np.isfinite(change_TN)
    sum_N = np.where(known_TN, np.abs(change_TN), 0.0).sum(axis=0)
    mean_N: Floats = np.divide(sum_N, known_TN.sum(axis=0), out=np.full(len(sum_N), np.nan), where=sum_N > 0)
    return mean_N
