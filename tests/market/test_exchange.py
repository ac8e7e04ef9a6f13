"""When a market closes, and which days it trades."""

import numpy as np
import pytest

from tradeschool.errors import DataError
from tradeschool.market.exchange import EXCHANGES, exchange, sessions


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def test_the_close_is_told_in_utc_with_the_zones_own_daylight_saving() -> None:
    closes_T = exchange("nyse").closes(days("2014-01-02", "2014-07-02"))
    assert closes_T.astype(str).tolist() == ["2014-01-02T21:00:00", "2014-07-02T20:00:00"]
    assert exchange("NSE").closes(days("2014-01-02")).astype(str).tolist() == ["2014-01-02T10:00:00"]


def test_an_unknown_exchange_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match="'NYSEE' is no known exchange. Did you mean 'NYSE'"):
        exchange("NYSEE")


@pytest.mark.parametrize("name", EXCHANGES)
def test_no_exchange_trades_on_a_weekend_or_on_new_years_day(name: str) -> None:
    pytest.importorskip("pandas_market_calendars")
    days_T = sessions(name, np.datetime64("2014-01-01"), np.datetime64("2014-12-31"))
    assert 235 < len(days_T) < 265
    assert np.is_busday(days_T).all()
    # India trades on New Year's Day.
    assert (days_T[0] == np.datetime64("2014-01-01")) == (name == "NSE")


def test_a_holiday_is_no_session() -> None:
    pytest.importorskip("pandas_market_calendars")
    july = sessions("NYSE", np.datetime64("2014-07-03"), np.datetime64("2014-07-07"))
    assert july.astype(str).tolist() == ["2014-07-03", "2014-07-07"]
