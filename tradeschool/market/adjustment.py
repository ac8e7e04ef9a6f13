"""What an Adj Close says about splits and dividends, each known from its own day on."""

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.panel import Floats

LARGEST_NOISE = 5e-5
"""A smaller change of Adj Close / Close from one day to the next is rounding, not a dividend."""
USUAL_NOISE = 1e-6
"""Twice the largest one of Yahoo's files, which are computed in single precision and have six decimals."""
EXACT_NOISE = 1e-12
"""A file whose factors change by no more than this without a dividend was not rounded."""
ROWS_SEEN = 5
"""Changes without a dividend after which a file counts as not rounded."""
CENT = 0.01
DIVIDEND_UNITS = (CENT / 7, CENT / 6, CENT / 3, CENT / 100, CENT / 20, CENT / 4, CENT / 10, CENT)
"""What dividends are multiples of, the likeliest last; parts of a cent where the stock was split later."""
SPLIT = 0.15
"""A change of the factor above this share may be a split."""


def adjustment_factor_T(adj_close_T: Floats, close_T: Floats) -> Floats:
    """What to multiply each day's prices by to get prices whose returns are what a holder earned, [T].

    The factor is 1 on the first day and grows with every split and dividend on its own day. So the prices of a day
    depend on the past alone. Adj Close itself is 1 on the last day, and every later dividend changes its whole past.

    The change of the factor on a day is read from Adj Close / Close of the day and of the day before. Files round the
    Adj Close, and a later dividend changes how. So changes that rounding explains are taken for none. Others are
    taken for the dividend or split ratio in round figures that is within the rounding. A change that is near none is
    rounded to 10 decimals in a file that was not rounded, otherwise to 5.

    Args:
        adj_close_T: the file's Adj Close, positive.
        close_T: its Close.
    """
    listed_T = adj_close_T / close_T
    # 1 - dividend / close before it; of a split 1 / (shares after for one before).
    step_T = listed_T[:-1] / listed_T[1:]
    noise_T, exact_T = _noise(np.abs(step_T - 1))
    at = np.flatnonzero(np.abs(step_T - 1) > np.where(exact_T, EXACT_NOISE, LARGEST_NOISE))
    plain_T = np.ones(len(step_T))
    plain_T[at] = _plain_steps(step_T[at], close_T[at], noise_T[at])
    factor_T = np.ones(len(listed_T))
    np.cumprod(1 / plain_T, out=factor_T[1:])
    return factor_T


def _noise(moved_T: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """How far a change may be off for rounding, by the changes until then that are rounding, and where it is not."""
    small_T = moved_T <= LARGEST_NOISE
    # A running maximum, because later rows may not change what is read from earlier ones.
    largest_T = np.maximum.accumulate(np.where(small_T, moved_T, 0.0))
    exact_T = (largest_T <= EXACT_NOISE) & (np.cumsum(small_T) >= ROWS_SEEN)
    return np.where(exact_T, EXACT_NOISE, np.maximum(USUAL_NOISE, 2 * largest_T)), exact_T


def _plain_steps(step_E: Floats, close_E: Floats, noise_E: Floats) -> Floats:
    """Each step as the plainest figure within its noise, [E]."""
    plain_E = np.where(noise_E > EXACT_NOISE, np.round(step_E, 5), np.round(step_E, 10))
    paid_E, slack_E = (1 - step_E) * close_E, noise_E * close_E
    for unit in DIVIDEND_UNITS:
        whole_E = np.round(paid_E / unit) * unit
        near_E = (np.abs(paid_E - whole_E) <= slack_E) & (4 * slack_E < unit) & (whole_E < close_E)
        plain_E = np.where(near_E, 1 - whole_E / close_E, plain_E)
    for below in (5, 4, 3, 2, 1):
        for inverse in (False, True):
            ratio_E = 1 / step_E if inverse else step_E
            whole_E = np.maximum(np.round(ratio_E * below), 1) / below
            near_E = (np.abs(ratio_E - whole_E) <= noise_E * ratio_E) & (np.abs(step_E - 1) > SPLIT)
            plain_E = np.where(near_E, 1 / whole_E if inverse else whole_E, plain_E)
    return plain_E
