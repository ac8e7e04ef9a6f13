"""The command ``tradeschool leaderboard``: every agent on every market and level, on the same episodes."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

WIDTH_OF_A_FILE = 160
"""Columns where the tables go into a file or a pipe, which have none of their own."""


def leaderboard(
    recipe: Annotated[Path, typer.Argument(help="A leaderboard's recipe: a YAML file.")],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the recipe. May be given many times."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder of the results, instead of leaderboards/<recipe name>.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Play all agents, those with a row as well.")] = False,
) -> None:
    """Grade every agent on the present version of the environment, each on the same episodes.

    Every row is kept in the folder of the results. What has a row on the present version, data and seeds is not played
    again; rows of other versions or data are kept and shown apart. A page, index.html, lies beside them.

    Where an agent could not play, all others are played and shown, and the exit status is 1.

    Examples:

      tradeschool leaderboard recipes/leaderboard.yaml

      tradeschool leaderboard recipes/leaderboard.yaml --set markets.stocks.path=prices/

      tradeschool leaderboard recipes/leaderboard.yaml --set 'levels=[Easy]' --set agents.ppo.steps=50000
    """
    from tradeschool.evaluate.leaderboard import board, table
    from tradeschool.evaluate.leaderboard.recipe import read
    from tradeschool.evaluate.leaderboard.reporting import write_index

    read_recipe, console = read(recipe, sets or ()), Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_A_FILE
    board.print_notes(read_recipe, console)
    folder = out or board.FOLDER / read_recipe.name
    try:
        played = board.play_all(read_recipe, folder, console, again=again)
    except KeyboardInterrupt as error:
        error.add_note("Rows that were finished are kept. Give the same command again to go on.")
        raise
    for one in played:
        table.print_played(console, one)
    table.print_overview(console, played)
    page = write_index(folder, f"Leaderboard: {read_recipe.name}", played)
    console.print(Text(f"Rows: {folder}"), soft_wrap=True)
    console.print(Text(f"Page: {page}"), soft_wrap=True)
    absent = {name: None for one in played for name in one.missing or {}}
    if absent:
        console.print(Text(f"Could not play: {', '.join(absent)}. The reasons stand under the tables."), soft_wrap=True)
        raise typer.Exit(1)
