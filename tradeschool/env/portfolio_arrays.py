"""A portfolio of many stocks in arrays: numbers in, numbers out, by the compiled law."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.actions import checked
from tradeschool.env.episode import Episode
from tradeschool.env.facts import PER_STOCK, G
from tradeschool.env.kernel import (
    ACCOUNT,
    CASH,
    EQUITY,
    FILL,
    HELD,
    LEFT,
    ROW,
    SHARES,
    TRADES,
    days,
)
from tradeschool.env.observation import say
from tradeschool.market.panel import Floats


class PortfolioArrays:
    """As :class:`~tradeschool.env.portfolio.Portfolio`, for numbers alone: refused orders are counted, not told."""

    def __init__(self, episode: Episode, terms: Floats) -> None:
        self.episode = episode
        stocks, cash = len(episode.columns), episode.config.cash
        self._stocks_BN3 = np.zeros((1, stocks, HELD))
        self._accounts_B6 = np.zeros((1, ACCOUNT))
        self._wanted_BN = np.zeros((1, stocks))
        self._clocks_B3 = np.zeros((1, 3), np.int64)
        self._terms = terms
        self._bind()
        self._account_6[CASH] = self._account_6[EQUITY] = cash
        self._stocks, self._width = stocks, stocks * PER_STOCK + G
        self._start, self._days = episode.start, episode.config.days
        self.equity, self.turnover, self.costs, self.refused = cash, 0.0, 0.0, 0
        self.told: tuple[str, ...] = ()
        self.fills: tuple[float, ...] = (0.0,) * stocks
        self._vector = self._run(0, trades=0)

    def _bind(self) -> None:
        """Gather what every day is run with: the compiled law's arguments, and views of the one portfolio there is."""
        data = self.episode.data
        self._arguments = (
            self._wanted_BN,
            self._clocks_B3,
            self._terms,
            data.bars_TN5,
            data.template_TNK,
            self.episode.columns[None],
            self._stocks_BN3,
            self._accounts_B6,
        )
        self._account_6, self._wanted_N = self._accounts_B6[0], self._wanted_BN[0]
        self._fills_N, self._clock_3 = self._stocks_BN3[0, :, FILL], self._clocks_B3[0]

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copied view is no view of the copy.
        self.__dict__.update(state)
        self._bind()

    @property
    def cash(self) -> float:
        return float(self._accounts_B6[0, CASH])

    @property
    def shares(self) -> list[float]:
        return list(self._stocks_BN3[0, :, SHARES].tolist())

    def _run(self, day: int, trades: int) -> NDArray[np.float32]:
        clock_3 = self._clock_3
        clock_3[ROW], clock_3[LEFT], clock_3[TRADES] = self._start + day, self._days - day, trades
        vectors_BK = np.empty((1, self._width), np.float32)
        days(*self._arguments, vectors_BK)
        vector: NDArray[np.float32] = vectors_BK[0]
        return vector

    def trade(self, action: Any, day: int) -> None:
        """Read an action, fill it at the open of ``day`` and value the book at its close."""
        self._wanted_N[:] = checked(action, self._stocks)
        self._vector = self._run(day, 1)
        _, self.equity, self.turnover, self.costs, refused, _ = self._account_6.tolist()
        self.refused = int(refused)
        self.fills = tuple(self._fills_N.tolist())

    def observe(self, day: int) -> NDArray[np.float32]:
        """The observation at the close of ``day``, the last day that was traded: new memory every day."""
        return self._vector

    def text(self, day: int) -> str:
        """The observation in words."""
        return say(self._run(day, trades=0), self.episode.names, self.episode.config.days, self.episode.date(day))
