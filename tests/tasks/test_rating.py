"""The rating task: prompts, answers, rewards, the expert, SFT examples, the oracle, and its evaluation."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from markets import every_fact, market, ragged, task_of
from pydantic import ValidationError

from tradeschool.errors import ParseError
from tradeschool.market import labels
from tradeschool.tasks.rating import INSTRUCTIONS, RATING_VALUES, RatingTask
from tradeschool.tasks.rating_config import COMPONENTS, RatingConfig
from tradeschool.text.describe import facts
from tradeschool.text.parse import RATINGS

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
    excess = labels.excess_TN(panel, [1])
    assert all(np.isfinite(panel.close_TN[t, n]) and np.isfinite(excess[t, n]) for t, n in asked)
    assert not any(n == 0 and t < 170 for t, n in asked)
    assert not any(n == 1 and t >= 328 for t, n in asked)


def test_the_prompt_says_the_facts_and_nothing_else(task: RatingTask) -> None:
    example = task.examples("test")[7]
    stated = facts(task.snapshots.at(example.t, example.n), ["market", "strength", "rsi", "news"])
    assert task.messages(example) == [{"role": "user", "content": "\n".join(fact.text for fact in stated)}]
    assert task.snapshot(example).key == example.key


def test_instructions_are_a_system_message_that_names_every_answer() -> None:
    task = task_of(market(), instructions=True)
    system, user = task.messages(task.examples("test")[0])
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"] == INSTRUCTIONS
    assert all(f"[[[{name}]]]" in INSTRUCTIONS for name in RATINGS)


@pytest.mark.parametrize("rating", list(RATINGS.values()))
def test_answers_are_formatted_and_parsed_back(task: RatingTask, rating: int) -> None:
    text = task.format_answer(rating, "Market trending. [[[SELL]]] was tempting.")
    assert task.parse(text) == rating
    assert RATINGS[task.action_name(rating)] == rating
    with pytest.raises(ParseError, match="exactly one"):
        task.parse(text + text.partition("</think>")[2])


def test_every_component_is_scored(task: RatingTask) -> None:
    example = task.examples("train")[100]
    excess, label = task.excess_TN[example.t, example.n], task.label_TN[example.t, example.n]
    rewards = task.rewards(example, GOOD, 1)
    assert tuple(rewards) == COMPONENTS == tuple(task.weights)
    assert rewards["profit"] == pytest.approx(0.5 * excess)
    assert rewards["risk"] == pytest.approx(-0.2 / 2 * 0.25)
    assert rewards["format"] == 1.0
    assert rewards["decision"] is not None
    assert rewards["decision"] == {-2: -1.75, -1: -1.25, 0: -0.75, 1: 1.0, 2: 0.75}[int(label)]


def test_format_needs_an_answer_and_reasoning(task: RatingTask) -> None:
    example = task.examples("train")[0]
    assert task.rewards(example, "[[[BUY]]]", 1)["format"] == 0
    assert task.rewards(example, "<think>x</think>", None)["format"] == 0
    assert task.rewards(example, GOOD, 1)["format"] == 1


def test_an_unreadable_answer_is_worth_less_than_holding(task: RatingTask) -> None:
    for example in task.examples("train")[::97]:
        unreadable = task.total(task.rewards(example, "?", None))
        assert unreadable < task.total(task.rewards(example, "[[[HOLD]]]", 0))


def test_the_last_rows_have_no_label_and_no_decision_score(task: RatingTask) -> None:
    example = task.examples("test")[-1]
    assert task.rewards(example, GOOD, 1)["decision"] is None
    assert math.isnan(task.metric_values(example, 1)["correct"])
    assert math.isfinite(task.metric_values(example, 1)["score"])


def test_an_outcome_beyond_the_data_is_not_scored(task: RatingTask) -> None:
    example = task.example_at(499, 0)
    assert task.rewards(example, GOOD, 1)["profit"] is None
    assert task.eval_score(example, 1) is None
    assert math.isnan(task.metric_values(example, 1)["score"])


def test_score_is_the_sum_of_the_components_of_eval_score() -> None:
    panel = market()
    by_profit, by_decision = task_of(panel), task_of(panel, eval_score=["decision"])
    example = by_profit.examples("train")[50]
    rewards = by_profit.rewards(example, GOOD, 2)
    assert rewards["profit"] is not None
    assert rewards["risk"] is not None
    assert by_profit.metric_values(example, 2)["score"] == pytest.approx(rewards["profit"] + rewards["risk"])
    assert by_decision.metric_values(example, 2)["score"] == rewards["decision"]


def test_rewards_average_the_horizons_and_the_score_is_that_of_the_first() -> None:
    """Training may look at several horizons; policies are compared by the one that a position is held for."""
    panel = market()
    both, first, second = (task_of(panel, horizons=horizons) for horizons in ([1, 5], [1], [5]))
    example = both.examples("train")[30]

    def profit(task: RatingTask) -> float:
        value = task.rewards(example, GOOD, 2)["profit"]
        assert value is not None
        return value

    assert profit(both) == pytest.approx((profit(first) + profit(second)) / 2)
    assert both.eval_score(example, 2) == first.eval_score(example, 2) != second.eval_score(example, 2)
    assert both.oracle_action(example) == first.oracle_action(example) is not None


def test_correct_is_equality_with_the_label(task: RatingTask) -> None:
    example = task.examples("train")[3]
    label = int(task.label_TN[example.t, example.n])
    assert task.metric_values(example, label)["correct"] == 1
    assert task.metric_values(example, -label or 1)["correct"] == 0
    assert task.metric_values(example, None)["correct"] == 0


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
    content, reasoning = task.messages(example)[0]["content"], task.reasoning(example)
    assert "Stock" not in reasoning
    assert "day " not in reasoning
    for name, word in (sentence.split(" ", 1) for sentence in reasoning.strip(".").split(". ")):
        if name not in ("News", "Market"):
            assert f"({word})" in content or word == "unknown"


def test_sft_examples_are_balanced_readable_and_reasoned(task: RatingTask) -> None:
    found = task.sft_examples("train", 1000, seed=3)
    assert len(found) == 1000
    counts = Counter(task.parse(text) for _, text in found)
    assert set(counts.values()) == {200}
    rows = set(task.split.train_T)
    for example, text in found:
        assert example.t in rows
        assert text == task.format_answer(task.parse(text), task.reasoning(example))


def test_sft_examples_follow_the_expert_or_the_label() -> None:
    panel = market(tickers=8, days=500)
    by_expert, by_label, half = (task_of(panel, hindsight_share=share) for share in (0.0, 1.0, 0.5))
    for example, text in by_expert.sft_examples("train", 200, 0):
        assert by_expert.parse(text) == by_expert.expert(example)[0]
    for example, text in by_label.sft_examples("train", 200, 0):
        assert by_label.parse(text) == by_label.label_TN[example.t, example.n]
    agree = [half.parse(text) == half.label_TN[e.t, e.n] for e, text in half.sft_examples("train", 400, 0)]
    assert 0.55 < np.mean(agree) < 0.8  # half by label, the others by a rule that is right now and then


def test_more_sft_examples_than_questions_repeat_rare_ratings(task: RatingTask) -> None:
    found = task.sft_examples("validation", 3000, seed=0)
    assert len(found) == 3000
    assert len({e.key for e, _ in found}) < 3000


def test_the_best_rating_has_the_highest_expected_score(task: RatingTask) -> None:
    """For utility f p - (lambda / 2) p^2 the best of five positions p lies next to f / lambda."""
    assert task.true_alpha_TN is not None
    for example in task.examples("test")[::13]:
        forecast = float(task.true_alpha_TN[example.t, example.n])
        positions = (-1.0, -0.5, 0.0, 0.5, 1.0)
        utility = {p: p * forecast - 0.1 * p * p for p in positions}
        best = task.oracle_action(example)
        assert best is not None
        assert utility[best / 2] == pytest.approx(max(utility.values()))
        assert task.expected(example, best) == pytest.approx(max(utility.values()))
    assert task.expected(task.examples("test")[0], None) == 0


@pytest.mark.parametrize(
    "config", [{"horizons": [5, 1]}, {"eval_score": ["decision"]}, {"eval_score": ["profit", "decision"]}]
)
def test_no_oracle_is_claimed_where_it_is_not_known(config: dict[str, Any]) -> None:
    task = task_of(market(), **config)
    example = task.examples("test")[0]
    assert task.oracle_action(example) is None
    assert math.isnan(task.expected(example, 1))


def test_without_a_charge_for_risk_the_best_goes_all_the_way() -> None:
    task, calm = (task_of(market(edge=edge), eval_score=["profit"]) for edge in (0.3, 0.0))
    assert task.true_alpha_TN is not None
    for example in task.examples("test")[::29]:
        forecast = float(task.true_alpha_TN[example.t, example.n])
        assert task.oracle_action(example) == 2 * np.sign(forecast)
        assert task.expected(example, 2) == pytest.approx(forecast)
    assert {calm.oracle_action(example) for example in calm.examples("test")} == {0}


def test_a_real_market_has_no_oracle() -> None:
    panel = ragged()
    real = task_of(type(panel)(**{**panel.__dict__, "true_alpha_TN": None}))
    assert real.oracle_action(real.examples("test")[0]) is None


def test_labels_can_be_the_papers() -> None:
    panel = market(days=500)
    forward, paper = task_of(panel), task_of(panel, label_mode="paper")
    assert np.isnan(forward.label_TN[-5:]).all()
    assert np.isfinite(paper.label_TN[-5:]).all()


def test_defaults_are_sound() -> None:
    config = RatingConfig()
    assert set(config.eval_score) <= set(COMPONENTS)
    assert "format" not in config.eval_score
    assert config.weights["profit"] > config.weights["format"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"facts": ["rsi", "momentun"]}, "Did you mean 'momentum'"),
        ({"weights": {"profits": 1.0}}, "has 'profits', but reward components are .* Did you mean 'profit'"),
        ({"eval_score": ["desicion"]}, "Did you mean 'decision'"),
    ],
)
def test_misspelt_names_are_refused_with_the_nearest(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RatingConfig(**config)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"facts": []}, "at least 1 item"),
        ({"horizons": []}, "at least 1 item"),
        ({"horizons": [0]}, "greater than or equal to 1"),
        ({"eval_score": []}, "at least 1 item"),
        ({"eval_score": ["profit", "format"]}, "has format"),
        ({"weights": {"profit": float("nan")}}, "finite number"),
        ({"weights": {"profit": float("inf")}}, "finite number"),
        ({"weights": {"profit": -1.0}}, "greater than or equal to 0"),
        ({"outcome": {"cost": float("inf")}}, "finite number"),
        ({"risk_aversion": -1}, "greater than or equal to 0"),
        ({"hindsight_share": 1.5}, "less than or equal to 1"),
        ({"horizon": 5}, "Extra inputs"),
    ],
)
def test_senseless_settings_are_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RatingConfig(**config)


# evaluation --------------------------------------------------------------------------------------


def test_metrics_are_computed_from_values_that_every_answer_has(task: RatingTask) -> None:
    example = task.examples("train")[5]
    known = {*task.metric_values(example, 1), *task.rewards(example, GOOD, 1)}
    assert {name for metric in task.metrics() for name in metric.values} <= known
    assert [metric.key for metric in task.metrics() if metric.primary] == ["score"]


def test_a_rating_is_a_position_and_an_unreadable_answer_is_none(task: RatingTask) -> None:
    example = task.examples("train")[5]
    assert [task.positions(example, rating) for rating in RATING_VALUES] == [-1, -0.5, 0, 0.5, 1]
    assert task.positions(example, None) is None
    assert task.trace_metrics(example, -2)["position"] == -1
    assert "position" not in task.trace_metrics(example, None)
    assert all(math.isfinite(value) for value in task.trace_metrics(example, None).values())


def test_a_position_between_ratings_is_scored_as_a_rating_is(task: RatingTask) -> None:
    """Decisions from a table may be positions between two ratings."""
    example = task.examples("train")[5]
    excess = float(task.held_TN[example.t, example.n])
    assert task.metric_values(example, 1.5)["score"] == pytest.approx(0.75 * excess - 0.1 * 0.75**2)


def test_baselines_are_the_constants_the_rules_and_the_oracle(task: RatingTask) -> None:
    kinds = {policy.name: policy.kind for policy in task.baselines(3)}
    assert kinds == {
        "hold": "naive",
        "buy and hold": "naive",
        "best constant": "naive",
        "random": "naive",
        "rsi rules": "rule",
        "momentum 10d": "rule",
        "best possible": "best",
    }
    far = task_of(market(), horizons=[5])
    assert "best possible" not in {policy.name for policy in far.baselines()}


def test_the_best_constant_is_the_best_of_the_training_dates(task: RatingTask, monkeypatch: pytest.MonkeyPatch) -> None:
    worth = {-2: 1.0, -1: 2.5, 0: 0.0, 1: 2.0, 2: 0.0}
    monkeypatch.setattr(task, "eval_score", lambda example, rating: None if example.t % 2 else worth[rating])
    constant = next(policy for policy in task.baselines() if policy.name == "best constant")
    assert {task.parse(text) for text in constant.answer(task, task.examples("test")[:3])} == {-1}


def test_the_ratings_are_the_decisions(task: RatingTask) -> None:
    assert tuple(task.decisions(task.examples("train")[0])) == RATING_VALUES == (-2, -1, 0, 1, 2)
