"""Rows of several runs side by side, where they sat the same exam."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tradeschool.errors import RunError
from tradeschool.evaluate.result import Comparison, ExamFacts, Row
from tradeschool.evaluate.table import print_warnings, row_table

FILE_NAME = "comparison.json"
# Facts whose difference makes two exams two exams, and how to say so.
SAME = {
    "data_hash": "market data (its hash)",
    "dates": "exam dates",
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
        "The seed draws the tickers that are asked: give both the same seed, or leave evaluate.tickers out to ask all."
    ),
    "score": "Give both the same task version, and in task the same measure, risk_aversion and horizons.",
}


@dataclass(frozen=True)
class Runs:
    """``rows`` of all runs with the run's name; a row that is equal in all runs (hold ...) stands once, as "all"."""

    names: list[str]
    comparisons: list[Comparison]
    rows: list[tuple[str, Row]]
    warnings: list[str]


def compare_runs(folders: Sequence[Path], console: Console) -> Runs:
    """Print the rows of several runs side by side, and return them; raises as :func:`read_runs` does."""
    runs = read_runs(folders)
    console.print(row_table(f"{len(runs.names)} runs on the same exam", runs.comparisons[0], runs.rows, console))
    print_warnings(console, runs.warnings)
    return runs


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read ``comparison.json`` of each run folder and put the rows side by side.

    Raises:
        RunError: fewer than two runs, a folder without one comparison, or another exam (other data,
            dates, questions, score or costs): figures of different exams say nothing about each other.
    """
    if len(folders) < 2:
        raise RunError(f"Nothing to compare: {len(folders)} run given. Name at least two run folders.")
    comparisons = [read_comparison(folder) for folder in folders]
    names = _names(folders)
    for name, comparison in zip(names[1:], comparisons[1:], strict=True):
        _require_same(names[0], comparisons[0].exam, name, comparison.exam)
    return Runs(names, comparisons, _rows(names, comparisons), _warnings(names, comparisons))


def read_comparison(folder: Path) -> Comparison:
    """The comparison in a run folder: its own ``comparison.json``, or the only one in a stage's folder.

    Raises:
        RunError: there is none, there are several, or it cannot be read.
    """
    if not folder.exists():
        raise RunError(f"{folder}: no such run folder. Give the path of a folder that a run has written.")
    own = folder if folder.is_file() else folder / FILE_NAME
    found = [own] if own.is_file() else sorted(folder.glob(f"**/{FILE_NAME}"))
    if not found:
        raise RunError(f"{folder}: no {FILE_NAME}; the run has not finished its evaluate stage. Resume it first.")
    if len(found) > 1:
        listed = ", ".join(str(path.parent.relative_to(folder)) for path in found)
        raise RunError(f"{folder}: several comparisons ({listed}). Name one of these folders.")
    try:
        return Comparison.from_json(found[0].read_text(encoding="utf-8"), found[0])
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{found[0]}: cannot be read ({error}). Write it anew with the evaluate stage.") from error


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest endings of the paths that tell all of them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise RunError("The same run folder is given twice. Name each run once.")


def _require_same(first: str, facts: ExamFacts, second: str, others: ExamFacts) -> None:
    for key, label in SAME.items():
        ours, theirs = getattr(facts, key), getattr(others, key)
        if ours == theirs:
            continue
        if key == "dates":
            ours, theirs = (f"{days[0]} to {days[-1]} ({len(days)})" for days in (ours, theirs))
        raise RunError(
            f"{first} and {second} sat different exams: {label} {ours} against {theirs}. {CURES.get(key, CURE)}"
        )


def _warnings(names: list[str], comparisons: list[Comparison]) -> list[str]:
    warnings = []
    if len({c.seed for c in comparisons}) > 1:
        seeds = ", ".join(f"{name}: {c.seed}" for name, c in zip(names, comparisons, strict=True))
        warnings.append(f"The runs differ in seed ({seeds}): part of what differs between them is chance.")
    if len({(c.level, c.draws) for c in comparisons}) > 1:
        warnings.append("The runs differ in level or number of draws: their intervals are not of one kind.")
    return warnings


def _rows(names: list[str], comparisons: list[Comparison]) -> list[tuple[str, Row]]:
    rows: list[tuple[str, Row]] = []
    for policy in dict.fromkeys(row.policy for c in comparisons for row in c.rows):
        held = [(name, c.row(policy)) for name, c in zip(names, comparisons, strict=True) if c.has(policy)]
        distinct = {(row.metrics["score"].value, tuple(row.equity_T)) for _, row in held}
        rows += [("all", held[0][1])] if len(held) == len(names) and len(distinct) == 1 else held
    return rows
