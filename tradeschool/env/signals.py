"""Rules that follow signals: what an indicator says is bought or sold, in parts of the equity."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.actions import HOLD_BELOW
from tradeschool.env.config import EnvError
from tradeschool.env.facts import UNKNOWN
from tradeschool.env.harness import State
from tradeschool.env.targets import AT, facts_of, first, towards
from tradeschool.market.panel import Floats

MOST_PARTS = int(1 / HOLD_BELOW)
RSI_OVERSOLD, RSI_OVERBOUGHT = 30.0, 70.0
"""Wilder (1978)."""


@dataclass(frozen=True)
class Signals(ABC):
    """Buys what a signal says to hold and sells what it says not to, in parts of the equity.

    ``parts`` is how many holdings the equity is meant for, or as many as there are stocks: a buy is one of them, as far
    as the cash goes.
    """

    parts: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.parts <= MOST_PARTS:
            raise EnvError(f"parts is {self.parts}: give 1 to {MOST_PARTS}; orders smaller than that count as none.")

    @abstractmethod
    def signal(self, facts_BNK: NDArray[np.float32]) -> NDArray[np.int8]:
        """[B, N] 1 to hold the stock, -1 not to, 0 to leave it as it is. Any leading axes."""

    @abstractmethod
    def clause(self, facts_K: NDArray[np.float32]) -> str:
        """What the signal of a stock came from."""

    def act(self, observations: NDArray[np.float32], state: State) -> Floats:
        """Sell what is held against the signal, buy what is not held in spite of it."""
        stocks = state.config.tickers
        facts_BNK = facts_of(observations, stocks)
        signal_BN, held_BN = self.signal(facts_BNK), facts_BNK[..., AT["share"]] > 0
        share = 1 / min(self.parts, stocks)
        target_BN = np.where((signal_BN > 0) & ~held_BN, share, np.where((signal_BN < 0) & held_BN, 0.0, np.nan))
        return towards(target_BN, observations, state.config)

    def why(self, facts_NK: NDArray[np.float32], orders_N: Floats, names: Sequence[str]) -> str:
        """The signals that were followed; where there is no order, whether there was one to follow."""
        ordered = [
            f"{name} {self.clause(facts_K)}, {'buy' if order > 0 else 'sell'}"
            for name, facts_K, order in zip(names, facts_NK, orders_N, strict=True)
            if order
        ]
        return first(ordered, "no cash left" if self._missed(facts_NK) else "no signal")

    def _missed(self, facts_NK: NDArray[np.float32]) -> bool:
        free_N = (facts_NK[:, AT["share"]] <= 0) & (facts_NK[:, AT["traded"]] > 0)
        return bool(np.any(free_N & (self.signal(facts_NK) > 0)))


def _known(facts_BNK: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """A fact of every stock, NaN where it is not known: no comparison with it is true."""
    values_BN: NDArray[np.float32] = facts_BNK[..., AT[name]]
    return np.where(values_BN == UNKNOWN, np.float32(np.nan), values_BN)


def _signs(up_BN: NDArray[np.bool_], down_BN: NDArray[np.bool_]) -> NDArray[np.int8]:
    return up_BN.astype(np.int8) - down_BN.astype(np.int8)


def _rsi_words(rsi: float) -> str:
    word = " oversold" if rsi < RSI_OVERSOLD else " overbought" if rsi > RSI_OVERBOUGHT else ""
    return f"RSI {rsi:.0f}{word}"


@dataclass(frozen=True)
class RSIRules(Signals):
    """Wilder's reading of RSI(14): buy below 30, sell above 70."""

    name: str = "rsi"

    def signal(self, facts_BNK: NDArray[np.float32]) -> NDArray[np.int8]:
        rsi_BN = _known(facts_BNK, "rsi_14")
        return _signs(rsi_BN < RSI_OVERSOLD, rsi_BN > RSI_OVERBOUGHT)

    def clause(self, facts_K: NDArray[np.float32]) -> str:
        return _rsi_words(float(facts_K[AT["rsi_14"]]))


@dataclass(frozen=True)
class MACD(Signals):
    """Appel's MACD(12, 26, 9): hold while the histogram is above 0. ``band`` is in percent of the price."""

    band: float = 0.0
    name: str = "macd"

    def signal(self, facts_BNK: NDArray[np.float32]) -> NDArray[np.int8]:
        histogram_BN = _known(facts_BNK, "macd_hist")
        return _signs(histogram_BN > self.band, histogram_BN < -self.band)

    def clause(self, facts_K: NDArray[np.float32]) -> str:
        return f"MACD {facts_K[AT['macd_hist']]:.2f}"


@dataclass(frozen=True)
class Momentum(Signals):
    """Hold while the change of five days is above ``band`` percent, sell below minus ``band``: in between, keep."""

    band: float = 1.0
    name: str = "momentum"

    def signal(self, facts_BNK: NDArray[np.float32]) -> NDArray[np.int8]:
        change_BN = _known(facts_BNK, "change_5")
        return _signs(change_BN > self.band, change_BN < -self.band)

    def clause(self, facts_K: NDArray[np.float32]) -> str:
        return f"5d {facts_K[AT['change_5']]:+.0f}%"


@dataclass(frozen=True)
class Rules(Signals):
    """RSI and MACD together: what is oversold is bought and what is overbought sold; in between, MACD decides."""

    band: float = 0.0
    name: str = "rules"

    def signal(self, facts_BNK: NDArray[np.float32]) -> NDArray[np.int8]:
        extreme_BN = RSIRules().signal(facts_BNK)
        return np.where(extreme_BN != 0, extreme_BN, MACD(band=self.band).signal(facts_BNK))

    def clause(self, facts_K: NDArray[np.float32]) -> str:
        return (RSIRules() if RSIRules().signal(facts_K) else MACD()).clause(facts_K)
