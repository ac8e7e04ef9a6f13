"""Intervals: nominal coverage, pairing, the same seed giving the same ends."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from tradeschool import metrics
from tradeschool.evaluate.inference import BootstrapEstimate, DateBootstrap, bootstrap_dates
from tradeschool.market.panel import Floats


def ar1(rng: np.random.Generator, dates: int, persistence: float) -> Floats:
    noise = rng.normal(size=dates + 50)
    series = np.zeros(dates + 50)
    for t in range(1, dates + 50):
        series[t] = persistence * series[t - 1] + noise[t]
    return series[50:]


def drawn(series_T: Floats, seed: int = 0, draws: int = 500, shortest: float = 1.0) -> DateBootstrap:
    return bootstrap_dates(series_T[:, None], draws=draws, seed=seed, shortest=shortest)


@pytest.mark.parametrize(("persistence", "least"), [(0.0, 0.90), (0.3, 0.88)])
def test_intervals_of_a_mean_cover_it(persistence: float, least: float) -> None:
    covered = 0
    for seed in range(150):
        series = ar1(np.random.default_rng(seed), 300, persistence)
        interval = drawn(series, seed, draws=250).mean(series[:, None]).interval(0.95)
        covered += interval.low <= 0 <= interval.high
    assert least <= covered / 150 <= 0.99


def test_intervals_of_a_sharpe_ratio_cover_it() -> None:
    covered = 0
    for seed in range(150):
        returns = np.random.default_rng(seed).normal(0.0005, 0.01, 250)
        interval = drawn(returns, seed, draws=250).path(metrics.sharpe, returns).interval(0.95)
        covered += interval.low <= 0.05 * math.sqrt(252) <= interval.high
    assert 0.90 <= covered / 150 <= 0.99


def test_blocks_widen_the_interval_of_dependent_days() -> None:
    series = ar1(np.random.default_rng(1), 400, 0.7)
    interval = drawn(series).mean(series[:, None]).interval(0.95)
    if_independent = 2 * 1.96 * series.std() / math.sqrt(400)
    assert interval.high - interval.low > 1.5 * if_independent


def test_the_block_is_never_shorter_than_the_horizon_nor_longer_than_a_tenth() -> None:
    series = np.random.default_rng(0).normal(size=200)
    assert drawn(series, shortest=15).block == 15
    assert drawn(series, shortest=90).block == 20


def test_a_paired_difference_is_surer_than_either_figure() -> None:
    rng = np.random.default_rng(0)
    luck = rng.normal(size=(300, 1))
    ours, theirs = luck + 0.1 + 0.1 * rng.normal(size=(300, 1)), luck
    dates = bootstrap_dates(np.hstack([ours, theirs]), draws=500, seed=0)
    difference = (dates.mean(ours) - dates.mean(theirs)).interval(0.95)
    assert difference.excludes_zero
    assert difference.low < 0.1 < difference.high
    assert not dates.mean(ours).interval(0.95).excludes_zero


def test_the_same_seed_draws_the_same_dates_and_another_does_not() -> None:
    series = np.random.default_rng(0).normal(size=100)
    assert (drawn(series, 3).index_BT == drawn(series, 3).index_BT).all()
    assert (drawn(series, 3).index_BT != drawn(series, 4).index_BT).any()


def test_counts_are_those_of_the_index() -> None:
    dates = drawn(np.random.default_rng(0).normal(size=50))
    np.testing.assert_array_equal(dates.counts_BT[7], np.bincount(dates.index_BT[7], minlength=50))
    series = np.random.default_rng(2).normal(size=50)
    np.testing.assert_allclose(dates.mean(series[:, None]).draws_B, series[dates.index_BT].mean(1))


def test_pooled_correlations_equal_those_of_the_drawn_pairs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(-2, 3, (60, 4)).astype(float), rng.normal(size=(60, 4))
    dates = drawn(y[:, 0], draws=100)
    estimate = dates.correlation(x, y)
    assert estimate.value == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1])
    x_drawn, y_drawn = x[dates.index_BT[5]].ravel(), y[dates.index_BT[5]].ravel()
    np.testing.assert_allclose(estimate.draws_B[5], np.corrcoef(x_drawn, y_drawn)[0, 1])
    assert dates.rank_correlation(x, y).value == pytest.approx(spearmanr(x.ravel(), y.ravel()).statistic)


def test_undefined_figures_have_no_interval() -> None:
    dates = drawn(np.random.default_rng(0).normal(size=50))
    assert math.isnan(dates.path(metrics.sharpe, np.zeros(50)).interval(0.95).low)
    assert math.isnan(dates.ratio(np.ones(50), np.zeros(50)).value)
    mostly = BootstrapEstimate(1.0, np.r_[np.full(10, np.nan), np.ones(90)])
    assert math.isnan(mostly.interval(0.95).high)
    hardly = BootstrapEstimate(1.0, np.r_[np.full(2, np.nan), np.ones(98)])
    assert hardly.interval(0.95).high == 1.0


def test_constant_and_short_series_can_be_drawn() -> None:
    assert bootstrap_dates(np.zeros((30, 2)), draws=100, seed=0).block == 1
    assert bootstrap_dates(np.ones((3, 1)) * np.nan, draws=100, seed=0).index_BT.shape == (100, 3)
