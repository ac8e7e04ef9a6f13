"""Observations in words: every form has the same figures, up to rounding, and is as short as it promises."""

import dataclasses
import re
from typing import Any, get_args

import numpy as np
import pytest
from env_markets import hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market
from observation_reader import read
from plain_settlement import account_figures, holding_figures

from tradeschool.env import features, vector_kernel
from tradeschool.env.config import LEVELS, env_config
from tradeschool.env.features import ACCOUNT, HOLDING, MARKET, PER_STOCK, UNKNOWN, G, M
from tradeschool.env.market_data import MarketData
from tradeschool.env.render import (
    FACTS,
    HEADING,
    Form,
    Observation,
    day_message,
    holding_words,
    market_words,
    observation_text,
    system_message,
)
from tradeschool.env.trading_env import TradingEnv
from tradeschool.tasks.trade_config import TradeConfig

DECIMALS = {fact.name: fact.decimals for fact in (*MARKET, *HOLDING, *ACCOUNT)}
LONGEST_EPISODE = 48_000
"""Characters of all observations of a Hard episode. Figures are one to two characters a token: benchmarks/tokens.py."""


def half_a_place(stocks: int) -> np.ndarray:
    """By how much each column may differ once it was rounded."""
    return np.array([0.5 * 10.0 ** -DECIMALS[name.partition(":")[2] or name] for name in features.names(stocks)])


def vectors(stocks: int) -> st.SearchStrategy[np.ndarray]:
    """Vectors within the bounds, some figures unknown, some stocks not traded."""

    space: Any = features.observation_space(env_config(tickers=stocks, observation="numeric"), ())

    def built(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        low, high = space.low.astype(float), space.high.astype(float)
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
def test_the_text_has_the_numbers_up_to_rounding(data: st.DataObject, stocks: int) -> None:
    vector = data.draw(vectors(stocks))
    names = [f"S{n}" for n in range(stocks)]
    observation = Observation(names, vector.tolist(), 40, "2020-01-02", ["an order was refused"])
    text = observation_text(observation)
    again, found = read(text)
    assert found == names
    assert (np.abs(again.astype(float) - vector) <= half_a_place(stocks) * (1 + 1e-6) + 1e-6 * np.abs(vector)).all()
    assert ((again == UNKNOWN) == (vector == UNKNOWN)).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), stocks=st.integers(1, 5), short=st.booleans())
def test_text_and_numbers_agree_in_any_episode(seed: int, stocks: int, short: bool) -> None:
    data = MarketData(hostile(seed % 6))
    rules: dict[str, Any] = {"tickers": stocks, "days": 25, "short": short, "leverage": 3.0 if short else 1.0}
    numeric = TradingEnv(data, observation="numeric", **rules)
    text = TradingEnv(data, observation="text", **rules)
    rng = np.random.default_rng(seed)
    vector, _ = numeric.reset(seed=seed)
    shown, _ = text.reset(seed=seed)
    allowed = half_a_place(stocks)
    while True:
        again, names = read(shown)
        assert (np.abs(again.astype(float) - vector) <= allowed + 1e-5 * np.abs(vector) + 1e-5).all()
        lines = [line for line in shown.split("\n") if not line.startswith("!")]
        assert lines == observation_text(Observation(names, vector.tolist(), 25)).split("\n")
        if numeric._over:
            break
        sides = rng.integers(0, 2, stocks)
        fractions = rng.integers(2, 32, stocks) / 32
        vector = numeric.step(np.where(sides, fractions, -fractions))[0]
        orders = [
            f"{'BUY' if side else 'SELL'} {name} {f}" for side, name, f in zip(sides, names, fractions, strict=True)
        ]
        shown = text.step("\n".join(orders))[0]
    assert text._over


def test_the_account_and_holdings_by_hand() -> None:
    assert account_figures(25.0, 50.0, 100.0, 7, 2) == [50.0, 50.0, 7, 2]
    assert account_figures(5.0, 0.0, 100.0, 7, 2000) == [0.0, 0.0, 7, 999.0]
    assert account_figures(-30.0, -10.0, 100.0, 0, 0) == [0.0, 0.0, 0, 0]
    assert holding_figures(0.0, 0.0, 5.0, 100.0) == (0.0, 0.0)
    assert holding_figures(4.0, 16.0, 5.0, 100.0) == (20.0, 25.0)
    assert holding_figures(-4.0, 16.0, 5.0, 100.0) == (-20.0, -25.0)
    assert holding_figures(4.0, 1e-6, 5.0, -1.0) == (0.0, features.MAX_PERCENT)


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
def test_the_kernel_keeps_the_account_and_holdings_within_the_same_bounds(
    shares: float, basis: float, cash: float, equity: float
) -> None:
    env = TradingEnv(MarketData(market(days=200)), tickers=1, days=7, observation="numeric")
    env.reset(seed=0)
    account = env.account
    close = float(env.data.close_TN[env.episode.start, env.episode.columns[0]])
    _, clocks_B3, _, _, _, stocks_BN3, accounts_8B, _ = account._arguments
    stocks_BN3[0, 0, vector_kernel.SHARES], stocks_BN3[0, 0, vector_kernel.BASIS] = shares, basis
    accounts_8B[vector_kernel.CASH], accounts_8B[vector_kernel.EQUITY] = cash, equity
    accounts_8B[vector_kernel.REFUSED] = 2000
    clocks_B3[0, vector_kernel.TRADES] = 0
    vector_kernel.settle_days(*account._arguments)
    seen = account.vector()[M:]
    due = [*holding_figures(shares, basis, close, equity), *account_figures(cash, equity, env.config.cash, 7, 2000)]
    np.testing.assert_allclose(seen, np.array(due, np.float32), rtol=1e-6)


def test_a_line_has_what_the_heading_names() -> None:
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
def test_every_figure_has_its_decimals(figures: list[float]) -> None:
    words = re.sub(r"\(\w+\)", "", market_words([1.0, *figures])).split(" ")
    for fact, figure, word in zip(MARKET[1:], figures, words, strict=True):
        shown = f"{figure:.{fact.decimals}f}"
        zero = float(shown) == 0
        assert word == ("-" if figure == UNKNOWN else shown.lstrip("-") if zero else shown)


def test_only_a_holding_has_figures_of_a_holding() -> None:
    assert holding_words(0.0, 0.0) == []
    assert holding_words(12.3, -0.2) == ["12", "0"]
    # A holding that is worth almost nothing is still held.
    assert holding_words(0.0, -12.0) == ["0", "-12"]
    assert holding_words(-3.0, 0.0) == ["-3", "0"]


def test_the_text_of_a_small_portfolio() -> None:
    vector = np.array([1, -1.3, 3, 45, 0.2, -5, 62, 1.3, 0.9, 40, -3.2, *[0], *[UNKNOWN] * 8, 0, 0, 60, 98.7, 18, 1])
    messages = ["SELL S2 refused, there was no position to sell"]
    figures = vector.astype(np.float32).tolist()
    assert observation_text(Observation(["S1", "S2"], figures, 20, messages=messages)) == (
        "day 2 of 20, cash 60%, equity 98.7% of the start, 1 refused\n"
        "! SELL S2 refused, there was no position to sell\n"
        "stock 1d% 5d% RSI MACD% SMA50% band% vol% volume held% gain%\n"
        "S1 -1.3 3 45 0.20 -5 62 1.3 0.9 40 -3\n"
        "S2 not traded"
    )


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
    assert info["refused"] == len(info["messages"]) == 1000
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


# As a conversation

SYNTHETIC = MarketData(market(tickers=30, days=400))
LONGEST = {
    "Easy": {"text": 4_200, "table": 3_200, "numbers": 1_800},
    "Medium": {"text": 34_000, "table": 18_000, "numbers": 13_500},
    "Hard": {"text": 105_000, "table": 48_000, "numbers": 41_000},
}
"""Characters of a conversation of a whole episode with an order a day; the tokens are in benchmarks/tokens.py."""


def observations(level: str, seed: int) -> list[tuple[str, Observation]]:
    """All of an episode whose agent buys a little of everything, so that all lines are long."""
    env = TradingEnv(SYNTHETIC, **LEVELS[level])
    text, _ = env.reset(seed=seed)
    found = []
    for day in range(env.config.days):
        found.append((text, env.observed))
        orders = [f"BUY {name} {1 / len(env.names):.2f}" for name in env.names] if day == 0 else []
        text = env.step("\n".join(orders) or f"BUY {env.names[day % len(env.names)]} 0.1")[0]
    return found


@pytest.mark.parametrize("form", get_args(Form))
@pytest.mark.parametrize("level", LEVELS)
def test_a_whole_episode_keeps_to_its_budget(level: str, form: Form) -> None:
    answer = "BUY S12 0.25"
    config = TradingEnv(SYNTHETIC, **LEVELS[level]).config
    for seed in range(3):
        days = [day_message(seen, form) for _, seen in observations(level, seed)]
        length = len(system_message(config, form)) + sum(len(day) + len(answer) for day in days)
        assert length <= LONGEST[level][form]
        # A budget far above the length would not show that a form has grown.
        assert length > 0.6 * LONGEST[level][form]


@pytest.mark.parametrize("form", get_args(Form))
def test_every_form_has_the_figures_of_the_observation_in_their_order(form: Form) -> None:
    for text, seen in observations("Medium", 1):
        message = day_message(seen, form).split("\n")[-10:]
        for line, full in zip(message, text.split("\n")[-10:], strict=True):
            words = [word.partition("(")[0] for word in full.split()[1:]]
            if form == "text":
                labels = "|".join(sorted((fact.label.rstrip("%") for fact in (*MARKET[1:], *HOLDING)), key=len)[::-1])
                words = [word for word in words if word != "-"]
                found = re.findall(rf"(?:{labels}) (-?\d+(?:\.\d+)?)", line)
            else:
                found = [word.partition("(")[0] for word in line.split()[1:]]
            assert found[: len(words)] == words
            assert line.split()[0] == full.split()[0]


def seen_on(day: int, account: tuple[float, float, float], *stocks: list[float]) -> Observation:
    """Day ``day`` of 20 with cash, equity and refused orders, and the figures of the stocks."""
    cash, equity, refused = account
    figures = [figure for stock in stocks for figure in stock] + [cash, equity, 20.0 - day, refused]
    return Observation([f"S{n + 1}" for n in range(len(stocks))], figures, 20)


def test_labels_come_before_every_figure_or_once_in_the_first_message() -> None:
    config = TradingEnv(SYNTHETIC, tickers=3).config
    heading = "stock 1d% 5d% RSI MACD% SMA50% band% vol% volume held% gain%"
    assert system_message(config, "table").endswith("\n" + heading)
    assert heading not in system_message(config, "text") + system_message(config, "numbers")
    stock = [1, -1.3, 3, 25, 0.2, -5, 62, 1.3, UNKNOWN, 40, -3.2]
    seen = seen_on(2, (60, 98.7, 0), stock)
    line = "S1 -1.3 3 25(oversold) 0.20 -5 62 1.3 - 40 -3"
    assert observation_text(seen).split("\n")[-1] == line
    assert day_message(seen, "table") == f"day 2 of 20, cash 60%, equity 98.7%\n{line}"
    assert day_message(seen, "text").split("\n")[1] == (
        "S1 1d -1.3% 5d 3% RSI 25 (oversold) MACD 0.20% SMA50 -5% band 62% vol 1.3% volume - held 40% gain -3%"
    )
    assert day_message(seen, "numbers") == "2 20 60 98.7 0\nS1 -1.3 3 25 0.20 -5 62 1.3 - 40 -3"
    assert day_message(seen_on(2, (-60, 98.7, 3), stock), "numbers").split("\n")[0] == "2 20 -60 98.7 3"
    few = ["rsi_14", "macd_hist"]
    assert day_message(seen, "text", few).split("\n")[1] == "S1 RSI 25 (oversold) MACD 0.20% held 40% gain -3%"
    assert day_message(seen, "table", few).split("\n")[1] == "S1 25(oversold) 0.20 40 -3"
    assert system_message(config, "table", few).endswith("\nstock RSI MACD% held% gain%")


def test_a_stock_without_a_bar_is_not_traded() -> None:
    silent = [0.0, *[UNKNOWN] * 8]
    seen = seen_on(2, (60, 98.7, 0), [*silent, 40, -3], [*silent, 0, 0])
    assert day_message(seen, "text").split("\n")[1:] == ["S1 not traded held 40% gain -3%", "S2 not traded"]
    assert day_message(seen, "table").split("\n")[1:] == ["S1 not traded 40 -3", "S2 not traded"]
    dashes = " -" * len(FACTS)
    assert day_message(seen, "numbers").split("\n")[1:] == [f"S1{dashes} 40 -3", f"S2{dashes} 0 0"]


@pytest.mark.parametrize("form", ["text", "table"])
def test_messages_about_orders_are_in_the_day_s_message(form: Form) -> None:
    env = TradingEnv(hostile(0), tickers=3)
    env.reset(seed=0)
    text = env.step("SELL S1; buy the dip")[0]
    message = day_message(env.observed, form)
    lines = [line for line in message.split("\n") if line[0] == "!"]
    assert (
        lines == [line for line in text.split("\n") if line[0] == "!"] == [f"! {one}" for one in env.account.messages]
    )
    assert "2 refused" in message


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"tickers": 1, "days": 20}, ("one stock for 20 days", "BUY FRACTION")),
        ({"tickers": 5, "days": 30}, ("5 stocks for 30 days", "BUY STOCK FRACTION", "SELL STOCK FRACTION")),
        ({"tickers": 5, "days": 30, "short": True}, ("FRACTION of the cash", "opens a short")),
        ({"tickers": 5, "days": 30, "leverage": 2.5}, ("FRACTION of the buying power (2.5 times the equity, less",)),
    ],
)
def test_the_first_message_has_the_rules_of_the_episode(rules: dict[str, Any], words: tuple[str, ...]) -> None:
    message = system_message(TradingEnv(SYNTHETIC, **rules).config)
    assert all(word in message for word in words)
    assert ("short" in message) == bool(rules.get("short"))


def test_an_unknown_fact_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match="has 'rsi', but facts are change_1.*Did you mean 'rsi_14'"):
        TradeConfig(facts=["rsi"])
