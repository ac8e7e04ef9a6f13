"""The market that an episode is graded against: its stocks, bought in equal parts on the first day and held."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tradeschool.env.batched import BatchedTradingEnv
from tradeschool.env.broker import Terms
from tradeschool.env.episode import Episode
from tradeschool.market.panel import Floats

VOLATILITY_DAYS = 50
"""Rows before the first decision that the market's volatility is measured on: those that every stock drawn has."""
USUAL_VOLATILITY = 0.01
"""Of a day, where there are too few rows to measure it."""
LEAST_VOLATILITY = 0.001


@dataclass(frozen=True)
class Market:
    """Buy and hold through the same broker, at the same costs, without leverage or shorting.

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


def markets(episodes: Sequence[Episode]) -> list[Market]:
    """The market of each episode. All have the same data and settings."""
    first = episodes[0]
    rules = first.config.model_dump() | {"observation": "numeric", "leverage": 1.0, "short": False, "ruin": 0.0}
    env = BatchedTradingEnv(first.data, len(episodes), **rules)
    env.reset(options=options(episodes))
    equity_DB = np.empty((first.config.days + 1, len(episodes)))
    equity_DB[0] = first.config.cash
    gone_B = np.zeros(len(episodes), np.bool_)
    # One order for all the cash: the fractions of the day are scaled to equal parts of it.
    orders_BN = np.ones((len(episodes), first.config.tickers), np.float32)
    for day in range(1, first.config.days + 1):
        _, _, terminated_B, _, info = env.step(orders_BN)
        equity_DB[day] = np.where(gone_B, equity_DB[day - 1], info["equity"])
        gone_B |= terminated_B
        orders_BN = np.zeros_like(orders_BN)
    cash_growth = math.log(Terms.of(first.config).growth)
    return [Market(equity_DB[:, b].copy(), *volatilities(one), cash_growth) for b, one in enumerate(episodes)]


def options(episodes: Sequence[Episode]) -> dict[str, list[object]]:
    """What a batch is reset with to play these episodes."""
    return {
        "start": [episode.start for episode in episodes],
        "tickers": [list(episode.tickers) for episode in episodes],
    }


def volatilities(episode: Episode) -> tuple[float, float]:
    """Standard deviation of the daily log return of the episode's stocks in equal parts, and the mean of their own.

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
    return max(float(change_T.std(ddof=1)), LEAST_VOLATILITY)
