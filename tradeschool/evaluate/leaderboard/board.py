"""Plays a leaderboard: every rival on every level of every market, what was played before excepted."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from tradeschool.env.config import EnvError
from tradeschool.env.data import MarketData
from tradeschool.env.levels import LEVELS
from tradeschool.env.trading import TradingEnv
from tradeschool.errors import RunError, TradeschoolError
from tradeschool.evaluate.leaderboard.book import Book
from tradeschool.evaluate.leaderboard.playing import Match
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe
from tradeschool.evaluate.leaderboard.row import Edition, Row
from tradeschool.market.splits import Split
from tradeschool.run_folder import locked, plain_os_error
from tradeschool.tasks.base import SplitName
from tradeschool.trace import Trace, write_traces

FOLDER = Path("leaderboards")
PART: SplitName = "test"


@dataclass(frozen=True)
class LevelArena:
    """A level on a market whose rows are split in time."""

    data: MarketData
    split: Split
    level: str

    def env(self, split: SplitName, observation: Literal["text", "numeric"]) -> TradingEnv:
        """The environment on the rows of a part.

        Raises:
            EnvError: no episode of the level fits there.
        """
        return TradingEnv(self.data, rows=self.split.ends(split), observation=observation, **LEVELS[self.level])


@dataclass(frozen=True)
class Played:
    """What a market and level came to: the book with its rows, or why there are none.

    ``edition`` is the present one, and ``rows`` are those of the rivals as they are now, no others of their names.
    ``missing`` says of rivals by name why they were not played now; they may have a row of before, of fewer episodes.
    """

    market: str
    level: str
    book: Book | None = None
    edition: Edition | None = None
    rows: tuple[Row, ...] = ()
    missing: dict[str, str] | None = None
    reason: str = ""


def play_all(recipe: LeaderboardRecipe, folder: Path, console: Console, *, again: bool = False) -> list[Played]:
    """Play what is missing, write every row as soon as it is there, and give all that there is.

    Raises:
        TradeschoolError: a market cannot be read, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder), _progress(console) as bar:
            return list(_play_markets(recipe, folder, bar, again))
    except OSError as error:
        raise plain_os_error(error, folder) or RunError(f"{folder}: {error.strerror}.") from error


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    from tradeschool.train.logging import progress

    with progress(console) as bar:
        yield bar


def _play_markets(recipe: LeaderboardRecipe, folder: Path, bar: Progress, again: bool) -> Iterator[Played]:
    from tradeschool.opening import load_market, split_panel

    total = bar.add_task("agents", total=len(recipe.markets) * len(recipe.levels) * len(recipe.rivals), figures="")
    for name, market in recipe.markets.items():
        bar.update(total, figures=f"{name}: reading")
        panel = load_market(market, bar.console)
        data, split = MarketData(panel), split_panel(recipe.split, panel)
        for level in recipe.levels:
            bar.update(total, figures=f"{name}, {level}")
            yield _play_level(recipe, name, LevelArena(data, split, level), folder, bar, again)
            bar.advance(total, len(recipe.rivals))


def _play_level(
    recipe: LeaderboardRecipe, market: str, arena: LevelArena, folder: Path, bar: Progress, again: bool
) -> Played:
    try:
        edition = Edition.of(arena.env(PART, "numeric"), recipe.seed)
    except EnvError as error:
        return Played(market, arena.level, reason=str(error))
    name = f"{market}-{arena.level}"
    book = Book(folder / f"{name}.json")

    def keep(agent: str, traces: list[Trace]) -> None:
        (folder / name).mkdir(exist_ok=True)
        write_traces(folder / name / f"traces-{file_name(agent)}.jsonl", traces)

    match = Match(arena, PART, edition, recipe.episodes, book, bar, keep)
    rows: list[Row | None] = []
    missing: dict[str, str] = {}
    for rival in recipe.rivals:
        try:
            rows.append(match.play(rival, again))
        except Exception as error:  # whatever it is made of may fail in any way, and the others are to be played
            if full := plain_os_error(error, folder):
                raise full from error
            missing[rival.name] = reason(error)
            rows.append(match.kept(rival))
    return Played(market, arena.level, book, edition, tuple(filter(None, rows)), missing)


def reason(error: Exception) -> str:
    """Why an agent could not play; an error that was not foreseen is named with its type."""
    return str(error) if isinstance(error, TradeschoolError) else f"{type(error).__name__}: {error}".rstrip(": ")


def file_name(name: str) -> str:
    """An agent's name as part of a file's; where letters had to be replaced, a hash keeps "a b" and "a-b" apart."""
    plain = plain_file_name(name)
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def plain_file_name(name: str) -> str:
    """As files were named before names were kept apart."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)


def print_notes(recipe: LeaderboardRecipe, console: Console) -> None:
    """What the reading of the recipe has to tell."""
    for note in recipe.notes:
        console.print(Text(f"Note: {note}."))
