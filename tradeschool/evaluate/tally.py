"""Traces of a policy laid out as dates x tickers, for the comparison."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tradeschool.evaluate.answers import Answers, Costs, Exam
from tradeschool.market import outcomes
from tradeschool.market.panel import Panel
from tradeschool.policies.base import Kind
from tradeschool.tasks.base import Example, SplitName
from tradeschool.text.grammar import RATINGS
from tradeschool.trace import Trace


def exam_of(task: Any, config: Any, panel: Panel, split: SplitName) -> Exam:
    """The exam of a split; its forward return is that of the task's first horizon."""
    rows_T = np.asarray(task.rows(split))
    horizon = task.config.horizons[0]
    return Exam(
        panel=panel,
        rows_T=rows_T,
        forward_TN=outcomes.forward_return_TN(panel, horizon)[rows_T],
        costs=Costs(**config.costs.model_dump()),
        horizon=max(task.config.horizons),
        score=_score_name(task),
    )


def _score_name(task: Any) -> str:
    """``profit + risk (aversion 0.2) over 1 day, task rating 1.0.0``: all that the score depends on."""
    settings = {
        "risk": lambda: f"aversion {task.config.risk_aversion:g}",
        "decision": lambda: f"labels {task.config.label_mode}",
        "outcome": lambda: ", ".join(f"{key} {value}" for key, value in task.config.outcome.model_dump().items()),
    }
    parts = [f"{name} ({settings[name]()})" if name in settings else name for name in task.config.measure]
    days = task.config.horizons[0]
    held = f"{days} day{'s' if days > 1 else ''}"
    return f"{' + '.join(parts)} over {held}, task {task.name} {task.version}"


def tally(
    exam: Exam, task: Any, policy: str, kind: Kind, examples: Sequence[Example], traces: Sequence[Trace]
) -> Answers:
    """What one policy answered, all arrays [T exam dates, N tickers]."""
    names = ("rating", "score", "decision", "correct", "expected")
    grid = {name: np.full(exam.shape, np.nan) for name in names}
    asked_TN = np.zeros(exam.shape, dtype=bool)
    first = int(exam.rows_T[0])
    for example, trace in zip(examples, traces, strict=True):
        cell = example.t - first, example.n
        asked_TN[cell] = True
        if trace.action is not None:
            grid["rating"][cell] = RATINGS[trace.action]
        decision = trace.rewards["decision"]
        grid["decision"][cell] = np.nan if decision is None else decision
        for name in ("score", "correct", "expected"):
            grid[name][cell] = trace.metrics.get(name, np.nan)
    known = np.isfinite(grid["expected"]).any()
    return Answers(
        policy=policy,
        kind=kind,
        rating_TN=grid["rating"],
        asked_TN=asked_TN,
        score_TN=grid["score"],
        decision_TN=grid["decision"],
        correct_TN=grid["correct"],
        expected_TN=grid["expected"] if known else None,
        rewards={name: _mean([trace.rewards[name] for trace in traces]) for name in task.weights},
    )


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")
