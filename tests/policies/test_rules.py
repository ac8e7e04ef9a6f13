"""The naive rivals and the plain rules."""

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from markets import market, ragged, task_of

from tradeschool.market.window import Window
from tradeschool.policies import rules
from tradeschool.policies.base import Policy
from tradeschool.tasks.base import Prompt
from tradeschool.tasks.rating import RatingTask


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market())


def prompt(values: Mapping[str, float]) -> Prompt:
    window = Window("A@2020-01-01", "Stock 1", "day 7", values, np.full(20, 100.0), (), ())
    return Prompt(window.key, [], window)


def rating(policy: Policy, task: RatingTask, values: Mapping[str, float]) -> int:
    return task.parse(policy.reply([prompt(values)])[0])


def prompts(task: RatingTask) -> list[Prompt]:
    return [task.prompt(example) for example in task.examples("test")]


@pytest.mark.parametrize("constant", [-2, -1, 0, 1, 2])
def test_a_constant_never_changes(task: RatingTask, constant: int) -> None:
    policy = rules.constant("always", task, constant)
    assert (policy.name, policy.kind) == ("always", "naive")
    assert {task.parse(text) for text in policy.reply(prompts(task))} == {constant}


@pytest.mark.parametrize(
    ("rsi", "expected"),
    [(5, 2), (19.9, 2), (20, 1), (29.9, 1), (30, 0), (50, 0), (70, 0), (70.1, -1), (80, -1), (80.1, -2), (math.nan, 0)],
)
def test_rsi_rules(task: RatingTask, rsi: float, expected: int) -> None:
    assert rating(rules.rsi_rules(task), task, {"rsi_14": rsi}) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [(-9, -2), (-5, -2), (-4.9, -1), (-1, -1), (-0.9, 0), (0.9, 0), (1, 1), (4.9, 1), (5, 2), (math.nan, 0)],
)
def test_momentum(task: RatingTask, change: float, expected: int) -> None:
    assert rating(rules.momentum(task), task, {"roc_10": change}) == expected


def test_random_is_even_over_the_ratings() -> None:
    task = task_of(market(tickers=12, days=700))
    answers = [task.parse(text) for text in rules.random(task, 0).reply(prompts(task))]
    counts = Counter(answers)
    assert set(counts) == {-2, -1, 0, 1, 2}
    expected = len(answers) / 5
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 18.5  # chi-square, p = .001


def test_random_depends_on_seed_and_question_but_not_on_the_order(task: RatingTask) -> None:
    asked = prompts(task)
    answers = rules.random(task, 0).reply(asked)
    assert rules.random(task, 0).reply(asked) == answers
    assert rules.random(task, 0).reply(asked[::-1]) == answers[::-1]
    assert rules.random(task, 0).reply(asked[5:6]) == answers[5:6]
    assert rules.random(task, 1).reply(asked) != answers


def test_random_can_pose_as_a_trained_model(task: RatingTask) -> None:
    policy = rules.random(task, 0, name="trained", kind="trained")
    assert (policy.name, policy.kind) == ("trained", "trained")


@pytest.mark.parametrize("make", [rules.rsi_rules, rules.momentum, lambda task: rules.random(task, 0)])
def test_rules_answer_every_window_readably(make: type[Policy]) -> None:
    """Warm-up, gaps and unlisted tickers included."""
    task = task_of(ragged())
    asked = [task.prompt(task._example(t, n)) for t in range(0, 400, 9) for n in range(6)]
    policy = make(task)  # type: ignore[call-arg]
    assert {task.parse(text) for text in policy.reply(asked)} <= {-2, -1, 0, 1, 2}


def test_rules_give_no_answer_to_no_question(task: RatingTask) -> None:
    assert rules.momentum(task).reply([]) == []
