"""What every task shares: the weighted total, and the defaults of its evaluation."""

from typing import Any

import pytest
from markets import market, task_of

from tradeschool.tasks.base import Example, Metric, Task


class Bare(Task):
    """Only what has no default."""

    name, version, weights = "bare", "1", {"gain": 1.0}

    def examples(self, split: Any) -> Any:
        return []

    def rows(self, split: Any) -> Any:
        return []

    def messages(self, example: Example) -> Any:
        return []

    def parse(self, completion: str) -> float:
        return float(completion)

    def format_answer(self, action: Any, reasoning: str) -> str:
        return str(action)


class Scored(Bare):
    """With a metric."""

    def metrics(self) -> Any:
        return (Metric("error", "error", "mean error", better="lower", primary=True, inputs=("miss",)),)

    def metric_values(self, example: Example, action: float | None) -> dict[str, float]:
        return {} if action is None else {"miss": action, "odd": float("inf")}


def test_total_is_the_weighted_sum_of_what_was_scored() -> None:
    task: Task = task_of(market(), weights={"profit": 2.0, "format": 0.5})
    assert task.total({"profit": -1.0, "risk": 9.0, "format": 1.0}) == pytest.approx(-1.5)
    assert task.total({"profit": None, "risk": 9.0, "format": 1.0}) == pytest.approx(0.5)
    assert task.total({"profit": None}) == 0
    assert task.total({"not a component of this task": 3.0}) == 0


def test_a_bare_task_has_no_evaluation() -> None:
    task, example = Bare(), Example("a", 0, 0)
    assert (task.metrics(), task.baselines(), task.figures()) == ((), (), ())
    assert task.trace_metrics(example, 1.0) == {}
    assert task.positions(example, 1.0) is None
    assert task.eval_score(example, 1.0) is None
    assert task.decisions(example) is None
    assert task.snapshot(example) is None
    assert task.action_name(1) == "1"
    assert (task.example_at(3, 4).t, task.example_at(3, 4).n) == (3, 4)


def test_the_score_is_the_value_of_the_primary_metric() -> None:
    task, example = Scored(), Example("a", 0, 0)
    assert task.eval_score(example, 0.25) == 0.25
    assert task.eval_score(example, None) is None
    assert task.trace_metrics(example, 0.25) == {"miss": 0.25}
    assert "bare 1" in task.score_definition()
