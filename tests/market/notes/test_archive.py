"""The archive: at a close all that was known within the days asked for is shown, and nothing else."""

import datetime
from bisect import bisect_left
from dataclasses import replace
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeschool.market.notes.archive import MARKET, TEXTS, Archive, known_rows
from tradeschool.market.notes.note import ROW_KINDS, Note
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
    """Written with zoneinfo, not with the code under test."""
    zone, hour, minute = HOURS[panel.exchange]
    day = panel.dates_T[t].astype("datetime64[D]").item()
    local = datetime.datetime.combine(day, datetime.time(hour, minute), ZoneInfo(zone))
    return np.datetime64(local.astimezone(datetime.UTC).replace(tzinfo=None), "s")


def known_by(panel: Panel, note: Note, t: int) -> bool:
    return bool(note.known_at <= (panel.dates_T[t] if note.by_day else close_of(panel, t)))


def local_day(panel: Panel, note: Note) -> np.datetime64:
    if note.by_day:
        return note.known_at
    moment = datetime.datetime.fromisoformat(f"{note.known_at}+00:00").astimezone(ZoneInfo(HOURS[panel.exchange][0]))
    return np.datetime64(moment.date(), "D")


def first_shown(note: Note, panel: Panel | None = None) -> str:
    """The first date at whose close a note is shown."""
    panel = replace(panel or panel_of(), notes=(note,))
    archive = Archive(panel)
    shown = [t for t in range(panel.shape[0]) if archive.within_days(note.ticker or MARKET, TEXTS, t, 365)]
    return str(panel.dates_T[shown[0]]) if shown else "never"


def at(moment: str) -> Note:
    return Note(np.datetime64(moment), "PRAC00", "news", "told")


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
def test_a_note_is_known_at_the_first_close_at_or_after_it(moment: str, date: str) -> None:
    panel = panel_of()
    assert np.datetime64("2014-02-25") not in panel.dates_T
    assert first_shown(at(moment)) == date


def test_in_india_the_close_is_at_ten_in_utc() -> None:
    panel = panel_of("NSE")
    assert first_shown(at("2014-03-07T10:00:00"), panel) == "2014-03-07"
    assert first_shown(at("2014-03-07T10:00:01"), panel) == "2014-03-10"


def test_notes_before_the_first_date_are_known_and_never_look_recent() -> None:
    panel = panel_of()
    rows = {}
    # Friday after the close, Saturday, the Friday of the week before, and a year before.
    for moment in ("2014-01-31T22:00:00", "2014-02-01", "2014-01-24", "2013-02-01"):
        whole = replace(panel, notes=(at(moment),))
        rows[moment] = int(known_rows(whole)[0])
        (note,) = Archive(whole).within_days("PRAC00", TEXTS, 0, 1000)
        assert note.age == -rows[moment]
        assert note.days == (np.datetime64("2014-02-03") - local_day(panel, at(moment))).astype(int)
        assert len(Archive(whole).within_rows("PRAC00", TEXTS, 0, 5)) == (rows[moment] > -5)
    assert rows == {"2014-01-31T22:00:00": 0, "2014-02-01": 0, "2014-01-24": -6, "2013-02-01": -261}


def test_a_note_after_the_last_close_is_counted_as_such() -> None:
    panel = panel_of()
    late = close_of(panel, 89) + np.timedelta64(1, "s")
    notes = (Note(close_of(panel, 89), None, "news", "in time"), Note(late, None, "news", "late"))
    assert known_rows(replace(panel, notes=notes)).tolist() == [89, 90]


@st.composite
def notes(draw: st.DrawFn) -> tuple[Note, ...]:
    """Notes of days and of moments from a month before the first date to a month after the last, many near closes."""
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
        found.append(Note(day, ticker, draw(st.sampled_from(["news", "tweet", "insider"])), f"note {i}"))
    return tuple(found)


@settings(max_examples=150)
@given(notes=notes(), t=st.integers(0, 89), days=st.integers(0, 60), exchange=st.sampled_from(sorted(HOURS)))
def test_shown_is_what_was_known_and_young_enough(notes: tuple[Note, ...], t: int, days: int, exchange: str) -> None:
    panel = replace(panel_of(exchange), notes=notes)
    archive = Archive(panel)
    for ticker in (*panel.tickers, MARKET):
        for group in (TEXTS, "insider"):
            expected = {
                note.text
                for note in notes
                if (note.ticker or MARKET) == ticker
                and (note.kind if note.kind in ROW_KINDS else TEXTS) == group
                and known_by(panel, note, t)
                and (panel.dates_T[t] - local_day(panel, note)).astype(int) <= days
            }
            shown = archive.within_days(ticker, group, t, days)
            assert {note.text for note in shown} == expected
            assert all(0 <= note.days <= days for note in shown)
            assert [note.days for note in shown] == sorted(note.days for note in shown)


@settings(max_examples=100)
@given(notes=notes(), t=st.integers(0, 89), rows=st.integers(1, 30), exchange=st.sampled_from(sorted(HOURS)))
def test_ages_in_rows_count_from_the_first_close_that_knew(
    notes: tuple[Note, ...], t: int, rows: int, exchange: str
) -> None:
    panel = replace(panel_of(exchange), notes=notes)
    for note in Archive(panel).within_rows("PRAC00", TEXTS, t, rows):
        told = next(one for one in notes if one.text == note.text)
        assert 0 <= note.age < rows
        assert known_by(panel, told, t)
        first = bisect_left(range(t + 1), True, key=lambda row: known_by(panel, told, row))
        assert note.age == t - first or (first == 0 and note.age >= t)


@settings(max_examples=150)
@given(notes=notes(), exchange=st.sampled_from(sorted(HOURS)), first=st.sampled_from(["2014-02-03", "2014-03-12"]))
def test_rows_and_days_both_ascend(notes: tuple[Note, ...], exchange: str, first: str) -> None:
    """What bisecting rests on, for any mixture of notes with and without an hour."""
    archive = Archive(replace(panel_of(exchange, first), notes=notes))
    for shelf in archive._shelves.values():
        assert shelf.rows == sorted(shelf.rows)
        assert shelf.days == sorted(shelf.days)


def test_an_archive_without_notes_shows_nothing() -> None:
    archive = Archive(panel_of())
    assert not archive.within_days("PRAC00", TEXTS, 50, 30)
    assert not archive.within_rows("PRAC00", TEXTS, 50, 5)
    assert known_rows(panel_of()).tolist() == []


def masked(note: Note, t: int = 30) -> tuple[str, str, dict[str, str | float]]:
    panel = replace(panel_of(), notes=(note,))
    archive = Archive(panel, lambda text, ticker: text.replace("Apple", f"<{ticker}>"))
    group = note.kind if note.kind in ROW_KINDS else TEXTS
    (shown,) = archive.within_days("PRAC00", group, t, 1000)
    return shown.text, shown.source, dict(shown.fields)


def test_text_source_and_fields_are_masked() -> None:
    note = Note(np.datetime64("2014-02-10"), "PRAC00", "insider", "Apple sells", "Apple's site", {"note": "for Apple"})
    assert masked(note) == ("<PRAC00> sells", "<PRAC00>'s site", {"note": "for <PRAC00>"})
    (shown,) = Archive(replace(panel_of(), notes=(note,))).within_days("PRAC00", "insider", 30, 1000)
    assert (shown.text, shown.source, dict(shown.fields)) == ("Apple sells", "Apple's site", {"note": "for Apple"})


def test_dates_and_years_in_fields_are_told_from_the_date_of_the_window() -> None:
    assert str(panel_of().dates_T[30]) == "2014-03-18"
    fields: dict[str, str | float] = {
        "period_end": "2013-12-31", "moment": "2014-03-17 20:00:00", "due": "2014-03-20", "odd": "2014-02-31",
        "fiscal_year": 2013.0, "year": 2014.0, "plan_year": 2010.0, "employees": 2014.0, "calendar_year": 1.5,
    }  # fmt: skip
    assert masked(Note(np.datetime64("2014-02-10"), "PRAC00", "fundamentals", fields=fields))[2] == {
        "period_end": "77 days ago", "moment": "1 days ago", "due": "in 2 days", "odd": "2014-02-31",
        "fiscal_year": "last year", "year": "this year", "plan_year": "4 years ago", "employees": 2014.0,
        "calendar_year": 1.5,
    }  # fmt: skip


def test_a_text_is_one_line_without_control_characters() -> None:
    panel = replace(panel_of(), notes=(replace(at("2014-02-10"), text="a\r\n\r\nb\x00\x1b[1mc\u2028d  e"),))
    (note,) = Archive(panel).within_days("PRAC00", TEXTS, 20, 30)
    assert note.text == "a b [1mc d e"
