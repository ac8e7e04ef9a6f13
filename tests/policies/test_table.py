"""The table of the same facts: it learns an edge, shrinks without one, and is not judged."""

from typing import Any

import numpy as np
import pytest
from markets import market, task_of

from tradeschool.metrics import shrinkage
from tradeschool.policies import table
from tradeschool.policies.table import Table
from tradeschool.tasks.rating import RatingTask

FACTS = ["market", "strength", "rsi", "news"]


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market(edge=0.5, tickers=8, days=700), facts=FACTS)


def share(task: RatingTask, learned: Table) -> float:
    """Of the edge on unseen dates."""
    tested = task.examples("test")
    earned = sum(task.expected(one, learned.decide(one)[0]) for one in tested)
    return earned / sum(task.expected(one, task.oracle_action(one)) for one in tested)


def test_it_learns_most_of_a_strong_edge(task: RatingTask) -> None:
    learned = Table(task, task.examples("train"), task.examples("validation"))
    assert share(task, learned) > 0.8
    assert 0.3 < learned.shrinkage <= 1


def test_it_learns_from_the_given_outcomes_alone(task: RatingTask) -> None:
    few, validation = task.examples("train")[:100], task.examples("validation")
    before = Table(task, few, validation).forecast(task.examples("test")[:50])
    row = max(one.t for one in few) + 1
    task.excess_TN[row : task.split.train_T[-1]] += 10
    try:
        assert (Table(task, few, validation).forecast(task.examples("test")[:50]) == before).all()
    finally:
        task.excess_TN[row : task.split.train_T[-1]] -= 10


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_an_edge_it_holds(seed: int) -> None:
    task = task_of(market(edge=0.0, tickers=8, days=700, seed=seed), facts=FACTS)
    learned = Table(task, task.examples("train"), task.examples("validation"))
    tested = task.examples("test")[:400]
    assert np.mean([learned.decide(one)[0] == 0 for one in tested]) > 0.9


def test_its_answers_are_the_tasks_and_state_the_facts(task: RatingTask) -> None:
    policy = table.learn(task, task.examples("train")[:400], task.examples("validation"))
    one = task.examples("test")[0]
    text = policy.answer(task, [one])[0]
    assert task.parse(text) in (-2, -1, 0, 1, 2)
    assert task.reasoning(one) in text
    assert (policy.name, policy.kind) == (table.NAME, "bound")


def test_too_many_combinations_are_refused(task: RatingTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST_COMBINATIONS", 3)
    with pytest.raises(ValueError, match="combinations"):
        Table(task, task.examples("train")[:400], task.examples("validation"))


# the factor ---------------------------------------------------------------------------------------


def outcomes_of(true: float, noise: float, seed: int = 0, dates: int = 200) -> Any:
    rng = np.random.default_rng(seed)
    forecast_QA = rng.normal(size=(dates * 5, 1)) * np.array([-1, -0.5, 0, 0.5, 1])
    luck_Q1 = noise * (rng.normal(size=(dates * 5, 1)) + np.repeat(rng.normal(size=(dates, 1)), 5, axis=0))
    return forecast_QA, true * forecast_QA + luck_Q1 * np.array([-1, -0.5, 0, 0.5, 1]), np.repeat(np.arange(dates), 5)


@pytest.mark.parametrize("true", [0.2, 0.7])
def test_forecasts_that_are_too_large_are_shrunken_to_their_worth(true: float) -> None:
    assert shrinkage(*outcomes_of(true, 0.5)) == pytest.approx(true, abs=0.1)


def test_right_forecasts_are_kept_and_wrong_ones_dropped() -> None:
    forecast_QA, outcome_QA, block_Q = outcomes_of(1.5, 0.1)
    assert shrinkage(forecast_QA, outcome_QA, block_Q) == 1
    assert shrinkage(forecast_QA, outcome_QA, block_Q, most=4.0) == pytest.approx(1.5, abs=0.1)
    assert shrinkage(*outcomes_of(-0.5, 0.5)) == 0


def test_what_may_be_luck_is_dropped_more_often_than_not() -> None:
    factors = [shrinkage(*outcomes_of(0.0, 1.0, seed, dates=20)) for seed in range(200)]
    assert np.mean(np.array(factors) == 0) > 0.6
    assert np.mean(factors) < 0.1


def test_a_constant_for_each_question_changes_nothing() -> None:
    forecast_QA, outcome_QA, block_Q = outcomes_of(0.7, 0.5)
    moved_Q1 = np.arange(len(block_Q))[:, None].astype(float)
    expected = shrinkage(forecast_QA, outcome_QA, block_Q)
    assert shrinkage(forecast_QA + moved_Q1, outcome_QA - moved_Q1, block_Q) == pytest.approx(expected)


def test_unknown_outcomes_are_left_out() -> None:
    forecast_QA, outcome_QA, block_Q = outcomes_of(0.7, 0.5)
    outcome_QA[::2, 0] = np.nan
    assert shrinkage(forecast_QA, outcome_QA, block_Q) == shrinkage(forecast_QA[1::2], outcome_QA[1::2], block_Q[1::2])
    assert shrinkage(0 * forecast_QA, outcome_QA, block_Q) == 0
