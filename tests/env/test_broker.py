"""What became of orders: the same as in plain floats, in words."""

from typing import Any

import numpy as np
import pytest
from env_markets import by_hand, hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_settlement import REFUSALS, PlainAccount, day_of, settle

from tradeschool.env.broker import (
    DELISTED,
    LAPSED,
    NO_CASH,
    NO_POSITION,
    NOT_LISTED,
    PARTLY,
    Outcome,
    order_outcomes,
    outcome_message,
    read_text,
    signed_fractions,
)
from tradeschool.env.config import ExecutionParams, env_config
from tradeschool.env.features import LINE
from tradeschool.env.market_data import MarketData
from tradeschool.env.trading_env import TradingEnv

MARKETS = [MarketData(hostile(seed)) for seed in range(4)]
RULES = st.fixed_dictionaries(
    {
        "tickers": st.integers(1, 4),
        "days": st.integers(2, 25),
        "cash": st.sampled_from([50.0, 1e5, 1e9]),
        "volume_share": st.sampled_from([0.01, 1.0]),
        "short": st.booleans(),
        "leverage": st.sampled_from([1.0, 3.0]),
        "ruin": st.sampled_from([0.0, 0.5]),
    }
)
PARAMS = ExecutionParams.of(env_config(commission=0.01, slippage=0.02))


def answer(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    """Orders small and large, in known and unknown stocks, some unreadable."""
    fractions = ("", "0.01", "0.5", "100%", "1", "1.5", "half")
    words = [f"{rng.choice(['BUY', 'SELL', 'HOLD'])} {name} {rng.choice(fractions)}" for name in [*names, "S9"]]
    return "; ".join(word for word in words if rng.random() < 0.7)


@settings(max_examples=60, deadline=None)
@given(rules=RULES, market=st.sampled_from(MARKETS), draw=st.integers(0, 10_000))
def test_a_text_episode_is_the_one_in_plain_floats(rules: Any, market: MarketData, draw: int) -> None:
    env, rng = TradingEnv(market, **rules), np.random.default_rng(draw)
    env.reset(seed=draw)
    account = PlainAccount.opened(env.config.cash, env.config.tickers)
    for day in range(1, env.config.days + 1):
        action = answer(rng, env.names)
        orders, faults = read_text(action, env.names)
        wanted, messages = signed_fractions(orders, env.names), [f"refused: {fault}" for fault in faults]
        outcomes = settle(account, wanted, day_of(env.episode, day), env.params)
        text, _, terminated, truncated, info = env.step(action)
        messages += [outcome_message(outcome, wanted, env.names, env.params) for outcome in outcomes]
        assert info["messages"] == tuple(messages)
        assert info["refused"] == sum("refused" in message for message in messages)
        assert sum(outcome.kind in REFUSALS for outcome in outcomes) <= info["refused"]
        assert env.account.vector()[-1] == info["refused"]
        assert (f", {info['refused']} refused" in text.split("\n")[0]) == bool(info["refused"])
        assert info["equity"] == pytest.approx(account.equity, rel=1e-9)
        assert info["fills"] == pytest.approx(tuple(account.fills), rel=1e-9, abs=1e-12)
        if terminated or truncated:
            return
    pytest.fail("the episode does not end")


def lines_of(*stocks: tuple[float, bool, bool]) -> Any:
    """A day of stocks at a price of 10: volume, whether it was listed, whether the stock is gone."""
    lines_N = np.zeros(len(stocks), LINE)
    for n, (volume, listed, gone) in enumerate(stocks):
        lines_N[n] = (10.0, 10.0, volume, listed, gone, [0.0] * 9)
    return lines_N


def test_outcomes_by_kind() -> None:
    lines_N = lines_of((1e9, True, False), (1e9, False, False), (50, True, False), (0, True, False), (0, True, True))
    shares_N = np.array([0.0, 0.0, 50.0, 10.0, 4.0])
    found = order_outcomes([-0.5, 1.0, -1.0, -1.0, 0.0], shares_N, 1000.0, lines_N, PARAMS)
    assert found == [
        Outcome(NO_POSITION, 0),
        Outcome(NOT_LISTED, 1),
        Outcome(PARTLY, 2, 0.1),
        Outcome(LAPSED, 3),
        Outcome(DELISTED, 4),
    ]
    one = lines_of((1e9, True, False))
    assert order_outcomes([1.0], np.zeros(1), 0.0, one, PARAMS) == [Outcome(NO_CASH, 0)]
    assert order_outcomes([1.0], np.zeros(1), 1000.0, one, PARAMS) == []
    assert order_outcomes([0.0], np.zeros(1), 0.0, one, PARAMS) == []


def test_an_order_for_exactly_the_volume_limit_is_filled() -> None:
    limit = 0.1 * 50
    assert order_outcomes([-1.0], np.array([limit]), 0.0, lines_of((50, True, False)), PARAMS) == []


def test_the_share_filled_is_of_the_shares_ordered() -> None:
    params = ExecutionParams.of(env_config(commission=0.01, slippage=0.02, short=True))
    bought, sold, reduced = (
        order_outcomes([want], np.array([held]), 1000.0, lines_of((volume, True, False)), params)
        for want, held, volume in ((1.0, 0.0, 50), (-0.5, 0.0, 50), (-1.0, 0.5, 1))
    )
    assert bought == [Outcome(PARTLY, 0, pytest.approx(5 * 10 * 1.02 * 1.01 / 1000))]  # type: ignore[arg-type]
    assert sold == [Outcome(PARTLY, 0, pytest.approx(5 * 10 * 0.98 / 500))]  # type: ignore[arg-type]
    assert reduced == [Outcome(PARTLY, 0, pytest.approx(0.2))]  # type: ignore[arg-type]


def test_only_held_stocks_are_reported_as_delisted() -> None:
    lines_N = lines_of(*[(0, True, True)] * 3)
    shares_N = np.array([0.0, 2.0, -2.0])
    found = order_outcomes([0.0] * 3, shares_N, 0.0, lines_N, PARAMS)
    assert found == [Outcome(DELISTED, 1), Outcome(DELISTED, 2)]


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome(DELISTED, 1), "XYZ was delisted: closed at 70% of its last close"),
        (Outcome(PARTLY, 0, 0.25), "BUY ABC filled to 25%, the volume limit"),
        (Outcome(PARTLY, 1, 0.5), "SELL XYZ filled to 50%, the volume limit"),
        (Outcome(NO_POSITION, 1), "SELL XYZ refused, there was no position to sell"),
        (Outcome(NO_CASH, 0), "BUY ABC refused, there was no buying power"),
        (Outcome(NOT_LISTED, 0), "BUY ABC refused, it is no longer listed"),
        (Outcome(LAPSED, 1), "SELL XYZ lapsed, it was not traded"),
    ],
)
def test_messages_are_those_in_prompts(outcome: Outcome, message: str) -> None:
    assert outcome_message(outcome, [0.3, -0.4], ["ABC", "XYZ"], PARAMS) == message


def test_in_text_the_smallest_fraction_is_an_order() -> None:
    """Numbers close to 0 hold; 0.0001 in text is meant."""
    env = TradingEnv(by_hand([10.0] * 60, [10.0] * 60), days=2, slippage=0.0, commission=0.0, cash=1000.0)
    env.reset(seed=0)
    assert env.step("BUY 0.0001")[4]["fills"] == pytest.approx((0.01,))


def test_the_vector_of_a_day_is_new_memory() -> None:
    env = TradingEnv(MARKETS[0], tickers=2, days=5)
    text, _ = env.reset(seed=0)
    env.account.vector()[:] = 7.0
    assert env.account.text() == text


def test_a_delisting_has_a_message_on_a_day_without_orders() -> None:
    prices = np.full((60, 2), 10.0)
    prices[53:, 0] = np.nan
    env = TradingEnv(by_hand(prices, prices), tickers=2, days=5, mask=False, volume_share=1.0)
    env.reset(options={"start": 51, "tickers": ["TICK0", "TICK1"]})
    assert env.step("BUY TICK0 0.5")[4]["messages"] == ()
    text, _, _, _, info = env.step("HOLD")
    assert info["messages"] == ("TICK0 was delisted: closed at 70% of its last close",)
    assert "! TICK0 was delisted" in text
    assert env.step("HOLD")[4]["messages"] == ()
