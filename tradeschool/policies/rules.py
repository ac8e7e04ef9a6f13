"""Rules as policies: the baselines that a model must beat before its result counts as skill."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tradeschool.market.snapshot import Snapshot
from tradeschool.policies.base import Answerer, Kind
from tradeschool.tasks.base import Example, Task
from tradeschool.text.describe import Fact

Decide = Callable[[Example, Snapshot | None], tuple[Any, str]]
"""An action and its reasoning, from a question and its snapshot."""
EXPERT_POINTS: dict[str, dict[str, int]] = {
    "strength": {"very strong": 2, "strong": 1, "weak": -1, "very weak": -2},
    "momentum": {"rising fast": 2, "rising": 1, "falling": -1, "falling fast": -2},
    "rsi": {"oversold": 1, "overbought": -1},
    "trend": {"up": 1, "down": -1},
    "macd": {"above signal": 1, "below signal": -1},
    "stochastic": {"oversold": 1, "overbought": -1},
    "bollinger": {"below the bands": 1, "above the bands": -1},
    "news": {"good": 1, "bad": -1},
}  # fmt: skip
"""Points of the words of facts for the expert: plain indicator rules."""


class Rule(Answerer):
    """Decides from the question's snapshot, so it knows no more than a model does, and answers in the task's format."""

    def __init__(self, name: str, kind: Kind, decide: Decide) -> None:
        self.name, self.kind, self._decide = name, kind, decide

    def answer(self, task: Task, examples: Sequence[Example]) -> list[str]:
        """One answer per example."""
        return [task.format_answer(*self._decide(example, task.snapshot(example))) for example in examples]


def oracle(task: Task) -> Rule:
    """The action with the highest expected score. Only tasks on synthetic markets know it."""
    return Rule("best possible", "best", lambda example, snapshot: (task.oracle_action(example), "Knows the forecast."))


def constant(name: str, action: Any) -> Rule:
    """The same action on every question."""
    return Rule(name, "naive", lambda example, snapshot: (action, "Always the same."))


def random(actions: Sequence[Any], seed: int, name: str = "random", kind: Kind = "naive") -> Rule:
    """An action drawn evenly for every question. It depends only on ``seed`` and the question's key."""

    def decide(example: Example, snapshot: Snapshot | None) -> tuple[Any, str]:
        # Drawn from the key, so that the answer does not depend on the order of the questions.
        rng = np.random.default_rng([seed, *example.key.encode()])
        return actions[int(rng.integers(0, len(actions)))], "Drawn at random."

    return Rule(name, kind, decide)


def rsi_rules() -> Rule:
    """Ratings by RSI(14) after Wilder: buy below 30, sell above 70, strongly below 20 and above 80."""

    def decide(example: Example, snapshot: Snapshot | None) -> tuple[int, str]:
        rsi = _value(snapshot, "rsi_14")
        # A comparison with NaN is false, so an unknown RSI holds.
        rating = 2 * (rsi < 20) + (20 <= rsi < 30) - (70 < rsi <= 80) - 2 * (rsi > 80)
        return int(rating), f"RSI {rsi:.1f}."

    return Rule("rsi rules", "rule", decide)


def momentum() -> Rule:
    """Ratings by the ten-day return: strong beyond 5 %, HOLD within 1 %."""

    def decide(example: Example, snapshot: Snapshot | None) -> tuple[int, str]:
        change = _value(snapshot, "roc_10")
        rating = 2 * (change >= 5) + (1 <= change < 5) - (-5 < change <= -1) - 2 * (change <= -5)
        return int(rating), f"Momentum {change:+.1f}%."

    return Rule("momentum 10d", "rule", decide)


def _value(snapshot: Snapshot | None, name: str) -> float:
    if snapshot is None:
        raise TypeError(f"a rule that reads {name} needs a task whose snapshot() returns one")
    return snapshot.values[name]


def expert_points(stated: Sequence[Fact]) -> int:
    """The sum of the points of the facts' words; above 0 speaks for buying."""
    return sum(EXPERT_POINTS.get(fact.name, {}).get(fact.word, 0) for fact in stated)
