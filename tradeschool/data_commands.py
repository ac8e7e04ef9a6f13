"""The commands below ``tradeschool data``: fetch, check and describe market data."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

data = typer.Typer(no_args_is_help=True, help="Fetch market data and look at it.")


@data.command()
def fetch(
    tickers: Annotated[list[str], typer.Argument(help="Yahoo's tickers, separated by spaces: AAPL BRK-B RELIANCE.NS")],
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="First day, YYYY-MM-DD.")],
    end: Annotated[str, typer.Option("--to", metavar="DAY", help="The day after the last, YYYY-MM-DD.")],
    out: Annotated[Path, typer.Option(help="The folder to write: new, or empty.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the snapshot that is in the folder.")] = False,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Keep what came, though tickers or days are missing.")
    ] = False,
) -> None:
    """Download daily bars from Yahoo Finance into a folder that every command reads, with a manifest of its origin.

    Example:

      tradeschool data fetch AAPL MSFT --from 2015-01-01 --to 2020-01-01 --out prices/
    """
    from tradeschool.market.yahoo import fetch as market_fetch

    console = Console()
    got = market_fetch.fetch(tickers, first, end, out, force=force, allow_partial=allow_partial, console=console)
    _print_panel(console, got.panel)
    if not got.manifest["complete"]:
        console.print(Text("Not all that was asked for came; manifest.json names what is missing."), style="yellow")
    console.print(Text(f"Wrote {got.path}. Look closer: tradeschool data check {got.path}"), soft_wrap=True)


@data.command()
def check(
    path: Annotated[Path, typer.Argument(help="Prices: a CSV or parquet file or a folder of them. Notes: one file.")],
    exchange: Annotated[
        str | None, typer.Option(help="Tell holes from holidays by this exchange's calendar: NYSE, NASDAQ, NSE, LSE.")
    ] = None,
    accept_splits: Annotated[
        bool, typer.Option("--accept-splits", help="Take what looks like an unadjusted split for a real move.")
    ] = False,
) -> None:
    """Read files of prices or notes, name every broken rule by file and row, and say what is in them.

    Examples:

      tradeschool data check prices/

      tradeschool data check prices/ --exchange NYSE

      tradeschool data check tweets.parquet
    """
    from tradeschool.market import check as market_check
    from tradeschool.market.notes.read import holds_notes, read_notes
    from tradeschool.market.prices.jumps import Splits
    from tradeschool.market.sources import load

    console = Console()
    notes = read_notes(path) if holds_notes(path) else None
    splits: Splits = "accept" if accept_splits else "refuse"
    findings = market_check.check(path, exchange, splits) if notes is None else notes.findings
    market_check.render(findings, console)
    if market_check.has_errors(findings):
        raise typer.Exit(2)
    if notes is None:
        _print_panel(console, load(path, messages=[], splits=splits))
    else:
        _print_notes(console, notes.notes, path.name)
    warnings = sum(finding.count for finding in findings if finding.severity == "warning")
    console.print("It loads" + (f", with {warnings:,} warning{'s' * (warnings > 1)}." if warnings else "."))


def _print_notes(console: Console, notes: list[Any], name: str) -> None:
    """A row per kind."""
    table = Table("kind", "first known", "last known", title=Text(name))
    for heading in ("notes", "tickers"):
        table.add_column(heading, justify="right")
    for kind in dict.fromkeys(note.kind for note in notes):
        of_kind = [note for note in notes if note.kind == kind]
        days = sorted(str(note.known_at.astype("datetime64[D]")) for note in of_kind)
        tickers = {note.ticker for note in of_kind} - {None}
        table.add_row(kind, days[0], days[-1], f"{len(of_kind):,}", str(len(tickers)) if tickers else "the market")
    console.print(table)


@data.command()
def describe(
    source: Annotated[
        str, typer.Argument(help="A recipe (.yaml), a file or folder of prices, or a word: sample or practice.")
    ],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("overview.html"),
    exchange: Annotated[
        str | None, typer.Option(help="Hold the dates against this exchange's calendar: NYSE, NASDAQ, NSE, LSE.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the recipe. May be given many times."),
    ] = None,
) -> None:
    """Show what is in a market: bars, notes, labels of every part, and what each feature says about the outcome.

    Prints tables and writes a page with pictures. Without a recipe, the rating task over 5 days and its usual split
    are taken.

    Examples:

      tradeschool data describe prices/ --out overview.html --exchange NYSE

      tradeschool data describe sample --set task.horizons=[1] --set split.warmup=60

      tradeschool data describe recipes/stocks.yaml
    """
    from tradeschool.errors import DataError
    from tradeschool.opening import load_panel, make_task
    from tradeschool.prepare.overview import overview, recipe_of
    from tradeschool.prepare.overview_page import write_page
    from tradeschool.prepare.overview_table import print_overview

    console = Console()
    recipe = recipe_of(source, sets or ())
    panel = load_panel(recipe, console)
    task, problem = None, None
    try:
        task = make_task(recipe, panel)
    except DataError as error:
        problem = f"No parts, labels or features: {error}"
    with console.status("Looking the market over"):
        horizons = getattr(recipe.task, "horizons", [5])
        seen = overview(panel, task, horizons=horizons, seed=recipe.seed, exchange=exchange, problem=problem)
        write_page(out, seen)
    print_overview(console, seen)
    console.print(Text(f"Page: {out}"), soft_wrap=True)


def _print_panel(console: Console, panel: Any) -> None:
    """A row per ticker, then the whole in one line."""
    rows, columns = panel.shape
    table = Table("ticker", "first day", "last day", title=Text(panel.name))
    for heading in ("bars", "days missing against the others", "last close"):
        table.add_column(heading, justify="right")
    for n, ticker in enumerate(panel.tickers):
        listed_T = panel.listed_TN[:, n]
        if not listed_T.any():
            table.add_row(Text(ticker), "never listed", "", "0", "", "")
            continue
        at_T = listed_T.nonzero()[0]
        first, last = int(at_T[0]), int(at_T[-1])
        days = [str(panel.dates_T[t].astype("datetime64[D]")) for t in (first, last)]
        missing = last - first + 1 - len(at_T)
        table.add_row(Text(ticker), *days, str(len(at_T)), str(missing), f"{panel.close_TN[last, n]:g}")
    console.print(table)
    summed = f"{columns} tickers, {rows} dates, {len(panel.notes)} notes. Data hash {panel.data_hash()}."
    console.print(Text(summed), soft_wrap=True)
