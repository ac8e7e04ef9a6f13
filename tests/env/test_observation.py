"""Text and numbers say the same, up to rounding; the text is as short as it promises."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from env_markets import hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market

from tradeschool.env import facts, kernel
from tradeschool.env.data import MarketData
from tradeschool.env.facts import ACCOUNT, HOLDING, MARKET, PER_STOCK, UNKNOWN, G, M
from tradeschool.env.observation import (
    HEADING,
    account_figures,
    holding_figures,
    holding_words,
    market_words,
    read,
    say,
)
from tradeschool.env.trading import TradingEnv
from tradeschool.errors import ParseError

DECIMALS = {fact.name: fact.decimals for fact in (*MARKET, *HOLDING, *ACCOUNT)}
LONGEST_EPISODE = 48_000
"""Characters of all observations of a Hard episode. Figures are one to two characters a token: benchmarks/tokens.py."""


def half_a_place(stocks: int) -> np.ndarray:
    """By how much each column may differ once it was rounded."""
    return np.array([0.5 * 10.0 ** -DECIMALS[name.partition(":")[2] or name] for name in facts.names(stocks)])


def vectors(stocks: int) -> st.SearchStrategy[np.ndarray]:
    """Vectors within the bounds, some figures unknown, some stocks not traded."""

    def built(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        low, high = (bound.astype(float) for bound in facts.bounds(stocks))
        scale = rng.choice([1.0, 0.01, 1e-4], low.shape)
        vector = np.clip(rng.uniform(low, high) * scale, np.maximum(low, -99), high)
        for n in range(stocks):
            stock = vector[n * PER_STOCK : (n + 1) * PER_STOCK]
            stock[0] = rng.random() < 0.8
            unknown = rng.random(M - 1) < (0.2 if stock[0] else 2.0)
            stock[1:M][unknown] = UNKNOWN
            if rng.random() < 0.5:
                stock[M:] = 0.0
        vector[-G + 2 :] = np.floor(vector[-G + 2 :])
        vector[-2] = rng.integers(0, 40)
        return vector.astype(np.float32)

    return st.integers(0, 1 << 30).map(built)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), stocks=st.integers(1, 4))
def test_numbers_come_back_from_the_text_up_to_rounding(data: st.DataObject, stocks: int) -> None:
    vector = data.draw(vectors(stocks))
    names = [f"S{n}" for n in range(stocks)]
    text = say(vector, names, 40, "2020-01-02", ["an order was refused"])
    again, found = read(text)
    assert found == names
    assert (np.abs(again.astype(float) - vector) <= half_a_place(stocks) * (1 + 1e-6) + 1e-6 * np.abs(vector)).all()
    assert ((again == UNKNOWN) == (vector == UNKNOWN)).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), stocks=st.integers(1, 5), short=st.booleans())
def test_in_any_episode_text_is_computed_from_numbers_and_numbers_from_text(
    seed: int, stocks: int, short: bool
) -> None:
    data = MarketData(hostile(seed % 6))
    rules: dict[str, Any] = {"tickers": stocks, "days": 25, "short": short, "leverage": 3.0 if short else 1.0}
    numeric = TradingEnv(data, observation="numeric", **rules)
    text = TradingEnv(data, observation="text", **rules)
    rng = np.random.default_rng(seed)
    vector, _ = numeric.reset(seed=seed)
    said, _ = text.reset(seed=seed)
    allowed = half_a_place(stocks)
    while True:
        again, names = read(said)
        assert (np.abs(again.astype(float) - vector) <= allowed + 1e-5 * np.abs(vector) + 1e-5).all()
        lines = [line for line in said.split("\n") if not line.startswith("!")]
        assert lines == say(vector, names, 25).split("\n")
        if numeric._over:
            break
        sides = rng.integers(0, 2, stocks)
        fractions = rng.integers(2, 32, stocks) / 32
        vector = numeric.step(np.where(sides, fractions, -fractions))[0]
        orders = [
            f"{'BUY' if side else 'SELL'} {name} {f}" for side, name, f in zip(sides, names, fractions, strict=True)
        ]
        said = text.step("\n".join(orders))[0]
    assert text._over


def test_the_account_and_holdings_by_hand() -> None:
    assert account_figures(25.0, 50.0, 100.0, 7, 2) == [50.0, 50.0, 7, 2]
    assert account_figures(5.0, 0.0, 100.0, 7, 2000) == [0.0, 0.0, 7, 999.0]
    assert account_figures(-30.0, -10.0, 100.0, 0, 0) == [0.0, 0.0, 0, 0]
    assert holding_figures(0.0, 0.0, 5.0, 100.0) == (0.0, 0.0)
    assert holding_figures(4.0, 16.0, 5.0, 100.0) == (20.0, 25.0)
    assert holding_figures(-4.0, 16.0, 5.0, 100.0) == (-20.0, -25.0)
    assert holding_figures(4.0, 1e-6, 5.0, -1.0) == (0.0, facts.FARTHEST)


@pytest.mark.parametrize(
    ("shares", "basis", "cash", "equity"),
    [
        (4.0, 300.0, 100.0, 500.0),
        (-4.0, 300.0, 900.0, 500.0),
        (4e6, 3e8, -3e8, 1.0),  # a share, a cash share and their bounds
        (-4e6, 3e8, 3e8, 1.0),
        (4e6, 1e-3, -3e8, 5e6),  # a gain and its bounds
        (-4e6, 1e-3, 3e8, 5e6),
        (4.0, 300.0, 1e12, 1e12),  # the richest
        (4.0, 300.0, -500.0, -100.0),
        (4.0, 300.0, -400.0, 0.0),
        (0.0, 0.0, 0.0, 500.0),
    ],
)
def test_the_law_says_the_account_and_holdings_within_the_same_bounds(
    shares: float, basis: float, cash: float, equity: float
) -> None:
    env = TradingEnv(MarketData(market(days=200)), tickers=1, days=7, observation="numeric")
    env.reset(seed=0)
    held = env.portfolio
    close = float(env.data.close_TN[env.episode.start, env.episode.columns[0]])
    held._stocks_BN3[0, 0, kernel.SHARES], held._stocks_BN3[0, 0, kernel.BASIS] = shares, basis
    held._accounts_8B[kernel.CASH], held._accounts_8B[kernel.EQUITY] = cash, equity
    held._accounts_8B[kernel.REFUSED] = 2000
    held._clocks_B3[0, kernel.TRADES] = 0
    said = held._run()[M:]
    due = [*holding_figures(shares, basis, close, equity), *account_figures(cash, equity, env.config.cash, 7, 2000)]
    np.testing.assert_allclose(said, np.array(due, np.float32), rtol=1e-6)


def test_a_line_says_what_stands_in_the_heading() -> None:
    known = [1.0, -1.25, 3.0, 28.4, -0.123, 4.6, 50.0, 1.0, 0.95]
    assert market_words(known) == "-1.2 3 28(oversold) -0.12 5 50 1.0 0.9"
    assert market_words([1.0, *[UNKNOWN] * 8]) == "- - - - - - - -"
    assert market_words([1.0, 0, 0, 71.0, -0.001, -0.3, 0, 0, 0]) == "0.0 0 71(overbought) 0.00 0 0 0.0 0.0"
    for rsi in (30.0, 70.0):
        assert market_words([1.0, 0, 0, rsi, 0, 0, 0, 0, 0]) == f"0.0 0 {rsi:.0f} 0.00 0 0 0.0 0.0"
    assert market_words([0.0, *[UNKNOWN] * 8]) == "not traded"
    assert HEADING == "stock 1d% 5d% RSI MACD% SMA50% band% vol% volume held% gain%"


FIGURES = st.floats(-99, 999, width=32) | st.floats(-0.5, 0.5, width=32) | st.just(UNKNOWN)


@given(st.lists(FIGURES, min_size=8, max_size=8))
def test_every_figure_stands_at_its_decimals(figures: list[float]) -> None:
    words = re.sub(r"\(\w+\)", "", market_words([1.0, *figures])).split(" ")
    for fact, figure, word in zip(MARKET[1:], figures, words, strict=True):
        said = f"{figure:.{fact.decimals}f}"
        zero = float(said) == 0
        assert word == ("-" if figure == UNKNOWN else said.lstrip("-") if zero else said)


def test_a_holding_is_said_where_there_is_one() -> None:
    assert holding_words(0.0, 0.0) == ""
    assert holding_words(12.3, -0.2) == " 12 0"
    # What is worth nothing against the equity is held all the same.
    assert holding_words(0.0, -12.0) == " 0 -12"
    assert holding_words(-3.0, 0.0) == " -3 0"


def test_the_text_of_a_small_portfolio() -> None:
    vector = np.array([1, -1.3, 3, 45, 0.2, -5, 62, 1.3, 0.9, 40, -3.2, *[0], *[UNKNOWN] * 8, 0, 0, 60, 98.7, 18, 1])
    text = say(vector.astype(np.float32), ["S1", "S2"], 20, told=["SELL S2 refused, there was no position to sell"])
    assert text == (
        "day 2 of 20, cash 60%, equity 98.7% of the start, 1 refused\n"
        "! SELL S2 refused, there was no position to sell\n"
        "stock 1d% 5d% RSI MACD% SMA50% band% vol% volume held% gain%\n"
        "S1 -1.3 3 45 0.20 -5 62 1.3 0.9 40 -3\n"
        "S2 not traded"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        f"day 2 of 20, cash 60%, equity 98.7% of the start\n{HEADING}\nS1 1 2 3",
        f"day 2 of 20, cash 60%, equity 98.7% of the start\n{HEADING}\nS1 a 1 1 1 1 1 1 1",
        f"day 2 of 20, cash 60%, equity 98.7% of the start\n{HEADING}\nS1 1 1 1 1 1 1 1 1 5",
        "day 2 of 20, cash 60%, equity 98.7% of the start\nS1 1 1 1 1 1 1 1 1",
    ],
)
def test_what_is_no_observation_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        read(text)


def test_a_hard_episode_fits_its_budget() -> None:
    data = MarketData(market(tickers=30, days=400))
    env = TradingEnv(data, tickers=25, days=40)
    rng = np.random.default_rng(0)
    for seed in range(5):
        text, _ = env.reset(seed=seed)
        length = 0
        for day in range(40):
            length += len(text)
            assert text in env.observation_space
            # All stocks held throughout, which makes the longest lines.
            orders = [f"BUY S{n} 0.04" for n in range(1, 26)] if day == 0 else ["HOLD"]
            if day and rng.random() < 0.5:
                orders = [f"SELL S{n} 0.1" for n in rng.permutation(25)[:3] + 1]
            text = env.step("\n".join(orders))[0]
        assert length <= LONGEST_EPISODE


def test_a_thousand_faults_do_not_fill_the_next_observation() -> None:
    env = TradingEnv(hostile(0), tickers=2, days=5)
    env.reset(seed=0)
    text, _, _, _, info = env.step("nonsense\n" * 1000)
    assert info["refused"] == len(info["told"]) == 1000
    assert text.count("! ") == 9
    assert "! and 992 more" in text
    assert ", 999 refused" in text
    assert text in env.observation_space


def test_the_longest_observation_lies_within_its_space() -> None:
    panel = market(tickers=25, days=200)
    names = tuple(f"Æ{n:02d}.LONG" for n in range(25))
    data = MarketData(dataclasses.replace(panel, tickers=names))
    for masked in (True, False):
        env = TradingEnv(data, tickers=25, days=5, mask=masked)
        env.reset(seed=0)
        env.step("\n".join(f"BUY {name} 0.04" for name in env.names))
        text, _, _, _, info = env.step("\n".join(f"{name} {'?' * 60} 0.04" for name in env.names))
        assert info["refused"] == 25
        assert text in env.observation_space
        assert ("Æ" in text) is not masked


def test_observations_lie_within_their_space() -> None:
    for seed in range(6):
        env = TradingEnv(hostile(seed), tickers=5, days=40, observation="numeric", short=True, leverage=10.0, ruin=0.0)
        rng = np.random.default_rng(seed)
        vector, _ = env.reset(seed=seed)
        while True:
            assert vector in env.observation_space
            if env._over:
                break
            vector = env.step(rng.uniform(-1, 1, 5))[0]
