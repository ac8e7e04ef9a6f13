"""The stage ``leaderboard``: rules, trained agents and the language models of a run play the same episodes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator
from pydantic_core import to_json

from tradeschool.config.check import known_names
from tradeschool.env.config import EnvError
from tradeschool.env.strategies import STRATEGIES
from tradeschool.errors import RecipeError
from tradeschool.evaluate.leaderboard.agents import AgentSpec, ZipEntry, model_agent, rule_agent, unload
from tradeschool.evaluate.leaderboard.ranking import (
    GRADE,
    REFERENCE,
    UNUSED_ANSWERS,
    BestRule,
    Leaderboard,
    interval_of,
    verdict_of,
)
from tradeschool.evaluate.leaderboard.results import (
    LEADERBOARD,
    RESULTS,
    RESULTS_OF_SPLIT,
    BenchmarkSpec,
    ResultsStore,
)
from tradeschool.evaluate.leaderboard.run import EvalRun
from tradeschool.manifest import replace_text
from tradeschool.models.load import TRIED, base_source, refuse_too_long
from tradeschool.policies.base import Kind
from tradeschool.progress import progress
from tradeschool.tasks.base import SplitName, Task
from tradeschool.tasks.trade import TradeTask
from tradeschool.train.stage import CheckContext, Context, Result, StageConfig, base_row, refuse_reserved

READS = ("language", "numeric")
"""Kinds of earlier stages that ``models:`` may name."""
EARLIER: dict[SplitName, tuple[SplitName, ...]] = {"test": ("validation", "train"), "validation": ("train",)}
"""Splits before the one that is played, to choose the best rule on. The first that an episode fits into is used."""


class Config(StageConfig):
    """``episodes`` on ``split``, the same for all agents: those of the seeds from ``seed`` on.

    The recipe's ``seed`` does not change them, so that trainings with several seeds play the same episodes.

    ``rules`` are rules by name and ``models`` are stages that trained a model; all by default. ``base`` adds the base
    model. Buy and hold always plays. Every model is compared with the one before it and with the best rule, which
    is chosen on earlier dates: the best of several on the compared dates would be biased upwards.
    """

    split: Literal["test", "validation"] = "test"
    seed: int = Field(default=0, ge=0, lt=2**32)
    episodes: int = Field(default=200, ge=2, le=100_000)
    rules: list[str] = Field(default_factory=lambda: [*STRATEGIES], validate_default=True)
    models: list[str] | None = None
    base: bool = True
    max_new_tokens: int = Field(default=64, ge=1, le=65_536)
    batch_size: int = Field(default=64, ge=1)

    @field_validator("rules")
    @classmethod
    def _check_rules(cls, rules: list[str]) -> list[str]:
        known_names("rules", STRATEGIES)(rules)
        return list(dict.fromkeys([REFERENCE, *rules]))


def check(config: Config, context: CheckContext) -> None:
    """Refuse, before any stage runs, a task without episodes and dates that no episode fits into."""
    task = _trade_task(config, context.task)
    refuse_reserved(context, config.rules)
    try:
        task.env(config.split, "numeric")
        if context.models or context.agents or config.base:
            _earlier_benchmark(task, config.split, config.seed)
    except EnvError as error:
        raise RecipeError(f"stages.{config.name}.split: {error}") from error
    if context.models or config.base:
        starts = task.examples(config.split)
        prompts = [task.messages(example) for example in starts[:: len(starts) // TRIED + 1]]
        refuse_too_long(f"stages.{config.name}.max_new_tokens", context.model, task, prompts, config.max_new_tokens)


def _trade_task(config: Config, task: Task) -> TradeTask:
    if not isinstance(task, TradeTask):
        raise RecipeError(
            f"stages.{config.name}: a leaderboard plays trading episodes, and the task is '{task.name}'. Set task: "
            "{name: trade}, or use the stage 'evaluate'."
        )
    return task


def run(config: Config, context: Context) -> Result:
    """Play, and write ``leaderboard.json``, the results and the traces into the stage's folder."""
    from tradeschool.evaluate.leaderboard.console import print_board

    task = _trade_task(config, context.task)
    rules = [rule_agent(name) for name in config.rules]
    numeric, models = _trained(config, context, task)
    benchmark = BenchmarkSpec.of(task.env(config.split, "numeric"), config.seed)

    with progress(context.console) as bar:
        store = ResultsStore(context.folder / RESULTS)
        episodes, versions = config.episodes, context.versions
        eval_run = EvalRun(task, config.split, benchmark, episodes, store, bar, context.folder, versions)
        best_rule = choose_best_rule(eval_run, rules, context.folder) if numeric or models else None
        total = bar.add_task("agents", total=len(rules) + len(numeric) + len(models), figures="")
        results = []
        for spec in (*rules, *numeric, *models):
            results.append(eval_run.play(spec))
            bar.advance(total)
    unload()
    names = [spec.name for spec in models] or [base_row(context.model.base)]
    steps = dict(zip(names, ["", *names], strict=False))
    board = Leaderboard.of(config.name or config.stage, results, steps, config.split, best_rule)
    write_outcome(context.folder / LEADERBOARD, board, benchmark, best_rule)
    print_board(context.console, board)
    kept = ("grade", *UNUSED_ANSWERS)
    figures = {(key, row.policy): row.metrics[key].value for key in kept for row in board.rows if key in row.metrics}
    return Result(summary={f"{key}/{agent}": value for (key, agent), value in figures.items()})


def _trained(config: Config, context: Context, task: TradeTask) -> tuple[list[AgentSpec], list[AgentSpec]]:
    """The numeric agents and the language models of the run, in the order of the stages."""
    chosen = {**context.models, **context.agents}.keys() if config.models is None else config.models
    agents = {name: weights for name, weights in context.agents.items() if name in chosen}
    numeric = [ZipEntry(agent="zip", name=name, path=weights).spec({}) for name, weights in agents.items()]
    sources: dict[str, tuple[str, Kind]] = {}
    if config.base:
        base = base_source(context.model, context.task, context.run_folder, context.seed)
        sources[base_row(context.model.base)] = base, "base"
    sources |= {name: (str(weights), "trained") for name, weights in context.models.items() if name in chosen}
    options: dict[str, Any] = {"batch": config.batch_size, "max_new_tokens": config.max_new_tokens}
    options |= {"form": task.config.form, "facts": task.config.facts}
    options |= {"question": task.config.question, "describe": task.config.describe}
    options |= {"instructions": task.config.instructions}
    models = [
        model_agent(name, source, context.model, kind=kind, **options) for name, (source, kind) in sources.items()
    ]
    return numeric, models


def choose_best_rule(eval_run: EvalRun, rules: Sequence[AgentSpec], folder: Path) -> BestRule:
    """The best rule by mean grade on dates before those that are compared, over as many episodes.

    The rules' results there are stored in ``folder``.
    """
    split, benchmark = _earlier_benchmark(eval_run.task, eval_run.split, eval_run.benchmark.seed)
    store = ResultsStore(folder / RESULTS_OF_SPLIT.format(split=split))
    earlier = dataclasses.replace(eval_run, split=split, benchmark=benchmark, store=store)
    best = max((earlier.play(rule) for rule in rules), key=lambda one: float(np.mean(one.grades)))
    return BestRule(best.agent, split, best.episodes, interval_of(best.estimate(best.grades), GRADE), len(rules))


def _earlier_benchmark(task: TradeTask, played: SplitName, seed: int) -> tuple[SplitName, BenchmarkSpec]:
    for split in EARLIER[played]:
        try:
            return split, BenchmarkSpec.of(task.env(split, "numeric"), seed)
        except EnvError:
            if split == "train":  # the earliest
                raise
    raise AssertionError("no split is earlier")


def write_outcome(path: Path, board: Leaderboard, benchmark: BenchmarkSpec, best_rule: BestRule | None) -> None:
    """Write ``leaderboard.json``: the rows, the differences judged together, and the best rule. NaN becomes null."""
    content = {
        "benchmark": benchmark,
        "best_rule": best_rule,
        "rows": board.rows,
        "differences": [
            {**one.model_dump(), "verdict": verdict_of(one), "episodes": board.episodes(one)} for one in board.compared
        ],
    }
    replace_text(path, to_json(content, indent=1, inf_nan_mode="null").decode() + "\n")
