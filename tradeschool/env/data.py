"""A market as the environment reads it: built once, shared by all environments on it, never written to."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.config import EnvConfig, EnvError
from tradeschool.env.facts import market_facts
from tradeschool.env.kernel import LINE
from tradeschool.env.observation import market_words
from tradeschool.errors import did_you_mean
from tradeschool.market.panel import Floats, Panel

WARM_UP = 50
"""Bars that a stock must have behind it to be drawn for an episode: those of the slowest figure, SMA 50."""

ENDED = 5
"""Rows without a bar, up to the panel's last, after which a stock counts as delisted."""


class MarketData:
    """Prices, limits and facts of a panel, T rows by N stocks, ready to be read row by row.

    Attributes:
        close_TN: close, carried forward over days without a bar; NaN before the first bar.
        open_TN: open; the last close where there is no bar, which nothing fills at.
        traded_TN: True where a bar exists.
        volume_TN: shares traded; infinite where it is unknown, 0 where there is no bar: the volume limit's base.
        gone_TN: True on the first row without a bar of a stock that has none in any later row either, if there are
            :data:`ENDED` of them: a file that ends a few days before the others is no delisting.
        facts_TNM: float32, see ``facts.MARKET``.

    Raises:
        EnvError: the panel is none.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel = _checked(panel)
        self.data_hash = panel.data_hash()
        self.traded_TN = panel.listed_TN
        self.close_TN = _carried(panel.close_TN)
        self.open_TN = np.where(self.traded_TN, panel.open_TN, self.close_TN)
        volume_TN = np.where(np.isnan(panel.volume_TN), np.inf, panel.volume_TN)
        self.volume_TN: Floats = np.where(self.traded_TN, volume_TN, 0.0)
        self.gone_TN = _gone(self.traded_TN)
        self.facts_TNM = market_facts(panel, self.close_TN)
        self._words: dict[int, list[str]] = {}
        self._eligible: dict[int, NDArray[np.intp]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return self.panel.shape

    @cached_property
    def eligible_TN(self) -> NDArray[np.bool_]:
        """Where a stock may enter an episode: a bar today and at least :data:`WARM_UP` so far. Past rows alone."""
        eligible_TN: NDArray[np.bool_] = self.traded_TN & (np.cumsum(self.traded_TN, axis=0) >= WARM_UP)
        return eligible_TN

    @cached_property
    def lines_TN(self) -> NDArray[Any]:
        """What the compiled law needs of a row and stock in one place, as ``kernel.LINE`` lists it."""
        lines_TN = _aligned(self.shape, LINE)
        lines_TN["open"], lines_TN["close"], lines_TN["volume"] = self.open_TN, self.close_TN, self.volume_TN
        lines_TN["known"] = np.vstack([self.traded_TN[:1], self.traded_TN[:-1]])
        lines_TN["ended"], lines_TN["facts"] = self.gone_TN, self.facts_TNM
        return lines_TN

    @cached_property
    def eligible_table(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """[T, N] columns, of each row the eligible ones first and in order, and [T] how many they are."""
        table_TN = np.argsort(~self.eligible_TN, axis=1, kind="stable")
        return table_TN, self.eligible_TN.sum(axis=1)

    def eligible_columns(self, row: int) -> NDArray[np.intp]:
        """The stocks that may enter an episode at a row."""
        found = self._eligible.get(row)
        if found is None:
            found = self._eligible[row] = np.flatnonzero(self.eligible_TN[row])
        return found

    def words(self, n: int) -> list[str]:
        """A stock's words (``observation.market_words``) at every row; made when first asked for, and kept."""
        found = self._words.get(n)
        if found is None:
            found = self._words[n] = [market_words(facts) for facts in self.facts_TNM[:, n].tolist()]
        return found

    def start_rows(self, config: EnvConfig, rows: tuple[int, int] | None = None) -> NDArray[np.intp]:
        """The rows at which an episode of ``config`` may start so that it ends within ``rows`` (first, last).

        Raises:
            EnvError: there is none.
        """
        asked = (0, self.shape[0] - 1) if rows is None else tuple(rows) if isinstance(rows, Sequence) else ()
        whole = all(isinstance(row, int | np.integer) for row in asked)
        if len(asked) != 2 or not whole or not 0 <= asked[0] <= asked[1] < self.shape[0]:
            raise EnvError(f"rows {rows}: the panel has rows 0 to {self.shape[0] - 1}. Give (first, last) within them.")
        first, last = asked
        enough_T = self.eligible_TN.sum(axis=1) >= config.tickers
        found = np.flatnonzero(enough_T[first : max(first, last - config.days + 1)]) + first
        if not found.size:
            raise EnvError(
                f"{self.panel.name}: no row from {first} to {last} has {config.tickers} stocks with {WARM_UP} bars "
                f"behind them and {config.days} rows after it. Ask for fewer stocks or days, or give a longer market."
            )
        return found

    def column(self, ticker: str) -> int:
        """The column of a ticker.

        Raises:
            EnvError: the panel does not have it.
        """
        if ticker not in self.panel.tickers:
            near = did_you_mean(ticker, self.panel.tickers)
            raise EnvError(f"{self.panel.name} has no ticker '{ticker}'.{near}")
        return self.panel.tickers.index(ticker)


def _checked(given: Any) -> Panel:
    if not isinstance(given, Panel):
        kind = type(given).__name__
        raise EnvError(f"a market is a Panel, not a {kind}. tradeschool.market.sources.load reads one.")
    return given


def _aligned(shape: tuple[int, int], kind: np.dtype[Any]) -> NDArray[Any]:
    """An empty array whose items begin at multiples of their size."""
    size = math.prod(shape) * kind.itemsize
    memory = np.empty(size + kind.itemsize, np.uint8)
    skipped = -memory.ctypes.data % kind.itemsize
    return memory[skipped : skipped + size].view(kind).reshape(shape)


def _carried(values_TN: Floats) -> Floats:
    """Each value carried forward until the next one."""
    row_TN = np.where(np.isnan(values_TN), 0, np.arange(len(values_TN))[:, None])
    np.maximum.accumulate(row_TN, axis=0, out=row_TN)
    return np.take_along_axis(values_TN, row_TN, axis=0)


def _gone(traded_TN: NDArray[np.bool_]) -> NDArray[np.bool_]:
    gone_TN = np.zeros_like(traded_TN)
    rows = len(traded_TN)
    last_N = rows - 1 - np.argmax(traded_TN[::-1], axis=0)
    ended_N = np.flatnonzero(traded_TN.any(axis=0) & (last_N < rows - ENDED))
    gone_TN[last_N[ended_N] + 1, ended_N] = True
    return gone_TN
