"""The direction task: questions, prompts, answers, decisions, metrics, baselines, and what it may not see."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deepstock_rows import write_rows
from markets import Says, listed, market, scrambled_after
from pydantic import ValidationError
from rich.console import Console

from tradeschool.config.recipe import load_panel, make_task, read
from tradeschool.errors import RecipeError
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import Comparison
from tradeschool.evaluate.evaluation_set import evaluation_set_of, traces_to_predictions
from tradeschool.market.panel import Panel
from tradeschool.market.splits import split_rows
from tradeschool.policies import table
from tradeschool.policies.base import Answerer
from tradeschool.rollout import rollout
from tradeschool.tasks.base import Example
from tradeschool.tasks.direction import DirectionTask
from tradeschool.tasks.direction_config import COMPONENTS, DirectionConfig
from tradeschool.tasks.direction_metrics import curve
from tradeschool.text.direction import Call

RECIPE = Path(__file__).parents[2] / "recipes" / "direction-tiny.yaml"
GRID = [0.52, 0.6, 0.68, 0.76, 0.84]
GOOD = "<think>RSI 28.4.</think>\nMagnitude: 1.5%\nDirection: UP\nConfidence: 60%"


def task_of(panel: Panel, embargo: int = 22, **config: Any) -> DirectionTask:
    split = split_rows(panel, (0.6, 0.1, 0.3), embargo=embargo, warmup=40)
    return DirectionTask(DirectionConfig(**{"sections": [], **config}), panel, split)


def move(task: DirectionTask, example: Example) -> float:
    return float(task.outcomes[example.variant].move_TN[example.t, example.n])


@pytest.fixture(scope="module")
def task() -> DirectionTask:
    return task_of(market(edge=0.6, tickers=6, days=500), confidences=GRID)


@pytest.fixture(scope="module")
def several() -> DirectionTask:
    return task_of(market(tickers=4, days=400), horizons=[20, 1, 5], label="raw")


def ask(task: DirectionTask, policies: list[Answerer], examples: list[Example]) -> Comparison:
    questions = evaluation_set_of(task, task.panel, examples, "test")
    answered = [
        traces_to_predictions(questions, p.name, p.kind, examples, rollout(p, task, examples, {})) for p in policies
    ]
    return compare(questions, answered)


@pytest.fixture(scope="module")
def compared(task: DirectionTask) -> Comparison:
    learned = table.learn(task, task.examples("train"), task.examples("validation"))
    return ask(task, [*task.baselines(), learned], task.examples("test"))


# the question ------------------------------------------------------------------------------------


def test_the_prompt_states_facts_a_typical_move_and_the_horizon(task: DirectionTask, several: DirectionTask) -> None:
    example = task.examples("test")[5]
    text = task.messages(example)[-1]["content"]
    assert text.splitlines()[-2:] == [f"Typical move {task.decisions(example)[0].magnitude}%", "Horizon 1 day"]
    assert "Horizon 20 days" in several.messages(several.example_at(200, 1, 2))[-1]["content"]


def test_each_horizon_is_a_question_of_its_own(several: DirectionTask) -> None:
    assert several.config.horizons == [1, 5, 20]
    asked = [one for one in several.examples("train") if (one.t, one.n) == (100, 2)]
    assert [one.key.rpartition("/")[2] for one in asked] == ["1d", "5d", "20d"]
    opens = several.panel.open_TN[:, 2]
    for one, days in zip(asked, (1, 5, 20), strict=True):
        assert move(several, one) == pytest.approx(100 * (opens[101 + days] / opens[101] - 1))
        assert several.facts(one)[-1] == f"{days}d"
        assert f"{days} days." in several.reasoning(one)


def test_neutral_moves_of_a_date_add_up_to_nothing() -> None:
    task = task_of(market(tickers=5, days=300))
    assert np.allclose(np.nansum(task.outcomes[0].move_TN, axis=1), 0)


def test_a_typical_move_follows_from_the_training_dates_alone() -> None:
    panel = market(tickers=4, days=400)
    before = task_of(panel)
    last = int(before.split.validation_T[0])
    after = task_of(scrambled_after(panel, last))
    assert after.base == before.base
    for t in (100, last):
        both = listed(panel, t)
        assert [after.messages(one) for one in both] == [before.messages(one) for one in both]
        assert [after.decisions(one) for one in both] == [before.decisions(one) for one in both]
        for a, b in zip(after.baselines(), before.baselines(), strict=True):
            if a.name != "best possible":
                assert a.answer(after, both) == b.answer(before, both)


def test_sections_are_shown_where_something_is_known(tmp_path: Path) -> None:
    """Company, news and financials of DeepStock rows."""
    path = write_rows(tmp_path / "rows.jsonl", market(tickers=2, days=300))
    sets = [f"market={{path: {path}}}", "task={name: direction, mask: false}", "split.warmup=40"]
    recipe = read(RECIPE, sets)
    task = make_task(recipe, load_panel(recipe, Console(quiet=True)))
    assert isinstance(task, DirectionTask)
    example = task.examples("test")[0]
    text = task.messages(example)[-1]["content"]
    assert "## Company\nPRAC00 makes cars." in text
    assert "## News\n" in text
    assert "## Fundamentals\n" in text
    assert "nothing known" not in text
    revenue = "<think>Eps 2.</think>" + GOOD.partition("</think>")[2]
    assert task.rewards(example, revenue, task.parse(revenue))["data_use"] is not None
    synthetic = task_of(market(), sections=["company", "news", "fundamentals"])
    assert "## Fundamentals" not in synthetic.messages(synthetic.examples("test")[0])[-1]["content"]


def test_instructions_say_what_up_means() -> None:
    for label, words in (("raw", "gains from"), ("neutral", "more than the mean of all stocks")):
        system, _ = task_of(market(), instructions=True, label=label).messages(Example("x", 100, 0))
        assert system["role"] == "system"
        assert words in system["content"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"weights": {"signal": 1.0}}, "must be equal"),
        ({"weights": {"sgnal": 1.0}}, "signal"),
        ({"horizons": [1, 1]}, "once"),
        ({"confidences": [0.4]}, "0.5"),
        ({"label": "market"}, "neutral"),
        ({"facts": ["rsy"]}, "rsi"),
        ({"sections": ["newz"]}, "news"),
    ],
)
def test_wrong_settings_are_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises((ValidationError, RecipeError), match=words):
        DirectionConfig(**config)


# answers and rewards ------------------------------------------------------------------------------


def test_decisions_are_a_grid_and_read_back(task: DirectionTask) -> None:
    example = task.examples("train")[0]
    decisions = task.decisions(example)
    assert {(one.direction, one.confidence) for one in decisions} == {(d, c) for d in ("UP", "DOWN") for c in GRID}
    for one in decisions:
        text = task.format_answer(one, task.reasoning(example))
        assert task.parse(text) == one
        assert task.action_name(one) == one.direction


def test_every_component_is_scored_and_those_of_stonk_v2_add_up_to_eleven(task: DirectionTask) -> None:
    example = next(one for one in task.examples("train") if move(task, one) > 0.5)
    size = abs(move(task, example))
    facts = " ".join(task.messages(example)[-1]["content"].splitlines())
    text = f"<think>{facts} {facts}</think>\nMagnitude: {size}%\nDirection: UP\nConfidence: 100%"
    found = task.rewards(example, text, task.parse(text))
    assert tuple(found) == COMPONENTS == tuple(task.weights)
    cited = {0: 0.0, 1: 1.0, 2: 1.0, 3: 2.0, 4: 2.0}
    assert found["data_use"] in cited.values()
    published = [found[name] for name in ("direction", "magnitude", "confidence", "format")]
    assert sum(one for one in published if one is not None) == 8.0  # data_use adds up to 3
    assert task.rewards(example, "?", None)["format"] == 0


def test_the_weighted_reward_is_the_gain_in_brier_score(task: DirectionTask) -> None:
    for example in task.examples("train")[::50]:
        for one in task.decisions(example):
            total = task.total(task.rewards(example, GOOD, one))
            assert total == pytest.approx(task.metric_values(example, one)["gain"])
        assert task.total(task.rewards(example, "?", None)) == pytest.approx(task.metric_values(example, None)["gain"])


def test_an_outcome_beyond_the_data_is_not_scored(task: DirectionTask) -> None:
    example = task.example_at(499, 0)
    found = task.rewards(example, GOOD, task.parse(GOOD))
    assert found["signal"] is found["direction"] is found["log"] is None
    assert task.metric_values(example, task.parse(GOOD)) == {}
    assert task.label(example) is None


def test_combined_answers_average_probabilities(task: DirectionTask) -> None:
    given = [Call("UP", 1.0, 0.9), Call("UP", 2.0, 0.6), Call("DOWN", 6.0, 0.6)]
    mean, median = task.combine(given), task.combine(given, "median")
    alone = task.combine(given[2:])
    assert [one.direction for one in (mean, median, alone)] == ["UP", "UP", "DOWN"]
    assert [one.magnitude for one in (mean, median, alone)] == [3.0, 2.0, 6.0]
    assert [one.confidence for one in (mean, median, alone)] == pytest.approx([0.6333, 0.6, 0.6], abs=1e-4)


def test_sft_answers_are_balanced_and_readable(task: DirectionTask) -> None:
    pairs = task.sft_examples("train", 101, 3)
    calls = [task.parse(text) for _, text in pairs]
    assert len(calls) == 101
    assert abs(sum(one.direction == "UP" for one in calls) - 50.5) <= 1.5
    assert {one.confidence for one in calls} <= set(GRID)
    assert pairs == task.sft_examples("train", 101, 3)


# evaluation ---------------------------------------------------------------------------------------


def test_baselines_and_the_best_possible(compared: Comparison, task: DirectionTask) -> None:
    brier = {row.policy: row.metrics["brier"].value for row in compared.rows}
    assert brier["base rate"] == brier["always up"] == pytest.approx(brier["always down"], abs=1e-6)
    assert brier["best possible"] < brier["same facts, table"] < brier["base rate"]
    assert compared.row("best possible").metrics["gain"].excludes_zero
    assert compared.row("best possible").metrics["share"].value == 1
    assert compared.row("same facts, table").metrics["share"].value > 0.6
    assert compared.row("always up").metrics["up_accuracy"].value == 1
    assert compared.row("always up").metrics["down_accuracy"].value == 0
    rises = compared.row("always up").metrics["accuracy"].value
    assert compared.row("always up").metrics["up_excess"].value == pytest.approx(1 - rises)
    assert compared.row("always down").metrics["up_excess"].value == pytest.approx(-rises)
    assert compared.row("base rate").metrics["probability_bias"].value == pytest.approx(task.base[0] - rises, abs=1e-3)
    assert compared.row("base rate").metrics["ece"].value < 0.05
    assert [one.kind for one in task.baselines()].count("best") == 1
    assert not [one for one in task_of(market(), horizons=[1, 5]).baselines() if one.kind == "best"]


def test_unreadable_answers_score_worst_and_are_counted_apart(task: DirectionTask) -> None:
    base = task.baselines()[0]
    found = ask(task, [base, Says("no idea"), Says(GOOD, "Confidence: nan", name="half")], task.examples("test"))
    assert found.row("says").metrics["brier"].value == 1
    assert found.row("says").metrics["parse_errors"].value == 1
    assert math.isnan(found.row("says").metrics["sure"].value)
    assert found.row("half").metrics["parse_errors"].value == pytest.approx(0.5, abs=0.01)
    assert found.row("half").metrics["sure"].value == pytest.approx(0.6)
    assert found.row("half").metrics["brier"].value > 0.5


def test_a_position_follows_from_the_probability(task: DirectionTask) -> None:
    example = task.examples("test")[0]
    assert task.positions(example, Call("UP", 1.0, 0.5)) == 0
    assert task.positions(example, Call("DOWN", 1.0, 0.9)) == pytest.approx(-0.8)
    assert task.positions(example, None) is None


def test_horizons_are_evaluated_apart_and_together(several: DirectionTask) -> None:
    examples = several.examples("test")
    found = ask(several, several.baselines(), examples)
    row = found.row("momentum 10d")
    each = [row.metrics[f"brier_{days}d"].value for days in (1, 5, 20)]
    counts = [sum(one.variant == place for one in examples) for place in range(3)]
    assert row.metrics["brier"].value == pytest.approx(np.average(each, weights=counts))
    assert found.evaluation.tickers == 4
    assert found.evaluation.questions == len(examples)
    assert len(row.equity_T) == len(several.rows("test"))


def test_the_calibration_curve_has_a_point_for_each_filled_bin() -> None:
    probability, up = np.repeat([0.25, 0.75], 20), np.tile([0.0, 1.0, 1.0, 1.0], 10)
    found = curve({"probability": probability, "up": up})
    assert found is not None
    assert found[0].tolist() == [0.25, 0.75]
    assert found[1].tolist() == [0.75, 0.75]
    assert curve({}) is None
