"""What rows say: means with intervals, paired differences, what they show, and how many episodes they need."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tradeschool.env.sampling import LEVEL, Interval, episodes_needed, mean_estimate, mean_interval
from tradeschool.errors import RunError
from tradeschool.evaluate.leaderboard.row import Row
from tradeschool.evaluate.verdict import holm

REFERENCE = "buy and hold"
CLAIMS = (0.02, 0.05)
"""Differences of mean grades for which the episodes they need are told."""
READING = ("unread", "out_of_room")
"""Figures of a language model: shares of its answers that could not be read, and of its episodes without room."""
NO_DIFFERENCE = 1e-9
FEWEST_BLOCKS = 10
"""Blocks of dates below which an interval is rough, however many episodes there are."""

Verdict = Literal["above", "below", "not shown", "same", "reference", "too few dates"]


@dataclass(frozen=True)
class Difference:
    """The mean paired difference of total grades, first less second.

    Attributes:
        first, second: agents.
        interval: the 95 % one, which knows of no other comparison.
        deviation: of the episodes' differences.
        episodes: that both have played.
        p_value: two-sided, of no difference; after :func:`judged` it allows for the number of comparisons. NaN where
            there are too few dates.
    """

    first: str
    second: str
    interval: Interval
    deviation: float
    episodes: int
    p_value: float

    @property
    def verdict(self) -> Verdict:
        """Whether there is a difference at 5 %, and to which side."""
        if self.is_same:
            return "same"
        if math.isnan(self.p_value):
            return "too few dates"
        if self.p_value >= 1 - LEVEL:
            return "not shown"
        return "above" if self.interval.value > 0 else "below"

    @property
    def is_same(self) -> bool:
        """Whether the grades are the same in every episode."""
        return self.deviation < NO_DIFFERENCE and abs(self.interval.value) < NO_DIFFERENCE

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval does; the verdict may still be that nothing is shown."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True)
class Standing:
    """A row with what follows from it.

    ``difference`` is that to the reference, judged among those of all rows; None for the reference itself.
    """

    row: Row
    grade: Interval
    parts: dict[str, float]
    mean_return: float
    refused: float
    difference: Difference | None

    @property
    def verdict(self) -> Verdict:
        """Against the reference."""
        return self.difference.verdict if self.difference else "reference"


def difference(first: Row, second: Row) -> Difference:
    """The paired difference of two rows on the episodes that both have.

    Raises:
        RunError: the rows are of different editions, or began elsewhere.
    """
    count = min(first.episodes, second.episodes)
    if first.edition != second.edition or first.starts[:count] != second.starts[:count]:
        raise RunError(
            f"{first.agent} and {second.agent} did not play the same episodes of the same version: there is nothing "
            "to compare. Play both again with --again."
        )
    gain_B = np.subtract(first.grades[:count], second.grades[:count])
    deviation = float(gain_B.std(ddof=1)) if count > 1 else math.nan
    mean = mean_estimate(gain_B, first.starts[:count], first.edition.days)
    return Difference(first.agent, second.agent, mean.interval(), deviation, count, mean.p_value)


def judged(differences: Sequence[Difference]) -> list[Difference]:
    """The differences with p-values that allow for their number, by Holm (1979).

    However many agents there are, the chance that one of them is said to differ and does not is at most 5 % then. What
    is the same in every episode, or has too few dates, claims nothing and does not count.
    """
    tests = {str(place): one.p_value for place, one in enumerate(differences) if _is_test(one)}
    adjusted = holm(tests)
    return [
        dataclasses.replace(one, p_value=adjusted.get(str(place), one.p_value)) for place, one in enumerate(differences)
    ]


def _is_test(one: Difference) -> bool:
    return not one.is_same and not math.isnan(one.p_value)


def standings(rows: Sequence[Row], reference: str = REFERENCE) -> list[Standing]:
    """The rows of one edition, the highest mean grade first; all differences to the reference are judged together."""
    base = next((row for row in rows if row.agent == reference), None)
    others = [row for row in rows if row is not base] if base else []
    gaps = {one.first: one for one in judged([difference(row, base) for row in others if base])}
    found = [
        Standing(
            row=row,
            grade=mean_interval(row.grades, row.starts, row.edition.days),
            parts={name: float(np.mean(values)) for name, values in row.parts.items()},
            mean_return=float(np.mean(row.returns)),
            refused=float(np.mean(row.refused)),
            difference=None if row is base else gaps.get(row.agent),
        )
        for row in rows
    ]
    return sorted(found, key=lambda standing: -standing.grade.value)


def agreed(found: Sequence[Standing], compared: Sequence[Difference]) -> tuple[list[Standing], list[Difference]]:
    """Both, with the larger p-value where a difference stands in both: two things must not be said of one pair."""
    both = [*compared, *(one.difference for one in found if one.difference)]
    largest: dict[tuple[str, str], float] = {}
    for one in both:
        pair = one.first, one.second
        largest[pair] = max(one.p_value, largest.get(pair, one.p_value))

    def with_largest(one: Difference) -> Difference:
        return dataclasses.replace(one, p_value=largest[one.first, one.second])

    standing = [dataclasses.replace(one, difference=one.difference and with_largest(one.difference)) for one in found]
    return standing, [with_largest(one) for one in compared]


def needed(found: Sequence[Standing], claim: float) -> tuple[int, int] | None:
    """The fewest and the most episodes, by agent, that a paired difference of ``claim`` to the reference needs.

    With the deviations measured here, for episodes that do not overlap in time. None where none was measured.
    """
    deviations = [one.difference.deviation for one in found if one.difference]
    counts = [episodes_needed(claim, deviation) for deviation in deviations if deviation > NO_DIFFERENCE]
    return (min(counts), max(counts)) if counts else None
