"""What the best possible player gets on the synthetic market, beside rules: the ceiling of docs/environment.md.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.best_player [RECIPE] [SEEDS]

The player knows the true alpha of every stock: the expected return of the next day, known at the close. It pays the
same costs, buys a stock for a part of the equity while more than ``BUY_ABOVE`` percent are expected, the best first,
and sells it when less than ``SELL_BELOW`` percent are. No model can know the true alpha from what it is shown.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tradeschool.config.recipe import load_panel, make_task, read
from tradeschool.env.grading import Record, grades, play
from tradeschool.env.strategies import AT, Agent, State, facts_of, make_strategy, orders_to
from tradeschool.market.panel import Floats, Panel
from tradeschool.tasks.trade import TradeTask

BUY_ABOVE, SELL_BELOW = 0.2, 0.0
PARTS = 5
EPISODES, FIRST_SEED = 400, 0
RULES = ("buy and hold", "hold", "momentum", "rsi", "macd", "rules")


@dataclass(frozen=True)
class BestPlayer:
    """Trades on the true alpha; needs ``play(..., foresight=True)``, although it uses nothing of the future."""

    panel: Panel
    name: str = "best possible player"

    def act(self, observations: Any, state: State) -> Floats:
        """Sell what is expected to fall; buy the best of the rest, as far as parts are free."""
        assert state.episodes is not None
        facts_BNK = facts_of(observations, state.config.tickers)
        alpha_TN = self.panel.true_alpha_TN
        assert alpha_TN is not None
        alpha_BN = np.stack([alpha_TN[one.start + state.day, one.columns] for one in state.episodes])
        expected_BN = np.nan_to_num(alpha_BN) * np.maximum(facts_BNK[..., AT["volatility_20"]], 0.0)
        held_BN = facts_BNK[..., AT["share"]] > 0
        parts = min(PARTS, state.config.tickers)
        target_BN = np.where(held_BN & (expected_BN < SELL_BELOW), 0.0, np.nan)
        free_B = parts - (held_BN & np.isnan(target_BN)).sum(axis=1)
        wanted_BN = np.where(~held_BN & (expected_BN > BUY_ABOVE), expected_BN, -np.inf)
        rank_BN = np.argsort(np.argsort(-wanted_BN, axis=1), axis=1)
        target_BN[np.isfinite(wanted_BN) & (rank_BN < free_B[:, None])] = 1 / parts
        return orders_to(target_BN, observations, state.config)


def row(records: list[Record]) -> list[str]:
    """Mean grade, return and value traded over the start."""
    traded = np.mean([record.turnover_D.sum() / record.equity_D[0] for record in records])
    earned = np.mean([record.equity_D[-1] / record.equity_D[0] - 1 for record in records])
    return [f"{np.mean([one.total for one in grades(records)]):.3f}", f"{100 * earned:.1f}", f"{traded:.1f}"]


def main(path: str = "recipes/episodes-medium.yaml", seeds: str = "0") -> None:
    """Print a table for every seed of the market."""
    for seed in seeds.split(","):
        recipe = read(Path(path), [f"market.seed={seed}"])
        panel = load_panel(recipe, Console(quiet=True))
        task = make_task(recipe, panel)
        assert isinstance(task, TradeTask)
        table = Table("agent", "grade", "return, %", "traded", title=f"{task.config.level}, market seed {seed}")
        agents: list[Agent] = [*map(make_strategy, RULES), BestPlayer(panel)]
        for agent in agents:
            env = task.env("test", "numeric")
            table.add_row(agent.name, *row(play(agent, env, EPISODES, FIRST_SEED, foresight=True)))
        Console().print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
