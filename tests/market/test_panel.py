"""A Panel refuses bars that break a rule, and its hash changes with any of its data."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.errors import DataError
from tradeschool.market.events.event import Event
from tradeschool.market.panel import FIELDS, Panel


def panel(**changes: Any) -> Panel:
    """Three dates by two tickers, the second one listed from the second date on."""
    close = np.array([[10.0, np.nan], [11.0, 20.0], [12.0, 21.0]])
    fields: dict[str, Any] = {
        "dates_T": np.array(["2020-01-02", "2020-01-03", "2020-01-06"], dtype="datetime64[D]"),
        "tickers": ("A", "B"),
        "open_TN": close - 0.5,
        "high_TN": close + 1,
        "low_TN": close - 1,
        "close_TN": close,
        "volume_TN": close * 100,
    }
    return Panel(**(fields | changes))


def test_shape_and_listing() -> None:
    assert panel().shape == (3, 2)
    assert panel().listed_TN.tolist() == [[True, False], [True, True], [True, True]]


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("close", 0.0, "zero or negative"),
        ("open", -1.0, "zero or negative"),
        ("high", 18.0, "high is below the low"),
        ("close", 40.0, "outside the day's range"),
        ("open", 2.0, "outside the day's range"),
        ("volume", -1.0, "volume is negative"),
        ("volume", np.inf, "infinite"),
        ("low", np.nan, "some prices but not all"),
    ],
)
def test_a_broken_bar_is_refused_with_ticker_date_and_cure(name: str, value: float, rule: str) -> None:
    array = getattr(panel(), f"{name}_TN").copy()
    array[1, 1] = value
    with pytest.raises(DataError, match=f"B on 2020-01-03: .*{rule}.*Correct the row"):
        panel(**{f"{name}_TN": array})


@pytest.mark.parametrize("name", ["open", "high", "low"])
def test_a_bar_without_close_must_be_empty(name: str) -> None:
    array = getattr(panel(), f"{name}_TN").copy()
    array[0, 1] = 5.0
    with pytest.raises(DataError, match="B on 2020-01-02: the bar has some prices but not all"):
        panel(**{f"{name}_TN": array})


@pytest.mark.parametrize(
    "days", [["2020-01-02", "2020-01-02", "2020-01-06"], ["2020-01-03", "2020-01-02", "2020-01-06"]]
)
def test_dates_must_increase(days: list[str]) -> None:
    with pytest.raises(DataError, match=r"row 1\) is not after"):
        panel(dates_T=np.array(days, dtype="datetime64[D]"))


def test_shapes_and_tickers_must_agree() -> None:
    with pytest.raises(DataError, match="volume_TN has shape"):
        panel(volume_TN=np.ones((3, 1)))
    with pytest.raises(DataError, match="'A' appears twice"):
        panel(tickers=("A", "A"))
    none = np.empty((0, 2))
    with pytest.raises(DataError, match="the panel is empty"):
        panel(dates_T=np.array([], dtype="datetime64[D]"), **{f"{name}_TN": none for name in FIELDS})


@given(field=st.sampled_from(FIELDS), t=st.integers(1, 2), n=st.integers(0, 1))
def test_the_hash_changes_with_any_bar(field: str, t: int, n: int) -> None:
    array = getattr(panel(), f"{field}_TN").copy()
    array[t, n] *= 1 + 1e-12
    assert panel(**{f"{field}_TN": array}).data_hash() != panel().data_hash()


def test_the_hash_is_over_the_data_and_not_the_name() -> None:
    whole = panel()
    assert whole.data_hash() == panel().data_hash() == dataclasses.replace(whole, name="other").data_hash()
    event = Event(np.datetime64("2020-01-03"), "A", "news", "A buys B")
    assert panel(events=(event,)).data_hash() != whole.data_hash()
    assert panel(tickers=("A", "C")).data_hash() != whole.data_hash()
    assert panel(dates_T=whole.dates_T - 1).data_hash() != whole.data_hash()
