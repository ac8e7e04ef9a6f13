"""Grades, the market they are measured against, the harness that plays for them, and how sure they are."""

import math
from dataclasses import asdict, replace
from statistics import NormalDist
from typing import Any

import gymnasium
import numpy as np
import pytest
from env_markets import by_hand, hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market, scrambled_after
from scipy.stats import t as student

import tradeschool.env
from tradeschool.env import harness
from tradeschool.env.config import EnvError
from tradeschool.env.data import MarketData
from tradeschool.env.grading import WEIGHTS, Grade, grade, grade_paths, grades, totals
from tradeschool.env.harness import Agent, State, play
from tradeschool.env.market_portfolio import USUAL_VOLATILITY, market_volatility, markets
from tradeschool.env.reference import BuyAndHold, Constant, Expert, Oracle, Random, Saying, best_holdings, growth
from tradeschool.env.sampling import episodes_needed, grade_interval, mean_interval, paired, paired_interval
from tradeschool.env.trading import TradingEnv

HOSTILE = MarketData(hostile(0))
PRACTICE = MarketData(market(tickers=12, days=260))
DAYS = 12


def env_of(data: Any = HOSTILE, **settings: Any) -> TradingEnv:
    return TradingEnv(data, **{"tickers": 3, "days": DAYS, "observation": "numeric", **settings})


def stepped(env: TradingEnv, seed: int, act: Any) -> TradingEnv:
    """An episode played step by step; ``act`` maps the day to the action."""
    env.reset(seed=seed)
    over, day = False, 0
    while not over:
        _, _, terminated, truncated, _ = env.step(act(day))
        over, day = terminated or truncated, day + 1
    return env


def parts(equity: Any, bench: Any, volatility: float = 0.01, traded: float = 1.0) -> Any:
    agent_DB, market_DB = (np.array(values, float)[:, None] for values in (equity, bench))
    return grade_paths(agent_DB, market_DB, np.array([volatility]), np.array([traded]))[:, 0]


# What a grade is


def test_a_grade_is_the_stated_formula() -> None:
    agent, bench = [100.0, 103.0, 101.0, 106.0], [100.0, 98.0, 99.0, 101.0]
    sigma, days, cdf = 0.012, 3, NormalDist().cdf
    scale = sigma * math.sqrt(days)

    def sharpe(path: list[float]) -> float:
        moves = np.diff(np.log(path))
        return float(moves.mean() / math.sqrt(moves.var() + (0.1 * sigma) ** 2))

    pnl = cdf((math.log(1.06) - math.log(1.01)) / (0.5 * scale))
    risk = cdf((sharpe(agent) - sharpe(bench)) * math.sqrt(days))
    fell, bench_fell = math.log(103 / 101) + 0.1 * scale, math.log(100 / 98) + 0.1 * scale
    drawdown = bench_fell**2 / (bench_fell**2 + fell**2)
    got = parts(agent, bench, sigma, 0.4)
    # The agent moved more than the market and earned more: it is at work in full.
    assert got == pytest.approx([risk, pnl, drawdown, 1.0], abs=1e-12)

    still = [100.0, 100.0, 100.5, 101.5]
    moved = np.mean(np.diff(np.log(still)) ** 2) / np.mean(np.diff(np.log(bench)) ** 2)
    got = parts(still, bench, sigma, 0.4)
    earned = (2 * got[1] - 1) ** 2 * (1 - math.exp(-0.4)) * min(1, 3 * moved)
    assert moved < 1 / 2
    assert got[3] == pytest.approx(moved**2 + (1 - moved**2) * earned)


def test_the_total_weighs_the_parts_as_stated() -> None:
    assert Grade(0.5, 0.25, 1.0, 0.1).total == pytest.approx(0.4 * 0.5 + 0.3 * 0.25 + 0.15 + 0.015)
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


def test_the_market_is_the_middle_of_every_part_and_does_nothing_less() -> None:
    bench = [100.0, 98.0, 99.0, 104.0]
    assert parts(bench, bench).tolist() == pytest.approx([0.5, 0.5, 0.5, 1.0])
    loses = parts([100.0] * 4, bench, traded=0.0)
    wins = parts([100.0] * 4, [*bench[:1], 99.0, 98.0, 96.0], traded=0.0)
    assert (loses[:2] < 0.5).all()
    assert (wins[:2] > 0.5).all()
    assert loses[3] == wins[3] == 0.0
    assert min(loses[2], wins[2]) > 0.95


finite = st.floats(allow_nan=False, allow_infinity=False)
money = st.floats(0.5, 2.0)


@given(
    st.lists(finite, min_size=DAYS, max_size=DAYS),
    st.lists(finite, min_size=DAYS, max_size=DAYS),
    st.floats(1e-6, 1e306),
    st.floats(0.001, 10),
    st.floats(0, 1e300),
)
def test_any_finite_path_has_a_grade_within_0_and_1(
    path: list[float], bench: list[float], start: float, volatility: float, traded: float
) -> None:
    got = parts([start, *path], [start, *bench], volatility, traded)
    assert np.isfinite(got).all()
    assert (got >= 0).all()
    assert (got <= 1).all()


@given(
    st.lists(money, min_size=DAYS, max_size=DAYS),
    st.lists(money, min_size=DAYS, max_size=DAYS),
    st.integers(0, DAYS - 1),
    st.floats(0.003, 0.05),
)
def test_a_small_change_of_equity_is_a_small_change_of_every_part(
    path: list[float], bench: list[float], day: int, volatility: float
) -> None:
    nudged = list(path)
    nudged[day] *= 1 + 1e-7
    change = parts([1.0, *nudged], [1.0, *bench], volatility) - parts([1.0, *path], [1.0, *bench], volatility)
    # The steepest a part gets: a move on a scale of a tenth of the volatility, squared.
    assert np.abs(change).max() <= 1e-7 * 100 / volatility


@given(
    st.lists(money, min_size=DAYS, max_size=DAYS),
    st.lists(money, min_size=DAYS, max_size=DAYS),
    st.floats(0, 0.02),
    st.floats(0, 5),
)
def test_a_path_that_earns_more_every_day_grades_no_lower(
    path: list[float], bench: list[float], more: float, traded: float
) -> None:
    better = np.array([1.0, *path]) * np.exp(more * np.arange(DAYS + 1))
    before, after = parts([1.0, *path], [1.0, *bench], traded=traded), parts(better, [1.0, *bench], traded=traded)
    assert (after[:3] >= before[:3] - 1e-12).all()


@given(st.lists(money, min_size=DAYS, max_size=DAYS), st.floats(0.5, 2), st.floats(1, 2))
def test_more_at_the_end_is_more_pnl(path: list[float], bench: float, times: float) -> None:
    market_path = np.linspace(1, bench, DAYS + 1)
    richer = [1.0, *path[:-1], path[-1] * times]
    assert parts(richer, market_path)[1] >= parts([1.0, *path], market_path)[1]


@given(st.lists(money, min_size=DAYS, max_size=DAYS), st.floats(0, 20), st.floats(0, 20))
def test_turnover_that_earned_nothing_over_the_market_counts_nothing(
    bench: list[float], traded: float, more: float
) -> None:
    market_path = np.array([1.0, *bench])
    for share in (1.0, 0.999):
        behind = market_path * share ** np.arange(DAYS + 1)
        once, often = parts(behind, market_path, traded=traded), parts(behind, market_path, traded=traded + more)
        assert once[3] == often[3]


# What is graded


@pytest.mark.parametrize("observation", ["numeric", "text"])
def test_an_environment_and_its_record_have_one_grade(observation: str) -> None:
    env = gymnasium.make("tradeschool/Easy-v1", panel=PRACTICE, observation=observation)
    agent: Any = Random() if observation == "numeric" else Saying("BUY 50%")
    record = play(agent, env, 1, seed=5)[0]
    acts = np.random.default_rng([0, 5]).uniform(-1, 1, (20, 1))
    env.reset(seed=5)
    for day in range(20):
        with pytest.raises(EnvError, match=f"at day {day} of 20"):
            grade(env)
        env.step(acts[day] if observation == "numeric" else "BUY 50%")
    assert asdict(grade(env)) == pytest.approx(asdict(grade(record)), rel=1e-9)
    assert tradeschool.env.LEVELS["Easy"]["days"] == len(record.turnover_D)


def test_an_environment_without_an_episode_has_no_grade() -> None:
    with pytest.raises(EnvError, match="no episode to grade"):
        grade(env_of())
    assert grades([]) == []


def test_what_is_left_after_a_bankruptcy_is_graded_over_all_days() -> None:
    fall = [100.0] * 60 + [100.0, 60.0, 30.0, 5.0, 500.0, 500.0, 500.0, 500.0]
    env = env_of(MarketData(by_hand(fall, fall)), tickers=1, days=6, mask=False)
    options = {"start": 60, "tickers": ["TICK0"]}
    env.reset(seed=0, options=options)
    over = False
    while not over:
        _, _, over, _, _ = env.step(np.ones(1, np.float32))
    assert len(env.equities) < 7
    assert grade(env).pnl < 0.01


# The market


def test_the_market_is_bought_and_held_through_the_same_broker() -> None:
    env = env_of()
    for seed in range(30):
        stepped(env, seed, lambda day: np.full(3, float(day == 0), np.float32))
        found = markets([env.episode])[0]
        np.testing.assert_allclose(found.equity_D, env.equities, rtol=1e-12)


def test_the_market_pays_the_costs_and_takes_no_leverage_or_shorts() -> None:
    free, dear, levered = (
        play(BuyAndHold(), env_of(PRACTICE, **rules), 3)[0].market.equity_D
        for rules in ({"commission": 0.0, "slippage": 0.0}, {}, {"leverage": 3.0, "short": True})
    )
    np.testing.assert_allclose(dear[1:] / free[1:], 1 / (1.0005 * 1.0005))
    np.testing.assert_array_equal(dear, levered)


def test_the_market_loses_all_where_all_is_delisted_for_nothing() -> None:
    nothing = float("nan")
    close = [[10.0, 10.0]] * 60 + [[nothing, 10.0]] * 2 + [[nothing, 10.0]] * 10
    env = env_of(MarketData(by_hand(close, close)), tickers=1, days=5, delisting_return=-1.0, mask=False)
    env.reset(seed=0, options={"start": 57, "tickers": ["TICK0"]})
    equity_D = markets([env.episode])[0].equity_D
    assert equity_D[2] > 0
    assert equity_D[3:].tolist() == [0.0, 0.0, 0.0]


def test_the_scale_is_known_at_the_start_and_no_agents_own() -> None:
    env = env_of(PRACTICE)
    env.reset(seed=1)
    start = env.episode.start
    later = MarketData(scrambled_after(PRACTICE.panel, start))
    assert market_volatility(replace(env.episode, data=later)) == market_volatility(env.episode)
    earlier = MarketData(scrambled_after(PRACTICE.panel, start - 1))
    assert market_volatility(replace(env.episode, data=earlier)) != market_volatility(env.episode)
    rows = np.log(PRACTICE.panel.close_TN[start - 50 : start + 1, env.episode.columns])
    assert market_volatility(env.episode) == pytest.approx(np.diff(rows, axis=0).mean(1).std(ddof=1))
    assert market_volatility(replace(env.episode, start=1)) == USUAL_VOLATILITY


def test_every_agent_is_measured_against_the_same_market() -> None:
    env = env_of(PRACTICE)
    for one, other in zip(play(Random(), env, 8), play(Oracle(), env, 8, foresight=True), strict=True):
        np.testing.assert_array_equal(one.market.equity_D, other.market.equity_D)
        assert one.market.volatility == other.market.volatility


# The harness


@pytest.mark.parametrize("rules", [{}, {"short": True, "leverage": 2.0, "ruin": 0.9}, {"tickers": 1}])
def test_episodes_played_at_once_are_those_of_a_single_environment(rules: dict[str, Any]) -> None:
    env = env_of(**rules)
    acted: list[Any] = []

    class Spied(Random):
        def act(self, observations: Any, state: State) -> Any:
            acted.append(super().act(observations, state))
            return acted[-1]

    records = play(Spied(), env, 25, seed=3)
    assert not rules.get("short") or any(record.terminated for record in records)
    for b, record in enumerate(records):
        refused = 0
        env.reset(seed=3 + b)
        assert (record.start, record.tickers) == (env.episode.start, env.episode.tickers)
        for day in range(DAYS):
            _, _, terminated, truncated, info = env.step(acted[day][b].astype(np.float64))
            refused += info["refused"]
            if terminated or truncated:
                break
        days = len(env.turnovers)
        np.testing.assert_allclose(record.equity_D[: days + 1], env.equities, rtol=1e-9)
        np.testing.assert_allclose(record.turnover_D[:days], env.turnovers, rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(record.costs_D[:days], env.costs, rtol=1e-9, atol=1e-6)
        assert (record.equity_D[days:] == record.equity_D[days]).all()
        assert not record.turnover_D[days:].any()
        assert not record.costs_D[days:].any()
        assert (record.refused, record.terminated) == (refused, terminated)
        assert record.versions == {name: info[name] for name in harness.VERSIONS}


def test_texts_and_numbers_play_the_same_episodes() -> None:
    numbers = play(BuyAndHold(), env_of(PRACTICE), 6)
    texts = play(Saying("BUY S1 1; BUY S2 1; BUY S3 1"), env_of(PRACTICE, observation="text"), 6)
    for one, other in zip(numbers, texts, strict=True):
        np.testing.assert_allclose(one.equity_D, other.equity_D, rtol=1e-9)
        assert (one.start, one.tickers) == (other.start, other.tickers)
        assert one.refused == 0
    # The first day's orders are filled, all later ones find no cash.
    assert [record.refused for record in texts] == [3 * (DAYS - 1)] * 6


def test_how_many_play_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    agents: list[Agent] = [Random(), Oracle(), Expert()]
    whole = [play(agent, env_of(), 9, foresight=True) for agent in agents]
    monkeypatch.setattr(harness, "BATCH", 4)
    for agent, before in zip(agents, whole, strict=True):
        for one, other in zip(before, play(agent, env_of(), 9, foresight=True), strict=True):
            np.testing.assert_allclose(one.equity_D, other.equity_D, rtol=1e-12)


def test_rows_of_the_environment_bound_what_is_played() -> None:
    env = TradingEnv(PRACTICE, rows=(100, 140), tickers=2, days=10, observation="numeric")
    assert {100 <= record.start <= 130 for record in play(Constant(), env, 40)} == {True}


def test_an_agent_is_told_no_future_unless_the_caller_says_so() -> None:
    agents: list[Agent] = [Oracle(), Expert()]
    for agent in agents:
        with pytest.raises(EnvError, match="foresight=True"):
            play(agent, env_of(), 1)


def test_faults_of_callers_and_agents_are_said() -> None:
    with pytest.raises(EnvError, match="play at least one"):
        play(Constant(), env_of(), 0)
    one: Any = Saying("HOLD")
    object.__setattr__(one, "act", lambda observations, state: "HOLD")
    with pytest.raises(EnvError, match="4 answers to 2 observations"):
        play(one, env_of(observation="text"), 2)


def test_the_oracle_finds_the_best_of_all_plans() -> None:
    rng = np.random.default_rng(0)
    terms = env_of(tickers=2, days=4, commission=0.01).terms
    growth_BDN = rng.normal(0, 0.03, (20, 4, 2))
    plans = np.stack(np.meshgrid(*[[-1, 0, 1]] * 4), -1).reshape(-1, 4)

    def worth(plan: Any, growth_DN: Any) -> float:
        held, value = -1, 0.0
        for day, stock in enumerate(plan):
            if stock != held:
                value += math.log(terms.sell) if held >= 0 else 0.0
                value -= math.log(terms.buy) if stock >= 0 else 0.0
            value += growth_DN[day, stock] if stock >= 0 else 0.0
            held = stock
        return value

    for plan, growth_DN in zip(best_holdings(growth_BDN, terms), growth_BDN, strict=True):
        assert worth(plan, growth_DN) == pytest.approx(max(worth(other, growth_DN) for other in plans))


def test_growth_is_what_a_holding_earns_from_open_to_open_and_at_last_to_the_close() -> None:
    opens, closes = np.arange(1.0, 71.0), np.arange(1.0, 71.0) + 0.5
    env = env_of(MarketData(by_hand(opens, closes)), tickers=1, days=3)
    env.reset(seed=0, options={"start": 60})
    assert np.exp(growth(env.episode))[:, 0] == pytest.approx([63 / 62, 64 / 63, 64.5 / 64])


# How sure


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
