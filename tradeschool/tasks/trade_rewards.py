"""What the days of trading episodes are worth: one value a day for each named component."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tradeschool.env.grading import WEIGHTS, grade_paths, whole_path
from tradeschool.env.market_portfolio import markets
from tradeschool.env.trading import TradingEnv
from tradeschool.market.panel import Floats


@dataclass(frozen=True)
class Played:
    """B episodes of D days that were played to their end; a day after a bankruptcy has refused and traded nothing."""

    envs: Sequence[TradingEnv]
    refused_DB: Floats


def day_rewards(played: Played) -> dict[str, Floats]:
    """[D, B] of each component.

    - ``profit``: log return less the market's (buy and hold at the same costs), in daily volatilities of the market.
    - ``risk``: minus half the square of the log return in the same units: the price of variance.
    - ``grade``: the episode's grade (``env/grading.py``) on its last day, 0 before.
    - ``activity``: the part of the grade that counts capital at work, on its last day: the part with the least luck
      in it, which tells who earns nothing in cash from who earns nothing in the market.
    - ``legal``: 1 on a day without a refused order, else 0.
    """
    envs = played.envs
    days, cash = envs[0].config.days, envs[0].config.cash
    found = markets([env.episode for env in envs])
    scale_B = np.array([market.volatility for market in found])
    equity_DB = np.stack([whole_path(env.equities, days) for env in envs], axis=1)
    over_DB = np.arange(days)[:, None] >= np.array([len(env.equities) - 1 for env in envs])
    market_DB = np.stack([market.equity_D for market in found], axis=1)
    traded_B = np.array([sum(env.turnovers) / cash for env in envs])
    # As the environment's own reward: what is left of a ruin counts as a millionth of the start at least.
    change_DB = np.diff(np.log(np.maximum(equity_DB, 1e-6 * cash)), axis=0) / scale_B
    market_change_DB = np.diff(np.log(np.maximum(market_DB, 1e-6 * cash)), axis=0) / scale_B
    grade_DB = np.zeros_like(change_DB)
    parts_4B = grade_paths(equity_DB, found, traded_B)
    grade_DB[-1] = list(WEIGHTS.values()) @ parts_4B
    activity_DB = np.zeros_like(change_DB)
    activity_DB[-1] = parts_4B[list(WEIGHTS).index("activity")]
    return {
        # A ruin is charged on its day: that the market falls afterwards is no merit.
        "profit": np.where(over_DB, 0.0, change_DB - market_change_DB),
        "risk": -0.5 * change_DB**2,
        "grade": grade_DB,
        "activity": activity_DB,
        "legal": (played.refused_DB == 0).astype(float),
    }


def to_go(reward_DB: Floats, discount: float) -> Floats:
    """[D, B] rewards from each day on, each later day counting ``discount`` times as much."""
    sum_DB = reward_DB.copy()
    for day in range(len(sum_DB) - 2, -1, -1):
        sum_DB[day] += discount * sum_DB[day + 1]
    return sum_DB
