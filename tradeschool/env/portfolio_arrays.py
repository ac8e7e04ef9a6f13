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
        self._accounts_8B = np.zeros((ACCOUNT, 1))
        self._wanted_BN = np.zeros((1, stocks))
        # No trade at first: the clock stands at the row of the first decision.
        self._clocks_B3 = np.array([[episode.start, episode.config.days, 0]])
        self._terms = terms
        self._bind()
        self._accounts_8B[CASH] = self._accounts_8B[EQUITY] = cash
        self._stocks, self._width = stocks, stocks * PER_STOCK + G
        self.cash, self.equity, self.turnover, self.costs, self.refused = cash, cash, 0.0, 0.0, 0
        self.told: tuple[str, ...] = ()
        self.fills: tuple[float, ...] = (0.0,) * stocks
        self._vector = self._run()

    def _bind(self) -> None:
        """Gather what every day is run with: the compiled law's arguments, and views of the one portfolio there is."""
        data = self.episode.data
        self._arguments = (
            self._wanted_BN,
            self._clocks_B3,
            self._terms,
            data.lines_TN,
            self.episode.columns[None],
            self._stocks_BN3,
            self._accounts_8B,
        )
        self._account_8, self._wanted_N = self._accounts_8B[:, 0], self._wanted_BN[0]
        self._fills_N = self._stocks_BN3[0, :, FILL]

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copied view is no view of the copy.
        self.__dict__.update(state)
        self._bind()

    @property
    def shares(self) -> list[float]:
        return list(self._stocks_BN3[0, :, SHARES].tolist())

    def _run(self) -> NDArray[np.float32]:
        vectors_BK = np.empty((1, self._width), np.float32)
        days(*self._arguments, vectors_BK)
        vector: NDArray[np.float32] = vectors_BK[0]
        return vector

    def trade(self, action: Any, day: int) -> None:
        """Read an action, fill it at the open of ``day`` and value the book at its close."""
        self._settle(checked(action, self._stocks))

    def _settle(self, wanted: Any) -> None:
        self._wanted_N[:] = wanted
        self._vector = self._run()
        self.cash, self.equity, self.turnover, self.costs, refused, _, _, self._news = self._account_8.tolist()
        self.refused = int(refused)
        self.fills = tuple(self._fills_N.tolist())

    def observe(self, day: int) -> Any:
        """The observation at the close of ``day``, the last day that was traded: new memory every day."""
        return self._vector

    def text(self, day: int) -> str:
        """The observation in words."""
        self._clocks_B3[0, TRADES] = 0
        return say(self._run(), self.episode.names, self.episode.config.days, self.episode.date(day))
