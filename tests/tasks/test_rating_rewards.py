"""Reward components: the published points of the matrix, and hand-computed cases of the outcome reward."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tradeschool.tasks import rating_rewards
from tradeschool.tasks.rating_rewards import OutcomeConfig

PRIOR = (0.03, 0.12, 0.38, 0.32, 0.15)
RATINGS = (-2, -1, 0, 1, 2)
PLAIN = OutcomeConfig(bound=1, loss_weight=1.5, dead_zone=0.25, unit=1.25, steps=(0.5, 1.0), cost=0.05)
DOUBLED = OutcomeConfig(bound=2, loss_weight=1.5, dead_zone=0.5, unit=2.5, steps=(0.5, 1.0), cost=0.05)

ratings = st.sampled_from(RATINGS)
returns = st.floats(-20, 20)


def under_the_prior(rating: int) -> float:
    values = [rating_rewards.decision(rating, float(label)) for label in RATINGS]
    return sum(p * value for p, value in zip(PRIOR, values, strict=True) if value is not None)


@pytest.mark.parametrize(("rating", "expected"), [(0, -0.330), (1, -0.055), (2, -0.325), (-1, -0.923), (-2, -1.333)])
def test_always_the_same_rating_under_the_label_prior(rating: int, expected: float) -> None:
    """FORMULAS.md section 2: the known points, of which BUY is the best constant."""
    assert under_the_prior(rating) == pytest.approx(expected, abs=0.0006)


def test_drawing_from_the_prior_and_being_perfect() -> None:
    drawn = sum(p * under_the_prior(rating) for p, rating in zip(PRIOR, RATINGS, strict=True))
    assert drawn == pytest.approx(-0.342, abs=0.0006)
    assert [rating_rewards.decision(rating, float(rating)) for rating in RATINGS] == [1.0] * 5


def test_decision_rows_are_predictions_and_columns_truths() -> None:
    assert rating_rewards.decision(-2, 2.0) == -2.25
    assert rating_rewards.decision(2, -2.0) == -2.0
    assert rating_rewards.decision(0, -2.0) == -1.5
    assert rating_rewards.decision(-2, 0.0) == -1.25


def test_unreadable_answers_and_missing_outcomes() -> None:
    assert rating_rewards.decision(None, 1.0) == -1.5
    assert rating_rewards.profit(None, 0.5) == -1.0
    assert rating_rewards.risk(None, 0.2) == 0.0
    assert rating_rewards.outcome(None, 0.5, PLAIN) == -1.5
    for rating in (None, 1):
        assert rating_rewards.decision(rating, math.nan) is None
        assert rating_rewards.profit(rating, math.nan) is None
        assert rating_rewards.outcome(rating, math.nan, PLAIN) is None


@given(rating=ratings, excess=returns, aversion=st.floats(0, 5))
def test_profit_less_risk_is_mean_variance_utility(rating: int, excess: float, aversion: float) -> None:
    position = rating / 2
    profit = rating_rewards.profit(rating, excess)
    assert profit == pytest.approx(position * excess)
    assert rating_rewards.risk(rating, aversion) == pytest.approx(-aversion / 2 * position * position)
    assert rating_rewards.risk(rating, aversion) <= 0


@pytest.mark.parametrize(
    ("rating", "excess", "expected"),
    [
        (0, 0.0, 1.0),
        (0, 0.125, 0.5),
        (0, 0.25, 0.0),
        (0, -0.75, -1.5 * 0.5 / 1.0),
        (0, 5.0, -1.5),  # clipped
        (2, 2.0, 1.0 - 0.05),  # I = 2 fits a strong rating, m = 1
        (1, 2.0, 0.5 - 0.05),  # too timid by one
        (1, 0.75, 0.75 / 1.25 - 0.05),  # I = 1 fits
        (2, 0.75, 0.5 * 0.75 / 1.25 - 0.05),
        (2, 0.25, 0.0 - 0.05),  # I = 0: too bold by two earns nothing
        (-1, -0.75, 0.75 / 1.25 - 0.05),
        (-2, 0.75, -1.5 * 0.75 / 1.25 - 0.05),
        (1, -9.0, -1.5),  # clipped at -g b
        (1, 0.0, -0.05),  # no move: only the cost
    ],
)
def test_market_outcome_by_hand(rating: int, excess: float, expected: float) -> None:
    """FORMULAS.md section 2, market outcome, with b 1, g 1.5, d .25, u 1.25, t .5 and 1, k .05."""
    assert rating_rewards.outcome(rating, excess, PLAIN) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rating", "excess", "expected"),
    [
        (None, 0.5, -3.0),
        (0, 0.5, 0.0),
        (0, 1.5, -2 * 1.5 * 1.0 / 2.0),
        (0, 9.0, -3.0),  # clipped at -g b
        (2, 0.5, 0.0 - 0.05),  # exactly the first step: I = 0
        (2, 1.0, 2 * 0.5 * 1.0 / 2.5 - 0.05),  # exactly the second step: I = 1
        (1, -9.0, -3.0),
    ],
)
def test_market_outcome_scales_with_its_parameters(rating: int | None, excess: float, expected: float) -> None:
    """FORMULAS.md section 2 with b 2, g 1.5, d .5, u 2.5, t .5 and 1, k .05."""
    assert rating_rewards.outcome(rating, excess, DOUBLED) == pytest.approx(expected)


def test_the_default_parameters_are_the_documented_ones() -> None:
    expected = OutcomeConfig(bound=1, loss_weight=1, dead_zone=0.25, unit=1.5, steps=(0.5, 1.0), cost=0.05)
    assert OutcomeConfig() == expected


@pytest.mark.parametrize("key", ["bound", "loss_weight", "dead_zone", "unit", "cost"])
@pytest.mark.parametrize("value", [-0.5, math.inf, math.nan])
def test_parameters_are_positive_numbers(key: str, value: float) -> None:
    with pytest.raises(ValidationError, match=key):
        OutcomeConfig(**{key: value})


@given(rating=ratings, excess=returns)
def test_market_outcome_is_bounded_and_symmetric(rating: int, excess: float) -> None:
    value = rating_rewards.outcome(rating, excess, PLAIN)
    assert value is not None
    assert -1.5 <= value <= 1.0
    assert rating_rewards.outcome(-rating, -excess, PLAIN) == pytest.approx(value)


@given(excess=st.floats(0.01, 20))
def test_the_right_side_always_beats_the_wrong_side(excess: float) -> None:
    right, wrong = (rating_rewards.outcome(rating, excess, PLAIN) for rating in (1, -1))
    assert right is not None
    assert wrong is not None
    assert right > wrong or (right == wrong == -1.5)


@pytest.mark.parametrize("unit", [0.25, 0.2])
def test_a_dead_zone_as_wide_as_the_unit_is_refused(unit: float) -> None:
    """HOLD's loss grows over u - d: it would divide by zero, or pay for holding through a large move."""
    with pytest.raises(ValidationError, match=f"has unit {unit:g}, but it must be greater than dead_zone 0.25"):
        OutcomeConfig(dead_zone=0.25, unit=unit)


def test_no_rating_is_paid_for_everything() -> None:
    """Over many outcomes no constant rating has the highest component every time."""
    excess = np.random.default_rng(0).normal(0, 1, 400)
    best = {max(RATINGS, key=lambda rating: rating_rewards.outcome(rating, e, PLAIN) or 0.0) for e in excess}
    assert best == {-2, -1, 0, 1, 2}
