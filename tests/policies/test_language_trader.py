"""A language model on episodes: what it is told, and what its conversations hold afterwards."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch

from tradeschool.env.conversation import opening, turn
from tradeschool.env.harness import play
from tradeschool.env.trading import TradingEnv
from tradeschool.models.dialogue import Dialogue
from tradeschool.models.load import ModelConfig, load
from tradeschool.models.tiny import CHAT_TEMPLATE
from tradeschool.models.turns import Turns
from tradeschool.policies.language_trader import LanguageTrader, Reading


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
    assert agent.readings[0].out_of_room
    assert agent.readings[0].answers == len(messages) // 2 < 20
    assert agent.figures["out_of_room"] == 1


def test_with_room_nothing_is_cut_and_what_cannot_be_read_is_counted() -> None:
    agent = trader()
    play(agent, TradingEnv(days=3), 2, seed=5)
    # Random weights say nothing that is an order.
    assert agent.readings == {seed: Reading(answers=3, unread=3) for seed in (5, 6)}
    assert agent.figures == {"unread": 1.0, "out_of_room": 0.0}


def test_only_the_episodes_own_stocks_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    env = TradingEnv(days=3, mask=False, tickers=2)
    env.reset(seed=0)
    other = next(ticker for ticker in env.data.panel.tickers if ticker not in env.names)
    said = iter([f"BUY {env.names[0]} 0.5", f"BUY {other} 0.5", ""])
    monkeypatch.setattr(Dialogue, "answer", lambda self, live=None: [next(said)])
    agent = trader()
    play(agent, env, 1, seed=0)
    assert agent.readings == {0: Reading(answers=3, unread=2)}


def test_an_episode_that_ended_in_ruin_was_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turns, "decode", lambda self, ids: "BUY 1")
    agent = trader()
    (record,) = play(agent, TradingEnv(days=3, ruin=0.999, commission=0.05), 1)
    assert record.terminated
    assert agent.readings == {0: Reading(answers=1)}


def test_without_sampling_episodes_are_reproducible_and_no_others_matter() -> None:
    alone, among = trader(), trader()
    play(alone, TradingEnv(days=3), 1, seed=7)
    play(among, TradingEnv(days=3), 3, seed=6, batch=2)
    assert alone.conversations[7] == among.conversations[7]


def drawn(episodes: int, first: int, batch: int, **options: Any) -> dict[int, Any]:
    agent = trader(temperature=1.0, **options)
    play(agent, TradingEnv(days=3), episodes, seed=first, batch=batch)
    return agent.conversations


def test_what_is_drawn_is_fixed_by_the_seeds_however_episodes_are_batched() -> None:
    together = drawn(4, 5, batch=4)
    torch.manual_seed(99)
    assert drawn(4, 5, batch=4) == together
    assert drawn(4, 5, batch=1) == together
    assert drawn(3, 6, batch=2) == {seed: together[seed] for seed in (6, 7, 8)}
    other = drawn(4, 5, batch=4, seed=1)
    assert [talk[1] for talk in other.values()] == [talk[1] for talk in together.values()]
    assert all(other[seed][2] != together[seed][2] for seed in together)


def test_a_checkpoint_whose_template_opens_the_thinking_is_read_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = CHAT_TEMPLATE.replace("{{ '<|assistant|>' }}", "{{ '<|assistant|><think>\n' }}")
    made = tiny_models.tokenizer(chat_template=template)
    folder = tiny_models.folder(tmp_path / "thinking", made=made, max_position_embeddings=2048)
    model, tokenizer = load(str(folder), ModelConfig())
    said = [*tokenizer("RSI low</think>\nBUY 1", add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    draws = itertools.cycle(said)
    monkeypatch.setattr(Dialogue, "_draw", lambda self, logits, live: torch.tensor([next(draws)]))
    agent = LanguageTrader(model, tokenizer, name="thinking", max_new_tokens=len(said))
    (record,) = play(agent, TradingEnv(days=3), 1)
    assert [message["content"] for message in agent.conversations[0][2::2]] == ["<think>\nRSI low</think>\nBUY 1"] * 3
    assert agent.figures["unread"] == 0
    assert record.turnover_D[0] > 0
