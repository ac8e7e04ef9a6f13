"""The grammar: what counts as an answer, and what is refused as ambiguous."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradeschool.errors import ParseError
from tradeschool.text.grammar import RATING_NAMES, RATINGS, compose_decision, has_reasoning, parse_decision

names = st.sampled_from(list(RATINGS))
reasoning = st.text().filter(lambda text: "<think>" not in text and "</think>" not in text)
# Text made mostly of the grammar's own pieces finds its corners sooner than letters do.
pieces = st.lists(
    st.sampled_from(["<think>", "</think>", "[[[", "]]]", "[[", "[", "]", *RATINGS, "\n", " ", "buy"])
    | st.text(max_size=3)
).map("".join)


@given(name=names, said=reasoning)
@example(name="BUY", said="I first thought [[[SELL]]], then [[[HOLD]]].")
def test_parse_is_the_inverse_of_compose(name: str, said: str) -> None:
    """Any reasoning, even one that holds decisions: what is inside <think> decides nothing."""
    assert parse_decision(compose_decision(name, said)) == name


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


@given(name=names, said=reasoning)
def test_decisions_inside_the_reasoning_do_not_count(name: str, said: str) -> None:
    with pytest.raises(ParseError, match="no decision: end with one of"):
        parse_decision(f"<think>{said}[[[{name}]]]</think>\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no decision"),
        ("BUY", "no decision"),
        ("[[BUY]]", "no decision"),
        ("<think>x</think>", "no decision"),
        ("[[[BUY]]] rather than [[[SELL", r"a second \[\[\[ is opened"),
        ("[[[buy]]]", "'buy' is no decision. Did you mean 'BUY'"),
        ("[[[STRONGBUY]]]", "Did you mean 'STRONG_BUY'"),
        ("[[[BUY or SELL]]]", "'BUY or SELL' is no decision"),
        ("[[[]]]", "'' is no decision"),
        ("[[[[BUY]]]]", r"'\[BUY' is no decision"),
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
def test_reasoning_is_a_closed_block_that_says_something(text: str, found: bool) -> None:
    assert has_reasoning(text) is found
