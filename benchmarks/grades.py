"""Grades of reference agents on the synthetic market, and the episodes needed to see a difference between two.

    PYTHONPATH=tests OMP_NUM_THREADS=1 .venv/bin/python benchmarks/grades.py

Prints by level: mean grade with its 95 % interval, standard deviation over episodes, the four parts. For pairs of
agents: the standard deviation of their differences on the same episodes, and how many episodes each needs to see a
difference of .05 with a power of .8, on the same and on different episodes.
"""

import statistics
import sys
from typing import Any

from reference_agents import Churner, Constant, NoisyForesight, Oracle, play_text
from rich.console import Console
from rich.table import Table

from tradeschool.env.config import LEVELS
from tradeschool.env.grading import WEIGHTS, Record, grades, play, totals
from tradeschool.env.market_data import synthetic_data
from tradeschool.env.strategies import BuyAndHold, Random
from tradeschool.env.trading_env import TradingEnv
from tradeschool.evaluate.inference_cosine import CosineEstimate, episodes_needed

Played = dict[str, list[Record]]
EPISODES = 1000
GIBBERISH_EPISODES = 200
CLAIM = 0.05
GIBBERISH = "colourless green ideas sleep furiously"
AGENTS: tuple[Any, ...] = (
    Constant(),
    Random(),
    Churner(name="churner: all in, all out"),
    Churner(0.5, 1, 1, invested=True, name="churner of the market's half"),
    Churner(1.0, 1000, stocks=1, name="all in one stock"),
    BuyAndHold(),
    NoisyForesight(0.3, name="noisy foresight, .3 of the day"),
    NoisyForesight(0.4, name="noisy foresight, .4 of the day"),
    NoisyForesight(0.6, name="noisy foresight, .6 of the day"),
    NoisyForesight(0.3, split=False, name="noisy foresight, .3 of each stock"),
    Oracle(),
)
PAIRS = (
    ("hold", "buy and hold"),
    ("random", "hold"),
    ("noisy foresight, .3 of the day", "noisy foresight, .4 of the day"),
    ("noisy foresight, .3 of the day", "buy and hold"),
)


def main(episodes: int) -> None:
    """Print the tables."""
    console = Console(width=140)
    for level in LEVELS:
        played: Played = {agent.name: records(agent, level, episodes) for agent in AGENTS}
        # Text is slow, and gibberish has the grade of doing nothing in every episode.
        text_env = TradingEnv(synthetic_data(), observation="text", **LEVELS[level])
        played["gibberish"] = play_text(GIBBERISH, text_env, min(episodes, GIBBERISH_EPISODES))
        console.print(of_agents(level, played))
        console.print(of_pairs(level, played))


def records(agent: Any, level: str, episodes: int) -> list[Record]:
    """An agent's episodes."""
    env = TradingEnv(synthetic_data(), observation="numeric", **LEVELS[level])
    return play(agent, env, episodes, foresight=isinstance(agent, Oracle | NoisyForesight))


def estimate(found: list[Record]) -> CosineEstimate:
    """The mean grade of an agent's episodes."""
    return CosineEstimate.of(totals(found), [one.start for one in found], len(found[0].turnover_D))


def of_agents(level: str, played: Played) -> Table:
    """Mean, interval, spread and parts of every agent."""
    table = Table(title=f"{level}: {LEVELS[level]['tickers']} stocks x {LEVELS[level]['days']} days")
    for heading in ("agent", "episodes", "grade", "interval", "SD", *WEIGHTS):
        table.add_column(heading, justify="left" if heading == "agent" else "right")
    for name, found in played.items():
        interval = estimate(found).interval()
        parts = [statistics.mean(getattr(one, part) for one in grades(found)) for part in WEIGHTS]
        spread = totals(found).std(ddof=1)
        cells = (interval.value, spread, *parts)
        mean, deviation, *rest = (f"{abs(cell):.3f}" for cell in cells)
        table.add_row(name, str(len(found)), mean, f"{interval.low:.3f} to {interval.high:.3f}", deviation, *rest)
    return table


def of_pairs(level: str, played: Played) -> Table:
    """Episodes needed to distinguish two agents."""
    table = Table(title=f"{level}: episodes for a difference of {CLAIM}")
    for heading in ("agents", "difference", "SD of one", "SD of differences", "the same episodes", "others"):
        table.add_column(heading, justify="left" if heading == "agents" else "right")
    for first, second in PAIRS:
        gap_B = (estimate(played[first]) - estimate(played[second])).values_B
        single = max(float(totals(played[name]).std(ddof=1)) for name in (first, second))
        both = float(gap_B.std(ddof=1))
        needed = episodes_needed(CLAIM, both), episodes_needed(CLAIM, single, is_paired=False)
        table.add_row(
            f"{first} - {second}", f"{gap_B.mean():+.3f}", f"{single:.3f}", f"{both:.3f}", *(str(one) for one in needed)
        )
    return table


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EPISODES)
