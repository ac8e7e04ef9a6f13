"""Where and when a market closes: which moment a date row stands for, and which days it should have had."""

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError, TradeschoolError, did_you_mean


@dataclass(frozen=True)
class Exchange:
    """``close`` is the end of the regular session in ``zone``; decisions of a date are taken then.

    On a shortened day they are still taken at the usual hour: nothing trades between the early close and it.
    ``calendar`` is the exchange's name in pandas-market-calendars.
    """

    name: str
    zone: str
    close: datetime.time
    calendar: str


_TABLE = (
    Exchange("NYSE", "America/New_York", datetime.time(16), "NYSE"),
    Exchange("NASDAQ", "America/New_York", datetime.time(16), "NASDAQ"),
    Exchange("NSE", "Asia/Kolkata", datetime.time(15, 30), "NSE"),
    Exchange("LSE", "Europe/London", datetime.time(16, 30), "LSE"),
)
EXCHANGES: dict[str, Exchange] = {exchange.name: exchange for exchange in _TABLE}


def exchange(name: str) -> Exchange:
    """An exchange of :data:`EXCHANGES` by name, in any case.

    Raises:
        DataError: there is none of this name.
    """
    if (found := EXCHANGES.get(name.upper())) is None:
        raise DataError(
            f"'{name}' is no known exchange.{did_you_mean(name.upper(), list(EXCHANGES))} "
            f"Choose from: {', '.join(EXCHANGES)}."
        )
    return found


def sessions(name: str, first: np.datetime64, last: np.datetime64) -> NDArray[np.datetime64]:
    """The exchange's trading days from ``first`` to ``last``, both included, datetime64[D], ascending.

    Raises:
        TradeschoolError: the ``data`` extra is not installed.
        DataError: there is no exchange of this name.
    """
    chosen = exchange(name)
    try:
        import pandas_market_calendars
    except ImportError as error:
        raise TradeschoolError(
            "Exchange calendars need the package pandas-market-calendars, which is not installed. "
            "Install it: pip install 'tradeschool[data]'"
        ) from error
    calendar: Any = pandas_market_calendars.get_calendar(chosen.calendar)
    days: NDArray[np.datetime64] = calendar.valid_days(str(first), str(last), tz=None).to_numpy()
    return days.astype("datetime64[D]")
