"""The command ``tradeschool prepare``: market data as files that any trainer reads."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text


def prepare(
    source: Annotated[
        str, typer.Argument(help="A recipe (.yaml), a file or folder of prices, or a word: sample or practice.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write: new, or empty.")],
    form: Annotated[
        Literal["prompts", "csv"],
        typer.Option("--format", help="prompts: a Hugging Face dataset. csv: windows for forecasting, per stock."),
    ] = "prompts",
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the recipe. May be given many times."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one per processor.")] = None,
) -> None:
    """Write a task's prompts and answers as a dataset, or a market as CSV windows for forecasting.

    The same recipe on the same data gives the same bytes. A run that was cut off goes on when it is given again.

    Examples:

      tradeschool prepare recipes/stocks.yaml --set market.path=prices/ --out prepared/

      tradeschool prepare prices/ --set task.sections=[prices,news] --set task.variants=20 --out prepared/

      tradeschool prepare prices/ --format csv --out windows/
    """
    from tradeschool.opening import load_panel, make_task
    from tradeschool.prepare import folder
    from tradeschool.prepare.overview import recipe_of

    console = Console()
    recipe = recipe_of(source, sets or ())
    panel = load_panel(recipe, console)
    resolved, data_hash = recipe.resolved, panel.data_hash()
    try:
        if form == "prompts":
            from tradeschool.prepare.prompts import write_prompts

            task = make_task(recipe, panel)
            identity = folder.identity("prompts", resolved, panel.name, data_hash, task.version)
            prompts = write_prompts(task, identity, out, console, workers).prompts
            said = ", ".join(f"{count:,} {split}" for split, count in prompts.items())
            _say(console, f"Wrote {said} prompts to {out}. Read them: datasets.load_dataset('{out}')")
        else:
            from tradeschool.market.series import SeriesConfig
            from tradeschool.prepare.series_csv import write_series

            config = SeriesConfig(validation_from=recipe.split.validation_from, test_from=recipe.split.test_from)
            identity = folder.identity("csv", resolved, panel.name, data_hash, "")
            written = write_series(panel, config, identity, out, console)
            for ticker, reason in written.left_out.items():
                _say(console, f"Left out {ticker}: {reason}")
            _say(
                console, f"Wrote {sum(written.windows.values()):,} windows of {len(written.windows)} tickers to {out}."
            )
    except KeyboardInterrupt as error:
        error.add_note("Give the same command again to go on.")
        raise


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
