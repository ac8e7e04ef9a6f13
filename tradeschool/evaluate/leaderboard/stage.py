"""The leaderboard stage: rules, trained agents and every language model of a run on the same episodes."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator
from rich.text import Text

from tradeschool.env.traders import RULES
from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.evaluate.leaderboard.best_rule import Choice, choose
from tradeschool.evaluate.leaderboard.board import file_name
from tradeschool.evaluate.leaderboard.book import Book
from tradeschool.evaluate.leaderboard.outcome import LEADERBOARD, write_outcome
from tradeschool.evaluate.leaderboard.playing import Match
from tradeschool.evaluate.leaderboard.rivals import Arena, Rival, model_rival, rule_rival, unload, zip_rival
from tradeschool.evaluate.leaderboard.row import Edition, Row
from tradeschool.evaluate.leaderboard.standing import (
    READING,
    REFERENCE,
    Difference,
    Standing,
    agreed,
    difference,
    judged,
    standings,
)
from tradeschool.evaluate.stage import UNTRAINED
from tradeschool.tasks.base import Task
from tradeschool.trace import Trace, write_traces
from tradeschool.train.stage import Context, Result, StageConfig

ROWS = "rows.json"


class Config(StageConfig):
    """``episodes`` on ``split``, the same for all; ``rules`` by name, ``models`` by the stage that made them.

    All are the default; ``untrained`` adds the base model. Buy and hold is always there. Every model is compared with
    the one before it and with the best rule, which is the one with the highest mean grade on rows of before: chosen on
    the rows that are played it would be the luckiest, too.
    """

    split: Literal["test", "validation"] = "test"
    episodes: int = Field(default=200, ge=2)
    rules: list[str] = Field(default_factory=lambda: [*RULES])
    models: list[str] | None = None
    untrained: bool = True
    max_new_tokens: int = Field(default=64, ge=1)
    batch_size: int = Field(default=64, ge=1)

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: list[str]) -> list[str]:
        for name in rules:
            if name not in RULES:
                raise ValueError(f"has {name!r}, but must be of {', '.join(RULES)}.{did_you_mean(name, RULES)}")
        return list(dict.fromkeys([REFERENCE, *rules]))


def check_task(config: Config, task: Task) -> None:
    """Refuse a task without episodes before any stage has run.

    Raises:
        RecipeError: the task has none.
    """
    if not hasattr(task, "env"):
        raise RecipeError(
            f"stages.{config.name}: a leaderboard plays trading episodes, and the task is '{task.name}'. Give task: "
            "{name: trade}, or take the stage 'evaluate'."
        )


def run(config: Config, context: Context) -> Result:
    """Play, and write ``leaderboard.json``, the rows and the traces into the stage's folder.

    Raises:
        RecipeError: the task is not the trading one, or a model is named that no stage made.
        EnvError: there is no part of the dates that the best rule could be chosen on.
    """
    from tradeschool.evaluate.leaderboard.table import print_standings
    from tradeschool.train.logging import progress

    check_task(config, context.task)
    task: Any = context.task
    arena: Arena = task
    rules = [rule_rival(name) for name in config.rules]
    agents, models = _trained(config, context)
    edition = Edition.of(arena.env(config.split, "numeric"), context.seed)
    book = Book(context.folder / ROWS)
    with progress(context.console) as bar:
        match = Match(arena, config.split, edition, config.episodes, book, bar, _keeper(context))
        choice = choose(match, rules, context.folder) if agents or models else None
        total = bar.add_task("agents", total=len(rules) + len(agents) + len(models), figures="")
        rows = {}
        for rival in (*rules, *agents, *models):
            rows[rival.name] = match.play(rival)
            bar.advance(total)
    unload()
    of_models = [rows[rival.name] for rival in models]
    of_agents = [rows[rival.name] for rival in agents]
    differences = judged(list(_differences(rows[choice.agent], of_agents, of_models))) if choice else []
    found, differences = agreed(standings(list(rows.values())), differences)
    write_outcome(context.folder / LEADERBOARD, found, differences, choice)
    print_standings(context.console, config.name or config.stage, found)
    _print_differences(context, differences, choice)
    return Result(summary=_summary(found))


def _print_differences(context: Context, differences: Sequence[Difference], choice: Choice | None) -> None:
    from tradeschool.evaluate.leaderboard.table import interval, sentence

    if choice:
        context.console.print(
            Text(
                f"Best of {choice.among} rules, chosen on the {choice.split} rows: {choice.agent}, grade "
                f"{interval(choice.grade)} on {choice.episodes:,} episodes there."
            ),
            soft_wrap=True,
        )
    for one in differences:
        context.console.print(Text(sentence(one)), soft_wrap=True)


def _summary(found: Sequence[Standing]) -> dict[str, float]:
    """Grades, and what of language models' answers was of no use."""
    told = {f"grade/{one.row.agent}": one.grade.value for one in found}
    return told | {
        f"{name}/{one.row.agent}": float(one.row.figures[name])
        for name in READING
        for one in found
        if name in one.row.figures
    }


def _trained(config: Config, context: Context) -> tuple[list[Rival], list[Rival]]:
    """The agents on numbers and the language models that the run has trained, in the order of the stages."""
    trained = {**context.models, **context.agents}
    for name in config.models or ():
        if name not in trained:
            raise RecipeError(
                f"leaderboard.models: '{name}' is no training stage of this run.{did_you_mean(name, trained)} "
                f"Choose from: {', '.join(trained) or 'none were trained'}."
            )
    chosen = set(trained if config.models is None else config.models)
    agents = [zip_rival(name, weights) for name, weights in context.agents.items() if name in chosen]
    sources = {name: str(weights) for name, weights in context.models.items() if name in chosen}
    if config.untrained:
        sources = {UNTRAINED: _base(context), **sources}
    task: Any = context.task
    options = {"form": task.config.form, "facts": task.config.facts, "max_new_tokens": config.max_new_tokens}
    models = [
        model_rival(name, source, context.model, batch=config.batch_size, **options) for name, source in sources.items()
    ]
    return agents, models


def _base(context: Context) -> str:
    from tradeschool.models.load import base_source

    return base_source(context.model, context.task, context.run_folder, context.seed)


def _keeper(context: Context) -> Any:
    def keep(name: str, traces: list[Trace]) -> None:
        path = context.folder / f"traces-{file_name(name)}.jsonl"
        unfinished = path.with_suffix(".part")
        versions = context.versions
        write_traces(unfinished, (dataclasses.replace(one, versions={**versions, **one.versions}) for one in traces))
        unfinished.replace(path)

    return keep


def _differences(rule: Row, agents: Sequence[Row], models: Sequence[Row]) -> Iterator[Difference]:
    """Every model against the model before it; everyone trained against the rule."""
    for earlier, later in itertools.pairwise(models):
        yield difference(later, earlier)
    for row in (*agents, *models):
        yield difference(row, rule)
