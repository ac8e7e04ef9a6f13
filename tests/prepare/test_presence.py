"""Bars and notes that are there: runs and gaps, holes against an exchange's calendar, notes by month."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markets import market

from tradeschool.market.notes.note import Note
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.prepare.presence import calendar, note_kinds, presence

TWO = market(tickers=2, days=220)


@given(st.lists(st.booleans(), min_size=220, max_size=220))
def test_runs_are_the_bars_and_what_lies_between_them_is_missing(listed: list[bool]) -> None:
    keep_TN = np.column_stack([np.ones(220, dtype=bool), listed])
    bars: dict[str, Any] = {f"{name}_TN": np.where(keep_TN, getattr(TWO, f"{name}_TN"), np.nan) for name in FIELDS}
    ticker = presence(replace(TWO, **bars))[1]
    covered = [t for first, last in ticker.runs for t in range(first, last + 1)]
    assert covered == np.flatnonzero(listed).tolist()
    assert ticker.bars == sum(listed)
    if covered:
        assert ticker.span == covered[-1] - covered[0] + 1
        assert ticker.longest_gap == max(np.diff(covered), default=1) - 1
        assert ticker.first == str(TWO.dates_T[covered[0]])
        assert ticker.last == str(TWO.dates_T[covered[-1]])
    else:
        assert (ticker.first, ticker.missing, ticker.runs) == ("", 0, ())


def test_holes_are_told_from_holidays_by_an_exchange_calendar() -> None:
    pytest.importorskip("pandas_market_calendars")
    # 3 July was a holiday, 8 July is a hole, 11 July was a Saturday.
    weekdays = np.arange("2015-06-29", "2015-07-18", dtype="datetime64[D]")
    weekdays = weekdays[np.is_busday(weekdays, holidays=["2015-07-03", "2015-07-08"])]
    dates_T = np.sort(np.append(weekdays, np.datetime64("2015-07-11")))
    ones = np.ones((len(dates_T), 1))
    panel = Panel(dates_T, ("A",), ones, ones, ones, ones, ones)
    found = calendar(panel, "nyse")
    assert (found.exchange, found.missing, found.extra) == ("NYSE", ("2015-07-08",), ("2015-07-11",))
    assert presence(panel)[0].missing == 0
    assert presence(panel, "NYSE")[0].missing == 1


def test_notes_are_counted_by_kind_and_month() -> None:
    days = np.array(["2014-01-30", "2014-01-31", "2014-03-02"], dtype="datetime64[D]")
    notes = [Note(day, ticker, "tweet", "x") for day in days for ticker in ("A", "B")]
    evening = np.datetime64("2014-02-03T22:00:00", "s")
    panel = replace(market(days=200), notes=(*notes, Note(evening, None, "macro", fields={"CPI": 2.0})))
    tweets, macro = note_kinds(panel)
    assert (tweets.kind, tweets.count, tweets.tickers, tweets.months) == ("tweet", 6, 2, {"2014-01": 4, "2014-03": 2})
    assert (tweets.first, tweets.last) == ("2014-01-30", "2014-03-02")
    assert (macro.kind, macro.tickers, macro.months) == ("macro", 0, {"2014-02": 1})
