"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

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
NewFolder = Annotated[Path, typer.Option("--out", help="The folder to write: new, or empty.")]
Level = Annotated[
    str, typer.Option(help="easy (1 stock, 20 days), medium (10 stocks, 30 days) or hard (25 stocks, 40 days).")
]
Market = Annotated[str, typer.Option(help="synthetic, sample, or a file or folder of prices.")]


def say(console: Console, text: str, style: str = "") -> None:
    """Print text as it is, on one line however long."""
    console.print(Text(text, style), soft_wrap=True)
