"""The report of a run, whatever it ends in: an evaluation, or a leaderboard."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from tradeschool.errors import RunError
from tradeschool.manifest import Manifest, read

RESULTS = ("evaluate", "leaderboard")
"""Stages that a report tells of."""


def report_run(run_folder: Path, console: Console) -> Path:
    """Write ``report.html`` from what is in a run folder, print the tables, and give the page's path.

    Raises:
        RunError: neither an evaluation nor a leaderboard has finished, or what they left cannot be read.
    """
    from tradeschool.evaluate import stage
    from tradeschool.evaluate.leaderboard.reporting import has_leaderboard
    from tradeschool.run_folder import REPORT

    if has_leaderboard(run_folder):
        return report_leaderboard(run_folder, console, tables=True)
    manifest = read(run_folder)
    if not any(run_folder.glob(f"*/{stage.COMPARISON}")):
        raise RunError(_nothing(run_folder, manifest))
    stage.rebuild_report(run_folder, console)
    return run_folder / REPORT


def report_leaderboard(run_folder: Path, console: Console, *, tables: bool = False) -> Path:
    """The same for a run whose leaderboard has finished; without its tables where they stand on the screen already.

    Raises:
        RunError: what it left cannot be read.
    """
    from tradeschool.evaluate.leaderboard import reporting
    from tradeschool.evaluate.leaderboard.table import print_standings
    from tradeschool.evaluate.stage import training_metrics
    from tradeschool.evaluate.table import print_warnings
    from tradeschool.run_folder import REPORT

    path = run_folder / REPORT
    for section in reporting.report_run(run_folder, path, read(run_folder), training_metrics(run_folder)):
        if tables and section.board:
            print_standings(console, section.name, section.board.found)
        for line in section.headline:
            console.print(Text(line), soft_wrap=True)
        print_warnings(console, section.warnings)
    return path


def _nothing(run_folder: Path, manifest: Manifest) -> str:
    stages = [stage["stage"] for stage in manifest.recipe.get("stages", [])]
    planned = [stage for stage in stages if stage in RESULTS]
    if planned:
        return (
            f"{run_folder}: no {' or '.join(dict.fromkeys(planned))} stage has finished, so there is nothing to "
            f"report. Finish the run with: tradeschool resume {run_folder}"
        )
    return (
        f"{run_folder}: its recipe has the stages {', '.join(stages) or '(none)'}, and a report tells of an "
        "evaluation or a leaderboard. Add one of these to the recipe (stage: evaluate, or stage: leaderboard for the "
        "task 'trade'), and start a new run."
    )
