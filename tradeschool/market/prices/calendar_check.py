"""The days of histories against an exchange's calendar: holes, holidays, and bars on days without a session."""

from collections.abc import Sequence

import numpy as np

from tradeschool.market.exchange import exchange, sessions
from tradeschool.market.finding import Report
from tradeschool.market.prices.bars import History
from tradeschool.market.prices.dates import Days

_NAMED = 3


def check_calendar(found: Sequence[History], name: str, report: Report) -> None:
    """Report, per ticker, sessions of the exchange without a bar (holes) and bars without a session.

    Weekdays on which the exchange was closed and no bar stands are holidays; one info counts them.

    Raises:
        DataError: there is no exchange of this name.
        TradeschoolError: the ``data`` extra is not installed.
    """
    name = exchange(name).name
    if not found:
        return
    first, last = min(one.dates_T[0] for one in found), max(one.dates_T[-1] for one in found)
    sessions_T = sessions(name, first, last)
    traded_T = np.unique(np.concatenate([one.dates_T for one in found]))
    for one in found:
        own_T = sessions_T[(sessions_T >= one.dates_T[0]) & (sessions_T <= one.dates_T[-1])]
        holes_T = own_T[~np.isin(own_T, one.dates_T)]
        if len(holes_T):
            cure = "Download them again; if it was not traded then, nothing to do: indicators begin anew after them."
            report.warning(None, f"sessions of {name} have no bar", _listed(one.ticker, holes_T), cure)
        extra_T = one.dates_T[~np.isin(one.dates_T, sessions_T)]
        if len(extra_T):
            cure = "Check the dates' time zone and the exchange, or remove these rows."
            report.warning(
                None, f"bars stand on days that are no session of {name}", _listed(one.ticker, extra_T), cure
            )
    weekdays_T = np.arange(first, last + np.timedelta64(1, "D"))
    weekdays_T = weekdays_T[np.is_busday(weekdays_T)]
    holidays_T = weekdays_T[~np.isin(weekdays_T, sessions_T) & ~np.isin(weekdays_T, traded_T)]
    if len(holidays_T):
        report.info(f"weekdays without a bar are holidays of {name}", _listed("all tickers", holidays_T))


def _listed(ticker: str, days_T: Days) -> str:
    more = ", ..." if len(days_T) > _NAMED else ""
    return f"{ticker}: {len(days_T)}, {', '.join(str(day) for day in days_T[:_NAMED])}{more}"
