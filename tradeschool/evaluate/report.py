"""report.html of an evaluation, and of a run that ends in an evaluation or a leaderboard."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tradeschool import manifest as manifests
from tradeschool.errors import RunError
from tradeschool.evaluate import charts
from tradeschool.evaluate.comparison import MEAN_RETURN, MODELS, Comparison, gap
from tradeschool.evaluate.console import print_comparison, shown_metrics, summary
from tradeschool.evaluate.diagnostics import training_warnings
from tradeschool.evaluate.page import (
    Card,
    Cell,
    Part,
    Section,
    Table,
    Training,
    figure_tables,
    tag,
    training_section,
    write_page,
)
from tradeschool.evaluate.predictions import traces_name
from tradeschool.run_folder import REPORT, stage_folders
from tradeschool.tasks.base import CORRECT
from tradeschool.trace import Trace, read_traces

COMPARISON = "comparison.json"
FIGURES = "figures.json"
"""The task's own plots as pairs of caption and SVG."""
KINDS = {"naive": "baseline", "rule": "baseline", "base": "base model", "trained": "trained model"}
SAMPLES = 12
ABOUT_SAMPLES = (
    "The label is the class that the task derives from what happened afterwards. An answer may differ from it and "
    "still earn: profit follows the position, whatever the label. Where labels are known, half of the answers shown "
    "equal theirs."
)


def write_report(
    path: Path,
    comparison: Comparison,
    *,
    title: str,
    training: Training | None = None,
    warnings: Sequence[str] = (),
    samples: Sequence[Trace] = (),
    figures: Sequence[tuple[str, str]] = (),
    manifest: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of a comparison.

    Args:
        path: the HTML file, replaced where it exists.
        comparison: what it is about.
        title: of the page.
        training: the metrics of each stage's steps, in order; keys as TRL names them (``step``, ``reward``,
            ``rewards/<component>/mean``, ``kl``, ``entropy``, ``loss``), ``zero_variance_groups``, and
            ``answers/<class>`` for the share of each class of answers. What is missing is not drawn.
        warnings: of training; those of the comparison are added.
        samples: example answers; the first dozen is shown.
        figures: the task's own plots, as (caption, SVG).
        manifest: of the run: versions, hashes and seeds, printed as JSON. Its recipe has the weights of the reward.

    Raises:
        RunError: the file cannot be written.
    """
    weights = (manifest or {}).get("recipe", {}).get("task", {}).get("weights", {})
    shown = [_card(trace, weights) for trace in samples[:SAMPLES]]
    main = Section(
        description=_description(comparison),
        headline=summary(comparison),
        warnings=[*warnings, *comparison.warnings],
        parts=list(_results(comparison, figures)),
    )
    examples = Section(parts=[Part("Example answers", [ABOUT_SAMPLES], cards=shown)] if shown else [])
    sections = [main, training_section(training or {}, manifest, list(comparison.rows[0].answer_shares)), examples]
    metrics = shown_metrics(comparison, comparison.rows)
    write_page(path, title, sections, manifest, comparison=comparison, metrics=metrics)


def _description(comparison: Comparison) -> str:
    facts = comparison.evaluation
    tickers = f"{facts.tickers} tickers, " if facts.tickers else ""
    unseen = "unseen " if comparison.unseen else ""
    return (
        f"{facts.market}: {tickers}{len(facts.dates)} {unseen}dates from {facts.dates[0]} to "
        f"{facts.dates[-1]}, {facts.questions:,} questions to every policy."
    )


def _results(comparison: Comparison, figures: Sequence[tuple[str, str]]) -> Iterator[Part]:
    rows, dates = comparison.rows, comparison.evaluation.dates
    kinds = {row.policy: KINDS.get(row.kind, row.kind) for row in rows}
    judged = [(f"{row.policy}\n{kinds[row.policy]}", tag(row.verdict), row.sentence) for row in rows]
    yield Part("Verdicts", tables=[Table(("policy", "verdict", ""), judged)])
    interval = f"[low, high]: {100 * comparison.confidence:g} % interval. A dash: not defined for this policy."
    yield Part("All figures", [interval], tables=figure_tables(rows, shown_metrics(comparison, rows), kinds))
    paired = (
        "Over the same dates, which removes the luck that all policies share. p: two-sided, adjusted by Holm's method "
        "for all differences that are judged together; a difference is claimed only where it is below "
        f"{1 - comparison.confidence:.3g}."
    )
    yield Part("Paired differences", [paired], tables=[_differences(comparison)])
    yield Part("Results", charts=[*_result_charts(comparison), *figures])
    if classes := list(rows[0].answer_shares):
        names = [name.replace("_", " ").lower() for name in classes]
        shares = [(row.policy, *(f"{100 * row.answer_shares[name]:.1f}" for name in classes)) for row in rows]
        drawn = [(row.policy, charts.answers_chart(row, dates)) for row in rows if row.kind in MODELS]
        yield Part("Answers", tables=[Table(("policy, % of answers", *names), shares)])
        yield Part("Answers over time", charts=drawn)


def _differences(comparison: Comparison) -> Table:
    metrics = {metric.key: metric for metric in (*comparison.metrics, MEAN_RETURN)}
    rows = [
        (
            one.policy,
            one.against,
            metrics[one.metric].label,
            gap(metrics[one.metric], one),
            f"{one.p_value:.3f}" if one.p_value == one.p_value else "-",
        )
        for row in comparison.rows
        for one in row.differences
    ]
    return Table(("policy", "against", "figure", "difference", "p"), rows)


def _result_charts(comparison: Comparison) -> charts.Drawn:
    drawn = [
        (metric.label[0].upper() + metric.label[1:], charts.interval_chart(comparison.rows, metric))
        for metric in shown_metrics(comparison, comparison.rows)
        if metric.aggregate == "share_of_oracle" or metric.key == comparison.primary
    ]
    if comparison.rows[0].equity_T:
        drawn.append(("Capital after costs", charts.equity_chart(comparison.rows, comparison.evaluation.dates)))
    return drawn


def _card(trace: Trace, weights: Mapping[str, float]) -> Card:
    rewards = [
        f"{name} {'-' if value is None else f'{value:+.3f}'}"
        + (" (weight 0, not trained on)" if weights and not weights.get(name) else "")
        for name, value in trace.rewards.items()
    ]
    return Card(trace, rewards, _outcome(trace))


def _outcome(trace: Trace) -> Cell:
    """The answer beside its label; without a label, what the task's value ``CORRECT`` says."""
    mark = trace.metrics.get(CORRECT)
    if trace.stop == "parse_error":
        return "unreadable", "tag unreadable"
    if trace.label is not None and trace.action is not None:
        return f"label: {trace.label}; answer: {trace.action}", f"tag {_colour(trace.label == trace.action)}"
    if mark is None:
        return "answered", "tag"
    return "counted as correct" if mark > 0 else "not counted as correct", f"tag {_colour(mark > 0)}"


def _colour(equal: bool) -> str:
    return "equal" if equal else "other"


# from a run folder -------------------------------------------------------------------------------


def report_run(run_folder: Path, console: Console) -> Path:
    """Write ``report.html`` from the files of a run folder, print the tables, and return the page's path.

    Raises:
        RunError: neither an evaluation nor a leaderboard has finished, or their files cannot be read.
    """
    from tradeschool.evaluate.leaderboard.results import LEADERBOARD

    if stage_folders(run_folder, LEADERBOARD):
        return report_leaderboard(run_folder, console, tables=True)
    evaluated = stage_folders(run_folder, COMPARISON)
    if not evaluated:
        raise RunError(_nothing_to_report(run_folder))
    return report_evaluation(run_folder, evaluated[-1], console)


def report_evaluation(run_folder: Path, folder: Path, console: Console) -> Path:
    """The same for an evaluate stage that has finished; ``folder`` is the stage's."""
    comparison = Comparison.read(folder / COMPARISON)
    manifest = manifests.read(run_folder)
    training = training_metrics(run_folder)
    warnings = training_warnings(training, manifest.recipe.get("task", {}).get("weights", {}))
    figures = folder / FIGURES
    write_report(
        run_folder / REPORT,
        comparison,
        title=f"tradeschool: {manifest.recipe['name']}",
        training=training,
        warnings=warnings,
        samples=_samples(folder, comparison),
        figures=json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else (),
        manifest=dataclasses.asdict(manifest),
    )
    print_comparison(console, comparison, warnings)
    return run_folder / REPORT


def report_leaderboard(run_folder: Path, console: Console, *, tables: bool = False) -> Path:
    """The same for a run whose leaderboard has finished; ``tables`` prints its tables too."""
    from tradeschool.evaluate.leaderboard.console import print_ranked, print_summary
    from tradeschool.evaluate.leaderboard.report import write_run_report

    path = run_folder / REPORT
    for board, section in write_run_report(run_folder, path, manifests.read(run_folder), training_metrics(run_folder)):
        if tables:
            print_ranked(console, board.name, board.ranked)
        print_summary(console, section.headline, section.warnings)
    return path


def _nothing_to_report(run_folder: Path) -> str:
    stages = [stage["stage"] for stage in manifests.read(run_folder).recipe.get("stages", [])]
    planned = dict.fromkeys(stage for stage in stages if stage in ("evaluate", "leaderboard"))
    if planned:
        return (
            f"{run_folder}: no {' or '.join(planned)} stage has finished, so there is nothing to report. "
            f"Finish the run with: tradeschool resume {run_folder}"
        )
    return (
        f"{run_folder}: its recipe has the stages {', '.join(stages) or '(none)'}, and a report needs an "
        "evaluation or a leaderboard. Add one of these to the recipe (stage: evaluate, or stage: leaderboard for the "
        "task 'trade'), and start a new run."
    )


def training_metrics(run_folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The metrics that every stage of a run recorded in training, by the stage's name, in order."""
    from tradeschool.train.logging import METRICS, read_metrics

    folders = stage_folders(run_folder, METRICS)
    return {folder.name.partition("-")[2]: read_metrics(folder / METRICS) for folder in folders}


def _samples(folder: Path, comparison: Comparison) -> list[Trace]:
    """Answers of the last model over all dates; half of them right, where the task says which are."""
    models = [row for row in comparison.rows if row.kind in MODELS]
    path = folder / traces_name(models[-1].policy, models[-1].kind) if models else folder / "none"
    if not path.exists():
        return []
    traces = list(read_traces(path))
    halves = [[trace for trace in traces if trace.metrics.get(CORRECT) == mark] for mark in (1.0, 0.0)]
    if not any(halves):
        return _spread(traces, SAMPLES)
    return [trace for half in halves for trace in _spread(half, SAMPLES // 2)]


def _spread(traces: list[Trace], count: int) -> list[Trace]:
    """``count`` of them from the first to the last, all where there are fewer."""
    if len(traces) <= count:
        return traces
    return [traces[i] for i in np.linspace(0, len(traces) - 1, count).astype(int)]
