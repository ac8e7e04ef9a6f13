"""Splits: in time, no row lost or shared, embargo kept, senseless requests refused."""

import datetime
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.errors import DataError, RecipeError
from tradeschool.market.panel import Panel
from tradeschool.market.splits import split_rows


def panel(days: int = 1000) -> Panel:
    ones = np.ones((days, 1))
    dates = np.arange("2010-01-01", "2040-01-01", dtype="datetime64[D]")[:days]
    return Panel(dates, ("A",), ones, ones, ones, ones, ones)


@given(
    days=st.integers(300, 2000),
    embargo=st.integers(0, 20),
    warmup=st.integers(0, 100),
    cuts=st.tuples(st.floats(0.2, 0.4), st.floats(0.6, 0.8)),
)
def test_parts_cover_all_but_warm_up_and_embargo(
    days: int, embargo: int, warmup: int, cuts: tuple[float, float]
) -> None:
    shares = (cuts[0], cuts[1] - cuts[0], 1 - cuts[1])
    split = split_rows(panel(days), shares, embargo=embargo, warmup=warmup)
    parts = (split.train_T, split.validation_T, split.test_T)
    assert parts[0][0] == warmup
    assert parts[2][-1] == days - 1
    for part, share in zip(parts, shares, strict=True):
        np.testing.assert_array_equal(np.diff(part), 1)
        assert abs(len(part) - share * (days - warmup - 2 * embargo)) <= 1
    for earlier, later in itertools.pairwise(parts):
        assert later[0] - earlier[-1] == embargo + 1


@pytest.mark.parametrize("kind", [str, datetime.date.fromisoformat, np.datetime64])
def test_dates_start_their_parts_and_the_embargo_lies_before_them(kind: type) -> None:
    market = panel()
    split = split_rows(market, dates=(kind("2011-06-01"), kind("2012-01-01")), embargo=16, warmup=50)
    assert str(market.dates_T[split.validation_T[0]]) == "2011-06-01"
    assert str(market.dates_T[split.test_T[0]]) == "2012-01-01"
    assert split.train_T[0] == 50
    assert split.validation_T[0] - split.train_T[-1] == 17
    assert split.test_T[0] - split.validation_T[-1] == 17


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((0.6, 0.4), "2 shares"),
        ((0.6, 0.0, 0.4), "above 0"),
        ((1.2, -0.4, 0.2), "above 0"),
        ((0.6, float("nan"), 0.4), "above 0"),
        ((60, 10, 30), "sum to 100, not to 1"),
    ],
)
def test_senseless_shares_are_refused(shares: tuple[float, float, float], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        split_rows(panel(), shares, embargo=1, warmup=0)


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        (("2012-01-01", "2011-01-01"), "not after"),
        (("2011-01-01", "2011-01-01"), "not after"),
        (("soon", "2011-01-01"), "'soon' is not a date"),
        ((2011, "2011-01-01"), "2011 is not a date"),
        (("2011-02-30", "2011-06-01"), "'2011-02-30' is not a date"),
        (("2011-01-01",), "Give two"),
    ],
)
def test_senseless_dates_are_refused(dates: tuple[str, str], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        split_rows(panel(), dates=dates, embargo=1, warmup=0)


@pytest.mark.parametrize(
    ("dates", "part"),
    [
        (("2009-01-01", "2011-01-01"), "train"),
        (("2011-01-01", "2011-01-05"), "validation"),
        (("2011-01-01", "2039-01-01"), "test"),
    ],
)
def test_an_empty_part_is_refused_by_name(dates: tuple[str, str], part: str) -> None:
    with pytest.raises(DataError, match=f"the {part} part would be empty"):
        split_rows(panel(), dates=dates, embargo=15, warmup=10)


def test_a_history_shorter_than_warm_up_and_embargo_is_refused() -> None:
    with pytest.raises(DataError, match="30 dates"):
        split_rows(panel(30), embargo=15, warmup=20)


@pytest.mark.parametrize(("embargo", "warmup", "name"), [(-1, 0, "embargo"), (1, -1, "warmup")])
def test_negative_row_counts_are_refused(embargo: int, warmup: int, name: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} is -1"):
        split_rows(panel(), embargo=embargo, warmup=warmup)
