"""Fills, costs, limits and accounts: worked by hand, as identities on hostile markets, and against plain floats."""

from typing import Any

import numpy as np
import pytest
from env_markets import NAN, by_hand, hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_settlement import Day, PlainAccount, settle

from tradeschool.env.config import EnvError, ExecutionParams, env_config
from tradeschool.env.market_data import ENDED, MarketData
from tradeschool.env.trading_env import TradingEnv
from tradeschool.env.vector_env import VectorTradingEnv

COSTS = {"commission": 0.01, "slippage": 0.02}
BUY, SELL = 1.02 * 1.01, 0.98 * 0.99


pytestmark = pytest.mark.usefixtures("settlement")


def begun(panel: Any, start: int = 0, **rules: Any) -> TradingEnv:
    """An environment over all rows and stocks of a small market, costs of 1 and 2 percent, begun."""
    rows, stocks = panel.shape
    settings = {"tickers": stocks, "days": rows - 1 - start, "cash": 1000.0, **COSTS, "observation": "numeric", **rules}
    # The market is too short for the rule that a drawn stock has enough earlier bars.
    data = MarketData(panel)
    data.__dict__["eligible_TN"] = data.traded_TN
    env = TradingEnv(data, mask=False, **settings)
    env.reset(seed=0, options={"start": start, "tickers": list(panel.tickers)})
    return env


def step(env: TradingEnv, *wanted: float) -> dict[str, Any]:
    return env.step(np.array(wanted, np.float64))[4]


def test_an_order_fills_at_the_next_open_with_slippage_and_commission_and_is_valued_at_the_close() -> None:
    env = begun(by_hand(open_=[10, 20, 30, 31], close=[11, 25, 35, 36]))
    info = step(env, 0.5)
    shares = 500 / (20 * BUY)
    assert info["fills"] == pytest.approx((shares,), rel=1e-12)
    assert env.account.cash == pytest.approx(500, rel=1e-12)
    assert info["equity"] == pytest.approx(500 + shares * 25, rel=1e-12)
    info = step(env, -0.4)
    assert info["fills"] == pytest.approx((-0.4 * shares,), rel=1e-12)
    assert env.account.cash == pytest.approx(500 + 0.4 * shares * 30 * SELL, rel=1e-12)
    assert info["equity"] == pytest.approx(env.account.cash + 0.6 * shares * 35, rel=1e-12)


def test_costs_and_turnover_are_exact() -> None:
    env = begun(by_hand(open_=[10, 20, 30, 31], close=[11, 25, 35, 36]))
    step(env, 0.5)
    shares = 500 / (20 * BUY)
    assert env.turnovers[-1] == pytest.approx(shares * 20 * 1.02, rel=1e-12)
    assert env.costs[-1] == pytest.approx(500 - shares * 20, rel=1e-12)
    step(env, -0.4)
    assert env.turnovers[-1] == pytest.approx(0.4 * shares * 30 * 0.98, rel=1e-12)
    assert env.costs[-1] == pytest.approx(0.4 * shares * 30 * (1 - SELL), rel=1e-12)
    step(env, 0.0)
    assert env.turnovers[-1] == env.costs[-1] == 0


def test_the_reward_is_the_log_return_of_every_day_the_last_included() -> None:
    env = begun(by_hand(open_=[10, 10, 12, 9], close=[10, 11, 8, 14]))
    rewards = [env.step(np.array([want]))[1] for want in (1.0, 0.0, -1.0)]
    assert np.exp(sum(rewards)) * 1000 == pytest.approx(env.account.equity, rel=1e-12)
    assert env.account.equity == pytest.approx(1000 / (10 * BUY) * 9 * SELL, rel=1e-12)
    assert rewards[1] == pytest.approx(np.log(8 / 11), rel=1e-9)


def test_sells_come_first_whatever_the_order_of_the_stocks() -> None:
    for wanted in ((-1.0, 1.0), (1.0, -1.0)):
        env = begun(by_hand(open_=[[10, 10]] * 4, close=[[10, 10]] * 4))
        step(env, *np.where(np.array(wanted) < 0, 1.0, 0.0))
        step(env, *wanted)
        assert env.account.cash == pytest.approx(0, abs=1e-9)
        assert env.account.equity == pytest.approx(1000 / BUY * SELL / BUY, rel=1e-12)


def test_buys_of_more_than_all_are_scaled_down_by_their_sum() -> None:
    env = begun(by_hand(open_=[[10, 20, 40]] * 3, close=[[10, 20, 40]] * 3))
    info = step(env, 1.0, 0.5, 0.5)
    worth = np.array(info["fills"]) * [10, 20, 40] * BUY
    np.testing.assert_allclose(worth, [500, 250, 250], rtol=1e-12)
    assert env.account.cash == pytest.approx(0, abs=1e-9)
    assert env.account.cash >= 0


def test_buys_of_less_than_all_are_not_scaled() -> None:
    env = begun(by_hand(open_=[[10, 20]] * 3, close=[[10, 20]] * 3))
    info = step(env, 0.3, 0.2)
    np.testing.assert_allclose(np.array(info["fills"]) * [10, 20] * BUY, [300, 200], rtol=1e-12)


def test_a_fill_is_at_most_a_share_of_that_days_volume() -> None:
    env = begun(by_hand([10.0] * 5, [10.0] * 5, volume=[1e9, 100, 40, NAN, 0]), volume_share=0.2)
    assert step(env, 1.0)["fills"] == (20.0,)
    assert env.account.cash == pytest.approx(1000 - 20 * 10 * BUY, rel=1e-12)
    assert step(env, -1.0)["fills"] == (-8.0,)
    assert step(env, -1.0)["fills"] == (-12.0,)
    assert step(env, 1.0)["fills"] == (0.0,)
    assert env.account.refused == 0


def test_without_a_bar_an_order_lapses_and_a_holding_keeps_its_last_close() -> None:
    env = begun(by_hand([10.0, 10, NAN, NAN, 10], [10.0, 11, NAN, NAN, 13]))
    step(env, 0.5)
    equity = env.account.equity
    for _ in range(2):  # before the first day without a bar, and on it, when the next one has none either
        info = step(env, -1.0)
        assert info["fills"] == (0.0,)
        assert info["refused"] == 0
        assert info["equity"] == pytest.approx(equity, rel=1e-12)
    assert step(env, -1.0)["fills"] == pytest.approx((-500 / (10 * BUY),), rel=1e-12)


def test_an_order_on_an_own_holiday_fills_at_the_next_own_open() -> None:
    """The first stock's exchange is closed on two days on which the second one trades."""
    env = begun(by_hand([[10, 5], [20, 6], [30, 7], [31, 8]], [[10, 5], [NAN, 6], [NAN, 7], [31, 8]]))
    infos = [step(env, wanted, 0.0) for wanted in (0.0, 0.0, 0.5)]
    shares = 500 / (31 * BUY)
    assert [info["fills"][0] for info in infos] == pytest.approx([0, 0, shares], rel=1e-12)
    assert [info["refused"] for info in infos] == [0, 0, 0]
    assert infos[-1]["equity"] == pytest.approx(500 + shares * 31, rel=1e-12)


def test_a_delisted_holding_is_closed_on_the_first_row_without_a_bar() -> None:
    closes = [[10, 10.0], [10, 20], *[[10, NAN]] * ENDED]
    env = begun(by_hand(closes, closes), delisting_return=-0.3)
    step(env, 0.0, 0.5)
    shares = 500 / (20 * BUY)
    info = step(env, 0.0, -1.0)
    assert info["equity"] == pytest.approx(500 + shares * 20 * 0.7, rel=1e-12)
    assert env.account.shares == [0.0, 0.0]
    assert step(env, 0.0, 0.5)["refused"] == 1
    assert env.account.equity == pytest.approx(500 + shares * 20 * 0.7, rel=1e-12)


def test_a_stock_is_not_delisted_where_the_panel_ends_or_it_trades_again() -> None:
    closes = [[10, 10.0, 10], [10, 10, NAN], [10, NAN, 10], [10, NAN, 10], [10, 10, 10]]
    env = begun(by_hand(closes, closes), delisting_return=-1.0)
    step(env, 0.3, 0.3, 0.0)
    for _ in range(3):
        step(env, 0.0, 0.0, 0.0)
    assert env.account.equity == pytest.approx(400 + 600 / BUY, rel=1e-12)


def test_interest_is_paid_on_the_cash_of_the_day() -> None:
    env = begun(by_hand([10.0] * 4, [10.0] * 4), interest=0.252)
    step(env, 0.0)
    assert env.account.equity == pytest.approx(1001, rel=1e-12)
    step(env, 0.5)
    assert env.account.cash == pytest.approx(500.5 * 1.001, rel=1e-12)
    assert env.account.equity == pytest.approx(500.5 * 1.001 + 500.5 / BUY, rel=1e-12)


def test_refused_orders_change_nothing_and_are_counted() -> None:
    env = begun(by_hand([[10, 10]] * 8, [[10, 10]] * 8))
    info = step(env, -1.0, -0.5)
    assert (info["refused"], info["equity"], info["fills"]) == (2, 1000, (0.0, 0.0))
    info = step(env, NAN, 1.5)
    assert (info["refused"], info["equity"]) == (2, 1000)
    info = step(env, 0.04, -0.04)
    assert (info["refused"], info["equity"]) == (0, 1000)
    assert step(env, 0.05, 0.0)["fills"][0] > 0
    assert step(env, -0.05, 0.0)["fills"][0] < 0
    assert step(env, 1.0, 0.0)["refused"] == 0
    assert step(env, 0.0, 0.5)["refused"] == 1


def test_a_short_is_worth_its_fraction_and_is_covered_by_fractions() -> None:
    env = begun(by_hand([10.0, 10, 10, 10], [10.0, 12, 8, 8]), short=True)
    info = step(env, -0.5)
    shares = 500 / (10 * 0.98)
    assert info["fills"] == pytest.approx((-shares,), rel=1e-12)
    assert env.account.cash == pytest.approx(1000 + shares * 10 * SELL, rel=1e-12)
    assert info["equity"] == pytest.approx(env.account.cash - shares * 12, rel=1e-12)
    info = step(env, 0.25)
    assert info["fills"] == pytest.approx((shares / 4,), rel=1e-12)
    step(env, 1.0)
    assert env.account.shares == [0.0]
    assert env.account.equity == pytest.approx(1000 + shares * 10 * (SELL - BUY), rel=1e-12)


def test_leverage_bounds_the_gross_exposure() -> None:
    env = begun(by_hand([[10.0, 10]] * 5, [[10.0, 10]] * 5), leverage=2.0, short=True)
    step(env, 1.0, 0.0)
    assert env.account.shares[0] == pytest.approx(2000 / (10 * BUY), rel=1e-12)
    gross = env.account.shares[0] * 10
    power = 2 * (env.account.cash + gross) - gross
    assert step(env, 0.0, -1.0)["refused"] == (1 if power <= 0 else 0)
    assert abs(env.account.shares[1]) * 10 * 0.98 == pytest.approx(max(power, 0), rel=1e-9, abs=1e-6)


def test_long_only_a_sell_of_nothing_stays_refused_with_leverage() -> None:
    env = begun(by_hand([10.0] * 3, [10.0] * 3), leverage=2.0)
    assert step(env, -0.5)["refused"] == 1
    assert env.account.shares == [0.0]


def test_ruin_ends_the_episode_and_the_reward_stays_finite() -> None:
    env = begun(by_hand([10.0, 10, 40, 90], [10.0, 10, 40, 90]), short=True, leverage=2.0)
    env.step(np.array([-1.0]))
    _, reward, terminated, truncated, info = env.step(np.array([0.0]))
    assert info["equity"] < 0
    assert (terminated, truncated) == (True, False)
    assert np.isfinite(reward)
    assert reward < -10
    with pytest.raises(EnvError, match="the episode is over"):
        env.step(np.array([0.0]))


def test_a_nearly_empty_account_earns_no_reward_for_doing_nothing() -> None:
    """A thousand becomes 1e-7: below the millionth that the reward's logarithm is taken of, and above a ruin of 0."""
    prices = [10.0, 10, *[1e-9] * 4]
    env = begun(by_hand(prices, prices), commission=0.0, slippage=0.0, ruin=0.0)
    batch = VectorTradingEnv(env.data, 1, **env.config.model_dump())
    batch.reset(options={"start": [0], "tickers": [list(env.episode.tickers)]})
    wanted = [1.0, *[0.0] * (env.config.days - 1)]
    singles = [env.step(np.array([want]))[1] for want in wanted]
    together = [float(batch.step(np.array([[want]]))[1][0]) for want in wanted]
    assert 0 < env.account.equity < 1e-6 * 1000.0
    assert singles[1] == pytest.approx(np.log(1e-6))
    assert singles[2:] == together[2:] == [0.0] * (env.config.days - 2)


def test_ruin_is_reached_at_the_share_itself() -> None:
    for ruin, ends in ((0.5, True), (0.4999, False)):
        env = begun(by_hand([10.0, 10, 5, 5], [10.0, 10, 5, 5]), commission=0.0, slippage=0.0, ruin=ruin)
        step(env, 1.0)
        assert env.step(np.array([0.0]))[2] is ends


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), leverage=st.sampled_from([1.0, 3.0]), short=st.booleans())
def test_no_money_is_made_or_lost_but_by_prices_and_costs(seed: int, leverage: float, short: bool) -> None:
    """The equity moves by what holdings gained from open to close and close to open, less the costs, and no more."""
    rng = np.random.default_rng(seed)
    data = MarketData(hostile(seed % 5))
    env = TradingEnv(
        data, tickers=4, days=30, observation="numeric", mask=False, leverage=leverage, short=short, delisting_return=0
    )
    env.reset(seed=seed)
    opens, closes = env.episode.of(data.open_TN), env.episode.of(data.close_TN)
    shares, day = np.zeros(4), 0
    over = False
    while not over:
        before = env.account.equity
        over = bool(np.any(env.step(rng.uniform(-1, 1, 4))[2:4]))
        day += 1
        fills = np.array(env.account.fills)
        gained = shares @ (opens[day] - closes[day - 1]) + (shares + fills) @ (closes[day] - opens[day])
        assert env.account.equity == pytest.approx(before + gained - env.costs[-1], rel=1e-9, abs=1e-5)
        held = np.array(env.account.shares)
        assert env.account.equity == pytest.approx(env.account.cash + held @ closes[day], rel=1e-12, abs=1e-6)
        known = env.turnovers[-1] * env.config.slippage
        assert env.costs[-1] == pytest.approx(
            np.abs(fills) @ opens[day] * env.config.slippage + env.turnovers[-1] * env.config.commission, rel=1e-9
        )
        assert known >= 0
        if leverage == 1 and not short:
            assert env.account.cash >= 0
            assert (held >= 0).all()
        most = env.episode.of(data.volume_TN)[day] * env.config.volume_share
        assert (np.abs(fills) <= most * (1 + 1e-12)).all()
        shares = held


@settings(max_examples=200, deadline=None)
@given(
    wanted=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    shares=st.lists(st.sampled_from([0.0, 5.0, -7.0]), min_size=3, max_size=3),
    prices=st.lists(st.floats(0.01, 1e4), min_size=3, max_size=3),
)
def test_the_order_of_the_stocks_does_not_matter(wanted: Any, shares: Any, prices: Any) -> None:
    params = ExecutionParams.of(env_config(short=True, leverage=3.0))
    found = []
    for order in ([0, 1, 2], [2, 0, 1]):
        account = PlainAccount(1e5, [shares[n] for n in order], [abs(shares[n]) * 10 for n in order], 1e5)
        prices_N = [prices[n] for n in order]
        settle(account, [wanted[n] for n in order], Day([True] * 3, prices_N, prices_N, [1e9] * 3, ()), params)
        found.append([account.cash, account.equity, *(account.shares[order.index(n)] for n in range(3))])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-6)
