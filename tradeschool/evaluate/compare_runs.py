"""Rows of several runs side by side, if the runs used the same evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tradeschool.errors import RunError
from tradeschool.evaluate.comparison import Comparison, EvaluationFacts, Row
from tradeschool.evaluate.console import print_warnings, rows_table

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
    "questions_hash": (
        "The seed draws the tickers that are asked about: give both the same seed, or remove evaluate.tickers."
    ),
    "score": "Give both the same task version, and in task the same eval_score, risk_aversion and horizons.",
}


@dataclass(frozen=True)
class Runs:
    """``rows`` of all runs with the run's name. A row that is equal in all runs (hold ...) appears once, as "all"."""

    names: list[str]
    comparisons: list[Comparison]
    rows: list[tuple[str, Row]]
    warnings: list[str]


def compare_runs(folders: Sequence[Path], console: Console) -> Runs:
    """Print the rows of several runs side by side, and return them; raises as :func:`read_runs` does."""
    runs = read_runs(folders)
    title = f"{len(runs.names)} runs with the same evaluation"
    console.print(rows_table(title, runs.comparisons[0], runs.rows, console))
    print_warnings(console, runs.warnings)
    return runs


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
    for name, comparison in zip(names[1:], comparisons[1:], strict=True):
        _require_same(names[0], comparisons[0].evaluation, name, comparison.evaluation)
    return Runs(names, comparisons, _rows(names, comparisons), _warnings(names, comparisons))


def read_comparison(folder: Path) -> Comparison:
    """The comparison in a run folder: its own ``comparison.json``, or the only one in a stage's folder.

    Raises:
        RunError: there is none, there are several, or it cannot be read.
    """
    if not folder.exists():
        raise RunError(f"{folder}: no such run folder. Give the folder of a run.")
    own = folder if folder.is_file() else folder / FILE_NAME
    found = [own] if own.is_file() else sorted(folder.glob(f"**/{FILE_NAME}"))
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


def _require_same(first: str, facts: EvaluationFacts, second: str, others: EvaluationFacts) -> None:
    for key, label in SAME.items():
        ours, theirs = getattr(facts, key), getattr(others, key)
        if ours == theirs:
            continue
        if key == "dates":
            ours, theirs = (f"{days[0]} to {days[-1]} ({len(days)})" for days in (ours, theirs))
        raise RunError(
            f"{first} and {second} differ in their evaluation: {label} {ours} against {theirs}. {CURES.get(key, CURE)}"
        )


def _warnings(names: list[str], comparisons: list[Comparison]) -> list[str]:
    warnings = []
    if len({c.seed for c in comparisons}) > 1:
        seeds = ", ".join(f"{name}: {c.seed}" for name, c in zip(names, comparisons, strict=True))
        warnings.append(f"The runs differ in seed ({seeds}): part of the difference between them is chance.")
    if len({(c.level, c.draws) for c in comparisons}) > 1:
        warnings.append("The runs differ in level or number of draws: their intervals are not comparable.")
    return warnings


def _rows(names: list[str], comparisons: list[Comparison]) -> list[tuple[str, Row]]:
    rows: list[tuple[str, Row]] = []
    for policy in dict.fromkeys(row.policy for c in comparisons for row in c.rows):
        held = [(name, c.row(policy)) for name, c in zip(names, comparisons, strict=True) if c.has(policy)]
        primary = comparisons[0].primary
        distinct = {(row.metrics[primary].value, tuple(row.equity_T)) for _, row in held}
        rows += [("all", held[0][1])] if len(held) == len(names) and len(distinct) == 1 else held
    return rows
