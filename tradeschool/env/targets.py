"""What rules that trade share: the facts they read, and the orders that lead to a portfolio wanted."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.actions import HOLD_BELOW
from tradeschool.env.config import EnvConfig
from tradeschool.env.facts import ACCOUNT, HOLDING, MARKET, PER_STOCK, G
from tradeschool.env.harness import Agent
from tradeschool.market.panel import Floats

MOST_NAMED = 3
"""Stocks that a reason names: it is learned by heart, and every word of it is paid for."""
LEAST_POWER = 0.01
"""Of the equity: buying power too small to be worth an order."""
WHOLE = 0.98
"""Buys that ask for at least this much of the buying power are meant to take all of it."""
AT = {fact.name: at for at, fact in enumerate((*MARKET, *HOLDING))}
"""Columns of a stock's facts."""
_CASH = next(at for at, fact in enumerate(ACCOUNT) if fact.name == "cash") - G


class TradingRule(Agent, Protocol):
    """An agent on numeric observations that can say why."""

    def why(self, facts_NK: NDArray[np.float32], orders_N: Floats, names: Sequence[str]) -> str:
        """The reason of one day's orders in one episode, in short clauses.

        Args:
            facts_NK: the stocks' facts that the orders were given on, columns as in ``env/facts.py``.
            orders_N: what ``act`` answered.
            names: of the stocks.
        """


def facts_of(observations_BF: NDArray[np.float32], stocks: int) -> NDArray[np.float32]:
    """[B, N, K] the facts of each stock, out of numeric observations; K is ``facts.PER_STOCK``."""
    facts_BNK: NDArray[np.float32] = observations_BF[:, : stocks * PER_STOCK].reshape(-1, stocks, PER_STOCK)
    return facts_BNK


def towards(target_BN: Floats, observations_BF: NDArray[np.float32], config: EnvConfig) -> Floats:
    """[B, N] the orders that lead from what is held to shares of the equity, fractions to two decimals.

    NaN in ``target_BN`` leaves a stock as it is, and so does a day without a bar. Sales come first, so that buys are
    fractions of the buying power after them. Orders too small to count are left out, and buys where there is no
    buying power; where the buys are meant to take all of it, only their proportions matter.
    """
    facts_BNK = facts_of(observations_BF, target_BN.shape[1])
    held_BN = facts_BNK[..., AT["share"]].astype(float) / 100
    change_BN = np.where((facts_BNK[..., AT["traded"]] > 0) & ~np.isnan(target_BN), target_BN - held_BN, 0.0)
    sold_BN = np.clip(-change_BN, 0.0, np.maximum(held_BN, 0.0))
    sales_BN = np.divide(sold_BN, held_BN, out=np.zeros_like(held_BN), where=sold_BN > 0)
    sold_BN = np.where(sales_BN >= HOLD_BELOW, sold_BN, 0.0)
    power_B = _power(held_BN, observations_BF, config) + sold_BN.sum(axis=1)
    wanted_BN = np.maximum(change_BN, 0.0) / np.maximum(power_B, LEAST_POWER)[:, None]
    largest_B = np.maximum(wanted_BN.max(axis=1), HOLD_BELOW)
    buys_BN = np.where((wanted_BN.sum(axis=1) >= WHOLE)[:, None], wanted_BN / largest_B[:, None], wanted_BN)
    buys_BN = np.where((power_B > LEAST_POWER)[:, None], np.minimum(buys_BN, 1.0), 0.0)
    orders_BN: Floats = np.round(buys_BN - sales_BN, 2)
    return np.where(np.abs(orders_BN) < HOLD_BELOW, 0.0, orders_BN)


def _power(held_BN: Floats, observations_BF: NDArray[np.float32], config: EnvConfig) -> Floats:
    """[B] buying power over equity."""
    if config.leverage == 1.0 and not config.short:
        power_B: Floats = observations_BF[:, _CASH].astype(float) / 100
        return power_B
    return config.leverage - np.abs(held_BN).sum(axis=1)


def first(clauses: Sequence[str], otherwise: str) -> str:
    """The first clauses of a reason, or another one where there are none."""
    return "; ".join(clauses[:MOST_NAMED]) or otherwise
