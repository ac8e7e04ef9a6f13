"""Shrinking what is learned from outcomes: when it is estimated, and that a resumed run keeps it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markets import market, task_of

from tradeschool.policies.table import known_rewards, outcomes, scores
from tradeschool.tasks.rating import RatingTask
from tradeschool.train.shrinking import SMALLEST, Shrinkage


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market(tickers=8, days=500), facts=["market", "strength"])


def forecasts(task: RatingTask, scale: float, calls: list[int]) -> Any:
    """Of a policy that knows the score, too sure of it or not sure enough."""

    def forecast(questions: Any, spread: float) -> Any:
        calls.append(len(questions))
        known_QA = [[task.total(known_rewards(task, one, a)) for a in task.decisions(one)] for one in questions]
        return scores(task, questions) * scale + known_QA + spread

    return forecast


def test_the_factor_is_what_the_forecasts_are_worth(task: RatingTask, tmp_path: Path) -> None:
    found = Shrinkage(task, tmp_path / "found.json")
    calls: list[int] = []
    too_sure = forecasts(task, 2.0, calls)
    assert [found.factor(step, 100, too_sure) for step in (0, 49)] == [1, 1]
    assert not calls
    assert [found.factor(step, 100, too_sure) for step in (50, 51, 69)] == [pytest.approx(0.5)] * 3
    assert calls == [len(task.examples("validation"))]
    not_sure_enough = forecasts(task, 0.8, calls)
    assert found.factor(70, 100, not_sure_enough) == pytest.approx(0.5 / 0.8)
    assert found.factor(99, 100, not_sure_enough) == pytest.approx(0.5 / 0.8)
    assert len(calls) == 2


def test_forecasts_without_worth_are_dropped_at_the_last_estimate_only(task: RatingTask, tmp_path: Path) -> None:
    found = Shrinkage(task, tmp_path / "found.json")
    wrong = forecasts(task, -1.0, [])
    assert found.factor(50, 100, wrong) == SMALLEST
    assert found.factor(70, 100, wrong) == 0


def test_a_resumed_run_reads_what_was_found(task: RatingTask, tmp_path: Path) -> None:
    before = Shrinkage(task, tmp_path / "found.json").factor(60, 100, forecasts(task, 2.0, []))
    calls: list[int] = []
    assert Shrinkage(task, tmp_path / "found.json").factor(61, 100, forecasts(task, 9.0, calls)) == before
    assert not calls
    assert json.loads((tmp_path / "found.json").read_text()) == {"50": before}


def test_the_parts_of_a_reward_add_up_to_it(task: RatingTask) -> None:
    examples = task.examples("train")[:20]
    total_QA = np.array(
        [
            [task.total(task.rewards(one, task.format_answer(a, "x"), a)) for a in task.decisions(one)]
            for one in examples
        ]
    )
    known_QA = np.array([[task.total(known_rewards(task, one, a)) for a in task.decisions(one)] for one in examples])
    assert outcomes(task, examples) + known_QA == pytest.approx(total_QA)
    assert (known_QA == known_QA[0]).all()
    score_QA = np.array([[task.eval_score(one, a) for a in task.decisions(one)] for one in examples])
    charge_A = [-0.1 * (a / 2) ** 2 for a in (-2, -1, 0, 1, 2)]
    assert scores(task, examples) + charge_A == pytest.approx(score_QA)


def test_a_small_training_is_estimated_on_fewer_questions(task: RatingTask, tmp_path: Path) -> None:
    few = Shrinkage(task, tmp_path / "found.json", trained=400).questions
    assert len(few) <= 100
    dates = [one.t for one in task.examples("validation")]
    assert max(one.t for one in few) - min(one.t for one in few) > 0.8 * (max(dates) - min(dates))
