"""The ``tradeschool`` command: every subcommand, and how errors end it.

Nothing heavy is imported before a command needs it, so that ``tradeschool --help`` starts fast.
"""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

import tradeschool
from tradeschool.cli.data import data
from tradeschool.cli.env import play, serve
from tradeschool.cli.judge import judge
from tradeschool.cli.leaderboard import leaderboard
from tradeschool.cli.prepare import prepare
from tradeschool.cli.run import compare, report, resume, run, signal
from tradeschool.errors import TradeschoolError

EXIT_PROBLEM = 2
EXTRAS = {
    "bokeh_sampledata": "sample", "fastapi": "openenv", "mlflow": "track", "openai": "remote", "openenv": "openenv",
    "pandas_market_calendars": "data", "trackio": "track", "uvicorn": "openenv", "vllm": "vllm", "yfinance": "data",
}  # fmt: skip
"""Libraries that not every user needs, and the extra that installs them."""
EXIT_INTERRUPTED = 130


class _Commands(typer.core.TyperGroup):
    """Ends every command alike: a known problem as one message, Ctrl-C with how to resume, a bug with its traceback."""

    def invoke(self, ctx: Any) -> Any:
        console = Console(stderr=True)
        try:
            return super().invoke(ctx)
        except TradeschoolError as error:
            _print_error(console, str(error), "bold red", error)
            raise typer.Exit(EXIT_PROBLEM) from error
        except KeyboardInterrupt as error:
            _print_error(console, "\nInterrupted.", "bold yellow", error)
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
                cure = f"{error.name} is not installed. Install it: pip install 'tradeschool[{EXTRAS[error.name]}]'"
                _print_error(console, cure, "bold red", error)
                raise typer.Exit(EXIT_PROBLEM) from error
            if not isinstance(error, typer.Exit | typer.Abort) and not hasattr(error, "exit_code"):
                error.add_note("This is a bug in tradeschool or in a library it uses. Please report the text above.")
            raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data")
_COMMANDS: tuple[Callable[..., None], ...] = (
    run, resume, compare, report, signal, judge, prepare, leaderboard, play, serve,
)  # fmt: skip
for _command in _COMMANDS:
    app.command()(_command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tradeschool {tradeschool.__version__}")
        raise typer.Exit


@app.callback()
def commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train language models to trade, and see honestly whether they learned anything.

    Start with: [bold]tradeschool run recipes/demo.yaml[/bold]
    """


def _print_error(console: Console, text: str, style: str, error: BaseException) -> None:
    console.print(Text(text, style=style), soft_wrap=True)
    for note in getattr(error, "__notes__", []):
        console.print(Text(note), soft_wrap=True)
