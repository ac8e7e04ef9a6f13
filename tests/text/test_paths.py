"""Forecasts in answers: what is read, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.errors import ParseError
from tradeschool.text.paths import LARGEST, format_path, parse_path

TEN = "0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0"
VALUES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def answer(body: str) -> str:
    return f"<think>Trend up.</think><answer>{body}</answer>"


@pytest.mark.parametrize(
    "body",
    [
        TEN,
        f"[{TEN}]",
        f"\n[ {TEN} ]\n",
        TEN.replace(",", ""),
        TEN.replace(", ", "\n"),
        TEN.replace(", ", ",\n"),
        TEN.replace(" ", ""),  # all have decimal points, so the commas separate
        TEN.replace("0.", "."),
        TEN.replace("0.1", "+0.1").replace("1.0", "1."),
        TEN.replace("0.1", "1e-1"),
        TEN.replace("0.1", "0.100"),
    ],
)
def test_ten_numbers_are_read(body: str) -> None:
    assert parse_path(answer(body), 10) == VALUES
    assert parse_path(f"<answer>{body}</answer>", 10) == VALUES


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9", "9 numbers"),
        (TEN + ", 1.1", "11 numbers"),
        ("", "0 numbers"),
        ("[]", "0 numbers"),
        (TEN.replace("0.1", "nan"), "not a plain number"),
        (TEN.replace("0.1", "NaN"), "not a plain number"),
        (TEN.replace("0.1", "inf"), "not a plain number"),
        (TEN.replace("0.1", "-Infinity"), "not a plain number"),
        (TEN.replace("0.1", "1e400"), "too large"),
        (TEN.replace("0.1", "99999"), "too large"),
        (TEN.replace("0.1", "0.1%"), "percent"),
        (TEN.replace("0.1", "$0.1"), "not a plain number"),
        (TEN.replace("0.1", "0.1 USD"), "not a plain number"),
        (TEN.replace("0.1", "0.1sd"), "not a plain number"),
        (TEN.replace("0.1", "1,234"), "ambiguous"),
        (TEN.replace("0.1", "1,234.5"), "ambiguous"),
        (TEN.replace("0.1", "0,1"), "ambiguous"),
        (TEN.replace("0.1", "1_000"), "not a plain number"),
        (TEN.replace("0.1", "0.1/2"), "not a plain number"),
        (TEN.replace("0.1", "0.1-0.2"), "not a plain number"),
        (TEN.replace("0.1", "0.1 to 0.2"), "not a plain number"),
        (TEN.replace("0.1", "٠.1"), "not a plain number"),
        (TEN.replace("0.1", "−0.1"), "not a plain number"),
        (TEN.replace("0.1,", "0.1, ,"), "not a plain number"),
        (f"[{TEN}", "not a plain number"),
        (f"[[{TEN}]]", "not a plain number"),
        (f"{TEN}; {TEN}", "not a plain number"),
        ("<answer>" + TEN, "exactly one answer"),
    ],
)
def test_what_may_mean_two_things_is_refused(body: str, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        parse_path(answer(body), 10)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TEN, "no answer"),
        (f"<answer>{TEN}", "one closed"),
        (f"{TEN}</answer>", "one closed"),
        (f"</answer>{TEN}<answer>", "one closed"),
        (answer(TEN) + f"<answer>{TEN}</answer>", "exactly one answer"),
        (f"<think>x<answer>{TEN}</answer>", "closed <think>"),
        (f"<think><answer>{TEN}</answer></think>", "no answer"),
    ],
)
def test_there_must_be_one_answer_after_the_reasoning(text: str, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        parse_path(text, 10)


@given(st.lists(st.floats(-LARGEST, LARGEST), min_size=1, max_size=20), st.integers(1, 6))
def test_formatting_and_parsing_are_inverse(values: list[float], decimals: int) -> None:
    rounded = tuple(round(value, decimals) for value in values)
    text = format_path(values, "Strength strong.", decimals)
    assert parse_path(text, len(values)) == rounded
    assert "-0.0]" not in format_path([-0.0], "", 1)


@given(st.text(alphabet="0123456789.,-+eE[]<>/ \nanswerthink%$", max_size=120), st.integers(1, 12))
def test_fuzzed_answers_are_read_or_refused(noise: str, count: int) -> None:
    for text in (noise, answer(noise), f"<answer>{noise}", f"<think>{noise}</think><answer>{noise}</answer>"):
        try:
            found = parse_path(text, count)
        except ParseError:
            continue
        assert len(found) == count
        assert all(math.isfinite(value) and abs(value) <= LARGEST for value in found)
