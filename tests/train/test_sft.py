"""What SFT imitates as tokens: questions as they are asked later, answers whole, loss on the answer alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
from chat_families import FAMILIES, HOSTILE, THINKING, markers_in, tokenizer_like
from datasets import Dataset
from markets import market, task_of
from rich.console import Console
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from tradeschool.errors import RecipeError
from tradeschool.tasks.base import Example, Prompt
from tradeschool.tasks.rating import RatingTask
from tradeschool.train import sft
from tradeschool.train.stage import Context

CONFIG = sft.Config.model_validate({"stage": "sft", "examples": 20})


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market())


def context_of(task: RatingTask, folder: Path = Path()) -> Context:
    return Context(folder, folder, task.panel, task, None, {}, 0, Console(quiet=True))


def rows(task: RatingTask, tokenizer: Any) -> list[dict[str, Any]]:
    return sft._rows(CONFIG, context_of(task), tokenizer, (tokenizer.eos_token_id,))


def said(row: dict[str, Any]) -> list[int]:
    return [token for token, learned in zip(row["input_ids"], row["completion_mask"], strict=True) if learned]


def test_a_row_is_what_the_template_writes(task: RatingTask) -> None:
    tokenizer = tiny_models.tokenizer()
    made = rows(task, tokenizer)
    answers = sft._answers(CONFIG, context_of(task))
    assert len(made) == len(answers) == 20
    for row, (example, answer) in zip(made, answers, strict=True):
        asked = task.prompt(example).messages
        whole = tokenizer.apply_chat_template(
            [*asked, {"role": "assistant", "content": answer}], tokenize=True, return_dict=False
        )
        assert row["input_ids"] == whole
        assert tokenizer.decode(said(row)) == answer + tokenizer.eos_token
        assert row["completion_mask"] == sorted(row["completion_mask"])


@pytest.mark.parametrize("family", [*FAMILIES, *THINKING])
def test_answers_are_imitated_with_their_reasoning_whatever_the_template(task: RatingTask, family: str) -> None:
    tokenizer = tokenizer_like(family)
    answers = [answer for _, answer in sft._answers(CONFIG, context_of(task))]
    assert all(answer.startswith("<think>") for answer in answers)
    for row, answer in zip(rows(task, tokenizer), answers, strict=True):
        begun = answer.removeprefix("<think>") if family in THINKING else answer
        assert tokenizer.decode(said(row)) == begun + tokenizer.eos_token


@pytest.mark.parametrize("family", FAMILIES)
def test_markers_in_news_are_text(task: RatingTask, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokenizer_like(family)
    tame = rows(task, tokenizer)[0]["input_ids"]

    def hostile(example: Example) -> Prompt:
        return Prompt(example.key, [{"role": "user", "content": HOSTILE}])

    monkeypatch.setattr(task, "prompt", hostile)
    found = rows(task, tokenizer)[0]["input_ids"]
    assert HOSTILE in tokenizer.decode(found)
    assert markers_in(tokenizer, found) == markers_in(tokenizer, tame)


@pytest.mark.parametrize("alone", [True, False])
def test_loss_is_on_the_answer_alone_unless_the_recipe_says_otherwise(
    task: RatingTask, alone: bool, tmp_path: Path
) -> None:
    trl = {"max_steps": 1, "use_cpu": True} | ({} if alone else {"completion_only_loss": False})
    config = sft.Config.model_validate({"stage": "sft", "examples": 20, "trl": trl})
    tokenizer = tiny_models.tokenizer()
    made = rows(task, tokenizer)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_models.folder(tmp_path / "model", made=tokenizer)),
        args=SFTConfig(**sft._arguments(config, context_of(task, tmp_path))),
        train_dataset=Dataset.from_list(made),
        processing_class=tokenizer,
    )
    dataset: Any = trainer.train_dataset
    learned = [[label for label in row["labels"] if label != -100] for row in dataset]
    assert learned == [said(row) if alone else row["input_ids"] for row in made]


def lengths(task: RatingTask, trl: dict[str, Any], positions: int = 1024) -> None:
    config = sft.Config.model_validate({"stage": "sft", "name": "first", "examples": 20, "trl": trl})
    args = sft._arguments(config, context_of(task))
    model = tiny_models.model(max_position_embeddings=positions)
    sft._check_lengths(config, rows(task, tiny_models.tokenizer()), args["max_length"], model)


def test_an_answer_that_would_be_cut_off_is_refused(task: RatingTask) -> None:
    longest = max(len(row["input_ids"]) for row in rows(task, tiny_models.tokenizer()))
    lengths(task, {"max_length": longest}, positions=longest)
    with pytest.raises(
        RecipeError, match=f"stages.first: .* {longest} tokens, and trl.max_length cuts it at {longest - 1}"
    ):
        lengths(task, {"max_length": longest - 1})
    with pytest.raises(RecipeError, match=f"{longest} tokens, and the model has {longest - 1} positions"):
        lengths(task, {}, positions=longest - 1)


def test_trl_cuts_nothing_by_itself(task: RatingTask) -> None:
    assert sft._arguments(CONFIG, context_of(task))["max_length"] is None


def test_what_trl_cannot_do_with_answers_that_are_tokens_is_refused(task: RatingTask) -> None:
    def checked(**trl: Any) -> None:
        sft.check_task(sft.Config.model_validate({"stage": "sft", "name": "first", "trl": trl}), task)

    checked(packing=True, max_length=512)
    checked(packing=False, assistant_only_loss=False)
    with pytest.raises(RecipeError, match=r"stages\.first\.trl\.packing: .*max_length"):
        checked(packing=True)
    with pytest.raises(RecipeError, match=r"stages\.first\.trl\.assistant_only_loss: .*Remove it"):
        checked(assistant_only_loss=True)


def test_in_episodes_the_loss_is_on_the_answers(task: RatingTask) -> None:
    config = sft.Config.model_validate({"stage": "sft", "name": "first", "trl": {"completion_only_loss": False}})
    sft.check_task(config, task)
    episodic: Any = SimpleNamespace(episodic=True)
    with pytest.raises(RecipeError, match=r"stages\.first\.trl\.completion_only_loss: .*Remove it"):
        sft.check_task(config, episodic)


@pytest.mark.parametrize("key", ["eos_token", "chat_template_path"])
def test_what_trl_would_change_too_late_is_refused(task: RatingTask, key: str) -> None:
    sft.check_task(CONFIG, task)
    config = sft.Config.model_validate({"stage": "sft", "name": "first", "trl": {key: "x"}})
    with pytest.raises(RecipeError, match=rf"stages\.first\.trl\.{key}: .*model\.base"):
        sft.check_task(config, task)
