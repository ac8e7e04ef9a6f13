"""Orders in words: what is read, what is refused and why, and the way from orders to words and back."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.errors import ParseError
from tradeschool.text.orders import SIDES, Order, _order, _usual, compose_orders, parse_orders, read_orders

TICKERS = ("AAPL", "BRK.B", "S1", "S10", "600519", "^GSPC")


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("BUY AAPL 0.25", [Order("BUY", "AAPL", 0.25)]),
        ("buy aapl 25%", [Order("BUY", "AAPL", 0.25)]),
        ("SELL BRK.B", [Order("SELL", "BRK.B", 1.0)]),
        ("SELL ^GSPC .5", [Order("SELL", "^GSPC", 0.5)]),
        ("BUY 600519", [Order("BUY", "600519", 1.0)]),
        ("BUY 600519 1", [Order("BUY", "600519", 1.0)]),
        ("BUY S1 1.", [Order("BUY", "S1", 1.0)]),
        ("BUY S1 100%", [Order("BUY", "S1", 1.0)]),
        ("HOLD", [Order("HOLD", None)]),
        ("HOLD S1", [Order("HOLD", "S1")]),
        (
            "<think>S1 is oversold; BUY it</think>\nBUY S1 50%; SELL S10\n\nHOLD AAPL\n",
            [Order("BUY", "S1", 0.5), Order("SELL", "S10"), Order("HOLD", "AAPL")],
        ),
        ("HOLD\nBUY S1 .5", [Order("HOLD", None), Order("BUY", "S1", 0.5)]),
        ("  BUY \t S1   0.5  ;;", [Order("BUY", "S1", 0.5)]),
    ],
)
def test_what_is_an_order(text: str, orders: list[Order]) -> None:
    assert parse_orders(text, TICKERS) == orders


def test_the_ticker_may_be_left_out_with_one_stock() -> None:
    assert parse_orders("BUY", ["S1"]) == [Order("BUY", "S1", 1.0)]
    assert parse_orders("SELL 30%", ["S1"]) == [Order("SELL", "S1", 0.3)]
    assert parse_orders("HOLD", ["S1"]) == [Order("HOLD", "S1")]
    assert parse_orders("BUY 1", ["1"]) == [Order("BUY", "1", 1.0)]
    with pytest.raises(ParseError, match="names no stock"):
        parse_orders("BUY 30%", ["S1", "S2"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no order: write BUY"),
        ("<think>hm</think>", "no order"),
        ("<think>hm", "reasoning must be one closed"),
        ("I would buy AAPL", "'I would buy AAPL' is no order"),
        ("BUY AAPL 0.5 now", "is no order"),
        ("BUYS1", "is no order"),
        ("BUY AAPLE", "no stock 'AAPLE'. Did you mean 'AAPL'"),
        ("BUY AAPL 0", "must be above 0"),
        ("BUY AAPL 25", "must be above 0 and at most 1"),
        ("BUY AAPL 101%", "must be above 0 and at most 1"),
        ("BUY AAPL -0.5", "is no fraction"),
        ("BUY AAPL half", "is no fraction"),
        ("BUY AAPL nan", "is no fraction"),
        ("BUY AAPL ٠.٥", "is no fraction"),
        ("BUY AAPL\nSELL AAPL", "2 orders in AAPL"),
        ("HOLD AAPL\nSELL aapl", "2 orders in AAPL"),
        ("BUY", "names no stock"),
    ],
)
def test_what_is_refused_and_why(text: str, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        parse_orders(text, TICKERS)


def test_a_faulty_order_does_not_take_the_others_with_it() -> None:
    orders, refused = read_orders("BUY AAPL 0.5\nBUY NOPE\nSELL S1 2\nSELL S10", TICKERS)
    assert orders == [Order("BUY", "AAPL", 0.5), Order("SELL", "S10")]
    assert len(refused) == 2


def test_two_orders_in_one_stock_are_both_refused_and_both_counted() -> None:
    orders, refused = read_orders("BUY AAPL 0.5\nBUY AAPL 0.2\nSELL S1", TICKERS)
    assert orders == [Order("SELL", "S1")]
    assert len(refused) == 2


def test_a_reason_quotes_little_and_printable_text_alone() -> None:
    _, refused = read_orders("买入 " + "x" * 500 + "\x07", TICKERS)
    assert len(refused) == 1
    assert len(refused[0]) < 130
    assert refused[0].isascii()
    assert refused[0].isprintable()


@given(
    st.lists(
        st.builds(
            Order,
            st.sampled_from(SIDES),
            st.sampled_from(TICKERS),
            st.floats(1e-12, 1.0, exclude_min=True),
        ),
        unique_by=lambda order: order.ticker,
        min_size=1,
    ),
    st.text(st.characters(exclude_characters="<>", exclude_categories=["Cs"])),
)
def test_orders_come_back_from_their_words(orders: list[Order], reasoning: str) -> None:
    expected = [order._replace(fraction=1.0) if order.side == "HOLD" else order for order in orders]
    assert parse_orders(compose_orders(orders, reasoning), TICKERS) == expected


def test_no_orders_are_said_as_hold() -> None:
    assert compose_orders([]) == "HOLD"
    assert parse_orders(compose_orders([Order("HOLD", None)], "wait"), TICKERS) == [Order("HOLD", None)]


def test_the_usual_order_is_read_as_the_careful_reading_has_it() -> None:
    words = (
        "BUY",
        "SELL",
        "HOLD",
        "buy",
        "AAA",
        "BBB",
        "CCC",
        "0.5",
        "1",
        "1.",
        ".5",
        "0",
        "2",
        "50%",
        "\u0663",
        "\u00a0",
    )
    for first, second, third, blank in itertools.product(words, words, words, (" ", "  ", "\t", "\u00a0")):
        piece = f"{first} {second}{blank}{third}"
        usual = _usual(piece, frozenset(("AAA", "BBB")))
        if usual is not None:
            assert usual == _order(piece, ("AAA", "BBB"))
        elif third in ("0.5", "1", "1.", ".5") and blank == " " and second in ("AAA", "BBB") and first in SIDES:
            pytest.fail(f"{piece} is usual")


@given(st.text())
def test_any_text_is_either_read_or_refused_with_a_reason(text: str) -> None:
    orders, refused = read_orders(text, TICKERS)
    assert orders or refused
    assert all(order.side in SIDES and 0 < order.fraction <= 1 for order in orders)
