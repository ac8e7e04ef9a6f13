"""What one policy answered, as arrays of dates x questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import RunError
from tradeschool.evaluate.comparison import DailySums
from tradeschool.evaluate.evaluation_set import EvaluationSet
from tradeschool.market.panel import Floats
from tradeschool.policies.base import Kind
from tradeschool.tasks.base import POSITION, Example, Metric
from tradeschool.trace import Trace


@dataclass(frozen=True)
class Predictions:
    """One policy's answers, all arrays [T, Q].

    Attributes:
        policy, kind: the policy's name and kind.
        read_TQ: where an answer could be read.
        values: by name, NaN where undefined: the metric values and rewards of the traces.
        position_TQ: the position that an answer implies, in [-1, 1], NaN where unreadable; None where answers imply
            no positions.
        action_TQ: the class of an answer, as an index of ``action_names``, -1 where there is none.
        rewards: mean of each reward component.

    Raises:
        RunError: a position is outside [-1, 1].
    """

    policy: str
    kind: Kind
    read_TQ: NDArray[np.bool_]
    values: Mapping[str, Floats]
    position_TQ: Floats | None = None
    action_TQ: NDArray[np.int64] | None = None
    rewards: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.position_TQ is not None and np.nanmax(np.abs(self.position_TQ), initial=0.0) > 1:
            worst = self.position_TQ.flat[np.nanargmax(np.abs(self.position_TQ))]
            raise RunError(f"{self.policy}: a position is {worst:g}, but positions lie in [-1, 1].")

    def value(self, name: str) -> Floats:
        """One of the values; all NaN where the policy has none of that name."""
        found = self.values.get(name)
        return np.full(self.read_TQ.shape, np.nan) if found is None else found

    def ratio_T(self, metric: Metric) -> tuple[Floats, Floats]:
        """The sums over each date of the two values that a metric is a ratio of, where both are known."""
        top_TQ, bottom_TQ = (self.value(name) for name in metric.values)
        known_TQ = np.isfinite(top_TQ) & np.isfinite(bottom_TQ)
        return np.where(known_TQ, top_TQ, 0.0).sum(1), np.where(known_TQ, bottom_TQ, 0.0).sum(1)

    def defines(self, name: str) -> bool:
        """Whether any answer has that value."""
        return name in self.values and bool(np.isfinite(self.values[name]).any())


def traces_name(policy: str, kind: Kind) -> str:
    """The file of a model's traces in an evaluate stage's folder; no stage is called ``base``."""
    return f"traces-{kind if kind == 'base' else policy}.jsonl"


def traces_to_predictions(
    evaluation_set: EvaluationSet, policy: str, kind: Kind, examples: Sequence[Example], traces: Sequence[Trace]
) -> Predictions:
    """One policy's traces as arrays.

    Raises:
        RunError: a trace answers another question than its example.
    """
    shape = evaluation_set.shape
    values: dict[str, Floats] = {}
    read_TQ, action_TQ = np.zeros(shape, dtype=bool), np.full(shape, -1)
    classes = {name: number for number, name in enumerate(evaluation_set.action_names)}
    for example, trace in zip(examples, traces, strict=True):
        if example.key != trace.key:
            raise RunError(f"{policy}: a trace answers {trace.key}, but {example.key} was asked.")
        cell = evaluation_set.cell(example)
        if trace.action is not None:
            read_TQ[cell] = True
            action_TQ[cell] = classes.get(trace.action, -1)
        for name, value in {**trace.rewards, **trace.metrics}.items():
            if value is not None:
                values.setdefault(name, np.full(shape, np.nan))[cell] = value
    components = dict.fromkeys(name for trace in traces for name in trace.rewards)
    return Predictions(
        policy=policy,
        kind=kind,
        read_TQ=read_TQ,
        values={name: value for name, value in values.items() if name != POSITION},
        position_TQ=values.get(POSITION),
        action_TQ=action_TQ if classes else None,
        rewards={name: _mean([trace.rewards.get(name) for trace in traces]) for name in components},
    )


def daily_sums(metrics: Sequence[Metric], predictions: Predictions) -> dict[str, DailySums]:
    """By metric, for the primary one if it is a mean or a ratio and for shares of the best possible answers."""
    found = {}
    for metric in metrics:
        if metric.primary and metric.aggregate == "ratio":
            top_T, bottom_T = predictions.ratio_T(metric)
            found[metric.key] = DailySums(sum_T=top_T.tolist(), count_T=bottom_T.tolist())
        if (metric.primary and metric.aggregate == "mean") or metric.aggregate == "share_of_oracle":
            value_TQ = predictions.value(metric.values[0])
            known_TQ = np.isfinite(value_TQ)
            sum_T, count_T = np.where(known_TQ, value_TQ, 0.0).sum(1), known_TQ.sum(1)
            found[metric.key] = DailySums(sum_T=sum_T.tolist(), count_T=count_T.tolist())
    return found


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")
