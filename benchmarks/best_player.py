"""What the best possible player gets on the synthetic market, and what the same facts allow, beside rules.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.best_player [RECIPE] [SEEDS] [EPISODES]

SEEDS (by comma) are those of the market and of the episodes: the episodes of a run with ``--set market.seed=N --set
stages.leaderboard.seed=N``. All players pay the same costs, buy a stock for a part of the equity while more than a
threshold is expected of it, the best first, and sell it when less than another is:

- **best possible player**: knows the true alpha of every stock, the expected return of the next day. No model can know
  it from what it is shown.
- **same facts, table**: a ridge regression on the words of the facts in ``task.describe`` and on pairs of them, learned
  from what positions on training dates have earned over the next days (``task.discount``).
- **expert on the same words**: what SFT imitates with ``demonstrators: [expert]``.

Shapes: T dates, N stocks, B episodes, Q outcomes, F facts, W words and pairs of words.
"""

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tradeschool.config.recipe import load_panel, make_task, read
from tradeschool.env.grading import Record, grades, play
from tradeschool.env.strategies import AT, Agent, State, facts_of, make_strategy, orders_to
from tradeschool.market import features
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.snapshot import Snapshots
from tradeschool.policies.rules import expert_points
from tradeschool.tasks.trade import TradeTask
from tradeschool.text.describe import Fact, facts

BUY_ABOVE, SELL_BELOW = 0.2, 0.0
"""Percent, for the best possible player."""
COST = 0.1
"""Percent of the traded value with the default settings: the thresholds of the table."""
PARTS = 5
EPISODES = 400
RULES = ("buy and hold", "hold", "momentum 5d", "rsi", "macd", "rsi+macd")
OUTCOMES, PENALTY = 20_000, 30.0
DAYS = 12
"""Days whose returns count in an outcome."""


@dataclass(frozen=True)
class Player:
    """Trades on what is expected of each stock; needs ``play(..., foresight=True)``, which says where an episode is."""

    name: str
    expected_TN: Floats
    buy_above: float
    sell_below: float

    def act(self, observations: Any, state: State) -> Floats:
        """Sell what is expected to fall; buy the best of the rest, as far as parts are free."""
        assert state.episodes is not None
        expected_BN = np.stack([self.expected_TN[one.start + state.day, one.columns] for one in state.episodes])
        held_BN = facts_of(observations, state.config.tickers)[..., AT["share"]] > 0
        parts = min(PARTS, state.config.tickers)
        target_BN = np.where(held_BN & (expected_BN < self.sell_below), 0.0, np.nan)
        free_B = parts - (held_BN & np.isnan(target_BN)).sum(axis=1)
        wanted_BN = np.where(~held_BN & (expected_BN > self.buy_above), expected_BN, -np.inf)
        rank_BN = np.argsort(np.argsort(-wanted_BN, axis=1), axis=1)
        target_BN[np.isfinite(wanted_BN) & (rank_BN < free_B[:, None])] = 1 / parts
        return orders_to(target_BN, observations, state.config)


def best_player(panel: Panel) -> Player:
    """The player that knows the true alpha."""
    assert panel.true_alpha_TN is not None
    volatility_TN = features.compute(panel)["volatility_20"]
    expected_TN = 100 * np.nan_to_num(panel.true_alpha_TN) * np.nan_to_num(volatility_TN)
    return Player("best possible player", expected_TN, BUY_ABOVE, SELL_BELOW)


def players_of_words(task: TradeTask) -> list[Player]:
    """The expert and the table, which read the words of the described facts."""
    panel, names = task.panel, task.config.describe
    snapshots, first = Snapshots(panel), int(task.rows("train")[0])
    stated: dict[tuple[str, ...], list[Fact]] = {}
    words_TN = np.full(panel.shape, "", object)
    for t, n in itertools.product(range(first, panel.shape[0]), range(panel.shape[1])):
        own = facts(snapshots.at(t, n), names)
        words_TN[t, n] = tuple(one.word for one in own)
        stated[words_TN[t, n]] = own
    cells = list(stated)
    number_TN = np.vectorize({cell: i for i, cell in enumerate(cells)}.get, otypes=[np.int64])
    cell_TN = np.zeros(panel.shape, np.int64)
    cell_TN[first:] = number_TN(words_TN[first:])
    points_C = np.array([expert_points(stated[cell]) for cell in cells], np.float64)
    forecast_C = _ridge(task, cell_TN, _indicators(cells))
    return [
        Player("expert on the same words", points_C[cell_TN], 0.5, -0.5),
        Player("same facts, table", forecast_C[cell_TN], COST, -COST),
    ]


def _indicators(cells: list[tuple[str, ...]]) -> Floats:
    """[C, W] which words and pairs of words each combination has."""
    places = range(len(cells[0]))
    groups = [(i,) for i in places] + list(itertools.combinations(places, 2))
    parts = [[(group, tuple(cell[i] for i in group)) for group in groups] for cell in cells]
    known = {part: w for w, part in enumerate(dict.fromkeys(part for own in parts for part in own))}
    found_CW = np.zeros((len(cells), len(known)))
    for c, own in enumerate(parts):
        found_CW[c, [known[part] for part in own]] = 1.0
    return found_CW


def _ridge(task: TradeTask, cell_TN: NDArray[np.int64], parts_CW: Floats) -> Floats:
    """[C] percent that a position is expected to earn after each combination of words, from ``OUTCOMES`` outcomes."""
    rng, rows = np.random.default_rng(0), task.rows("train")
    t_Q = rng.choice(rows[: -DAYS - 1], OUTCOMES)
    n_Q = rng.integers(0, task.panel.shape[1], OUTCOMES)
    close_TN, open_TN = np.log(task.panel.close_TN), np.log(task.panel.open_TN)
    earned_Q = close_TN[t_Q + 1, n_Q] - open_TN[t_Q + 1, n_Q]  # bought at the next open
    for day in range(1, DAYS):
        earned_Q = earned_Q + task.config.discount**day * (close_TN[t_Q + day + 1, n_Q] - close_TN[t_Q + day, n_Q])
    parts_QW, known_Q = parts_CW[cell_TN[t_Q, n_Q]], np.isfinite(earned_Q)
    parts_QW, earned_Q = parts_QW[known_Q], 100 * earned_Q[known_Q]
    penalty_WW = PENALTY * np.eye(parts_QW.shape[1])
    weights_W = np.linalg.solve(parts_QW.T @ parts_QW + penalty_WW, parts_QW.T @ earned_Q)
    forecast_C: Floats = parts_CW @ weights_W
    return forecast_C


def row(records: list[Record]) -> list[str]:
    """Mean grade, return and value traded over the start."""
    traded = np.mean([record.turnover_D.sum() / record.equity_D[0] for record in records])
    earned = np.mean([record.equity_D[-1] / record.equity_D[0] - 1 for record in records])
    return [f"{np.mean([one.total for one in grades(records)]):.3f}", f"{100 * earned:.1f}", f"{traded:.1f}"]


def main(path: str = "recipes/episodes-medium.yaml", seeds: str = "0", episodes: str = str(EPISODES)) -> None:
    """Print a table for every seed of the market."""
    for seed in seeds.split(","):
        recipe = read(Path(path), [f"market.seed={seed}"])
        panel = load_panel(recipe, Console(quiet=True))
        task = make_task(recipe, panel)
        assert isinstance(task, TradeTask)
        table = Table("agent", "grade", "return, %", "traded", title=f"{task.config.level}, market seed {seed}")
        agents: list[Agent] = [*map(make_strategy, RULES), best_player(panel)]
        agents += players_of_words(task) if task.config.describe else []
        for agent in agents:
            env = task.env("test", "numeric")
            table.add_row(agent.name, *row(play(agent, env, int(episodes), int(seed), foresight=True)))
        Console().print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
