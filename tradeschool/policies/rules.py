"""The naive rivals: what a model has to beat before anyone may speak of skill."""

from collections.abc import Callable, Sequence

import numpy as np

from tradeschool.market.window import Window
from tradeschool.policies.base import Kind, Policy
from tradeschool.tasks.base import Prompt, Task


class Rule(Policy):
    """Answers with a function of the Window, in the task's own words.

    ``decide`` gives an action and a word of reasoning; it sees the Window alone, so it knows no more
    than a model does.
    """

    def __init__(self, name: str, kind: Kind, task: Task, decide: Callable[[Window], tuple[int, str]]) -> None:
        self.name, self.kind = name, kind
        self._task, self._decide = task, decide

    def reply(self, prompts: Sequence[Prompt]) -> list[str]:
        """One composed answer per prompt."""
        return [self._task.compose(*self._decide(prompt.window)) for prompt in prompts]


def constant(name: str, task: Task, rating: int) -> Rule:
    """The same rating every day: HOLD does nothing, STRONG_BUY buys and holds."""
    return Rule(name, "naive", task, lambda window: (rating, "Always the same."))


def random(task: Task, seed: int, name: str = "random", kind: Kind = "naive") -> Rule:
    """A rating drawn evenly for every question, fixed by ``seed`` and the question's key."""

    def decide(window: Window) -> tuple[int, str]:
        # Drawn from the key, so that the answer does not depend on the order of the questions.
        rng = np.random.default_rng([seed, *window.key.encode()])
        return int(rng.integers(-2, 3)), "Drawn at random."

    return Rule(name, kind, task, decide)


def rsi_rules(task: Task) -> Rule:
    """Wilder's reading of RSI(14): below 30 oversold, buy; above 70 overbought, sell; extremes strongly."""

    def decide(window: Window) -> tuple[int, str]:
        rsi = window.values["rsi_14"]
        # A comparison with NaN is false, so an unknown RSI holds.
        rating = 2 * (rsi < 20) + (20 <= rsi < 30) - (70 < rsi <= 80) - 2 * (rsi > 80)
        return int(rating), f"RSI {rsi:.1f}."

    return Rule("rsi rules", "rule", task, decide)


def momentum(task: Task) -> Rule:
    """Follow the ten-day return: strongly beyond 5 %, not at all within 1 %."""

    def decide(window: Window) -> tuple[int, str]:
        change = window.values["roc_10"]
        rating = 2 * (change >= 5) + (1 <= change < 5) - (-5 < change <= -1) - 2 * (change <= -5)
        return int(rating), f"Momentum {change:+.1f}%."

    return Rule("momentum", "rule", task, decide)
