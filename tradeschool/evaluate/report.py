"""report.html of an evaluation, and of a run that ends in an evaluation or a leaderboard."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tradeschool import manifest as manifests
from tradeschool.errors import RunError
from tradeschool.evaluate import charts
from tradeschool.evaluate.comparison import KINDS, MEAN_RETURN, MODELS, Comparison, figure_with_interval, gap
from tradeschool.evaluate.console import print_comparison, print_summary, subject, summary
from tradeschool.evaluate.diagnostics import training_warnings
from tradeschool.evaluate.evaluation_set import traces_name
from tradeschool.evaluate.page import Card, Part, Section, Training, training_section, write_page
from tradeschool.evaluate.tables import Cell, Table, figure_tables, shown_metrics, tag
from tradeschool.run_folder import REPORT, stage_folders
from tradeschool.tasks.base import CORRECT, Metric
from tradeschool.trace import Trace, read_traces

COMPARISON = "comparison.json"
FIGURES = "figures.json"
"""The task's own plots as pairs of caption and SVG."""
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
    facts = comparison.evaluation
    metrics = shown_metrics(comparison.metrics, comparison.rows, comparison.primary)
    main = Section(
        description=f"{facts.market}: {subject(comparison)}, {facts.questions:,} questions to every policy.",
        headline=summary(comparison),
        warnings=[*warnings, *comparison.warnings],
        parts=list(_results(comparison, metrics, figures)),
    )
    examples = Section(parts=[Part("Example answers", [ABOUT_SAMPLES], cards=shown)] if shown else [])
    sections = [main, training_section(training or {}, manifest, list(comparison.rows[0].answer_shares)), examples]
    write_page(path, title, sections, manifest, comparison=comparison, metrics=metrics)


def _results(comparison: Comparison, metrics: Sequence[Metric], figures: Sequence[tuple[str, str]]) -> Iterator[Part]:
    rows, dates = comparison.rows, comparison.evaluation.dates
    kinds = {row.policy: KINDS.get(row.kind, row.kind) for row in rows}
    judged = [(f"{row.policy}\n{kinds[row.policy]}", tag(row.verdict), row.sentence) for row in rows]
    yield Part("Verdicts", tables=[Table(("policy", "verdict", ""), judged)])
    interval = f"[low, high]: {100 * comparison.confidence:g} % interval. A dash: not defined for this policy."
    yield Part("All figures", [interval], tables=figure_tables(rows, metrics, kinds))
    paired = (
        "Over the same dates, which removes the luck that all policies share. p: two-sided, adjusted by Holm's method "
        "for all differences that are judged together; a difference is claimed only where it is below "
        f"{1 - comparison.confidence:.3g}."
    )
    known = {metric.key: metric for metric in (*comparison.metrics, MEAN_RETURN)}
    found = [(one, known[one.metric]) for row in rows for one in row.differences]
    differences = [
        (one.policy, one.against, metric.label, gap(metric, one), "-" if isnan(one.p_value) else f"{one.p_value:.3f}")
        for one, metric in found
    ]
    columns = ("policy", "against", "figure", "difference", "p")
    yield Part("Paired differences", [paired], tables=[Table(columns, differences)])
    if comparison.shuffled:
        yield _shuffled(comparison)
    drawn = [one for one in metrics if one.aggregate == "share_of_oracle" or one.key == comparison.primary]
    yield Part("Results", charts=[*charts.result_charts(rows, drawn, dates), *figures])
    if classes := list(rows[0].answer_shares):
        names = [name.replace("_", " ").lower() for name in classes]
        shares = [(row.policy, *(f"{100 * row.answer_shares[name]:.1f}" for name in classes)) for row in rows]
        over_time = [(row.policy, charts.answers_chart(row, dates)) for row in rows if row.kind in MODELS]
        yield Part("Answers", tables=[Table(("policy, % of answers", *names), shares)])
        yield Part("Answers over time", charts=over_time)


def _shuffled(comparison: Comparison) -> Part:
    """The primary metric over all dates as they happened, beside that over questions drawn at random."""
    metric = comparison.metric(comparison.primary)
    rows = [
        (row.policy, figure_with_interval(metric, row.metrics[metric.key]), figure_with_interval(metric, drawn))
        for row in comparison.rows
        if (drawn := comparison.shuffled.get(row.policy)) is not None
    ]
    about = (
        "Left: every date in order, with intervals that allow for questions which share the luck of a date and for "
        "outcomes which overlap. Right: questions drawn at random, with the interval of independent draws, as most "
        "evaluations are published. It is too narrow wherever questions are related."
    )
    table = Table((metric.label, "consecutive days", "shuffled sample"), rows)
    return Part("Consecutive days and a shuffled sample", [about], tables=[table])


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
        text, is_equal = f"label: {trace.label}; answer: {trace.action}", trace.label == trace.action
    elif mark is None:
        return "answered", "tag"
    else:
        text, is_equal = "counted as correct" if mark > 0 else "not counted as correct", mark > 0
    return text, "tag equal" if is_equal else "tag other"


# from a run folder -------------------------------------------------------------------------------


def report_run(run_folder: Path, console: Console) -> Path:
    """Write ``report.html`` from the files of a run folder, print the tables, and return the page's path.

    A RunError if neither an evaluation nor a leaderboard has finished, or their files cannot be read.
    """
    from tradeschool.evaluate.leaderboard.results import LEADERBOARD

    if stage_folders(run_folder, LEADERBOARD):
        return report_leaderboard(run_folder, console, tables=True)
    if evaluated := stage_folders(run_folder, COMPARISON):
        return report_evaluation(run_folder, evaluated[-1], console)
    stages = [stage["stage"] for stage in manifests.read(run_folder).recipe.get("stages", [])]
    if planned := [stage for stage in ("evaluate", "leaderboard") if stage in stages]:
        raise RunError(
            f"{run_folder}: no {' or '.join(planned)} stage has finished, so there is nothing to report. "
            f"Finish the run with: tradeschool resume {run_folder}"
        )
    raise RunError(
        f"{run_folder}: its recipe has the stages {', '.join(stages) or '(none)'}, and a report needs an evaluation or "
        "a leaderboard. Add the stage evaluate or leaderboard to the recipe, and start a new run."
    )


def report_evaluation(run_folder: Path, folder: Path, console: Console) -> Path:
    """The same for an evaluate stage that has finished; ``folder`` is the stage's."""
    comparison, figures = Comparison.read(folder / COMPARISON), folder / FIGURES
    manifest, training = manifests.read(run_folder), training_metrics(run_folder)
    warnings = training_warnings(training, manifest.recipe.get("task", {}).get("weights", {}))
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
    from tradeschool.evaluate.leaderboard.console import print_board
    from tradeschool.evaluate.leaderboard.report import write_run_report

    path = run_folder / REPORT
    for board, section in write_run_report(run_folder, path, manifests.read(run_folder), training_metrics(run_folder)):
        if tables:
            print_board(console, board)
        print_summary(console, section.headline, section.warnings)
    return path


def training_metrics(run_folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The metrics that every stage of a run recorded in training, by the stage's name, in order."""
    from tradeschool.train.logging import METRICS, read_metrics

    folders = stage_folders(run_folder, METRICS)
    return {folder.name.partition("-")[2]: read_metrics(folder / METRICS) for folder in folders}


def _samples(folder: Path, comparison: Comparison) -> list[Trace]:
    """Answers of the last model over all dates; half of them right, where the task says which are."""
    models = [row for row in comparison.rows if row.kind in MODELS]
    path = folder / traces_name(models[-1].policy, models[-1].kind) if models else folder / "none"
    traces = list(read_traces(path)) if path.exists() else []
    halves = [[trace for trace in traces if trace.metrics.get(CORRECT) == mark] for mark in (1.0, 0.0)]
    groups = halves if any(halves) else [traces]
    return [
        group[at]
        for group in groups
        for at in np.unique(np.linspace(0, len(group) - 1, SAMPLES // len(groups)).astype(int))
        if group
    ]
