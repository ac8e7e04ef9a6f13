"""Who was trained from whom in a run: the steps that a report holds against each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tradeschool.evaluate.leaderboard.row import Row
from tradeschool.evaluate.leaderboard.standing import (
    REFERENCE,
    Difference,
    Standing,
    agreed,
    difference,
    judged,
    standings,
)
from tradeschool.evaluate.stage import UNTRAINED

LANGUAGE_STAGES = ("sft", "grpo")
BASE = "base"
"""The base model, as a stage's ``model:`` names it."""
LANGUAGE, NUMERIC = ("model", "remote"), ("ppo", "zip")
"""Kinds of agents, as a row's settings name them; all others are rules."""


@dataclass(frozen=True)
class Step:
    """A language model of a run. ``method`` trained it (``sft``, ``grpo``), from the model ``start``; both are empty
    for the base model.
    """

    name: str
    method: str = ""
    start: str = ""


def ladder(recipe: Mapping[str, Any]) -> list[Step]:
    """The language models of a resolved recipe in order, the base model first."""
    steps = [Step(UNTRAINED)]
    for stage in recipe.get("stages", []):
        if stage["stage"] in LANGUAGE_STAGES:
            start = stage.get("model") or steps[-1].name
            steps.append(Step(stage["name"], stage["stage"], UNTRAINED if start == BASE else start))
    return steps


def kind(row: Row) -> str:
    """``language``, ``numeric`` or ``rule``."""
    agent = row.settings.get("agent")
    return "language" if agent in LANGUAGE else "numeric" if agent in NUMERIC else "rule"


@dataclass(frozen=True)
class Rule:
    """The rule that everyone who learned is held against. ``chosen`` says on which rows it was found to be the best;
    it is empty where those were the very episodes of the board.
    """

    agent: str
    chosen: str = ""


@dataclass(frozen=True)
class Board:
    """The rows of one edition, ready to be told of.

    Attributes:
        name: the stage's, or market and level.
        found: the rows, the highest mean grade first; each with its difference to buy and hold, judged together.
        compared: every model against the one that it was trained from, and all who learned against the best rule,
            judged together; empty where nobody was trained here.
        steps: the models among them in the order of their training; all models where it is not known.
        part: the part of the dates that was played.
        best: the best rule.
    """

    name: str
    found: list[Standing]
    compared: list[Difference]
    steps: list[Step]
    part: str
    best: Rule | None

    @classmethod
    def of(
        cls, name: str, rows: Sequence[Row], steps: Sequence[Step] = (), part: str = "test", best: Rule | None = None
    ) -> "Board":
        """The board of rows of one edition, of which there is at least one."""
        played = {row.agent for row in rows if kind(row) == "language"}
        known = [step for step in steps if step.name in played]
        known += [Step(row.agent) for row in rows if row.agent in played - {step.name for step in known}]
        found = standings(rows)
        rules = [one.row.agent for one in found if kind(one.row) == "rule"]
        if rules and (best is None or best.agent not in rules):
            best = Rule(rules[0])
        by_name = {row.agent: row for row in rows}
        pairs = [(step.name, step.start) for step in known if step.start in by_name]
        if best and steps:
            # The same as the stage compares, so that the page and the stage's file say the same.
            learned = [row.agent for row in rows if kind(row) == "numeric"] + [step.name for step in known]
            pairs += [(agent, best.agent) for agent in learned]
        compared = judged([difference(by_name[first], by_name[second]) for first, second in pairs])
        return cls(name, *agreed(found, compared), known, part, best)

    def row(self, agent: str) -> Row | None:
        """An agent's row."""
        return next((one.row for one in self.found if one.row.agent == agent), None)

    @property
    def reference(self) -> Row | None:
        """Buy and hold's row."""
        return self.row(REFERENCE)

    def gain(self, step: Step) -> Difference | None:
        """A model against the one that it was trained from; None where either did not play."""
        return next((one for one in self.compared if (one.first, one.second) == (step.name, step.start)), None)

    def against(self, agent: str, rule: str) -> Difference | None:
        """An agent against buy and hold or the best rule."""
        if rule == REFERENCE:
            return next((one.difference for one in self.found if one.row.agent == agent), None)
        return next((one for one in self.compared if (one.first, one.second) == (agent, rule)), None)

    def differences(self) -> list[Difference]:
        """All that is compared: those above, and everyone against buy and hold."""
        own = {(one.first, one.second) for one in self.compared}
        others = [one.difference for one in self.found if one.difference]
        return self.compared + [one for one in others if (one.first, one.second) not in own]
