"""How often a bar comes: daily, on seven days, weekly, monthly or at any other regular step; found from the dates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEW = 5
"""Steps between bars below which nothing can be told: they count as daily."""
WINDOW = 28
"""Days in which the bars of a frequency above weekly are counted: four weeks hold every pattern of weekdays."""
REGULAR = 0.8
"""Share of the steps, or windows, that must agree."""
_NAMES = {
    252: "daily, five days a week",
    313: "daily, six days a week",
    365: "daily, seven days a week",
    52: "weekly",
    26: "every two weeks",
    12: "monthly",
    4: "quarterly",
    1: "yearly",
}


@dataclass(frozen=True)
class Frequency:
    """A regular step: its name, its bars a year, and the calendar days of a usual step between two bars."""

    name: str
    bars_per_year: int
    step: float

    @property
    def is_daily(self) -> bool:
        """Whether there is a bar on every trading day of five, six or seven days a week."""
        return self.bars_per_year >= 252


BUSINESS_DAYS = Frequency(_NAMES[252], 252, 1.0)


def find_frequency(dates_T: NDArray[np.datetime64]) -> Frequency | None:
    """The frequency of ascending days; None if they are neither daily nor regular."""
    days_T = dates_T.astype("datetime64[D]").astype(np.int64)
    steps = np.diff(days_T)
    if len(steps) < FEW:
        return BUSINESS_DAYS
    step = float(np.median(steps))
    business = np.busday_count(dates_T[:-1].astype("datetime64[D]"), dates_T[1:].astype("datetime64[D]"))
    every = int(np.median(business))
    if 2 <= every <= 4 and np.mean(business == every) >= REGULAR:
        return _named(round(252 / every), step)
    if step >= 5:
        usual = steps[np.abs(steps - step) <= max(1.0, 0.2 * step)]
        if len(usual) < REGULAR * len(steps):
            return None
        return _named(max(1, round(365.25 / float(usual.mean()))), step)
    weekends = float(np.mean((days_T + 3) % 7 >= 5))
    windows = np.bincount((days_T - days_T[0]) // WINDOW)[:-1]
    usual_count = float(np.median(windows)) if len(windows) else WINDOW * len(steps) / (days_T[-1] - days_T[0])
    if step == 1:
        # Other gaps are missing bars. Five days a week may be any five: in Tel Aviv, Sunday to Thursday.
        week = usual_count / 4
        return _named(365 if week > 6.5 else 313 if week > 5.5 else 252, step) if weekends else BUSINESS_DAYS
    if not len(windows) or np.mean(np.abs(windows - usual_count) <= 1) < REGULAR:
        return None
    return _named(round(usual_count * (365.25 / WINDOW if weekends else 252 / 20)), step)


def bars_per_year(dates_T: NDArray[np.datetime64]) -> int:
    """Bars a year, by which returns are annualised: 252 on business days; irregular dates are counted."""
    if (found := find_frequency(dates_T)) is not None:
        return found.bars_per_year
    days = (dates_T[-1] - dates_T[0]).astype("timedelta64[D]").astype(int)
    return max(1, round(365.25 * (len(dates_T) - 1) / int(days)))


def find_change(dates_T: NDArray[np.datetime64], step: float) -> int | None:
    """The first of :data:`FEW` + 3 or more equal steps, far from ``step``: bars of another frequency; None without."""
    steps = np.diff(dates_T.astype("datetime64[D]").astype(np.int64)).astype(float)
    length = FEW + 3
    if len(steps) < length:
        return None
    runs = np.lib.stride_tricks.sliding_window_view(steps, length)
    least, most = runs.min(axis=1), runs.max(axis=1)
    other = (least > 4.5 * step) | (most < step / 2)
    found = np.flatnonzero(other & (most - least <= np.maximum(3.0, 0.3 * least)))
    return int(found[0]) + 1 if len(found) else None


def _named(count: int, step: float) -> Frequency:
    return Frequency(_NAMES.get(count, "regular, but neither daily, weekly nor monthly"), count, step)
