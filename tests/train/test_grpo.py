"""Which questions GRPO trains on and in which order, curricula, and what is refused before training."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from markets import market, task_of
from rich.console import Console
from trl import GRPOConfig

from tradeschool import pipeline
from tradeschool.config.recipe import read
from tradeschool.errors import RecipeError
from tradeschool.market.splits import split_rows
from tradeschool.models.chat_renderer import ChatRenderer
from tradeschool.models.load import ModelConfig
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.train import grpo, sft
from tradeschool.train.curriculum import select_examples
from tradeschool.train.grpo import Config, draw
from tradeschool.train.stage import CheckContext, Context

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


def test_otherwise_questions_of_all_dates_are_mixed() -> None:
    first = order(by_date=False)[:30]
    assert len({example.t for example in first}) > 12


# curricula ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market())


def context_of(task: RatingTask, console: Console | None = None) -> Context:
    return Context(Path(), Path(), task.panel, task, None, {}, 0, console or Console(quiet=True))


def examples_of(task: RatingTask, console: Console | None = None, **options: Any) -> list[Example]:
    """The questions that GRPO trains on."""
    return grpo.training_examples(Config.model_validate({"stage": "grpo", **options}), context_of(task, console))


def imitated(task: RatingTask, **options: Any) -> list[tuple[Example, str]]:
    """The questions and answers that SFT trains on."""
    config = sft.Config.model_validate({"stage": "sft", "examples": 300, **options})
    pool = select_examples(task, config, task.panel, seed=0, log=print)
    return list(task.sft_examples("train", 300, 0, pool))


@pytest.mark.parametrize("options", [{}, {"curriculum": "natural"}, {"by_date": False}, {"questions": 70}])
def test_natural_trains_on_the_whole_split_in_random_order(task: RatingTask, options: Any) -> None:
    config = Config.model_validate({"stage": "grpo", **options})
    assert examples_of(task, **options) == draw(task.examples("train"), config, 0)


def test_natural_imitates_the_answers_of_the_whole_split(task: RatingTask) -> None:
    assert imitated(task) == imitated(task, curriculum="natural") == task.sft_examples("train", 300, 0)


def test_a_balanced_stage_trains_on_every_class_equally_often(task: RatingTask) -> None:
    console = Console(record=True, width=200)
    counts = Counter(
        task.label(example) for example in examples_of(task, console, curriculum="balanced", questions=203)
    )
    assert sorted(counts.values()) == [40, 40, 41, 41, 41]
    assert set(counts) == set(task.action_names)
    assert "Balanced curriculum" in console.export_text()


def test_a_balanced_stage_keeps_the_questions_of_a_date_together(task: RatingTask) -> None:
    dates = [example.t for example in examples_of(task, curriculum="balanced")]
    changes = sum(before != after for before, after in itertools.pairwise(dates))
    assert changes == len(set(dates)) - 1


def test_a_volatile_stage_trains_on_volatile_days_alone(task: RatingTask) -> None:
    every = {example.t for example in examples_of(task)}
    volatile = {example.t for example in examples_of(task, curriculum="volatile", volatile_share=0.2)}
    assert volatile < every
    assert len(volatile) == pytest.approx(0.2 * len(task.split.train_T), abs=1)
    answers = imitated(task, curriculum="volatile", volatile_share=0.2)
    assert len(answers) == 300
    assert {example.t for example, _ in answers} <= volatile


def test_sft_with_a_balanced_curriculum_asks_about_rare_outcomes_more_often(task: RatingTask) -> None:
    def rare(answers: list[tuple[Example, str]]) -> int:
        return sum(task.label(example) == "STRONG_SELL" for example, _ in answers)

    by_expert = task_of(task.panel, hindsight_share=0.0)
    assert rare(imitated(by_expert, curriculum="balanced")) > 2 * rare(imitated(by_expert))


CURRICULUM = """stages=[
    {stage: sft, name: sft, examples: 10},
    {stage: grpo, name: one, curriculum: balanced},
    {stage: grpo, name: two},
    {stage: grpo, name: three, curriculum: volatile, volatile_share: 0.2}]"""


def test_every_stage_may_have_a_curriculum_of_its_own(fake_recipe: Callable[..., Path]) -> None:
    recipe = read(fake_recipe(), [" ".join(CURRICULUM.split())])
    assert [stage.curriculum for stage in recipe.stages] == ["natural", "balanced", "natural", "volatile"]
    assert recipe.resolved["stages"][3]["volatile_share"] == 0.2


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("stages.one.curriculum=balancd", ["must be one of natural, balanced, volatile", "Did you mean 'balanced'?"]),
        ("stages.three.volatile_share=0", ["must be greater than 0"]),
        ("stages.three.volatile_share=30", ["must be at most 1"]),
        ("stages.sft.curiculum=balanced", ["Did you mean 'curriculum'?"]),
    ],
)
def test_an_unknown_curriculum_is_refused(fake_recipe: Callable[..., Path], option: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as refused:
        read(fake_recipe(), [" ".join(CURRICULUM.split()), option])
    for word in words:
        assert word in str(refused.value)


def test_a_curriculum_that_cannot_be_made_is_refused_before_the_first_stage(fake_recipe: Callable[..., Path]) -> None:
    recipe = read(fake_recipe(), [" ".join(CURRICULUM.split()), "stages.three.volatile_by=index"])
    with pytest.raises(RecipeError, match=r"stages\.three\.volatile_by.*volatility_index"):
        pipeline.run(recipe, None, Console(quiet=True))
    assert not Path("runs").exists()


# what is refused before training -----------------------------------------------------------------


def checked(task: Any, model: dict[str, Any] | None = None, **options: Any) -> None:
    config = Config.model_validate({"stage": "grpo", "name": "second", **options})
    grpo.check(config, CheckContext(task, task.panel, task.split, ModelConfig.model_validate(model or {}), 0))


def test_a_stage_has_its_own_weights_of_the_rewards(task: RatingTask) -> None:
    checked(task, weights={"decision": 2.0})
    args = grpo.trl_arguments(Config(stage="grpo"), task.with_weights({"decision": 2.0}), Path("unused"), 0)
    assert dict(zip(task.weights, args.reward_weights, strict=True)) == {
        **dict.fromkeys(task.weights, 0.0),
        "decision": 2,
    }
    with pytest.raises(RecipeError, match="no 'decisions'.*Did you mean 'decision'"):
        checked(task, weights={"decisions": 2.0})
    with pytest.raises(RecipeError, match="no reward with a weight above 0"):
        checked(task, weights={"decision": 0.0})


def test_values_that_trl_accepts_pass(task: RatingTask) -> None:
    checked(task)
    checked(task, trl={key: default for key, default in grpo.ONLY_IN_TRL_GENERATION.items() if default is not None})
    checked(task, trl={"repetition_penalty": 1.1}, share_prefix=False)
    checked(task, trl={"scale_rewards": False, "loss_type": "dr_grpo", "temperature": 0.7, "eval_strategy": "no"})
    checked(task, model={"attention": "flash_attention_2"}, share_prefix=False)


@pytest.mark.parametrize(
    ("trl", "words"),
    [
        ({"repetition_penalty": 1.1}, "repetition_penalty .*share_prefix: false"),
        ({"generation_kwargs": {"typical_p": 0.9}}, "generation_kwargs .*share_prefix: false"),
        ({"use_vllm": True}, "use_vllm .*share_prefix: false"),
        ({"cache_implementation": "static"}, "cache_implementation .*share_prefix: false"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, r"chat_template_kwargs: .*model\.template"),
        ({"eval_strategy": "steps"}, "eval_strategy: .*evaluate"),
        ({"num_generations": 5, "per_device_train_batch_size": 32}, r"generation_batch_size \(32\)"),
        ({"num_generations": 1}, "num_generations is 1, but must be at least 2"),
        ({"temperature": 0.0}, "temperature is 0.0, but must be greater than 0"),
        ({"num_iterations": "two"}, "num_iterations is 'two', but must be a whole number"),
        ({"generation_batch_size": 1.5}, "generation_batch_size is 1.5, but must be a whole number"),
        *(
            ({key: value}, f"{key}: .*over all tokens")
            for key, value in (("min_p", 0.05), ("top_k", 20), ("top_p", 0.9))
        ),
        ({"loss_type": "grpoo"}, "loss_type is 'grpoo'.*Did you mean 'grpo'"),
        ({"scale_rewards": "groups"}, "scale_rewards is 'groups'.*Did you mean 'group'"),
        ({"max_steps": 0}, "max_steps is 0, but must be at least 1"),
        ({"max_completion_length": 100_000}, "max_completion_length is 100,000, .* the model has 1,024 positions"),
        ({"learning_rate": "abc"}, "learning_rate is 'abc', but must be a number"),
        ({"lr_scheduler_type": "cosinee"}, "cosinee"),
    ],
)
def test_values_that_would_fail_or_have_no_effect_are_refused(
    task: RatingTask, trl: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError, match=rf"stages\.second\.trl.*{words}"):
        checked(task, trl=trl)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"objective": "ppo", "group": "decisions"}, "group: ppo learns from sampled answers"),
        ({"objective": "ppo", "share_prefix": False}, "share_prefix: objectives gvpo and ppo"),
        ({"objective": "gvpo", "gae_lambda": 0.9}, "gae_lambda has no effect with objective: gvpo"),
        ({"critic_learning_rate": 0.1}, "critic_learning_rate has no effect with objective: grpo"),
        ({"objective": "gvpo", "trl": {"epsilon": 0.1}}, "epsilon has no effect with objective: gvpo"),
        ({"group": "decisions", "trl": {"loss_type": "dapo"}}, "loss_type has no effect with group: decisions"),
    ],
)
def test_what_an_objective_does_not_use_is_refused(task: RatingTask, given: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        checked(task, **given)


@pytest.mark.parametrize(
    ("save_steps", "trl", "every"),
    [
        (3, {"steps_per_generation": 2}, 2),
        (4, {"num_iterations": 3}, 3),
        (5, {"gradient_accumulation_steps": 2, "steps_per_generation": 8}, 4),
        (3, {"generation_batch_size": 64}, 2),
        (0.1, {"num_iterations": 2}, 2),
    ],
)
def test_checkpoints_between_two_generations_are_refused(
    task: RatingTask, save_steps: float, trl: dict[str, Any], every: int
) -> None:
    trl = {"per_device_train_batch_size": 32, **trl}
    with pytest.raises(RecipeError, match=rf"stages\.second\.trl: save_steps must be a multiple of {every}"):
        checked(task, trl={**trl, "save_steps": save_steps})
    checked(task, trl={**trl, "save_steps": 2 * every})
    checked(task, trl={**trl, "save_strategy": "no"})
    with pytest.raises(RecipeError, match="has save_strategy epoch"):
        checked(task, trl={**trl, "save_strategy": "epoch"})


def test_an_attention_without_4d_masks_is_refused_with_a_shared_prefix(task: RatingTask) -> None:
    with pytest.raises(RecipeError, match="share_prefix.*flash_attention_2"):
        checked(task, model={"attention": "flash_attention_2"})


def test_questions_that_exceed_the_model_are_refused_before_the_first_stage(task: RatingTask, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"max_completion_length is 512, .* the model has 256 positions"):
        checked(task, model={"tiny": {"positions": 256}})
    base = str(tiny_models.folder(tmp_path / "base", max_position_embeddings=300))
    with pytest.raises(RecipeError, match=r"max_completion_length is 280, .* the model has 300 positions"):
        checked(task, model={"base": base}, trl={"max_completion_length": 280})
    checked(task, model={"base": base}, trl={"max_completion_length": 16})
    checked(task, model={"base": "some/model-of-the-hub"}, trl={"max_completion_length": 100_000})


def test_a_task_without_rewards_is_refused(task: RatingTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "weights", {"profit": 0.0})
    with pytest.raises(RecipeError, match="stages.second: the task 'rating' has no reward"):
        checked(task)


def test_a_loss_that_divides_by_the_longest_completion_is_refused_in_episodes() -> None:
    panel = market(days=400)
    split = split_rows(panel, (0.6, 0.1, 0.3), embargo=16, warmup=60)
    episodic = TradeTask(TradeConfig(level="Easy"), panel, split)
    checked(episodic)
    with pytest.raises(RecipeError, match=r"loss_type: dr_grpo"):
        checked(episodic, trl={"loss_type": "dr_grpo"})
    with pytest.raises(RecipeError, match="use_vllm .*Remove it"):
        checked(episodic, trl={"use_vllm": True}, share_prefix=False)


def test_the_list_of_trls_generation_fields_is_correct() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(GRPOConfig)}
    assert {key: fields[key] for key in grpo.ONLY_IN_TRL_GENERATION} == grpo.ONLY_IN_TRL_GENERATION


def test_any_payload_reaches_the_rewards(task: RatingTask) -> None:
    tokenizer = tiny_models.tokenizer()
    examples = [dataclasses.replace(example, payload=object()) for example in task.examples("train")[:3]]
    rows = grpo.dataset_rows(task, examples, ChatRenderer.of(tokenizer, (tokenizer.eos_token_id,)))
    assert [row["example"] for row in rows] == [0, 1, 2]
    assert [row["prompt"] for row in rows] == [task.messages(example) for example in examples]
