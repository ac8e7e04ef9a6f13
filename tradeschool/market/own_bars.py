"""Each ticker's own bars side by side, whatever the days on which other tickers trade.

In a panel of several exchanges, or of stocks and coins, a ticker has no bar on the holidays and weekends on which
others trade. Indicators, returns and horizons count the ticker's own bars, so the others do not change them.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
LONGEST_PAUSE = np.timedelta64(21, "D")
"""Days between two bars above which there was a suspension, after which a history starts again; or five of the panel's
usual steps, where a bar stands for a week or a month. Exchanges close for up to eleven days."""


class OwnBars:
    """Moves arrays between panel rows (T) and each ticker's own bars (B): without the rows on which it has none.

    A suspension keeps one row without a bar, so that nothing is computed across it. Tickers without a missing bar
    between their first and last one keep their rows, and a panel of such tickers alone keeps its arrays.

    Args:
        listed_TN: where a bar exists.
        dates_T: the rows' dates, ascending.
    """

    def __init__(self, listed_TN: Bools, dates_T: NDArray[np.datetime64]) -> None:
        self._rows = len(dates_T)
        self._first_N = np.argmax(listed_TN, axis=0)
        self._moved: dict[int, tuple[NDArray[np.intp], NDArray[np.intp]]] = {}
        days_T = dates_T.astype("datetime64[D]")
        step_T = np.diff(days_T)
        longest = max(LONGEST_PAUSE, 5 * np.median(step_T)) if len(step_T) else LONGEST_PAUSE
        inside_TN = np.maximum.accumulate(listed_TN) & np.maximum.accumulate(listed_TN[::-1])[::-1]
        holes_N = (inside_TN & ~listed_TN).any(axis=0) | (step_T > longest).any()
        for n in np.flatnonzero(holes_N).tolist():
            rows = np.flatnonzero(listed_TN[:, n])
            paused = np.diff(days_T[rows]) > longest
            self._moved[n] = rows, np.arange(len(rows)) + np.concatenate(([0], np.cumsum(paused)))
        self._bars = max([self._rows, *(int(at[-1]) + 1 for _, at in self._moved.values() if len(at))])

    def take(self, values_TN: Floats) -> Floats:
        """Values of panel rows as values of own bars, [B, N]; NaN in suspensions and after the last bar."""
        if not self._moved:
            return values_TN
        values_BN = np.full((self._bars, values_TN.shape[1]), np.nan)
        values_BN[: self._rows] = values_TN
        for n, (rows, at) in self._moved.items():
            values_BN[:, n] = np.nan
            values_BN[at, n] = values_TN[rows, n]
        return values_BN

    def put(self, values_BN: Floats) -> Floats:
        """Values of own bars as values of panel rows, [T, N]; NaN on rows without a bar."""
        if not self._moved:
            return values_BN
        values_TN = values_BN[: self._rows].copy(order="K")
        for n, (rows, at) in self._moved.items():
            values_TN[:, n] = np.nan
            values_TN[rows, n] = values_BN[at, n]
        return values_TN

    def shift(self, values_BN: Floats, bars: int) -> Floats:
        """At each bar the value ``bars`` before it, or after it if negative; NaN without one or across a suspension."""
        moved_BN = np.full(values_BN.shape, np.nan)
        moved_BN[max(bars, 0) : bars if bars < 0 else None] = values_BN[max(-bars, 0) : -bars if bars > 0 else None]
        for n, (_, at) in self._moved.items():
            for last in at[:-1][np.diff(at) > 1].tolist():
                moved_BN[max(0, last + 1 + min(bars, 0)) : last + 1 + max(bars, 0), n] = np.nan
        return moved_BN

    def places(self, rows_B: NDArray[np.intp], n: int) -> NDArray[np.intp]:
        """The places [B] in an array [B, N] of a ticker's bars on panel rows; a suspension takes one more."""
        if n not in self._moved:
            return rows_B
        rows, at = self._moved[n]
        return at[np.searchsorted(rows, rows_B)]

    def rows_before(self, row: int, bars: int) -> int:
        """How many panel rows before ``row`` hold the last ``bars`` bars of every ticker that goes on trading."""
        most = bars
        for rows, at in self._moved.values():
            stop = int(np.searchsorted(rows, row))
            if 0 < stop < len(rows):
                before = rows[:stop][at[stop] - at[:stop] <= bars]
                most = max(most, row - int(before[0]) if len(before) else 0)
        return most

    def until(self, t: int, n: int, bars: int) -> slice | NDArray[np.intp]:
        """The panel rows of the last ``bars`` bars of ticker ``n``, of which row ``t`` is the last.

        Fewer where its history began or was suspended since. Row ``t`` counts as a bar, whether or not there is one.
        """
        if n not in self._moved:
            return slice(min(t, max(int(self._first_N[n]), t - bars + 1)), t + 1)
        rows, at = self._moved[n]
        stop = int(np.searchsorted(rows, t))
        first = max(0, stop - bars + 1)
        count = np.arange(first, stop)
        newest = min(stop, len(at) - 1)
        return np.append(rows[first:stop][at[newest] - at[first:stop] == newest - count], t)
