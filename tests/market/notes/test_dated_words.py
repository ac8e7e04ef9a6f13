"""Dates in texts, in the spellings of news and tweets; figures and fractions are none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.market.notes.masking import Masker

MASK = Masker({"ZZZZ": "Stock 1"}, {})


@pytest.mark.parametrize(
    "date",
    [
        "2014-03-31", "2014/3/31", "2014-03-31T16:05:00Z", "2014-03-31 16:05", "2014-03-31T16:05:00.5+00:00",
        "3/31/2014", "03/31/14", "31.03.2014", "31-3-2014", "20140331", "07/11 / 2015", "2015/12 / 22", "08/01", "3/31",
        "March 31, 2014", "Mar 31", "mar 31 2014", "Mar. 31st", "31 March 2014", "31st of March", "31-Mar-2014",
        "Mar-31-2014", "31Mar2014", "March 2014", "Mar '14", "Mar'14", "april 25th , 2015", "may - 02",
        "Sept 3rd", "dec 30th , 2015",
        "Q3 2014", "Q3 14", "Q3'14", "1Q14", "FY14", "FY2014", "2014Q3", "H1 2015",
        "FY 2014", "2014-Q4",
    ],
)  # fmt: skip
def test_dates_are_hidden_whole(date: str) -> None:
    for text in (f"on {date} it rose", f"({date}): up", date):
        assert MASK(text) == text.replace(date, "[date]")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("in 2014.", "in [year]."),
        ("2013-2014", "[year]-[year]"),
        ("2010s, 2015E", "[year]s, [year]E"),
        ("the class of '14", "the class of '[year]"),
        ("/2014/03/31/news", "/[year]/03/31/news"),
        ("March 31-April 2", "[date]-[date]"),
        ("2014's best", "[year]'s best"),
    ],
)
def test_years(text: str, said: str) -> None:
    assert MASK(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "$2014 and $ 2014, €1999", "2,014 and 2014.5 and 1.2014", "1/2, 3/4, 5/16, 24/7", "12:05, 10-15%", "S&P 500",
        "market maker, marvel, august company, decent, may rise", "may 5 percent", "up 5.3 % in 3 months",
        "Q3 beat, 2Q, FY", "H1B visa", "10/10", "version 2.0.14", "20145", "ratio 3/31.5", "31.5.3", "1.5.2",
        "call 18005551234",
    ],
)  # fmt: skip
def test_what_is_no_date_stays(text: str) -> None:
    assert MASK(text) == text


@given(text=st.text(alphabet="0123456789/-.,' QFYHMarchdecmber$%\n", max_size=40))
def test_no_plain_date_remains(text: str) -> None:
    said = MASK(f"{text} 2014-03-31 {text} March 3, 2015 {text}")
    assert not re.search(r"(?<![\d/-])2014-03-31(?![\d/-])", said)
    assert not re.search(r"March 3, 2015\s", said)
