"""Means over episodes that overlap in time: HAR standard errors, t-intervals and sample sizes.

HAR: robust to heteroskedasticity and autocorrelation. This is the equal-weighted cosine estimator, for episodes.
Evaluations with questions on every date use ``evaluate/inference.py``: the same method on evenly spaced dates.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.config import EnvError
from tradeschool.evaluate.comparison import Interval
from tradeschool.market.panel import Floats

BLOCK_EPISODES = 2
"""Reports count dates in blocks of this many episodes. Intervals do not depend on it."""
MOST_TERMS = 200
"""Cosines considered. With this many degrees of freedom an interval is 0.6 % wider than with infinitely many."""
FEWEST_LENGTHS = 5
"""Where the episodes cover fewer dates than this many episodes side by side, nothing is claimed."""
CONFIDENCE = 0.95
POWER = 0.8
"""Chance of detecting a difference that exists, for the number of episodes needed."""


@dataclass(frozen=True, eq=False)
class CosineEstimate:
    """The mean of one value per episode, for episodes that may overlap in time. Subtracting two pairs their episodes.

    Episodes that share dates are correlated: a hundred seeds over one year are not a hundred years. The long-run
    variance is the mean square of the values' projections on the nu slowest cosines of time, and the mean divided by
    its standard error follows a t distribution with nu degrees of freedom (Mueller 2007; Lazarus, Lewis, Stock &
    Watson 2018, "HAR Inference: Recommendations for Practice"). Starts are not evenly spaced, so the cosines are made
    orthogonal to each other and to the mean at the starts given.

    nu depends on the starts alone, not on the values, as in Mueller & Watson (2022, "Spatial Correlation Robust
    Inference"). The assumed worst case is that all noise is that of days, so that two episodes correlate by the share
    of days they have in common. In that case a projection has less variance than the mean, and the faster its cosine,
    the less. The estimate is divided by that ratio, and nu is the number that gives the shortest interval. Without
    overlap the ratio is 1 and the result is Student's t-interval. If effects last much longer than an episode,
    the interval is too narrow.

    Attributes:
        values_B: [B], one per episode: total grades, or paired differences of two agents' grades.
        starts_B: [B], the market row that each episode began at.
        days: length of an episode.

    Raises:
        EnvError: there are no values, or the numbers of values and starts differ.
    """

    values_B: Floats
    starts_B: NDArray[np.int64]
    days: int

    @classmethod
    def of(cls, values: Sequence[float] | Floats, starts: Sequence[int] | NDArray[Any], days: int) -> "CosineEstimate":
        """The estimate of values and starts in any form."""
        return cls(np.asarray(values, float), np.asarray(starts, np.int64), days)

    def __post_init__(self) -> None:
        if not len(self.values_B) == len(self.starts_B) > 0:
            raise EnvError(
                f"{len(self.values_B)} values and {len(self.starts_B)} starts: give a start for each of at least one "
                "value."
            )

    def __sub__(self, other: "CosineEstimate") -> "CosineEstimate":
        """The mean paired difference on the episodes that both have: the first ones.

        Raises:
            EnvError: the episodes do not begin at the same rows.
        """
        count = min(len(self.values_B), len(other.values_B))
        if self.days != other.days or (self.starts_B[:count] != other.starts_B[:count]).any():
            raise EnvError("the estimates are not of the same episodes. Compare agents on the same seeds.")
        return CosineEstimate(self.values_B[:count] - other.values_B[:count], self.starts_B[:count], self.days)

    @property
    def value(self) -> float:
        """The mean."""
        return float(self.values_B.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean; NaN where the episodes cover too few dates."""
        return self._error_and_freedom[0]

    @property
    def degrees_of_freedom(self) -> int:
        """Of the t distribution; 0 where the episodes cover too few dates."""
        return self._error_and_freedom[1]

    @functools.cached_property
    def _error_and_freedom(self) -> tuple[float, int]:
        row_R, at_B, count_R = np.unique(
            _without_gaps(self.starts_B, self.days), return_inverse=True, return_counts=True
        )
        terms = min(len(row_R) - 1, (int(row_R[-1]) + self.days) // self.days - 1, MOST_TERMS)
        if terms < 1:
            return math.nan, 0
        weight_RK = _cosines(row_R, count_R, self.days, terms)
        squares_K = (np.bincount(at_B, weights=self.values_B - self.value) @ weight_RK[:, 1:]) ** 2
        variance_K = _variance_if_shared(row_R, count_R[:, None] * weight_RK, self.days)
        number_K = np.arange(1, terms + 1)
        ratio_K = np.minimum(np.cumsum(variance_K[1:]) / number_K / variance_K[0], 1.0)
        nu = int(np.argmin(_critical_values(terms) / np.sqrt(ratio_K))) + 1
        variance = float(squares_K[:nu].mean()) / float(ratio_K[nu - 1])
        return math.sqrt(variance / len(self.values_B)), nu

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """The t-interval; its ends are NaN where the episodes cover too few dates."""
        from scipy.stats import t

        if not self.degrees_of_freedom:
            return Interval(value=self.value, low=math.nan, high=math.nan)
        margin = float(t.ppf((1 + confidence) / 2, self.degrees_of_freedom)) * self.standard_error
        return Interval(value=self.value, low=self.value - margin, high=self.value + margin)

    @property
    def p_value(self) -> float:
        """Two-sided p of a true mean of 0, by the interval's t distribution; NaN where dates are too few to claim."""
        from scipy.stats import t

        if self.standard_error == self.value == 0:
            return 1.0
        days_covered = int(_without_gaps(self.starts_B, self.days).max()) + self.days
        if not self.degrees_of_freedom or days_covered < FEWEST_LENGTHS * self.days:
            return math.nan
        if self.standard_error == 0:
            return 0.0
        return 2 * float(t.sf(abs(self.value) / self.standard_error, self.degrees_of_freedom))


def _without_gaps(starts: Sequence[int] | NDArray[Any], days: int) -> NDArray[np.int64]:
    """[B] starts counted from the first one; gaps longer than an episode are shortened to an episode."""
    row_R, at_B = np.unique(np.asarray(starts, np.int64), return_inverse=True)
    moved_R = np.concatenate([[0], np.cumsum(np.minimum(np.diff(row_R), days))])
    closed_B: NDArray[np.int64] = moved_R[at_B]
    return closed_B


def _cosines(row_R: NDArray[np.int64], count_R: NDArray[np.int64], days: int, terms: int) -> Floats:
    """[R, 1 + terms], orthonormal over all episodes, ``count_R`` of which begin at each row. The first is constant."""
    time_R = (row_R + days / 2) / (row_R[-1] + days)
    root_R1 = np.sqrt(count_R)[:, None]
    basis_RK, _ = np.linalg.qr(root_R1 * np.cos(np.pi * np.outer(time_R, np.arange(terms + 1))))
    weight_RK: Floats = basis_RK / root_R1
    return weight_RK


def _variance_if_shared(row_R: NDArray[np.int64], weight_RK: Floats, days: int) -> Floats:
    """[K] variance of weighted sums of episodes if each is the sum of its days' independent noise."""
    total_TK = np.zeros((int(row_R[-1]) + days + 1, weight_RK.shape[1]))
    total_TK[row_R + 1] = weight_RK
    total_TK = np.cumsum(total_TK, axis=0)
    day_TK = total_TK[1:].copy()
    day_TK[days:] -= total_TK[1:-days]
    variance_K: Floats = (day_TK**2).sum(0) / days
    return variance_K


@functools.cache
def _critical_values(most: int) -> Floats:
    """[most] critical values of t with 1, 2, ... degrees of freedom at CONFIDENCE."""
    from scipy.stats import t

    critical: Floats = t.ppf((1 + CONFIDENCE) / 2, np.arange(1, most + 1))
    return critical


def episodes_needed(difference: float, deviation: float, *, is_paired: bool = True) -> int:
    """Episodes per agent needed to detect a difference of mean grades with a power of 80 %.

    Normal approximation: ((z of CONFIDENCE + z of POWER) * deviation / difference) squared, doubled for two agents on
    different seeds. It assumes episodes that do not overlap in time.

    Args:
        difference: the difference to detect, in units of the grade.
        deviation: standard deviation over episodes: of the paired differences, or of one agent's grades.
        is_paired: whether both agents play the same seeds.
    """
    from scipy.stats import norm

    z = float(norm.ppf((1 + CONFIDENCE) / 2) + norm.ppf(POWER))
    return max(2, math.ceil((1 if is_paired else 2) * (z * deviation / difference) ** 2))
