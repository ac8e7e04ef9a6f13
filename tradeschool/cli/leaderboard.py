"""The command ``tradeschool leaderboard``: every agent on every market and level, on the same episodes."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

WIDTH_OF_A_FILE = 160
"""Columns used where the output goes to a file or a pipe, which have no width."""


def leaderboard(
    recipe: Annotated[Path, typer.Argument(help="A leaderboard's recipe: a YAML file.")],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the recipe. May be given many times."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder of the results, instead of leaderboards/<recipe name>.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Play all agents again, even those with a result.")] = False,
) -> None:
    """Play and grade every agent of the recipe on the same episodes.

    Results are stored in the output folder. An agent with a stored result on the same version, data and seeds is not
    played again. Results on other versions or data are kept and shown separately. The folder also gets a page,
    index.html.

    If an agent fails, the others are still played and shown, and the exit status is 1.

    Examples:

      tradeschool leaderboard recipes/leaderboard.yaml

      tradeschool leaderboard recipes/leaderboard.yaml --set markets.stocks.path=prices/

      tradeschool leaderboard recipes/leaderboard.yaml --set 'levels=[Easy]' --set agents.ppo.steps=50000
    """
    from tradeschool.evaluate.leaderboard import run
    from tradeschool.evaluate.leaderboard.console import print_level, print_overview
    from tradeschool.evaluate.leaderboard.recipe import read
    from tradeschool.evaluate.leaderboard.report import write_index
    from tradeschool.market.load import require_sample

    checked, console = read(recipe, sets or ()), Console()
    if any(market["source"] == "sample" for market in checked.markets.values()):
        require_sample()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_A_FILE
    folder = out or run.FOLDER / checked.name
    try:
        levels = run.run_leaderboard(checked, folder, console, again=again)
    except KeyboardInterrupt as error:
        error.add_note("Finished results are kept. Run the same command again to continue.")
        raise
    for level in levels:
        print_level(console, level)
    print_overview(console, levels)
    page = write_index(folder, f"Leaderboard: {checked.name}", levels)
    console.print(Text(f"Results: {folder}"), soft_wrap=True)
    console.print(Text(f"Page: {page}"), soft_wrap=True)
    missing = dict.fromkeys(name for level in levels for name in level.missing)
    if missing:
        console.print(Text(f"Could not play: {', '.join(missing)}. The reasons are below the tables."), soft_wrap=True)
        raise typer.Exit(1)
