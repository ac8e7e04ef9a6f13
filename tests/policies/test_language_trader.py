"""A language model on episodes: what it is told, and what its conversations hold afterwards."""

from typing import Any

import pytest
import tiny_models

from tradeschool.env.conversation import opening, turn
from tradeschool.env.harness import play
from tradeschool.env.trading import TradingEnv
from tradeschool.policies.language_trader import LanguageTrader


def trader(positions: int = 2048, **options: Any) -> LanguageTrader:
    tokenizer = tiny_models.tokenizer()
    tokens = {"eos_token_id": tokenizer.eos_token_id, "max_position_embeddings": positions}
    model = tiny_models.model(vocabulary=len(tokenizer), **tokens)
    return LanguageTrader(model, tokenizer, name="tiny", max_new_tokens=4, **options)


@pytest.mark.parametrize("form", ["text", "table", "numbers"])
def test_a_conversation_holds_what_was_told_and_answered(form: Any) -> None:
    facts = ("rsi_14", "macd_hist")
    agent, env = trader(form=form, facts=facts), TradingEnv(days=3)
    play(agent, env, 2, seed=5)
    assert sorted(agent.conversations) == [5, 6]
    for seed, messages in agent.conversations.items():
        assert [message["role"] for message in messages] == ["system"] + ["user", "assistant"] * 3
        assert messages[0]["content"] == opening(env.config, form, facts)
        observation, _ = env.reset(seed=seed)
        for told, said in zip(messages[1::2], messages[2::2], strict=True):
            assert told["content"] == turn(observation, form, facts)
            observation = env.step(said["content"])[0]


def test_a_conversation_without_room_says_so_by_ending() -> None:
    agent = trader(positions=400)
    (record,) = play(agent, TradingEnv(days=20), 1)
    messages = agent.conversations[0]
    assert messages[-1]["role"] == "assistant"
    assert len(messages) < 1 + 2 * 20
    # The days after it are refused answers.
    assert record.refused >= 20 - len(messages) // 2


def test_without_sampling_episodes_are_reproducible_and_no_others_matter() -> None:
    alone, among = trader(), trader()
    play(alone, TradingEnv(days=3), 1, seed=7)
    play(among, TradingEnv(days=3), 3, seed=6, batch=2)
    assert alone.conversations[7] == among.conversations[7]
