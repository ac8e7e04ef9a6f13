"""The commands. Nothing heavy is imported before a command needs it, so ``tradeschool --help`` is instant."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

import tradeschool
from tradeschool.data_commands import data
from tradeschool.errors import TradeschoolError
from tradeschool.leaderboard_command import leaderboard
from tradeschool.play_command import play
from tradeschool.prepare_command import prepare
from tradeschool.serve_command import serve

EXIT_PROBLEM = 2
EXIT_INTERRUPTED = 130


class _Commands(typer.core.TyperGroup):
    """Ends every command alike: a problem in one red message, Ctrl-C with how to go on, a defect with its traceback."""

    def invoke(self, ctx: Any) -> Any:
        console = Console(stderr=True)
        try:
            return super().invoke(ctx)
        except TradeschoolError as error:
            _say(console, str(error), "bold red")
            _say_notes(console, error)
            raise typer.Exit(EXIT_PROBLEM) from error
        except KeyboardInterrupt as error:
            _say(console, "\nInterrupted.", "bold yellow")
            _say_notes(console, error)
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except Exception as error:
            if not isinstance(error, typer.Exit | typer.Abort) and not hasattr(error, "exit_code"):
                error.add_note(
                    "This is a defect in tradeschool, or in a library below it: please report it with the text above."
                )
            raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data")
app.command()(prepare)
app.command()(play)
app.command()(serve)
app.command()(leaderboard)

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run folder (runs/demo/latest), or a recipe's name for its latest run (demo)."
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tradeschool {tradeschool.__version__}")
        raise typer.Exit


@app.callback()
def commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Train language models to trade, and see honestly whether they learned anything.

    Start with: [bold]tradeschool run recipes/demo.yaml[/bold]
    """


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe: a YAML file.")],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the recipe. May be given many times."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder to make, instead of runs/<recipe name>/<time>.")
    ] = None,
    open_report: Annotated[
        bool, typer.Option("--open", help="Open the report in the browser at the end, where there is a screen.")
    ] = False,
) -> None:
    """Run a recipe: train, evaluate, report.

    Examples:

      tradeschool run recipes/demo.yaml

      tradeschool run recipes/demo.yaml --set seed=3 --set stages.grpo.trl.learning_rate=1e-3

      tradeschool run recipes/stocks.yaml --set market.path=prices/ --out runs/mine
    """
    from tradeschool import pipeline
    from tradeschool import recipe as recipes

    folder = pipeline.run(recipes.read(recipe, sets or ()), out, Console())
    if open_report:
        _open(folder)


def _open(folder: Path) -> None:
    """Show the report; without a screen a browser would at best be one of the terminal's, in everybody's way."""
    from tradeschool.run_folder import REPORT

    path = folder / REPORT
    if path.exists() and (sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(path.resolve().as_uri())


@app.command()
def resume(
    run: RunArgument,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Check that the run was started with this recipe. Without it, the run folder's own is used."),
    ] = None,
) -> None:
    """Go on with a run that was stopped or killed.

    Finished stages are kept. A run whose recipe or data have changed is refused, naming what differs.

    Example:

      tradeschool resume runs/demo/latest
    """
    from tradeschool import pipeline, run_folder
    from tradeschool import recipe as recipes

    folder = run_folder.find(run)
    pipeline.resume(folder, recipes.read(recipe) if recipe else None, Console())


@app.command()
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or recipes' names for their latest runs.")
    ],
) -> None:
    """Lay the results of several runs side by side.

    Example:

      tradeschool compare runs/demo/20260101-090000 runs/demo/latest
    """
    from tradeschool import run_folder

    folders = [run_folder.find(run) for run in runs]

    from tradeschool.evaluate.compare_runs import compare_runs

    compare_runs(folders, Console())


@app.command()
def report(run: RunArgument) -> None:
    """Write report.html again from what is in the run folder, and print the table.

    Example:

      tradeschool report demo
    """
    from tradeschool import run_folder

    folder, console = run_folder.find(run), Console()

    from tradeschool.evaluate.run_report import report_run

    with run_folder.locked(folder):
        path = report_run(folder, console)
    console.print(Text(f"Report: {path}"), soft_wrap=True)


def _say(console: Console, text: str, style: str) -> None:
    console.print(Text(text, style=style), soft_wrap=True)


def _say_notes(console: Console, error: BaseException) -> None:
    for note in getattr(error, "__notes__", []):
        _say(console, note, "")


def main() -> None:
    """The ``tradeschool`` command."""
    app()
