"""Rows of several runs side by side, and paired differences between them, if the runs used the same evaluation."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from tradeschool import manifest as manifests
from tradeschool.config.recipe import differences
from tradeschool.errors import RunError
from tradeschool.evaluate.compare_page import RunFacts, write_comparison_page
from tradeschool.evaluate.comparison import (
    MEAN_RETURN,
    MODELS,
    Comparison,
    Difference,
    EvaluationFacts,
    Interval,
    Row,
    gap,
)
from tradeschool.evaluate.console import print_warnings, rows_table
from tradeschool.evaluate.inference import holm, ratio
from tradeschool.evaluate.report import COMPARISON, FIGURES, training_metrics
from tradeschool.evaluate.tables import Table, terminal_table
from tradeschool.market.panel import Floats
from tradeschool.run_folder import stage_folders

# Facts that two evaluations must share, and their names in messages.
SAME = {
    "data_hash": "market data (its hash)",
    "dates": "dates",
    "questions": "number of questions",
    "questions_hash": "questions asked (the hash of their dates and tickers)",
    "score": "score",
    "horizon": "horizon",
    "commission_bps": "commission",
    "slippage_bps": "slippage",
    "allow_short": "short selling",
}
PAGE = "compare.html"
CURE = "Evaluate both on the same data, dates and costs, then compare."
CURES = {
    "questions_hash": "evaluate.seed draws the tickers that are asked about: give both the same.",
    "score": "Give both the same task version, and in task the same eval_score, risk_aversion and horizons.",
}
Gap = tuple[str, str, dict[str, Difference]]


@dataclass(frozen=True)
class Runs:
    """``rows`` of all runs with the run's name. A row that is equal in all runs (hold ...) appears once, as "all".

    ``gaps`` holds, for each model of a later run, its run, what is compared, and the paired differences from the first
    run's model of that name, by metric. The last models of two runs are compared whatever their names.
    """

    names: list[str]
    comparisons: list[Comparison]
    rows: list[tuple[str, Row]]
    warnings: list[str]
    gaps: list[Gap]


def compare_runs(folders: Sequence[Path], console: Console, report: Path | None = None) -> Runs:
    """Print the rows of several runs side by side, write the page, and return the rows.

    Args:
        folders: of the runs.
        console: where the tables are printed.
        report: the page; by default ``compare.html`` in the first run's folder.

    Raises:
        RunError: as :func:`read_runs`; or the page cannot be written.
    """
    runs = read_runs(folders)
    first = runs.comparisons[0]
    console.print(rows_table(f"{len(runs.names)} runs with the same evaluation", first, runs.rows, console))
    table = _gap_table(runs)
    if runs.gaps:
        caption = f"over the same {len(first.evaluation.dates)} dates; [low, high]: {first.confidence:.0%} interval"
        console.print(terminal_table(table, f"Paired differences from {runs.names[0]}", caption))
        console.print(
            "The intervals cover the luck of the dates, not that of training: another training seed gives another "
            "model. See how much that matters with: tradeschool run RECIPE --seeds 0,1,2",
            highlight=False,
        )
    print_warnings(console, runs.warnings)
    path = report or folders[0] / PAGE
    facts = [_facts_of(*one) for one in zip(runs.names, folders, runs.comparisons, strict=True)]
    write_comparison_page(path, facts, runs.rows, table, runs.warnings)
    console.print(f"Page: {path}", soft_wrap=True, highlight=False, markup=False)
    return runs


def _gap_table(runs: Runs) -> Table:
    first = runs.comparisons[0]
    keys = dict.fromkeys(key for _, _, gaps in runs.gaps for key in gaps)
    metrics = [MEAN_RETURN if key == MEAN_RETURN.key else first.metric(key) for key in keys]
    rows = [
        (run, what, *(gap(metric, gaps[metric.key]) if metric.key in gaps else "-" for metric in metrics))
        for run, what, gaps in runs.gaps
    ]
    return Table(("run", "model", *(metric.label for metric in metrics)), rows)


def _facts_of(name: str, folder: Path, comparison: Comparison) -> RunFacts:
    manifest = manifests.read(folder) if (folder / manifests.FILE).is_file() else None
    evaluated = stage_folders(folder, FIGURES)
    figures = json.loads((evaluated[-1] / FIGURES).read_text(encoding="utf-8")) if evaluated else []
    pairs = [(caption, svg) for caption, svg in figures]
    return RunFacts(name, comparison, manifest, training_metrics(folder) if manifest else {}, pairs)


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read ``comparison.json`` of each run folder and put the rows side by side.

    A RunError if there are fewer than two runs, a folder has no comparison, or the evaluations differ (in data,
    dates, questions, score or costs), so that their figures cannot be compared.
    """
    if len(folders) < 2:
        raise RunError(f"{len(folders)} run given. Name at least two run folders to compare.")
    comparisons, names = [read_comparison(folder) for folder in folders], _names(folders)
    first, gaps = comparisons[0], []
    for folder, name, other in zip(folders[1:], names[1:], comparisons[1:], strict=True):
        if differ := _differing_facts(first.evaluation, other.evaluation):
            keys = _differing_keys(folders[0], folder)
            raise RunError(f"{names[0]} and {name} differ in their evaluation: {differ}{keys}")
        gaps += [(name, what, found) for what, found in _gaps(first, other)]
    p_values = holm({(run, what, key): one.p_value for run, what, of in gaps for key, one in of.items()})
    judged = [
        (run, what, {key: one.model_copy(update={"p_value": p_values[run, what, key]}) for key, one in of.items()})
        for run, what, of in gaps
    ]
    differs = any(one.confidence != first.confidence for one in comparisons)
    warnings = (
        ["The runs differ in the confidence level of their intervals, which are not comparable."] if differs else []
    )
    rows: list[tuple[str, Row]] = []
    for policy in dict.fromkeys(row.policy for one in comparisons for row in one.rows):
        held = [(name, one.row(policy)) for name, one in zip(names, comparisons, strict=True) if one.has(policy)]
        distinct = {(row.metrics[first.primary].value, tuple(row.equity_T)) for _, row in held}
        rows += [("all", held[0][1])] if len(held) == len(names) and len(distinct) == 1 else held
    return Runs(names, comparisons, rows, warnings, judged)


def read_comparison(folder: Path) -> Comparison:
    """The comparison of a run's last evaluation, or of a folder with a ``comparison.json`` of its own."""
    found = [folder] if (folder / COMPARISON).is_file() else stage_folders(folder, COMPARISON)
    if not found:
        why = "no finished evaluate stage. Resume the run first" if folder.exists() else "no such run folder"
        raise RunError(f"{folder}: {why}.")
    return Comparison.read(found[-1] / COMPARISON)


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or their paths where two have the same name."""
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise RunError("The same run folder is given twice. Name each run once.")
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _differing_facts(ours: EvaluationFacts, theirs: EvaluationFacts) -> str:
    """Every fact in which two evaluations differ, and the cure of the first; empty where they are the same."""
    found = {}
    for key, label in SAME.items():
        pair = [getattr(facts, key) for facts in (ours, theirs)]
        if pair[0] != pair[1]:
            if key == "dates":
                pair = [f"{dates[0]} to {dates[-1]} ({len(dates)})" for dates in pair]
            found[key] = f"{label} {pair[0]} against {pair[1]}"
    return f"{'; '.join(found.values())}. {CURES.get(next(iter(found)), CURE)}" if found else ""


def _differing_keys(first: Path, second: Path) -> str:
    """The recipe keys that make two runs' evaluations differ, and how to make them the same."""
    if not all((folder / manifests.FILE).is_file() for folder in (first, second)):
        return ""
    evaluated = []
    for folder in (first, second):
        recipe = manifests.read(folder).recipe
        stages = [{**stage, "models": None} for stage in recipe["stages"] if stage["stage"] == "evaluate"]
        evaluated.append({**{key: recipe[key] for key in ("market", "split", "task")}, "stages": stages})
    lines = differences(*evaluated)
    if not lines:
        return ""
    key, _, change = lines[0].partition(": ")
    listed = "\n".join(f"  {line}" for line in lines)
    return (
        f"\nThese recipe keys differ (first -> second):\n{listed}\n"
        f"Start the second run again with the first one's values, such as --set {key}={change.partition(' -> ')[0]}"
    )


def _gaps(first: Comparison, second: Comparison) -> Iterator[tuple[str, dict[str, Difference]]]:
    """Paired differences of the models that two runs have in common; those without any difference are left out."""
    models = [[row for row in one.rows if row.kind in MODELS] for one in (first, second)]
    pairs = [(a, b) for b in models[1] for a in models[0] if a.policy == b.policy or a.kind == b.kind == "base"]
    if all(models) and models[0][-1].policy != models[1][-1].policy:
        pairs.append((models[0][-1], models[1][-1]))
    few = any(row.verdict == "too few dates" for row in first.rows)
    for a, b in pairs:
        ours, theirs = _daily(first, a), _daily(second, b)
        found = {}
        for key in (key for key in ours if key in theirs):
            metric = MEAN_RETURN if key == MEAN_RETURN.key else first.metric(key)
            horizon = 1 if metric is MEAN_RETURN else first.evaluation.horizon
            change = ratio(*theirs[key], horizon) - ratio(*ours[key], horizon)
            found[key] = Difference(
                policy=b.policy,
                against=a.policy,
                metric=key,
                interval=Interval(value=change.value) if few else change.interval(first.confidence),
                p_value=math.nan if few else change.p_value(),
                better=metric.better,
                confidence=first.confidence,
            )
        if any(one.interval.value for one in found.values()):
            yield b.policy if a.policy == b.policy else f"{b.policy} minus {a.policy}", found


def _daily(comparison: Comparison, row: Row) -> dict[str, tuple[Floats, Floats]]:
    """By metric, what its mean over all dates is a ratio of, on each date."""
    found = {}
    best = next((other for other in comparison.rows if other.kind == "best"), None)
    for key, sums in row.daily.items():
        if comparison.metric(key).aggregate != "share_of_oracle":
            found[key] = np.array(sums.sum_T), np.array(sums.count_T, float)
        elif best is not None and key in best.daily:
            found[key] = np.array(sums.sum_T), np.array(best.daily[key].sum_T)
    if row.equity_T:
        equity_T = np.array([1.0, *row.equity_T])
        with np.errstate(divide="ignore", invalid="ignore"):
            return_T = np.nan_to_num(equity_T[1:] / equity_T[:-1] - 1)
        found[MEAN_RETURN.key] = return_T, np.ones(len(return_T))
    return found
