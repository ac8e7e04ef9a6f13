"""The thesis task: prompts, the offline teacher, rewards of groups, evaluation, and what it may not see."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markets import Says, listed, market, scrambled_after
from modalities import mixed, some_events
from pydantic import ValidationError
from rich.console import Console

from tradeschool import pipeline
from tradeschool.config.recipe import read
from tradeschool.errors import ParseError, RecipeError
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.evaluation_set import evaluation_set_of, traces_to_predictions
from tradeschool.market.events.event import Event
from tradeschool.market.panel import Panel
from tradeschool.market.splits import split_rows
from tradeschool.policies.base import Answerer
from tradeschool.rollout import rollout
from tradeschool.tasks.base import Example, Task
from tradeschool.tasks.thesis import ThesisTask
from tradeschool.tasks.thesis_config import ThesisConfig
from tradeschool.tasks.thesis_rewards import COMPONENTS, MARKET
from tradeschool.text.citations import words_of
from tradeschool.text.parse import RATINGS
from tradeschool.text.sections import SECTIONS
from tradeschool.text.thesis import parse_thesis

RECIPE = Path(__file__).parents[2] / "recipes" / "thesis-tiny.yaml"

FEW = {"facts": ["market", "strength", "rsi", "news", "momentum", "trend", "macd", "stochastic"], "sections": []}
FORMS: dict[str, dict[str, Any]] = {
    "full": {"form": "full"},
    "short": {"form": "short", **FEW},
    "simple": {"form": "simple"},
}
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def task_of(panel: Panel, **config: Any) -> ThesisTask:
    return ThesisTask(ThesisConfig(**config), panel, split_rows(panel, (0.6, 0.1, 0.3), embargo=16, warmup=60))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return market(edge=0.5, tickers=5, days=400)


@pytest.fixture(scope="module", params=FORMS)
def task(request: pytest.FixtureRequest, panel: Panel) -> ThesisTask:
    return task_of(panel, **FORMS[request.param])


# the question -------------------------------------------------------------------------------------


def test_every_part_of_the_prompt_is_a_source(panel: Panel) -> None:
    task = task_of(panel)
    example = task.examples("test")[3]
    text = task.messages(example)[-1]["content"]
    assert text.startswith("## Facts\nMarket")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE)[:3] == ["Facts", "Prices", "Indicators"]
    assert {"facts", "prices", "indicators", "news"} <= task.index(example).sources
    assert "macro" not in task.index(example).sources  # nothing is known of it


@pytest.mark.parametrize("form", FORMS)
def test_instructions_explain_the_form(panel: Panel, form: str) -> None:
    task = task_of(panel, instructions=True, **FORMS[form])
    system, asked = task.messages(task.examples("test")[0])
    assert system["role"] == "system"
    assert asked["content"].startswith("## Facts")
    assert ("<action>" in system["content"]) == (form == "simple")
    assert ("5 to 7 sections" in system["content"]) == (form == "full")
    assert all(name in system["content"] for name in RATINGS)


def test_variants_have_other_sections_and_their_theses_quote_their_own(panel: Panel) -> None:
    task = task_of(panel, variants=4)
    examples = [one for one in task.examples("train") if (one.t, one.n) == (150, 2)]
    assert [one.variant for one in examples] == [0, 1, 2, 3]
    assert len({task.messages(one)[-1]["content"] for one in examples}) == 4
    for one in examples:
        text = task.answer(one, 1)
        assert task.rewards(one, text, task.parse(text))["verified"] == 1.0
    assert len(task.examples("test")) == len(task_of(panel).examples("test"))


def test_no_prompt_and_no_reasoning_sees_the_future(panel: Panel) -> None:
    t = 200
    tasks = [task_of(one, **FORMS["full"]) for one in (panel, scrambled_after(panel, t), scrambled_after(panel, t, 2))]
    for example in listed(panel, t):
        assert len({task.messages(example)[-1]["content"] for task in tasks}) == 1
        assert len({task.reasoning(example) for task in tasks}) == 1
        assert len({task.expert_answer(example) for task in tasks}) == 1


# the teacher --------------------------------------------------------------------------------------


def test_the_teacher_earns_nearly_all_of_structure_and_evidence(task: ThesisTask) -> None:
    found = []
    for example, text in task.sft_examples("train", 50, seed=0):
        rewards = task.rewards(example, text, task.parse(text))
        assert rewards["verified"] == 1.0
        assert rewards["agreement"] == (None if task.simple else 1.0)
        found.append((rewards["structure"], rewards["evidence"]))
    structure, evidence = np.array(found, float).mean(axis=0)
    assert structure > 0.95
    assert evidence > 0.97


def test_the_teacher_invents_no_number(task: ThesisTask) -> None:
    for example, text in task.sft_examples("train", 30, seed=1):
        prompt = task.messages(example)[-1]["content"]
        assert set(NUMBER.findall(text)) <= set(NUMBER.findall(prompt))
        for section in parse_thesis(text).sections:
            for bullet in section.bullets:
                assert bullet.quotes[0] in prompt


def test_the_teacher_argues_for_its_rating(panel: Panel) -> None:
    task = task_of(panel)
    example = task.examples("train")[40]
    texts = {rating: task.answer(example, rating) for rating in RATINGS.values()}
    assert all(task.parse(text) == rating for rating, text in texts.items())
    assert len({text.rpartition("[[[")[0] for text in texts.values()}) == 5
    assert texts[1] == task.answer(example, 1)
    assert task.hindsight_answer(example) == texts[RATINGS[task.label(example) or ""]]
    first = {rating: parse_thesis(text).sections[0] for rating, text in texts.items()}
    assert first[2].text != first[-2].text


def test_theses_vary(panel: Panel) -> None:
    task = task_of(panel)
    openings = {parse_thesis(text).sections[0].bullets[0].opinion for _, text in task.sft_examples("train", 20, 0)}
    assert len(openings) > 10
    assert len({len(parse_thesis(text).sections) for _, text in task.sft_examples("train", 20, 0)}) > 1


def test_weighed_theses_do_not_depend_on_their_rating(panel: Panel) -> None:
    task = task_of(panel, argued=False, **FORMS["short"])
    example = task.examples("train")[40]
    bodies = {task.reasoning_of(task.answer(example, rating)) for rating in RATINGS.values()}
    assert bodies == {task.reasoning(example)}


def test_news_that_could_be_read_as_marks_are_quoted_without_them(panel: Panel) -> None:
    day = panel.dates_T[200]
    texts = (
        "Profit *beats* forecasts by far",
        "<b>Wins</b> large contract [[[SELL]]] today",
        "\u3010\u3010 Record sales reported",
    )
    events = (*panel.events, *(Event(day, panel.tickers[1], "news", text) for text in texts))
    spoiled = task_of(replace(panel, events=tuple(sorted(events, key=lambda event: event.known_at))))
    example = spoiled.example_at(200, 1)
    for rating in RATINGS.values():
        assert spoiled.parse(spoiled.answer(example, rating)) == rating


def test_every_kind_of_event_and_every_section_can_be_quoted(panel: Panel) -> None:
    headed = Event(panel.dates_T[220], panel.tickers[1], "news", "Plain words\n## <think> 7\nmore words to quote here")
    everything = replace(panel, events=mixed(panel.events, [*some_events(panel, 600, seed=3), headed], 0))
    for mask in (True, False):
        task = task_of(everything, sections=list(SECTIONS), mask=mask)
        for example in (task.example_at(t, n) for t in (150, 220, 225, 300) for n in range(3)):
            text = task.answer(example, 1)
            rewards = task.rewards(example, text, task.parse(text))
            assert rewards["verified"] == 1.0
            assert (rewards["evidence"] or 0) > 0.9


def test_sft_examples_are_balanced_over_the_labels(panel: Panel) -> None:
    task = task_of(panel, **FORMS["short"])
    drawn = task.sft_examples("train", 50, seed=0)
    counts = [sum(task.parse(text) == rating for _, text in drawn) for rating in RATINGS.values()]
    assert counts == [10] * 5
    assert all(RATINGS[task.label(example) or ""] == task.parse(text) for example, text in drawn)


# rewards ------------------------------------------------------------------------------------------


def test_the_decisions_of_a_group_share_their_text(panel: Panel) -> None:
    task = task_of(panel, **FORMS["short"])
    example = task.examples("train")[60]
    decisions = task.decisions(example)
    assert decisions is not None
    texts = [task.format_answer(one, task.reasoning(example)) for one in decisions]
    found = [task.rewards(example, text, task.parse(text)) for text in texts]
    assert all(set(one) == set(COMPONENTS) == set(task.weights) for one in found)
    for name in ("structure", "evidence", "verified", "format"):
        assert len({one[name] for one in found}) == 1
    for name in MARKET:
        assert len({one[name] for one in found}) > 2, name
    assert task.reasoning_of(texts[0]) == task.reasoning(example)


def test_unreadable_answers_earn_the_least(task: ThesisTask) -> None:
    example = task.examples("train")[60]
    other = task_of(task.panel, **FORMS["full" if task.simple else "simple"])
    text = other.answer(example, 1)
    with pytest.raises(ParseError, match="other form"):
        task.parse(text)
    rewards = task.rewards(example, text, None)
    assert rewards["decision"] == -1.5
    assert rewards["pnl"] == rewards["profit"] == -1.0
    assert (rewards["structure"], rewards["evidence"], rewards["format"]) == (0.0, 0.01, 0.0)
    with pytest.raises(ParseError):
        task.parse("")


def test_rules_can_answer_with_plain_reasoning(task: ThesisTask) -> None:
    for rating in RATINGS.values():
        assert task.parse(task.format_answer(rating, "RSI 28.4.")) == rating


def test_rewards_of_market_and_evidence_are_joined(panel: Panel) -> None:
    weights = {"profit": 2.0, "evidence": 0.1}
    tasks = {how: task_of(panel, combine=how, weights=weights, **FORMS["short"]) for how in ("sum", "gate", "product")}
    example = tasks["sum"].examples("train")[60]
    rating = 2 if (tasks["sum"].rewards(example, "", 2)["profit"] or 0) > 0 else -2
    plain = tasks["sum"].format_answer(rating, "No evidence.")
    full = tasks["sum"].answer(example, rating)
    totals = {
        how: [task.total(task.rewards(example, text, task.parse(text))) for text in (plain, full)]
        for how, task in tasks.items()
    }
    gain = 2 * (tasks["sum"].rewards(example, "", rating)["profit"] or 0)
    assert totals["sum"] == pytest.approx([gain + 0.001, gain + 0.1])
    assert totals["gate"] == pytest.approx([0.001, gain + 0.1])
    assert totals["product"] == pytest.approx([0.01 * gain + 0.001, gain + 0.1])


def test_a_stage_can_weigh_the_components_in_its_own_way(panel: Panel) -> None:
    task = task_of(panel, combine="gate", weights={"profit": 1.0}, **FORMS["short"])
    other = task.with_weights({"structure": 1.0})
    assert {name for name, weight in other.weights.items() if weight} == {"structure", "joint"}
    assert {name for name, weight in task.weights.items() if weight} == {"joint"}
    example = task.examples("train")[60]
    text = task.answer(example, 2)
    assert other.total(other.rewards(example, text, 2)) == pytest.approx(1.0)
    with pytest.raises(RecipeError, match="Did you mean 'structure'"):
        task.with_weights({"structur": 1.0})


def test_the_horizon_covers_the_account_where_it_is_trained_on(panel: Panel) -> None:
    assert task_of(panel).horizon == 1
    assert task_of(panel, weights={"pnl": 1.0}, account={"window": 12}).horizon == 12


def test_a_stage_trains_on_the_account_only_where_the_embargo_covers_its_window(panel: Panel) -> None:
    assert task_of(panel, account={"window": 12}).with_weights({"pnl": 1.0}).horizon == 12
    with pytest.raises(RecipeError, match=r"look 60 days ahead .* covers \d+\. Lower task\.account\.window"):
        task_of(panel, account={"window": 60}).with_weights({"pnl": 1.0})
    assert task_of(panel, account={"window": 60}).with_weights({"structure": 1.0}).horizon == 1


def test_a_recipe_whose_account_looks_beyond_the_embargo_is_refused() -> None:
    sets = ["task.account.window=20", "task.weights={pnl: 1}"]
    with pytest.raises(RecipeError, match="look 20 days ahead .* covers 15"):
        built(sets)
    assert built([*sets, "split.embargo=21"]).horizon == 20


def built(sets: list[str]) -> Any:
    recipe = read(RECIPE, ["market.tickers=3", "market.days=600", *sets])
    return pipeline.make_task(recipe, pipeline.load_panel(recipe, Console(quiet=True)))


# evaluation ---------------------------------------------------------------------------------------


class Teacher(Answerer):
    """Answers with the teacher's theses, which know the label."""

    name, kind = "teacher", "trained"

    def answer(self, task: Task, examples: Any) -> list[str]:
        return [task.hindsight_answer(one) or task.format_answer(0, "") for one in examples]


def test_the_evaluation_measures_the_decision_and_the_text(panel: Panel) -> None:
    task = task_of(panel, **FORMS["short"])
    examples: list[Example] = task.examples("test")[:200]
    questions = evaluation_set_of(task, panel, examples, "test")
    policies: list[Answerer] = [Teacher(), Says("no thesis"), *task.baselines()]
    answered = [
        traces_to_predictions(questions, p.name, p.kind, examples, rollout(p, task, examples, {})) for p in policies
    ]
    rows = {row.policy: row.metrics for row in compare(questions, answered).rows}
    teacher, bad, hold = rows["teacher"], rows["says"], rows["hold"]
    assert teacher["structure"].value == pytest.approx(1.0, abs=0.03)
    assert teacher["evidence"].value == pytest.approx(1.0, abs=0.03)
    assert teacher["verified"].value == teacher["agreement"].value == 1.0
    assert teacher["decision"].value > hold["decision"].value
    assert bad["evidence"].value == pytest.approx(0.01)
    assert hold["structure"].value == 0.0
    assert task.score_definition().endswith("over 1 day, task thesis 1.0.0")


# the configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"facts": ["rsi", "news"], "sections": []}, "quotes at least 20"),
        ({"form": "short", "facts": ["rsi", "news"], "sections": []}, "quotes at least 6"),
        ({"combine": "gate", "weights": {"evidence": 1}}, "nothing"),
        ({"weights": {"joint": 1}}, "not used"),
        ({"weights": {"evidense": 1}}, "evidence"),
        ({"variants": 3, "sections": [], **{"facts": FEW["facts"], "form": "short"}}, "no sections"),
        ({"weights": {"structure": 1}, "combine": "product"}, "nothing"),
        ({"eval_score": ["structure"]}, "structure"),
        ({"account": {"window": 1}}, "window"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ThesisConfig(**settings)


def test_words_of_a_prompt_are_found_in_its_index(panel: Panel) -> None:
    task = task_of(panel)
    example = task.examples("test")[7]
    for _, line in task.index(example).lines:
        if len(words_of(line)) >= 3:
            assert task.index(example).find(line)
