"""The questions of an evaluation as arrays of dates x questions, with the metrics and the costs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from tradeschool.errors import RunError
from tradeschool.evaluate.comparison import DailySums, EvaluationFacts
from tradeschool.market.panel import Floats, Panel
from tradeschool.policies.base import Kind
from tradeschool.tasks.base import POSITION, Example, Metric, SplitName, Task
from tradeschool.trace import Trace


class Costs(BaseModel):
    """Paid on the traded notional, in basis points. Without ``allow_short`` a negative position is traded as 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commission_bps: float = Field(default=1.0, ge=0, lt=1000)
    slippage_bps: float = Field(default=5.0, ge=0, lt=1000)
    allow_short: bool = True

    @property
    def fraction(self) -> float:
        """The cost of a trade as a fraction of its notional."""
        return (self.commission_bps + self.slippage_bps) / 10_000


@dataclass(frozen=True)
class EvaluationSet:
    """The questions, and how answers to them are measured.

    Attributes:
        panel: the market.
        rows_T: its rows that are evaluated, consecutive.
        asked_TQ: which questions of each date are asked; Q are the panel's tickers, where the task asks about tickers,
            times ``variants``.
        metrics: the task's metrics; verdicts are about the first primary one.
        action_names: classes of answers, empty where there are none.
        costs: of the backtest.
        horizon: days that outcomes look ahead; outcomes of dates closer than that overlap.
        score: definition of the primary metric; evaluations that differ in it are not compared.
        per_ticker: whether questions are about tickers.
        variants: how many questions there may be about one date and ticker, such as several horizons.

    Raises:
        RunError: the rows are not consecutive, or no metric is primary.
    """

    panel: Panel
    rows_T: NDArray[np.int64]
    asked_TQ: NDArray[np.bool_]
    metrics: tuple[Metric, ...]
    action_names: tuple[str, ...] = ()
    costs: Costs = field(default_factory=Costs)
    horizon: int = 1
    score: str = "score"
    per_ticker: bool = True
    variants: int = 1

    def __post_init__(self) -> None:
        _refuse_gaps(self.rows_T)
        if not any(metric.primary for metric in self.metrics):
            raise RunError("No metric of the task is primary, so there is nothing to compare policies by.")

    @property
    def shape(self) -> tuple[int, int]:
        """(T, Q)."""
        dates, questions = self.asked_TQ.shape
        return dates, questions

    @property
    def dates_T(self) -> NDArray[np.datetime64]:
        """The dates."""
        return self.panel.dates_T[self.rows_T].astype("datetime64[D]")

    @property
    def primary(self) -> Metric:
        """The metric that verdicts are about."""
        return next(metric for metric in self.metrics if metric.primary)

    def cell(self, example: Example) -> tuple[int, int]:
        """The indices of a question in arrays [T, Q]."""
        return example.t - int(self.rows_T[0]), example.n * self.variants + example.variant

    @property
    def asked_TN(self) -> NDArray[np.bool_]:
        """Whether anything is asked about each ticker on each date."""
        asked_TNV = self.asked_TQ.reshape(len(self.asked_TQ), -1, self.variants)
        return np.asarray(asked_TNV.any(axis=2))

    def by_ticker(self, value_TQ: Floats) -> Floats:
        """[T, N] the mean over the questions about a ticker on a date whose value is known; NaN where none is."""
        value_TNV = value_TQ.reshape(len(value_TQ), -1, self.variants)
        known_TN = np.isfinite(value_TNV).sum(2)
        sum_TN = np.nansum(value_TNV, axis=2)
        mean_TN: Floats = np.divide(sum_TN, known_TN, out=np.full(sum_TN.shape, np.nan), where=known_TN > 0)
        return mean_TN

    def questions_hash(self) -> str:
        """16 hex digits over the questions asked, whatever the order of the tickers."""
        names = self.panel.tickers if self.per_ticker else range(self.shape[1])
        each = self.variants
        cells = sorted(
            f"{self.dates_T[t]} {names[q // each]}{f' {q % each}' if each > 1 else ''}"
            for t, q in np.argwhere(self.asked_TQ)
        )
        return hashlib.sha256("\n".join(cells).encode()).hexdigest()[:16]

    def facts(self, has_backtest: bool) -> EvaluationFacts:
        """What two evaluations must have in common to be compared."""
        return EvaluationFacts(
            market=self.panel.name,
            data_hash=self.panel.data_hash(),
            tickers=int(self.asked_TN.any(0).sum()) if self.per_ticker else 0,
            dates=[str(date) for date in self.dates_T],
            questions=int(self.asked_TQ.sum()),
            questions_hash=self.questions_hash(),
            score=self.score,
            horizon=self.horizon,
            **(self.costs.model_dump() if has_backtest else {}),
        )


def _refuse_gaps(rows_T: NDArray[np.int64]) -> None:
    if (np.diff(rows_T) != 1).any():
        raise RunError(
            f"The evaluated dates are not consecutive rows of the panel: {rows_T}. "
            "Return every row between the first and the last date from the task's rows()."
        )


def evaluation_set_of(
    task: Task, panel: Panel, examples: Sequence[Example], split: SplitName, costs: Costs | None = None
) -> EvaluationSet:
    """The evaluation of a task on examples of a split.

    A RunError if two examples share date and number, or the task's rows or metrics cannot be evaluated.
    """
    rows_T = np.asarray(task.rows(split))
    _refuse_gaps(rows_T)
    questions = len(panel.tickers) if task.per_ticker else 1 + max(example.n for example in examples)
    variants = 1 + max((example.variant for example in examples), default=0)
    asked_TQ = np.zeros((len(rows_T), questions * variants), dtype=bool)
    for example in examples:
        cell = example.t - int(rows_T[0]), example.n * variants + example.variant
        if not (0 <= cell[0] < len(rows_T) and 0 <= example.n < questions):
            raise RunError(
                f"The task '{task.name}' asks about date row {example.t} and n {example.n} ({example.key}), but "
                f"rows('{split}') are {rows_T[0]} to {rows_T[-1]}, and n is below {questions}. Leave the question out "
                "of examples()."
            )
        if asked_TQ[cell]:
            raise RunError(
                f"The task '{task.name}' asks two questions about date row {example.t} and n {example.n} "
                f"(one is {example.key}). Give every question of a date its own n, or its own variant."
            )
        asked_TQ[cell] = True
    return EvaluationSet(
        panel=panel,
        rows_T=rows_T,
        asked_TQ=asked_TQ,
        metrics=tuple(task.metrics()),
        action_names=tuple(task.action_names),
        costs=costs or Costs(),
        horizon=task.horizon,
        score=task.score_definition(),
        per_ticker=task.per_ticker,
        variants=variants,
    )


# what one policy answered -------------------------------------------------------------------------


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
    """One policy's traces as arrays; a RunError if a trace answers another question than its example."""
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
    rewards: dict[str, float] = {}
    for name in dict.fromkeys(name for trace in traces for name in trace.rewards):
        known = [value for trace in traces if (value := trace.rewards.get(name)) is not None]
        rewards[name] = float(np.mean(known)) if known else float("nan")
    return Predictions(
        policy=policy,
        kind=kind,
        read_TQ=read_TQ,
        values={name: value for name, value in values.items() if name != POSITION},
        position_TQ=values.get(POSITION),
        action_TQ=action_TQ if classes else None,
        rewards=rewards,
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
