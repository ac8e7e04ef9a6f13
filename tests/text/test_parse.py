"""Answers: which are parsed, which are refused and why, and that formatting is the inverse of parsing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradeschool.errors import ParseError
from tradeschool.text.parse import (
    RATING_NAMES,
    RATINGS,
    SIDES,
    Order,
    format_decision,
    format_orders,
    has_reasoning,
    parse_decision,
    parse_orders,
    read_orders,
)

# ratings ---------------------------------------------------------------------------------------------


names = st.sampled_from(list(RATINGS))
reasoning = st.text().filter(lambda text: "<think>" not in text and "</think>" not in text)
# Text made of the pieces of the grammar reaches its corner cases sooner than random letters do.
pieces = st.lists(
    st.sampled_from(["<think>", "</think>", "[[[", "]]]", "[[", "[", "]", *RATINGS, "\n", " ", "buy"])
    | st.text(max_size=3)
).map("".join)


@given(name=names, thought=reasoning)
@example(name="BUY", thought="I first thought [[[SELL]]], then [[[HOLD]]].")
def test_parse_is_the_inverse_of_format(name: str, thought: str) -> None:
    """Any reasoning, even one that holds decisions: what is inside <think> decides nothing."""
    assert parse_decision(format_decision(name, thought)) == name


@given(text=st.text() | pieces)
def test_arbitrary_text_is_read_or_refused(text: str) -> None:
    try:
        choice = parse_decision(text)
    except ParseError:
        return  # any other error fails the test
    assert choice in RATINGS
    answer = text.partition("</think>")[2] or text
    assert answer.count("[[[") == 1
    assert answer.count("]]]") >= 1


@given(first=names, second=names, between=st.sampled_from(["", " ", "\n", " or "]))
def test_two_decisions_are_refused_even_when_equal(first: str, second: str, between: str) -> None:
    with pytest.raises(ParseError, match="2 decisions"):
        parse_decision(f"<think>x</think>\n[[[{first}]]]{between}[[[{second}]]]")


@given(name=names, thought=reasoning)
def test_decisions_inside_the_reasoning_do_not_count(name: str, thought: str) -> None:
    with pytest.raises(ParseError, match="no decision: end with one of"):
        parse_decision(f"<think>{thought}[[[{name}]]]</think>\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no decision"),
        ("BUY", "no decision"),
        ("[[BUY]]", "no decision"),
        ("<think>x</think>", "no decision"),
        ("[[[BUY]]] rather than [[[SELL", r"a second \[\[\["),
        ("[[[buy]]]", "'buy' is not a decision. Did you mean 'BUY'"),
        ("[[[STRONGBUY]]]", "Did you mean 'STRONG_BUY'"),
        ("[[[BUY or SELL]]]", "'BUY or SELL' is not a decision"),
        ("[[[]]]", "'' is not a decision"),
        ("[[[[BUY]]]]", r"'\[BUY' is not a decision"),
        ("<think>x [[[BUY]]]", "1 <think> and 0 </think>"),
        ("x</think>[[[BUY]]]", "0 <think> and 1 </think>"),
        ("<think>a</think><think>b</think>[[[BUY]]]", "2 <think> and 2 </think>"),
        ("</think>[[[BUY]]]<think>", "comes before"),
        ("[[[SELL]]]<think>x</think>[[[BUY]]]", "text before <think>"),
        ("[[[BUY]]]\n1\n2\n3", "last 3 lines"),
    ],
)
def test_ambiguous_answers_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        parse_decision(text)


@pytest.mark.parametrize(
    "text",
    ["[[[BUY]]]", "  <think></think>[[[BUY]]]  ", "[[[ BUY ]]]", "So:\n[[[BUY]]]\n1\n2", "[[[BUY]]]\n1\n2\n\n\n"],
)
def test_clear_answers_are_read(text: str) -> None:
    assert parse_decision(text) == "BUY"


def test_other_choices_can_be_asked_for() -> None:
    assert parse_decision("[[[UP]]]", ["UP", "DOWN"]) == "UP"
    with pytest.raises(ParseError, match="Choose from UP, DOWN"):
        parse_decision("[[[BUY]]]", ["UP", "DOWN"])


def test_a_long_unknown_decision_is_cut_in_the_reason() -> None:
    with pytest.raises(ParseError) as caught:
        parse_decision(f"[[[{'x' * 5000}]]]")
    assert len(str(caught.value)) < 300


def test_ratings_are_five_points_in_order() -> None:
    assert RATINGS == {"STRONG_SELL": -2, "SELL": -1, "HOLD": 0, "BUY": 1, "STRONG_BUY": 2}
    assert [RATING_NAMES[value] for value in RATINGS.values()] == list(RATINGS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<think>RSI low.</think>\n[[[BUY]]]", True),
        ("\n <think>RSI\nlow.</think>", True),
        ("<think> \n </think>[[[BUY]]]", False),
        ("[[[BUY]]]", False),
        ("So <think>RSI low.</think>[[[BUY]]]", False),
        ("<think>RSI low.", False),
    ],
)
def test_reasoning_is_a_closed_block_that_is_not_empty(text: str, found: bool) -> None:
    assert has_reasoning(text) is found


# orders ----------------------------------------------------------------------------------------------


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


def test_the_ticker_may_be_omitted_with_one_stock() -> None:
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


def test_an_invalid_order_does_not_affect_the_others() -> None:
    orders, refused = read_orders("BUY AAPL 0.5\nBUY NOPE\nSELL S1 2\nSELL S10", TICKERS)
    assert orders == [Order("BUY", "AAPL", 0.5), Order("SELL", "S10")]
    assert len(refused) == 2


def test_two_orders_in_one_stock_are_both_refused_and_both_counted() -> None:
    orders, refused = read_orders("BUY AAPL 0.5\nBUY AAPL 0.2\nSELL S1", TICKERS)
    assert orders == [Order("SELL", "S1")]
    assert len(refused) == 2


def test_a_reason_quotes_little_and_only_printable_text() -> None:
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
def test_orders_survive_a_round_trip(orders: list[Order], reasoning: str) -> None:
    expected = [order._replace(fraction=1.0) if order.side == "HOLD" else order for order in orders]
    assert parse_orders(format_orders(orders, reasoning), TICKERS) == expected


def test_no_orders_are_written_as_hold() -> None:
    assert format_orders([]) == "HOLD"
    assert parse_orders(format_orders([Order("HOLD", None)], "wait"), TICKERS) == [Order("HOLD", None)]


@given(st.text())
def test_any_text_is_either_read_or_refused_with_a_reason(text: str) -> None:
    orders, refused = read_orders(text, TICKERS)
    assert orders or refused
    assert all(order.side in SIDES and 0 < order.fraction <= 1 for order in orders)
