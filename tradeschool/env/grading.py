"""Plays agents through episodes, and grades these: four parts in [0, 1], relative to buy-and-hold (docs/grading.md).

Dimensions: B episodes, D days, N stocks, T rows of the market.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.config import EnvError, ExecutionParams
from tradeschool.env.market_data import Episode
from tradeschool.env.strategies import Agent, State
from tradeschool.env.trading_env import TradingChatEnv, TradingEnv
from tradeschool.env.vector_env import VectorTradingEnv
from tradeschool.market.panel import Floats

WEIGHTS = {"risk": 0.40, "pnl": 0.30, "drawdown": 0.15, "activity": 0.15}
VOLATILITY_DAYS = 50
"""Rows before the first decision from which volatility is estimated: every drawn stock has them."""
USUAL_VOLATILITY = 0.01
"""Daily volatility where there are too few rows to estimate it."""
MIN_VOLATILITY = 0.001
MIN_EQUITY = 1e-6
"""Share of the start that a smaller equity counts as, so that logarithms are finite."""
TRACKING = 0.5
"""In units of the stocks' own volatility: tracking error of a portfolio that is half in cash or in another stock."""
STILL = 0.1
"""In units of the market's volatility: smaller moves count as this much, so that no ratio divides by almost nothing."""
STEADY = 0.3
"""In the same units, the least that a Sharpe ratio divides by: a high ratio of a few days in the market is luck."""
AT_WORK = 10.0
"""Where trades earned, a tenth of the market's variance counts as capital fully at work: two days of twenty."""


@dataclass(frozen=True)
class MarketPortfolio:
    """Buy-and-hold of an episode's stocks in equal parts, at the same costs, without leverage or shorting.

    The strategy ``buy and hold`` has the same equity whatever leverage the environment allows, unless it is ruined: the
    market goes on after that.

    Attributes:
        equity_D: [D + 1] at the closes, the start first.
        volatility: standard deviation of the daily log return of the stocks in equal parts, known at the start.
        stock_volatility: the mean of the stocks' own; the same with one stock.
        cash_growth: daily log return of cash.
    """

    equity_D: Floats
    volatility: float
    stock_volatility: float
    cash_growth: float = 0.0


@dataclass(frozen=True)
class Record:
    """One finished episode of one agent, D days long: enough to grade it and to reproduce it.

    Attributes:
        agent: its name.
        seed: of ``reset``.
        start: the first decision's row in the market.
        tickers: the true ones, in the order of the observation.
        equity_D: [D + 1] at the closes, the start first; constant after a bankruptcy.
        turnover_D: [D] value traded; 0 after a bankruptcy.
        costs_D: [D] what commission and slippage took of it.
        refused: orders refused.
        terminated: True after a bankruptcy.
        market: buy-and-hold of the same stocks on the same days.
        versions: see :data:`tradeschool.env.config.KEYS`.
    """

    agent: str
    seed: int
    start: int
    tickers: tuple[str, ...]
    equity_D: Floats
    turnover_D: Floats
    costs_D: Floats
    refused: int
    terminated: bool
    market: MarketPortfolio
    versions: dict[str, str]


@dataclass(frozen=True)
class Grade:
    """The four parts. Buy-and-hold has .5, .5, .5 and 1, which is .575 in total."""

    risk: float
    pnl: float
    drawdown: float
    activity: float

    @property
    def total(self) -> float:
        """The weighted sum."""
        return float(sum(weight * getattr(self, name) for name, weight in WEIGHTS.items()))


def grade(played: Any) -> Grade:
    """The grade of a :class:`Record`, or of a single environment (wrapped or not) whose episode is over."""
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
    return Grade(*grade_paths(equity_D[:, None], market_portfolios([env.episode]), traded)[:, 0].tolist())


def whole_path(equities: Sequence[float], days: int) -> Floats:
    """[D + 1] equity up to the last day, constant after a bankruptcy."""
    return np.array([*equities, *[equities[-1]] * (days + 1 - len(equities))])


def grades(records: Sequence[Record]) -> list[Grade]:
    """The grade of each record; an EnvError if they do not all have the same number of days."""
    if not records:
        return []
    lengths = sorted({len(record.turnover_D) for record in records})
    if len(lengths) > 1:
        raise EnvError(f"episodes of {lengths} days in one list: grade each length separately.")
    equity_DB = np.stack([record.equity_D for record in records], axis=1)
    traded_B = np.array([record.turnover_D.sum() / record.equity_D[0] for record in records])
    parts_4B = grade_paths(equity_DB, [record.market for record in records], traded_B)
    return [Grade(*parts) for parts in parts_4B.T.tolist()]


def totals(records: Sequence[Record]) -> Floats:
    """[B] total grades."""
    return np.array([one.total for one in grades(records)])


def grade_paths(equity_DB: Floats, market: Sequence[MarketPortfolio], traded_B: Floats) -> Floats:
    """[4, B] risk, pnl, drawdown and activity of B episodes of D days.

    Args:
        equity_DB: [D + 1, B] the agents' equity at the closes, in currency.
        market: buy-and-hold of each episode.
        traded_B: [B] value traded in the episode over the equity at its start.
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
    # The maximum drawdown in log units.
    fall_B, market_fall_B = (
        (np.maximum.accumulate(path_DB, axis=0) - path_DB).max(axis=0) + STILL * volatility_B * root_days
        for path_DB in (agent_DB, market_DB)
    )
    drawdown_B = market_fall_B**2 / (market_fall_B**2 + fall_B**2)
    return np.stack([risk_B, pnl_B, drawdown_B, _activity(agent_DB, market_DB, volatility_B, pnl_B, traded_B)])


def _log_path(equity_DB: Floats) -> Floats:
    """[D + 1, B] log equity over its start; logs are subtracted, because a quotient of two floats can overflow."""
    path_DB: Floats = np.log(np.maximum(equity_DB, MIN_EQUITY * equity_DB[0])) - np.log(equity_DB[0])
    return path_DB


def _sharpe(path_DB: Floats, cash_B: Floats, volatility_B: Floats) -> Floats:
    """[B] daily Sharpe ratio of log returns over those of cash, so that a portfolio in cash has 0."""
    change_DB = np.diff(path_DB, axis=0)
    moved_B = np.sqrt(change_DB.var(axis=0) + (STEADY * volatility_B) ** 2)
    sharpe_B: Floats = (change_DB.mean(axis=0) - cash_B) / moved_B
    return sharpe_B


def _activity(agent_DB: Floats, market_DB: Floats, volatility_B: Floats, pnl_B: Floats, traded_B: Floats) -> Floats:
    """[B] share of the capital at work (moves like the market's, or trades earned), times P&L up to the market's."""
    moved_B, market_B = (np.diff(path_DB, axis=0).var(axis=0) for path_DB in (agent_DB, market_DB))
    moved_B = moved_B / np.maximum(market_B, (STILL * volatility_B) ** 2)
    invested_B = np.minimum(moved_B, 1.0) ** 2
    earned_B = np.maximum(2 * pnl_B - 1, 0.0) ** 2 * -np.expm1(-traded_B) * np.minimum(AT_WORK * moved_B, 1.0)
    activity_B: Floats = (invested_B + (1 - invested_B) * earned_B) * np.minimum(2 * pnl_B, 1.0) ** 2
    return activity_B


Paths = tuple[Floats, Floats, Floats, NDArray[np.int64], NDArray[np.bool_]]


def trade(episodes: Sequence[Episode], rules: Mapping[str, Any], act: Callable[[Any, int, Any], Any]) -> Paths:
    """Play episodes of one market side by side.

    Args:
        episodes: all with the same data and settings.
        rules: settings to play them with, instead of their own.
        act: orders [B, N], given the observations, the day and where episodes are live.

    Returns:
        As in a :class:`Record`: [D + 1, B] equity, [D, B] value traded, [D, B] costs, [B] orders refused; and [B]
        whether an episode ended without a bankruptcy.
    """
    first = episodes[0]
    count, days = len(episodes), first.config.days
    env = VectorTradingEnv(first.data, count, **{**first.config.model_dump(), **rules})
    seen_BF, _ = env.reset(options=reset_options(episodes))
    equity_DB = np.full((days + 1, count), first.config.cash)
    turnover_DB, costs_DB = np.zeros((2, days, count))
    refused_B, live_B = np.zeros(count, np.int64), np.ones(count, np.bool_)
    for day in range(days):
        next_BF, _, terminated_B, _, info = env.step(act(seen_BF, day, live_B))
        # Where an episode is over, the vector environment shows the beginning of another one.
        seen_BF = np.where(live_B[:, None], next_BF, seen_BF)
        equity_DB[day + 1] = np.where(live_B, info["equity"], equity_DB[day])
        turnover_DB[day], costs_DB[day] = live_B * info["turnover"], live_B * info["costs"]
        refused_B += live_B * info["refused"]
        live_B = live_B & ~terminated_B
    return equity_DB, turnover_DB, costs_DB, refused_B, live_B


def reset_options(episodes: Sequence[Episode]) -> dict[str, list[Any]]:
    """The options with which a vector environment is reset to play these episodes."""
    return {
        "start": [episode.start for episode in episodes],
        "tickers": [list(episode.tickers) for episode in episodes],
    }


def market_portfolios(episodes: Sequence[Episode]) -> list[MarketPortfolio]:
    """Buy-and-hold of each episode. All must have the same data and settings."""
    first = episodes[0]
    # Every order asks for all the cash, so the day's fractions are scaled to equal parts of it.
    orders_BN = np.ones((len(episodes), first.config.tickers), np.float32)
    rules = {"observation": "numeric", "leverage": 1.0, "short": False, "ruin": 0.0}
    equity_DB, *_ = trade(episodes, rules, lambda _, day, __: orders_BN if day == 0 else 0 * orders_BN)
    cash_growth = math.log(ExecutionParams.of(first.config, first.data.panel.bars_per_year).interest)
    return [MarketPortfolio(equity_DB[:, b].copy(), *volatilities(one), cash_growth) for b, one in enumerate(episodes)]


def volatilities(episode: Episode) -> tuple[float, float]:
    """Volatility of the episode's stocks in equal parts, and the mean of the stocks' own: of daily log returns.

    Both are from rows up to the episode's start alone.
    """
    rows = slice(max(0, episode.start - VOLATILITY_DAYS), episode.start + 1)
    change_TN = np.diff(np.log(episode.data.close_TN[rows].take(episode.columns, axis=1)), axis=0)
    known_TN = np.isfinite(change_TN)
    some_T = known_TN.any(axis=1)
    mean_T = np.where(known_TN, change_TN, 0.0).sum(axis=1)[some_T] / known_TN.sum(axis=1)[some_T]
    own = [_deviation(change_TN[known_TN[:, n], n]) for n in range(len(episode.columns))]
    return _deviation(mean_T), float(np.mean(own))


def _deviation(change_T: Floats) -> float:
    if len(change_T) < 2:
        return USUAL_VOLATILITY
    return max(float(change_T.std(ddof=1)), MIN_VOLATILITY)


# playing ------------------------------------------------------------------------------------------


BATCH = 512
"""Episodes played at once."""


def play(
    agent: Agent, env: Any, episodes: int, seed: int = 0, *, foresight: bool = False, batch: int = BATCH
) -> list[Record]:
    """Play the episodes of ``reset(seed=seed)``, ``seed + 1`` and so on, many side by side.

    Args:
        agent: who trades.
        env: a :class:`TradingEnv` with numeric observations, wrapped or not. Its own episode is not touched.
        episodes: how many.
        seed: of the first.
        foresight: give the agent the episodes' future, for reference agents such as an oracle.
        batch: episodes played side by side.

    Raises:
        EnvError: there are no episodes to play, or the environment has text observations.
    """
    env = env.unwrapped
    if episodes < 1:
        raise EnvError(f"episodes is {episodes}: play at least one.")
    records: list[Record] = []
    for first in range(seed, seed + episodes, batch):
        seeds = range(first, min(first + batch, seed + episodes))
        records += _play_batch(agent, env, seeds, foresight)
    return records


def record_conversation(agent: str, seed: int, chat: TradingChatEnv) -> Record:
    """The record of an agent's conversation whose episode, reset with ``seed``, is over."""
    env = chat.env
    days = env.config.days
    missing = [0.0] * (days - len(env.turnovers))
    return Record(
        agent=agent,
        seed=seed,
        start=env.episode.start,
        tickers=env.episode.tickers,
        equity_D=whole_path(env.equities, days),
        turnover_D=np.array([*env.turnovers, *missing]),
        costs_D=np.array([*env.costs, *missing]),
        refused=sum(chat.refused),
        terminated=env.is_bankrupt,
        market=market_portfolios([env.episode])[0],
        versions=dict(env.versions),
    )


def _play_batch(agent: Agent, env: TradingEnv, seeds: Sequence[int], foresight: bool) -> list[Record]:
    # A copy draws the same episodes as ``env`` without disturbing the one in progress.
    twin, episodes = copy.copy(env), []
    for seed in seeds:
        twin.reset(seed=seed)
        episodes.append(twin.episode)
    names = tuple(episode.names for episode in episodes)
    future = tuple(episodes) if foresight else None
    state = State(env.config, names, tuple(seeds), 0, np.ones(len(seeds), np.bool_), episodes=future)

    def act(observations_BF: Any, day: int, live_B: Any) -> Any:
        state.day, state.live_B = day, live_B
        return agent.act(observations_BF, state)

    equity_DB, turnover_DB, costs_DB, refused_B, live_B = trade(episodes, {}, act)
    markets = market_portfolios(episodes)
    return [
        Record(
            agent=agent.name,
            seed=seeds[b],
            start=episode.start,
            tickers=episode.tickers,
            equity_D=equity_DB[:, b].copy(),
            turnover_D=turnover_DB[:, b].copy(),
            costs_D=costs_DB[:, b].copy(),
            refused=int(refused_B[b]),
            terminated=not live_B[b],
            market=markets[b],
            versions=dict(env.versions),
        )
        for b, episode in enumerate(episodes)
    ]
