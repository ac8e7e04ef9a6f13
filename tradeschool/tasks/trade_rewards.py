"""The rewards of trading episodes by component, out of the paths of their accounts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.grading import WEIGHTS, MarketPortfolio, grade_paths, market_portfolios, whole_path
from tradeschool.env.trading_env import TradingEnv
from tradeschool.market.panel import Floats

LEAST_EQUITY = 1e-6
"""Of the start: what a smaller equity counts as, as in the environment's own reward."""


def day_rewards(envs: Sequence[TradingEnv], refused_DB: Floats) -> dict[str, Floats]:
    """Rewards by component of B finished episodes of D days; see :func:`path_rewards`.

    Args:
        envs: the environments, each at the end of its episode.
        refused_DB: [D, B] refused orders; not 0 on days after a bankruptcy.
    """
    days, cash = envs[0].config.days, envs[0].config.cash
    return path_rewards(
        np.stack([whole_path(env.equities, days) for env in envs], axis=1),
        np.array([len(env.equities) - 1 for env in envs]),
        np.array([sum(env.turnovers) / cash for env in envs]),
        refused_DB,
        market_portfolios([env.episode for env in envs]),
    )


def path_rewards(
    equity_DB: Floats,
    lasted_B: NDArray[np.int64],
    traded_B: Floats,
    refused_DB: Floats,
    markets: Sequence[MarketPortfolio],
) -> dict[str, Floats]:
    """Rewards by component of B paths of an account over D days.

    Args:
        equity_DB: [D + 1, B] equity at the closes, the start first; constant after a bankruptcy.
        lasted_B: days until the end or a bankruptcy.
        traded_B: value traded over the equity at the start.
        refused_DB: [D, B] refused orders.
        markets: buy and hold of each path's stocks.

    Returns:
        [D, B] of each component:

        - ``profit``: log return less the market's (buy and hold at the same costs), in daily volatilities of the
          market.
        - ``risk``: minus half the square of the log return in the same units: the price of variance.
        - ``grade``: the episode's grade (``env/grading.py``) on its last day, 0 before.
        - ``activity``: on the last day, the part of the grade for capital at work. It has the least luck in it, and
          separates earning nothing in cash from earning nothing in the market.
        - ``valid_order``: 1 on a day without a refused order, else 0.
    """
    scale_B = np.array([market.volatility for market in markets])
    market_DB = np.stack([market.equity_D for market in markets], axis=1)
    change_DB, market_change_DB = (
        np.diff(np.log(np.maximum(path_DB, LEAST_EQUITY * equity_DB[0])), axis=0) / scale_B
        for path_DB in (equity_DB, market_DB)
    )
    over_DB = np.arange(len(change_DB))[:, None] >= lasted_B
    parts_4B = grade_paths(equity_DB, markets, traded_B)
    grade_DB, activity_DB = np.zeros_like(change_DB), np.zeros_like(change_DB)
    grade_DB[-1] = list(WEIGHTS.values()) @ parts_4B
    activity_DB[-1] = parts_4B[list(WEIGHTS).index("activity")]
    return {
        # A bankruptcy is charged on its day: it earns nothing when the market falls afterwards.
        "profit": np.where(over_DB, 0.0, change_DB - market_change_DB),
        "risk": -0.5 * change_DB**2,
        "grade": grade_DB,
        "activity": activity_DB,
        "valid_order": (refused_DB == 0).astype(float),
    }
