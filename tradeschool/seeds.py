"""One recipe with several training seeds: a run for each, and mean and spread of every figure over them.

The market, its split and the questions are the same for all seeds: results differ by the luck of training alone.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_json
from rich.console import Console
from rich.text import Text

from tradeschool import manifest as manifests
from tradeschool import pipeline, run_folder
from tradeschool.config.recipe import Recipe, from_mapping, read_any
from tradeschool.errors import RecipeError, RunError, TradeschoolError
from tradeschool.evaluate.compare_runs import read_comparison
from tradeschool.evaluate.comparison import MODELS, Interval, Row, figure, figure_with_interval
from tradeschool.evaluate.report import COMPARISON
from tradeschool.evaluate.tables import Table, terminal_table
from tradeschool.market.panel import Floats
from tradeschool.run_folder import stage_folders
from tradeschool.tasks.base import Metric

FILE = "seeds.json"
"""The recipe and the seeds, from which a folder is resumed."""
SUMMARY = "summary.json"
LEVEL = 0.95
MOST_SEEDS = 1000


@dataclass(frozen=True)
class SeedFigure:
    """One figure of one model over the seeds.

    Attributes:
        policy: the model, or ``grpo minus sft`` for the difference of two models within each run.
        metric: key of the figure.
        values: one for each seed, in order; NaN where undefined.
        deviation: standard deviation of the values, NaN for fewer than two.
        mean: with Student's t-interval over the seeds, which has no ends for fewer than two.
    """

    policy: str
    metric: str
    values: list[float]
    deviation: float
    mean: Interval


@dataclass(frozen=True)
class Seeds:
    """The run folders by seed, why others failed, the metrics, and the figures of every model."""

    folder: Path
    runs: dict[int, Path]
    failed: dict[int, str]
    metrics: list[Metric]
    figures: list[SeedFigure]

    def figure(self, policy: str, metric: str) -> SeedFigure:
        """One figure of one model; a RunError if there is none."""
        found = {(one.policy, one.metric): one for one in self.figures}
        if (policy, metric) not in found:
            names = ", ".join(f"{one.policy}: {one.metric}" for one in self.figures)
            raise RunError(f"{self.folder} has no figure '{metric}' of '{policy}'. It has: {names}.")
        return found[policy, metric]


def parse_seeds(text: str) -> list[int]:
    """``0,1,2`` or ``0-4``, or both: ``0-2,7``; a RecipeError if the text is neither, or names a seed twice."""
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            seeds += range(int(first), min(int(last), int(first) + MOST_SEEDS) + 1) if dash else [int(first)]
    except ValueError:
        seeds = []
    if not 0 < len(seeds) == len(set(seeds)) <= MOST_SEEDS:
        raise RecipeError(f"--seeds {text}: give each seed once, like 0,1,2 or 0-4, and at most {MOST_SEEDS:,}.")
    return seeds


def run_seeds(
    recipe: str | Path | Mapping[str, Any],
    seeds: Sequence[int],
    overrides: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Seeds:
    """Run a recipe once for each training seed.

    Args:
        recipe: a YAML file, or the recipe as a mapping.
        seeds: of training. The market's seed and the evaluation's stay as in the recipe.
        overrides: values to change, by dotted key.
        out: the folder, which gets a run folder ``seed-<seed>`` for each. Default: ``runs/<recipe name>-seeds/<time>``.
        quiet: print nothing.

    Raises:
        TradeschoolError: the recipe is wrong. A seed whose training fails is reported, and the others still run.
    """
    path = Path(out) if out is not None else None
    return start(read_any(recipe, overrides or {}), seeds, path, Console(quiet=quiet))


def start(recipe: Recipe, seeds: Sequence[int], out: Path | None, console: Console) -> Seeds:
    """As :func:`run_seeds`, for a recipe that was read."""
    for seed in seeds:
        _with_seed(recipe.resolved, seed)  # refuses a seed that is out of range
    folder = run_folder.create(f"{recipe.name}-seeds", out)
    manifests.write_json(folder / FILE, {"seeds": list(seeds), "recipe": recipe.resolved})
    return resume(folder, console)


def find(text: str) -> Path | None:
    """The folder of several seeds by its path, or by the recipe's name (``demo-seeds``); None where there is none."""
    candidates = (Path(text), Path(text, "latest"), run_folder.RUNS / text / "latest")
    return next((one.resolve() for one in candidates if (one / FILE).is_file()), None)


def resume(folder: Path, console: Console) -> Seeds:
    """Run the seeds that have not finished, and print the table of all."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        seeds, recipe = [int(seed) for seed in content["seeds"]], content["recipe"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / FILE} cannot be read ({error}). Start again in a new folder.") from error
    runs: dict[int, Path] = {}
    failed: dict[int, str] = {}
    for number, seed in enumerate(seeds, 1):
        console.rule(f"[bold]Training seed {seed}[/bold] ({number} of {len(seeds)})", align="left")
        own = folder / f"seed-{seed}"
        try:
            if not (own / manifests.FILE).exists():
                pipeline.run(_with_seed(recipe, seed), own, console)
            elif manifests.read(own).status == "done":
                console.print("Has already finished: kept")
            else:
                pipeline.resume(own, None, console)
            runs[seed] = own
        except TradeschoolError as error:
            if not (own / manifests.FILE).exists():  # the recipe is wrong, for every seed
                raise
            failed[seed] = str(error)
        except BaseException as error:
            error.add_note(f"Resume all seeds with: tradeschool resume {folder}")
            raise
    metrics, figures = summarise([_table(run) for run in runs.values()])
    found = Seeds(folder, runs, failed, metrics, figures)
    summary = {"seeds": list(runs), "failed": failed, "figures": figures}
    manifests.replace_text(folder / SUMMARY, to_json(summary, indent=1, inf_nan_mode="null").decode() + "\n")
    _print(console, found)
    return found


def _with_seed(recipe: Mapping[str, Any], seed: int) -> Recipe:
    return from_mapping({**json.loads(json.dumps(recipe)), "seed": seed})


# figures over the seeds --------------------------------------------------------------------------


def _table(run: Path) -> tuple[list[Metric], list[Row]]:
    """The metrics and rows of a run's last evaluation, or of its last leaderboard; none where it has neither."""
    from tradeschool.evaluate.leaderboard.ranking import METRICS

    if stage_folders(run, COMPARISON):
        comparison = read_comparison(run)
        return comparison.metrics, comparison.rows
    played = stage_folders(run, "leaderboard.json")
    rows = json.loads((played[-1] / "leaderboard.json").read_text(encoding="utf-8"))["rows"] if played else []
    return list(METRICS), [Row.model_validate(row) for row in rows]


def summarise(tables: Sequence[tuple[Sequence[Metric], Sequence[Row]]]) -> tuple[list[Metric], list[SeedFigure]]:
    """Every figure of every model over the seeds, and of the steps from one trained model to the next.

    ``tables`` has the metrics and rows of each seed's run. Models are in the order of training.
    """
    models = [{row.policy: row for row in rows if row.kind in MODELS} for _, rows in tables]
    kinds = {name: row.kind for rows in models for name, row in rows.items()}
    steps = list(itertools.pairwise(name for name, kind in kinds.items() if kind == "trained"))
    metrics = list(tables[0][0]) if tables else []
    none = Interval(value=math.nan)
    figures: list[SeedFigure] = []
    for key in [metric.key for metric in metrics]:
        found = [{name: row.metrics.get(key, none).value for name, row in rows.items()} for rows in models]
        values = {name: np.array([of.get(name, math.nan) for of in found]) for name in kinds}
        values |= {f"{after} minus {before}": values[after] - values[before] for before, after in steps}
        figures += [_figure(name, key, of) for name, of in values.items() if np.isfinite(of).any()]
    return metrics, figures


def _figure(policy: str, metric: str, values: Floats) -> SeedFigure:
    from scipy.stats import t

    known = values[np.isfinite(values)]
    mean, count = float(known.mean()), len(known)
    deviation = float(known.std(ddof=1)) if count > 1 else math.nan
    margin = float(t.ppf((1 + LEVEL) / 2, count - 1)) * deviation / math.sqrt(count) if count > 1 else math.nan
    interval = Interval(value=mean, low=mean - margin, high=mean + margin)
    return SeedFigure(policy, metric, values.tolist(), deviation, interval)


def _print(console: Console, seeds: Seeds) -> None:
    rows = [
        (
            metric.label,
            one.policy,
            str(int(np.isfinite(one.values).sum())),
            figure_with_interval(metric, one.mean),
            figure(metric, one.deviation),
        )
        for metric in seeds.metrics
        for one in seeds.figures
        if one.metric == metric.key and metric.terminal != "no"
    ]
    if rows:
        table = Table(("figure", "model", "trainings", "mean", "deviation"), rows)
        caption = f"[low, high]: {LEVEL:.0%} t-interval of the mean; deviation: of one training"
        console.print(terminal_table(table, f"Training seeds {', '.join(map(str, seeds.runs))}", caption))
        console.print(
            "All trainings answered the same questions of one market: these intervals say how much training varies, "
            "not how sure the figures are on these dates. That is in each run's report.",
            highlight=False,
        )
    for seed, why in seeds.failed.items():
        console.print(Text(f"Training seed {seed} failed: {why}", style="bold red"), soft_wrap=True)
    console.print(Text(f"Runs: {seeds.folder}"), soft_wrap=True)
