"""Traces as arrays of dates x tickers: every figure in its own cell, NaN where nothing was asked."""

from typing import Any

import numpy as np
import pytest
from markets import Says, market, ragged, task_of

from tradeschool.errors import RunError
from tradeschool.evaluate.evaluation_set import (
    Costs,
    EvaluationSet,
    Predictions,
    evaluation_set_of,
    traces_to_predictions,
)
from tradeschool.market import labels
from tradeschool.policies import rules
from tradeschool.policies.base import Answerer
from tradeschool.rollout import rollout
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RATING_VALUES, RatingTask
from tradeschool.tasks.rating_config import RatingConfig

GOOD, BAD = "<think>RSI low.</think>\n[[[STRONG_BUY]]]", "No idea."


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market(days=500))


def questions(task: RatingTask) -> EvaluationSet:
    return evaluation_set_of(task, task.panel, task.examples("test"), "test")


def answered(task: RatingTask, policy: Answerer, kind: Any = "trained") -> Predictions:
    examples = task.examples("test")
    return traces_to_predictions(questions(task), policy.name, kind, examples, rollout(policy, task, examples, {}))


def test_the_evaluation_is_the_split_with_the_costs(task: RatingTask) -> None:
    costs = Costs(commission_bps=2, slippage_bps=3, allow_short=False)
    found = evaluation_set_of(task, task.panel, task.examples("test"), "test", costs)
    np.testing.assert_array_equal(found.rows_T, task.split.test_T)
    assert found.costs == costs
    assert found.horizon == 1
    assert found.primary.key == "score"
    assert found.asked_TQ.sum() == len(task.examples("test"))
    validation = evaluation_set_of(task, task.panel, task.examples("validation"), "validation")
    np.testing.assert_array_equal(validation.rows_T, task.split.validation_T)


def test_returns_are_the_first_horizons_and_overlap_the_longests() -> None:
    task = task_of(market(), horizons=[3, 10])
    assert questions(task).horizon == 10
    example = task.examples("test")[5]
    forward = labels.forward_return_TN(task.panel, 3)[example.t, example.n]
    assert task.metric_values(example, 1)["forward_return"] == forward


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({}, "profit + risk (aversion 0.2) over 1 day, task rating {}"),
        ({"risk_aversion": 0.5, "horizons": [3, 5]}, "profit + risk (aversion 0.5) over 3 days, task rating {}"),
        ({"eval_score": ["profit"], "risk_aversion": 0.5}, "profit over 1 day, task rating {}"),
        ({"eval_score": ["decision"], "label_mode": "paper"}, "decision (labels paper) over 1 day, task rating {}"),
    ],
)
def test_the_score_is_named_by_all_it_depends_on(config: dict[str, Any], name: str) -> None:
    task = task_of(market(), **config)
    assert questions(task).score == name.format(task.version)


def test_another_outcome_reward_is_another_score() -> None:
    names = set()
    for outcome in (usual := RatingConfig().outcome, usual.model_copy(update={"cost": 0.5})):
        names.add(questions(task_of(market(), eval_score=["outcome"], outcome=outcome)).score)
    assert len(names) == 2


def test_every_figure_lands_in_its_cell() -> None:
    task = task_of(ragged())
    asked, examples = questions(task), task.examples("test")
    policy = rules.random(RATING_VALUES, 4)
    found = answered(task, policy, "naive")
    assert (found.policy, found.kind) == ("random", "naive")
    assert found.read_TQ.sum() == len(examples) < asked.shape[0] * asked.shape[1]
    assert found.position_TQ is not None
    assert found.action_TQ is not None
    for example in examples[::11]:
        cell = example.t - int(task.split.test_T[0]), example.n
        rating = task.parse(policy.answer(task, [example])[0])
        assert found.read_TQ[cell]
        assert (found.position_TQ[cell], found.action_TQ[cell]) == (rating / 2, rating + 2)
        for name, value in task.metric_values(example, rating).items():
            np.testing.assert_equal(found.value(name)[cell], value)
        decision = task.rewards(example, "", rating)["decision"]
        np.testing.assert_equal(found.value("decision")[cell], np.nan if decision is None else decision)
    for value_TQ in (*found.values.values(), found.position_TQ):
        assert np.isnan(value_TQ[~asked.asked_TQ]).all()


def test_unreadable_answers_have_no_position_but_a_score(task: RatingTask) -> None:
    found = answered(task, Says(BAD, GOOD))
    unread_TQ = questions(task).asked_TQ & ~found.read_TQ
    assert unread_TQ.sum() == len(task.examples("test")) // 2
    assert (found.value("score")[unread_TQ] == 0).all()  # no position: nothing earned, nothing risked
    assert (found.value("expected")[unread_TQ] == 0).all()
    assert found.position_TQ is not None
    assert set(found.position_TQ[np.isfinite(found.position_TQ)]) == {1.0}


def test_rewards_are_means_over_what_was_scored(task: RatingTask) -> None:
    found, examples = answered(task, Says(GOOD)), task.examples("test")
    assert found.rewards["format"] == 1
    assert found.rewards["risk"] == pytest.approx(-0.1)
    scored = [value for e in examples if (value := task.rewards(e, GOOD, 2)["decision"]) is not None]
    assert len(scored) < len(examples)
    assert found.rewards["decision"] == pytest.approx(np.mean(scored))


def test_without_a_known_forecast_there_is_no_expectation() -> None:
    assert not answered(task_of(market(), horizons=[3, 5]), Says(GOOD)).defines("expected")


def test_traces_of_other_questions_are_an_error(task: RatingTask) -> None:
    examples, asked = task.examples("test"), questions(task)
    traces = rollout(Says(GOOD), task, examples[:3], {})
    with pytest.raises(ValueError, match="shorter"):
        traces_to_predictions(asked, "says", "trained", examples, traces)
    with pytest.raises(RunError, match="was asked"):
        traces_to_predictions(asked, "says", "trained", examples[1:4], traces)


def test_two_questions_in_one_cell_are_an_error(task: RatingTask) -> None:
    first = task.examples("test")[0]
    twice = [first, Example(f"{first.key}#1", first.t, first.n)]
    with pytest.raises(RunError, match="two questions"):
        evaluation_set_of(task, task.panel, twice, "test")


def test_several_questions_about_a_ticker_are_columns_and_one_position(task: RatingTask) -> None:
    first, other = task.examples("test")[:2]
    asked = [first, Example(f"{first.key}#1", first.t, first.n, 1), other]
    found = evaluation_set_of(task, task.panel, asked, "test")
    assert found.variants == 2
    assert found.asked_TQ.sum() == 3
    assert found.asked_TN.sum() == 2
    assert found.facts(True).tickers == 2
    position_TQ = np.full(found.shape, np.nan)
    position_TQ[found.cell(asked[0])], position_TQ[found.cell(asked[1])] = 1.0, 0.5
    position_TN = found.by_ticker(position_TQ)
    assert position_TN[0, first.n] == 0.75
    assert np.isfinite(position_TN).sum() == 1
