"""Metrics against empyrical, scipy, published figures and values computed by hand."""

import math

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from tradeschool import metrics

RETURNS = np.random.default_rng(3).normal(0.0004, 0.01, 300)


def test_plain_metrics_agree_with_empyrical() -> None:
    assert metrics.sharpe(RETURNS) == pytest.approx(empyrical.sharpe_ratio(RETURNS))
    assert metrics.sortino(RETURNS) == pytest.approx(empyrical.sortino_ratio(RETURNS))
    assert metrics.max_drawdown(RETURNS) == pytest.approx(empyrical.max_drawdown(RETURNS))
    assert metrics.cumulative_return(RETURNS) == pytest.approx(empyrical.cum_returns_final(RETURNS))


def test_plain_metrics_by_hand() -> None:
    returns = np.array([0.10, -0.20, 0.05])
    mean, deviation = -0.05 / 3, math.sqrt((0.0136111 + 0.0336111 + 0.0044444) / 2)
    assert metrics.sharpe(returns) == pytest.approx(mean / deviation * math.sqrt(252), rel=1e-4)
    assert metrics.sortino(returns) == pytest.approx(mean / math.sqrt(0.04 / 3) * math.sqrt(252))
    assert metrics.max_drawdown(returns) == pytest.approx(-0.2)
    assert metrics.cumulative_return(returns) == pytest.approx(1.1 * 0.8 * 1.05 - 1)


def test_a_loss_on_the_first_day_is_a_drawdown() -> None:
    assert metrics.max_drawdown([-0.5, 0.1]) == pytest.approx(-0.5)


@pytest.mark.parametrize("constant", [0.0, 0.001, -0.002, 0.1 + 0.2])
def test_no_variance_gives_nan_not_infinity(constant: float) -> None:
    returns = np.full(40, constant)
    assert math.isnan(metrics.sharpe(returns))
    assert math.isnan(metrics.probabilistic_sharpe(returns))
    assert math.isnan(metrics.deflated_sharpe(returns, [1.0, 2.0]))
    assert constant < 0 or math.isnan(metrics.sortino(returns))
    assert np.isfinite(metrics.max_drawdown(returns))


def test_empty_and_single_day() -> None:
    assert math.isnan(metrics.sharpe([]))
    assert math.isnan(metrics.sharpe([0.1]))


def pooled(x: ArrayLike, y: ArrayLike) -> float:
    return float(metrics.correlation(x, y))


def test_correlations_are_those_of_numpy_and_scipy() -> None:
    assert pooled([1, 2, 3, np.nan], [2, 1, 3, 9]) == pytest.approx(0.5)
    rating = np.random.default_rng(0).integers(-2, 3, 200).astype(float)
    outcome = rating + np.random.default_rng(1).normal(0, 5, 200)
    assert pooled(rating, outcome) == pytest.approx(np.corrcoef(rating, outcome)[0, 1])
    assert pooled(*metrics.ranks(rating, outcome)) == pytest.approx(spearmanr(rating, outcome).statistic)


def test_the_correlation_with_a_constant_is_undefined() -> None:
    assert math.isnan(pooled([0.3] * 7, np.arange(7)))
    assert math.isnan(pooled(*metrics.ranks(np.arange(7), [0.1] * 7)))


@given(st.lists(st.tuples(st.integers(-2, 2), st.floats(-0.2, 0.2)), max_size=30))
def test_a_correlation_lies_within_one(pairs: list[tuple[int, float]]) -> None:
    value = pooled([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    assert math.isnan(value) or -1 <= value <= 1


def test_correlations_of_dates_are_taken_one_by_one() -> None:
    rng = np.random.default_rng(0)
    x_TN, y_TN = rng.normal(size=(20, 5)), rng.normal(size=(20, 5))
    x_TN[3, 2], x_TN[4] = np.nan, 7.0
    expected = [pooled(x_N, y_N) for x_N, y_N in zip(x_TN, y_TN, strict=True)]
    np.testing.assert_allclose(metrics.correlation(x_TN, y_TN), expected)
    assert math.isnan(expected[4])
    far = 1e6 + x_TN[0]  # sums of squares would lose the spread
    assert pooled(far, y_TN[0]) == pytest.approx(pooled(x_TN[0], y_TN[0]))


def test_a_spread_of_rounding_errors_is_none() -> None:
    """Growth of .1 % a day through a capital of floats: the daily returns differ in the sixteenth digit alone."""
    for rate in (1.1e-3, 1.7e-4, -1.3e-3, 1.9e-7):
        equity_T = np.exp(rate * np.arange(250))
        returns_T = equity_T[1:] / equity_T[:-1] - 1
        assert np.ptp(returns_T) > 0
        assert math.isnan(metrics.sharpe(returns_T))
        assert math.isnan(metrics.probabilistic_sharpe(returns_T))
        assert math.isnan(metrics.deflated_sharpe(returns_T, [1.0, 2.0]))
        assert math.isnan(metrics.sortino(returns_T)) == (rate > 0)
        assert math.isnan(pooled(*metrics.ranks(returns_T, np.arange(249.0))))
        assert math.isnan(pooled(returns_T, np.arange(249.0)))
    noise_T = np.random.default_rng(0).normal(0, 1e-17, 250)
    assert math.isnan(metrics.sharpe(noise_T))
    assert math.isnan(metrics.sortino(noise_T))


@pytest.mark.parametrize("level", [0.0, 0.001, -0.002])
def test_returns_that_differ_by_1e_12_do_not_vary(level: float) -> None:
    returns_T = level + np.random.default_rng(0).uniform(-1e-12, 1e-12, 250)
    assert math.isnan(metrics.sharpe(returns_T))
    assert math.isnan(metrics.probabilistic_sharpe(returns_T))
    assert math.isfinite(metrics.sharpe(level + 1e6 * (returns_T - level)))
    assert math.isnan(metrics.sortino(returns_T)) == (level >= 0)


def test_a_single_small_loss_is_a_risk() -> None:
    real_T = np.r_[np.full(249, 0.01), -1e-6]
    assert math.isfinite(metrics.sortino(real_T))


def test_deflated_sharpe_of_the_published_example() -> None:
    """Bailey & Lopez de Prado (2014), numerical example: Sharpe 2.5 over 5 years, best of 100 trials."""
    benchmark = metrics.expected_maximum_sharpe(0.5 / 250, 100)
    assert benchmark == pytest.approx(0.1132, abs=5e-4)
    deflated = metrics.probabilistic_sharpe_of(2.5 / math.sqrt(250), benchmark, 1250, skew=-3, kurtosis=10)
    assert deflated == pytest.approx(0.9004, abs=1e-3)


def test_probabilistic_sharpe_grows_with_the_sharpe_ratio() -> None:
    assert metrics.probabilistic_sharpe(RETURNS - RETURNS.mean()) == pytest.approx(0.5)
    assert metrics.probabilistic_sharpe(RETURNS + 0.002) > 0.99
    assert metrics.probabilistic_sharpe(RETURNS, benchmark=5.0) < metrics.probabilistic_sharpe(RETURNS)


def test_deflated_sharpe_falls_with_the_number_of_policies_tried() -> None:
    returns = RETURNS + 0.0008
    few, many = metrics.deflated_sharpe(returns, [1, -1, 0.5]), metrics.deflated_sharpe(returns, [1, -1, 0.5] * 20)
    assert many < few < metrics.deflated_sharpe(returns, [1.0]) == metrics.probabilistic_sharpe(returns)
    assert metrics.deflated_sharpe(returns, [1, -1, 0.5, np.nan]) == few
