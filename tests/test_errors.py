"""The did-you-mean of error texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool import errors
from tradeschool.errors import did_you_mean


@pytest.mark.parametrize(
    ("word", "expected"),
    [("lerning_rate", "learning_rate"), ("STEPS", "steps"), ("stpes", "steps"), ("beta ", "beta")],
)
def test_the_nearest_option_is_named(word: str, expected: str) -> None:
    assert did_you_mean(word, ["steps", "learning_rate", "beta"]) == f" Did you mean '{expected}'?"


def test_nothing_is_guessed_when_nothing_is_near() -> None:
    assert did_you_mean("zzz", ["steps", "beta"]) == ""
    assert did_you_mean("steps", []) == ""


@given(st.text(), st.lists(st.text(max_size=12), max_size=8))
def test_a_guess_is_always_one_of_the_options(word: str, options: list[str]) -> None:
    output = did_you_mean(word, options)
    assert output == "" or any(output == f" Did you mean '{option}'?" for option in options)


def test_every_error_can_be_caught_as_one() -> None:
    for error in (errors.DataError, errors.RecipeError, errors.RunError, errors.ParseError):
        assert issubclass(error, errors.TradeschoolError)
