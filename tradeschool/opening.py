"""A recipe opened: its market read, its notes attached, its task with the dates split in time."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from tradeschool.errors import RecipeError
from tradeschool.market.panel import Panel
from tradeschool.recipe import Recipe
from tradeschool.recipe_document import read_draft
from tradeschool.recipe_sections import SplitConfig
from tradeschool.tasks.base import Task

if TYPE_CHECKING:
    from tradeschool.market.notes.note import Notes
    from tradeschool.market.splits import Split

SHOWN_MESSAGES = 5


def load_panel(recipe: Recipe, console: Console) -> Panel:
    """The market of a recipe; repairs and warnings of the reading are printed, the first few of them.

    Raises:
        DataError: a file of prices, notes or names breaks a rule.
    """
    return load_market(recipe.resolved["market"], console, masked=getattr(recipe.task, "mask", False))


def load_market(market: dict[str, Any], console: Console, masked: bool = False) -> Panel:
    """The market that a resolved section of a recipe describes; ``masked``: names in its texts are to be hidden.

    Raises:
        DataError: a file of prices, notes or names breaks a rule.
    """
    if market["source"] == "practice":
        from tradeschool.market.practice import PracticeConfig, practice

        return practice(PracticeConfig.model_validate({k: v for k, v in market.items() if k != "source"}))
    messages: list[str] = []
    panel = _with_notes(market, messages)
    if masked:
        messages[:0] = _nameless(panel)
    for message in messages[:SHOWN_MESSAGES]:
        console.print(f"Note: {escape(message)}", highlight=False)
    if len(messages) > SHOWN_MESSAGES:
        path = escape(market.get("path", "PATH"))
        more = f"Note: {len(messages) - SHOWN_MESSAGES} more. See them all: tradeschool data check {path}"
        console.print(more, highlight=False)
    return panel


def _nameless(panel: Panel) -> list[str]:
    """A warning where texts are to be masked and companies' names are missing."""
    told = {note.ticker for note in panel.notes if note.ticker and note.text}
    if not (without := [ticker for ticker in told if not panel.names.get(ticker)]):
        return []
    return [
        f"{len(without)} of {len(told)} tickers with notes have no company name, so masking hides their symbols only: "
        "give market.names"
    ]


def _prices(market: dict[str, Any], messages: list[str]) -> tuple[Panel, list["Notes"]]:
    """The prices, and the notes that stand in the same file."""
    from tradeschool.market import sources

    if market["source"] == "sample":
        return sources.sample(), []
    if market["source"] == "deepstock":
        from tradeschool.market.notes.deepstock import read_panel

        same_day = market["dated_notes"] == "same_day"
        panel, own = read_panel(market["path"], same_day=same_day, exchange=market["exchange"])
        return panel, [own]
    read_source = sources.from_folder if market["source"] == "folder" else sources.from_parquet
    return read_source(market["path"], messages, adjust=market["adjust"], splits=market["splits"]), []


def _with_notes(market: dict[str, Any], messages: list[str]) -> Panel:
    from tradeschool.market.notes.names import read_names
    from tradeschool.market.notes.note import Notes
    from tradeschool.market.notes.read import attach, read_notes

    names = Notes([], [], read_names(market["names"]) if market["names"] else {})
    panel, own = _prices(market, messages)
    panel = dataclasses.replace(panel, exchange=market["exchange"])
    files = [read_notes(path, same_day=market["dated_notes"] == "same_day") for path in market["notes"]]
    return attach(panel, [*own, names, *files], messages)


def make_task(recipe: Recipe, panel: Panel) -> Task:
    """The task of a recipe on a panel, with the dates split in time.

    Raises:
        RecipeError: the recipe's embargo is shorter than the task looks ahead.
    """
    rows = split_panel(recipe.split, panel, getattr(recipe.task, "horizons", []))
    task: Task = recipe.task_class(recipe.task, panel, rows)
    return task


def split_of(path: Path) -> SplitConfig:
    """The section ``split`` of a recipe, of a run or of a leaderboard; the rest of it is not looked at.

    Raises:
        RecipeError: the file or the section is wrong.
    """
    draft = read_draft(path)
    split: SplitConfig | None = draft.section("split", SplitConfig)
    if split is None:
        raise draft.error()
    return split


def split_panel(split: SplitConfig, panel: Panel, horizons: Sequence[int] = ()) -> "Split":
    """A panel's rows split in time, as a recipe's section says.

    The embargo of ``auto`` is one row more than is looked ahead (``horizons``, and the labels' longest
    horizon), because a decision is filled on the day after it is taken.

    Raises:
        RecipeError: the embargo is shorter than that.
    """
    from tradeschool.market.outcomes import LONGEST_LABEL_HORIZON
    from tradeschool.market.splits import walk_forward

    needed = 1 + max([LONGEST_LABEL_HORIZON, *horizons])
    embargo = needed if split.embargo == "auto" else split.embargo
    if embargo < needed:
        raise RecipeError(
            f"split.embargo is {embargo} days, but the task looks {needed - 1} days ahead from the next open: "
            f"outcomes of one part would reach into the next. Give at least {needed}, or auto."
        )
    dates = (split.validation_from, split.test_from) if split.validation_from and split.test_from else None
    shares = (split.train or 0.0, split.validation or 0.0, split.test or 0.0)
    folds = walk_forward(panel, split.folds, shares, dates, embargo=embargo, warmup=split.warmup)
    return folds[split.fold]
