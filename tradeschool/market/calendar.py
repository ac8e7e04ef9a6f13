"""Exchanges: when they close, and on which days they trade; and how often a bar comes, as bars a year."""

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError, did_you_mean


@dataclass(frozen=True)
class Exchange:
    """An exchange, under its name in pandas-market-calendars, with its IANA time zone.

    Decisions of a date are taken at ``close``, the local end of the regular session, on a shortened day too.
    """

    name: str
    zone: str
    close: datetime.time


EXCHANGES: dict[str, Exchange] = {
    "NYSE": Exchange("NYSE", "America/New_York", datetime.time(16)),
    "NASDAQ": Exchange("NASDAQ", "America/New_York", datetime.time(16)),
    "NSE": Exchange("NSE", "Asia/Kolkata", datetime.time(15, 30)),
    "LSE": Exchange("LSE", "Europe/London", datetime.time(16, 30)),
}


def find_exchange(name: str) -> Exchange:
    """The exchange of this name, in any case; a DataError if it is unknown."""
    if (found := EXCHANGES.get(name.upper())) is None:
        raise DataError(
            f"Unknown exchange '{name}'.{did_you_mean(name.upper(), list(EXCHANGES))} "
            f"Choose from: {', '.join(EXCHANGES)}."
        )
    return found


def sessions(name: str, first: np.datetime64, last: np.datetime64) -> NDArray[np.datetime64]:
    """The exchange's trading days from ``first`` to ``last``, both included: datetime64[D], ascending."""
    import pandas_market_calendars

    calendar: Any = pandas_market_calendars.get_calendar(find_exchange(name).name)
    days: NDArray[np.datetime64] = calendar.valid_days(str(first), str(last), tz=None).to_numpy()
    return days.astype("datetime64[D]")


# how often a bar comes ----------------------------------------------------------------------------


FEW = 5
"""Fewest steps between bars in which a frequency is looked for; with fewer, bars count as daily."""
WINDOW = 28
"""Days in which the bars of a frequency above weekly are counted: four weeks hold every pattern of weekdays."""
REGULAR = 0.8
"""Share of the steps, or windows, that must agree."""
RUN = 8
"""Steps in a row that are another frequency, and no holidays."""
BUSINESS_DAYS = 252
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


def frequency_name(bars: int) -> str:
    """The name of a number of bars a year."""
    return _NAMES.get(bars, "regular, but neither daily, weekly nor monthly")


def is_daily(bars: int) -> bool:
    """Whether there is a bar on every trading day of five, six or seven days a week."""
    return bars >= BUSINESS_DAYS


def find_frequency(dates_T: NDArray[np.datetime64]) -> int | None:
    """The bars a year of ascending days; None if they are neither daily nor regular."""
    days_T = dates_T.astype("datetime64[D]").astype(np.int64)
    steps = np.diff(days_T)
    if len(steps) < FEW:
        return BUSINESS_DAYS
    step = float(np.median(steps))
    if step >= 2:
        business = np.busday_count(dates_T[:-1].astype("datetime64[D]"), dates_T[1:].astype("datetime64[D]"))
        every = int(np.median(business))
        if 2 <= every <= 4 and np.mean(business == every) >= REGULAR:
            return round(252 / every)
    if step >= 5:
        usual = steps[np.abs(steps - step) <= max(1.0, 0.2 * step)]
        if len(usual) < REGULAR * len(steps):
            return None
        return max(1, round(365.25 / float(usual.mean())))
    weekends = float(np.mean((days_T + 3) % 7 >= 5))
    if step == 1 and not weekends:
        return BUSINESS_DAYS
    windows = np.bincount((days_T - days_T[0]) // WINDOW)[:-1]
    usual_count = float(np.median(windows)) if len(windows) else WINDOW * len(steps) / (days_T[-1] - days_T[0])
    if step == 1:
        # Other gaps are missing bars. Five days a week may be any five: in Tel Aviv, Sunday to Thursday.
        week = usual_count / 4
        return 365 if week > 6.5 else 313 if week > 5.5 else BUSINESS_DAYS
    if not len(windows) or np.mean(np.abs(windows - usual_count) <= 1) < REGULAR:
        return None
    return round(usual_count * (365.25 / WINDOW if weekends else 252 / 20))


def bars_per_year(dates_T: NDArray[np.datetime64]) -> int:
    """Bars a year, by which returns are annualised: 252 on business days; irregular dates are counted."""
    if (found := find_frequency(dates_T)) is not None:
        return found
    days = (dates_T[-1] - dates_T[0]).astype("timedelta64[D]").astype(int)
    return max(1, round(365.25 * (len(dates_T) - 1) / int(days)))


def find_change(dates_T: NDArray[np.datetime64]) -> int | None:
    """The first bar of another frequency, which holds for :data:`RUN` steps or more, as the one before; or None."""
    steps = np.diff(dates_T.astype("datetime64[D]").astype(np.int64)).astype(float)
    long_steps = np.flatnonzero(steps >= 5)
    half = RUN // 2
    # The median of a run is below 5 unless half of its steps are longer: daily bars need no more than this.
    if len(steps) <= 2 * RUN or not (long_steps[half - 1 :] - long_steps[: 1 - half] < RUN).any():
        return None
    runs = np.lib.stride_tricks.sliding_window_view(steps, RUN)
    step_R = np.median(runs, axis=1)
    off_R = np.where(step_R < 5, 2.0, np.maximum(1.0, 0.2 * step_R))
    alike_R = (np.abs(runs - step_R[:, None]) <= off_R[:, None]).sum(axis=1)
    # A week is never split in two, but a stock that is rarely traded has short steps among long ones.
    alike_R[runs.min(axis=1) < 0.6 * step_R] = 0
    best, at = 2 * RUN - 3, None
    # Two runs side by side, or with one step of any length between them.
    for gap in (0, 1):
        before, after = slice(len(runs) - RUN - gap), slice(RUN + gap, None)
        shorter, longer = np.sort([step_R[before], step_R[after]], axis=0)
        fit = np.where((longer >= 5) & (longer > 2.5 * shorter), alike_R[before] + alike_R[after], 0)
        if fit.max() > best:
            best, at = int(fit.max()), int(fit.argmax()) + RUN + 1
    if at is not None and find_frequency(dates_T) is None:
        parts = find_frequency(dates_T[:at]), find_frequency(dates_T[at:])
        return at if None not in parts and parts[0] != parts[1] else None  # not a stock that is rarely traded
    return at
