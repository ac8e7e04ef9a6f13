"""Exchanges: when they close, and on which days they trade."""

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
    """The exchange's trading days from ``first`` to ``last``, both included: datetime64[D], ascending.

    Raises:
        DataError: the exchange is unknown.
    """
    import pandas_market_calendars

    calendar: Any = pandas_market_calendars.get_calendar(find_exchange(name).name)
    days: NDArray[np.datetime64] = calendar.valid_days(str(first), str(last), tz=None).to_numpy()
    return days.astype("datetime64[D]")
