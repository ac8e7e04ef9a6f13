"""Policies that see only their own equity, on markets without an edge, get no mean grade above the market's.

Any bounded grade invites gaming: bet until ahead, then stop. What it is relative to decides whether that
pays (docs/grading.md). ``benchmarks/gaming.py`` searches many more such policies.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tradeschool.env.grading import WEIGHTS, MarketPortfolio, grade_paths

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
COST = 0.001
MARKET_TOTAL = 0.575
CHANCE = 0.003
"""Two standard errors of a mean grade here: a smaller lead over the market is chance."""
EPISODES = {1: (20, 16_000), 10: (30, 4_000), 25: (40, 1_500)}
"""Days and episodes by stocks, as the three levels have them."""


def growth(stocks: int, volatility: float = 0.02, correlation: float = 0.2) -> Floats:
    """[D, B, N] growth of prices a day: fat tails, one common factor, a martingale."""
    days, count = EPISODES[stocks]
    rng = np.random.default_rng([stocks, 3])
    common, own = rng.standard_t(5, (days, count // 2, 1)), rng.standard_t(5, (days, count // 2, stocks))
    move = volatility * np.sqrt(3 / 5) * (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own)
    # Each with its mirror image: no luck of the draw in the mean.
    growth_DBN: Floats = np.exp(np.concatenate([move, -move], axis=1))
    return growth_DBN / growth_DBN.mean()


def held(growth_DBN: Floats) -> Floats:
    """[D + 1, B] equity of buy and hold of all the stocks that there are."""
    worth_DBN = np.cumprod(growth_DBN, axis=0) * (1 - COST)
    return np.vstack([np.ones((1, growth_DBN.shape[1])), worth_DBN.mean(axis=2)])


def scale(growth_DBN: Floats) -> float:
    """Daily volatility of the stocks in equal parts."""
    return float(np.log(growth_DBN).mean(axis=2).std())


def total(equity_DB: Floats, growth_DBN: Floats, traded: Floats | float) -> float:
    """The mean grade against buy and hold of the stocks."""
    volatility, own = scale(growth_DBN), float(np.log(growth_DBN).std())
    against = [MarketPortfolio(path_D, volatility, own) for path_D in held(growth_DBN).T]
    parts_4B = grade_paths(equity_DB, against, np.broadcast_to(traded, len(against)))
    return float((np.array(list(WEIGHTS.values())) @ parts_4B).mean())


def timed(bet_DB: Floats, market_DB: Floats, wants: Callable[[int, Bools, Floats], Bools], cost: float) -> Floats:
    """[D + 1, B] equity of who follows the bet or the market: ``wants`` gives, by day, where the market is wanted.

    It gets the day, where the market is held, and the log equity so far, [day + 1, B].
    """
    log_DB = np.zeros_like(market_DB)
    in_market_B = np.zeros(market_DB.shape[1], np.bool_)
    bet_change_DB, change_DB = np.diff(np.log(bet_DB), axis=0), np.diff(np.log(market_DB), axis=0)
    for day in range(len(change_DB)):
        wanted_B = wants(day, in_market_B, log_DB[: day + 1])
        paid_B = (wanted_B != in_market_B) * (-np.log1p(-cost) if day else 0.0)
        log_DB[day + 1] = log_DB[day] + np.where(wanted_B, change_DB[day], bet_change_DB[day]) - paid_B
        in_market_B = wanted_B
    return np.exp(log_DB)


@pytest.mark.parametrize(("stocks", "bet"), [(1, 0), (10, 0), (10, 1), (25, 0), (25, 1), (25, 3)])
def test_betting_until_ahead_does_not_beat_the_market(stocks: int, bet: int) -> None:
    growth_DBN = growth(stocks)
    market_DB = held(growth_DBN)
    bet_DB = held(growth_DBN[:, :, :bet]) if bet else np.ones_like(market_DB)
    reach = scale(growth_DBN) * np.sqrt(len(growth_DBN))
    for ahead in (0.05, 0.3, 0.6):

        def wants(day: int, in_market_B: Bools, log_DB: Floats, ahead: float = ahead) -> Bools:
            return in_market_B | (day > 0) & (log_DB[-1] - np.log(market_DB[day]) >= ahead * reach)

        equity_DB = timed(bet_DB, market_DB, wants, COST * (1 + bool(bet)))
        got = total(equity_DB, growth_DBN, 1.0 + bool(bet))
        assert got < MARKET_TOTAL + CHANCE, f"a bet on {bet}, {ahead} ahead: {got}"


@pytest.mark.parametrize("stocks", EPISODES)
@pytest.mark.parametrize("back", [0.1, 0.3, np.inf])
def test_taking_profits_and_buying_back_does_not_beat_the_market(stocks: int, back: float) -> None:
    """Sold where one's own Sharpe ratio so far is high, bought back where that put one ahead of the market."""
    growth_DBN = growth(stocks)
    market_DB = held(growth_DBN)
    daily = scale(growth_DBN)
    reach = daily * np.sqrt(len(growth_DBN))
    for least in (0.5, 0.75, 1.0, 1.5):

        def wants(day: int, in_market_B: Bools, log_DB: Floats, least: float = least) -> Bools:
            moved_B = np.sqrt((np.diff(log_DB, axis=0) ** 2).sum(axis=0) + (0.1 * reach) ** 2)
            ahead_B = log_DB[-1] - np.log(market_DB[day]) >= back * reach
            return (day == 0) | ahead_B | in_market_B & (log_DB[-1] < least * moved_B)

        equity_DB = timed(np.ones_like(market_DB), market_DB, wants, COST)
        got = total(equity_DB, growth_DBN, 3.0)
        assert got < MARKET_TOTAL + CHANCE, f"sold at {least}, back at {back}: {got}"


@pytest.mark.parametrize("stocks", EPISODES)
def test_holding_part_of_the_market_does_not_beat_the_market(stocks: int) -> None:
    growth_DBN = growth(stocks)
    market_DB = held(growth_DBN)
    nothing_DB = np.ones_like(market_DB)
    floor = total(nothing_DB, growth_DBN, 0.0)
    for part in (0.001, 0.05, 0.3, 0.7, 0.95):
        assert total(1 - part + part * market_DB, growth_DBN, part) < MARKET_TOTAL
        last_DB = nothing_DB.copy()
        last_DB[-1] += part * (growth_DBN[-1].mean(axis=1) * (1 - COST) - 1)
        # Who trades on the last day alone is hardly off the floor.
        assert total(last_DB, growth_DBN, part) < floor + 0.02


@pytest.mark.parametrize("stocks", EPISODES)
def test_leverage_and_tiny_trades_do_not_beat_the_market(stocks: int) -> None:
    growth_DBN = growth(stocks)
    market_DB = held(growth_DBN)
    for leverage in (1.5, 3.0):
        assert total(1 - leverage + leverage * market_DB, growth_DBN, leverage) < MARKET_TOTAL
    for dust in (0.001, 0.01, 0.1):
        # Sold and bought back every day, the rest held.
        churned_DB = market_DB * (1 - 2 * COST * dust) ** np.arange(len(market_DB))[:, None]
        assert total(churned_DB, growth_DBN, 50 * dust) < MARKET_TOTAL
