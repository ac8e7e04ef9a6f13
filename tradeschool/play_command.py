"""The command ``tradeschool play``: a person trades an episode at the terminal."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

RESULTS = Path("leaderboards/people.jsonl")


def play(
    level: Annotated[
        str, typer.Option(help="easy (a stock, 20 days), medium (10 stocks, 30 days) or hard (25 stocks, 40 days).")
    ] = "easy",
    market: Annotated[str, typer.Option(help="practice, sample, or a file or folder of prices.")] = "practice",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Which episode. The same seed gives the same one; by default a new one.")
    ] = None,
    unmasked: Annotated[
        bool, typer.Option("--unmasked", help="Show tickers and dates from the start, and not at the end alone.")
    ] = False,
    name: Annotated[str, typer.Option(help="Your name in the file of results.")] = "person",
    results: Annotated[Path, typer.Option(help="The file of JSON lines that your result is added to.")] = RESULTS,
    no_results: Annotated[bool, typer.Option("--no-results", help="Write no result.")] = False,
) -> None:
    """Trade an episode yourself: see what the models see, give orders as they do, get the same grade.

    A day's orders stand on one line, parted by semicolons: BUY S1 0.5; SELL S2. Enter holds, ? explains the figures,
    q leaves. An order that cannot be read is asked for again; it costs nothing. Orders may also come from a file.

    Examples:

      tradeschool play

      tradeschool play --level medium --market prices/ --seed 7

      tradeschool play --seed 7 --no-results < orders.txt
    """
    from tradeschool.apps.offered import level_named, market_named
    from tradeschool.apps.people import ResultsFile
    from tradeschool.apps.play import play_episode

    console, chosen = Console(), level_named(level)
    file = None if no_results else ResultsFile(results)
    with console.status("Reading the market"):
        data = market_named(market, chosen, console)
    play_episode(console, data, chosen, market=market, seed=seed, masked=not unmasked, name=name, results=file)
