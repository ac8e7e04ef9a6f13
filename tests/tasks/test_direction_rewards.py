"""Golden values by hand for every branch of both reward sets, and what counts as a data point of the prompt."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.tasks import direction_rewards as rewards
from tradeschool.text.describe import Fact
from tradeschool.text.direction import Call

FACTS = [
    Fact("rsi", "RSI", "RSI 28.4 (oversold)", "oversold"),
    Fact("strength", "Strength", "Strength +0.5 (strong)", "strong"),
    Fact("news", "News", "News today: Profit beats forecasts", "good"),
    Fact("trend", "Trend", "Trend unknown", "unknown"),
]
SECTIONS = (
    "## News\n0-3 days old:\n- today: Apple opens 12 stores in India\n\n## Fundamentals\n- revenue 4.2bn, eps 2.57"
)


def up(confidence: float, magnitude: float = 1.0) -> Call:
    return Call("UP", magnitude, confidence)


def down(confidence: float, magnitude: float = 1.0) -> Call:
    return Call("DOWN", magnitude, confidence)


# proper scores ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "came", "score"),
    [
        (up(0.8), True, 0.04),
        (up(0.8), False, 0.64),
        (down(0.8), True, 0.64),
        (down(0.8), False, 0.04),
        (None, True, 1.0),
    ],
)
def test_brier(call: Call | None, came: bool, score: float) -> None:
    assert rewards.brier(call, came) == pytest.approx(score)


@given(st.floats(0, 1), st.booleans(), st.booleans(), st.floats(0, 1))
def test_signal_and_charge_are_the_gain_in_brier_score(sure: float, is_up: bool, came: bool, base: float) -> None:
    call = up(sure) if is_up else down(sure)
    gain = (base - came) ** 2 - rewards.brier(call, came)
    assert rewards.signal(call, came, base) + rewards.charge(call, base) == pytest.approx(gain, abs=1e-12)
    worst = rewards.signal(None, came, base) + rewards.charge(None, base)
    assert worst <= gain + 1e-12


@given(st.floats(0.05, 0.95))
def test_the_honest_confidence_earns_most(true: float) -> None:
    def expected(sure: float, score: str) -> float:
        if score == "brier":
            of = [rewards.signal(up(sure), came, 0.5) + rewards.charge(up(sure), 0.5) for came in (True, False)]
        else:
            of = [rewards.log_score(up(sure), came) for came in (True, False)]
        return true * of[0] + (1 - true) * of[1]

    for score in ("brier", "log"):
        assert all(expected(true, score) >= expected(other / 20, score) for other in range(1, 20))


def test_log_score_is_bounded() -> None:
    assert rewards.log_score(up(0.8), True) == pytest.approx(math.log(0.8))
    assert rewards.log_score(up(0.8), False) == pytest.approx(math.log(0.2))
    assert rewards.log_score(up(1.0), False) == rewards.log_score(None, True) == math.log(0.01)


# the reward of 11 points --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "came", "points"),
    [(up(0.6), True, 2.5), (up(0.6), False, 0.0), (down(0.6), False, 2.5), (down(0.6), True, 0.0), (None, True, 0.0)],
)
def test_direction(call: Call | None, came: bool, points: float) -> None:
    assert rewards.direction(call, came) == points


@pytest.mark.parametrize(
    ("size", "move", "points"),
    [
        (2.0, 2.0, 2.0),
        (2.39, -2.0, 2.0),  # error .195
        (2.4, 2.0, 1.5),  # .2
        (1.2, 2.0, 1.5),  # .4
        (3.0, 2.0, 1.0),  # .5
        (3.9, 2.0, 1.0),  # .95
        (0.0, 2.0, 0.5),  # 1
        (9.0, 2.0, 0.5),
        (0.0, 0.0, 2.0),
        (0.1, 0.0, 0.5),
    ],
)
def test_magnitude(size: float, move: float, points: float) -> None:
    assert rewards.magnitude(up(0.6, size), move) == points


def test_an_unreadable_answer_has_no_magnitude() -> None:
    assert rewards.magnitude(None, 1.0) == 0.0


@pytest.mark.parametrize(
    ("sure", "right", "wrong"), [(0.0, 1.0, -0.2), (0.5, 1.75, -0.85), (1.0, 2.5, -1.5), (0.8, 2.2, -1.24)]
)
def test_confidence(sure: float, right: float, wrong: float) -> None:
    assert rewards.confidence(up(sure), True) == pytest.approx(right)
    assert rewards.confidence(down(sure), True) == pytest.approx(wrong)
    assert rewards.confidence(None, True) == 0.0


@pytest.mark.parametrize(("points", "reward"), [(0, 0.0), (1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 3.0), (9, 3.0)])
def test_data_use(points: int, reward: float) -> None:
    assert rewards.data_use(up(0.6), points) == reward
    assert rewards.data_use(None, points) == 0.0


def test_the_largest_reward_is_eleven_points() -> None:
    call = up(1.0, 2.0)
    earned = rewards.direction(call, True) + rewards.magnitude(call, 2.0) + rewards.confidence(call, True)
    assert earned + rewards.data_use(call, 5) + 1 == 11


# data points --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("", 0),
        ("RSI 28.4.", 1),
        ("The RSI is oversold.", 1),
        ("RSI 28.4 (oversold), and again RSI 28.4.", 1),
        ("RSI 31.2.", 0),  # not the prompt's number
        ("RSI neutral.", 0),
        ("RSI. The stock is oversold.", 0),  # another sentence
        ("oversold", 0),  # nothing says what
        ("RSI oversold. Strength strong. News good.", 3),
        ("Trend unknown.", 0),
        ('News: "Profit beats forecasts".', 1),
        ("Eps 2.57 and revenue 4.2 billion.", 2),
        ("It opens 12 stores, eps 2.57.", 2),
        ('They said "opens 12 stores in India".', 2),  # the number and the quotation
        ('They said "opens 13 stores in India".', 0),
        ('They said "Apple opens".', 0),  # too short
        ("I counted 0 and 1 and 99.", 0),
    ],
)
def test_a_data_point_counts_only_where_the_prompt_has_it(text: str, points: int) -> None:
    assert rewards.cited_points(text, FACTS, SECTIONS) == points


@given(st.text(), st.text())
def test_any_text_can_be_searched(text: str, sections: str) -> None:
    assert rewards.cited_points(text, FACTS, sections) >= 0
