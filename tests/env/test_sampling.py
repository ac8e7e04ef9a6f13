"""How sure a mean grade is, and how many episodes a claim needs."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market
from scipy.stats import t as student

from tradeschool.env.config import EnvError
from tradeschool.env.data import MarketData
from tradeschool.env.grading import totals
from tradeschool.env.harness import play
from tradeschool.env.reference import Random
from tradeschool.env.sampling import episodes_needed, grade_interval, mean_interval, paired, paired_interval
from tradeschool.env.trading import TradingEnv

PRACTICE = MarketData(market(tickers=12, days=260))
DAYS = 12


def env_of(data: Any = PRACTICE, **settings: Any) -> TradingEnv:
    return TradingEnv(data, **{"tickers": 3, "days": DAYS, "observation": "numeric", **settings})


def test_the_interval_of_episodes_apart_is_students() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.2, 40)
    value, low, high = mean_interval(values, np.arange(40) * 1000, 20)
    assert (low, high) == pytest.approx(student.interval(0.95, 39, values.mean(), values.std(ddof=1) / 40**0.5))
    assert value == pytest.approx(values.mean())
    assert math.isnan(mean_interval(values, np.zeros(40), 20).low)


def test_the_interval_holds_the_truth_where_episodes_overlap() -> None:
    """400 episodes of 20 days in 1,500 days of luck that they share."""
    rng = np.random.default_rng(1)
    held, naive = 0, 0
    for _ in range(300):
        starts = rng.integers(0, 1480, 400)
        luck = np.convolve(rng.normal(0, 1, 1500), np.ones(20), "valid")[starts] + rng.normal(0, 2, 400)
        _, low, high = mean_interval(luck, starts, 20)
        held += low < 0 < high
        naive += abs(luck.mean()) < 1.96 * luck.std() / 20
    assert 0.91 <= held / 300 <= 0.985
    assert naive / 300 < 0.75


def test_a_paired_interval_is_of_the_differences() -> None:
    env = env_of(PRACTICE)
    first, second = play(Random(0), env, 60), play(Random(1), env, 60)
    gap = totals(first) - totals(second)
    starts = [record.start for record in first]
    assert paired_interval(first, second) == mean_interval(gap, starts, DAYS)
    assert grade_interval(first, 0.5) == mean_interval(totals(first), starts, DAYS, 0.5)
    np.testing.assert_array_equal(paired(first, second), gap)
    with pytest.raises(EnvError, match="did not play the same episodes"):
        paired(first, play(Random(1), env, 60, seed=1))
    with pytest.raises(EnvError, match="60 and 59 episodes"):
        paired(first, second[:59])
    other = [replace(record, versions=record.versions | {"env_version": "0.9"}) for record in second]
    with pytest.raises(EnvError, match="version"):
        paired(first, other)


def test_what_has_no_mean_is_said() -> None:
    for nothing in (lambda: grade_interval([]), lambda: paired_interval([], [])):
        with pytest.raises(EnvError, match="no episode to take a mean of"):
            nothing()
    for values, starts, level in (([], [], 0.95), ([0.5], [1, 2], 0.95), ([0.5], [1], 1.0)):
        with pytest.raises(EnvError, match="a start for each"):
            mean_interval(values, starts, 20, level)


def test_an_episode_belongs_to_the_block_of_its_start() -> None:
    values = [0.0, 0.2, 1.0, 1.0]
    # Blocks of 40 rows: two and two, or three and one.
    for starts, sums in (([0, 39, 40, 79], (-0.9, 0.9)), ([0, 39, 39, 79], (-0.45, 0.45))):
        value, low, high = mean_interval(values, starts, 20)
        error = math.sqrt(2 / 1 * sum(one**2 for one in sums)) / 4
        assert high - low == pytest.approx(2 * student.ppf(0.975, 1) * error)
        assert value == pytest.approx(0.55)


def test_episodes_needed_are_the_known_figures() -> None:
    assert episodes_needed(0.05, 0.15, is_paired=False) == 142
    assert episodes_needed(0.05, 0.117) == 43
    assert episodes_needed(0.05, 0.117, power=0.9) > 43
    assert episodes_needed(0.05, 0.117, level=0.99) > 43
    assert episodes_needed(1.0, 0.0) == 2
    given: dict[str, Any] = {"difference": 0.1, "deviation": 0.1}
    for wrong in ({"difference": 0.0}, {"deviation": -1.0}, {"power": 1.0}, {"level": 0.0}, {"deviation": math.nan}):
        with pytest.raises(EnvError, match="difference above 0"):
            episodes_needed(**{**given, **wrong})


@settings(max_examples=5)
@given(st.integers(0, 50))
def test_as_many_episodes_as_needed_see_the_difference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = episodes_needed(0.05, 0.2, power=0.8)
    draws = rng.normal(0.05, 0.2, (2000, count))
    seen = draws.mean(1) > 1.96 * draws.std(1, ddof=1) / count**0.5
    assert 0.76 <= seen.mean() <= 0.84
