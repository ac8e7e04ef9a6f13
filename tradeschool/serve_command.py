"""The command ``tradeschool serve``: what was built, for others to reach over the wire."""

import contextlib
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from tradeschool.errors import TradeschoolError

if TYPE_CHECKING:
    from tradeschool.apps.env_server.offer import Offer
    from tradeschool.market.panel import Panel
    from tradeschool.tasks.base import SplitName


def serve(
    env: Annotated[bool, typer.Option("--env", help="Serve the trading environment, by OpenEnv's protocol.")] = False,
    level: Annotated[str, typer.Option(help="Easy, Medium or Hard.")] = "Easy",
    market: Annotated[
        str, typer.Option(help="practice, sample, or a file or folder of prices; one market for all sessions.")
    ] = "practice",
    observation: Annotated[
        Literal["text", "numeric"], typer.Option(help="What a session sees, and what its orders are written in.")
    ] = "text",
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(help="Serve these rows alone, as --recipe cuts them.", show_default="all rows"),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="The recipe whose split --split follows.", show_default="60, 10 and 30 % of the rows"),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to serve at. 0.0.0.0: to everyone who can reach it.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    sessions: Annotated[int, typer.Option(min=1, max=10_000, help="The most at a time.")] = 64,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds without reset or step after which a session is dropped.")
    ] = 600.0,
) -> None:
    """Serve the trading environment to any client of OpenEnv, over a WebSocket. Formats: docs/serving.md.

    Examples:

      tradeschool serve --env

      tradeschool serve --env --level Medium --market prices/ --port 9000 --sessions 128

      tradeschool serve --env --market prices/ --split train --recipe recipes/leaderboard.yaml
    """
    if not env:
        raise TradeschoolError("Say what to serve: tradeschool serve --env serves the trading environment.")
    if recipe and not split:
        raise TradeschoolError(f"--recipe {recipe} says how --split cuts the rows. Add --split train, or leave it out.")
    from tradeschool.apps.offered import level_named

    console, level = Console(), level_named(level)
    with console.status("Reading the market ..."):
        # First: it says plainly where OpenEnv is not installed.
        import tradeschool.apps.env_messages  # noqa: F401
        from tradeschool.apps.env_server.app import create, listen, server

        offer = _offer(level, market, observation, split, recipe, console)
        app = create(offer, sessions, timeout)
    listening = listen(host, port)
    address, bound = listening.getsockname()[:2]
    _say(
        console,
        f"Serving {_what(offer, split)}, at http://{_in_url(host)}:{bound}: {sessions} sessions at most, each dropped "
        f"after {timeout:g} s without a step. Stop with Ctrl-C.",
    )
    if not ipaddress.ip_address(address).is_loopback:
        _say(console, "Note: whoever can reach this address can play; there is no password and no encryption.")
    with contextlib.suppress(KeyboardInterrupt):
        server(app).run(sockets=[listening])


def _offer(
    level: str, market: str, observation: str, split: "SplitName | None", recipe: Path | None, console: Console
) -> "Offer":
    from tradeschool.apps.env_server.offer import Offer
    from tradeschool.apps.offered import market_named
    from tradeschool.env.levels import level_config

    data = market_named(market, level, console)
    rows = _rows(data.panel, split, recipe) if split else None
    return Offer(data, level_config(level, observation=observation), rows)


def _what(offer: "Offer", split: "SplitName | None") -> str:
    """The environment in words: its versions, its market, and which of its rows."""
    versions, panel = offer.versions, offer.data.panel
    return (
        f"{versions['level']} {versions['task_version']} of environment {versions['env_version']} on {panel.name}, "
        f"{_span(panel, split, offer.rows)}"
    )


def _rows(panel: "Panel", split: "SplitName", recipe: Path | None) -> tuple[int, int]:
    from tradeschool.opening import split_of, split_panel
    from tradeschool.recipe_sections import SplitConfig

    return split_panel(split_of(recipe) if recipe else SplitConfig(), panel).ends(split)


def _span(panel: "Panel", split: "SplitName | None", rows: tuple[int, int] | None) -> str:
    """Which rows are served, and their days."""
    first, last = rows or (0, len(panel.dates_T) - 1)
    days = panel.dates_T.astype("datetime64[D]")
    return f"{f'the {split} rows' if split else 'all rows'} ({days[first]} to {days[last]})"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
