"""Supervised fine-tuning by TRL's SFTTrainer, with loss on the answers alone."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from tradeschool.errors import ParseError, RecipeError, did_you_mean, one_line
from tradeschool.models.chat_renderer import ChatRenderer, end_tokens, positions_of, transcribe
from tradeschool.models.load import preview
from tradeschool.progress import status
from tradeschool.tasks.base import Demonstration, Example, Task
from tradeschool.train.answers import FORMATS, conversations, read_dataset
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
    written for; the task decides which answers. ``data`` names an earlier stage whose data set is imitated instead, or
    a file (``train/answers.py``): its first ``examples`` rows. In a task of episodes whole conversations are imitated,
    until ``examples`` answers in them bear loss; ``turns`` ends each after that many answers, which is cheap and
    teaches how to read a day before long conversations teach the rest.
    """

    examples: int = Field(default=12_000, ge=1, le=10_000_000)
    turns: int | None = Field(default=None, ge=1)
    data: str | None = None
    model: str | None = None

    @field_validator("data")
    @classmethod
    def _absolute(cls, data: str | None) -> str | None:
        """A file's real path: a run may be resumed from elsewhere."""
        return str(Path(data).expanduser().resolve()) if data is not None and is_file(data) else data


def is_file(data: str) -> bool:
    """Whether ``data`` names a file, which the name of a stage cannot."""
    return "/" in data or Path(data).suffix in FORMATS


def check(config: Config, context: CheckContext) -> None:
    """Refuse a task without answers to imitate, and values that would fail during training or have no effect."""
    from tradeschool.train.trl_config import refuse_no_steps

    task = context.task
    _check_source(config, task, context)
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
        _check_some(config, context, args, some, config.examples)
    elif is_file(config.data):
        whole = list(conversations(read_dataset(Path(config.data))[: config.examples]))
        _check_some(config, context, args, whole[:TRIED], len(whole))


def _check_some(config: Config, context: CheckContext, args: Any, some: list[Demonstration], count: int) -> None:
    """Refuse too few answers to imitate, and too long ones; ``some`` are the first of ``count``."""
    from tradeschool.train.trl_config import refuse_no_steps

    task = context.task
    refuse_no_steps(config.name, len(some) and count, args)
    found = preview(context.model, task, [message["content"] for one in some for message in one.messages])
    if found is not None:
        check_lengths(config, _rows(found[0], some, task.episodic), args.max_length, found[1])


def _check_source(config: Config, task: Task, context: CheckContext) -> None:
    if config.data is not None:
        made = context.datasets
        if is_file(config.data):
            _check_file(config, task, Path(config.data))
        elif config.data not in made:
            raise RecipeError(
                f"stages.{config.name}.data: '{config.data}' is neither an earlier stage that writes a data set nor a "
                f"file ({', '.join(FORMATS)}).{did_you_mean(config.data, made)} Earlier stages that write one: "
                f"{', '.join(made) or 'none'}."
            )
        return
    method = "demonstrations" if task.episodic else "sft_examples"
    if getattr(type(task), method, None) is getattr(Task, method):
        raise RecipeError(
            f"stages.{config.name}: the task '{task.name}' has no answers to imitate. Give it a method {method}(), "
            "name a data set with data, or remove the stage."
        )


def _check_file(config: Config, task: Task, path: Path) -> None:
    """Refuse a file that cannot be read, or whose answers the task cannot read."""
    if not path.is_file():
        raise RecipeError(f"stages.{config.name}.data: {path} does not exist. Give a file, or the name of a stage.")
    rows = read_dataset(path)
    if not rows:
        raise RecipeError(f"stages.{config.name}.data: {path} has no rows.")
    for number, row in enumerate([] if task.episodic else rows[:TRIED], 1):
        try:
            task.parse(row["completion"])
        except ParseError as error:
            raise RecipeError(
                f"stages.{config.name}.data: {path}, row {number}: the task '{task.name}' cannot read this answer "
                f"({one_line(error, 200)}). A model that imitates it would give unreadable answers."
            ) from error


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
    """The conversations of the data set, the first ``examples`` rows."""
    name = str(config.data)
    path = Path(name) if is_file(name) else context.datasets.get(name)
    rows = read_dataset(path)[: config.examples] if path else []
    if not rows:
        reason = "is empty" if path else "was not written"
        raise RecipeError(f"stages.{config.name}.data: the data set '{config.data}' {reason}.")
    yield from conversations(rows)
