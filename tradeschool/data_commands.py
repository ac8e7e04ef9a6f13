"""The commands below ``tradeschool data``: fetch, check and describe market data."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

data = typer.Typer(no_args_is_help=True, help="Look at market data.")


@data.command()
def check(
    path: Annotated[Path, typer.Argument(help="A folder of CSV files, a parquet file, or a folder of parquet files.")],
) -> None:
    """Read price files, name every broken rule by file and row, and say what is in them.

    Example:

      tradeschool data check prices/
    """
    from tradeschool.market import check as market_check
    from tradeschool.market.sources import load

    console = Console()
    findings = market_check.check(path)
    market_check.render(findings, console)
    if market_check.has_errors(findings):
        raise typer.Exit(2)
    _print_panel(console, load(path, messages=[]))


def _print_panel(console: Console, panel: Any) -> None:
    """A row per ticker, then the whole in one line."""
    rows, columns = panel.shape
    table = Table("ticker", "first day", "last day", title=Text(panel.name))
    for heading in ("bars", "days missing between", "last close"):
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
    summed = (
        f"{columns} tickers, {rows} dates, {len(panel.notes)} notes. Data hash {panel.data_hash()}. No rule is broken."
    )
    console.print(Text(summed), soft_wrap=True)
