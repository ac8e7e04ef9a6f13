"""When a market closes, and which days it trades."""

import numpy as np
import pytest

from tradeschool.errors import DataError
from tradeschool.market.calendar import EXCHANGES, find_exchange, sessions


def test_an_unknown_exchange_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match="'NYSEE'. Did you mean 'NYSE'"):
        find_exchange("NYSEE")


@pytest.mark.parametrize("name", EXCHANGES)
def test_no_exchange_trades_on_a_weekend_or_on_new_years_day(name: str) -> None:
    pytest.importorskip("pandas_market_calendars")
    days_T = sessions(name, np.datetime64("2014-01-01"), np.datetime64("2014-12-31"))
    assert 235 < len(days_T) < 265
    assert np.is_busday(days_T).all()
    # India trades on New Year's Day.
    assert (days_T[0] == np.datetime64("2014-01-01")) == (name == "NSE")


def test_a_holiday_is_not_a_session() -> None:
    pytest.importorskip("pandas_market_calendars")
    july = sessions("NYSE", np.datetime64("2014-07-03"), np.datetime64("2014-07-07"))
    assert july.astype(str).tolist() == ["2014-07-03", "2014-07-07"]
