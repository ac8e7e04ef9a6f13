"""Traces laid out as dates x tickers: every figure in its own cell, nothing where nothing was asked."""

from typing import Any

import numpy as np
import pytest
from markets import Says, market, ragged, task_of

from tradeschool.evaluate.stage import Config, CostsConfig
from tradeschool.evaluate.tally import exam_of, tally
from tradeschool.market import outcomes
from tradeschool.policies import rules
from tradeschool.rollout import rollout
from tradeschool.tasks.rating import RatingConfig, RatingTask

GOOD, BAD = "<think>RSI low.</think>\n[[[STRONG_BUY]]]", "No idea."
CONFIG = Config(stage="evaluate", costs=CostsConfig(commission_bps=2, slippage_bps=3, allow_short=False))


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market(days=500))


def test_the_exam_is_the_split_with_the_stages_costs(task: RatingTask) -> None:
    exam = exam_of(task, CONFIG, task.panel, "test")
    np.testing.assert_array_equal(exam.rows_T, task.split.test_T)
    forward = outcomes.forward_return_TN(task.panel, 1)[task.split.test_T]
    np.testing.assert_array_equal(exam.forward_TN, forward)
    assert (exam.costs.commission_bps, exam.costs.slippage_bps, exam.costs.allow_short) == (2, 3, False)
    assert exam.horizon == 1
    np.testing.assert_array_equal(exam_of(task, CONFIG, task.panel, "validation").rows_T, task.split.validation_T)


def test_returns_are_the_first_horizons_and_overlap_the_longests() -> None:
    task = task_of(market(), horizons=[3, 10])
    exam = exam_of(task, CONFIG, task.panel, "test")
    np.testing.assert_array_equal(exam.forward_TN, outcomes.forward_return_TN(task.panel, 3)[task.split.test_T])
    assert exam.horizon == 10


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({}, "profit + risk (aversion 0.2) over 1 day, task rating {}"),
        ({"risk_aversion": 0.5, "horizons": [3, 5]}, "profit + risk (aversion 0.5) over 3 days, task rating {}"),
        ({"measure": ["profit"], "risk_aversion": 0.5}, "profit over 1 day, task rating {}"),
        (
            {"measure": ["decision"], "label_mode": "paper"},
            "decision (labels paper) over 1 day, task rating {}",
        ),
    ],
)
def test_the_score_is_named_by_all_it_depends_on(config: dict[str, Any], name: str) -> None:
    task = task_of(market(), **config)
    assert exam_of(task, CONFIG, task.panel, "test").score == name.format(task.version)


def test_another_outcome_reward_is_another_score() -> None:
    names = set()
    for outcome in (usual := RatingConfig().outcome, usual.model_copy(update={"cost": 0.5})):
        task = task_of(market(), measure=["outcome"], outcome=outcome)
        names.add(exam_of(task, CONFIG, task.panel, "test").score)
    assert len(names) == 2


def test_every_figure_lands_in_its_cell() -> None:
    panel = ragged()
    task = task_of(panel)
    exam, examples = exam_of(task, CONFIG, panel, "test"), task.examples("test")
    found = tally(exam, task, "random", "naive", examples, rollout(policy := rules.random(task, 4), task, examples, {}))
    assert (found.policy, found.kind) == ("random", "naive")
    assert found.asked_TN.sum() == len(examples) < exam.shape[0] * exam.shape[1]
    first = task.split.test_T[0]
    for example in examples[::11]:
        cell = example.t - first, example.n
        rating = task.parse(policy.reply([task.prompt(example)])[0])
        assert found.asked_TN[cell]
        assert found.rating_TN[cell] == rating
        metrics = task.metrics(example, rating)
        for name in ("score", "correct", "expected"):
            np.testing.assert_equal(
                getattr(found, f"{name}_TN")[cell] if name != "expected" else _expected(found)[cell], metrics[name]
            )
        decision = task.score(example, "", rating)["decision"]
        np.testing.assert_equal(found.decision_TN[cell], np.nan if decision is None else decision)
    for value_TN in (found.rating_TN, found.score_TN, found.decision_TN, found.correct_TN, _expected(found)):
        assert np.isnan(value_TN[~found.asked_TN]).all()


def _expected(found: object) -> np.ndarray:
    value_TN = found.expected_TN  # type: ignore[attr-defined]
    assert value_TN is not None
    return np.asarray(value_TN)


def test_unreadable_answers_have_no_rating_but_a_score(task: RatingTask) -> None:
    examples = task.examples("test")
    exam = exam_of(task, CONFIG, task.panel, "test")
    found = tally(exam, task, "says", "trained", examples, rollout(Says(BAD, GOOD), task, examples, {}))
    assert found.unreadable_TN.sum() == len(examples) // 2
    assert (found.score_TN[found.unreadable_TN] == 0).all()  # no position: nothing earned, nothing risked
    assert (_expected(found)[found.unreadable_TN] == 0).all()
    assert set(found.rating_TN[np.isfinite(found.rating_TN)]) == {2}


def test_rewards_are_means_over_what_was_scored(task: RatingTask) -> None:
    examples = task.examples("test")
    exam = exam_of(task, CONFIG, task.panel, "test")
    found = tally(exam, task, "says", "trained", examples, rollout(Says(GOOD), task, examples, {}))
    assert found.rewards["format"] == 1
    assert found.rewards["risk"] == pytest.approx(-0.1)
    scored = [value for e in examples if (value := task.score(e, GOOD, 2)["decision"]) is not None]
    assert len(scored) < len(examples)
    assert found.rewards["decision"] == pytest.approx(np.mean(scored))


def test_without_a_known_forecast_there_is_no_expectation() -> None:
    task = task_of(market(), horizons=[3, 5])
    examples = task.examples("test")
    exam = exam_of(task, CONFIG, task.panel, "test")
    found = tally(exam, task, "says", "trained", examples, rollout(Says(GOOD), task, examples, {}))
    assert found.expected_TN is None


def test_traces_of_other_questions_are_an_error(task: RatingTask) -> None:
    examples = task.examples("test")
    exam = exam_of(task, CONFIG, task.panel, "test")
    with pytest.raises(ValueError, match="shorter"):
        tally(exam, task, "says", "trained", examples, rollout(Says(GOOD), task, examples[:3], {}))
