"""The archive: at a close everything known within the requested days is shown, and nothing else."""

import datetime
from bisect import bisect_left
from dataclasses import replace
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeschool.market.events.archive import MARKET, TEXTS, EventArchive, known_rows
from tradeschool.market.events.event import ROW_KINDS, Event
from tradeschool.market.panel import Panel

HOURS = {"NYSE": ("America/New_York", 16, 0), "NSE": ("Asia/Kolkata", 15, 30), "LSE": ("Europe/London", 16, 30)}


@cache
def dated(first: str, days: int, exchange: str) -> Panel:
    """A market on weekdays less every seventeenth, a holiday, from the given first day on."""
    bar_TN = np.full((days, 2), 10.0)
    dates_T = np.busday_offset(np.datetime64(first), np.arange(2 * days), roll="forward")
    dates_T = np.delete(dates_T, np.arange(16, 2 * days, 17))[:days]
    return Panel(dates_T, ("PRAC00", "PRAC01"), bar_TN, bar_TN, bar_TN, bar_TN, bar_TN, exchange=exchange)


def panel_of(exchange: str = "NYSE", first: str = "2014-02-03") -> Panel:
    return dated(first, 90, exchange)


def close_of(panel: Panel, t: int) -> np.datetime64:
    """Computed with zoneinfo, not with the code under test."""
    zone, hour, minute = HOURS[panel.exchange]
    day = panel.dates_T[t].astype("datetime64[D]").item()
    local = datetime.datetime.combine(day, datetime.time(hour, minute), ZoneInfo(zone))
    return np.datetime64(local.astimezone(datetime.UTC).replace(tzinfo=None), "s")


def known_by(panel: Panel, event: Event, t: int) -> bool:
    return bool(event.known_at <= (panel.dates_T[t] if event.day_only else close_of(panel, t)))


def local_day(panel: Panel, event: Event) -> np.datetime64:
    if event.day_only:
        return event.known_at
    moment = datetime.datetime.fromisoformat(f"{event.known_at}+00:00").astimezone(ZoneInfo(HOURS[panel.exchange][0]))
    return np.datetime64(moment.date(), "D")


def first_shown(event: Event, panel: Panel | None = None) -> str:
    """The first date at whose close an event is shown."""
    panel = replace(panel or panel_of(), events=(event,))
    archive = EventArchive(panel)
    shown = [t for t in range(panel.shape[0]) if archive.within_days(event.ticker or MARKET, TEXTS, t, 365)]
    return str(panel.dates_T[shown[0]]) if shown else "never"


def at(moment: str) -> Event:
    return Event(np.datetime64(moment), "PRAC00", "news", "text")


@pytest.mark.parametrize(
    ("moment", "date"),
    [
        ("2014-03-07T21:00:00", "2014-03-07"),  # a Friday, winter: the close is at 21:00 UTC
        ("2014-03-07T21:00:01", "2014-03-10"),
        ("2014-03-10T20:00:00", "2014-03-10"),  # the Monday after clocks changed: at 20:00
        ("2014-03-10T20:00:01", "2014-03-11"),
        ("2014-03-11T02:00:00", "2014-03-11"),  # the evening of the 10th in New York
        ("2014-03-08", "2014-03-10"),  # a Saturday
        ("2014-03-07", "2014-03-07"),
        ("2014-02-25", "2014-02-26"),  # the holiday
        ("2014-02-25T15:00:00", "2014-02-26"),
        ("2014-02-03", "2014-02-03"),
        ("2019-01-01", "never"),
    ],
)
def test_an_event_is_known_at_the_first_close_at_or_after_it(moment: str, date: str) -> None:
    panel = panel_of()
    assert np.datetime64("2014-02-25") not in panel.dates_T
    assert first_shown(at(moment)) == date


def test_in_india_the_close_is_at_ten_in_utc() -> None:
    panel = panel_of("NSE")
    assert first_shown(at("2014-03-07T10:00:00"), panel) == "2014-03-07"
    assert first_shown(at("2014-03-07T10:00:01"), panel) == "2014-03-10"


def test_events_before_the_first_date_are_known_and_never_look_recent() -> None:
    panel = panel_of()
    rows = {}
    # Friday after the close, Saturday, the Friday of the week before, and a year before.
    for moment in ("2014-01-31T22:00:00", "2014-02-01", "2014-01-24", "2013-02-01"):
        whole = replace(panel, events=(at(moment),))
        rows[moment] = int(known_rows(whole)[0])
        (event,) = EventArchive(whole).within_days("PRAC00", TEXTS, 0, 1000)
        assert event.age == -rows[moment]
        assert event.days == (np.datetime64("2014-02-03") - local_day(panel, at(moment))).astype(int)
        assert len(EventArchive(whole).within_rows("PRAC00", TEXTS, 0, 5)) == (rows[moment] > -5)
    assert rows == {"2014-01-31T22:00:00": 0, "2014-02-01": 0, "2014-01-24": -6, "2013-02-01": -261}


def test_an_event_after_the_last_close_is_counted_as_such() -> None:
    panel = panel_of()
    late = close_of(panel, 89) + np.timedelta64(1, "s")
    events = (Event(close_of(panel, 89), None, "news", "in time"), Event(late, None, "news", "late"))
    assert known_rows(replace(panel, events=events)).tolist() == [89, 90]


@st.composite
def events(draw: st.DrawFn) -> tuple[Event, ...]:
    """Events of days and of moments from a month before the first date to a month after the last, many near closes."""
    found = []
    for i in range(draw(st.integers(1, 25))):
        day = np.datetime64("2014-01-05", "D") + draw(st.integers(0, 190))
        ticker = draw(st.sampled_from(["PRAC00", "PRAC00", "PRAC01", None]))
        if draw(st.booleans()):
            moment = day.astype("datetime64[s]") + draw(st.integers(0, 86_399))
            near = draw(st.sampled_from([None, 20 * 3600, 21 * 3600, 10 * 3600]))
            if near is not None:
                moment = day.astype("datetime64[s]") + near + draw(st.integers(-1, 1))
            day = moment
        found.append(Event(day, ticker, draw(st.sampled_from(["news", "tweet", "insider"])), f"event {i}"))
    return tuple(found)


@settings(max_examples=150)
@given(events=events(), t=st.integers(0, 89), days=st.integers(0, 60), exchange=st.sampled_from(sorted(HOURS)))
def test_shown_is_what_was_known_and_young_enough(events: tuple[Event, ...], t: int, days: int, exchange: str) -> None:
    panel = replace(panel_of(exchange), events=events)
    archive = EventArchive(panel)
    for ticker in (*panel.tickers, MARKET):
        for group in (TEXTS, "insider"):
            expected = {
                event.text
                for event in events
                if (event.ticker or MARKET) == ticker
                and (event.kind if event.kind in ROW_KINDS else TEXTS) == group
                and known_by(panel, event, t)
                and (panel.dates_T[t] - local_day(panel, event)).astype(int) <= days
            }
            shown = archive.within_days(ticker, group, t, days)
            assert {event.text for event in shown} == expected
            assert all(0 <= event.days <= days for event in shown)
            assert [event.days for event in shown] == sorted(event.days for event in shown)


@settings(max_examples=100)
@given(events=events(), t=st.integers(0, 89), rows=st.integers(1, 30), exchange=st.sampled_from(sorted(HOURS)))
def test_ages_in_rows_count_from_the_first_close_that_knew(
    events: tuple[Event, ...], t: int, rows: int, exchange: str
) -> None:
    panel = replace(panel_of(exchange), events=events)
    for event in EventArchive(panel).within_rows("PRAC00", TEXTS, t, rows):
        original = next(one for one in events if one.text == event.text)
        assert 0 <= event.age < rows
        assert known_by(panel, original, t)
        first = bisect_left(range(t + 1), True, key=lambda row: known_by(panel, original, row))
        assert event.age == t - first or (first == 0 and event.age >= t)


def test_an_archive_without_events_shows_nothing() -> None:
    archive = EventArchive(panel_of())
    assert not archive.within_days("PRAC00", TEXTS, 50, 30)
    assert not archive.within_rows("PRAC00", TEXTS, 50, 5)
    assert known_rows(panel_of()).tolist() == []


def masked(event: Event, t: int = 30) -> tuple[str, str, dict[str, str | float]]:
    panel = replace(panel_of(), events=(event,))
    archive = EventArchive(panel, lambda text, ticker: text.replace("Apple", f"<{ticker}>"))
    group = event.kind if event.kind in ROW_KINDS else TEXTS
    (shown,) = archive.within_days("PRAC00", group, t, 1000)
    return shown.text, shown.source, dict(shown.fields)


def test_text_source_and_fields_are_masked() -> None:
    event = Event(
        np.datetime64("2014-02-10"), "PRAC00", "insider", "Apple sells", "Apple's site", {"memo": "for Apple"}
    )
    assert masked(event) == ("<PRAC00> sells", "<PRAC00>'s site", {"memo": "for <PRAC00>"})
    (shown,) = EventArchive(replace(panel_of(), events=(event,))).within_days("PRAC00", "insider", 30, 1000)
    assert (shown.text, shown.source, dict(shown.fields)) == ("Apple sells", "Apple's site", {"memo": "for Apple"})


def test_dates_and_years_in_fields_become_ages_at_the_date_of_the_snapshot() -> None:
    assert str(panel_of().dates_T[30]) == "2014-03-18"
    fields: dict[str, str | float] = {
        "period_end": "2013-12-31", "moment": "2014-03-17 20:00:00", "due": "2014-03-20", "odd": "2014-02-31",
        "fiscal_year": 2013.0, "year": 2014.0, "plan_year": 2010.0, "employees": 2014.0, "calendar_year": 1.5,
    }  # fmt: skip
    assert masked(Event(np.datetime64("2014-02-10"), "PRAC00", "fundamentals", fields=fields))[2] == {
        "period_end": "77 days ago", "moment": "1 days ago", "due": "in 2 days", "odd": "2014-02-31",
        "fiscal_year": "last year", "year": "this year", "plan_year": "4 years ago", "employees": 2014.0,
        "calendar_year": 1.5,
    }  # fmt: skip


def test_a_text_is_one_line_without_control_characters() -> None:
    panel = replace(panel_of(), events=(replace(at("2014-02-10"), text="a\r\n\r\nb\x00\x1b[1mc\u2028d  e"),))
    (event,) = EventArchive(panel).within_days("PRAC00", TEXTS, 20, 30)
    assert event.text == "a b [1mc d e"
