"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run folder (runs/demo/latest), or a recipe's name for its latest run."),
]
Source = Annotated[
    str, typer.Argument(help="A recipe (.yaml), a file or folder of prices, or a word: sample or synthetic.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the recipe. Can be repeated."),
]
Exchange = Annotated[
    str | None, typer.Option(help="Compare the dates with this exchange's calendar: NYSE, NASDAQ, NSE or LSE.")
]
Accept = Annotated[
    list[str] | None,
    typer.Option(metavar="'TICKER DAY'", help="Accept what is refused for this ticker on this day. Can be repeated."),
]
AcceptSplits = Annotated[
    bool, typer.Option("--accept-splits", help="Take all that looks like an unadjusted split for a real move.")
]
LeaveOut = Annotated[
    bool, typer.Option("--leave-out", help="Leave out bars that are far from both of their neighbours.")
]
NewFolder = Annotated[Path, typer.Option("--out", help="The folder to write: new, or empty.")]
Level = Annotated[
    str, typer.Option(help="easy (1 stock, 20 days), medium (10 stocks, 30 days) or hard (25 stocks, 40 days).")
]
Market = Annotated[str, typer.Option(help="synthetic, sample, or a file or folder of prices.")]


def price_options(accept: list[str] | None, accept_splits: bool, leave_out: bool) -> dict[str, Any]:
    """The three options as arguments of ``load_prices``."""
    return {
        "splits": "accept" if accept_splits else "refuse",
        "spikes": "leave_out" if leave_out else "refuse",
        "accept": accept or (),
    }


def say(console: Console, text: str, style: str = "") -> None:
    """Print text as it is, on one line however long."""
    console.print(Text(text, style), soft_wrap=True)
