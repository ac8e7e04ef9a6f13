"""The rating task: prompts, answers, scores, the expert, targets to imitate, and what is best."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from markets import every_fact, market, ragged, task_of
from pydantic import ValidationError

from tradeschool.errors import ParseError, RecipeError
from tradeschool.market import outcomes
from tradeschool.tasks.rating import COMPONENTS, INSTRUCTIONS, RatingConfig, RatingTask
from tradeschool.text.describe import facts
from tradeschool.text.grammar import RATINGS

GOOD = "<think>RSI low.</think>\n[[[BUY]]]"


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market(tickers=8, days=500), facts=["market", "strength", "rsi", "news"])


def test_examples_are_all_questions_that_can_be_scored_in_time_order(task: RatingTask) -> None:
    for split, rows in (("train", task.split.train_T), ("validation", task.split.validation_T)):
        examples = task.examples(split)  # type: ignore[arg-type]
        assert [(e.t, e.n) for e in examples] == [(t, n) for t in rows for n in range(8)]
    last = {e.t for e in task.examples("test")}
    assert max(last) == 497  # filled at the open of 498, measured at that of 499
    assert len({e.key for e in task.examples("test")}) == len(task.examples("test"))
    first = task.examples("test")[0]
    assert first.key == f"PRAC00@{task.panel.dates_T[first.t]}"


def test_unlisted_days_and_unknown_outcomes_are_not_asked() -> None:
    panel = ragged()
    task = task_of(panel)
    asked = {(e.t, e.n) for split in ("train", "validation", "test") for e in task.examples(split)}
    assert asked
    excess = outcomes.excess_TN(panel, [1])
    assert all(np.isfinite(panel.close_TN[t, n]) and np.isfinite(excess[t, n]) for t, n in asked)
    assert not any(n == 0 and t < 170 for t, n in asked)
    assert not any(n == 1 and t >= 328 for t, n in asked)


def test_the_prompt_says_the_facts_and_nothing_else(task: RatingTask) -> None:
    example = task.examples("test")[7]
    prompt = task.prompt(example)
    said = facts(task.windows.at(example.t, example.n), ["market", "strength", "rsi", "news"])
    assert prompt.messages == [{"role": "user", "content": "\n".join(fact.text for fact in said)}]
    assert prompt.key == example.key == prompt.window.key


def test_instructions_are_a_system_message_that_names_every_answer() -> None:
    task = task_of(market(), instructions=True)
    system, user = task.prompt(task.examples("test")[0]).messages
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"] == INSTRUCTIONS
    assert all(f"[[[{name}]]]" in INSTRUCTIONS for name in RATINGS)


@pytest.mark.parametrize("rating", list(RATINGS.values()))
def test_answers_are_composed_and_read_back(task: RatingTask, rating: int) -> None:
    text = task.compose(rating, "Market trending. [[[SELL]]] was tempting.")
    assert task.parse(text) == rating
    assert RATINGS[task.action_name(rating)] == rating
    with pytest.raises(ParseError, match="exactly one"):
        task.parse(text + text.partition("</think>")[2])


def test_every_component_is_scored(task: RatingTask) -> None:
    example = task.examples("train")[100]
    excess, label = task.excess_TN[example.t, example.n], task.label_TN[example.t, example.n]
    rewards = task.score(example, GOOD, 1)
    assert tuple(rewards) == COMPONENTS == tuple(task.weights)
    assert rewards["profit"] == pytest.approx(0.5 * excess)
    assert rewards["risk"] == pytest.approx(-0.2 / 2 * 0.25)
    assert rewards["format"] == 1.0
    assert rewards["decision"] is not None
    assert rewards["decision"] == {-2: -1.75, -1: -1.25, 0: -0.75, 1: 1.0, 2: 0.75}[int(label)]


def test_format_needs_an_answer_and_reasoning(task: RatingTask) -> None:
    example = task.examples("train")[0]
    assert task.score(example, "[[[BUY]]]", 1)["format"] == 0
    assert task.score(example, "<think>x</think>", None)["format"] == 0
    assert task.score(example, GOOD, 1)["format"] == 1


def test_an_unreadable_answer_is_worth_less_than_holding(task: RatingTask) -> None:
    for example in task.examples("train")[::97]:
        unreadable = task.total(task.score(example, "?", None))
        assert unreadable < task.total(task.score(example, "[[[HOLD]]]", 0))


def test_the_last_rows_have_no_label_and_no_decision_score(task: RatingTask) -> None:
    example = task.examples("test")[-1]
    assert task.score(example, GOOD, 1)["decision"] is None
    assert math.isnan(task.metrics(example, 1)["correct"])
    assert math.isfinite(task.metrics(example, 1)["score"])


def test_an_outcome_beyond_the_data_is_not_scored(task: RatingTask) -> None:
    example = task._example(499, 0)
    assert task.score(example, GOOD, 1)["profit"] is None
    assert task.measured(example, 1) is None
    assert math.isnan(task.metrics(example, 1)["score"])


def test_score_is_the_sum_of_what_the_recipe_measures() -> None:
    panel = market()
    by_profit, by_decision = task_of(panel), task_of(panel, measure=["decision"])
    example = by_profit.examples("train")[50]
    rewards = by_profit.score(example, GOOD, 2)
    assert rewards["profit"] is not None
    assert rewards["risk"] is not None
    assert by_profit.metrics(example, 2)["score"] == pytest.approx(rewards["profit"] + rewards["risk"])
    assert by_decision.metrics(example, 2)["score"] == rewards["decision"]


def test_rewards_average_the_horizons_and_the_score_is_that_of_the_first() -> None:
    """Training may look at several horizons; policies are compared by the one that a position is held for."""
    panel = market()
    both, first, second = (task_of(panel, horizons=horizons) for horizons in ([1, 5], [1], [5]))
    example = both.examples("train")[30]

    def profit(task: RatingTask) -> float:
        value = task.score(example, GOOD, 2)["profit"]
        assert value is not None
        return value

    assert profit(both) == pytest.approx((profit(first) + profit(second)) / 2)
    assert both.measured(example, 2) == first.measured(example, 2) != second.measured(example, 2)
    assert both.best(example) == first.best(example) is not None


def test_correct_is_equality_with_the_label(task: RatingTask) -> None:
    example = task.examples("train")[3]
    label = int(task.label_TN[example.t, example.n])
    assert task.metrics(example, label)["correct"] == 1
    assert task.metrics(example, -label or 1)["correct"] == 0
    assert task.metrics(example, None)["correct"] == 0


def test_the_expert_adds_up_the_points_of_the_words_it_states() -> None:
    """The expert knows no more than its reasoning says."""
    task = every_fact(market())
    points = {
        "Strength very strong": 2, "Strength strong": 1, "Strength weak": -1, "Strength very weak": -2,
        "Momentum rising fast": 2, "Momentum rising": 1, "Momentum falling": -1, "Momentum falling fast": -2,
        "RSI oversold": 1, "RSI overbought": -1, "Trend up": 1, "Trend down": -1,
        "MACD above signal": 1, "MACD below signal": -1, "Stochastic oversold": 1, "Stochastic overbought": -1,
        "Bollinger below the bands": 1, "Bollinger above the bands": -1, "News good": 1, "News bad": -1,
    }  # fmt: skip
    seen = set()
    for example in task.examples("train")[::7]:
        rating, reasoning = task.expert(example)
        stated = reasoning.strip(".").split(". ")
        assert rating == max(-2, min(2, sum(points.get(sentence, 0) for sentence in stated)))
        assert reasoning == task.reasoning(example)
        seen.add(rating)
    assert seen == {-2, -1, 0, 1, 2}


def test_reasoning_repeats_the_words_of_the_prompt_without_name_and_date() -> None:
    task = every_fact(market())
    example = task.examples("test")[11]
    prompt, reasoning = task.prompt(example), task.reasoning(example)
    assert "Stock" not in reasoning
    assert "day " not in reasoning
    for name, word in (sentence.split(" ", 1) for sentence in reasoning.strip(".").split(". ")):
        if name not in ("News", "Market"):
            assert f"({word})" in prompt.messages[0]["content"] or word == "unknown"


def test_targets_are_balanced_readable_and_reasoned(task: RatingTask) -> None:
    targets = task.targets("train", 1000, seed=3)
    assert len(targets) == 1000
    counts = Counter(task.parse(text) for _, text in targets)
    assert set(counts.values()) == {200}
    rows = set(task.split.train_T)
    for example, text in targets:
        assert example.t in rows
        assert text == task.compose(task.parse(text), task.reasoning(example))


def test_targets_follow_the_expert_or_the_label() -> None:
    panel = market(tickers=8, days=500)
    by_expert, by_label, half = (task_of(panel, hindsight=share) for share in (0.0, 1.0, 0.5))
    for example, text in by_expert.targets("train", 200, 0):
        assert by_expert.parse(text) == by_expert.expert(example)[0]
    for example, text in by_label.targets("train", 200, 0):
        assert by_label.parse(text) == by_label.label_TN[example.t, example.n]
    agree = [half.parse(text) == half.label_TN[e.t, e.n] for e, text in half.targets("train", 400, 0)]
    assert 0.55 < np.mean(agree) < 0.8  # half by label, the others by a rule that is right now and then


def test_more_targets_than_questions_repeat_rare_ratings(task: RatingTask) -> None:
    targets = task.targets("validation", 3000, seed=0)
    assert len(targets) == 3000
    assert len({e.key for e, _ in targets}) < 3000


def test_the_best_rating_has_the_highest_expected_score(task: RatingTask) -> None:
    """For utility f p - (lambda / 2) p^2 the best of five positions p lies next to f / lambda."""
    assert task.planted_TN is not None
    for example in task.examples("test")[::13]:
        forecast = float(task.planted_TN[example.t, example.n])
        positions = (-1.0, -0.5, 0.0, 0.5, 1.0)
        utility = {p: p * forecast - 0.1 * p * p for p in positions}
        best = task.best(example)
        assert best is not None
        assert utility[best / 2] == pytest.approx(max(utility.values()))
        assert task.expected(example, best) == pytest.approx(max(utility.values()))
    assert task.expected(task.examples("test")[0], None) == 0


@pytest.mark.parametrize(
    "config", [{"horizons": [5, 1]}, {"measure": ["decision"]}, {"measure": ["profit", "decision"]}]
)
def test_the_best_is_not_claimed_where_nobody_knows_it(config: dict[str, Any]) -> None:
    task = task_of(market(), **config)
    example = task.examples("test")[0]
    assert task.best(example) is None
    assert math.isnan(task.expected(example, 1))


def test_without_a_charge_for_risk_the_best_goes_all_the_way() -> None:
    task, calm = (task_of(market(edge=edge), measure=["profit"]) for edge in (0.3, 0.0))
    assert task.planted_TN is not None
    for example in task.examples("test")[::29]:
        forecast = float(task.planted_TN[example.t, example.n])
        assert task.best(example) == 2 * np.sign(forecast)
        assert task.expected(example, 2) == pytest.approx(forecast)
    assert {calm.best(example) for example in calm.examples("test")} == {0}


def test_a_real_market_has_no_best() -> None:
    panel = ragged()
    real = task_of(type(panel)(**{**panel.__dict__, "planted_TN": None}))
    assert real.best(real.examples("test")[0]) is None


def test_labels_can_be_the_papers() -> None:
    panel = market(days=500)
    forward, paper = task_of(panel), task_of(panel, label_mode="paper")
    assert np.isnan(forward.label_TN[-5:]).all()
    assert np.isfinite(paper.label_TN[-5:]).all()


def test_defaults_are_sound() -> None:
    config = RatingConfig()
    assert set(config.measure) <= set(COMPONENTS)
    assert "format" not in config.measure
    assert config.weights["profit"] > config.weights["format"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"facts": ["rsi", "momentun"]}, "Did you mean 'momentum'"),
        ({"weights": {"profits": 1.0}}, "'profits' is no reward component. Did you mean 'profit'"),
        ({"measure": ["desicion"]}, "Did you mean 'decision'"),
    ],
)
def test_misspelt_names_are_refused_with_the_nearest(config: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        RatingConfig(**config)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"facts": []}, "at least 1 item"),
        ({"horizons": []}, "at least 1 item"),
        ({"horizons": [0]}, "greater than or equal to 1"),
        ({"measure": []}, "at least 1 item"),
        ({"measure": ["profit", "format"]}, "has format, but policies are compared by what their ratings are worth"),
        ({"weights": {"profit": float("nan")}}, "finite number"),
        ({"weights": {"profit": float("inf")}}, "finite number"),
        ({"weights": {"profit": -1.0}}, "greater than or equal to 0"),
        ({"outcome": {"cost": float("inf")}}, "finite number"),
        ({"risk_aversion": -1}, "greater than or equal to 0"),
        ({"hindsight": 1.5}, "less than or equal to 1"),
        ({"horizon": 5}, "Extra inputs"),
    ],
)
def test_senseless_settings_are_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RatingConfig(**config)
