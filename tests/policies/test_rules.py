"""The baselines and the plain rules."""

import math
from collections import Counter
from collections.abc import Mapping

import pytest
from markets import market, ragged, task_of

from tradeschool.market.snapshot import Snapshot
from tradeschool.policies import rules
from tradeschool.policies.rules import Rule
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RATING_VALUES, RatingTask


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market())


def rating(policy: Rule, task: RatingTask, values: Mapping[str, float], monkeypatch: pytest.MonkeyPatch) -> int:
    snapshot = Snapshot("A@2020-01-01", "Stock 1", "day 7", values, (), ())
    monkeypatch.setattr(task, "snapshot", lambda example: snapshot)
    return task.parse(policy.answer(task, [Example(snapshot.key, 0, 0)])[0])


def answers(policy: Rule, task: RatingTask, examples: list[Example] | None = None) -> list[int]:
    return [task.parse(text) for text in policy.answer(task, task.examples("test") if examples is None else examples)]


@pytest.mark.parametrize("constant", RATING_VALUES)
def test_a_constant_never_changes(task: RatingTask, constant: int) -> None:
    policy = rules.constant("always", constant)
    assert (policy.name, policy.kind) == ("always", "naive")
    assert set(answers(policy, task)) == {constant}


@pytest.mark.parametrize(
    ("rsi", "expected"),
    [(5, 2), (19.9, 2), (20, 1), (29.9, 1), (30, 0), (50, 0), (70, 0), (70.1, -1), (80, -1), (80.1, -2), (math.nan, 0)],
)
def test_rsi_rules(task: RatingTask, rsi: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rating(rules.rsi_rules(), task, {"rsi_14": rsi}, monkeypatch) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [(-9, -2), (-5, -2), (-4.9, -1), (-1, -1), (-0.9, 0), (0.9, 0), (1, 1), (4.9, 1), (5, 2), (math.nan, 0)],
)
def test_momentum(task: RatingTask, change: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rating(rules.momentum(), task, {"roc_10": change}, monkeypatch) == expected


def test_random_is_even_over_the_ratings() -> None:
    drawn = answers(rules.random(RATING_VALUES, 0), task_of(market(tickers=12, days=700)))
    counts = Counter(drawn)
    assert set(counts) == set(RATING_VALUES)
    expected = len(drawn) / 5
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 18.5  # chi-square, p = .001


def test_random_depends_on_seed_and_question_but_not_on_the_order(task: RatingTask) -> None:
    asked = task.examples("test")
    drawn = answers(rules.random(RATING_VALUES, 0), task)
    assert answers(rules.random(RATING_VALUES, 0), task) == drawn
    assert answers(rules.random(RATING_VALUES, 0), task, asked[::-1]) == drawn[::-1]
    assert answers(rules.random(RATING_VALUES, 0), task, asked[5:6]) == drawn[5:6]
    assert answers(rules.random(RATING_VALUES, 1), task) != drawn


def test_random_can_stand_in_for_a_trained_model() -> None:
    policy = rules.random(RATING_VALUES, 0, name="trained", kind="trained")
    assert (policy.name, policy.kind) == ("trained", "trained")


@pytest.mark.parametrize("policy", [rules.rsi_rules(), rules.momentum(), rules.random(RATING_VALUES, 0)])
def test_rules_answer_every_snapshot_readably(policy: Rule) -> None:
    """Warm-up, gaps and unlisted tickers included."""
    task = task_of(ragged())
    asked = [task.example_at(t, n) for t in range(0, 400, 9) for n in range(6)]
    assert set(answers(policy, task, asked)) <= set(RATING_VALUES)


def test_rules_give_no_answer_to_no_question(task: RatingTask) -> None:
    assert rules.momentum().answer(task, []) == []
