"""Grades, and the market portfolio that they are relative to."""

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
from reference_agents import Oracle, play_text

import tradeschool.env
from tradeschool.env.config import EnvError
from tradeschool.env.grading import (
    MIN_VOLATILITY,
    USUAL_VOLATILITY,
    WEIGHTS,
    Grade,
    MarketPortfolio,
    Record,
    grade,
    grade_paths,
    grades,
    market_portfolios,
    play,
    totals,
    volatilities,
)
from tradeschool.env.market_data import Episode, MarketData
from tradeschool.env.strategies import STRATEGIES, BuyAndHold, Random, make_strategy
from tradeschool.env.trading_env import TradingEnv

HOSTILE = MarketData(hostile(0))
SYNTHETIC = MarketData(market(tickers=12, days=260))
CROWDED, CROWD = MarketData(hostile(0, stocks=40, rows=200)), MarketData(market(tickers=30, days=260))
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


def parts(
    equity: Any,
    bench: Any,
    volatility: float = 0.01,
    traded: float = 1.0,
    stock_volatility: float | None = None,
    cash_growth: float = 0.0,
) -> Any:
    against = MarketPortfolio(np.array(bench, float), volatility, stock_volatility or volatility, cash_growth)
    return grade_paths(np.array(equity, float)[:, None], [against], np.array([traded]))[:, 0]


# What a grade is


def test_a_grade_is_the_stated_formula() -> None:
    agent, bench = [100.0, 103.0, 101.0, 106.0], [100.0, 98.0, 99.0, 101.0]
    sigma, own, cash, days, cdf = 0.012, 0.02, 0.001, 3, NormalDist().cdf
    scale = sigma * math.sqrt(days)

    def sharpe(path: list[float]) -> float:
        moves = np.diff(np.log(path))
        return float((moves.mean() - cash) / math.sqrt(moves.var() + (0.3 * sigma) ** 2))

    pnl = cdf((math.log(1.06) - math.log(1.01)) / (0.5 * own * math.sqrt(days)))
    risk = cdf((sharpe(agent) - sharpe(bench)) * math.sqrt(days))
    fell, bench_fell = math.log(103 / 101) + 0.1 * scale, math.log(100 / 98) + 0.1 * scale
    drawdown = bench_fell**2 / (bench_fell**2 + fell**2)
    got = parts(agent, bench, sigma, 0.4, own, cash)
    # The agent moved more than the market and earned more: it is at work in full.
    assert got == pytest.approx([risk, pnl, drawdown, 1.0], abs=1e-12)

    still = [100.0, 100.5, 101.3, 102.4]
    moved = np.diff(np.log(still)).var() / np.diff(np.log(bench)).var()
    got = parts(still, bench, sigma, 0.4, own, cash)
    earned = (2 * got[1] - 1) ** 2 * (1 - math.exp(-0.4)) * min(1, 10 * moved)
    assert moved < 1 / 10
    assert got[1] > 0.6
    assert got[3] == pytest.approx(moved**2 + (1 - moved**2) * earned)

    behind = [100.0, 100.0, 100.5, 100.7]
    got = parts(behind, bench, sigma, 0.4, own, cash)
    moved = np.diff(np.log(behind)).var() / np.diff(np.log(bench)).var()
    assert got[1] < 0.5
    assert got[3] == pytest.approx(moved**2 * (2 * got[1]) ** 2)


def test_the_total_weighs_the_parts_as_stated() -> None:
    assert Grade(0.5, 0.25, 1.0, 0.1).total == pytest.approx(0.4 * 0.5 + 0.3 * 0.25 + 0.15 + 0.015)
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


def test_the_market_has_one_half_in_every_part_and_full_activity() -> None:
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
    assert (after >= before - 1e-9).all()


def test_losing_less_than_a_falling_market_does_not_lower_activity() -> None:
    """A mean square that is not about the mean would call the smaller loss less at work."""
    bench = 0.99 ** np.arange(DAYS + 1)
    wobble = np.exp(0.002 * (np.arange(DAYS + 1) % 2))
    found = [parts(wobble * (1 - loss) ** np.arange(DAYS + 1), bench * wobble) for loss in (0.009, 0.006, 0.003, 0.0)]
    assert (np.diff(found, axis=0) >= -1e-12).all()


@given(st.permutations(range(6)), st.integers(0, 100))
def test_a_grade_does_not_depend_on_what_is_graded_beside_it(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    equity_DB, bench_DB = np.exp(np.cumsum(rng.normal(0, 0.02, (2, DAYS + 1, 6)), axis=1))
    traded_B = rng.uniform(0, 3, 6)
    scale_B2 = rng.uniform(0.01, 0.03, (6, 2))
    bench = [MarketPortfolio(bench_DB[:, b], scale_B2[b, 0], scale_B2[b, 1], 1e-4) for b in range(6)]
    alone = [grade_paths(equity_DB[:, [b]], [bench[b]], traded_B[[b]])[:, 0] for b in order]
    together = grade_paths(equity_DB[:, order], [bench[b] for b in order], traded_B[order])
    np.testing.assert_allclose(together.T, alone, rtol=1e-12)


@given(st.lists(money, min_size=DAYS, max_size=DAYS), st.floats(0.5, 20), st.floats(0, 0.03))
def test_the_unit_of_money_does_not_matter(path: list[float], unit: float, volatility: float) -> None:
    agent, bench = np.array([1.0, *path]), np.array([1.0, *path[::-1]])
    sigma = volatility + 1e-3
    np.testing.assert_allclose(
        parts(agent * unit, bench / unit, sigma), parts(agent, bench, sigma), rtol=1e-6, atol=1e-9
    )


def test_a_market_that_never_moves_has_grades_and_is_not_beaten_by_standing_aside() -> None:
    bench = [100.0] + [99.9] * DAYS
    for volatility in (MIN_VOLATILITY, 0.01):
        still = parts([100.0] * (DAYS + 1), bench, volatility, traded=0.0)
        held = parts(bench, bench, volatility)
        assert still[3] == 0.0
        assert held[:3] == pytest.approx([0.5, 0.5, 0.5])
        assert 0.5 < still[1] < 1.0
        assert np.isfinite([*still, *held]).all()
        # Where the market does not move, what hardly moves is hardly at work.
        dust = parts(100 + 0.001 * (np.arange(DAYS + 1) % 2), [100.0] * (DAYS + 1), volatility, traded=5.0)
        assert dust[3] < 0.01


def test_an_episode_of_one_change_of_equity_is_graded() -> None:
    got = parts([100.0, 101.0], [100.0, 100.0])
    assert np.isfinite(got).all()
    assert got[1] > 0.5


def test_a_sharpe_ratio_is_of_the_return_over_cash() -> None:
    """Interest is not skill: staying in cash has the risk grade of a portfolio without return where cash earns none."""
    growth = 0.001
    bench = np.array([100.0, 98.0, 99.0, 104.0, 103.0])
    with_interest = bench * np.exp(growth * np.arange(5))
    cash = 100 * np.exp(growth * np.arange(5))
    paid = parts(cash, with_interest, traded=0.0, cash_growth=growth)
    unpaid = parts([100.0] * 5, bench, traded=0.0)
    assert paid[:2] == pytest.approx(unpaid[:2])
    env = env_of(SYNTHETIC, interest=0.252)
    env.reset(seed=0)
    assert market_portfolios([env.episode])[0].cash_growth == pytest.approx(math.log(1.001))


def test_a_few_days_in_the_market_earn_no_high_sharpe_ratio() -> None:
    """One good day and then cash: the less the position, the nearer to the part of a portfolio that never moved."""
    bench = [100.0, 101.0, 100.0, 101.0, 100.0, 101.0]
    found = [parts([100.0] + [100.0 * (1 + size)] * 5, bench)[0] for size in (0.02, 0.002, 0.0002, 0.0)]
    assert (np.diff(found) < 0).all()
    assert found[2] - found[3] < 0.03


def test_only_pnl_is_scaled_by_the_stocks_volatility() -> None:
    agent, bench = [100.0, 103.0, 101.0, 106.0], [100.0, 98.0, 99.0, 104.0]
    narrow, wide = (parts(agent, bench, 0.01, stock_volatility=own) for own in (0.01, 0.03))
    assert narrow[1] > wide[1] > 0.5
    assert narrow[[0, 2]].tolist() == wide[[0, 2]].tolist()


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
    env = gymnasium.make("tradeschool/Easy-v1", panel=SYNTHETIC, observation=observation)
    single: Any = env.unwrapped
    numeric = observation == "numeric"
    record = (play(Random(), single, 1, seed=5) if numeric else play_text("BUY 50%", single, 1, seed=5))[0]
    acts = np.random.default_rng([0, 5]).uniform(-1, 1, (20, 1))
    env.reset(seed=5)
    for day in range(20):
        with pytest.raises(EnvError, match=f"at day {day} of 20"):
            grade(env)
        env.step(acts[day] if numeric else "BUY 50%")
    assert asdict(grade(env)) == pytest.approx(asdict(grade(record)), rel=1e-9)
    assert tradeschool.env.config.LEVELS["Easy"]["days"] == len(record.turnover_D)


def test_an_environment_without_an_episode_has_no_grade() -> None:
    with pytest.raises(EnvError, match="no episode to grade"):
        grade(env_of())
    assert grades([]) == []


def test_episodes_of_different_lengths_are_not_graded_together() -> None:
    records = play(Random(), env_of(SYNTHETIC), 1) + play(Random(), env_of(SYNTHETIC, days=5), 1)
    with pytest.raises(EnvError, match=r"episodes of \[5, 12\] days"):
        grades(records)


@pytest.mark.parametrize("left", [0.2, 0.01, 1e-5, 1e-6, 1e-7])
def test_a_loss_counts_in_full_down_to_a_millionth(left: float) -> None:
    got = parts([1.0, left], [1.0, 1.0], volatility=10.0)
    assert got[1] == pytest.approx(NormalDist().cdf(math.log(max(left, 1e-6)) / 5))


@pytest.mark.parametrize("unit", [1e-3, 1e5])
def test_the_smallest_equity_is_a_share_of_the_start(unit: float) -> None:
    got = parts([unit, 1e-9 * unit], [unit, unit], volatility=10.0)
    assert got[1] == pytest.approx(NormalDist().cdf(math.log(1e-6) / 5))


def test_capital_at_work_by_trades_that_earned_is_full_from_a_tenth_of_the_variance() -> None:
    bench = [100.0, 101.0, 99.0, 100.5, 99.5, 100.0]
    agent = list(100 * np.exp(0.4 * np.log(np.array(bench) / 100) + 0.02 * np.arange(6)))
    got = parts(agent, bench, traded=1.0)
    moved = np.diff(np.log(agent)).var() / np.diff(np.log(bench)).var()
    assert 0.1 < moved < 0.2
    invested = moved**2
    earned = (2 * got[1] - 1) ** 2 * (1 - math.exp(-1.0))
    assert got[3] == pytest.approx(invested + (1 - invested) * earned)


@given(st.integers(1, DAYS), st.sampled_from([0.0, -50.0, 1e-300, 1e-7]))
def test_equity_below_a_millionth_counts_as_a_millionth(day: int, left: float) -> None:
    bench = np.linspace(1, 1.1, DAYS + 1)
    ruined, nothing = (np.where(np.arange(DAYS + 1) < day, 1.0, value) for value in (left, 0.0))
    assert parts(ruined, bench).tolist() == parts(nothing, bench).tolist()
    assert parts(ruined, bench)[1] == pytest.approx(0, abs=1e-12)


def test_a_bankruptcy_is_graded_over_all_days() -> None:
    fall = [100.0] * 60 + [100.0, 60.0, 30.0, 5.0, 500.0, 500.0, 500.0, 500.0]
    env = env_of(MarketData(by_hand(fall, fall)), tickers=1, days=6, mask=False)
    options = {"start": 60, "tickers": ["TICK0"]}
    env.reset(seed=0, options=options)
    over = False
    while not over:
        _, _, over, _, _ = env.step(np.ones(1, np.float32))
    assert len(env.equities) < 7
    assert grade(env).pnl < 0.01
    path = [*env.equities, *[env.equities[-1]] * (7 - len(env.equities))]
    found = market_portfolios([env.episode])[0]
    whole = parts(path, found.equity_D, found.volatility, sum(env.turnovers) / env.equities[0])
    assert list(asdict(grade(env)).values()) == pytest.approx(list(whole))


def test_an_episode_that_ends_at_exactly_the_limit_of_ruin_is_graded() -> None:
    fall = [10.0] * 62 + [5.0] * 8
    env = env_of(MarketData(by_hand(fall, fall)), tickers=1, days=6, ruin=0.5, commission=0.0, slippage=0.0)
    env.reset(seed=0, options={"start": 60})
    assert not env.step(np.ones(1))[2]
    assert env.step(np.zeros(1))[2]
    assert env.equities[-1] == 0.5 * env.config.cash
    assert 0 < grade(env).total < 1


# The market


def test_the_market_portfolio_is_settled_like_an_agent() -> None:
    env = env_of()
    for seed in range(30):
        stepped(env, seed, lambda day: np.full(3, float(day == 0), np.float32))
        found = market_portfolios([env.episode])[0]
        np.testing.assert_allclose(found.equity_D, env.equities, rtol=1e-12)


def test_the_market_pays_the_costs_and_takes_no_leverage_or_shorts() -> None:
    free, dear, levered = (
        play(BuyAndHold(), env_of(SYNTHETIC, **rules), 3)[0].market.equity_D
        for rules in ({"commission": 0.0, "slippage": 0.0}, {}, {"leverage": 3.0, "short": True})
    )
    np.testing.assert_allclose(dear[1:] / free[1:], 1 / (1.0005 * 1.0005))
    np.testing.assert_array_equal(dear, levered)


@given(
    leverage=st.sampled_from([1.0, 1.01, 1.5, 3.0, 5.0, 10.0]),
    tickers=st.sampled_from([1, 2, 6, 10, 25]),
    costs=st.tuples(st.sampled_from([0.0, 0.0005, 0.1]), st.sampled_from([0.0, 0.0005, 0.1])),
    delisting_return=st.sampled_from([-1.0, -0.3, 0.0]),
    others=st.fixed_dictionaries(
        {
            "short": st.booleans(),
            "interest": st.sampled_from([-0.1, 0.0, 0.5]),
            "ruin": st.sampled_from([0.0, 0.1]),
            "volume_share": st.sampled_from([0.01, 0.1, 1.0]),
            "cash": st.sampled_from([1e3, 1e5, 1e9]),
        }
    ),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_buy_and_hold_is_the_market_whatever_the_rules_allow(
    leverage: float, tickers: int, costs: tuple[float, float], delisting_return: float, others: Any, seed: int
) -> None:
    commission, slippage = costs
    rules = {"commission": commission, "slippage": slippage, "delisting_return": delisting_return, **others}
    env = env_of(CROWDED, tickers=tickers, leverage=leverage, **rules)
    records = play(BuyAndHold(), env, 6, seed=seed)
    assert not any(record.terminated and record.equity_D[-1] for record in records)
    for record in records:
        np.testing.assert_allclose(record.equity_D, record.market.equity_D, rtol=1e-9, atol=1e-9 * env.config.cash)
    assert sum(record.refused for record in records) == 0
    own = [replace(record, equity_D=record.market.equity_D) for record in records]
    np.testing.assert_allclose(totals(records), totals(own), rtol=0, atol=1e-9)


def traded(records: list[Record]) -> float:
    return float(sum(record.turnover_D.sum() for record in records))


@pytest.mark.parametrize("tickers", [1, 10, 25])
@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "random"])
def test_leverage_that_is_allowed_changes_no_rule(name: str, tickers: int) -> None:
    """Rules do not borrow, and their orders are not too small to be filled where buying power is large."""
    plain = play(make_strategy(name), env_of(CROWD, tickers=tickers), 20)
    for leverage in (1.01, 3.0, 5.0, 10.0):
        levered = play(make_strategy(name), env_of(CROWD, tickers=tickers, leverage=leverage), 20)
        for record, other in zip(plain, levered, strict=True):
            np.testing.assert_allclose(other.equity_D, record.equity_D, rtol=2e-3)
        assert traded(levered) == pytest.approx(traded(plain), rel=0.01)
    assert (traded(plain) > 0) == (name != "hold")


def test_the_market_loses_all_where_all_is_delisted_for_nothing() -> None:
    nothing = float("nan")
    close = [[10.0, 10.0]] * 60 + [[nothing, 10.0]] * 2 + [[nothing, 10.0]] * 10
    env = env_of(MarketData(by_hand(close, close)), tickers=1, days=5, delisting_return=-1.0, mask=False)
    env.reset(seed=0, options={"start": 57, "tickers": ["TICK0"]})
    equity_D = market_portfolios([env.episode])[0].equity_D
    assert equity_D[2] > 0
    assert equity_D[3:].tolist() == [0.0, 0.0, 0.0]


def test_the_scale_is_known_at_the_start() -> None:
    env = env_of(SYNTHETIC)
    env.reset(seed=1)
    start = env.episode.start
    later = MarketData(scrambled_after(SYNTHETIC.panel, start))
    assert volatilities(replace(env.episode, data=later)) == volatilities(env.episode)
    earlier = MarketData(scrambled_after(SYNTHETIC.panel, start - 1))
    assert volatilities(replace(env.episode, data=earlier)) != volatilities(env.episode)
    moves = np.diff(np.log(SYNTHETIC.panel.close_TN[start - 50 : start + 1, env.episode.columns]), axis=0)
    assert volatilities(env.episode) == pytest.approx((moves.mean(1).std(ddof=1), moves.std(0, ddof=1).mean()))
    found = market_portfolios([env.episode])[0]
    assert (found.volatility, found.stock_volatility) == volatilities(env.episode)


def test_a_scale_without_enough_rows_is_the_usual_one_and_never_0() -> None:
    env = env_of(SYNTHETIC)
    env.reset(seed=1)
    assert volatilities(replace(env.episode, start=1)) == (USUAL_VOLATILITY, USUAL_VOLATILITY) == (0.01, 0.01)
    assert volatilities(replace(env.episode, start=0)) == (USUAL_VOLATILITY, USUAL_VOLATILITY)
    for start in (2, 20):
        moves = np.diff(np.log(SYNTHETIC.panel.close_TN[: start + 1, env.episode.columns]), axis=0)
        expected = (moves.mean(1).std(ddof=1), moves.std(0, ddof=1).mean())
        assert volatilities(replace(env.episode, start=start)) == pytest.approx(expected)
    close = np.full((70, 3), 10.0)
    close[:58, 1] = np.nan
    close[:55, 2] = np.nan
    close[:, 2] *= 1.01 ** (np.arange(70) % 2)
    episode = Episode(MarketData(by_hand(close, close)), env.config, 58, np.arange(3))
    moves = math.log(1.01) * np.array([1, -1, 1])
    # Stock 1 has one bar, and so no change: the mean of a day is over those that have one.
    expected = np.r_[np.zeros(47), moves / 2].std(ddof=1)
    own = (MIN_VOLATILITY + USUAL_VOLATILITY + moves.std(ddof=1)) / 3
    assert volatilities(episode) == pytest.approx((expected, own))
    assert volatilities(replace(episode, columns=np.array([0]))) == (MIN_VOLATILITY, MIN_VOLATILITY)


def test_every_agent_has_the_same_market_portfolio() -> None:
    env = env_of(SYNTHETIC)
    for one, other in zip(play(Random(), env, 8), play(Oracle(), env, 8, foresight=True), strict=True):
        np.testing.assert_array_equal(one.market.equity_D, other.market.equity_D)
        assert one.market.volatility == other.market.volatility
