"""Grades of reference policies on the practice market, and the episodes that a difference between two of them needs.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/grades.py

Prints, by level: mean grade with its 95 % interval, standard deviation over episodes, the four parts; and for pairs of
policies the standard deviation of their differences on the same episodes, and how many episodes each needs to see a
difference of .05 with a power of .8, on the same episodes and on others.
"""

import statistics
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from tradeschool.env.grading import WEIGHTS, grades, totals
from tradeschool.env.harness import Record, play
from tradeschool.env.levels import LEVELS
from tradeschool.env.reference import BuyAndHold, Churner, Constant, Expert, Oracle, Random, Saying
from tradeschool.env.sampling import episodes_needed, grade_interval, paired
from tradeschool.env.trading import TradingEnv, practice_data

Played = dict[str, list[Record]]
EPISODES = 1000
GIBBERISH_EPISODES = 200
CLAIM = 0.05
GIBBERISH = Saying("colourless green ideas sleep furiously", "gibberish")
AGENTS: tuple[Any, ...] = (
    Constant(),
    GIBBERISH,
    Random(),
    Churner(name="churner: all in, all out"),
    Churner(0.5, 1, 1, invested=True, name="churner of the market's half"),
    Churner(1.0, 1000, stocks=1, name="all in one stock"),
    BuyAndHold(),
    Expert(0.3, name="expert, .3 a day"),
    Expert(0.4, name="expert, .4 a day"),
    Expert(0.6, name="expert, .6 a day"),
    Expert(0.3, split=False, name="expert, .3 a stock"),
    Oracle(),
)
PAIRS = (
    ("do nothing", "buy and hold"),
    ("random", "do nothing"),
    ("expert, .3 a day", "expert, .4 a day"),
    ("expert, .3 a day", "buy and hold"),
)


def main(episodes: int) -> None:
    """Print the tables."""
    console = Console(width=140)
    for level in LEVELS:
        played: Played = {agent.name: records(agent, level, episodes) for agent in AGENTS}
        console.print(of_agents(level, played))
        console.print(of_pairs(level, played))


def records(agent: Any, level: str, episodes: int) -> list[Record]:
    """An agent's episodes; texts are slow, and gibberish has the grade of doing nothing in every single one."""
    form = "text" if agent is GIBBERISH else "numeric"
    env = TradingEnv(practice_data(), observation=form, **LEVELS[level])
    count = min(episodes, GIBBERISH_EPISODES) if agent is GIBBERISH else episodes
    return play(agent, env, count, foresight=isinstance(agent, Oracle | Expert))


def of_agents(level: str, played: Played) -> Table:
    """Mean, interval, spread and parts of every agent."""
    table = Table(title=f"{level}: {LEVELS[level]['tickers']} stocks x {LEVELS[level]['days']} days")
    for heading in ("agent", "episodes", "grade", "interval", "SD", *WEIGHTS):
        table.add_column(heading, justify="left" if heading == "agent" else "right")
    for name, found in played.items():
        value, low, high = grade_interval(found)
        parts = [statistics.mean(getattr(one, part) for one in grades(found)) for part in WEIGHTS]
        spread = totals(found).std(ddof=1)
        cells = (value, spread, *parts)
        mean, deviation, *rest = (f"{abs(cell):.3f}" for cell in cells)
        table.add_row(name, str(len(found)), mean, f"{low:.3f} to {high:.3f}", deviation, *rest)
    return table


def of_pairs(level: str, played: Played) -> Table:
    """What it takes to tell two agents apart."""
    table = Table(title=f"{level}: episodes for a difference of {CLAIM}")
    for heading in ("agents", "difference", "SD of one", "SD of differences", "the same episodes", "others"):
        table.add_column(heading, justify="left" if heading == "agents" else "right")
    for first, second in PAIRS:
        gap_B = paired(played[first], played[second])
        single = max(float(totals(played[name]).std(ddof=1)) for name in (first, second))
        both = float(gap_B.std(ddof=1))
        needed = episodes_needed(CLAIM, both), episodes_needed(CLAIM, single, is_paired=False)
        table.add_row(
            f"{first} - {second}", f"{gap_B.mean():+.3f}", f"{single:.3f}", f"{both:.3f}", *(str(one) for one in needed)
        )
    return table


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EPISODES)
