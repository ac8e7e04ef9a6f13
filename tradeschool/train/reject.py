"""Rejection sampling: several answers to a question, of which the best are kept for an ``sft`` stage to imitate."""

import json
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from tradeschool.errors import RecipeError, RunError, is_memory_error, one_line
from tradeschool.manifest import replace_text
from tradeschool.models.load import TRIED, refuse_too_long
from tradeschool.progress import progress, status
from tradeschool.rollout import MultiTurnTask
from tradeschool.tasks.base import Example, Task, Weights
from tradeschool.train.answers import write_csv, write_dataset
from tradeschool.train.curriculum import CurriculumConfig, select_examples
from tradeschool.train.logging import METRICS, write_rows
from tradeschool.train.sampled_answers import Ask, Sampling, asker
from tradeschool.train.selection import (
    AFTER,
    BEFORE,
    Answer,
    Asked,
    batch_figures,
    line,
    places_kept,
    read_asked,
    whole_figures,
)
from tradeschool.train.stage import CheckContext, Context, Result, StageConfig, weighted

WRITES_DATA = True
"""A later ``sft`` stage may name this one as its ``data``."""
ANSWERS, DATA = "answers.jsonl", "kept.jsonl"
SEED = 37
FIRST_VARIANT = 2_000
"""Episodes have variants from this number on, so that they differ from those of other stages."""


class Config(CurriculumConfig, StageConfig):
    """The ``reject`` stage.

    Attributes:
        model: the stage whose weights answer; by default the last that trained a language model, or the base model.
        questions: how many training questions are asked; ``curriculum`` sets which.
        n: answers to each question, drawn with ``temperature``.
        keep: ``best`` keeps the answer with the highest reward, of equal ones the text that was given most often;
            ``margin`` all different ones whose reward is at least ``margin`` above the mean of the question's answers.
            Unreadable answers are never kept.
        margin: in units of the reward.
        min_reward: answers with less are not kept.
        max_kept: ends the stage when as many answers are kept.
        max_new_tokens: of one answer.
        batch_size: answers that are generated at a time. After each batch its answers are on the disk.
        csv: write the kept answers of each ticker to ``{TICKER}_sft_training_data.csv`` too.
        weights: replace those of the task in this stage, for a curriculum over rewards.
    """

    model: str | None = None
    questions: int = Field(default=2_000, ge=1, le=10_000_000)
    n: int = Field(default=8, ge=2, le=1_024)
    temperature: float = Field(default=1.0, gt=0, le=10)
    keep: Literal["best", "margin"] = "best"
    margin: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    min_reward: float | None = Field(default=None, allow_inf_nan=False)
    max_kept: int | None = Field(default=None, ge=1)
    max_new_tokens: int = Field(default=64, ge=1, le=65_536)
    batch_size: int = Field(default=256, ge=2, le=1_000_000)
    csv: bool = False
    weights: Weights | None = None

    @model_validator(mode="after")
    def _margin_fits(self) -> "Config":
        if self.keep == "margin" and self.margin is None:
            raise ValueError("keep is margin, which needs margin, a number above 0 in units of the reward. Give it")
        if self.keep == "best" and self.margin is not None:
            raise ValueError("margin has no effect with keep best. Remove it, or set keep to margin")
        return self


def check(config: Config, context: CheckContext) -> None:
    """Refuse a task without rewards, and values that would fail or have no effect.

    Raises:
        RecipeError: one of these is the case.
    """
    context = weighted(config.weights, context)
    task, where = context.task, f"stages.{config.name}"
    if not any(task.weights.values()):
        raise RecipeError(f"{where}: the task '{task.name}' has no reward with a weight above 0 to choose answers by.")
    if config.n > config.batch_size:
        raise RecipeError(
            f"{where}.batch_size is {config.batch_size}, but the {config.n} answers to a question (n) are generated "
            f"together. Give batch_size at least {config.n}, or lower n."
        )
    examples = task.examples("train")
    if not examples:
        raise RecipeError(f"{where}: the training part has no question. Give it more dates.")
    if task.episodic:
        _check_episodes(config, task)
    elif type(task).rewards is Task.rewards:
        raise RecipeError(f"{where}: the task '{task.name}' does not reward answers one by one. Give it rewards().")
    prompts = [task.messages(example) for example in examples[:: len(examples) // TRIED + 1]]
    refuse_too_long(f"{where}.max_new_tokens", context.model, task, prompts, config.max_new_tokens)


def _check_episodes(config: Config, task: Task) -> None:
    where = f"stages.{config.name}"
    if not isinstance(task, MultiTurnTask):
        raise RecipeError(f"{where}: the task '{task.name}' has episodes but no chat_env() to play them in.")
    if (question := getattr(getattr(task, "config", None), "question", "episode")) != "episode":
        raise RecipeError(
            f"{where}: with task.question: {question} an episode is not one conversation. Use question: episode."
        )
    if config.csv:
        raise RecipeError(f"{where}.csv: a row of the CSV holds one question, not an episode. Remove it.")


def run(config: Config, context: Context) -> Result:
    """Ask, choose, and write the kept answers as a data set.

    Raises:
        RunError: no answer was kept, a reward is not a number, or the memory is not enough.
    """
    context = weighted(config.weights, context)
    examples = questions(config, context)
    per_batch = max(config.batch_size // config.n, 1)
    batches = [examples[first : first + per_batch] for first in range(0, len(examples), per_batch)]
    done = _begin(context, batches)
    if len(done) < len(batches) and not _is_enough(config, done):
        name, source = context.starting_weights(config.model)
        with status(context.console, f"Loading the model ({name})"):
            key = f"stages.{config.name}.max_new_tokens"
            sampling = Sampling(key, config.n, config.temperature, config.max_new_tokens, config.batch_size)
            ask = asker(context.task, source, context.model, sampling)
        _ask_batches(config, context, batches, done, ask)
    return _finish(config, context, [one for batch in done for one in batch])


def questions(config: Config, context: Context) -> list[Example]:
    """A seeded draw from the training split; of episodes every start once before any comes again."""
    task, count = context.task, config.questions
    try:
        pool = select_examples(task, config, context.panel, count=count, seed=context.seed, log=context.log)
    except RecipeError as error:
        raise RecipeError(f"stages.{config.name}.{error}") from error
    rng = np.random.default_rng([context.seed, SEED])
    if not isinstance(task, MultiTurnTask):
        return [pool[i] for i in rng.permutation(len(pool))[:count]]
    order = np.concatenate([rng.permutation(len(pool)) for _ in range(-(-count // len(pool)))])[:count]
    return [task.variant(pool[i], FIRST_VARIANT + place // len(pool)) for place, i in enumerate(order.tolist())]


def _begin(context: Context, batches: Sequence[Sequence[Example]]) -> list[list[Asked]]:
    """What an interrupted attempt has asked, in whole batches; the files then hold these and nothing else."""
    asked, done = read_asked(context.folder / ANSWERS), []
    for number, batch in enumerate(batches):
        own = [one for one in asked if one.batch == number]
        if [one.key for one in own] != [example.key for example in batch]:
            break
        done.append(own)
    text = "".join(line(one) for batch in done for one in batch)
    replace_text(context.folder / ANSWERS, text)
    write_rows(context.folder / METRICS, [_row(context.task, number, one) for number, one in enumerate(done, 1)])
    if done:
        context.log(f"Going on after {len(done):,} of {len(batches):,} batches, whose answers are kept.")
    return done


def _row(task: Task, number: int, asked: Sequence[Asked]) -> dict[str, Any]:
    return {"step": number, **batch_figures(task, asked)}


def _is_enough(config: Config, done: Sequence[Sequence[Asked]]) -> bool:
    return config.max_kept is not None and sum(len(one.kept) for batch in done for one in batch) >= config.max_kept


def _ask_batches(
    config: Config, context: Context, batches: Sequence[list[Example]], done: list[list[Asked]], ask: Ask
) -> None:
    """Ask the batches that are not in ``done``, and append what came of them there and to the files."""
    # Seeded by batch, so that a stage which goes on after a kill draws the same answers.
    seeds = np.random.SeedSequence([context.seed, SEED]).generate_state(len(batches)).tolist()
    answers, metrics = context.folder / ANSWERS, context.folder / METRICS
    with progress(context.console) as bar:
        total, before = sum(map(len, batches)), sum(map(len, done))
        row = bar.add_task(config.name, total=total, completed=before, unit="questions", figures="")
        for number in range(len(done), len(batches)):
            asked = _choose(
                config, context, batches[number], number, _in_memory(config, ask, batches[number], seeds[number])
            )
            with answers.open("a", encoding="utf-8") as file:
                file.write("".join(map(line, asked)))
            done.append(asked)
            figures = _row(context.task, number + 1, asked)
            with metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")
            kept = sum(len(one.kept) for batch in done for one in batch)
            bar.update(row, advance=len(asked), figures=f"reward {figures['reward']:.3f} kept {kept:,}")
            if _is_enough(config, done):
                bar.update(row, total=sum(map(len, done)))
                break


def _choose(
    config: Config, context: Context, examples: Sequence[Example], batch: int, answers: Sequence[Sequence[Answer]]
) -> list[Asked]:
    """Which of the answers to each question are kept."""
    task, panel, found = context.task, context.panel, []
    for example, own in zip(examples, answers, strict=True):
        if wrong := next((one for one in own if not math.isfinite(one.total)), None):
            raise RunError(
                f"stages.{config.name}: the reward of an answer to {example.key} is {wrong.total} ({wrong.rewards}). "
                "Correct the rewards of the task: a weight of 0 does not make such a component harmless."
            )
        places = places_kept(own, config.keep, config.margin, config.min_reward)
        ticker = panel.tickers[example.n] if task.per_ticker and not task.episodic else ""
        about = {"key": example.key, "date": str(panel.dates_T[example.t].astype("datetime64[D]")), "ticker": ticker}
        kept = []
        for place in places:
            row: dict[str, Any] = {"messages": own[place].messages, "completion": own[place].text}
            if task.episodic:
                row["learned"] = [True] * sum(one["role"] == "assistant" for one in own[place].messages)
            kept.append({**row, "reward": own[place].total, **about})
        totals, rewards, actions = [o.total for o in own], [o.rewards for o in own], [o.action for o in own]
        found.append(Asked(example.key, batch, totals, rewards, actions, places, kept))
    return found


def _in_memory(config: Config, ask: Ask, examples: list[Example], seed: int) -> list[list[Answer]]:
    try:
        return ask(examples, seed)
    except Exception as error:
        if not is_memory_error(error):
            raise
        half, where = config.batch_size // 2, f"stages.{config.name}"
        cure = f"batch_size (--set {where}.batch_size={half})" if half >= config.n else "n, the answers to a question"
        raise RunError(
            f"{where}: the memory is not enough for {config.batch_size} answers at a time ({one_line(error, 120)}). "
            f"Lower {cure}, max_new_tokens, or use a smaller model, and resume."
        ) from error


def _finish(config: Config, context: Context, asked: Sequence[Asked]) -> Result:
    """Write the data set, and sum up."""
    rows = [row for one in asked for row in one.kept][: config.max_kept]
    found = whole_figures(context.task, asked)
    best = max(total for one in asked for total in one.totals)
    if not rows:
        raise RunError(
            f"stages.{config.name}: none of {found['answers']:,} answers was kept: "
            f"{found[f'{BEFORE}parse_errors']:.0%} could not be read, and the highest reward is {best:.4g}. Lower "
            "min_reward or margin, ask a model that has learned the form of the answers (model), or raise "
            "max_new_tokens where answers are cut off."
        )
    with (context.folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": asked[-1].batch + 1, **found}) + "\n")
    write_dataset(path := context.folder / DATA, rows)
    context.log(
        f"Kept {len(rows):,} of {found['answers']:,} answers, to {found['questions_kept']:,} of {found['questions']:,} "
        f"questions. Mean reward {found[f'{BEFORE}reward']:.4g} before, {found[f'{AFTER}reward']:.4g} after."
    )
    if config.csv:
        paths = write_csv(context.folder, rows)
        context.log(f"Wrote {paths[0].name}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "") + ".")
    summary = {key: float(found[key]) for key in ("questions", "answers", "reward_spread")}
    summary |= {"kept": float(len(rows)), "reward": found[f"{BEFORE}reward"], "kept_reward": found[f"{AFTER}reward"]}
    return Result(summary=summary, datasets={config.name: path})
