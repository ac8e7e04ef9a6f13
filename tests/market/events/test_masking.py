"""Masking: symbols, company names and dates are hidden, and nothing else of a text changes."""

import re
import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tradeschool.market.events.event import read_names
from tradeschool.market.events.masking import Masker, name_variants

NAMES = {
    "AMZN": ("Amazon.com Inc.",),
    "BRK-B": ("Berkshire Hathaway Inc.",),
    "T": ("AT&T Inc.",),
    "A": ("Agilent Technologies",),
    "COST": ("Costco Wholesale",),
    "TGT": ("Target Corporation",),
    "UL": ("Unilever PLC",),
    "UN": ("Unilever N.V.",),
    "BP": ("BP p.l.c.",),
    "MCD": ("McDonald's Corporation",),
    "MMM": ("3M Company",),
    "RELIANCE.NS": ("Reliance Industries Limited",),
    "M&M.NS": (),
    "^GSPC": (),
    "GE": ("General Electric Company", "GE Aerospace"),
    "STOCK": (),
}
TICKERS = list(NAMES)
MASK = Masker({ticker: f"Stock {n}" for n, ticker in enumerate(NAMES, start=1)}, NAMES)


def masked_name(ticker: str) -> str:
    return f"Stock {1 + TICKERS.index(ticker)}"


@pytest.mark.parametrize(
    ("text", "ticker"),
    [
        ("AMZN", "AMZN"), ("$AMZN", "AMZN"), ("$ amzn", "AMZN"), ("$Amzn", "AMZN"), ("amzn", "AMZN"),
        ("NASDAQ: AMZN", "AMZN"), ("nasdaq:amzn", "AMZN"), ("Amazon", "AMZN"), ("AMAZON", "AMZN"),
        ("amazon.com", "AMZN"), ("amazon . com", "AMZN"), ("Amazon.com Inc", "AMZN"), ("Amazon.com, Inc", "AMZN"),
        ("BRK-B", "BRK-B"), ("BRK.B", "BRK-B"), ("BRK/B", "BRK-B"), ("brk.b", "BRK-B"), ("BRKB", "BRK-B"),
        ("$ brk.a", "BRK-B"), ("BRK-A", "BRK-B"), ("BRK", "BRK-B"), ("$brk", "BRK-B"), ("Berkshire", "BRK-B"),
        ("berkshire hathaway", "BRK-B"), ("$t", "T"), ("$ t", "T"), ("NYSE: T", "T"), ("T", "T"), ("AT&T", "T"),
        ("at & amp ; t", "T"), ("COST", "COST"), ("$ cost", "COST"), ("costco", "COST"), ("Target", "TGT"),
        ("target corporation", "TGT"), ("BP", "BP"), ("mcdonald ’ s", "MCD"), ("mcdonalds corporation", "MCD"),
        ("3M", "MMM"),
        ("RELIANCE.NS", "RELIANCE.NS"), ("RELIANCE", "RELIANCE.NS"), ("reliance industries", "RELIANCE.NS"),
        ("M&M.NS", "M&M.NS"), ("^GSPC", "^GSPC"), ("General Electric", "GE"), ("ge aerospace", "GE"),
    ],
)  # fmt: skip
def test_symbols_and_names_are_hidden(text: str, ticker: str) -> None:
    for form in ("{} rises", "({}), up", "buy {}: now", "{}'s profit", "“{}”"):
        assert MASK(form.format(text)) == form.format(masked_name(ticker)), form


@pytest.mark.parametrize(
    "text",
    [
        "cost cutting", "on target, a price target", "a lawsuit", "A new lawsuit", "XAMZN and AMZNX and AMZN_X",
        "Class A shares, Series A", "so at t it was", "25 bp, raised 3m", "they ge it", "un and ul",
        "general electricity", "S&P, AT-home", "T-bills, B.T., T.V.", "amazonian, Targeted", "$5 and $ 300",
        "our reliance on gas", "",
    ],
)  # fmt: skip
def test_other_words_stay(text: str) -> None:
    assert MASK(text) == text


def test_short_names_and_symbols_count_in_any_case_in_the_companys_own_events() -> None:
    assert MASK("bp and ge up, 3m down", "BP") == f"{masked_name('BP')} and ge up, 3m down"
    assert MASK("bp and ge up, mcd too", "GE") == f"bp and {masked_name('GE')} up, mcd too"
    assert MASK("mcd up", "MCD") == f"{masked_name('MCD')} up"
    assert MASK("at t a target", "T") == "at t a target"


def test_a_shared_name_is_the_events_own_company() -> None:
    assert MASK("Unilever", "UN") == masked_name("UN")
    assert MASK("Unilever", "UL") == MASK("Unilever") == masked_name("UL")


def test_masked_names_are_not_masked_again() -> None:
    """One of the companies has the symbol STOCK."""
    assert MASK("AMZN and STOCK") == f"{masked_name('AMZN')} and {masked_name('STOCK')}"


def test_the_longest_name_wins() -> None:
    mask = Masker(
        {"BRK": "One", "BRK-B": "Two", "GE": "Three"},
        {"GE": ("General Electric",), "BRK": ("General Electric Capital",)},
    )
    assert mask("BRK.B, BRK, General Electric Capital, General Electric") == "Two, One, One, Three"


def test_names_of_other_markets_do_not_matter() -> None:
    assert Masker({"GE": "One"}, {"AAPL": ("Apple Inc.",)})("Apple and GE") == "Apple and One"


def test_an_empty_market_hides_only_dates() -> None:
    assert Masker({}, {})("GE in 2014") == "GE in [year]"


OWN = [(ticker, variant) for ticker, names in NAMES.items() for name in names for variant in name_variants(name)]
FILL = st.text(alphabet="xyz ,.;:!?()\n“”#@/—", max_size=12)


@given(parts=st.lists(st.tuples(FILL, st.sampled_from(OWN)), min_size=1, max_size=5), upper=st.booleans(), end=FILL)
def test_nothing_of_a_name_remains(parts: list[tuple[str, tuple[str, str]]], upper: bool, end: str) -> None:
    """In any surroundings that leave the name a word of its own, as written or in capitals."""
    text = "".join(f"{fill} {variant.upper() if upper else variant} " for fill, (_, variant) in parts) + end
    masked = MASK(text)
    for _, (_, variant) in parts:
        # A common word counts with its own capitals only.
        if not upper or variant not in ("Target", "Reliance"):
            assert variant.casefold() not in masked.replace("Stock", "").casefold()
    for fill, _ in parts:
        assert fill.strip() in masked


@settings(max_examples=300)
@given(text=st.text(alphabet="bcdfghjklmnpqrsuvwxyzéß ,.;:!?()\n\t“”'’-/%&#@🚀5", max_size=80))
def test_other_texts_are_unchanged(text: str) -> None:
    words = {word.casefold() for word in "".join(letter if letter.isalnum() else " " for letter in text).split()}
    # No name or symbol of the market can be written with these letters but those of a short one; dates need a slash.
    assume("/" not in text and "'5" not in text and "’5" not in text and not words & {"bp", "un", "mmm", "mcd"})
    assert MASK(text) == text


@given(parts=st.lists(st.tuples(FILL, st.sampled_from(OWN)), min_size=1, max_size=5))
def test_what_was_put_in_is_not_read_as_anything_else(parts: list[tuple[str, tuple[str, str]]]) -> None:
    mask = Masker({one: f"Stock {n}" for n, one in enumerate(TICKERS[:-1], start=1)}, NAMES)
    once = mask("".join(f"{fill} {variant} " for fill, (_, variant) in parts))
    assert mask(once) == once


def long_texts() -> list[str]:
    odd = ["at " * 5000, "& " * 5000, "a" * 50_000, "1/" * 20_000, "Mar " * 8000, "2014-" * 8000, "$ " * 20_000]
    return [
        *odd,
        "general " * 5000,
        " " * 50_000 + "AMZN",
        "J.P. " * 8000,
        "mcdonald ' " * 5000,
        "12 " * 20_000,
        "'1" * 20_000,
    ]


def test_time_grows_with_the_length_of_a_text_not_with_its_square() -> None:
    """Ten times the text may take forty times as long on a busy machine, but not a hundred times."""
    for text in long_texts():
        times = []
        for part in (text[: len(text) // 10], text):
            before = time.process_time()
            MASK(part)
            times.append(time.process_time() - before)
        assert times[1] < 40 * max(times[0], 2e-3), text[:20]


@pytest.fixture(scope="module")
def large() -> Masker:
    letters = "BCDFGHJKLMNPQRSTVWXYZ"
    pairs = [(a, b) for a in letters for b in f"{letters}abc"]
    names = {f"{a}{b}X": (f"{a}anda{b}o Motor Company", f"{b}ine & {a}ule Inc.") for a, b in pairs}
    return Masker({ticker: f"Stock {n}" for n, ticker in enumerate(names)}, names)


def test_five_hundred_tickers_are_all_hidden(large: Masker) -> None:
    assert large("$ bcx and Bandaco motor, Cine & Bule, BCX") == "Stock 1 and Stock 1, Stock 1, Stock 1"
    assert large("Zandaco falls") == "Stock 481 falls"


def test_stocknets_tweets_show_no_symbol_and_no_name(stocknet: Path) -> None:
    names = read_names(stocknet / "StockTable")
    mask = Masker({ticker: f"Stock {n}" for n, ticker in enumerate(names)}, names)
    tweets = pd.read_parquet(stocknet / "tweets.parquet")
    own = dict.fromkeys(zip(tweets["text"], tweets["ticker"], strict=True))
    for i, (text, ticker) in enumerate(own):
        if i % 7 == 0:
            masked = f" {mask(text, ticker)} ".casefold()
            assert f"$ {ticker} ".casefold() not in masked
            for word in (
                "wal-mart ",
                "walmart ",
                "mcdonald",
                "facebook ",
                "amazon ",
                "boeing ",
                "intel ",
                "microsoft ",
            ):
                assert f" {word}" not in masked, text


# name variants ---------------------------------------------------------------------------------------


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
def test_name_variants(name: str, expected: list[str]) -> None:
    assert name_variants(name) == expected


@pytest.mark.parametrize(
    ("name", "texts"),
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
def test_spellings_of_a_name(name: str, texts: list[str]) -> None:
    for text in texts:
        assert Masker({"X": "One"}, {"X": (name,)})(f"up {text}, down") == "up One, down", text
        shared = Masker({"X": "One", "Y": "Two"}, {"X": (name,), "Y": (text,)})
        assert (shared(text, "X"), shared(text, "Y")) == ("One", "Two")


@pytest.mark.parametrize(("name", "text"), [("AT&T", "at t"), ("AT&T", "att")])
def test_and_cannot_be_left_out(name: str, text: str) -> None:
    assert Masker({"X": "One"}, {"X": (name,)})(text) == text


@given(name=st.text(alphabet="Ab c&.'’-,1\n", max_size=20) | st.text(max_size=20))
def test_every_variant_of_a_name_is_masked(name: str) -> None:
    mask = Masker({"XXXX": "One"}, {"XXXX": (name,)})
    for variant in name_variants(name):
        assert "One" in mask(variant, "XXXX")


# dates -----------------------------------------------------------------------------------------------


DATES = Masker({"ZZZZ": "Stock 1"}, {})


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
        assert DATES(text) == text.replace(date, "[date]")


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_years(text: str, expected: str) -> None:
    assert DATES(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "$2014 and $ 2014, €1999", "2,014 and 2014.5 and 1.2014", "1/2, 3/4, 5/16, 24/7", "12:05, 10-15%", "S&P 500",
        "market maker, marvel, august company, decent, may rise", "may 5 percent", "up 5.3 % in 3 months",
        "Q3 beat, 2Q, FY", "H1B visa", "10/10", "version 2.0.14", "20145", "ratio 3/31.5", "31.5.3", "1.5.2",
        "call 18005551234",
    ],
)  # fmt: skip
def test_other_numbers_stay(text: str) -> None:
    assert DATES(text) == text


@given(text=st.text(alphabet="0123456789/-.,' QFYHMarchdecmber$%\n", max_size=40))
def test_no_plain_date_remains(text: str) -> None:
    masked = DATES(f"{text} 2014-03-31 {text} March 3, 2015 {text}")
    assert not re.search(r"(?<![\d/-])2014-03-31(?![\d/-])", masked)
    assert not re.search(r"March 3, 2015\s", masked)
