"""Episodes as conversations: every form holds the figures of the observation, and is as short as it promises."""

import re
from typing import Any, get_args

import pytest
from env_markets import hostile
from markets import market

from tradeschool.env.conversation import FACTS, Form, opening, turn
from tradeschool.env.data import MarketData
from tradeschool.env.facts import HOLDING, MARKET
from tradeschool.env.levels import LEVELS
from tradeschool.env.trading import TradingEnv
from tradeschool.tasks.trade_config import TradeConfig

PRACTICE = MarketData(market(tickers=30, days=400))
LONGEST = {
    "Easy": {"text": 4_200, "table": 3_200, "numbers": 1_800},
    "Medium": {"text": 34_000, "table": 18_000, "numbers": 13_500},
    "Hard": {"text": 105_000, "table": 48_000, "numbers": 41_000},
}
"""Characters of a conversation of a whole episode with an order a day; the tokens are in benchmarks/tokens.py."""


def observations(level: str, seed: int) -> list[str]:
    """All texts of an episode whose agent buys a little of everything, so that all lines are long."""
    env = TradingEnv(PRACTICE, **LEVELS[level])
    text, _ = env.reset(seed=seed)
    found = []
    for day in range(env.config.days):
        found.append(text)
        orders = [f"BUY {name} {1 / len(env.names):.2f}" for name in env.names] if day == 0 else []
        text = env.step("\n".join(orders) or f"BUY {env.names[day % len(env.names)]} 0.1")[0]
    return found


@pytest.mark.parametrize("form", get_args(Form))
@pytest.mark.parametrize("level", LEVELS)
def test_a_whole_episode_keeps_to_its_budget(level: str, form: Form) -> None:
    answer = "BUY S12 0.25"
    config = TradingEnv(PRACTICE, **LEVELS[level]).config
    for seed in range(3):
        days = [turn(text, form) for text in observations(level, seed)]
        length = len(opening(config, form)) + sum(len(day) + len(answer) for day in days)
        assert length <= LONGEST[level][form]
        # A budget that nothing comes near to would not be noticed when a form grows.
        assert length > 0.6 * LONGEST[level][form]


@pytest.mark.parametrize("form", get_args(Form))
def test_every_form_has_the_figures_of_the_observation_in_their_order(form: Form) -> None:
    for text in observations("Medium", 1):
        said = turn(text, form).split("\n")[-10:]
        for line, full in zip(said, text.split("\n")[-10:], strict=True):
            words = [word.partition("(")[0] for word in full.split()[1:]]
            if form == "text":
                labels = "|".join(sorted((fact.label.rstrip("%") for fact in (*MARKET[1:], *HOLDING)), key=len)[::-1])
                words = [word for word in words if word != "-"]
                found = re.findall(rf"(?:{labels}) (-?\d+(?:\.\d+)?)", line)
            else:
                found = [word.partition("(")[0] for word in line.split()[1:]]
                found = [word for word in found if word != "-" or form == "table"]
            assert found[: len(words)] == words
            assert line.split()[0] == full.split()[0]


def test_labels_stand_before_every_figure_or_once_in_the_opening() -> None:
    config = TradingEnv(PRACTICE, tickers=3).config
    heading = "stock 1d% 5d% RSI MACD% SMA50% band% vol% volume held% gain%"
    assert opening(config, "table").endswith("\n" + heading)
    assert heading not in opening(config, "text") + opening(config, "numbers")
    seen = f"day 2 of 20, cash 60%, equity 98.7% of the start\n{heading}\nS1 -1.3 3 25(oversold) 0.20 -5 62 1.3 - 40 -3"
    assert turn(seen, "table") == ("day 2 of 20, cash 60%, equity 98.7%\nS1 -1.3 3 25(oversold) 0.20 -5 62 1.3 - 40 -3")
    assert turn(seen, "text").split("\n")[1] == (
        "S1 1d -1.3% 5d 3% RSI 25 (oversold) MACD 0.20% SMA50 -5% band 62% vol 1.3% volume - held 40% gain -3%"
    )
    assert turn(seen, "numbers") == "2 20 60 98.7 0\nS1 -1.3 3 25 0.20 -5 62 1.3 - 40 -3"
    refused = seen.replace("of the start", "of the start, 3 refused").replace("2 of 20, cash 60%", "2 of 20, cash -60%")
    assert turn(refused, "numbers").split("\n")[0] == "2 20 -60 98.7 3"
    few = ["rsi_14", "macd_hist"]
    assert turn(seen, "text", few).split("\n")[1] == "S1 RSI 25 (oversold) MACD 0.20% held 40% gain -3%"
    assert turn(seen, "table", few).split("\n")[1] == "S1 25(oversold) 0.20 40 -3"
    assert opening(config, "table", few).endswith("\nstock RSI MACD% held% gain%")


def test_a_stock_that_is_not_traded_is_said_to_be() -> None:
    seen = "day 2 of 20, cash 60%, equity 98.7% of the start\n"
    seen += "stock 1d% 5d% RSI MACD% SMA50% band% vol% volume held% gain%\nS1 not traded 40 -3\nS2 not traded"
    assert turn(seen, "text").split("\n")[1:] == ["S1 not traded held 40% gain -3%", "S2 not traded"]
    assert turn(seen, "table").split("\n")[1:] == ["S1 not traded 40 -3", "S2 not traded"]
    assert turn(seen, "numbers").split("\n")[1:] == [
        "S1" + " -" * len(FACTS) + " 40 -3",
        "S2" + " -" * len(FACTS) + " 0 0",
    ]


@pytest.mark.parametrize("form", ["text", "table"])
def test_what_the_broker_told_is_passed_on(form: Form) -> None:
    env = TradingEnv(hostile(0), tickers=3)
    env.reset(seed=0)
    text = env.step("SELL S1; buy the dip")[0]
    assert [line for line in turn(text, form).split("\n") if line[0] == "!"] == [
        line for line in text.split("\n") if line[0] == "!"
    ]
    assert "2 refused" in turn(text, form)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tickers": 1, "days": 20}, ("one stock for 20 days", "BUY FRACTION")),
        ({"tickers": 5, "days": 30}, ("5 stocks for 30 days", "BUY STOCK FRACTION", "SELL STOCK FRACTION")),
        ({"tickers": 5, "days": 30, "short": True}, ("opens a short",)),
    ],
)
def test_the_rules_are_those_of_the_episode(settings: dict[str, Any], words: tuple[str, ...]) -> None:
    said = opening(TradingEnv(PRACTICE, **settings).config)
    assert all(word in said for word in words)
    assert ("short" in said) == bool(settings.get("short"))


def test_a_figure_that_there_is_not_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match="has 'rsi', but facts are change_1.*Did you mean 'rsi_14'"):
        TradeConfig(facts=["rsi"])
