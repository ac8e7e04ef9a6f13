"""Supervised fine-tuning by TRL's SFTTrainer, with loss on the answers alone."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.models.chat_renderer import ChatRenderer, end_tokens, positions_of, transcribe
from tradeschool.models.load import preview
from tradeschool.progress import status
from tradeschool.tasks.base import Demonstration, Example, Task
from tradeschool.train.curriculum import CurriculumConfig, select_examples
from tradeschool.train.stage import CheckContext, Context, Result, StageConfig

TRL = "trl:SFTConfig"
MAKES = "language"
TRIED = 24
"""Answers to imitate whose lengths are checked before the first stage."""
Row = dict[str, list[int]]
"""``input_ids``, and a mask of the tokens that bear loss."""


class Config(CurriculumConfig, StageConfig):
    """The ``sft`` stage.

    ``examples``: how many answers to imitate. ``model``: the stage whose weights to start from; by default the last
    stage that trained a language model, or the base model. ``curriculum`` sets which questions the answers are
    written for; the task decides which answers. ``data`` names an earlier stage whose data set is imitated instead, its
    first ``examples`` rows. In a task of episodes whole conversations are imitated, until ``examples`` answers in them
    bear loss; ``turns`` ends each after that many answers, which is cheap and teaches how to read a day before long
    conversations teach the rest.
    """

    examples: int = Field(default=12_000, ge=1, le=10_000_000)
    turns: int | None = Field(default=None, ge=1)
    data: str | None = None
    model: str | None = None


def check(config: Config, context: CheckContext) -> None:
    """Refuse a task without answers to imitate, and values that would fail during training or have no effect."""
    from tradeschool.train.trl_config import refuse_no_steps

    task = context.task
    _check_source(config, task, [stage.name for stage in context.stages])
    if config.turns is not None and not task.episodic:
        raise RecipeError(f"stages.{config.name}.turns: the task '{task.name}' has no episodes. Remove it.")
    where, trl = f"stages.{config.name}.trl", config.trl
    if task.episodic and trl.get("completion_only_loss") is False:
        raise RecipeError(f"{where}.completion_only_loss: in episodes only the answers bear loss. Remove it.")
    if trl.get("packing") and not trl.get("max_length"):
        raise RecipeError(f"{where}.packing: TRL packs rows up to a length. Give max_length too.")
    args = trl_arguments(config, task, Path("unused"), context.seed)
    refuse_no_steps(config.name, config.examples, args)
    if config.data is None:
        some = list(_conversations(config, context, min(config.examples, TRIED), None))
        refuse_no_steps(config.name, len(some) and config.examples, args)
        found = preview(context.model, task, [message["content"] for one in some for message in one.messages])
        if found is not None:
            check_lengths(config, _rows(found[0], some, task.episodic), args.max_length, found[1])


def _check_source(config: Config, task: Task, stages: Sequence[str]) -> None:
    earlier = stages[: stages.index(config.name)] if config.name in stages else stages
    if config.data is not None:
        if stages and config.data not in earlier:
            raise RecipeError(
                f"stages.{config.name}.data: '{config.data}' is not an earlier stage."
                f"{did_you_mean(config.data, earlier)} Choose from: {', '.join(earlier) or 'there is none'}."
            )
        return
    method = "demonstrations" if task.episodic else "sft_examples"
    if getattr(type(task), method, None) is getattr(Task, method):
        raise RecipeError(
            f"stages.{config.name}: the task '{task.name}' has no answers to imitate. Give it a method {method}(), "
            "name a data set with data, or remove the stage."
        )


def trl_arguments(config: Config, task: Task, folder: Path, seed: int) -> Any:
    """TRL's SFTConfig."""
    from trl import SFTConfig

    from tradeschool.train.trl_config import trl_config

    # TRL cuts at 1,024 tokens by default: the end of an answer, the later days of an episode.
    ours = {"max_length": None} | ({} if task.episodic else {"completion_only_loss": True})
    return trl_config(SFTConfig, config, folder, seed, defaults=ours)


def run(config: Config, context: Context) -> Result:
    """Train on answers to imitate. Weights go to ``weights/`` in the stage's folder."""
    from datasets import Dataset
    from trl import SFTTrainer

    from tradeschool.train.trainer import finish, start, train
    from tradeschool.train.trl_config import refuse_no_steps, refused

    model, tokenizer, peft = start(config.model, context)
    renderer = ChatRenderer.of(tokenizer, end_tokens(model, tokenizer))
    with status(context.console, "Writing answers to imitate"):
        rows = training_rows(config, context, renderer)
    args = trl_arguments(config, context.task, context.folder, context.seed)
    refuse_no_steps(config.name, len(rows), args)
    check_lengths(config, rows, args.max_length, model)
    with refused(f"stages.{config.name}"):
        trainer = SFTTrainer(
            model=model,
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=peft,
        )
    train(trainer, context, title=config.name, shown=("loss", "mean_token_accuracy"))
    return finish(trainer, tokenizer, context, summary=("loss", "mean_token_accuracy"))


def check_lengths(config: Config, rows: Sequence[Row], max_length: int | None, model: Any) -> None:
    """Refuse rows that would be cut off: TRL drops the end of a row silently."""
    longest = max((len(row["input_ids"]) for row in rows), default=0)
    positions = positions_of(model)
    begin = f"stages.{config.name}: the longest answer to imitate has {longest:,} tokens with its prompt, and"
    if max_length is not None and longest > max_length:
        raise RecipeError(
            f"{begin} trl.max_length cuts it at {max_length:,}. Raise max_length, remove it, or shorten the prompt."
        )
    if positions is not None and longest > positions:
        raise RecipeError(
            f"{begin} the model has {positions:,} positions. Use fewer facts, sections or stocks, fewer turns of an "
            "episode, or a model with more positions (model.tiny.positions)."
        )


def training_rows(config: Config, context: Context, renderer: ChatRenderer) -> list[Row]:
    """Prompts and answers as tokens.

    They are written here because TRL would have the template write the answer too, and some templates leave out its
    thinking. A RecipeError if the data set named by ``data`` is missing or empty.
    """
    if config.data is not None:
        conversations = _conversations_of_data(config, context)
    else:
        pool = select_examples(context.task, config, context.panel, seed=context.seed, log=context.log)
        conversations = _conversations(config, context, config.examples, pool)
    return _rows(renderer, conversations, context.task.episodic)


def _rows(renderer: ChatRenderer, conversations: Iterable[Demonstration], episodic: bool) -> list[Row]:
    rows: list[Row] = []
    for one in conversations:
        script = transcribe(renderer, one.messages)
        learned = [int(turn >= 0 and one.learned[turn]) for turn in script.turns]
        if any(learned):
            rows.append({"input_ids": script.ids, "assistant_masks" if episodic else "completion_mask": learned})
    return rows


def _conversations(
    config: Config, context: CheckContext | Context, count: int, pool: list[Example] | None
) -> Iterator[Demonstration]:
    """Questions of the training split with the task's answers, or episodes of its demonstrators."""
    task = context.task
    if task.episodic:
        yield from task.demonstrations(count, context.seed, pool, config.turns)
        return
    for example, text in task.sft_examples("train", count, context.seed, pool):
        yield Demonstration([*task.messages(example), {"role": "assistant", "content": text}], [True])


def _conversations_of_data(config: Config, context: Context) -> Iterator[Demonstration]:
    """The conversations of the data set; only the ``completion`` at the end of each bears loss."""
    path = context.datasets.get(config.data or "")
    rows = read_dataset(path)[: config.examples] if path else []
    if not rows:
        reason = "is empty" if path else "was not written"
        raise RecipeError(f"stages.{config.name}.data: the data set of stage '{config.data}' {reason}.")
    for row in rows:
        before = sum(message["role"] == "assistant" for message in row["messages"])
        messages = [*row["messages"], {"role": "assistant", "content": row["completion"]}]
        yield Demonstration(messages, [False] * before + [True])


def read_dataset(path: Path) -> list[dict[str, Any]]:
    """The rows of a data set: ``messages`` and ``completion``, as :func:`write_dataset` wrote them."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_dataset(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of ``messages`` and ``completion`` as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
