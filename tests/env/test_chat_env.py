"""The trading environment as a conversation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from env_markets import by_hand, hostile

from tradeschool.env.market_data import MarketData
from tradeschool.env.render import day_message, system_message
from tradeschool.env.trading_env import SEEDS_APART, TradingChatEnv, TradingEnv
from tradeschool.text.parse import Order

DATA = MarketData(hostile(0))


@dataclass(frozen=True)
class Question:
    t: int = 0
    variant: int = 0
    payload: Any = None


def chat_of(**settings: Any) -> TradingChatEnv:
    return TradingChatEnv(TradingEnv(DATA, **{"tickers": 2, "days": 5, **settings}), "table", ["rsi_14"])


@pytest.mark.parametrize(
    ("question", "seed", "options"),
    [
        (Question(60), 60, {"start": 60}),
        (Question(60, 2), 2 * SEEDS_APART + 60, {"start": 60}),
        (Question(payload={"seed": 3}), 3, None),
        (Question(payload={"seed": 3, "start": 61}), 3, {"start": 61}),
    ],
)
def test_an_example_decides_the_episode(question: Question, seed: int, options: Any) -> None:
    chat, env = chat_of(), TradingEnv(DATA, tickers=2, days=5)
    env.reset(seed=seed, options=options)
    assert chat.reset(question) == [
        {"role": "system", "content": system_message(env.config, "table", ["rsi_14"])},
        {"role": "user", "content": day_message(env.observed, "table", ["rsi_14"])},
    ]
    assert (chat.env.episode.start, chat.env.episode.tickers) == (env.episode.start, env.episode.tickers)


def test_a_step_is_a_day_of_the_environment() -> None:
    chat, env = chat_of(), TradingEnv(DATA, tickers=2, days=5)
    chat.reset(Question(60))
    env.reset(seed=60, options={"start": 60})
    assert [message["role"] for message in chat.reset(Question(60))] == ["system", "user"]
    held = 0
    for day, answer in enumerate(["BUY S1 0.5", "<think>a</think>SELL S1 0.1; SELL S2", "BUY GME", "", "HOLD"], 1):
        result = chat.step(answer)
        _, reward, _, truncated, info = env.step(answer)
        assert result.rewards == {"return": reward}
        assert (result.info["refused"], result.info["state"]) == (info["refused"], held)
        assert result.done == truncated == (day == 5)
        day_text = day_message(env.observed, "table", ["rsi_14"])
        assert result.messages == ([] if result.done else [{"role": "user", "content": day_text}])
        held = sum(shares != 0 for shares in env.account.shares)
    assert chat.refused == [0, 1, 1, 1, 0]
    assert "stop" not in result.info
    chat.reset(Question(60))
    assert chat.refused == []


def test_orders_are_read_once_and_faults_named() -> None:
    chat = chat_of()
    chat.reset(Question(60))
    result = chat.step("BUY S1 0.5")
    assert (result.info["action"], result.info["error"]) == ([Order("BUY", "S1", 0.5)], None)
    result = chat.step("BUY S1 0.5; BUY GME")
    assert result.info["action"] is None
    assert "GME" in result.info["error"]


def test_a_bankruptcy_ends_the_conversation() -> None:
    prices = [*[10.0] * 61, *[0.5] * 9]
    env = TradingEnv(MarketData(by_hand(prices, prices)), days=6)
    chat = TradingChatEnv(env)
    chat.reset(Question(58))
    results = [chat.step("BUY 1"), chat.step("HOLD"), chat.step("HOLD")]
    assert [result.done for result in results] == [False, False, True]
    assert results[-1].info["stop"] == "bankrupt"
    assert results[-1].messages == []
    assert np.isfinite(results[-1].rewards["return"])
