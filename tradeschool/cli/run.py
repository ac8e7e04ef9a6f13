"""The commands on recipes and runs: ``run``, ``resume``, ``compare``, ``report`` and ``signal``."""

import csv
import dataclasses
import json
import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tradeschool.cli import options
from tradeschool.errors import RunError, TradeschoolError

if TYPE_CHECKING:
    from tradeschool.api import Decision, Run

SIGNAL_COLUMNS = ("model", "reasoning", "error")


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML file).")],
    sets: options.Sets = None,
    out: Annotated[Path | None, typer.Option(help="The run folder, instead of runs/<recipe name>/<time>.")] = None,
    open_report: Annotated[
        bool, typer.Option("--open", help="Open the report in a browser at the end, if there is a display.")
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Train once with each of these seeds (0,1,2 or 0-4), and show the spread."),
    ] = None,
) -> None:
    """Run a recipe: train, evaluate, report.

    Examples:

      tradeschool run recipes/demo.yaml

      tradeschool run recipes/demo.yaml --set seed=3 --set stages.gvpo.trl.learning_rate=5e-4

      tradeschool run recipes/stocks.yaml --set market.path=prices/ --out runs/mine

      tradeschool run recipes/demo.yaml --seeds 0-4
    """
    from tradeschool import pipeline
    from tradeschool.config import recipe as recipes
    from tradeschool.run_folder import REPORT

    if seeds is not None:
        from tradeschool import seeds as several

        if any(option.partition("=")[0].strip() == "seed" for option in sets or ()):
            raise TradeschoolError("--seeds sets the recipe's seed: remove --set seed=...")
        if open_report:
            raise TradeschoolError("--open opens one report, and --seeds makes several: remove one of the two.")
        given = several.parse_seeds(seeds)
        if several.start(recipes.read(recipe, sets or ()), given, out, Console()).failed:
            raise typer.Exit(1)
        return
    folder = pipeline.run(recipes.read(recipe, sets or ()), out, Console())
    # Not where the only browser would be one in the terminal.
    has_display = sys.platform == "darwin" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    if open_report and has_display and (path := folder / REPORT).exists():
        webbrowser.open(path.resolve().as_uri())


def resume(
    run: options.Run,
    sets: options.Sets = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Go on with this recipe. By default the run folder's is used.")
    ] = None,
) -> None:
    """Resume a run that was stopped or killed or has failed, or the runs of several seeds.

    Finished stages are kept. Stages that have not finished may be changed; one that had begun then begins again. If
    anything else in the recipe differs, or the data, the run is refused, with a list of what differs.

    Examples:

      tradeschool resume runs/demo/latest

      tradeschool resume runs/demo/latest --set stages.evaluate.max_new_tokens=48
    """
    from tradeschool import pipeline, run_folder
    from tradeschool import seeds as several
    from tradeschool.config import recipe as recipes

    if (folder := several.find(run)) is not None:
        if sets or recipe:
            raise RunError(
                f"{folder} holds the runs of several seeds. Change the recipe of one at a time, with --set or --recipe "
                "and the folder of its run."
            )
        if several.resume(folder, Console()).failed:
            raise typer.Exit(1)
        return
    folder = run_folder.find(run)
    own = recipes.read(recipe or folder / run_folder.RECIPE, sets or ()) if recipe or sets else None
    pipeline.resume(folder, own, Console())


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or recipe names for their latest runs.")
    ],
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="PATH", help="The page. Default: compare.html in the first run's folder."),
    ] = None,
) -> None:
    """Show the results of several runs side by side: a table, and a page with plots.

    The runs may have trained different models, and must have used the same evaluation.

    Example:

      tradeschool compare runs/demo/20260101-090000 runs/demo/latest
    """
    from tradeschool import run_folder
    from tradeschool.evaluate.compare_runs import compare_runs

    compare_runs([run_folder.find(run) for run in runs], Console(), report)


def report(run: options.Run) -> None:
    """Write report.html again from the files of a run folder, and print the table.

    Example:

      tradeschool report demo
    """
    from tradeschool import run_folder
    from tradeschool.evaluate.report import report_run

    folder, console = run_folder.find(run), Console()
    with run_folder.locked(folder):
        path = report_run(folder, console)
    options.say(console, f"Report: {path}")


def signal(
    run: options.Run,
    date: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="Decide after the close of this date (YYYY-MM-DD). Default: the newest."),
    ] = None,
    tickers: Annotated[
        str | None, typer.Option(help="Tickers, separated by commas. Default: all with a bar on that date.")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="A file or folder of prices. Default: the market of the run.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The stage that trained the model, or base. Default: the last one.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print a trained model's decision and reasoning for each ticker, on the newest date of a market.

    The date is the last one whose prices the model was shown. A trade is possible at the next open. --csv writes the
    format that tradeschool judge reads, for one date: join the files of at least 12 dates whose outcomes are known.

    Examples:

      tradeschool signal demo

      tradeschool signal runs/stocks/latest --prices prices/ --tickers AAPL,MSFT

      tradeschool signal demo --csv > decisions.csv
    """
    from tradeschool.api import load_run
    from tradeschool.progress import status

    if as_csv and as_json:
        raise TradeschoolError("--csv and --json: give only one of them.")
    names = [name.strip() for name in tickers.split(",") if name.strip()] if tickers else None
    loaded, errors = load_run(run), Console(stderr=True)
    with status(errors, "Asking the model"):
        decisions = loaded.decide_all(names, date, model=model, prices=prices)
    if caveat := _caveat(loaded, decisions, prices):
        options.say(errors, f"Note: {caveat}")
    word = "rating" if loaded.recipe.task_class.name == "rating" else "action"
    if as_json:
        typer.echo(json.dumps(_rows(decisions, word), indent=2, ensure_ascii=False, default=str))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, ("date", "ticker", word, *SIGNAL_COLUMNS), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(_rows(decisions, word))
    else:
        _print_table(Console(), decisions, word)


def _caveat(run: "Run", decisions: list["Decision"], prices: Path | None) -> str:
    """Whether the model was trained on this date, or on a market of another kind."""
    if prices is not None:
        simulated = run.recipe.source == "synthetic"
        return "the model was trained on a simulated market, not on real prices." if simulated else ""
    last = run.last_training_date
    if decisions and decisions[0].date <= last:
        return f"{decisions[0].date} is in the training part of the run, which ends on {last}."
    return ""


def _rows(decisions: list["Decision"], word: str) -> list[dict[str, Any]]:
    """The decisions with their action under the task's word for it."""
    found = [dataclasses.asdict(one) for one in decisions]
    return [{word if key == "action" else key: value for key, value in row.items()} for row in found]


def _print_table(console: Console, decisions: list["Decision"], word: str) -> None:
    date = decisions[0].date if decisions else "no date"
    table = Table("ticker", word, "reasoning", title=f"Decisions after the close of {date}")
    for one in decisions:
        action = Text("unreadable", style="red") if one.action is None else Text(one.action)
        table.add_row(Text(one.ticker), action, Text(one.reasoning))
    console.print(table)
    if decisions:
        console.print(f"Model: {decisions[0].model}. A trade is possible at the next open.", highlight=False)
