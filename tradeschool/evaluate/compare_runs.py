"""Rows of several runs side by side, and paired differences between them, if the runs used the same evaluation."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tradeschool import manifest as manifests
from tradeschool.config.recipe import differences
from tradeschool.errors import RunError
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
from tradeschool.market.panel import Floats
from tradeschool.run_folder import EARLIER

FILE_NAME = "comparison.json"
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
CURE = "Evaluate both on the same data, dates and costs, then compare."
CURES = {
    "questions_hash": "evaluate.seed draws the tickers that are asked about: give both the same.",
    "score": "Give both the same task version, and in task the same eval_score, risk_aversion and horizons.",
}
EVALUATED = ("market", "split", "task")
"""Sections of a recipe that an evaluation depends on, besides the evaluate stage itself."""


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


def compare_runs(folders: Sequence[Path], console: Console) -> Runs:
    """Print the rows of several runs side by side, and return them; raises as :func:`read_runs` does."""
    runs = read_runs(folders)
    first = runs.comparisons[0]
    console.print(rows_table(f"{len(runs.names)} runs with the same evaluation", first, runs.rows, console))
    if runs.gaps:
        console.print(_gaps_table(runs))
        console.print(
            "The intervals cover the luck of the dates, not that of training: another training seed gives another "
            "model. See how much that matters with: tradeschool run RECIPE --seeds 0,1,2",
            highlight=False,
        )
    print_warnings(console, runs.warnings)
    return runs


def _gaps_table(runs: Runs) -> Table:
    first = runs.comparisons[0]
    keys = list(dict.fromkeys(key for _, _, gaps in runs.gaps for key in gaps))
    metrics = [MEAN_RETURN if key == MEAN_RETURN.key else first.metric(key) for key in keys]
    table = Table(title=Text(f"Paired differences from {runs.names[0]}"), box=box.SIMPLE_HEAD, pad_edge=False)
    table.caption = Text(
        f"over the same {len(first.evaluation.dates)} dates; [low, high]: {first.confidence:.0%} interval"
    )
    for name in ("run", "model", *(metric.label for metric in metrics)):
        table.add_column(Text(name))
    for run, what, gaps in runs.gaps:
        cells = [gap(metric, gaps[metric.key]) if metric.key in gaps else "-" for metric in metrics]
        table.add_row(*map(Text, (run, what, *cells)))
    return table


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read ``comparison.json`` of each run folder and put the rows side by side.

    Raises:
        RunError: fewer than two runs, a folder without one comparison, or different evaluations (other data,
            dates, questions, score or costs), whose figures cannot be compared.
    """
    if len(folders) < 2:
        raise RunError(f"{len(folders)} run given. Name at least two run folders to compare.")
    comparisons = [read_comparison(folder) for folder in folders]
    names = _names(folders)
    for folder, name, comparison in zip(folders[1:], names[1:], comparisons[1:], strict=True):
        if differ := _differing_facts(comparisons[0].evaluation, comparison.evaluation):
            keys = _differing_keys(folders[0], folder)
            raise RunError(f"{names[0]} and {name} differ in their evaluation: {differ}{keys}")
    gaps = [
        (name, what, found)
        for name, comparison in zip(names[1:], comparisons[1:], strict=True)
        for what, found in _gaps(comparisons[0], comparison)
    ]
    return Runs(names, comparisons, _rows(names, comparisons), _warnings(comparisons), _adjusted(gaps))


def _adjusted(gaps: list[Gap]) -> list[Gap]:
    """With p-values that are Holm's for all differences of the table together."""
    found = holm({(run, what, key): one.p_value for run, what, of in gaps for key, one in of.items()})
    return [
        (run, what, {k: one.model_copy(update={"p_value": found[run, what, k]}) for k, one in of.items()})
        for run, what, of in gaps
    ]


def read_comparison(folder: Path) -> Comparison:
    """The comparison in a run folder: its own ``comparison.json``, or the only one in a stage's folder.

    Raises:
        RunError: there is none, there are several, or it cannot be read.
    """
    if not folder.exists():
        raise RunError(f"{folder}: no such run folder. Give the folder of a run.")
    own = folder if folder.is_file() else folder / FILE_NAME
    inside = (path for path in sorted(folder.glob(f"**/{FILE_NAME}")) if EARLIER not in path.parts[-3:])
    found = [own] if own.is_file() else list(inside)
    if not found:
        raise RunError(f"{folder}: no {FILE_NAME}; the run has not finished its evaluate stage. Resume it first.")
    if len(found) > 1:
        listed = ", ".join(str(path.parent.relative_to(folder)) for path in found)
        raise RunError(f"{folder}: several comparisons ({listed}). Name one of these folders.")
    return Comparison.read(found[0])


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
        pair: tuple[object, object] = (getattr(ours, key), getattr(theirs, key))
        if pair[0] != pair[1]:
            if key == "dates":
                pair = _period(ours.dates), _period(theirs.dates)
            found[key] = f"{label} {pair[0]} against {pair[1]}"
    return f"{'; '.join(found.values())}. {CURES.get(next(iter(found)), CURE)}" if found else ""


def _period(dates: list[str]) -> str:
    return f"{dates[0]} to {dates[-1]} ({len(dates)})"


def _differing_keys(first: Path, second: Path) -> str:
    """The recipe keys that make two runs' evaluations differ, and how to make them the same."""
    if not all((folder / manifests.FILE).is_file() for folder in (first, second)):
        return ""
    lines = differences(_evaluated(first), _evaluated(second))
    if not lines:
        return ""
    key, _, change = lines[0].partition(": ")
    listed = "\n".join(f"  {line}" for line in lines)
    return (
        f"\nThese recipe keys differ (first -> second):\n{listed}\n"
        f"Start the second run again with the first one's values, such as --set {key}={change.partition(' -> ')[0]}"
    )


def _evaluated(run: Path) -> dict[str, Any]:
    """What a run's evaluation depends on, of its recipe."""
    recipe = manifests.read(run).recipe
    stages = [{**stage, "models": None} for stage in recipe["stages"] if stage["stage"] == "evaluate"]
    return {**{key: recipe[key] for key in EVALUATED}, "stages": stages}


def _gaps(first: Comparison, second: Comparison) -> Iterator[tuple[str, dict[str, Difference]]]:
    """Paired differences of the models that two runs have in common; those without any difference are left out."""
    ours, theirs = ([row for row in one.rows if row.kind in MODELS] for one in (first, second))
    pairs = [(a, b) for b in theirs for a in ours if a.policy == b.policy or a.kind == b.kind == "base"]
    if ours and theirs and ours[-1].policy != theirs[-1].policy:
        pairs.append((ours[-1], theirs[-1]))
    few = any(row.verdict == "too few dates" for row in first.rows)
    for a, b in pairs:
        found = {
            key: _difference(key, (first, a), (second, b), few) for key in _daily(first, a) if key in _daily(second, b)
        }
        if any(one.interval.value for one in found.values()):
            yield b.policy if a.policy == b.policy else f"{b.policy} minus {a.policy}", found


def _daily(comparison: Comparison, row: Row) -> dict[str, tuple[Floats, Floats]]:
    """By metric, what its mean over all dates is a ratio of, on each date."""
    found = {}
    for key, sums in row.daily.items():
        best = next((other for other in comparison.rows if other.kind == "best"), None)
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


def _difference(key: str, first: tuple[Comparison, Row], second: tuple[Comparison, Row], few: bool) -> Difference:
    """Of one metric, second minus first, paired by date; without an interval where the dates are too few."""
    comparison, metric = first[0], MEAN_RETURN if key == MEAN_RETURN.key else first[0].metric(key)
    ours, theirs = _daily(*first)[key], _daily(*second)[key]
    horizon = 1 if key == MEAN_RETURN.key else comparison.evaluation.horizon
    change = ratio(*theirs, horizon) - ratio(*ours, horizon)
    interval = Interval(value=change.value) if few else change.interval(comparison.confidence)
    return Difference(
        policy=second[1].policy,
        against=first[1].policy,
        metric=key,
        interval=interval,
        p_value=math.nan if few else change.p_value(),
        better=metric.better,
        confidence=comparison.confidence,
    )


def _warnings(comparisons: list[Comparison]) -> list[str]:
    if len({c.confidence for c in comparisons}) > 1:
        return ["The runs differ in the confidence level of their intervals, which are not comparable."]
    return []


def _rows(names: list[str], comparisons: list[Comparison]) -> list[tuple[str, Row]]:
    rows: list[tuple[str, Row]] = []
    for policy in dict.fromkeys(row.policy for c in comparisons for row in c.rows):
        held = [(name, c.row(policy)) for name, c in zip(names, comparisons, strict=True) if c.has(policy)]
        primary = comparisons[0].primary
        distinct = {(row.metrics[primary].value, tuple(row.equity_T)) for _, row in held}
        rows += [("all", held[0][1])] if len(held) == len(names) and len(distinct) == 1 else held
    return rows
