"""The command ``prepare``: write market data as files that any trainer reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from tradeschool.cli.options import NewFolder, Sets, Source, say
from tradeschool.errors import RecipeError

if TYPE_CHECKING:
    from tradeschool.config.recipe import Recipe

WINDOWS_SPLIT = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""The published split of the CSV layout, used where no recipe gives one."""
ANSWERS = 7_000
"""The published number of training answers in demonstration episodes, used where no sft stage gives one."""


def prepare(
    source: Source,
    out: NewFolder,
    form: Annotated[
        Literal["prompts", "csv"],
        typer.Option("--format", help="prompts: a Hugging Face dataset. csv: windows for forecasting, per stock."),
    ] = "prompts",
    sets: Sets = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each CPU.")] = None,
    answers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="For demonstration episodes: write until they hold this many training answers. By default the "
            f"'examples' of the recipe's last sft stage, or {ANSWERS:,}.",
        ),
    ] = None,
) -> None:
    r"""Write a task's prompts and answers as a dataset, or a market as CSV windows for forecasting.

    For a task of trading episodes, the conversations of its demonstrators are written: those that the recipe's last sft
    stage trains on. Without a recipe, prompts use market, split and task of recipes/stocks.yaml, or of
    recipes/demo.yaml for the word synthetic.

    The same recipe on the same data gives the same bytes. After an interruption, give the same command again.

    Examples:

      tradeschool prepare recipes/stocks.yaml --set market.path=prices/ --out prepared/

      tradeschool prepare prices/ --set task.sections=\[prices,news] --set task.variants=20 --out prepared/

      tradeschool prepare recipes/episodes.yaml --answers 2000 --out episodes/

      tradeschool prepare prices/ --format csv --out windows/
    """
    from tradeschool.prepare.source import recipe_from_source

    console = Console()
    try:
        if form == "prompts":
            _prompts(console, recipe_from_source(source, sets or ()), out, workers, answers)
        elif answers is not None:
            raise RecipeError(
                "--answers is for demonstration episodes, and --format csv writes none. Remove one of the two."
            )
        else:
            _windows(console, recipe_from_source(source, sets or (), split=dict(WINDOWS_SPLIT)), out)
    except KeyboardInterrupt as error:
        error.add_note("Give the same command again to continue.")
        raise


def _prompts(console: Console, recipe: "Recipe", out: Path, workers: int | None, answers: int | None) -> None:
    from tradeschool.config.recipe import load_panel, make_task
    from tradeschool.prepare.export import identity, write_demonstrations, write_prompts
    from tradeschool.train.curriculum import CurriculumConfig, select_examples

    panel = load_panel(recipe, console)
    task = make_task(recipe, panel)
    parts = {key: recipe.resolved[key] for key in ("seed", "market", "split", "task")}
    if task.episodic:
        stage = next((stage for stage in reversed(recipe.stages) if stage.stage == "sft"), None)
        wanted = answers or (stage.examples if stage else ANSWERS)
        own = stage.model_dump(mode="json", include={"turns", *CurriculumConfig.model_fields}) if stage else {}
        made_from = identity("conversations", {**parts, **own, "answers": wanted}, panel, task.version)
        pool = select_examples(task, stage, panel, seed=recipe.seed, log=console.print) if stage else None
        turns = stage.turns if stage else None
        count = write_demonstrations(task, made_from, out, console, wanted, recipe.seed, pool, turns)
        written = f"{count:,} demonstration episodes with at least {wanted:,} training answers"
    elif answers is not None:
        raise RecipeError(
            f"--answers counts demonstrations, and the task '{task.name}' has none. Remove it, or give a recipe with "
            "task: {name: trade}."
        )
    else:
        prompts = write_prompts(task, identity("prompts", parts, panel, task.version), out, console, workers)
        written = ", ".join(f"{count:,} {split}" for split, count in prompts.items()) + " prompts"
    say(console, f"Wrote {written} to {out}. Load them with: datasets.load_dataset('{out}')")


def _windows(console: Console, recipe: "Recipe", out: Path) -> None:
    from tradeschool.config.recipe import load_panel
    from tradeschool.prepare.export import identity, window_config, write_windows

    config = window_config(recipe.split)
    panel = load_panel(recipe, console)
    parts = {"market": recipe.resolved["market"], "series": config.model_dump(mode="json")}
    written = write_windows(panel, config, identity("csv", parts, panel), out, console)
    for ticker, reason in written.left_out.items():
        say(console, f"Skipped {ticker}: {reason}")
    if written.overlap:
        say(
            console,
            "Note: the splits are shares of each ticker's own bars, so one ticker's train file may overlap "
            "in time with another's test file. To train on several together, give dates: "
            "--set 'split={validation_from: 2015-01-01, test_from: 2016-01-01}'.",
        )
    count = sum(written.windows.values())
    say(console, f"Wrote {count:,} windows of {len(written.windows)} tickers to {out}.")
