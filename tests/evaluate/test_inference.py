"""Intervals and p-values: nominal coverage, pairing, and what is not defined."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom, spearmanr
from scipy.stats import t as student

from tradeschool.evaluate import inference
from tradeschool.evaluate.inference import Estimate, cosines_of, holm
from tradeschool.market.panel import Floats
from tradeschool.metrics import sharpe, sortino


def ma(rng: np.random.Generator, shape: tuple[int, int], horizon: int) -> Floats:
    """Overlapping sums of fat-tailed days, with unit variance."""
    days = np.cumsum(rng.standard_t(4, (shape[0] + horizon, shape[1])) / math.sqrt(2), axis=0)
    total: Floats = (days[horizon:] - days[:-horizon]) / math.sqrt(horizon)
    return total


FIGURES: dict[str, tuple[Callable[[np.random.Generator, int, int], Estimate], float]] = {
    "mean": (lambda rng, dates, h: inference.mean(ma(rng, (dates, 4), h), h), 0.0),
    "difference": (
        lambda rng, dates, h: inference.mean(ma(rng, (dates, 4), h), h) - inference.mean(ma(rng, (dates, 4), h), h),
        0.0,
    ),
    "ragged": (
        lambda rng, dates, h: inference.mean(
            np.where(
                np.arange(dates)[:, None] >= [0, dates // 2, dates // 2, dates // 2], ma(rng, (dates, 4), h), np.nan
            ),
            h,
        ),
        0.0,
    ),
    "share": (
        lambda rng, dates, h: inference.ratio(
            1.0 + ma(rng, (dates, 1), 1)[:, 0], 2.0 + 2.0 * ma(rng, (dates, 1), 1)[:, 0]
        ),
        0.5,
    ),
    "correlation": (
        lambda rng, dates, h: inference.correlation(rng.normal(size=(dates, 4)), ma(rng, (dates, 4), h), h),
        0.0,
    ),
    "Sharpe": (
        lambda rng, dates, h: inference.sharpe(0.0005 + 0.01 * ma(rng, (dates, 1), 1)[:, 0]),
        0.05 * math.sqrt(252),
    ),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(("dates", "horizon"), [(60, 1), (80, 5), (250, 5), (250, 20)])
def test_intervals_hold_the_true_figure_as_often_as_they_say(name: str, dates: int, horizon: int) -> None:
    """Within what 400 samples of 95 % allow; the benchmark measures more closely."""
    make, true = FIGURES[name]
    rng = np.random.default_rng([dates, horizon])
    found = [make(rng, dates, horizon).interval(0.95) for _ in range(400)]
    held = [one.low <= true <= one.high for one in found if math.isfinite(one.low)]
    assert len(held) > 350
    low, high = binom.ppf([0.0005, 0.9995], len(held), 0.95)
    assert low <= sum(held) <= high


def test_one_cosine_too_many_would_be_seen() -> None:
    """The number of cosines by hand: .4 of dates to the power 2/3, at most .4 a period of the horizon."""
    assert cosines_of(np.ones(250)) == int(0.4 * 250 ** (2 / 3)) == 15
    assert cosines_of(np.ones(250), 20) == 5
    assert cosines_of(np.ones(60), 20) == 1
    assert cosines_of(np.ones(9)) == 0


def test_dates_without_data_do_not_count_and_unequal_ones_count_less() -> None:
    weekly = np.where(np.arange(250) % 5 == 0, 1.0, 0.0)
    assert cosines_of(weekly) == cosines_of(np.ones(50))
    assert cosines_of(weekly, 5) == cosines_of(np.ones(50))  # outcomes of a week do not overlap
    assert cosines_of(np.where(np.arange(250) < 125, 1.0, 9.0)) < cosines_of(np.ones(250))
    value_TQ = np.random.default_rng(0).normal(size=(50, 3))
    apart_TQ = np.full((250, 3), np.nan)
    apart_TQ[::5] = value_TQ
    assert inference.mean(apart_TQ).interval(0.95) == inference.mean(value_TQ).interval(0.95)


def test_the_interval_is_students_with_the_projections_by_hand() -> None:
    value_T = np.random.default_rng(0).normal(size=100)
    time_T = (np.arange(100) + 0.5) / 100
    nu = cosines_of(np.ones(100))
    variance = np.mean([(np.sqrt(2) * np.cos(np.pi * j * time_T) @ value_T / 100) ** 2 for j in range(1, nu + 1)])
    found = inference.mean(value_T[:, None])
    reach = student.ppf(0.975, nu) * math.sqrt(variance)
    assert found.interval(0.95).high == pytest.approx(value_T.mean() + reach)
    assert found.p_above() == pytest.approx(student.sf(value_T.mean() / math.sqrt(variance), nu))
    assert found.p_value() == pytest.approx(2 * min(found.p_above(), 1 - found.p_above()))


def test_dependent_days_widen_the_interval() -> None:
    value_TQ = ma(np.random.default_rng(1), (400, 1), 20)
    interval = inference.mean(value_TQ, 20).interval(0.95)
    if_independent = 2 * 1.96 * value_TQ.std() / math.sqrt(400)
    assert interval.high - interval.low > 2 * if_independent


def test_a_paired_difference_is_surer_than_either_figure() -> None:
    rng = np.random.default_rng(0)
    luck = rng.normal(size=(300, 1))
    ours, theirs = inference.mean(luck + 0.1 + 0.1 * rng.normal(size=(300, 1))), inference.mean(luck)
    difference = (ours - theirs).interval(0.95)
    assert difference.excludes_zero
    assert difference.low < 0.1 < difference.high
    assert not ours.interval(0.95).excludes_zero


def test_equal_up_to_rounding_is_no_difference() -> None:
    value_TQ = np.random.default_rng(0).normal(size=(100, 3))
    gap = inference.mean(value_TQ) - inference.mean(value_TQ * (1 + 1e-15) + 1e-16)
    assert gap.is_zero
    assert gap.p_value() == gap.p_above() == 1.0
    assert gap.interval(0.95).low == gap.interval(0.95).high == 0.0
    assert not (inference.mean(value_TQ) - inference.mean(value_TQ + 1e-6)).is_zero


def test_correlations_are_those_of_all_pairs_within_one() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(-2, 3, (60, 4)).astype(float), rng.normal(size=(60, 4))
    assert inference.correlation(x, y).value == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1])
    assert inference.rank_correlation(x, y).value == pytest.approx(spearmanr(x.ravel(), y.ravel()).statistic)
    close = inference.correlation(x, x + 0.01 * y).interval(0.95)
    assert 0.99 < close.low < close.value < close.high <= 1
    close = inference.rank_correlation(x, x + 0.01 * y).interval(0.95)
    assert close.low < close.value < close.high < 1
    assert inference.correlation(x, 2 * x).interval(0.95).low == pytest.approx(1)


def persistent(rng: np.random.Generator, dates: int) -> Floats:
    return np.asarray(lfilter([1], [1, -0.8], rng.normal(size=(dates + 50, 1)), axis=0)[50:])


def test_the_interval_of_a_correlation_knows_that_two_lasting_series_are_few_observations() -> None:
    """Without the errors of the two means it holds 0 in 89 %."""
    rng = np.random.default_rng(0)
    found = [inference.correlation(persistent(rng, 60), persistent(rng, 60)).interval(0.95) for _ in range(800)]
    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.92


def test_correlations_of_the_same_forecasts_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    x_TQ, y_TQ = rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
    assert (inference.correlation(x_TQ, y_TQ) - inference.correlation(2 * x_TQ + 1, y_TQ)).is_zero
    alone = inference.correlation(x_TQ, y_TQ)
    near = alone - inference.correlation(x_TQ + 0.01 * rng.normal(size=(60, 3)), y_TQ)
    width, width_alone = (one.interval(0.95).high - one.interval(0.95).low for one in (near, alone))
    assert 0 < width < 0.1 * width_alone


@pytest.mark.parametrize(("figure", "metric"), [(inference.sharpe, sharpe), (inference.sortino, sortino)])
def test_the_influence_of_a_date_is_what_leaving_it_out_changes(
    figure: Callable[[Floats], Estimate], metric: Callable[[Floats], float]
) -> None:
    returns_T = np.random.default_rng(0).normal(0.001, 0.01, 40)
    left_T = np.array([metric(np.delete(returns_T, t)) for t in range(40)])
    np.testing.assert_allclose(figure(returns_T).influence_T, 39 / 40 * (left_T.mean() - left_T))


def test_a_ratio_that_one_day_makes_has_no_interval() -> None:
    once_T = np.where(np.arange(60) == 7, 0.02, 0.0)
    found = inference.sharpe(once_T)
    assert math.isfinite(found.value)
    assert math.isnan(found.interval(0.95).low)
    assert math.isnan(inference.sortino(0.001 - 2 * once_T).interval(0.95).low)
    assert math.isfinite(inference.sortino(0.001 - 2 * once_T - np.roll(once_T, 9)).interval(0.95).low)


def test_shares_stay_within_zero_and_one() -> None:
    hit_TQ = np.ones((60, 1))
    hit_TQ[10] = 0.0
    assert inference.mean(hit_TQ).interval(0.95).high == 1.0
    assert inference.mean(1.5 * hit_TQ).interval(0.95).high > 1.5


def test_a_share_of_what_may_be_nothing_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    nothing_T = rng.normal(size=200)
    assert math.isnan(inference.ratio(rng.normal(size=200), nothing_T).interval(0.95).low)
    whole = inference.ratio(np.abs(nothing_T), np.abs(nothing_T)).interval(0.95)
    assert (whole.low, whole.value, whole.high) == pytest.approx((1, 1, 1))


def test_the_interval_of_a_return_stays_above_a_total_loss() -> None:
    returns_T = np.random.default_rng(0).standard_t(3, 40) * 0.05
    interval = inference.cumulative_return(returns_T).interval(0.95)
    assert -1 < interval.low < interval.value < interval.high
    lost = inference.cumulative_return(np.r_[returns_T, -1.0]).interval(0.95)
    assert lost.value == -1
    assert math.isnan(lost.low)


def test_undefined_figures_have_no_interval_and_few_dates_no_claim() -> None:
    assert math.isnan(inference.sharpe(np.zeros(50)).interval(0.95).low)
    assert math.isnan(inference.ratio(np.ones(50), np.zeros(50)).value)
    assert math.isnan(inference.mean(np.full((50, 2), np.nan)).interval(0.95).low)
    alone = inference.root_mean(np.random.default_rng(0).normal(size=(100, 2)) ** 2)
    assert math.isnan(alone.interval(0.95).low)
    few = inference.mean(np.random.default_rng(0).normal(9, 1, (60, 1)), 20)
    assert few.interval(0.95).low < few.value < few.interval(0.95).high
    assert math.isnan(few.p_value())
    assert math.isnan(few.p_above())


def test_many_tests_need_more_proof() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.7, "b": 0.9}) == pytest.approx({"a": 1.0, "b": 1.0})
    assert holm({"a": 0.04, "b": math.nan}) == pytest.approx({"a": 0.04, "b": math.nan}, nan_ok=True)
