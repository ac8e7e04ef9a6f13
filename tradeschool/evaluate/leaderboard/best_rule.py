"""The rule that who was trained is compared with: chosen on days before those that are played."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tradeschool.env.config import EnvError
from tradeschool.env.sampling import Interval
from tradeschool.evaluate.leaderboard.book import Book
from tradeschool.evaluate.leaderboard.playing import Match
from tradeschool.evaluate.leaderboard.rivals import Rival
from tradeschool.evaluate.leaderboard.row import Edition
from tradeschool.evaluate.leaderboard.standing import standings
from tradeschool.tasks.base import SplitName

ROWS = "rows-{split}.json"
BEFORE: dict[SplitName, tuple[SplitName, ...]] = {"test": ("validation", "train"), "validation": ("train",)}
"""Parts of the dates before the one that is played; the first that an episode fits into is taken."""


@dataclass(frozen=True)
class Choice:
    """The best of ``among`` rules by its mean grade in ``episodes`` on the rows of ``split``."""

    agent: str
    split: SplitName
    episodes: int
    grade: Interval
    among: int


def choose(match: Match, rules: Sequence[Rival], folder: Path) -> Choice:
    """Play the rules on a part before that of ``match``, as many episodes; their rows are kept in ``folder``.

    The highest of several means on the episodes that are compared would be the luckiest, too.

    Raises:
        EnvError: no episode fits into any part before.
    """
    split, edition = _before(match)
    earlier = dataclasses.replace(match, split=split, edition=edition, book=Book(folder / ROWS.format(split=split)))
    best = standings([earlier.play(rule) for rule in rules])[0]
    return Choice(best.row.agent, split, best.row.episodes, best.grade, len(rules))


def _before(match: Match) -> tuple[SplitName, Edition]:
    *parts, last = BEFORE[match.split]
    for split in parts:
        try:
            return split, Edition.of(match.arena.env(split, "numeric"), match.edition.seed)
        except EnvError:
            continue  # no episode fits there; the choice says which part was taken in its place
    return last, Edition.of(match.arena.env(last, "numeric"), match.edition.seed)
