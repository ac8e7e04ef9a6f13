"""A leaderboard: results by mean grade, paired differences with verdicts, and the order of training."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradeschool.errors import RunError
from tradeschool.evaluate.comparison import BUY_AND_HOLD, Difference, Interval, Row, Verdict
from tradeschool.evaluate.inference import holm
from tradeschool.evaluate.inference_cosine import CONFIDENCE, CosineEstimate, episodes_needed
from tradeschool.evaluate.leaderboard.results import AgentResult, blocks
from tradeschool.evaluate.tables import Table, shown_metrics
from tradeschool.policies.base import Kind
from tradeschool.tasks.base import Metric
from tradeschool.train.stage import BASE, base_row

REFERENCE = BUY_AND_HOLD
"""The row to which all others have a difference."""
CLAIMS = (0.02, 0.05)
"""Differences of mean grades for which reports say how many episodes they need."""
UNUSED_ANSWERS = ("unread", "out_of_room")
"""Figures of a language model: share of answers that could not be read, and of episodes that exceeded its context."""
NO_DIFFERENCE = 1e-9
FEWEST_BLOCKS, FEWEST_JUDGED = 10, 5
"""With fewer blocks of dates intervals are rough, however many episodes there are; and nothing is said at all."""
GRADE, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)
"""Bounds, at which intervals are cut."""

METRICS = (
    Metric("grade", "grade", "mean grade of an episode, 0 to 1", primary=True, terminal="interval"),
    Metric("difference", "difference", f"grade minus that of {REFERENCE}, same episodes", terminal="interval"),
    Metric("return", "return %", "mean return of an episode after costs", 2, 100),
    Metric("episodes", "episodes", "episodes played", 0),
    Metric("unread", "unreadable %", "unreadable answers", 1, 100, better="lower"),
    Metric("out_of_room", "cut short %", "episodes that exceeded the context", 1, 100, better="lower"),
    Metric("refused", "refused", "refused orders per episode", 1, better="lower"),
    Metric("risk", "risk", "risk-adjusted return (a Sharpe ratio), relative to the market's", 2),
    Metric("pnl", "P&L", "return after costs, relative to the market's", 2),
    Metric("drawdown", "drawdown", "largest fall from a peak, relative to the market's", 2),
    Metric("activity", "activity", "capital at work, to the extent that it earned", 2),
    Metric(
        "excess_return", "excess return %", f"return minus that of {REFERENCE}, same episodes", 2, 100, terminal="no"
    ),
    Metric("bankrupt", "bankrupt", "episodes that ended in bankruptcy", 0, better="lower", terminal="no"),
)
"""By importance. The grade's parts have the names of ``env.grading.WEIGHTS``."""


def interval_of(estimate: CosineEstimate, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """The interval inside the bounds of what it is about; only the value where the dates are too few."""
    found, (low, high) = estimate.interval(), bounds
    if blocks(estimate.starts_B, estimate.days) < FEWEST_JUDGED or math.isnan(found.low):
        return Interval(value=found.value)
    return Interval(value=found.value, low=max(found.low, low), high=min(found.high, high))


def difference(first: AgentResult, second: AgentResult) -> Difference:
    """The mean paired difference of grades, first minus second, on the episodes that both have.

    A RunError if the results are of different benchmarks or episodes.
    """
    count = min(first.episodes, second.episodes)
    if first.benchmark != second.benchmark or first.starts[:count] != second.starts[:count]:
        raise RunError(
            f"{first.agent} and {second.agent} did not play the same episodes of the same version, so they cannot be "
            "compared. Play both again with --again."
        )
    gain = first.gain(second)
    interval = interval_of(gain, DIFFERENCE)
    p_value = math.nan if math.isnan(interval.low) else gain.p_value
    if np.abs(gain.values_B).max() < NO_DIFFERENCE:  # equal in every episode, which needs no inference
        interval, p_value = Interval(value=0.0, low=0.0, high=0.0), 1.0
    return Difference(policy=first.agent, against=second.agent, metric="grade", interval=interval, p_value=p_value)


def is_same(one: Difference) -> bool:
    """Whether the grades are equal in every episode."""
    return one.interval.low == one.interval.high == 0


def verdict_of(one: Difference) -> Verdict:
    """Whether there is a difference at 5 %, and in which direction."""
    if is_same(one):
        return "same"
    if math.isnan(one.p_value):
        return "too few dates"
    if one.p_value >= 1 - CONFIDENCE:
        return "not shown"
    return "better" if one.interval.value > 0 else "worse"


def adjusted(differences: Sequence[Difference]) -> list[Difference]:
    """The differences with p-values adjusted for their number by Holm (1979).

    The chance that any agent is reported to differ although none does is then at most 5 %. Pairs that are equal in
    every episode, or cover too few dates, do not count.
    """
    found = holm({place: one.p_value for place, one in enumerate(differences) if not is_same(one)})
    return [one.model_copy(update={"p_value": found.get(place, one.p_value)}) for place, one in enumerate(differences)]


def _row(result: AgentResult, base: AgentResult | None, gap: Difference | None) -> Row:
    means = {
        **{name: float(np.mean(values)) for name, values in result.parts.items()},
        "return": float(np.mean(result.returns)),
        "refused": float(np.mean(result.refused)),
        "episodes": float(result.episodes),
        **{name: float(result.figures[name]) for name in UNUSED_ANSWERS if name in result.figures},
        **({"bankrupt": float(result.bankrupt)} if result.bankrupt else {}),
    }
    metrics = {name: Interval(value=value) for name, value in means.items()}
    metrics["grade"] = interval_of(result.estimate(result.grades), GRADE)
    if gap and base:
        metrics["difference"] = gap.interval
        metrics["excess_return"] = interval_of(result.estimate(result.returns) - base.estimate(base.returns))
    return Row(
        policy=result.agent,
        kind=_kind(result),
        verdict=verdict_of(gap) if gap else "reference",
        sentence="",
        p_value=gap.p_value if gap else math.nan,
        metrics=metrics,
        differences=[gap] if gap else [],
        equity_T=result.path,
    )


def _kind(result: AgentResult) -> Kind:
    if result.kind == "rule":
        return "naive" if result.agent == REFERENCE else "rule"
    kind: Kind = result.identity.get("kind", "base" if result.kind == "language" else "trained")
    return kind


# the leaderboard ---------------------------------------------------------------------------------


def lineage(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The language models of a resolved recipe in the order of training, each with the one that it starts from.

    The base model is the first, and starts from none.
    """
    base = last = base_row(recipe["model"]["base"])
    steps = {base: ""}
    for stage in recipe.get("stages", []):
        if stage["stage"] in ("sft", "grpo"):
            start = stage.get("model") or last
            last = stage["name"]
            steps[last] = base if start == BASE else start
    return steps


@dataclass(frozen=True)
class BestRule:
    """The rule that trained agents are compared with: the best of ``among`` rules by mean ``grade``.

    It is chosen on the dates of ``split``, which lie before the compared ones; without ``split``, on the compared ones.
    """

    agent: str
    split: str = ""
    episodes: int = 0
    grade: Interval | None = None
    among: int = 0

    @property
    def chosen_on(self) -> str:
        """In words."""
        return f"on the {self.split} dates ({self.episodes:,} episodes)" if self.split else "on these episodes"


@dataclass(frozen=True)
class Leaderboard:
    """The results of one benchmark.

    Attributes:
        name: the stage's, or market and level.
        results: by agent, highest mean grade first.
        rows: of figures, in the same order; each with its difference to the reference, judged together.
        compared: every model against the one it was trained from, and every trained agent against the best rule,
            judged together. Empty where nothing was trained.
        steps: the models that played in the order of training, each with the one that it was trained from.
        split: the dates that were played.
        best_rule: None where no rule played.
    """

    name: str
    results: dict[str, AgentResult]
    rows: list[Row]
    compared: list[Difference]
    steps: dict[str, str]
    split: str
    best_rule: BestRule | None

    @classmethod
    def of(
        cls,
        name: str,
        results: Sequence[AgentResult],
        steps: Mapping[str, str] | None = None,
        split: str = "test",
        best_rule: BestRule | None = None,
    ) -> "Leaderboard":
        """The leaderboard of one result per agent, at least one, all on the same benchmark.

        ``steps`` are a run's models, empty where nothing was trained. Without ``best_rule``, which is chosen on earlier
        dates, it is the rule with the highest grade here.
        """
        ranked = {one.agent: one for one in sorted(results, key=lambda one: -float(np.mean(one.grades)))}
        steps = steps or {}
        models = [one.agent for one in results if one.kind == "language"]
        known = {model: start for model, start in steps.items() if model in models}
        known |= {model: "" for model in models if model not in known}
        rules = [agent for agent, one in ranked.items() if one.kind == "rule"]
        if rules and (best_rule is None or best_rule.agent not in rules):
            best_rule = BestRule(rules[0])
        pairs = [(model, start) for model, start in known.items() if start in ranked]
        if best_rule and steps:
            trained = [*(one.agent for one in results if one.kind == "numeric"), *known]
            pairs += [(agent, best_rule.agent) for agent in trained]
        others = [one.agent for one in results if one.agent != REFERENCE and REFERENCE in ranked]
        groups = [[(agent, REFERENCE) for agent in others], pairs]
        gaps, compared = _judged([[difference(ranked[one], ranked[other]) for one, other in group] for group in groups])
        by_agent = {one.policy: one for one in gaps}
        rows = [_row(one, ranked.get(REFERENCE), by_agent.get(agent)) for agent, one in ranked.items()]
        return cls(name, ranked, rows, compared, known, split, best_rule)

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that any of the rows has."""
        return shown_metrics(METRICS, self.rows, "grade")

    @property
    def longest(self) -> AgentResult:
        """A result with the most episodes."""
        return max(self.results.values(), key=lambda one: one.episodes)

    def differences(self) -> list[Difference]:
        """All differences: those compared, and every agent's to the reference."""
        own = {(one.policy, one.against) for one in self.compared}
        others = [one for row in self.rows for one in row.differences]
        return self.compared + [one for one in others if (one.policy, one.against) not in own]

    def against(self, agent: str, other: str) -> Difference | None:
        """An agent against the reference, the best rule, or the model it started from; None where one is missing."""
        return next((one for one in self.differences() if (one.policy, one.against) == (agent, other)), None)

    def episodes(self, one: Difference) -> int:
        """The number of episodes that a difference is over."""
        return min(self.results[agent].episodes for agent in (one.policy, one.against))

    def range_needed(self, claim: float) -> tuple[int, int] | None:
        """The fewest and the most episodes, over agents, that a paired difference of ``claim`` to the reference needs.

        Standard deviations are those of the results; episodes are assumed not to overlap. None if no agent differs.
        """
        base = self.results.get(REFERENCE)
        gains = [one.gain(base).values_B for one in self.results.values()] if base else []
        deviations = [float(gain_B.std(ddof=1)) for gain_B in gains if len(gain_B) > 1]
        counts = [episodes_needed(claim, one) for one in deviations if one > NO_DIFFERENCE]
        return (min(counts), max(counts)) if counts else None


def _judged(groups: Sequence[Sequence[Difference]]) -> list[list[Difference]]:
    """Each group adjusted for its number; a pair in both gets the larger p-value, so that none has two verdicts."""
    found = [adjusted(group) for group in groups]
    largest: dict[tuple[str, str], float] = {}
    for one in itertools.chain(*found):
        pair = one.policy, one.against
        largest[pair] = max(one.p_value, largest.get(pair, one.p_value))
    return [[one.model_copy(update={"p_value": largest[one.policy, one.against]}) for one in group] for group in found]


def overview(boards: Sequence[Leaderboard]) -> Table:
    """By agent, its mean grade and verdict on every leaderboard; a dash where it did not play."""
    shown = {"better": "better", "worse": "worse"}
    cells = [
        {row.policy: (f"{row.metrics['grade'].value:.3f}", shown.get(row.verdict, "")) for row in board.rows}
        for board in boards
    ]
    agents = dict.fromkeys(agent for column in cells for agent in column)
    rows = [[agent, *(column.get(agent, "-") for column in cells)] for agent in agents]
    return Table(("policy", *(board.name for board in boards)), rows)
