"""A search for policies without information that grade above the market nevertheless.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/gaming.py

Markets are martingales with fat tails and a common factor, so no policy can earn more than holding does. A policy sees
its lead over the market, its own Sharpe ratio and drawdown so far, the market's return and the day. With a linear score
of these it selects cash, half of the market, the market, one stock or three stocks every day, at the usual costs. Hill
climbing from random starts looks for the weights with the highest mean grade. The result is evaluated on other markets,
without the luck of the search. Grades with other scales are searched too, to show why the scales are as they are.
Prints the best of each; the market has .575.
"""

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tradeschool.env import grading
from tradeschool.env.config import LEVELS
from tradeschool.env.grading import MarketPortfolio

Floats = NDArray[np.float64]
COST, VOLATILITY, CORRELATION = 0.001, 0.02, 0.2
FEATURES, CHOICES = 8, 5
SEARCHED = {"Easy": 2500, "Medium": 1000, "Hard": 500}
PLAYED = {"Easy": 20_000, "Medium": 5_000, "Hard": 2_500}
STEPS, STARTS = 600, 40


def main(steps: int) -> None:
    """Search every level, with the scales of the grade and with others."""
    table = Table(title="the best policy found, by its grade on markets that it was not searched on")
    for heading in ("level", "scales", "where searched", "elsewhere", *grading.WEIGHTS):
        table.add_column(heading, justify="right" if heading not in ("level", "scales") else "left")
    for level in LEVELS:
        searched, elsewhere = growth(level, SEARCHED[level], 0), growth(level, PLAYED[level], 1)
        for name, graded in SCALES.items():
            weights = climb(searched, graded, steps)
            best = total(graded(*play(weights, searched)))
            parts_4B = graded(*play(weights, elsewhere))
            error = shares() @ parts_4B
            reach = 1.96 * error.std() / np.sqrt(len(error))
            means = [f"{mean:.3f}" for mean in parts_4B.mean(axis=1)]
            table.add_row(level, name, f"{best:.3f}", f"{total(parts_4B):.3f} ± {reach:.3f}", *means)
    Console(width=120).print(table)


def shares() -> Floats:
    """The weights of the four parts."""
    return np.array(list(grading.WEIGHTS.values()))


def total(parts_4B: Floats) -> float:
    """The mean grade."""
    return float((shares() @ parts_4B).mean())


def growth(level: str, count: int, seed: int) -> Floats:
    """[D, B, N] growth of prices a day, and its mirror image."""
    days, stocks = LEVELS[level]["days"], LEVELS[level]["tickers"]
    rng = np.random.default_rng([stocks, seed])
    common, own = rng.standard_t(5, (days, count // 2, 1)), rng.standard_t(5, (days, count // 2, stocks))
    move = VOLATILITY * np.sqrt(3 / 5) * (np.sqrt(CORRELATION) * common + np.sqrt(1 - CORRELATION) * own)
    growth_DBN: Floats = np.exp(np.concatenate([move, -move], axis=1))
    return growth_DBN / growth_DBN.mean()


Grader = Callable[[Floats, Floats, Floats, float, float], Floats]


def play(weights_FC: Floats, growth_DBN: Floats) -> tuple[Floats, Floats, Floats, float, float]:
    """Equity of the policy and of the market, [D + 1, B], turnover, and the volatility of the market and of a stock."""
    days, count, stocks = growth_DBN.shape
    volatility, own = float(np.log(growth_DBN).mean(axis=2).std()), float(np.log(growth_DBN).std())
    market_BN, held_BN = np.full((count, stocks), (1 - COST) / stocks), np.zeros((count, stocks))
    equity, market = [np.ones(count)], [np.ones(count)]
    chosen_B, traded_B, squares_B, peak_B = np.full(count, -1), np.zeros(count), np.zeros(count), np.zeros(count)
    for day in range(days):
        log_B, market_log_B = np.log(equity[-1]), np.log(market[-1])
        reach = volatility * np.sqrt(days)
        lead_B, sharpe_B = (log_B - market_log_B) / reach, log_B / np.sqrt(squares_B + (0.1 * reach) ** 2)
        peak_B = np.maximum(peak_B, log_B)
        now_B = np.full(count, day / days)
        seen = [np.ones(count), lead_B, abs(lead_B), sharpe_B, (peak_B - log_B) / reach, now_B, lead_B * now_B]
        choice_B = (np.stack([*seen, market_log_B / reach], axis=1) @ weights_FC).argmax(axis=1)
        target_BN = portfolios(market_BN, choice_B)
        changed_B = (choice_B != chosen_B).astype(float)
        turnover_B = changed_B * abs(target_BN - held_BN / equity[-1][:, None]).sum(axis=1)
        worth_B = equity[-1] * (1 - COST * turnover_B)
        held_BN = np.where(changed_B[:, None] > 0, target_BN * worth_B[:, None], held_BN)
        cash_B = worth_B - held_BN.sum(axis=1)
        held_BN, market_BN = held_BN * growth_DBN[day], market_BN * growth_DBN[day]
        chosen_B, traded_B = choice_B, traded_B + turnover_B
        equity.append(cash_B + held_BN.sum(axis=1))
        market.append(market_BN.sum(axis=1))
        squares_B += np.log(equity[-1] / equity[-2]) ** 2
    return np.array(equity), np.array(market), traded_B, volatility, own


def portfolios(market_BN: Floats, choice_B: NDArray[np.intp]) -> Floats:
    """[B, N] shares of the equity of what is chosen."""
    whole_BN = market_BN / market_BN.sum(axis=1, keepdims=True)
    stocks = market_BN.shape[1]
    some = [np.arange(stocks) < min(number, stocks) for number in (1, 3)]
    fixed = [np.broadcast_to(one / one.sum(), whole_BN.shape) for one in some]
    return np.choose(choice_B[:, None], [np.zeros_like(whole_BN), 0.5 * whole_BN, whole_BN, *fixed])


def climb(growth_DBN: Floats, graded: Grader, steps: int) -> Floats:
    """The best weights of random starts, then of steps away from the best so far; at first the market, held."""
    rng = np.random.default_rng(0)
    found = np.zeros((FEATURES, CHOICES))
    found[0, 2] = 1.0
    best = total(graded(*play(found, growth_DBN)))
    for step in range(STARTS + steps):
        size, some = rng.choice([0.03, 0.1, 0.3, 1.0]), rng.random((FEATURES, CHOICES)) < rng.choice([0.1, 0.4])
        away = rng.normal(0, 1, (FEATURES, CHOICES))
        tried = away if step < STARTS else found + size * some * away
        mean = total(graded(*play(tried, growth_DBN)))
        if mean > best:
            best, found = mean, tried
    return found


def scaled(steady: float, by_stocks: bool) -> Grader:
    """The grade with another floor of the Sharpe ratio, or P&L by the market's volatility instead of the stocks'."""

    def graded(equity_DB: Floats, market_DB: Floats, traded_B: Floats, volatility: float, own: float) -> Floats:
        before, grading.STEADY = grading.STEADY, steady
        against = [MarketPortfolio(path_D, volatility, own if by_stocks else volatility) for path_D in market_DB.T]
        parts_4B = grading.grade_paths(equity_DB, against, traded_B)
        grading.STEADY = before
        return parts_4B

    return graded


SCALES: dict[str, Grader] = {
    "as it is": scaled(grading.STEADY, True),
    "Sharpe floor .1": scaled(0.1, True),
    "P&L by the market's volatility": scaled(grading.STEADY, False),
}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STEPS)
