"""What every task shares: the weighted total."""

import pytest
from markets import market, task_of

from tradeschool.tasks.base import Task


def test_total_is_the_weighted_sum_of_what_was_scored() -> None:
    task: Task = task_of(market(), weights={"profit": 2.0, "format": 0.5})
    assert task.total({"profit": -1.0, "risk": 9.0, "format": 1.0}) == pytest.approx(-1.5)
    assert task.total({"profit": None, "risk": 9.0, "format": 1.0}) == pytest.approx(0.5)
    assert task.total({"profit": None}) == 0
    assert task.total({"no component of this task": 3.0}) == 0


def test_a_task_without_metrics_has_none() -> None:
    task = task_of(market())
    example = task.examples("test")[0]
    assert Task.metrics(task, example, 1) == {}
    assert Task.action_name(task, 1) == "1"
