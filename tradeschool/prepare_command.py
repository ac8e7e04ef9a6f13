"""The command ``tradeschool prepare``: market data as files that any trainer reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from tradeschool.recipe import Recipe

SERIES_SPLIT = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""The published one of the CSV layout, where no recipe says otherwise."""
ANSWERS = 7_000
"""Answers to learn in expert episodes where no sft stage says how many: as the system had that published them."""


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
    answers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of expert episodes: write them until so many answers are to be learned. By default the most examples "
            f"that an sft stage of the recipe has, {ANSWERS:,} where there is none.",
        ),
    ] = None,
) -> None:
    """Write a task's prompts and answers as a dataset, or a market as CSV windows for forecasting.

    Of a task of trading episodes the experts' conversations are written.

    The same recipe on the same data gives the same bytes. A run that was cut off goes on when it is given again.

    Examples:

      tradeschool prepare recipes/stocks.yaml --set market.path=prices/ --out prepared/

      tradeschool prepare prices/ --set task.sections=[prices,news] --set task.variants=20 --out prepared/

      tradeschool prepare recipes/episodes.yaml --answers 2000 --out episodes/

      tradeschool prepare prices/ --format csv --out windows/
    """
    from tradeschool.errors import RecipeError
    from tradeschool.prepare.overview import recipe_of

    console = Console()
    try:
        if form == "prompts":
            _prompts(console, recipe_of(source, sets or ()), out, workers, answers)
        elif answers is not None:
            raise RecipeError("--answers is for expert episodes, and --format csv writes none. Leave one of them out.")
        else:
            _csv(console, recipe_of(source, sets or (), split=dict(SERIES_SPLIT)), out)
    except KeyboardInterrupt as error:
        error.add_note("Give the same command again to go on.")
        raise


def _prompts(console: Console, recipe: "Recipe", out: Path, workers: int | None, answers: int | None) -> None:
    from tradeschool.errors import RecipeError
    from tradeschool.opening import load_panel, make_task
    from tradeschool.prepare.folder import identity
    from tradeschool.prepare.prompts import write_prompts

    panel = load_panel(recipe, console)
    task = make_task(recipe, panel)
    parts = {key: recipe.resolved[key] for key in ("seed", "market", "split", "task")}
    if task.episodic:
        from tradeschool.prepare.conversations import write_conversations

        wanted = answers or _examples(recipe)
        made_from = identity("conversations", {**parts, "answers": wanted}, panel.name, panel.data_hash(), task.version)
        count = write_conversations(task, made_from, out, console, wanted, recipe.seed)
        _say(
            console,
            f"Wrote {count:,} expert episodes, with {wanted:,} answers to learn or a few more, to {out}. "
            f"Read them: datasets.load_dataset('{out}')",
        )
        return
    if answers is not None:
        raise RecipeError(
            f"--answers is for expert episodes, and the task '{task.name}' has none: every question is written with "
            "its answer. Leave it out, or give a recipe with task: {name: trade}."
        )
    made_from = identity("prompts", parts, panel.name, panel.data_hash(), task.version)
    prompts = write_prompts(task, made_from, out, console, workers).prompts
    said = ", ".join(f"{count:,} {split}" for split, count in prompts.items())
    _say(console, f"Wrote {said} prompts to {out}. Read them: datasets.load_dataset('{out}')")


def _examples(recipe: "Recipe") -> int:
    """As many answers as the sft stage of the recipe that wants the most."""
    return max((stage.examples for stage in recipe.stages if stage.stage == "sft"), default=ANSWERS)


def _csv(console: Console, recipe: "Recipe", out: Path) -> None:
    from tradeschool.opening import load_panel
    from tradeschool.prepare.folder import identity
    from tradeschool.prepare.series_csv import series_config, write_series

    config = series_config(recipe.split)
    panel = load_panel(recipe, console)
    parts = {"market": recipe.resolved["market"], "series": config.model_dump(mode="json")}
    written = write_series(panel, config, identity("csv", parts, panel.name, panel.data_hash(), ""), out, console)
    for ticker, reason in written.left_out.items():
        _say(console, f"Left out {ticker}: {reason}")
    if written.mixed:
        _say(
            console,
            "Note: the parts are shares of each ticker's own bars, so one ticker's train file reaches into the time of "
            "another's test file. To train on several together give days: "
            "--set 'split={validation_from: 2015-01-01, test_from: 2016-01-01}'.",
        )
    count = sum(written.windows.values())
    _say(console, f"Wrote {count:,} windows of {len(written.windows)} tickers to {out}.")


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
