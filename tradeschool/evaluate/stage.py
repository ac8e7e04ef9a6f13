"""The evaluate stage: every policy answers the same questions on unseen dates, and a report says what that shows."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from tradeschool.errors import RecipeError, RunError, did_you_mean
from tradeschool.policies.base import Kind, Policy
from tradeschool.tasks.base import Example, Task
from tradeschool.trace import Trace, read_traces, write_traces
from tradeschool.train.stage import Context, Result, StageConfig

COMPARISON = "comparison.json"
UNTRAINED = "untrained"
SAMPLES = 12


class CostsConfig(BaseModel):
    """Paid on the traded notional, in basis points; without shorts a sell rating means no position."""

    model_config = ConfigDict(extra="forbid")

    commission_bps: float = Field(default=1.0, ge=0)
    slippage_bps: float = Field(default=5.0, ge=0)
    allow_short: bool = True


class Config(StageConfig):
    """``tickers``: how many tickers are asked about (a seeded draw; all by default), on every date of ``split``.

    ``models``: the stages whose models are examined, all by default; ``untrained`` adds the base model.
    """

    split: Literal["test", "validation"] = "test"
    tickers: int | None = Field(default=None, ge=1)
    models: list[str] | None = None
    untrained: bool = True
    max_new_tokens: int = Field(default=64, ge=1)
    batch_size: int = Field(default=256, ge=1)
    costs: CostsConfig = CostsConfig()
    draws: int = Field(default=2000, ge=200)
    level: float = Field(default=0.95, gt=0.5, lt=1)


def check_task(config: Config, task: Task) -> None:
    """Refuse a task whose answers are not scored one by one before any stage has run.

    Raises:
        RecipeError: it plays episodes.
    """
    if task.episodic:
        raise RecipeError(
            f"stages.{config.name}: the task '{task.name}' plays episodes, which are graded as a whole. Take the stage "
            "'leaderboard' instead of 'evaluate'."
        )


def run(config: Config, context: Context) -> Result:
    """Ask, compare, and write ``comparison.json``, the traces and the run's ``report.html``."""
    from tradeschool.evaluate.compare import compare
    from tradeschool.evaluate.tally import exam_of, tally

    examples = _questions(config, context)
    exam = exam_of(context.task, config, context.panel, config.split)
    answers = [tally(exam, context.task, *rivals) for rivals in _rivals(config, context, examples)]
    answers += [tally(exam, context.task, *models) for models in _models(config, context, examples)]
    with context.console.status("Drawing dates for the intervals"):
        comparison = compare(exam, answers, seed=context.seed, draws=config.draws, level=config.level)
    unfinished = (context.folder / COMPARISON).with_suffix(".part")
    unfinished.write_text(comparison.to_json(), encoding="utf-8")
    unfinished.replace(context.folder / COMPARISON)
    rebuild_report(context.run_folder, context.console, folder=context.folder)
    return Result(summary={f"score/{row.policy}": row.metrics["score"].value for row in comparison.rows})


def _questions(config: Config, context: Context) -> list[Example]:
    examples = context.task.examples(config.split)
    if not examples:
        raise RecipeError(f"The {config.split} split has no question that can be scored. Give it more dates.")
    asked = sorted({example.n for example in examples})
    if config.tickers is not None and config.tickers < len(asked):
        chosen = set(np.random.default_rng([context.seed, 17]).permutation(asked)[: config.tickers].tolist())
        examples = [example for example in examples if example.n in chosen]
    return examples


Asked = tuple[str, Kind, Sequence[Example], Sequence[Trace]]


def _rivals(config: Config, context: Context, examples: list[Example]) -> Iterator[Asked]:
    """The naive rows, the rules, and on a practice market the best possible."""
    from tradeschool.policies import rules
    from tradeschool.rollout import rollout

    task: Any = context.task
    policies: list[Policy] = [
        rules.constant("hold", task, 0),
        rules.constant("buy and hold", task, 2),
        rules.constant("best constant", task, _best_constant(task)),
        rules.random(task, context.seed),
        rules.rsi_rules(task),
        rules.momentum(task),
    ]
    if task.best(examples[0]) is not None:
        policies.append(BestPossible(task, examples))
    with context.console.status("Asking the rivals"):
        for policy in policies:
            yield policy.name, policy.kind, examples, rollout(policy, task, examples, context.versions)


def _best_constant(task: Any) -> int:
    """The constant rating with the highest mean score on the training split."""
    examples = task.examples("train")

    def mean(rating: int) -> float:
        return float(np.mean([score for e in examples if (score := task.measured(e, rating)) is not None]))

    return max((0, 1, -1, 2, -2), key=mean)


class BestPossible(Policy):
    """Knows the planted forecast of a practice market: the ceiling of every table."""

    name = "best possible"
    kind: Kind = "best"

    def __init__(self, task: Any, examples: Sequence[Example]) -> None:
        self._task = task
        self._examples = {example.key: example for example in examples}

    def reply(self, prompts: Sequence[Any]) -> list[str]:
        """The rating with the highest expected score."""
        ratings = [self._task.best(self._examples[prompt.key]) for prompt in prompts]
        return [self._task.compose(rating, "Knows the forecast.") for rating in ratings]


def _models(config: Config, context: Context, examples: list[Example]) -> Iterator[Asked]:
    """Every language model on the same questions; complete traces of the same versions are not asked for again."""
    from tradeschool.models.load import base_source

    sources: dict[str, tuple[str, Kind]] = {}
    if config.untrained:
        base = base_source(context.model, context.task, context.run_folder, context.seed)
        sources[UNTRAINED] = (base, "untrained")
    for name in config.models if config.models is not None else context.models:
        if name not in context.models:
            raise RecipeError(
                f"evaluate.models: '{name}' is no training stage of this run.{did_you_mean(name, context.models)} "
                f"Choose from: {', '.join(context.models) or 'none were trained'}."
            )
        sources[name] = (str(context.models[name]), "trained")
    for name, (source, kind) in sources.items():
        yield name, kind, examples, _asked(name, kind, source, config, context, examples)


def _asked(
    name: str, kind: Kind, source: str, config: Config, context: Context, examples: list[Example]
) -> list[Trace]:
    path = context.folder / f"traces-{name}.jsonl"
    if path.exists():
        kept = list(read_traces(path))
        same_questions = [trace.key for trace in kept] == [example.key for example in examples]
        if same_questions and all(trace.versions == context.versions for trace in kept):
            return kept
    from tradeschool.models.load import load
    from tradeschool.policies.language import LanguagePolicy
    from tradeschool.rollout import rollout
    from tradeschool.train.logging import progress

    model, tokenizer = load(source, context.model)
    with progress(context.console) as bar:
        row = bar.add_task(f"asking {name}", total=len(examples), figures="")
        policy = LanguagePolicy(
            model,
            tokenizer,
            name=name,
            kind=kind,
            max_new_tokens=config.max_new_tokens,
            batch_size=config.batch_size,
            on_batch=lambda count: bar.update(row, completed=count),
        )
        traces = rollout(policy, context.task, examples, context.versions)
    unfinished = path.with_suffix(".part")
    write_traces(unfinished, traces)
    unfinished.replace(path)
    return traces


@dataclass(frozen=True)
class _Training:
    metrics: dict[str, list[dict[str, Any]]]
    warnings: list[str]


def rebuild_report(run_folder: Path, console: Console, folder: Path | None = None) -> None:
    """Write ``report.html`` from what is in a run folder, and print the table.

    Raises:
        RunError: the run has no finished evaluate stage.
    """
    from tradeschool.evaluate.report import write_report
    from tradeschool.evaluate.result import Comparison
    from tradeschool.evaluate.table import print_comparison, print_warnings
    from tradeschool.manifest import read
    from tradeschool.run_folder import REPORT

    folder = folder or _evaluated(run_folder)
    path = folder / COMPARISON
    comparison = Comparison.from_json(path.read_text(encoding="utf-8"), path)
    training = _training(run_folder)
    manifest = read(run_folder)
    write_report(
        run_folder / REPORT,
        comparison,
        title=f"tradeschool: {manifest.recipe['name']}",
        training=training.metrics,
        warnings=training.warnings,
        samples=_samples(folder, comparison),
        manifest=dataclasses.asdict(manifest),
    )
    print_comparison(console, comparison)
    print_warnings(console, training.warnings)


def _evaluated(run_folder: Path) -> Path:
    found = sorted((path.parent for path in run_folder.glob(f"*/{COMPARISON}")), key=_number)
    if not found:
        raise RunError(
            f"{run_folder}: no evaluate stage has finished, so there is nothing to report. "
            f"Finish the run with: tradeschool resume {run_folder}"
        )
    return found[-1]


def _number(folder: Path) -> int:
    """The 10 of ``10-evaluate``."""
    return int(folder.name.split("-")[0])


def training_metrics(run_folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What every stage of a run recorded of its training, by the stage's name, in their order."""
    from tradeschool.train.logging import METRICS, read_metrics

    folders = sorted((path.parent for path in run_folder.glob(f"*/{METRICS}")), key=_number)
    return {folder.name.partition("-")[2]: read_metrics(folder / METRICS) for folder in folders}


def _training(run_folder: Path) -> _Training:
    from tradeschool.evaluate.diagnose import training_warnings
    from tradeschool.manifest import read

    metrics = training_metrics(run_folder)
    weights = read(run_folder).recipe.get("task", {}).get("weights", {})
    return _Training(metrics, training_warnings(metrics, weights))


def _samples(folder: Path, comparison: Any) -> list[Trace]:
    """Answers of the last trained policy, half of them right, spread over the exam."""
    trained = [row.policy for row in comparison.rows if row.kind == "trained"]
    path = folder / f"traces-{trained[-1]}.jsonl" if trained else folder / "none"
    if not path.exists():
        return []
    traces = [trace for trace in read_traces(path) if "correct" in trace.metrics]
    halves = [[trace for trace in traces if trace.metrics["correct"] == value] for value in (1.0, 0.0)]
    return [trace for half in halves for trace in _spread(half, SAMPLES // 2)]


def _spread(traces: list[Trace], count: int) -> list[Trace]:
    """``count`` of them from the first to the last, all where there are fewer."""
    if len(traces) <= count:
        return traces
    return [traces[i] for i in np.linspace(0, len(traces) - 1, count).astype(int)]
