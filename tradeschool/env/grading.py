"""The grade of an episode: four parts on [0, 1], each measured against the market. Reasons: docs/grading.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradeschool.env.config import EnvError
from tradeschool.env.harness import Record
from tradeschool.env.market_portfolio import Market, markets
from tradeschool.market.panel import Floats

WEIGHTS = {"risk": 0.40, "pnl": 0.30, "drawdown": 0.15, "activity": 0.15}
LEAST_EQUITY = 1e-6
"""Of the start: what a smaller equity counts as, so that logarithms stay finite."""
TRACKING = 0.5
"""In units of the stocks' own volatility: how far half of a portfolio strays that is in cash, or in another stock."""
STILL = 0.1
"""In units of the market's volatility: what moves less counts as moving this much, so that no ratio is of nothing."""
STEADY = 0.3
"""In the same units, the least that a Sharpe ratio divides by: that of a few days in the market is luck."""
AT_WORK = 10.0
"""A tenth of the market's variance is capital at work where trades earned: two days of twenty are enough."""


@dataclass(frozen=True)
class Grade:
    """The four parts; the market has .5, .5, .5 and 1, and so .575 in total."""

    risk: float
    pnl: float
    drawdown: float
    activity: float

    @property
    def total(self) -> float:
        """The weighted sum."""
        return float(sum(weight * getattr(self, name) for name, weight in WEIGHTS.items()))


def grade(played: Any) -> Grade:
    """The grade of a :class:`~tradeschool.env.harness.Record`, or of a single environment whose episode is over.

    Raises:
        EnvError: the environment's episode goes on, or none was begun.
    """
    if isinstance(played, Record):
        return grades([played])[0]
    env = played.unwrapped
    equities = getattr(env, "equities", None)
    if equities is None:
        raise EnvError("there is no episode to grade: reset() and step() the environment to its end.")
    days, missing = env.config.days, env.config.days + 1 - len(equities)
    if missing and equities[-1] > env.config.ruin * env.config.cash:
        raise EnvError(f"the episode is at day {len(equities) - 1} of {days}: grade it when it is over.")
    equity_D = whole_path(equities, days)
    traded = np.array([sum(env.turnovers) / equity_D[0]])
    return _grades(grade_paths(equity_D[:, None], markets([env.episode]), traded))[0]


def whole_path(equities: Sequence[float], days: int) -> Floats:
    """[D + 1] equity to the last day; what a bankruptcy has left stays as it is."""
    return np.array([*equities, *[equities[-1]] * (days + 1 - len(equities))])


def grades(records: Sequence[Record]) -> list[Grade]:
    """The grade of each record.

    Raises:
        EnvError: they are not all of the same number of days.
    """
    if not records:
        return []
    lengths = sorted({len(record.turnover_D) for record in records})
    if len(lengths) > 1:
        raise EnvError(f"episodes of {lengths} days in one list: grade those of each length by themselves.")
    equity_DB = np.stack([record.equity_D for record in records], axis=1)
    traded_B = np.array([record.turnover_D.sum() / record.equity_D[0] for record in records])
    return _grades(grade_paths(equity_DB, [record.market for record in records], traded_B))


def totals(records: Sequence[Record]) -> Floats:
    """[B] total grades."""
    return np.array([one.total for one in grades(records)])


def grade_paths(equity_DB: Floats, market: Sequence[Market], traded_B: Floats) -> Floats:
    """[4, B] risk, pnl, drawdown and activity of B episodes of D days.

    Args:
        equity_DB: [D + 1, B] the agent's, at the closes.
        market: B times buy and hold, with what is known of its volatility.
        traded_B: value traded in the episode over the equity at its start.
    """
    from scipy.special import ndtr

    volatility_B = np.array([one.volatility for one in market])
    stocks_B = np.array([one.stock_volatility for one in market])
    cash_B = np.array([one.cash_growth for one in market])
    agent_DB, market_DB = _log_path(equity_DB), _log_path(np.stack([one.equity_D for one in market], axis=1))
    root_days = np.sqrt(len(agent_DB) - 1)
    pnl_B = ndtr((agent_DB[-1] - market_DB[-1]) / (TRACKING * stocks_B * root_days))
    sharpe_B, market_sharpe_B = (_sharpe(path_DB, cash_B, volatility_B) for path_DB in (agent_DB, market_DB))
    risk_B = ndtr((sharpe_B - market_sharpe_B) * root_days)
    still_B = STILL * volatility_B * root_days
    fall_B, market_fall_B = (_largest_fall(path_DB) + still_B for path_DB in (agent_DB, market_DB))
    drawdown_B = market_fall_B**2 / (market_fall_B**2 + fall_B**2)
    return np.stack([risk_B, pnl_B, drawdown_B, _activity(agent_DB, market_DB, volatility_B, pnl_B, traded_B)])


def _grades(parts_4B: Floats) -> list[Grade]:
    return [Grade(*parts) for parts in parts_4B.T.tolist()]


def _log_path(equity_DB: Floats) -> Floats:
    """Log equity over its start, [D + 1, B]; logs are subtracted, as a quotient of any two floats may overflow."""
    path_DB: Floats = np.log(np.maximum(equity_DB, LEAST_EQUITY * equity_DB[0])) - np.log(equity_DB[0])
    return path_DB


def _sharpe(path_DB: Floats, cash_B: Floats, volatility_B: Floats) -> Floats:
    """Daily Sharpe ratio of log returns over those of cash, so that a portfolio in cash has 0."""
    change_DB = np.diff(path_DB, axis=0)
    moved_B = np.sqrt(change_DB.var(axis=0) + (STEADY * volatility_B) ** 2)
    sharpe_B: Floats = (change_DB.mean(axis=0) - cash_B) / moved_B
    return sharpe_B


def _largest_fall(path_DB: Floats) -> Floats:
    """Maximum drawdown in log units."""
    fall_B: Floats = (np.maximum.accumulate(path_DB, axis=0) - path_DB).max(axis=0)
    return fall_B


def _activity(agent_DB: Floats, market_DB: Floats, volatility_B: Floats, pnl_B: Floats, traded_B: Floats) -> Floats:
    """Capital at work, as the market's is or by trades that earned; times what it earned, up to the market's."""
    moved_B, market_B = (np.diff(path_DB, axis=0).var(axis=0) for path_DB in (agent_DB, market_DB))
    moved_B = moved_B / np.maximum(market_B, (STILL * volatility_B) ** 2)
    invested_B = np.minimum(moved_B, 1.0) ** 2
    earned_B = np.maximum(2 * pnl_B - 1, 0.0) ** 2 * -np.expm1(-traded_B) * np.minimum(AT_WORK * moved_B, 1.0)
    activity_B: Floats = (invested_B + (1 - invested_B) * earned_B) * np.minimum(2 * pnl_B, 1.0) ** 2
    return activity_B
