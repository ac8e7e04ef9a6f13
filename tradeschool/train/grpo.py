"""Group relative policy optimisation by TRL's GRPOTrainer, with the prompt computed once per group."""

import math
from functools import partial
from typing import Any

from pydantic import Field, field_validator

from tradeschool.errors import RecipeError
from tradeschool.market.slices import SliceConfig, sliced
from tradeschool.models.turn import Turn, end_tokens
from tradeschool.tasks.base import Example, Task
from tradeschool.train.sft import teller
from tradeschool.train.stage import Context, Result, StageConfig
from tradeschool.train.trl_arguments import arguments, configured, refuse_unread

TRL = "trl:GRPOConfig"
UNREAD = {"cache_implementation": None, "generation_kwargs": None, "repetition_penalty": 1.0, "use_vllm": False}
"""Fields of TRL's that only its own generation reads, and what they are where nobody sets them."""
COUNTS = (
    "gradient_accumulation_steps",
    "generation_batch_size",
    "per_device_train_batch_size",
    "steps_per_generation",
    "num_iterations",
)
"""Fields of TRL's that say how many steps a batch of completions serves."""


class Config(SliceConfig, StageConfig):
    """``questions``: how many training questions to draw from; ``model``: the stage to start from.

    ``by_date`` keeps the questions of a date together, dates in random order: in a batch of whole
    dates what moves all stocks alike cancels, and cannot push all answers to one side. Otherwise
    questions are shuffled one by one.
    A question of a task of episodes begins one; all its answers are the completion (``train/episodes.py``), which
    ``share_prefix`` does not touch. Their order is random either way.
    ``share_prefix`` computes what the answers of a group share once (``train/prefix.py``); switch it
    off for a model that takes no 4-D attention mask, or to generate with vLLM; TRL then writes the prompts itself, and
    in those a marker of the chat template that stands in the news is one.
    """

    questions: int = Field(default=20_000, ge=1)
    by_date: bool = True
    share_prefix: bool = True
    model: str | None = None

    @field_validator("trl")
    @classmethod
    def _resumable(cls, trl: dict[str, Any]) -> dict[str, Any]:
        """A checkpoint holds no completions, so it must fall where new ones are generated."""
        for key in COUNTS:
            if not isinstance(trl.get(key), int | None):
                raise ValueError(f"has {key}: {trl[key]!r}, but must have a whole number there")
        every, save, strategy = _steps_per_draw(trl), trl.get("save_steps", 500), trl.get("save_strategy", "steps")
        if every == 1 or strategy == "no":
            return trl
        if strategy != "steps" or not isinstance(save, int) or save % every:
            said = f"save_steps: {save}" if strategy == "steps" else f"save_strategy: {strategy}"
            raise ValueError(
                f"must have a save_steps that {every} divides, for completions serve {every} steps "
                f"(steps_per_generation, num_iterations), and has {said}. A run resumed between would end otherwise"
            )
        return trl


def _steps_per_draw(trl: dict[str, Any]) -> int:
    """How many optimizer steps one batch of completions serves, with TRL's own defaults."""
    accumulated = trl.get("gradient_accumulation_steps") or 1
    together = trl.get("generation_batch_size") or 0
    steps = trl.get("steps_per_generation") or together // (trl.get("per_device_train_batch_size") or 8) or accumulated
    served = steps * (trl.get("num_iterations") or 1)
    return int(served // math.gcd(served, accumulated))


def check_task(config: Config, task: Task) -> None:
    """Refuse keys of ``trl`` that would change nothing.

    Raises:
        RecipeError: one is set.
    """
    refuse_unread(config)
    where = f"stages.{config.name}.trl"
    if config.trl.get("chat_template_kwargs"):
        raise RecipeError(
            f"{where}.chat_template_kwargs: SFT and the exam would not see them. Write them as model.template, which "
            "all do."
        )
    ours = config.share_prefix or task.episodic
    for key, usual in UNREAD.items():
        if ours and config.trl.get(key, usual) not in (usual, None):
            cure = "Remove it." if task.episodic else "Remove it, or switch the shared prefix off: share_prefix: false."
            raise RecipeError(f"{where}.{key}: the sampling of answers here does not read it. {cure}")


def run(config: Config, context: Context) -> Result:
    """Train on the task's rewards; weights go to ``weights/`` in the stage's folder."""
    from trl import GRPOConfig

    from tradeschool.train.trainer import finish, start, train

    model, tokenizer, peft = start(config.model, context)
    args = configured(GRPOConfig, config.name, _arguments(config, context))
    turn = Turn.of(tokenizer, end_tokens(model, tokenizer))
    trainer = _trainer(config, context, args.num_generations, turn)(
        model=model,
        args=args,
        train_dataset=_questions(config, context, turn),
        processing_class=tokenizer,
        peft_config=peft,
    )
    train(trainer, context, title=config.name, shown=("reward", "entropy", "kl"))
    return finish(trainer, tokenizer, context, summary=("reward", "entropy", "kl", "parse_errors"))


def _trainer(config: Config, context: Context, group: int, turn: Turn) -> Any:
    """The trainer of the task's kind, which wants what all have in common."""
    task: Any = context.task
    if task.episodic:
        from tradeschool.train.episodes import EpisodeTrainer

        return partial(EpisodeTrainer, task=task)
    from tradeschool.train.rewards import reward_functions
    from tradeschool.train.shared import ResumableTrainer, SharedPrefixTrainer

    trainer = SharedPrefixTrainer if config.share_prefix else ResumableTrainer
    return partial(trainer, reward_funcs=reward_functions(task, group, turn.decode))


def _arguments(config: Config, context: Context) -> dict[str, Any]:
    given = arguments(config, context.folder, context.seed)
    names = list(context.task.weights)
    given.setdefault("shuffle_dataset", not config.by_date)
    return {**given, "remove_unused_columns": False, "reward_weights": [context.task.weights[name] for name in names]}


def _questions(config: Config, context: Context, turn: Turn | None = None) -> Any:
    """A seeded draw from the training split: the prompt, and which example it came from."""
    from datasets import Dataset

    with context.console.status("Writing questions"):
        tell = teller(context)
        pool = sliced(context.task, config, context.panel, count=config.questions, seed=context.seed, tell=tell)
        task: Any = context.task
        if task.episodic:
            from tradeschool.train.episodes import questions

            return Dataset.from_list(questions(task, pool, config.questions, context.seed))
        folded = turn.folded if turn else list
        return Dataset.from_list(
            [
                {
                    "prompt": folded(context.task.prompt(example).messages),
                    "key": example.key,
                    "t": example.t,
                    "n": example.n,
                }
                for example in draw(pool, config, context.seed)
            ]
        )


def draw(pool: list[Example], config: Config, seed: int) -> list[Example]:
    """``questions`` of the pool in the order of training: shuffled, or by dates in random order."""
    import numpy as np

    rng = np.random.default_rng([seed, 13])
    shuffled = [pool[i] for i in rng.permutation(len(pool))]
    if config.by_date:
        turn = {t: place for place, t in enumerate(rng.permutation(sorted({example.t for example in pool})).tolist())}
        shuffled.sort(key=lambda example: turn[example.t])
    return shuffled[: config.questions]
