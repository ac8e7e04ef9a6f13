"""How sure a mean grade is, and how many episodes a claim needs."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.config import EnvError
from tradeschool.env.grading import totals
from tradeschool.env.harness import Record
from tradeschool.market.panel import Floats

BLOCK_EPISODES = 2
"""A block of dates is as long as this many episodes: most episodes that overlap start in one block."""


class Interval(NamedTuple):
    """A mean and the ends of its interval, NaN where there are too few blocks of dates to tell."""

    value: float
    low: float
    high: float


def mean_interval(
    values: Sequence[float] | Floats, starts: Sequence[int] | NDArray[Any], days: int, level: float = 0.95
) -> Interval:
    """The mean of values of episodes, with a t-interval over blocks of dates.

    Episodes that share dates share their luck: a hundred seeds over one year are not a hundred years. Values are
    therefore summed within blocks of ``2 * days`` rows by their start, and the blocks are taken as independent: the
    cluster-robust standard error of Liang & Zeger (1986), with G - 1 degrees of freedom for G blocks. Where every
    episode has a block of its own, it is the ordinary t-interval.

    Args:
        values: [B] one an episode: total grades, or differences of two agents' on the same seeds.
        starts: [B] the row each began at.
        days: of an episode.
        level: share of intervals that hold the true mean.

    Raises:
        EnvError: there are no values, or not a start for each, or the level is not between 0 and 1.
    """
    from scipy.stats import t

    if not len(values) == len(starts) > 0 or not 0 < level < 1:
        raise EnvError(
            f"{len(values)} values, {len(starts)} starts, level {level}: give a start for each of at least one value, "
            "and a level between 0 and 1."
        )

    values_B, block_B = np.asarray(values, float), np.asarray(starts, np.int64) // (BLOCK_EPISODES * days)
    mean = float(values_B.mean())
    blocks, block_B = np.unique(block_B, return_inverse=True)
    count = len(blocks)
    if count < 2:
        return Interval(mean, math.nan, math.nan)
    sums_G = np.bincount(block_B, weights=values_B - mean)
    error = math.sqrt(count / (count - 1) * float(sums_G @ sums_G)) / len(values_B)
    reach = float(t.ppf((1 + level) / 2, count - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def grade_interval(records: Sequence[Record], level: float = 0.95) -> Interval:
    """The mean total grade of one agent's records.

    Raises:
        EnvError: there are none, or not all have the same number of days.
    """
    return mean_interval(totals(records), *_where(records), level)


def paired_interval(first: Sequence[Record], second: Sequence[Record], level: float = 0.95) -> Interval:
    """The mean difference of total grades, first less second, on the same episodes.

    Raises:
        EnvError: the records are not of the same episodes under the same rules.
    """
    return mean_interval(paired(first, second), *_where(first), level)


def paired(first: Sequence[Record], second: Sequence[Record]) -> Floats:
    """[B] differences of total grades, first less second.

    Raises:
        EnvError: the records are not of the same episodes under the same rules.
    """
    for one, other in zip(first, second, strict=False):
        if (one.start, one.tickers, one.versions) != (other.start, other.tickers, other.versions):
            raise EnvError(
                f"{one.agent} and {other.agent} did not play the same episodes (seeds {one.seed} and {other.seed}). "
                "Compare agents on the same seeds, market and version."
            )
    if len(first) != len(second):
        raise EnvError(f"{len(first)} and {len(second)} episodes are no pairs. Play both agents on the same seeds.")
    difference_B: Floats = totals(first) - totals(second)
    return difference_B


def episodes_needed(
    difference: float, deviation: float, *, is_paired: bool = True, power: float = 0.8, level: float = 0.95
) -> int:
    """Episodes, of each agent, after which a difference of mean grades will be seen.

    The normal approximation for means: ((z of level + z of power) * deviation / difference) squared, and twice that
    for two agents on different seeds. Episodes that overlap in time count for less than one: spread the seeds.

    Args:
        difference: claimed, in units of the grade.
        deviation: standard deviation over episodes: of the paired differences, or else of either agent's grades.
        is_paired: both agents play the same seeds.
        power: chance to see the difference if it is there.
        level: of the interval that then excludes 0.

    Raises:
        EnvError: a number is out of its range.
    """
    from scipy.stats import norm

    if not (difference > 0 and deviation >= 0 and 0 < power < 1 and 0 < level < 1):
        raise EnvError(
            f"difference {difference}, deviation {deviation}, power {power}, level {level}: give a difference above 0, "
            "a deviation of at least 0, and power and level between 0 and 1."
        )
    z = float(norm.ppf((1 + level) / 2) + norm.ppf(power))
    return max(2, math.ceil((1 if is_paired else 2) * (z * deviation / difference) ** 2))


def _where(records: Sequence[Record]) -> tuple[list[int], int]:
    if not records:
        raise EnvError("there is no episode to take a mean of: play at least one.")
    return [record.start for record in records], len(records[0].turnover_D)
