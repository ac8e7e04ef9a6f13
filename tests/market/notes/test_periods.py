"""A row is known after its period and not before what it tells of, whatever the fields and their values are called."""

import json
from pathlib import Path
from typing import Any

import pytest

from tradeschool.market.notes.note import KINDS, Notes
from tradeschool.market.notes.periods import EVENTS, PERIODS, period_end
from tradeschool.market.notes.read import read_notes

ROW = {"ticker": "A", "known_at": "2014-06-30", "kind": "fundamentals", "text": "up"}


def read(folder: Path, *rows: dict[str, Any]) -> Notes:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps({**ROW, **row}) for row in rows))
    return read_notes(path)


def kept(folder: Path, **row: Any) -> bool:
    found = read(folder, row)
    errors = [one.rule for one in found.findings if one.severity == "error"]
    assert len(found.notes) + len(errors) == 1
    assert not errors or errors[0].startswith("known_at ")
    return bool(found.notes)


def spellings(name: str) -> list[str]:
    words = name.split("_")
    title = [word.title() for word in words]
    return [name, words[0] + "".join(title[1:]), "".join(title), " ".join(title), "-".join(words), name.upper()]


@pytest.mark.parametrize("name", PERIODS)
def test_a_period_ends_before_it_is_known_in_every_spelling_of_its_field(tmp_path: Path, name: str) -> None:
    for spelt in spellings(name):
        for inside in (False, True):
            for day, good in (("2014-06-30", False), ("2014-07-31", False), ("2014-06-29", True)):
                told = {spelt: day}
                assert kept(tmp_path, **({"fields": told} if inside else told)) is good, (spelt, day)


@pytest.mark.parametrize("name", EVENTS)
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
        ("June 2014", "2014-06-30"), ("Jun-2014", "2014-06-30"), ("2014-Q1", "2014-03-31"), ("2014Q1", "2014-03-31"),
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
        ({"year": 2014, "month": "May"}, "2014-05-31"),
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


def test_the_cure_tells_what_to_do(tmp_path: Path) -> None:
    found = read(tmp_path, {"fiscal_year": 2014}, {"kind": "analyst", "period_end": "2014-12-31"})
    texts = [one.text for one in found.findings if one.severity == "error"]
    assert "add the period's last day as period_end" in texts[0]
    assert "name the period of a forecast forecast_period" in texts[1]
    assert kept(tmp_path, kind="analyst", forecast_period="2014-12-31")


def test_fundamentals_of_no_period_are_told_of_once(tmp_path: Path) -> None:
    known = {"period": "2014-Q1"}
    found = read(tmp_path, known, {"eps": 1}, {"period": "TTM", "eps": 2}, {"kind": "insider", "shares": 5})
    assert len(found.notes) == 4
    (told,) = [one for one in found.findings if "which period" in one.rule]
    assert told.severity == "info"
    assert told.rule == "no field says which period; whether known_at is the publication cannot be checked"
    assert told.value == "2 rows, the first is row 2"
    assert not any("which period" in one.rule for one in read(tmp_path, known).findings)


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
