"""The ``tradeschool`` command: every subcommand, and how errors end it.

Nothing heavy is imported before a command needs it, so that ``tradeschool --help`` starts fast.
"""

import contextlib
import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

import tradeschool
from tradeschool.cli.data import data, prepare
from tradeschool.cli.env import play, serve
from tradeschool.cli.evaluate import judge, leaderboard
from tradeschool.cli.options import say
from tradeschool.cli.run import compare, report, resume, run
from tradeschool.cli.run import signal as signal_command
from tradeschool.errors import TradeschoolError, machine_error

EXIT_PROBLEM = 2
EXIT_SIGNALLED = 128
"""Plus the signal's number: 130 after Ctrl-C, 143 after SIGTERM, as in a shell."""


class _Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which end a command as Ctrl-C does: a run is marked as interrupted, and says how to resume."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Raise :class:`_Ended` at SIGTERM (kill, a scheduler) and SIGHUP (a closed terminal, unless nohup ignores it)."""
    process, numbers = os.getpid(), [signal.SIGTERM, signal.SIGHUP]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a worker process, which its parent ends by this signal
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        for one in numbers:  # a closing terminal sends both; the second must not disturb the ending
            signal.signal(one, signal.SIG_IGN)
        raise _Ended(number)

    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


class _Commands(typer.core.TyperGroup):
    """Ends every command alike: a known problem as one message, a signal with how to resume, a bug with its trace."""

    def invoke(self, ctx: Any) -> Any:
        console = Console(stderr=True)
        try:
            with _ended_by_signals():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            number = error.number if isinstance(error, _Ended) else signal.SIGINT
            _print_error(console, f"\nInterrupted ({signal.Signals(number).name}).", "bold yellow", error)
            raise typer.Exit(EXIT_SIGNALLED + number) from error
        except Exception as error:
            if isinstance(error, typer.Exit | typer.Abort) or hasattr(error, "exit_code"):
                raise
            problem = error if isinstance(error, TradeschoolError) else machine_error(error)
            if problem is None:
                error.add_note("This is a bug in tradeschool or in a library it uses. Please report the text above.")
                raise
            _print_error(console, str(problem), "bold red", error)
            raise typer.Exit(EXIT_PROBLEM) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data")
_COMMANDS: tuple[Callable[..., None], ...] = (
    run, resume, compare, report, signal_command, judge, prepare, leaderboard, play, serve,
)  # fmt: skip
for _command in _COMMANDS:
    app.command()(_command)


def _help(function: Callable[..., Any]) -> str:
    """The docstring with each paragraph on one line, so that the terminal wraps it; examples are indented, and stay."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(text if text.startswith(" ") else text.replace("\n", " ") for text in paragraphs)


for _info in (*app.registered_commands, *data.registered_commands):
    if _info.callback:
        _info.help = _help(_info.callback)


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
    say(console, text, style)
    for note in getattr(error, "__notes__", []):
        say(console, note)
