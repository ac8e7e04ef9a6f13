"""How sure a mean grade is, and how many episodes a claim needs."""

import functools
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
"""Tables count dates in blocks as long as this many episodes. No interval hangs on them."""
MOST_TERMS = 200
"""Cosines looked at. With so many degrees of freedom an interval is .6 % wider than with any number of them."""
LEVEL = 0.95


class Interval(NamedTuple):
    """A mean and the ends of its interval, NaN where there are too few dates to tell."""

    value: float
    low: float
    high: float


class MeanEstimate(NamedTuple):
    """A mean, its standard error, and the degrees of freedom of that; NaN, NaN and 0 where dates are too few."""

    value: float
    error: float
    freedom: int

    def interval(self, level: float = LEVEL) -> Interval:
        """The t-interval that holds the true mean in a share ``level`` of all cases."""
        from scipy.stats import t

        if not self.freedom:
            return Interval(self.value, math.nan, math.nan)
        reach = float(t.ppf((1 + level) / 2, self.freedom)) * self.error
        return Interval(self.value, self.value - reach, self.value + reach)

    @property
    def p_value(self) -> float:
        """Two-sided, of a true mean of 0; below 1 - level just where the interval leaves 0 out. NaN like the error."""
        from scipy.stats import t

        if not self.freedom:
            return math.nan
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * t.sf(abs(self.value) / self.error, self.freedom))


def mean_estimate(values: Sequence[float] | Floats, starts: Sequence[int] | NDArray[Any], days: int) -> MeanEstimate:
    """The mean of values of episodes that may overlap in time, and how sure it is.

    Episodes that share dates share their luck: a hundred seeds over one year are not a hundred years. The long-run
    variance is estimated by the mean square of the values' projections on the nu slowest cosines of time, and the mean
    over its error has nu degrees of freedom: the equal-weighted cosine estimator (Mueller 2007; Lazarus, Lewis, Stock &
    Watson 2018, "HAR Inference: Recommendations for Practice"). As starts are not evenly spaced, the cosines are made
    orthogonal to each other and to the mean at the starts that there are.

    nu is chosen before any value is seen, as in Mueller & Watson (2022, "Spatial Correlation Robust Inference"): the
    worst case is that all luck is the days', so that two episodes correlate by the share of their days that they have
    in common. There a projection has less variance than the mean has, the more the faster its cosine; the estimate is
    divided by that ratio, and nu is the number for which the interval is then the shortest. Where no episodes overlap
    the ratio is 1, and what comes out is Student's t-interval. Luck that lasts much longer than an episode makes any
    such interval too narrow.

    Args:
        values: [B] one an episode: total grades, or differences of two agents' on the same seeds.
        starts: [B] the row each began at.
        days: of an episode.

    Raises:
        EnvError: there are no values, or not a start for each.
    """
    if not len(values) == len(starts) > 0:
        raise EnvError(f"{len(values)} values and {len(starts)} starts: give a start for each of at least one value.")
    values_B = np.asarray(values, float)
    mean = float(values_B.mean())
    row_R, at_B, count_R = np.unique(_closed_up(starts, days), return_inverse=True, return_counts=True)
    terms = min(len(row_R) - 1, (int(row_R[-1]) + days) // days - 1, MOST_TERMS)
    if terms < 1:
        return MeanEstimate(mean, math.nan, 0)
    weight_RK = _cosines(row_R, count_R, days, terms)
    squares_K = (np.bincount(at_B, weights=values_B - mean) @ weight_RK[:, 1:]) ** 2
    shared_K = _shared(row_R, count_R[:, None] * weight_RK, days)
    number_K = np.arange(1, terms + 1)
    ratio_K = np.minimum(np.cumsum(shared_K[1:]) / number_K / shared_K[0], 1.0)
    nu = int(np.argmin(_reach(terms) / np.sqrt(ratio_K))) + 1
    variance = float(squares_K[:nu].mean()) / float(ratio_K[nu - 1])
    return MeanEstimate(mean, math.sqrt(variance / len(values_B)), nu)


def mean_interval(
    values: Sequence[float] | Floats, starts: Sequence[int] | NDArray[Any], days: int, level: float = LEVEL
) -> Interval:
    """The interval of :func:`mean_estimate`.

    Args:
        values: [B] one an episode: total grades, or differences of two agents' on the same seeds.
        starts: [B] the row each began at.
        days: of an episode.
        level: share of intervals that hold the true mean.

    Raises:
        EnvError: there are no values, or not a start for each, or the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise EnvError(f"level {level}: give a level between 0 and 1.")
    return mean_estimate(values, starts, days).interval(level)


def _closed_up(starts: Sequence[int] | NDArray[Any], days: int) -> NDArray[np.int64]:
    """[B] starts counted from the first, gaps without any episode left out: they say nothing of what is shared."""
    row_R, at_B = np.unique(np.asarray(starts, np.int64), return_inverse=True)
    moved_R = np.concatenate([[0], np.cumsum(np.minimum(np.diff(row_R), days))])
    closed_B: NDArray[np.int64] = moved_R[at_B]
    return closed_B


def _cosines(row_R: NDArray[np.int64], count_R: NDArray[np.int64], days: int, terms: int) -> Floats:
    """[R, 1 + terms] orthonormal over all episodes, ``count_R`` of which begin at each row; the first is constant."""
    time_R = (row_R + days / 2) / (row_R[-1] + days)
    root_R1 = np.sqrt(count_R)[:, None]
    basis_RK, _ = np.linalg.qr(root_R1 * np.cos(np.pi * np.outer(time_R, np.arange(terms + 1))))
    weight_RK: Floats = basis_RK / root_R1
    return weight_RK


def _shared(row_R: NDArray[np.int64], weight_RK: Floats, days: int) -> Floats:
    """[K] variance of weighted sums of episodes, each of which is the sum of its days' luck, of variance 1 / days."""
    total_TK = np.zeros((int(row_R[-1]) + days + 1, weight_RK.shape[1]))
    total_TK[row_R + 1] = weight_RK
    total_TK = np.cumsum(total_TK, axis=0)
    day_TK = total_TK[1:].copy()
    day_TK[days:] -= total_TK[1:-days]
    shared_K: Floats = (day_TK**2).sum(0) / days
    return shared_K


@functools.cache
def _reach(most: int) -> Floats:
    """[most] how many standard errors an interval reaches with 1, 2, ... degrees of freedom."""
    from scipy.stats import t

    reach: Floats = t.ppf((1 + LEVEL) / 2, np.arange(1, most + 1))
    return reach


def grade_interval(records: Sequence[Record], level: float = LEVEL) -> Interval:
    """The mean total grade of one agent's records.

    Raises:
        EnvError: there are none, or not all have the same number of days.
    """
    return mean_interval(totals(records), *_where(records), level)


def paired_interval(first: Sequence[Record], second: Sequence[Record], level: float = LEVEL) -> Interval:
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
    difference: float, deviation: float, *, is_paired: bool = True, power: float = 0.8, level: float = LEVEL
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
