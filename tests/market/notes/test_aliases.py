"""What a company is called: telling parts of its name, in the spellings of texts and tweets."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.market.notes.aliases import aliases, heads, key, spelling


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Exxon Mobil Corporation", ["Exxon Mobil Corporation", "Exxon Mobil", "Exxon"]),
        ("Amazon.com  Inc.", ["Amazon.com Inc.", "Amazon.com", "Amazon"]),
        ("The Walt Disney", ["The Walt Disney", "Walt Disney", "Walt", "Disney"]),
        ("The Southern Company", ["The Southern Company", "Southern Company", "Southern"]),
        ("JPMorgan Chase & Co.", ["JPMorgan Chase & Co.", "JPMorgan Chase", "JPMorgan"]),
        ("Bank of America", ["Bank of America"]),
        ("General Electric Company", ["General Electric Company", "General Electric"]),
        ("Taiwan Semiconductor Manufacturing Company Limited", [
            "Taiwan Semiconductor Manufacturing Company Limited", "Taiwan Semiconductor Manufacturing Company",
            "Taiwan Semiconductor Manufacturing"]),
        ("United Parcel Service Inc.", ["United Parcel Service Inc.", "United Parcel Service", "United Parcel"]),
        ("McDonald's Corporation", ["McDonald's Corporation", "McDonald's", "McDonald"]),
        ("BP p.l.c.", ["BP p.l.c.", "BP"]),
        ("Unilever N.V.", ["Unilever N.V.", "Unilever"]),
        ("Anheuser-Busch InBev SA/NV Company", [
            "Anheuser-Busch InBev SA/NV Company", "Anheuser-Busch InBev SA/NV", "Anheuser-Busch InBev",
            "Anheuser-Busch"]),
        ("3M Company", ["3M Company", "3M"]),
        ("Group Holdings Inc.", ["Group Holdings Inc.", "Group Holdings", "Group"]),
        ("", []),
        ("&", []),
    ],
)  # fmt: skip
def test_aliases(name: str, expected: list[str]) -> None:
    assert aliases(name) == expected


def spelt(alias: str, text: str) -> bool:
    return re.fullmatch(spelling(alias), text, re.IGNORECASE) is not None and any(
        text.casefold().startswith(head) for head in heads(alias)
    )


@pytest.mark.parametrize(
    ("alias", "texts"),
    [
        ("Wal-Mart", ["Wal-Mart", "walmart", "wal mart", "WAL - MART"]),
        ("McDonald's", ["McDonald's", "mcdonalds", "McDonald’s", "mcdonald ’ s"]),
        ("AT&T", ["AT&T", "at & t", "at & amp ; t", "AT&amp;T", "at and t"]),
        ("JPMorgan Chase", ["JP Morgan Chase", "J.P. Morgan Chase", "jpmorgan chase", "J P Morgan-Chase"]),
        ("Coca-Cola", ["coca cola", "CocaCola"]),
        ("Exxon Mobil", ["ExxonMobil", "exxon  mobil"]),
        ("Procter & Gamble", ["procter and gamble", "Procter&Gamble"]),
        ("Amazon.com", ["amazon . com", "AmazonCom"]),
    ],
)
def test_spellings(alias: str, texts: list[str]) -> None:
    for text in texts:
        assert spelt(alias, text), text
        assert key(text) == key(alias)


@pytest.mark.parametrize(("alias", "text"), [("AT&T", "at t"), ("AT&T", "att"), ("Procter & Gamble", "procter gamble")])
def test_and_cannot_be_left_out(alias: str, text: str) -> None:
    assert not spelt(alias, text)


@given(name=st.text(alphabet="Ab c&.'’-,1\n", max_size=20) | st.text(max_size=20))
def test_every_alias_matches_itself_and_its_heads(name: str) -> None:
    for alias in aliases(name):
        words = re.findall(r"\w+", alias)
        assert re.search(spelling(alias), alias, re.IGNORECASE)
        assert words[0].casefold() in heads(alias)
