"""When an event became public: every common spelling, nothing too early, and not before the end of its period."""

import datetime
import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.market.events.event import KINDS, EventFile
from tradeschool.market.events.read import read_events
from tradeschool.market.events.timing import OCCURRENCES, PERIODS, TimeParser, period_end
from tradeschool.market.findings import Report

NEW_YORK = ZoneInfo("America/New_York")
LATE = datetime.datetime(2014, 3, 31, 16, 5, tzinfo=NEW_YORK)


def read(cell: Any, same_day: bool = False) -> tuple[np.datetime64 | None, list[str]]:
    report = Report("events.jsonl")
    times = TimeParser(report, same_day)
    found = times.known_at(cell, 7)
    times.report_assumptions()
    return found, [f"{finding.severity}: {finding.rule}" for finding in report.findings]


@pytest.mark.parametrize(
    "cell",
    [
        "2014-03-31T20:05:00Z",
        "2014-03-31 20:05:00+00:00",
        "2014-03-31 20:05:00 UTC",
        "2014-03-31T16:05:00-04:00",
        "2014-03-31T16:05-0400",
        "Mon Mar 31 20:05:00 +0000 2014",
        "Mon, 31 Mar 2014 20:05:00 GMT",
        LATE,
        pd.Timestamp(LATE),
    ],
)
def test_moments_are_in_utc(cell: Any) -> None:
    found, _ = read(cell)
    assert found == np.datetime64("2014-03-31T20:05:00")
    assert np.datetime_data(found.dtype)[0] == "s"


@pytest.mark.parametrize(
    "cell",
    [
        "2014-03-31",
        " 2014-03-31 ",
        "20140331",
        20140331,
        datetime.date(2014, 3, 31),
        pd.Timestamp("2014-03-31"),
        # Midnight is how programs write a day. As a time it would be known on the evening before.
        "2014-03-31T00:00:00Z",
        "2014-03-31 00:00:00 UTC",
        pd.Timestamp("2014-03-31", tz="UTC"),
        datetime.datetime(2014, 3, 31, tzinfo=NEW_YORK),
    ],
)
def test_a_day_without_a_time_is_known_a_day_later_by_default(cell: Any) -> None:
    found, findings = read(cell)
    assert (str(found), np.datetime_data(found.dtype)[0]) == ("2014-04-01", "D")  # type: ignore[union-attr]
    assert findings == ["info: events with a day and no time, or midnight, count as known at the next day's close"]
    found, findings = read(cell, same_day=True)
    assert str(found) == "2014-03-31"
    assert findings == ["info: events with a day and no time, or midnight, count as known at the same day's close"]


def test_a_time_without_a_zone_is_utc_with_a_warning() -> None:
    found, findings = read("2014-03-31T16:05:00")
    assert found == np.datetime64("2014-03-31T16:05:00")
    assert findings == ["warning: events with a time and no time zone count as UTC"]


@pytest.mark.parametrize("cell", ["2014-03-31T20:00:00.000001Z", pd.Timestamp("2014-03-31T20:00:00.000001001Z")])
def test_a_fraction_of_a_second_is_rounded_up(cell: Any) -> None:
    """Rounded down, an event just after the close would be known at it."""
    assert read(cell)[0] == np.datetime64("2014-03-31T20:00:01")


@pytest.mark.parametrize("cell", [None, "", "  ", float("nan"), "NaT", "null"])
def test_a_missing_cell_is_an_error(cell: Any) -> None:
    assert read(cell) == (None, ["error: known_at is missing"])


@pytest.mark.parametrize(
    "cell",
    ["03/31/2014", "2014-02-30", "2014-3-31", "31 March", "tomorrow", "20141331", 1396310400, 1.5, True, [], {}, b"x",
     "2014-03-31T25:00", "2014-03-31 16:05 Moon"],
)  # fmt: skip
def test_anything_else_is_an_error(cell: Any) -> None:
    assert read(cell) == (None, ["error: known_at is neither a day nor a timestamp"])


@pytest.mark.parametrize(
    ("cell", "rule"),
    [
        ("9999-12-31T23:59:59-12:00", "known_at is in the future"),
        (datetime.date.today() + datetime.timedelta(days=3), "known_at is in the future"),
        ("0001-01-01T01:00:00+14:00", "known_at is before 1900-01-01"),
        ("1899-12-31", "known_at is before 1900-01-01"),
    ],
)
def test_implausible_times_are_errors(cell: Any, rule: str) -> None:
    assert read(cell) == (None, [f"error: {rule}"])


def test_a_row_is_counted_once_however_many_of_its_cells_are_days() -> None:
    report = Report("rows.parquet")
    times = TimeParser(report, same_day=False)
    for row in (1, 1, 2):
        times.known_at("2014-03-31", row)
    times.report_assumptions()
    assert [finding.value for finding in report.findings] == ["2 rows, the first is row 1"]


def test_the_day_that_was_given() -> None:
    for same_day in (False, True):
        times = TimeParser(Report("x"), same_day)
        known_at = times.known_at("2014-03-31", 1)
        assert known_at is not None
        assert str(times.day_given(known_at)) == "2014-03-31"
        assert str(times.day_given(np.datetime64("2014-03-31T20:05", "s"))) == "2014-03-31"


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.binary(max_size=8),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())), st.dates(), st.lists(st.integers(), max_size=3),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.from_regex(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})", fullmatch=True),
)  # fmt: skip


@given(cell=CELLS, same_day=st.booleans())
def test_any_cell_becomes_a_time_or_an_error(cell: Any, same_day: bool) -> None:
    found, findings = read(cell, same_day)
    errors = [text for text in findings if text.startswith("error")]
    assert (found is None) == (len(errors) == 1)
    assert found is None or not np.isnat(found)


@given(moment=st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2024, 1, 1), timezones=st.timezones()))
def test_no_moment_is_read_as_earlier_than_it_was(moment: datetime.datetime) -> None:
    found, _ = read(moment)
    assert found is not None
    true = np.datetime64(moment.astimezone(datetime.UTC).replace(tzinfo=None), "us")
    if np.datetime_data(found.dtype)[0] == "s":
        assert np.timedelta64(0) <= found - true < np.timedelta64(1, "s")
    else:  # midnight counts as a day alone
        assert moment.time() == datetime.time(0)


# periods ---------------------------------------------------------------------------------------------


ROW = {"ticker": "A", "known_at": "2014-06-30", "kind": "fundamentals", "text": "up"}


def read_rows(folder: Path, *rows: dict[str, Any]) -> EventFile:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps({**ROW, **row}) for row in rows))
    return read_events(path)


def kept(folder: Path, **row: Any) -> bool:
    found = read_rows(folder, row)
    errors = [one.rule for one in found.findings if one.severity == "error"]
    assert len(found.events) + len(errors) == 1
    assert not errors or errors[0].startswith("known_at ")
    return bool(found.events)


def spellings(name: str) -> list[str]:
    words = name.split("_")
    title = [word.title() for word in words]
    return [name, words[0] + "".join(title[1:]), "".join(title), " ".join(title), "-".join(words), name.upper()]


@pytest.mark.parametrize("name", PERIODS)
def test_a_period_ends_before_it_is_known_in_every_spelling_of_its_field(tmp_path: Path, name: str) -> None:
    for spelt in spellings(name):
        for inside in (False, True):
            for day, good in (("2014-06-30", False), ("2014-07-31", False), ("2014-06-29", True)):
                fields = {spelt: day}
                assert kept(tmp_path, **({"fields": fields} if inside else fields)) is good, (spelt, day)


@pytest.mark.parametrize("name", OCCURRENCES)
@pytest.mark.parametrize("kind", ["insider", "fundamentals", "macro"])
def test_an_event_is_not_after_the_day_on_which_it_is_known(tmp_path: Path, name: str, kind: str) -> None:
    for spelt in spellings(name):
        assert kept(tmp_path, kind=kind, **{spelt: "2014-06-30"})
        assert not kept(tmp_path, kind=kind, **{spelt: "2014-07-01"})
        assert not kept(tmp_path, kind=kind, fields={spelt: "2014-07-01"})


@pytest.mark.parametrize("kind", KINDS)
def test_the_rule_holds_for_every_kind(tmp_path: Path, kind: str) -> None:
    assert not kept(tmp_path, kind=kind, quarterEnd="2014-06-30")
    assert not kept(tmp_path, kind=kind, periodOfReport="2014-07-01")
    assert kept(tmp_path, kind=kind, period_of_report="2014-06-30") is (kind in ("insider", "filing"))
    assert kept(tmp_path, kind=kind, as_of="2014-06-30") is (kind != "fundamentals")
    assert not kept(tmp_path, kind=kind, fiscalYear=2014)


@pytest.mark.parametrize(
    ("value", "end"),
    [
        ("2014-06", "2014-06-30"), ("2014-6", "2014-06-30"), (201406.0, "2014-06-30"), ("2016-02", "2016-02-29"),
        ("2014-H3", None), ("June 2014", None), ("2014-Q1", "2014-03-31"), ("2014Q1", "2014-03-31"),
        ("2014 q4", "2014-12-31"), ("Q2 2014", "2014-06-30"), ("Q2 FY2014", "2014-06-30"), ("CY2014Q3", "2014-09-30"),
        ("2014-H1", "2014-06-30"), ("H2 2014", "2014-12-31"), (2014.0, "2014-12-31"), ("FY2014", "2014-12-31"),
        ("CY2014Q2I", "2014-06-30"), ("2014-06-15", "2014-06-15"), (20140615.0, "2014-06-15"),
        ("2014/06/15", "2014-06-15"), ("2014-06-15T10:00:00", "2014-06-15"), ("2014-13", None), ("2014-Q5", None),
        ("TTM", None), ("0q", None), (2014.5, None), (3.0, None), ("9914", None), ("May be 2014", None), ("", None),
    ],
)  # fmt: skip
def test_a_period_ends_on_its_last_day(value: Any, end: str | None) -> None:
    assert str(period_end(value)) == str(end)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"period": "2014-05"}, "2014-05-31"),
        ({"period": "2014-Q1"}, "2014-03-31"),
        ({"period": "2014Q2"}, "2014-06-30"),
        ({"fiscal_year": 2014}, "2014-12-31"),
        ({"fiscal_year": "2013"}, "2013-12-31"),
        ({"fiscalYear": 2014, "fiscalQuarter": 2}, "2014-06-30"),
        ({"fy": 2014, "fp": "Q3"}, "2014-09-30"),
        ({"fy": 2014, "fp": "FY"}, "2014-12-31"),
        ({"calendarYear": "2014", "period": "Q1"}, "2014-03-31"),
        ({"Year": 2014, "Month": 5}, "2014-05-31"),
        ({"year": 2014, "quarter": "1Q"}, "2014-03-31"),
        ({"year": 2013}, "2013-12-31"),
        # The day itself says more than the calendar, of a fiscal year that ends in September.
        ({"fiscalYear": 2014, "period": "Q2", "fiscalDateEnding": "2014-03-29"}, "2014-03-29"),
    ],
)
def test_a_row_is_refused_until_the_day_after(tmp_path: Path, fields: dict[str, Any], end: str) -> None:
    year, month = end.split("-")[:2]
    for kind in ("fundamentals", "macro"):
        assert not kept(tmp_path, kind=kind, known_at=end, **fields)
        assert not kept(tmp_path, kind=kind, known_at=f"{year}-{month}-01", **fields)
        after = f"{int(year) + 1}-01-01" if month == "12" else f"{year}-{int(month) + 1:02}-01"
        assert kept(tmp_path, kind=kind, known_at=after, **fields)


def test_hours_and_zones_of_an_event(tmp_path: Path) -> None:
    assert kept(tmp_path, kind="news", known_at="2014-06-30T20:00:00Z", publishedDate="2014-07-01T01:00:00+05:30")
    assert not kept(tmp_path, kind="news", known_at="2014-06-30T20:00:00Z", publishedDate="2014-07-01 01:00:00")
    assert not kept(tmp_path, kind="news", known_at="2014-06-30T20:00:00Z", filingDate="2014/07/01")


def test_a_year_of_another_kind_may_be_anything(tmp_path: Path) -> None:
    assert kept(tmp_path, kind="news", year=2014)
    assert not kept(tmp_path, kind="fundamentals", year=2014)


def test_the_cure_says_what_to_do(tmp_path: Path) -> None:
    found = read_rows(tmp_path, {"fiscal_year": 2014}, {"kind": "analyst", "period_end": "2014-12-31"})
    texts = [one.text for one in found.findings if one.severity == "error"]
    assert "give its last day as period_end" in texts[0]
    assert "name the period of a forecast forecast_period" in texts[1]
    assert kept(tmp_path, kind="analyst", forecast_period="2014-12-31")


def test_fundamentals_without_a_period_are_reported_once(tmp_path: Path) -> None:
    known = {"period": "2014-Q1"}
    found = read_rows(tmp_path, known, {"eps": 1}, {"period": "TTM", "eps": 2}, {"kind": "insider", "shares": 5})
    assert len(found.events) == 4
    (fields,) = [one for one in found.findings if "gives the period" in one.rule]
    assert fields.severity == "info"
    assert fields.rule == "no field gives the period, so known_at cannot be checked against it"
    assert fields.value == "2 rows, the first is row 2"
    assert not any("gives the period" in one.rule for one in read_rows(tmp_path, known).findings)


@pytest.mark.parametrize(
    ("row", "good"),
    [
        # Alpha Vantage, FMP, yfinance, SEC: as these name their columns.
        ({"fiscalDateEnding": "2014-06-30", "reportedDate": "2014-06-30", "reportedEPS": 1.2}, False),
        ({"fiscalDateEnding": "2014-03-31", "reportedDate": "2014-04-24", "reportedEPS": 1.2}, True),
        ({"date": "2014-03-31", "fillingDate": "2014-07-01", "calendarYear": "2014", "period": "Q1"}, False),
        ({"date": "2014-03-31", "fillingDate": "2014-04-24", "calendarYear": "2014", "period": "Q1"}, True),
        ({"asOfDate": "2014-06-30", "periodType": "3M", "TotalRevenue": 5}, False),
        ({"end": "2014-06-30", "val": 5, "fy": 2014, "fp": "Q2", "form": "10-Q", "filed": "2014-06-30"}, False),
        ({"end": "2014-03-31", "val": 5, "fy": 2014, "fp": "Q2", "form": "10-Q", "filed": "2014-04-30"}, True),
        ({"kind": "insider", "transactionDate": "2014-07-01", "filingDate": "2014-07-02"}, False),
        ({"kind": "insider", "transactionDate": "2014-06-30", "filingDate": "2014-06-30"}, True),
        ({"LatestQuarter": "2014-06-30", "EBITDA": 5}, False),
    ],
)
def test_rows_of_public_sources(tmp_path: Path, row: dict[str, Any], good: bool) -> None:
    assert kept(tmp_path, **row) is good
