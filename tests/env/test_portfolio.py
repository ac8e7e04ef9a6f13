"""A portfolio traded in words: it does what the broker's law in plain floats does, and tells all there is to tell."""

from typing import Any

import numpy as np
import pytest
from env_markets import by_hand, hostile
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeschool.env.actions import read_text
from tradeschool.env.broker import REFUSALS, Book, settle
from tradeschool.env.data import MarketData
from tradeschool.env.portfolio import Portfolio
from tradeschool.env.tell import tell
from tradeschool.env.trading import TradingEnv

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


def answer(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    """Orders small and large, in stocks known and unknown, now and then one that cannot be read."""
    chosen = [*names, "S9"]
    fractions = ("", "0.01", "0.5", "100%", "1", "1.5", "half")
    words = [f"{rng.choice(['BUY', 'SELL', 'HOLD'])} {name} {rng.choice(fractions)}" for name in chosen]
    return "; ".join(word for word in words if rng.random() < 0.7)


@settings(max_examples=60, deadline=None)
@given(rules=RULES, market=st.sampled_from(MARKETS), draw=st.integers(0, 10_000))
def test_words_trade_and_tell_what_the_law_in_plain_floats_does(rules: Any, market: MarketData, draw: int) -> None:
    env, rng = TradingEnv(market, **rules), np.random.default_rng(draw)
    env.reset(seed=draw)
    book = Book.opened(env.config.cash, env.config.tickers)
    for day in range(1, env.config.days + 1):
        action = answer(rng, env.names)
        wanted, told = read_text(action, env.names)
        events = settle(book, wanted, env.episode.day(day), env.terms)
        text, _, terminated, truncated, info = env.step(action)
        told += [tell(event, wanted, env.names, env.config.delisting_return) for event in events]
        assert info["told"] == tuple(told)
        assert info["refused"] == sum("refused" in said for said in told)
        assert sum(event.kind in REFUSALS for event in events) <= info["refused"]
        assert isinstance(env.portfolio, Portfolio)
        assert env.portfolio.vector(day)[-1] == info["refused"]
        assert (f", {info['refused']} refused" in text.split("\n")[0]) == bool(info["refused"])
        assert info["equity"] == pytest.approx(book.equity, rel=1e-9)
        assert info["fills"] == pytest.approx(tuple(book.fills), rel=1e-9, abs=1e-12)
        if terminated or truncated:
            return
    pytest.fail("the episode does not end")


def test_in_words_the_smallest_fraction_is_an_order() -> None:
    """Numbers near 0 hold; whoever writes 0.0001 means it."""
    env = TradingEnv(by_hand([10.0] * 60, [10.0] * 60), days=2, slippage=0.0, commission=0.0, cash=1000.0)
    env.reset(seed=0)
    assert env.step("BUY 0.0001")[4]["fills"] == pytest.approx((0.01,))


def test_the_vector_of_a_day_is_new_memory() -> None:
    env = TradingEnv(MARKETS[0], tickers=2, days=5)
    text, _ = env.reset(seed=0)
    assert isinstance(env.portfolio, Portfolio)
    env.portfolio.vector(0)[:] = 7.0
    assert env.portfolio.text(0) == text


def test_a_delisting_is_told_on_a_day_without_orders() -> None:
    prices = np.full((60, 2), 10.0)
    prices[53:, 0] = np.nan
    env = TradingEnv(by_hand(prices, prices), tickers=2, days=5, mask=False, volume_share=1.0)
    env.reset(options={"start": 51, "tickers": ["TICK0", "TICK1"]})
    assert env.step("BUY TICK0 0.5")[4]["told"] == ()
    text, _, _, _, info = env.step("HOLD")
    assert info["told"] == ("TICK0 was delisted: closed at 70% of its last close",)
    assert "! TICK0 was delisted" in text
    assert env.step("HOLD")[4]["told"] == ()
