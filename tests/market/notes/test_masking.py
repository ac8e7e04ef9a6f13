"""Masking: nothing of a company's symbols and names remains, and a text without any stays as it is."""

import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tradeschool.market.notes.aliases import aliases
from tradeschool.market.notes.masking import Masker
from tradeschool.market.notes.names import read_names

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


def said(ticker: str) -> str:
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
        assert MASK(form.format(text)) == form.format(said(ticker)), form


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


def test_short_names_and_symbols_count_in_any_case_in_the_companys_own_notes() -> None:
    assert MASK("bp and ge up, 3m down", "BP") == f"{said('BP')} and ge up, 3m down"
    assert MASK("bp and ge up, mcd too", "GE") == f"bp and {said('GE')} up, mcd too"
    assert MASK("mcd up", "MCD") == f"{said('MCD')} up"
    assert MASK("at t a target", "T") == "at t a target"


def test_a_shared_name_is_the_notes_own_company() -> None:
    assert MASK("Unilever", "UN") == said("UN")
    assert MASK("Unilever", "UL") == MASK("Unilever") == said("UL")


def test_masked_names_are_not_masked_again() -> None:
    """One of the companies has the symbol STOCK."""
    assert MASK("AMZN and STOCK") == f"{said('AMZN')} and {said('STOCK')}"


def test_the_longest_name_wins() -> None:
    mask = Masker(
        {"BRK": "One", "BRK-B": "Two", "GE": "Three"},
        {"GE": ("General Electric",), "BRK": ("General Electric Capital",)},
    )
    assert mask("BRK.B, BRK, General Electric Capital, General Electric") == "Two, One, One, Three"


def test_names_of_other_markets_do_not_matter() -> None:
    assert Masker({"GE": "One"}, {"AAPL": ("Apple Inc.",)})("Apple and GE") == "Apple and One"


def test_an_empty_market_hides_dates_alone() -> None:
    assert Masker({}, {})("GE in 2014") == "GE in [year]"


OWN = [(ticker, alias) for ticker, names in NAMES.items() for name in names for alias in aliases(name)]
FILL = st.text(alphabet="xyz ,.;:!?()\n“”#@/—", max_size=12)


@given(parts=st.lists(st.tuples(FILL, st.sampled_from(OWN)), min_size=1, max_size=5), upper=st.booleans(), end=FILL)
def test_nothing_of_a_name_remains(parts: list[tuple[str, tuple[str, str]]], upper: bool, end: str) -> None:
    """In any surroundings that leave the name a word of its own, as written or in capitals."""
    text = "".join(f"{fill} {alias.upper() if upper else alias} " for fill, (_, alias) in parts) + end
    masked = MASK(text)
    for _, (_, alias) in parts:
        # A common word counts with its own capitals only.
        if not upper or alias not in ("Target", "Reliance"):
            assert alias.casefold() not in masked.replace("Stock", "").casefold()
    for fill, _ in parts:
        assert fill.strip() in masked


@settings(max_examples=300)
@given(text=st.text(alphabet="bcdfghjklmnpqrsuvwxyzéß ,.;:!?()\n\t“”'’-/%&#@🚀5", max_size=80))
def test_other_texts_stay_byte_by_byte(text: str) -> None:
    words = {word.casefold() for word in "".join(letter if letter.isalnum() else " " for letter in text).split()}
    # No name or symbol of the market can be written with these letters but those of a short one; dates need a slash.
    assume("/" not in text and "'5" not in text and "’5" not in text and not words & {"bp", "un", "mmm", "mcd"})
    assert MASK(text) == text


@given(parts=st.lists(st.tuples(FILL, st.sampled_from(OWN)), min_size=1, max_size=5))
def test_what_was_put_in_is_not_read_as_anything_else(parts: list[tuple[str, tuple[str, str]]]) -> None:
    mask = Masker({one: f"Stock {n}" for n, one in enumerate(TICKERS[:-1], start=1)}, NAMES)
    once = mask("".join(f"{fill} {alias} " for fill, (_, alias) in parts))
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


def test_stocknets_tweets_tell_no_symbol_and_no_name(stocknet: Path) -> None:
    names = read_names(stocknet / "StockTable")
    mask = Masker({ticker: f"Stock {n}" for n, ticker in enumerate(names)}, names)
    tweets = pd.read_parquet(stocknet / "tweets.parquet")
    own = dict.fromkeys(zip(tweets["text"], tweets["ticker"], strict=True))
    for i, (text, ticker) in enumerate(own):
        if i % 7 == 0:
            said = f" {mask(text, ticker)} ".casefold()
            assert f"$ {ticker} ".casefold() not in said
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
                assert f" {word}" not in said, text
