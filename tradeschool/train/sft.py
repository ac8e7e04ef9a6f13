"""Supervised fine-tuning on answers worth imitating, by TRL's SFTTrainer (loss on the answer alone)."""

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import Field

from tradeschool.errors import RecipeError
from tradeschool.market.slices import SliceConfig, sliced
from tradeschool.models.turn import Turn, end_tokens
from tradeschool.models.turns import Turns, transcribe
from tradeschool.tasks.base import Example, Task
from tradeschool.train.stage import Context, Result, StageConfig
from tradeschool.train.trl_arguments import arguments, configured, refuse_unread

TRL = "trl:SFTConfig"


class Config(SliceConfig, StageConfig):
    """``examples``: how many answers to imitate; ``model``: the stage whose weights to start from.

    By default the stage starts from the stage before it, or from the untrained model. ``slice`` says
    which questions the answers are drawn for; which answers there are to them is the task's affair. Of a task of
    episodes whole conversations are imitated, until ``examples`` answers in them bear loss; ``turns`` ends each after
    so many answers, which is cheap and teaches how to read a day before long conversations teach the rest.
    """

    examples: int = Field(default=12_000, ge=1)
    turns: int | None = Field(default=None, ge=1)
    model: str | None = None


def run(config: Config, context: Context) -> Result:
    """Train on the task's targets; weights go to ``weights/`` in the stage's folder."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from tradeschool.train.trainer import finish, start, train

    model, tokenizer, peft = start(config.model, context)
    with context.console.status("Writing answers to imitate"):
        write = _episodes if context.task.episodic else _rows
        rows = write(config, context, tokenizer, end_tokens(model, tokenizer))
    args = configured(SFTConfig, config.name, _arguments(config, context))
    _check_lengths(config, rows, args.max_length, model)
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=peft,
    )
    train(trainer, context, title=config.name, shown=("loss", "mean_token_accuracy"))
    return finish(trainer, tokenizer, context, summary=("loss", "mean_token_accuracy"))


def check_task(config: Config, task: Task) -> None:
    """Refuse what TRL cannot do with answers that are tokens already, or would do to the tokenizer after that.

    Raises:
        RecipeError: ``trl`` names one of them.
    """
    refuse_unread(config)
    where, trl = f"stages.{config.name}.trl", config.trl
    if trl.get("assistant_only_loss"):
        raise RecipeError(f"{where}.assistant_only_loss: the loss is on the answers alone as it is. Remove it.")
    if task.episodic and trl.get("completion_only_loss") is False:
        raise RecipeError(f"{where}.completion_only_loss: in episodes the answers alone bear loss. Remove it.")
    if trl.get("packing") and not trl.get("max_length"):
        raise RecipeError(f"{where}.packing: TRL packs rows up to a length. Give max_length too.")
    for key in ("chat_template_path", "eos_token"):
        if trl.get(key) is not None:
            raise RecipeError(
                f"{where}.{key}: answers are written with the tokenizer's own template and end before "
                "TRL would change them. Change the tokenizer, save it beside the weights and name the folder in "
                "model.base."
            )


def _arguments(config: Config, context: Context) -> dict[str, Any]:
    # TRL cuts at 1,024 tokens by default: the end of an answer, the later days of an episode.
    ours = {"max_length": None} | ({} if context.task.episodic else {"completion_only_loss": True})
    return {**ours, **arguments(config, context.folder, context.seed)}


def _check_lengths(config: Config, rows: Sequence[dict[str, Any]], most: int | None, model: Any) -> None:
    """Refuse answers that would be cut off: TRL drops the end of a row, and in silence."""
    longest = max((len(row["input_ids"]) for row in rows), default=0)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    begin = f"stages.{config.name}: with its question the longest answer to imitate has {longest:,} tokens, and "
    if most is not None and longest > most:
        raise RecipeError(f"{begin}trl.max_length cuts it at {most:,}. Raise that, leave it out, or tell less.")
    if positions is not None and longest > positions:
        raise RecipeError(
            f"{begin}the model has {positions:,} positions. Use fewer facts, sections or stocks, fewer turns of an "
            "episode, or a model with more positions (model.tiny.positions)."
        )


def _rows(config: Config, context: Context, tokenizer: Any, ends: tuple[int, ...]) -> list[dict[str, Any]]:
    """Questions and answers as tokens, with 1 in ``completion_mask`` where a token is the answer's.

    TRL would have the template write the answer too, and some templates leave out what it thinks.
    """
    turn = Turn.of(tokenizer, ends)
    rows = []
    for example, text in _answers(config, context):
        asked, said = turn.opening(context.task.prompt(example).messages), turn.answer(text)
        rows.append({"input_ids": asked + said, "completion_mask": [0] * len(asked) + [1] * len(said)})
    return rows


def _answers(config: Config, context: Context) -> Sequence[tuple[Example, str]]:
    return context.task.targets("train", config.examples, context.seed, _pool(config, context))


def _pool(config: Config, context: Context) -> list[Example]:
    return sliced(context.task, config, context.panel, seed=context.seed, tell=teller(context))


def _episodes(config: Config, context: Context, tokenizer: Any, ends: tuple[int, ...]) -> list[dict[str, Any]]:
    """Conversations as tokens, with 1 in ``assistant_masks`` where a token bears loss."""
    turns = Turns.of(tokenizer, ends)
    rows = []
    for talk in context.task.conversations(config.examples, context.seed, _pool(config, context), config.turns):
        script = transcribe(turns, talk.messages)
        learned = [int(turn >= 0 and talk.learned[turn]) for turn in script.turns]
        if any(learned):
            rows.append({"input_ids": script.ids, "assistant_masks": learned})
    return rows


def teller(context: Context) -> Callable[[str], None]:
    """Prints a sentence about the stage as it is."""
    return lambda text: context.console.print(text, markup=False, highlight=False)
