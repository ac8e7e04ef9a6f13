"""Aggregates of errors: skill, and the Diebold-Mariano test, by hand and against the literature's correction."""

import math

import numpy as np
import pytest
from scipy import stats

from tradeschool.evaluate.compare import figures_of
from tradeschool.evaluate.evaluation_set import Predictions, daily_sums
from tradeschool.evaluate.inference import COSINES, mean, ratio
from tradeschool.market.panel import Floats
from tradeschool.tasks.base import Metric

SKILL = Metric("skill", "skill", "", primary=True, aggregate="ratio", inputs=("gain", "naive"))
DM = Metric("dm", "DM", "", aggregate="statistic", inputs=("gain",))
DM_P = Metric("dm_p", "DM p", "", aggregate="p_value", inputs=("gain",))
MSE = Metric("mse", "MSE", "", aggregate="mean_error")


def predictions(gain_TQ: Floats, naive_TQ: Floats) -> Predictions:
    values = {"gain": gain_TQ, "naive": naive_TQ, "mse": naive_TQ - gain_TQ}
    return Predictions("model", "trained", np.isfinite(gain_TQ), values)


def figures(gain_TQ: Floats, naive_TQ: Floats, horizon: int = 1) -> dict[str, float]:
    class Questions:
        metrics = (SKILL, DM, DM_P, MSE)
        asked_TQ = np.isfinite(naive_TQ)

    Questions.horizon = horizon  # type: ignore[attr-defined]
    found = figures_of(Questions(), [predictions(gain_TQ, naive_TQ)], {})["model"]  # type: ignore[arg-type]
    return {key: estimate.value for key, estimate in found.items()}


def test_the_diebold_mariano_statistic_by_hand() -> None:
    rng = np.random.default_rng(0)
    gain_T = rng.normal(0.1, 1.0, 125)
    found = figures(gain_T[:, None], np.full((125, 1), 2.0))
    cosines = int(COSINES * 125 ** (2 / 3))
    time_T = (np.arange(125) + 0.5) / 125
    projections = [
        math.sqrt(2 / 125) * sum(np.cos(np.pi * k * time_T) * (gain_T - gain_T.mean())) for k in range(1, cosines + 1)
    ]
    long_run_variance = np.mean(np.square(projections))
    statistic = gain_T.mean() / math.sqrt(long_run_variance / 125)
    assert found["dm"] == pytest.approx(statistic)
    assert found["dm_p"] == pytest.approx(2 * stats.t.sf(abs(statistic), cosines))
    assert found["skill"] == pytest.approx(gain_T.mean() / 2.0)
    assert found["mse"] == pytest.approx(2.0 - gain_T.mean())


def test_skill_weighs_questions_by_their_error_and_leaves_out_those_without_both() -> None:
    gain_TQ = np.array([[1.0, np.nan], [0.5, -1.0], [np.nan, 3.0]])
    naive_TQ = np.array([[2.0, 5.0], [1.0, 4.0], [6.0, np.nan]])
    assert figures(gain_TQ, naive_TQ)["skill"] == pytest.approx((1.0 + 0.5 - 1.0) / (2.0 + 1.0 + 4.0))
    sums = daily_sums([SKILL], predictions(gain_TQ, naive_TQ))["skill"]
    assert (sums.sum_T, sums.count_T) == ([1.0, -0.5, 0.0], [2.0, 5.0, 0.0])


def test_the_interval_of_the_skill_excludes_zero_exactly_where_the_test_rejects() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        gain_T, naive_T = rng.normal(0.15, 1.0, 100), rng.gamma(2.0, 1.0, 100)
        found, skill = mean(gain_T[:, None], 5), ratio(gain_T, naive_T, 5).interval(0.95)
        assert skill.excludes_zero == (found.p_value() < 0.05)


def test_persistence_against_itself_is_the_same() -> None:
    found = figures(np.zeros((50, 2)), np.ones((50, 2)))
    assert (found["skill"], found["dm_p"]) == (0.0, 1.0)
    assert math.isnan(found["dm"])
    assert math.isnan(figures(np.ones((5, 2)), np.ones((5, 2)))["dm_p"])  # too few dates


def harvey(gain_T: Floats, horizon: int) -> float:
    """The p-value of Diebold and Mariano (1995) with the correction of Harvey, Leybourne and Newbold (1997)."""
    n, off_T = len(gain_T), gain_T - gain_T.mean()
    autocovariances = [float(off_T[k:] @ off_T[: n - k]) / n for k in range(horizon)]
    variance = (autocovariances[0] + 2 * sum(autocovariances[1:])) / n
    correction = math.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    if variance <= 0:
        return math.nan
    return float(2 * stats.t.sf(correction * abs(gain_T.mean()) / math.sqrt(variance), n - 1))


def test_the_test_keeps_its_level_with_overlapping_outcomes_better_than_the_correction_of_the_literature() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = [], []
    for _ in range(600):
        gain_T = np.convolve(rng.normal(0, 1, 129), np.ones(10), "valid")  # ten-day outcomes on 120 dates
        ours.append(mean(gain_T[:, None], 10).p_value() < 0.05)
        theirs.append(not harvey(gain_T, 10) >= 0.05)
    assert np.mean(ours) == pytest.approx(0.05, abs=0.025)
    assert abs(np.mean(theirs) - 0.05) > abs(np.mean(ours) - 0.05)
