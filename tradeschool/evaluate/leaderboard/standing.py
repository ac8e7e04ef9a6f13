"""What rows say: means with intervals, paired differences, and how many episodes a difference needs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tradeschool.env.sampling import Interval, episodes_needed, mean_interval
from tradeschool.errors import RunError
from tradeschool.evaluate.leaderboard.row import Row

REFERENCE = "buy and hold"
CLAIMS = (0.02, 0.05)
"""Differences of mean grades for which the episodes they need are told."""
NO_DIFFERENCE = 1e-9

Verdict = Literal["above", "below", "not shown", "same", "reference", "too few dates"]


@dataclass(frozen=True)
class Difference:
    """The mean paired difference of total grades, first less second; ``deviation`` is that of the single ones."""

    first: str
    second: str
    interval: Interval
    deviation: float
    episodes: int

    @property
    def verdict(self) -> Verdict:
        """Whether the interval excludes 0, and to which side."""
        if self.deviation < NO_DIFFERENCE and abs(self.interval.value) < NO_DIFFERENCE:
            return "same"
        if math.isnan(self.interval.low):
            return "too few dates"
        return "above" if self.interval.low > 0 else "below" if self.interval.high < 0 else "not shown"


@dataclass(frozen=True)
class Standing:
    """A row with what follows from it. ``difference`` is that to the reference; None for the reference itself."""

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
    interval = mean_interval(gain_B, first.starts[:count], first.edition.days)
    return Difference(first.agent, second.agent, interval, deviation, count)


def standings(rows: Sequence[Row], reference: str = REFERENCE) -> list[Standing]:
    """The rows of one edition, the highest mean grade first."""
    base = next((row for row in rows if row.agent == reference), None)
    found = [
        Standing(
            row=row,
            grade=mean_interval(row.grades, row.starts, row.edition.days),
            parts={name: float(np.mean(values)) for name, values in row.parts.items()},
            mean_return=float(np.mean(row.returns)),
            refused=float(np.mean(row.refused)),
            difference=None if base is None or row is base else difference(row, base),
        )
        for row in rows
    ]
    return sorted(found, key=lambda standing: -standing.grade.value)


def needed(found: Sequence[Standing], claim: float) -> tuple[int, int] | None:
    """The fewest and the most episodes, by agent, that a paired difference of ``claim`` to the reference needs.

    With the deviations measured here, for episodes that do not overlap in time. None where none was measured.
    """
    deviations = [one.difference.deviation for one in found if one.difference]
    counts = [episodes_needed(claim, deviation) for deviation in deviations if deviation > NO_DIFFERENCE]
    return (min(counts), max(counts)) if counts else None
