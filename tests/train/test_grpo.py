"""Which questions GRPO trains on, and in which order; which slice of them a stage takes, and SFT with it."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markets import market, task_of
from rich.console import Console
from trl import GRPOConfig

from tradeschool import pipeline
from tradeschool.errors import RecipeError
from tradeschool.recipe import read
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RatingTask
from tradeschool.train import grpo, sft
from tradeschool.train.grpo import Config, draw
from tradeschool.train.stage import Context
from tradeschool.train.trl_arguments import UNREAD

POOL = [Example(f"T{n}@{t}", t, n) for t in range(30) for n in range(6)]


def order(seed: int = 0, **options: bool | int) -> list[Example]:
    return draw(POOL, Config.model_validate({"stage": "grpo", **options}), seed)


@pytest.mark.parametrize("by_date", [True, False])
def test_the_draw_is_fixed_by_the_seed_and_takes_no_question_twice(by_date: bool) -> None:
    drawn = order(by_date=by_date, questions=100)
    assert drawn == order(by_date=by_date, questions=100)
    assert drawn != order(1, by_date=by_date, questions=100)
    assert len(drawn) == len(set(drawn)) == 100
    assert set(order(by_date=by_date)) == set(POOL)


def test_by_date_whole_dates_come_one_after_the_other_in_random_order() -> None:
    drawn = order(by_date=True)
    dates = [example.t for example in drawn[::6]]
    assert [example.t for example in drawn] == [t for t in dates for _ in range(6)]
    assert sorted(dates) == list(range(30))
    assert dates != sorted(dates)
    # Inside a date the tickers take turns, so that no ticker is always the one left out.
    assert len({tuple(e.n for e in drawn[6 * i : 6 * i + 6]) for i in range(30)}) > 10


def test_without_it_questions_of_all_dates_are_mixed() -> None:
    first = order(by_date=False)[:30]
    assert len({example.t for example in first}) > 12


# slices ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market())


def context_of(task: RatingTask, console: Console | None = None) -> Context:
    return Context(Path(), Path(), task.panel, task, None, {}, 0, console or Console(quiet=True))


def asked(task: RatingTask, console: Console | None = None, **options: Any) -> list[Example]:
    """The rows of the dataset that the trainer is given."""
    config = Config.model_validate({"stage": "grpo", **options})
    return [Example(row["key"], row["t"], row["n"]) for row in grpo._questions(config, context_of(task, console))]


def imitated(task: RatingTask, **options: Any) -> list[tuple[Example, str]]:
    """The questions and answers that SFT trains on."""
    config = sft.Config.model_validate({"stage": "sft", "examples": 300, **options})
    return list(sft._answers(config, context_of(task)))


@pytest.mark.parametrize("options", [{}, {"slice": "natural"}, {"by_date": False}, {"questions": 70}])
def test_natural_trains_on_the_very_draw_that_there_was_without_slices(task: RatingTask, options: Any) -> None:
    config = Config.model_validate({"stage": "grpo", **options})
    assert asked(task, **options) == draw(task.examples("train"), config, 0)


def test_natural_imitates_the_very_answers_that_there_were_without_slices(task: RatingTask) -> None:
    assert imitated(task) == imitated(task, slice="natural") == task.targets("train", 300, 0)


def test_a_balanced_stage_meets_every_class_equally_often(task: RatingTask) -> None:
    console = Console(record=True, width=200)
    counts = Counter(task.label(example) for example in asked(task, console, slice="balanced", questions=203))
    assert sorted(counts.values()) == [40, 40, 41, 41, 41]
    assert set(counts) == set(task.action_names)
    assert "Slice balanced" in console.export_text()


def test_a_balanced_stage_keeps_the_questions_of_a_date_together(task: RatingTask) -> None:
    dates = [example.t for example in asked(task, slice="balanced")]
    changes = sum(before != after for before, after in itertools.pairwise(dates))
    assert changes == len(set(dates)) - 1


def test_a_volatile_stage_asks_and_imitates_on_few_days_alone(task: RatingTask) -> None:
    every = {example.t for example in asked(task)}
    volatile = {example.t for example in asked(task, slice="volatile", volatile_share=0.2)}
    assert volatile < every
    assert len(volatile) == pytest.approx(0.2 * len(task.split.train_T), abs=1)
    answers = imitated(task, slice="volatile", volatile_share=0.2)
    assert len(answers) == 300
    assert {example.t for example, _ in answers} <= volatile


def test_sft_on_a_balanced_slice_asks_about_rare_outcomes_more_often(task: RatingTask) -> None:
    def rare(answers: list[tuple[Example, str]]) -> int:
        return sum(task.label(example) == "STRONG_SELL" for example, _ in answers)

    by_expert = task_of(task.panel, hindsight=0.0)
    assert rare(imitated(by_expert, slice="balanced")) > 2 * rare(imitated(by_expert))


CURRICULUM = """stages=[
    {stage: sft, name: sft, examples: 10},
    {stage: grpo, name: one, slice: balanced},
    {stage: grpo, name: two},
    {stage: grpo, name: three, slice: volatile, volatile_share: 0.2}]"""


def test_a_curriculum_of_slices_is_a_recipe(fake_recipe: Callable[..., Path]) -> None:
    recipe = read(fake_recipe(), [" ".join(CURRICULUM.split())])
    assert [stage.slice for stage in recipe.stages] == ["natural", "balanced", "natural", "volatile"]
    assert recipe.resolved["stages"][3]["volatile_share"] == 0.2


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("stages.one.slice=balancd", ["must be one of natural, balanced, volatile", "Did you mean 'balanced'?"]),
        ("stages.three.volatile_share=0", ["must be greater than 0"]),
        ("stages.three.volatile_share=30", ["must be at most 1"]),
        ("stages.sft.slise=balanced", ["Did you mean 'slice'?"]),
    ],
)
def test_a_slice_that_there_is_not_is_refused(fake_recipe: Callable[..., Path], option: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as refused:
        read(fake_recipe(), [" ".join(CURRICULUM.split()), option])
    for word in words:
        assert word in str(refused.value)


def test_a_slice_that_cannot_be_made_is_refused_before_the_first_stage(fake_recipe: Callable[..., Path]) -> None:
    recipe = read(fake_recipe(), [" ".join(CURRICULUM.split()), "stages.three.volatile_by=index"])
    with pytest.raises(RecipeError, match=r"stages\.three\.volatile_by: index needs notes of kind volatility_index"):
        pipeline.run(recipe, None, Console(quiet=True))
    assert not Path("runs").exists()


# keys of TRL that change nothing here ------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("repetition_penalty", 1.1),
        ("generation_kwargs", {"typical_p": 0.9}),
        ("use_vllm", True),
        ("cache_implementation", "static"),
    ],
)
def test_a_key_that_the_sampling_does_not_read_is_refused_where_it_would_change_nothing(
    task: RatingTask, key: str, value: Any
) -> None:
    def checked(**options: Any) -> None:
        grpo.check_task(Config.model_validate({"stage": "grpo", "name": "second", **options}), task)

    checked(trl={key: grpo.UNREAD[key]})
    checked(trl={key: value}, share_prefix=False)
    with pytest.raises(RecipeError, match=rf"stages\.second\.trl\.{key}: .*share_prefix: false"):
        checked(trl={key: value})


@pytest.mark.parametrize("stage", [grpo, sft])
@pytest.mark.parametrize(
    ("key", "value", "cure"), [("eval_strategy", "steps", "evaluate"), ("model_init_kwargs", {"dtype": "x"}, "model")]
)
def test_a_key_that_no_trainer_can_use_is_refused(
    task: RatingTask, stage: Any, key: str, value: Any, cure: str
) -> None:
    def checked(given: Any) -> None:
        stage.check_task(stage.Config.model_validate({"stage": "x", "name": "second", "trl": {key: given}}), task)

    for usual in UNREAD[key][0]:
        checked(usual)
    with pytest.raises(RecipeError, match=rf"stages\.second\.trl\.{key}: .*{cure}"):
        checked(value)


def test_variables_of_the_template_are_the_models_affair(task: RatingTask) -> None:
    trl = {"chat_template_kwargs": {"enable_thinking": False}}
    config = Config.model_validate({"stage": "grpo", "name": "second", "share_prefix": False, "trl": trl})
    with pytest.raises(RecipeError, match=r"trl\.chat_template_kwargs: .*model\.template"):
        grpo.check_task(config, task)


def test_the_fields_that_only_trls_generation_reads_are_trls() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(GRPOConfig)}
    assert {key: fields[key] for key in grpo.UNREAD} == grpo.UNREAD
