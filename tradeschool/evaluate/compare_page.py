"""The page of several runs side by side: one table, the paired differences, and the plots."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tradeschool.evaluate import charts
from tradeschool.evaluate.comparison import KINDS, MODELS, Comparison, Row
from tradeschool.evaluate.console import subject, summary
from tradeschool.evaluate.page import Part, Section, Training, write_page
from tradeschool.evaluate.tables import Table, figure_tables, shown_metrics
from tradeschool.evaluate.training_curves import curves
from tradeschool.manifest import Manifest

PAIRED = (
    "Over the same dates, which removes the luck that both runs share. [low, high]: interval of a difference. The luck "
    "of training is not in it: another training seed gives another model (tradeschool run RECIPE --seeds 0,1,2)."
)


@dataclass(frozen=True)
class RunFacts:
    """What a page shows of a run.

    Attributes:
        name: of the run.
        comparison: of its last evaluation.
        manifest: None for a folder that holds a comparison alone.
        training: the metrics of its training stages.
        figures: the task's own plots, as (caption, SVG).
    """

    name: str
    comparison: Comparison
    manifest: Manifest | None = None
    training: Training = field(default_factory=dict)
    figures: Sequence[tuple[str, str]] = ()


def write_comparison_page(
    path: Path, runs: Sequence[RunFacts], rows: Sequence[tuple[str, Row]], gaps: Table, warnings: Sequence[str] = ()
) -> None:
    """Write the page.

    Args:
        path: the HTML file, replaced where it exists.
        runs: in order, with the same evaluation.
        rows: with the name of their run, "all" for those that are equal in all runs.
        gaps: the paired differences.
        warnings: of the runs as a whole.

    Raises:
        RunError: the file cannot be written.
    """
    first = runs[0].comparison
    named = [_named(run, row) for run, row in rows]
    metrics = shown_metrics(first.metrics, named, first.primary)
    main = Section(
        description=f"{first.evaluation.market}: {subject(first)}, {first.evaluation.questions:,} questions.",
        headline=[f"{run.name}: {summary(run.comparison)[0]}" for run in runs],
        warnings=warnings,
        parts=[*_results(runs, rows, gaps), *_training(runs)],
    )
    title = f"tradeschool: {len(runs)} runs with the same evaluation"
    write_page(path, title, [main], comparison=first, metrics=metrics)


def _named(run: str, row: Row) -> Row:
    return row if run == "all" else row.model_copy(update={"policy": f"{row.policy} ({run})"})


def _results(runs: Sequence[RunFacts], rows: Sequence[tuple[str, Row]], gaps: Table) -> Iterator[Part]:
    first, named = runs[0].comparison, [_named(run, row) for run, row in rows]
    metrics = shown_metrics(first.metrics, named, first.primary)
    yield Part("Runs", tables=[Table(("run", "model", "stages", "seed", "trained in", "peak memory"), _about(runs))])
    interval = f"[low, high]: {100 * first.confidence:g} % interval. A dash: not defined for this policy."
    kinds = {row.policy: KINDS.get(row.kind, row.kind) for row in named}
    yield Part("All figures", [interval], tables=figure_tables(named, metrics, kinds))
    if gaps.rows:
        yield Part("Paired differences", [PAIRED], tables=[gaps])
    drawn = [one for one in metrics if one.aggregate == "share_of_oracle" or one.key == first.primary]
    plots = [(charts.capitalised(metric.label), charts.interval_chart(named, metric)) for metric in drawn]
    # Without the baselines that differ from run to run, of which there may be many lines.
    lines = [_named(run, row) for run, row in rows if run == "all" or row.kind in MODELS]
    if lines and all(row.equity_T for row in lines):
        plots.append((charts.CAPITAL, charts.equity_chart(lines, first.evaluation.dates)))
    yield Part("Results", charts=plots)
    for run in runs:
        if run.figures:
            yield Part(f"Plots of {run.name}", charts=[(caption, svg) for caption, svg in run.figures])


def _training(runs: Sequence[RunFacts]) -> Iterator[Part]:
    drawn = [(run.name, curves(run.training, f" of {run.name}", fewest=1)) for run in runs]
    if found := [(name, svg) for name, svg in drawn if svg]:
        yield Part("Training", ["The stages of each run, one after the other."], charts=found)


def _about(runs: Sequence[RunFacts]) -> list[tuple[str, ...]]:
    return [(run.name, *(_facts(run.manifest) if run.manifest else ("-",) * 5)) for run in runs]


def _facts(manifest: Manifest) -> tuple[str, ...]:
    """Model, stages, seed, seconds of the stages that trained, and the highest peak of memory."""
    recipe: Mapping[str, Any] = manifest.recipe
    model = recipe.get("model", {})
    lora = f", LoRA rank {model['lora']['r']}" if model.get("lora") else ""
    kinds = {stage["name"]: stage["stage"] for stage in recipe.get("stages", [])}
    took = [
        stage["seconds"] for stage in manifest.stages if kinds.get(stage["name"]) not in ("evaluate", "leaderboard")
    ]
    peak = max((stage["peak_memory_bytes"] for stage in manifest.stages), default=0)
    return (
        f"{Path(str(model.get('base', '-'))).name}{lora}",
        ", ".join(name for name, kind in kinds.items() if kind not in ("evaluate", "leaderboard")),
        str(recipe.get("seed", "-")),
        f"{sum(took):,.0f} s",
        f"{peak / 1e9:.2f} GB",
    )
