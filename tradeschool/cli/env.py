"""The commands ``play`` and ``serve``: the trading environment for a person, and for other programs."""

import contextlib
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from tradeschool.cli.options import Level, Market, say
from tradeschool.errors import TradeschoolError

if TYPE_CHECKING:
    pass

RESULTS = Path("leaderboards/human-results.jsonl")


def play(
    level: Level = "easy",
    market: Market = "synthetic",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Which episode; drawn by default. The same seed gives the same episode.")
    ] = None,
    unmasked: Annotated[bool, typer.Option("--unmasked", help="Show tickers and dates from the start.")] = False,
    name: Annotated[str, typer.Option(help="Your name in the results file.")] = "you",
    results: Annotated[Path, typer.Option(help="The file of JSON lines that your result is appended to.")] = RESULTS,
    no_results: Annotated[bool, typer.Option("--no-results", help="Do not save the result.")] = False,
) -> None:
    """Trade an episode yourself, with the models' information, orders and grade.

    Write a day's orders on one line, separated by semicolons: BUY S1 0.5; SELL S2. Enter holds, ? explains the
    columns, q quits. Invalid orders cost nothing; you are asked again. Orders may also come from a file.

    Examples:

      tradeschool play

      tradeschool play --level easy --market prices/ --seed 7

      tradeschool play --seed 7 --no-results < orders.txt
    """
    from tradeschool.apps.play import ResultsFile, play_episode
    from tradeschool.env.config import find_level
    from tradeschool.env.market_data import read_market

    console, chosen = Console(), find_level(level)
    file = None if no_results else ResultsFile(results)
    with console.status("Reading the market"):
        data = read_market(market, console, chosen)
    play_episode(console, data, chosen, market=market, seed=seed, masked=not unmasked, name=name, results=file)


def serve(
    level: Level = "easy",
    market: Market = "synthetic",
    observation: Annotated[
        Literal["text", "numeric"], typer.Option(help="The form of observations and orders.")
    ] = "text",
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(help="Serve only these rows, split as in --recipe.", show_default="all rows"),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="The recipe whose split: is used.", show_default="60, 10 and 30 % of the rows")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to serve at; 0.0.0.0 serves to the whole network.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free port.")] = 8000,
    sessions: Annotated[int, typer.Option(min=1, max=10_000, help="The most at the same time.")] = 64,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds without reset or step after which a session is closed.")
    ] = 600.0,
) -> None:
    """Serve the trading environment to OpenEnv clients over a WebSocket. Formats: docs/serving.md.

    Examples:

      tradeschool serve

      tradeschool serve --level easy --market prices/ --port 9000 --sessions 128

      tradeschool serve --market prices/ --split train --recipe recipes/leaderboard.yaml
    """
    if recipe and not split:
        raise TradeschoolError(f"--recipe {recipe} needs --split. Add --split train, or remove --recipe.")
    from tradeschool.config.sections import SplitConfig, split_of, split_panel
    from tradeschool.env.config import find_level, level_config
    from tradeschool.env.market_data import read_market

    console, level = Console(), find_level(level)
    with console.status("Reading the market"):
        from tradeschool.apps.env_server import ServeConfig, create_app, listen, make_server

        data = read_market(market, console, level)
        rows = split_panel(split_of(recipe) if recipe else SplitConfig(), data.panel).ends(split) if split else None
        config = ServeConfig(data, level_config(level, observation=observation), rows)
        app = create_app(config, sessions, timeout)
    listening = listen(host, port)
    address, bound = listening.getsockname()[:2]
    where = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    limits = f"at most {sessions} sessions, each closed after {timeout:g} s without a step"
    first, last = config.rows or (0, -1)
    days, versions = data.panel.dates_T.astype("datetime64[D]"), config.versions
    what = f"Serving {level} {versions['task_version']} of environment {versions['env_version']} on {data.panel.name}"
    which = f"{f'the {split} rows' if split else 'all rows'} ({days[first]} to {days[last]})"
    say(console, f"{what}, {which}, at {where}: {limits}. Stop with Ctrl-C.")
    if not ipaddress.ip_address(address).is_loopback:
        say(console, "Note: anyone who can reach this address can play; there is no password and no encryption.")
    with contextlib.suppress(KeyboardInterrupt):
        make_server(app).run(sockets=[listening])
