"""What SFT imitates as tokens: questions as they are asked later, answers whole, loss on the answer alone."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from chat_families import FAMILIES, HOSTILE, THINKING, markers_in, tokenizer_like
from datasets import Dataset
from markets import market, task_of
from pydantic import ValidationError
from rich.console import Console
from transformers import AutoModelForCausalLM
from trl import SFTTrainer

from tradeschool.errors import RecipeError
from tradeschool.models.chat_renderer import ChatRenderer
from tradeschool.models.load import ModelConfig
from tradeschool.tasks.base import Task
from tradeschool.tasks.rating import RatingTask
from tradeschool.train import sft
from tradeschool.train.answers import read_dataset, write_dataset
from tradeschool.train.stage import CheckContext, Context

CONFIG = sft.Config.model_validate({"stage": "sft", "examples": 20})


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market())


def context_of(task: RatingTask, folder: Path = Path()) -> Context:
    return Context(folder, folder, task.panel, task, None, {}, 0, Console(quiet=True))


def rows(task: RatingTask, tokenizer: Any) -> list[dict[str, Any]]:
    return sft.training_rows(CONFIG, context_of(task), ChatRenderer.of(tokenizer, (tokenizer.eos_token_id,)))


def learned_ids(row: dict[str, Any]) -> list[int]:
    return [token for token, learned in zip(row["input_ids"], row["completion_mask"], strict=True) if learned]


def test_a_row_is_what_the_template_writes(task: RatingTask) -> None:
    tokenizer = tiny_models.tokenizer()
    made = rows(task, tokenizer)
    answers = task.sft_examples("train", 20, 0)
    assert len(made) == len(answers) == 20
    for row, (example, answer) in zip(made, answers, strict=True):
        asked = task.messages(example)
        whole = tokenizer.apply_chat_template(
            [*asked, {"role": "assistant", "content": answer}], tokenize=True, return_dict=False
        )
        assert row["input_ids"] == whole
        assert tokenizer.decode(learned_ids(row)) == answer + tokenizer.eos_token
        assert row["completion_mask"] == sorted(row["completion_mask"])


@pytest.mark.parametrize("family", [*FAMILIES, *THINKING])
def test_answers_are_imitated_with_their_reasoning_whatever_the_template(task: RatingTask, family: str) -> None:
    tokenizer = tokenizer_like(family)
    answers = [answer for _, answer in task.sft_examples("train", 20, 0)]
    assert all(answer.startswith("<think>") for answer in answers)
    for row, answer in zip(rows(task, tokenizer), answers, strict=True):
        begun = answer.removeprefix("<think>") if family in THINKING else answer
        assert tokenizer.decode(learned_ids(row)) == begun + tokenizer.eos_token


@pytest.mark.parametrize("family", FAMILIES)
def test_markers_in_news_are_text(task: RatingTask, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokenizer_like(family)
    tame = rows(task, tokenizer)[0]["input_ids"]

    monkeypatch.setattr(task, "messages", lambda example: [{"role": "user", "content": HOSTILE}])
    found = rows(task, tokenizer)[0]["input_ids"]
    assert HOSTILE in tokenizer.decode(found)
    assert markers_in(tokenizer, found) == markers_in(tokenizer, tame)


@pytest.mark.parametrize("alone", [True, False])
def test_loss_is_on_the_answer_unless_the_recipe_changes_it(task: RatingTask, alone: bool, tmp_path: Path) -> None:
    trl = {"max_steps": 1, "use_cpu": True} | ({} if alone else {"completion_only_loss": False})
    config = sft.Config.model_validate({"stage": "sft", "examples": 20, "trl": trl})
    tokenizer = tiny_models.tokenizer()
    made = rows(task, tokenizer)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_models.folder(tmp_path / "model", made=tokenizer)),
        args=sft.trl_arguments(config, task, tmp_path, 0),
        train_dataset=Dataset.from_list(made),
        processing_class=tokenizer,
    )
    dataset: Any = trainer.train_dataset
    learned = [[label for label in row["labels"] if label != -100] for row in dataset]
    assert learned == [learned_ids(row) if alone else row["input_ids"] for row in made]


def lengths(task: RatingTask, trl: dict[str, Any], positions: int = 1024) -> None:
    config = sft.Config.model_validate({"stage": "sft", "name": "first", "examples": 20, "trl": trl})
    args = sft.trl_arguments(config, task, Path(), 0)
    model = tiny_models.model(max_position_embeddings=positions)
    sft.check_lengths(config, rows(task, tiny_models.tokenizer()), args.max_length, model)


def test_an_answer_that_would_be_truncated_is_refused(task: RatingTask) -> None:
    longest = max(len(row["input_ids"]) for row in rows(task, tiny_models.tokenizer()))
    lengths(task, {"max_length": longest}, positions=longest)
    with pytest.raises(
        RecipeError, match=f"stages.first: .* {longest} tokens .*trl.max_length cuts it at {longest - 1}"
    ):
        lengths(task, {"max_length": longest - 1})
    with pytest.raises(RecipeError, match=f"{longest} tokens .*the model has {longest - 1} positions"):
        lengths(task, {}, positions=longest - 1)


def test_trl_truncates_nothing_by_default(task: RatingTask) -> None:
    assert sft.trl_arguments(CONFIG, task, Path(), 0).max_length is None


def checked(task: Any, model: ModelConfig | None = None, **options: Any) -> None:
    config = sft.Config.model_validate({"stage": "sft", "name": "first", **options})
    earlier = tuple(sft.Config.model_validate({"stage": "sft", "name": name}) for name in ("zero", "first", "last"))
    sft.check(
        config, CheckContext(task, task.panel, task.split, model or ModelConfig(), 0, earlier, datasets=("zero",))
    )


def test_answers_that_exceed_the_model_are_refused_before_the_first_stage(task: RatingTask, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"stages\.first: the longest answer .* trl\.max_length cuts it at 40"):
        checked(task, trl={"max_length": 40})
    base = tiny_models.folder(tmp_path / "base", max_position_embeddings=50)
    with pytest.raises(RecipeError, match=r"stages\.first: the longest answer .* the model has 50 positions"):
        checked(task, ModelConfig(base=str(base)))
    checked(task, ModelConfig(base=str(tiny_models.folder(tmp_path / "long", max_position_embeddings=2048))))
    checked(task, ModelConfig(base="some/model-of-the-hub"))


def test_a_task_without_an_answer_to_imitate_is_refused_before_the_first_stage(
    task: RatingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(task), "sft_examples", lambda *given: [])
    with pytest.raises(RecipeError, match=r"stages\.first: no step would be trained: there are 0 training examples"):
        checked(task)


def test_no_more_examples_than_could_be_written(task: RatingTask) -> None:
    with pytest.raises(ValidationError, match="examples"):
        checked(task, examples=10_000_001)


@pytest.mark.parametrize(
    ("trl", "words"),
    [
        ({"packing": True}, "packing: .*max_length"),
        ({"assistant_only_loss": True}, "assistant_only_loss: .*Remove it"),
        ({"eos_token": "x"}, r"eos_token: .*model\.base"),
        ({"chat_template_path": "x"}, r"chat_template_path: .*model\.base"),
        ({"eval_strategy": "steps"}, "eval_strategy: .*evaluate"),
        ({"model_init_kwargs": {"dtype": "x"}}, "model_init_kwargs: .*model"),
        ({"learning_rate": "abc"}, "learning_rate is 'abc', but must be a number"),
        ({"learning_rate": -1e-3}, "learning_rate is -0.001, but must be greater than 0"),
        ({"max_steps": 1.5}, "max_steps is 1.5, but must be a whole number"),
        ({"max_steps": True}, "max_steps is True, but must be a whole number"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size is 0, but must be at least 1"),
        ({"num_train_epochs": 0}, "num_train_epochs is 0, but must be greater than 0"),
        ({"lr_scheduler_type": "cosinee"}, "'?cosinee"),
        ({"loss_type": "nlll"}, "loss_type is 'nlll'.*Did you mean 'nll'"),
        ({"save_strategy": "step"}, "step"),
        ({"max_steps": 0}, "max_steps is 0, but must be at least 1"),
        ({"max_steps": -5}, "max_steps is -5, but must be at least 1"),
        ({"report_to": ["wandbb"]}, "report_to: wandbb cannot be used: wandbb is not supported"),
        ({"fp16": True, "use_cpu": True}, "fp16 needs a GPU"),
    ],
)
def test_values_that_would_fail_or_have_no_effect_are_refused(
    task: RatingTask, trl: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError, match=rf"stages\.first\.trl.*{words}"):
        checked(task, trl=trl)


@pytest.mark.parametrize(
    ("package", "trl", "words"),
    [
        ("wandb", {"report_to": "wandb"}, "report_to: wandb cannot be used: .*pip install wandb"),
    ],
)
def test_what_needs_a_package_that_is_missing_is_refused(
    task: RatingTask, package: str, trl: dict[str, Any], words: str
) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(RecipeError, match=rf"stages\.first\.trl\.{words}"):
        checked(task, trl=trl)


def test_values_that_trl_accepts_pass(task: RatingTask) -> None:
    checked(task)
    checked(task, trl={"packing": True, "max_length": 512, "assistant_only_loss": False, "eval_strategy": "no"})
    checked(task, trl={"max_steps": -1, "report_to": "none", "optim": "adafactor"})
    checked(task, trl={"max_steps": 10, "learning_rate": 1, "warmup_steps": 0.1, "lr_scheduler_type": "cosine"})


def test_in_episodes_the_loss_is_on_the_answers(task: RatingTask, monkeypatch: pytest.MonkeyPatch) -> None:
    checked(task, trl={"completion_only_loss": False})
    monkeypatch.setattr(task, "episodic", True, raising=False)
    monkeypatch.setattr(RatingTask, "demonstrations", lambda self: [], raising=False)
    with pytest.raises(RecipeError, match=r"stages\.first\.trl\.completion_only_loss: .*Remove it"):
        checked(task, trl={"completion_only_loss": False})


def test_a_task_without_answers_to_imitate_is_refused(task: RatingTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RatingTask, "sft_examples", Task.sft_examples)
    with pytest.raises(RecipeError, match=r"stages\.first: the task 'rating'.*sft_examples"):
        checked(task)
    checked(task, data="zero")


# data sets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["last", "first", "zeroo"])
def test_data_is_that_of_an_earlier_stage(task: RatingTask, name: str) -> None:
    with pytest.raises(RecipeError, match=rf"stages\.first\.data: '{name}'.*zero"):
        checked(task, data=name)


def from_data(task: RatingTask, folder: Path, data: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    path = folder / "examples.jsonl"
    write_dataset(path, data)
    assert read_dataset(path) == data
    config = sft.Config.model_validate({"stage": "sft", "name": "first", "data": "zero", **options})
    tokenizer = tiny_models.tokenizer()
    context = replace(context_of(task), datasets={"zero": path})
    return sft.training_rows(config, context, ChatRenderer.of(tokenizer, (tokenizer.eos_token_id,)))


def test_a_stage_can_imitate_the_data_set_of_an_earlier_one(task: RatingTask, tmp_path: Path) -> None:
    answers = list(task.sft_examples("train", 20, 0))
    data = [{"messages": task.messages(example), "completion": text} for example, text in answers]
    assert from_data(task, tmp_path, data) == rows(task, tiny_models.tokenizer())
    assert len(from_data(task, tmp_path, data, examples=7)) == 7


def test_only_the_last_answer_of_a_conversation_has_loss(task: RatingTask, tmp_path: Path) -> None:
    history = [{"role": "user", "content": "day 0"}, {"role": "assistant", "content": "HOLD"}]
    (row,) = from_data(task, tmp_path, [{"messages": [*history, {"role": "user", "content": "1"}], "completion": "UP"}])
    tokenizer = tiny_models.tokenizer()
    assert tokenizer.decode(learned_ids(row)) == f"UP{tokenizer.eos_token}"
    assert "HOLD" in tokenizer.decode(row["input_ids"])


def test_an_empty_data_set_is_refused(task: RatingTask, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"stages\.first\.data.*is empty"):
        from_data(task, tmp_path, [])
