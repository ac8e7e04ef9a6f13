"""What is in a market, and what a model could learn from it: bars, notes, labels, and features against the outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradeschool import recipe as recipes
from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.market.panel import Panel
from tradeschool.prepare.advice import advice
from tradeschool.prepare.parts import Part, parts
from tradeschool.prepare.presence import Calendar, NoteKind, Presence, calendar, note_kinds, presence
from tradeschool.prepare.relation import Relations, relations
from tradeschool.recipe import Recipe
from tradeschool.tasks.base import Task

WORDS = ("sample", "practice")
FACTS = ["strength", "trend", "momentum", "rsi", "macd", "bollinger", "volatility", "volume"]
"""What a prompt states of real prices where no recipe says it."""
HORIZON = 5
"""Days over which features are held against the outcome where no recipe says it: a trading week."""


@dataclass(frozen=True)
class Overview:
    """All that the table and the page show. ``parts`` and ``relations`` are empty where the market cannot be split.

    ``advice`` is what deserves a look, in plain sentences.
    """

    name: str
    data_hash: str
    dates: tuple[str, ...]
    task: str
    tickers: tuple[Presence, ...]
    calendar: Calendar | None
    notes: tuple[NoteKind, ...]
    parts: tuple[Part, ...]
    relations: Relations | None
    advice: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The task's classes, none where its questions have none."""
        return tuple(self.parts[0].labels) if self.parts else ()


def recipe_of(source: str, sets: Sequence[str] = (), split: dict[str, float] | None = None) -> Recipe:
    """The recipe in a YAML file; for prices, or the words ``sample`` and ``practice``, one of the rating task.

    ``split`` is that of the latter, unless ``sets`` says otherwise.

    Raises:
        RecipeError: the recipe is wrong, or there are no such prices.
    """
    if Path(source).suffix.casefold() in (".yaml", ".yml"):
        return recipes.read(Path(source), sets)
    if source not in WORDS and not Path(source).expanduser().exists():
        near = did_you_mean(source, [*WORDS, *(entry.name for entry in Path().iterdir())])
        raise RecipeError(
            f"There are no prices {source}.{near} Give a recipe (.yaml), a file or folder of prices, or a word: "
            f"{', '.join(WORDS)}."
        )
    market = {"source": source} if source in WORDS else {"path": source}
    task = {"name": "rating", "horizons": [HORIZON], **({} if source == "practice" else {"facts": FACTS})}
    document: dict[str, Any] = {"name": "overview", "market": market, "task": task, "model": {"base": "tiny"}}
    if split is not None:
        document["split"] = split
    return recipes.of({**document, "stages": [{"stage": "evaluate"}]}, sets, source)


def overview(
    panel: Panel,
    task: Task | None,
    *,
    horizons: Sequence[int],
    seed: int = 0,
    exchange: str | None = None,
    problem: str | None = None,
) -> Overview:
    """Look a market over.

    Args:
        panel: the market.
        task: what is asked of it; None where it cannot be split, with the reason in ``problem``.
        horizons: days over which features are held against the outcome.
        seed: of the draws behind the intervals.
        exchange: hold the dates against its calendar.

    Raises:
        TradeschoolError: the calendars are not installed, or there is no such exchange.
    """
    tickers, notes = presence(panel, exchange), note_kinds(panel)
    days = calendar(panel, exchange) if exchange else None
    split: tuple[Part, ...] = ()
    found: Relations | None = None
    if task is not None:
        split, train_T = parts(panel, task), task.rows("train")
        found = relations(panel, int(train_T[0]), int(train_T[-1]), horizons, seed)
    dates = tuple(str(day) for day in panel.dates_T.astype("datetime64[D]"))
    worth_a_look = [problem] if problem else []
    worth_a_look += advice(dates, tickers, days, notes, split, found, real=panel.planted_TN is None)
    return Overview(
        name=panel.name,
        data_hash=panel.data_hash(),
        dates=dates,
        task=task.name if task else "",
        tickers=tuple(tickers),
        calendar=days,
        notes=tuple(notes),
        parts=split,
        relations=found,
        advice=tuple(worth_a_look),
    )
