"""Strategies: their signals, sizes and reasons."""

import functools
import re
from typing import Any

import numpy as np
import pytest
from env_markets import hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market

from tradeschool.env.config import EnvError, env_config
from tradeschool.env.features import ACCOUNT, HOLDING, MARKET, UNKNOWN
from tradeschool.env.grading import totals
from tradeschool.env.market_data import MarketData
from tradeschool.env.play import play
from tradeschool.env.strategies import STRATEGIES, MomentumStrategy, State, Strategy, facts_of, make_strategy, orders_to
from tradeschool.env.trading_env import TradingEnv

FACTS = [fact.name for fact in (*MARKET, *HOLDING)]
ON_DATA = ("rsi", "macd", "momentum 5d", "rsi+macd")


@functools.cache
def data() -> MarketData:
    return MarketData(market(tickers=12, days=400))


def env_of(tickers: int, days: int = 20, panel: MarketData | None = None, **settings: Any) -> TradingEnv:
    return TradingEnv(panel or data(), tickers=tickers, days=days, observation="numeric", **settings)


def observed(*stocks: dict[str, float], cash: float = 100.0) -> Any:
    """One episode's vector: unknown figures of traded stocks but for those given, the account with ``cash``."""
    account = {"cash": cash, "equity": 100.0, "days_left": 5.0, "refused": 0.0}
    usual = dict.fromkeys(FACTS, UNKNOWN) | {"traded": 1.0, "share": 0.0, "gain": 0.0}
    vector = [(usual | stock)[name] for stock in stocks for name in FACTS] + [account[f.name] for f in ACCOUNT]
    return np.array([vector], np.float32)


def state_of(stocks: int, day: int = 0, **settings: Any) -> State:
    config = env_config(tickers=stocks, days=20, observation="numeric", **settings)
    return State(config, (tuple(f"S{n + 1}" for n in range(stocks)),), (0,), day, np.ones(1, bool))


def orders(name: str | Strategy, *stocks: dict[str, float], cash: float = 100.0, day: int = 0) -> list[float]:
    agent = make_strategy(name) if isinstance(name, str) else name
    given_orders: list[float] = agent.act(observed(*stocks, cash=cash), state_of(len(stocks), day))[0].tolist()
    return given_orders


def why(name: str, *stocks: dict[str, float], cash: float = 100.0, day: int = 0) -> str:
    vector, state = observed(*stocks, cash=cash), state_of(len(stocks), day)
    return make_strategy(name).why(
        facts_of(vector, len(stocks))[0], make_strategy(name).act(vector, state)[0], state.names[0]
    )


@pytest.mark.parametrize(
    ("name", "facts", "signal"),
    [
        ("rsi", {"rsi_14": 29.9}, 1),
        ("rsi", {"rsi_14": 30.0}, 0),
        ("rsi", {"rsi_14": 70.0}, 0),
        ("rsi", {"rsi_14": 70.1}, -1),
        ("macd", {"macd_hist": 0.01}, 1),
        ("macd", {"macd_hist": -0.01}, -1),
        ("momentum 5d", {"change_5": 1.1}, 1),
        ("momentum 5d", {"change_5": 0.9}, 0),
        ("momentum 5d", {"change_5": -0.9}, 0),
        ("momentum 5d", {"change_5": -1.1}, -1),
        ("rsi+macd", {"rsi_14": 25.0, "macd_hist": -1.0}, 1),
        ("rsi+macd", {"rsi_14": 75.0, "macd_hist": 1.0}, -1),
        ("rsi+macd", {"rsi_14": 50.0, "macd_hist": 1.0}, 1),
        ("rsi+macd", {"rsi_14": 50.0, "macd_hist": -1.0}, -1),
        ("rsi+macd", {"rsi_14": UNKNOWN, "macd_hist": UNKNOWN}, 0),
        ("rsi", {}, 0),
        ("macd", {}, 0),
        ("momentum 5d", {}, 0),
    ],
)
def test_signals_buy_what_is_not_held_and_sell_what_is(name: str, facts: dict[str, float], signal: int) -> None:
    held = facts | {"share": 100.0}
    assert orders(name, facts) == [1.0 if signal > 0 else 0.0]
    assert orders(name, held, cash=0.0) == [-1.0 if signal < 0 else 0.0]
    assert orders(name, facts | {"traded": 0.0}) == orders(name, held | {"traded": 0.0}, cash=0.0) == [0.0]


def test_a_buy_is_a_part_of_the_equity_out_of_the_cash_after_sales() -> None:
    up, down = {"change_5": 5.0}, {"change_5": -5.0}
    nothing: list[dict[str, float]] = [{}, {}, {}]
    assert orders("momentum 5d", up, {}, *nothing, cash=100.0) == [0.2, 0, 0, 0, 0]
    # Half of it is cash: a fifth of the equity is two fifths of the cash.
    assert orders("momentum 5d", up, {"share": 50.0}, *nothing, cash=50.0) == [0.4, 0, 0, 0, 0]
    # The proceeds of the sale are spent.
    assert orders("momentum 5d", up, down | {"share": 40.0}, *nothing, cash=0.0) == [0.5, -1, 0, 0, 0]
    # Not enough for all: equal parts of what there is.
    assert orders("momentum 5d", up, up, {"share": 90.0}, {}, {}, cash=10.0) == [1, 1, 0, 0, 0]
    assert orders("momentum 5d", up, {"share": 99.6}, *nothing, cash=0.4) == [0, 0, 0, 0, 0]
    assert orders(MomentumStrategy(parts=2), up, {}, *nothing) == [0.5, 0, 0, 0, 0]


def test_equal_weight_sells_what_is_above_and_buys_what_is_below_its_share() -> None:
    stocks = [{"share": 50.0}, {"share": 20.0}, {"share": 25.0}, {"share": 5.0}]
    assert orders("equal weight", *stocks, cash=0.0) == [-0.5, 0.25, 0, 1.0]
    assert orders("equal weight", *stocks, cash=0.0, day=1) == [0, 0, 0, 0]
    assert orders("equal weight", *stocks, cash=0.0, day=5) == [-0.5, 0.25, 0, 1.0]
    assert orders("equal weight", {}, {}, {}) == [1, 1, 1]


def test_equal_weight_ends_at_equal_weights() -> None:
    env = env_of(8, slippage=0.0, commission=0.0)
    agent = make_strategy("equal weight", every=1)
    vector, _ = env.reset(seed=1)
    # Unequal shares at first.
    vector, *_ = env.step(np.array([1, 0.5, 0.25, 0, 0, 0, 0, 0], np.float32))
    for day in range(3):
        state = State(env.config, (env.names,), (1,), day, np.ones(1, bool))
        vector, *_ = env.step(agent.act(vector[None], state)[0])
    shares = facts_of(vector[None], 8)[0, :, FACTS.index("share")]
    np.testing.assert_allclose(shares, 12.5, atol=1.5)


def test_rules_spend_the_equity_once_with_leverage_too() -> None:
    target = np.array([[np.nan, 0.5]])
    for rules in ({}, {"leverage": 2.0}, {"short": True}):
        vector = observed({"share": 100.0}, {"share": 0.0}, cash=0.0)
        assert orders_to(target, vector, state_of(2, **rules).config).tolist() == [[0, 0]]
    vector = observed({"share": 60.0}, {"share": 0.0}, cash=40.0)
    assert orders_to(target, vector, state_of(2).config).tolist() == [[0, 1]]
    # Twice the equity less 60 % is 1.4 of it: what is left of the equity, .4, is 2/7 of that.
    assert orders_to(target, vector, state_of(2, leverage=2.0).config).tolist() == [[0, 0.2857]]


def test_equal_weight_can_express_its_orders_at_any_leverage() -> None:
    for stocks, leverage in ((10, 3.0), (25, 10.0), (1, 1.5)):
        state = state_of(stocks, leverage=leverage)
        given_orders = make_strategy("equal weight").act(observed(*[{}] * stocks), state)
        np.testing.assert_allclose(given_orders, 1 / (stocks * leverage), rtol=2e-3)
        assert (given_orders >= state.config.smallest_order).all()
    record = play(make_strategy("equal weight"), env_of(10, leverage=3.0), 1)[0]
    assert record.turnover_D[0] == pytest.approx(record.equity_D[0], rel=0.01)


def test_hold_buy_and_hold_and_random() -> None:
    assert orders("hold", {}, {}) == [0, 0]
    assert orders("buy and hold", {}, {}) == [1, 1]
    assert orders("buy and hold", {}, {}, day=1) == [0, 0]
    first = play(make_strategy("random"), env_of(3), 3, seed=4)
    alone = play(make_strategy("random"), env_of(3), 1, seed=5)
    assert totals(first)[1] == totals(alone)[0]
    assert totals(play(make_strategy("random", seed=1), env_of(3), 3, seed=4)).tolist() != totals(first).tolist()


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "random"])
@pytest.mark.parametrize("tickers", [1, 5])
def test_no_strategy_gives_an_order_that_is_refused(name: str, tickers: int) -> None:
    assert sum(record.refused for record in play(make_strategy(name), env_of(tickers), 50)) == 0
    # Where a sale lapses for lack of a bar or volume, there is no cash for the day's buys.
    records = play(make_strategy(name), env_of(tickers, panel=MarketData(hostile(stocks=6, rows=200))), 25)
    assert sum(record.refused for record in records) <= 5


@pytest.mark.parametrize("name", ON_DATA)
def test_an_episode_does_not_depend_on_the_batch(name: str) -> None:
    crowd, alone = play(make_strategy(name), env_of(5), 6), play(make_strategy(name), env_of(5), 1, seed=4)
    np.testing.assert_array_equal(crowd[4].equity_D, alone[0].equity_D)
    assert sum(record.turnover_D.sum() for record in crowd) > 0


def test_momentum_earns_in_a_trending_market_and_random_does_not() -> None:
    env = TradingEnv(MarketData(market(tickers=30, days=900)), tickers=10, days=30, observation="numeric")
    momentum, random, market_ = (
        totals(play(make_strategy(n), env, 150)).mean() for n in ("momentum 5d", "random", "buy and hold")
    )
    assert momentum > market_ > random


@pytest.mark.parametrize(
    ("name", "stocks", "reason"),
    [
        ("rsi", [{"rsi_14": 28.4}], "S1 RSI 28 oversold, buy"),
        ("rsi", [{}, {"rsi_14": 74.0, "share": 9.0}], "S2 RSI 74 overbought, sell"),
        ("rsi", [{"rsi_14": 50.0}], "no signal"),
        ("macd", [{"macd_hist": 0.314}], "S1 MACD 0.31, buy"),
        ("momentum 5d", [{"change_5": -3.2, "share": 9.0}], "S1 5d -3%, sell"),
        (
            "rsi+macd",
            [{"rsi_14": 20.0}, {"rsi_14": 50.0, "macd_hist": 0.2}],
            "S1 RSI 20 oversold, buy; S2 MACD 0.20, buy",
        ),
        ("equal weight", [{"share": 80.0}, {"share": 20.0}], "S1 80% of 50%, sell; S2 20% of 50%, buy"),
        ("equal weight", [{"share": 50.0}, {"share": 50.0}], "shares are equal"),
        ("hold", [{}], "stay in cash"),
        ("buy and hold", [{}], "buy equal parts"),
        ("random", [{}], "drawn at random"),
    ],
)
def test_a_reason_is_what_the_strategy_followed(name: str, stocks: list[dict[str, float]], reason: str) -> None:
    assert why(name, *stocks, cash=20.0) == reason


def test_reasons_are_short_and_mention_missing_cash() -> None:
    up = {"change_5": 5.0}
    assert why("momentum 5d", *[up] * 9) == "S1 5d +5%, buy; S2 5d +5%, buy; S3 5d +5%, buy"
    assert why("momentum 5d", up, {"share": 100.0}, cash=0.0) == "no cash left"
    assert why("buy and hold", {"share": 100.0}, cash=0.0, day=3) == "keep holding"


@given(st.integers(0, 2**32 - 1), st.sampled_from(ON_DATA))
@settings(max_examples=40, deadline=None)
def test_a_reason_names_only_stocks_that_are_ordered_and_their_side(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    stocks = [
        {"rsi_14": rng.uniform(0, 100), "macd_hist": rng.normal(), "change_5": rng.normal(0, 3)}
        | {"share": float(rng.choice([0.0, 12.0]))}
        for _ in range(6)
    ]
    given_orders, reason = orders(name, *stocks, cash=40.0), why(name, *stocks, cash=40.0)
    named = re.findall(r"S(\d+) [^;]*, (buy|sell)", reason)
    ordered = [(str(n + 1), "buy" if order > 0 else "sell") for n, order in enumerate(given_orders) if order]
    assert named == ordered[:3]
    assert all(order in (0.0, -1.0) or 0.05 <= order <= 1 for order in given_orders)


def test_unknown_names_and_settings_are_refused_with_a_suggestion() -> None:
    with pytest.raises(EnvError, match="'momentun'. Did you mean 'momentum 5d'"):
        make_strategy("momentun")
    with pytest.raises(EnvError, match="no 'bands'. Did you mean 'band'"):
        make_strategy("momentum 5d", bands=2)
    assert make_strategy("momentum 5d", band=3.0, name="slow momentum").name == "slow momentum"


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("momentum 5d", {"band": "x"}, "The strategy 'momentum 5d': band is 'x', but must be a number."),
        ("momentum 5d", {"band": "2"}, "band is '2', but must be a number."),
        ("momentum 5d", {"band": float("nan")}, "band is nan, but must be a finite number."),
        ("macd", {"band": float("inf")}, "band is inf, but must be a finite number."),
        ("rsi+macd", {"band": None}, "band is None, but must be a number."),
        ("rsi+macd", {"band": [1], "parts": "a"}, "parts is 'a', but must be a whole number; band is [1], but must be"),
        ("rsi", {"parts": 2.5}, "The strategy 'rsi': parts is 2.5, but must be a whole number."),
        ("rsi", {"parts": True}, "parts is True, but must be a whole number."),
        ("equal weight", {"every": 1.5}, "every is 1.5, but must be a whole number."),
        ("random", {"seed": "x"}, "seed is 'x', but must be a whole number."),
        ("random", {"seed": -1}, "seed is -1, but must be at least 0."),
        ("equal weight", {"every": 0}, "every is 0, but must be at least 1."),
        ("rsi", {"parts": 21}, "parts is 21, but must be at most 20."),
        ("hold", {"name": 5}, "name is 5, but must be text"),
    ],
)
def test_a_setting_of_another_type_or_range_is_refused_in_a_sentence(
    name: str, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(EnvError, match=re.escape(reason)):
        make_strategy(name, **settings)


def test_a_whole_number_is_a_number() -> None:
    assert make_strategy("momentum 5d", band=3) == MomentumStrategy(band=3.0)
    assert make_strategy("random", seed=2**70).name == "random"


def test_every_strategy_has_its_name_in_the_registry() -> None:
    assert [make_strategy(name).name for name in STRATEGIES] == list(STRATEGIES)
