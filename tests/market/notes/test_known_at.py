"""Cells that say when a note became public: every common spelling, nothing known too early, never a traceback."""

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.market.finding import Report
from tradeschool.market.notes.known_at import Clock

NEW_YORK = ZoneInfo("America/New_York")
LATE = datetime.datetime(2014, 3, 31, 16, 5, tzinfo=NEW_YORK)


def read(cell: Any, same_day: bool = False) -> tuple[np.datetime64 | None, list[str]]:
    report = Report("notes.jsonl")
    clock = Clock(report, same_day)
    found = clock.read(cell, 7)
    clock.tell()
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
        np.datetime64("2014-03-31T20:05:00", "ns"),
        np.datetime64("2014-03-31T20:05:00", "s"),
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
        np.datetime64("2014-03-31", "D"),
        np.datetime64("2014-03-31", "ns"),
        pd.Timestamp("2014-03-31"),
        # Midnight is how programs write a day; taken for an hour it would be known on the evening before.
        "2014-03-31T00:00:00Z",
        "2014-03-31 00:00:00 UTC",
        pd.Timestamp("2014-03-31", tz="UTC"),
        datetime.datetime(2014, 3, 31, tzinfo=NEW_YORK),
    ],
)
def test_a_day_without_an_hour_is_known_a_day_later_unless_told_otherwise(cell: Any) -> None:
    found, said = read(cell)
    assert (str(found), np.datetime_data(found.dtype)[0]) == ("2014-04-01", "D")  # type: ignore[union-attr]
    assert said == ["info: notes with a day and no hour, or midnight, count as known at the next day's close"]
    found, said = read(cell, same_day=True)
    assert str(found) == "2014-03-31"
    assert said == ["info: notes with a day and no hour, or midnight, count as known at their own day's close"]


def test_an_hour_without_a_zone_is_utc_with_a_warning() -> None:
    found, said = read("2014-03-31T16:05:00")
    assert found == np.datetime64("2014-03-31T16:05:00")
    assert said == ["warning: notes with an hour and no time zone count as UTC"]


@pytest.mark.parametrize("cell", ["2014-03-31T20:00:00.000001Z", pd.Timestamp("2014-03-31T20:00:00.000000001Z")])
def test_a_fraction_of_a_second_is_rounded_up(cell: Any) -> None:
    """Rounded down, what came a moment after the close would be known at it."""
    assert read(cell)[0] == np.datetime64("2014-03-31T20:00:01")


@pytest.mark.parametrize("cell", [None, "", "  ", float("nan"), pd.NaT, pd.NA, np.datetime64("NaT"), "NaT", "null"])
def test_a_missing_cell_is_an_error(cell: Any) -> None:
    assert read(cell) == (None, ["error: known_at is missing"])


@pytest.mark.parametrize(
    "cell",
    ["03/31/2014", "2014-02-30", "2014-3-31", "31 March", "tomorrow", "20141331", 1396310400, 1.5, True, [], {}, b"x",
     np.array([1, 2]), "2014-03-31T25:00", "2014-03-31 16:05 Moon"],
)  # fmt: skip
def test_what_is_no_time_is_an_error(cell: Any) -> None:
    assert read(cell) == (None, ["error: known_at is neither a day nor a moment"])


@pytest.mark.parametrize(
    ("cell", "rule"),
    [
        ("9999-12-31T23:59:59-12:00", "known_at lies in the future"),
        (datetime.date.today() + datetime.timedelta(days=3), "known_at lies in the future"),
        ("0001-01-01T01:00:00+14:00", "known_at lies before 1900-01-01"),
        ("1899-12-31", "known_at lies before 1900-01-01"),
    ],
)
def test_implausible_times_are_errors(cell: Any, rule: str) -> None:
    assert read(cell) == (None, [f"error: {rule}"])


def test_a_row_is_counted_once_however_many_of_its_cells_are_days() -> None:
    report = Report("rows.parquet")
    clock = Clock(report, same_day=False)
    for row in (1, 1, 2):
        clock.read("2014-03-31", row)
    clock.tell()
    assert [finding.value for finding in report.findings] == ["2 rows, the first is row 1"]


def test_the_day_that_was_given_is_told() -> None:
    for same_day in (False, True):
        clock = Clock(Report("x"), same_day)
        known_at = clock.read("2014-03-31", 1)
        assert known_at is not None
        assert str(clock.day_given(known_at)) == "2014-03-31"
        assert str(clock.day_given(np.datetime64("2014-03-31T20:05", "s"))) == "2014-03-31"


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.binary(max_size=8),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())), st.dates(), st.lists(st.integers(), max_size=3),
    st.integers(-(2**62), 2**62).map(lambda ns: np.datetime64(ns, "ns")),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.from_regex(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})", fullmatch=True),
)  # fmt: skip


@given(cell=CELLS, same_day=st.booleans())
def test_any_cell_becomes_a_time_or_an_error(cell: Any, same_day: bool) -> None:
    found, said = read(cell, same_day)
    errors = [text for text in said if text.startswith("error")]
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
