"""The commands ``judge`` and ``leaderboard``, which compare decisions and agents without a run."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tradeschool.cli.options import Accept, AcceptSplits, LeaveOut, Sets, price_options, say

WIDTH_OF_A_FILE = 160
"""Columns used where the output of a leaderboard goes to a file or a pipe, which have no width."""


def judge(
    decisions: Annotated[
        Path, typer.Argument(help="CSV with the columns date, ticker, and rating or position.", metavar="DECISIONS.csv")
    ],
    prices: Annotated[Path, typer.Option("--prices", help="Folder or file of daily prices.")],
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="HTML file to write, with the figures as JSON beside it. By default beside the CSV. Earlier ones of "
            "this command are replaced, other files never.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the decisions in tables.")] = "decisions",
    trained_until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Last date used in training. Decisions up to this date get a warning."),
    ] = None,
    commission: Annotated[float, typer.Option("--commission", help="Basis points of the traded amount.")] = 1.0,
    slippage: Annotated[float, typer.Option("--slippage", help="Basis points of the traded amount.")] = 5.0,
    short: Annotated[
        bool,
        typer.Option("--short/--no-short", help="Whether negative positions are traded; otherwise they count as 0."),
    ] = True,
    risk_aversion: Annotated[
        float, typer.Option(min=0, help="Charge for risk in the score: this / 2 x position^2.")
    ] = 0.02,
    horizon: Annotated[int, typer.Option(min=1, help="Days over which the score measures returns.")] = 1,
    confidence: Annotated[float, typer.Option(help="Confidence level of the intervals and of the verdict.")] = 0.95,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random baseline.")] = 0,
    accept_splits: AcceptSplits = False,
    accept: Accept = None,
    leave_out: LeaveOut = False,
) -> None:
    """Compare trading decisions from a CSV file with the baselines, as trained models are compared.

    A decision is made after the close of its date and filled at the next open. A rating is STRONG_SELL, SELL, HOLD,
    BUY or STRONG_BUY; a position is a number from -1 to 1. Nothing is claimed about fewer than 12 dates whose outcomes
    are known. See docs/evaluation.md.

    Example:

      tradeschool judge decisions.csv --prices prices/ --trained-until 2023-12-31
    """
    from tradeschool.evaluate.console import print_comparison
    from tradeschool.evaluate.judge import evaluate_decisions
    from tradeschool.progress import status

    path = report or decisions.with_suffix(".html")
    console = Console()
    with status(console, "Comparing the decisions with the baselines"):
        comparison = evaluate_decisions(
            decisions,
            prices,
            name=name,
            commission_bps=commission,
            slippage_bps=slippage,
            allow_short=short,
            risk_aversion=risk_aversion,
            horizon=horizon,
            trained_until=trained_until,
            seed=seed,
            confidence=confidence,
            report=path,
            price_options=price_options(accept, accept_splits, leave_out),
        )
    print_comparison(console, comparison)
    say(console, f"Score: {comparison.evaluation.score}.")
    say(console, f"Report: {path}")
    say(console, f"Figures: {path.with_suffix('.json')}")


def leaderboard(
    recipe: Annotated[Path, typer.Argument(help="A leaderboard's recipe: a YAML file.")],
    sets: Sets = None,
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
    say(console, f"Results: {folder}")
    say(console, f"Page: {page}")
    missing = dict.fromkeys(name for level in levels for name in level.missing)
    if missing:
        say(console, f"Could not play: {', '.join(missing)}. The reasons are below the tables.")
        raise typer.Exit(1)
