"""A language model as a policy: answers in order, whatever the batches; and conversations of several turns."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from chat_families import FAMILIES, HOSTILE, THINKING, markers_in, tokenizer_like
from transformers import GenerationConfig

from tradeschool.chat import Episode
from tradeschool.env.trading_env import TradingChatEnv, TradingEnv
from tradeschool.models.batched_chat import BatchedChat
from tradeschool.models.chat_renderer import ChatRenderer
from tradeschool.models.load import CHAT_TEMPLATE, ModelConfig, load
from tradeschool.policies.language import LanguagePolicy
from tradeschool.rollout import run_episodes
from tradeschool.tasks.base import Example
from tradeschool.text.parse import parse_decision

TOKENIZER = tiny_models.tokenizer()
MODEL = tiny_models.model(
    vocabulary=len(TOKENIZER), eos_token_id=TOKENIZER.eos_token_id, pad_token_id=TOKENIZER.pad_token_id
)
QUESTIONS = ["RSI 28.4 (oversold). Momentum up.", "RSI 2", "Market trending. " * 4, "", "RSI 3.3 Momentum"]


def prompts(texts: list[str] = QUESTIONS) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def answers(of: LanguagePolicy, conversations: list[list[dict[str, str]]] | None = None) -> list[str]:
    return [answer for (answer,) in of.generate(prompts() if conversations is None else conversations)]


def policy(**options: Any) -> LanguagePolicy:
    return LanguagePolicy(MODEL, TOKENIZER, name="model", kind="trained", **{"max_new_tokens": 8, **options})


def alone(text: str) -> str:
    """Greedy decoding of one prompt without cache, padding or batch."""
    messages = [{"role": "user", "content": text}]
    asked = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = TOKENIZER(asked, add_special_tokens=False).input_ids
    new: list[int] = []
    while len(new) < 8 and TOKENIZER.eos_token_id not in new:
        with torch.no_grad():
            new.append(int(MODEL(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax()))
    return str(TOKENIZER.decode(new, skip_special_tokens=True))


@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_answers_come_in_order_and_do_not_depend_on_the_batch(batch_size: int) -> None:
    texts = answers(policy(batch_size=batch_size))
    assert texts == [alone(text) for text in QUESTIONS]
    assert len(set(texts)) > 2


def test_a_long_beginning_that_all_share_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    example = [{"role": "user", "content": "RSI 28.4 (oversold). " * 10}, {"role": "assistant", "content": "Up."}]
    asked = [[*example, *messages] for messages in prompts()]
    widths: list[int] = []
    theirs = MODEL.forward

    @functools.wraps(theirs)
    def forward(input_ids: Any, **options: Any) -> Any:
        widths.append(input_ids.shape[1])
        return theirs(input_ids=input_ids, **options)

    separate = answers(policy(batch_size=1), asked)
    monkeypatch.setattr(MODEL, "forward", forward)
    assert answers(policy(), asked) == separate
    assert len(set(separate)) > 1
    beginning, rest = widths[:2]
    assert beginning > 2 * rest
    assert set(widths[2:]) == {1}


CHOICES = [
    ["<think>RSI up.</think>[[[BUY]]]", "<think>RSI up.</think>[[[SELL]]]", "<think>RSI up.</think>[[[BUY]]] Momentum"],
    ["RSI", "RSI 28"],
    ["Market", "trending", "Momentum up"],
    ["[[[SELL]]]", "[[[BUY]]]"],
    ["up. RSI", "up. Market"],
]


def log_prob(question: str, answer: str) -> float:
    """Of all tokens of an answer, its end included, in one row without cache or padding."""
    renderer = ChatRenderer.of(TOKENIZER, [TOKENIZER.eos_token_id])
    asked, ids = renderer.prompt(prompts([question])[0]), renderer.answer(answer)
    with torch.no_grad():
        logps = MODEL(input_ids=torch.tensor([asked + ids])).logits[0].log_softmax(-1)
    return sum(float(logps[len(asked) + i - 1, token]) for i, token in enumerate(ids))


@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_the_most_likely_of_some_answers_is_chosen(batch_size: int) -> None:
    found = policy(batch_size=batch_size).choose(prompts(), CHOICES)
    scores = [[log_prob(q, answer) for answer in answers] for q, answers in zip(QUESTIONS, CHOICES, strict=True)]
    assert found == [max(range(len(one)), key=one.__getitem__) for one in scores]
    assert len(set(found)) > 1


def test_special_tokens_are_not_part_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(input_ids: Any, **options: Any) -> Any:
        words = TOKENIZER("[[[BUY]]]<|end|><|pad|>", add_special_tokens=False, return_tensors="pt").input_ids
        return torch.cat([input_ids, words.expand(len(input_ids), -1)], dim=1)

    monkeypatch.setattr(MODEL, "generate", answer)
    assert answers(policy(), prompts(["RSI 2"])) == ["[[[BUY]]]"]


def test_progress_is_counted_by_batch() -> None:
    counts: list[int] = []
    answers(policy(batch_size=2, on_batch=counts.append))
    assert counts == [2, 4, 5]


def test_no_questions_give_no_answers() -> None:
    assert answers(policy(), []) == []


@pytest.fixture
def training() -> Iterator[None]:
    MODEL.train()
    yield
    MODEL.eval()


def test_a_model_in_training_mode_answers_without_dropout(training: None) -> None:
    answers(policy(), prompts(["RSI 2"]))
    assert not MODEL.training


@pytest.mark.parametrize(
    "setting", [{"repetition_penalty": 1.5}, {"min_new_tokens": 8}, {"suppress_tokens": [11, 12, 13]}]
)
def test_a_checkpoints_generation_settings_are_ignored(
    setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = GenerationConfig(**{**MODEL.generation_config.to_dict(), **setting})
    monkeypatch.setattr(MODEL, "generation_config", given)
    assert answers(policy()) == [alone(text) for text in QUESTIONS]
    assert MODEL.generation_config is given


@pytest.mark.parametrize("setting", [{}, {"top_k": 1}, {"top_p": 0.1}])
def test_at_a_temperature_every_token_can_be_drawn(setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**MODEL.generation_config.to_dict(), "do_sample": True, **setting}
    monkeypatch.setattr(MODEL, "generation_config", GenerationConfig(**given))
    torch.manual_seed(0)
    texts = answers(policy(temperature=50.0, max_new_tokens=1), prompts(["RSI 2"] * 2_000))
    assert len(set(texts)) > 150


def test_a_temperature_draws_and_the_seed_fixes_the_draw() -> None:
    def drawn(seed: int) -> list[str]:
        torch.manual_seed(seed)
        return answers(policy(temperature=1.5))

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_several_answers_to_each_question_stay_together() -> None:
    torch.manual_seed(0)
    drawn = policy(temperature=1.5, batch_size=4).generate(prompts(), n=3)
    assert [len(own) for own in drawn] == [3] * len(QUESTIONS)
    assert any(len(set(own)) > 1 for own in drawn)
    assert policy().generate(prompts(), n=2) == [[alone(text)] * 2 for text in QUESTIONS]


def saying(monkeypatch: pytest.MonkeyPatch, family: str, answer: str) -> tuple[LanguagePolicy, list[list[int]]]:
    """A policy of a family that gives one answer to all, and the questions that it is then asked, as tokens."""
    tokenizer, asked = tokenizer_like(family), list[list[int]]()
    answer_ids = tokenizer(answer + tokenizer.eos_token, add_special_tokens=False, return_tensors="pt").input_ids

    def generated(input_ids: Any, **options: Any) -> Any:
        asked.extend(input_ids.tolist())
        return torch.cat([input_ids, answer_ids.expand(len(input_ids), -1)], dim=1)

    monkeypatch.setattr(MODEL, "generate", generated)
    return LanguagePolicy(MODEL, tokenizer, name="model", kind="trained"), asked


@pytest.mark.parametrize("family", FAMILIES)
def test_news_cannot_end_the_question(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    speaker, asked = saying(monkeypatch, family, "[[[BUY]]]")
    assert answers(speaker, prompts([HOSTILE])) == answers(speaker, prompts(["RSI 2"])) == ["[[[BUY]]]"]
    tokenizer = tokenizer_like(family)
    hostile, tame = (markers_in(tokenizer, ids) for ids in asked)
    assert hostile == tame
    assert HOSTILE in tokenizer.decode(asked[0])


@pytest.mark.parametrize("family", THINKING)
def test_thinking_that_the_template_has_opened_is_part_of_the_answer(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker, _ = saying(monkeypatch, family, "RSI low</think>\n[[[BUY]]]")
    (text,) = answers(speaker, prompts(["RSI 2"]))
    assert text == "<think>\nRSI low</think>\n[[[BUY]]]"
    assert parse_decision(text) == "BUY"


def test_an_answer_ends_at_any_of_the_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer's end is one even where the model's generation settings do not name it."""
    asked: list[dict[str, Any]] = []

    def answer(input_ids: Any, **options: Any) -> Any:
        asked.append(options)
        words = TOKENIZER("[[[BUY]]]<|end|>[[[SELL]]]", add_special_tokens=False, return_tensors="pt").input_ids
        return torch.cat([input_ids, words.expand(len(input_ids), -1)], dim=1)

    monkeypatch.setattr(MODEL, "generate", answer)
    monkeypatch.setattr(MODEL.generation_config, "eos_token_id", 7)
    assert answers(policy(), prompts(["RSI 2"])) == ["[[[BUY]]]"]
    assert asked[0]["eos_token_id"] == [TOKENIZER.eos_token_id, 7]


# conversations -----------------------------------------------------------------------------------


def trader(positions: int = 2048, **options: Any) -> LanguagePolicy:
    tokens = {"eos_token_id": TOKENIZER.eos_token_id, "max_position_embeddings": positions}
    model = tiny_models.model(vocabulary=len(TOKENIZER), **tokens)
    return LanguagePolicy(model, TOKENIZER, name="tiny", kind="trained", **{"max_new_tokens": 4, **options})


def played(of: LanguagePolicy, seeds: Sequence[int] = (0,), form: Any = "text", **settings: Any) -> list[Episode]:
    envs = [TradingChatEnv(TradingEnv(**{"days": 3, **settings}), form) for _ in seeds]
    examples = [Example(f"Easy#{seed}", -1, 0, payload={"seed": seed}) for seed in seeds]
    return run_episodes(of.chat(), envs, examples, seeds=seeds)


@pytest.mark.parametrize("form", ["text", "table", "numbers"])
def test_an_episode_holds_the_messages_and_answers(form: Any) -> None:
    for episode, seed in zip(played(trader(), (5, 6), form), (5, 6), strict=True):
        assert [message["role"] for message in episode.messages] == ["system"] + ["user", "assistant"] * 3
        assert (episode.answers, episode.stop, episode.out_of_room) == (3, "answered", False)
        env = TradingChatEnv(TradingEnv(days=3), form)
        sent = env.reset(Example("", -1, 0, payload={"seed": seed}))
        for place, answer in enumerate(episode.messages[2::2]):
            assert sent == episode.messages[:2] if place == 0 else sent == [episode.messages[1 + 2 * place]]
            sent = env.step(answer["content"]).messages


def test_without_room_an_episode_has_no_further_answers() -> None:
    (episode,) = played(trader(positions=400), days=20)
    assert episode.messages[-1]["role"] == "assistant"
    assert episode.answers == len(episode.messages) // 2 < 20
    assert (episode.out_of_room, episode.stop, len(episode.turns)) == (True, "max_tokens", 20)
    assert all(turn.result.info["refused"] for turn in episode.turns if turn.completion is None)


def test_unreadable_answers_are_counted() -> None:
    # Random weights give no order.
    assert [episode.unread for episode in played(trader(), (5, 6))] == [3, 3]


def test_only_the_episodes_own_stocks_can_be_traded(monkeypatch: pytest.MonkeyPatch) -> None:
    env = TradingEnv(days=3, mask=False, tickers=2)
    env.reset(seed=0)
    other = next(ticker for ticker in env.data.panel.tickers if ticker not in env.names)
    given = iter([f"BUY {env.names[0]} 0.5", f"BUY {other} 0.5", ""])
    monkeypatch.setattr(BatchedChat, "answer", lambda self, live: [next(given)])
    (episode,) = played(trader(), mask=False, tickers=2)
    assert (episode.answers, episode.unread) == (3, 2)
    assert "no stock" in episode.turns[1].result.info["error"]


def test_bankruptcy_is_not_reported_as_out_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChatRenderer, "decode", lambda self, ids: "BUY 1")
    (episode,) = played(trader(), ruin=0.999, commission=0.05)
    assert (episode.stop, episode.answers, episode.unread) == ("bankrupt", 1, 0)


def conversations(seeds: Sequence[int], **options: Any) -> dict[int, Any]:
    episodes = played(trader(temperature=1.0, **options), seeds)
    return {seed: episode.messages for seed, episode in zip(seeds, episodes, strict=True)}


def test_greedy_episodes_do_not_depend_on_the_batch() -> None:
    assert played(trader(), (7,))[0].messages == played(trader(), (6, 7))[1].messages


def test_sampled_episodes_depend_on_seeds_alone() -> None:
    together = conversations((5, 6, 7))
    torch.manual_seed(99)
    assert conversations((5, 6, 7)) == together
    assert conversations((6,)) == {6: together[6]}
    other = conversations((5, 6, 7), seed=1)
    assert [messages[1] for messages in other.values()] == [messages[1] for messages in together.values()]
    assert all(other[seed][2] != together[seed][2] for seed in together)


def test_thinking_opened_by_the_template_is_read_in_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = CHAT_TEMPLATE.replace("{{ '<|assistant|>' }}", "{{ '<|assistant|><think>\n' }}")
    made = tiny_models.tokenizer(chat_template=template)
    folder = tiny_models.folder(tmp_path / "thinking", made=made, max_position_embeddings=2048)
    model, tokenizer = load(str(folder), ModelConfig())
    answer_ids = [*tokenizer("RSI low</think>\nBUY 1", add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    draws = itertools.cycle(answer_ids)
    monkeypatch.setattr(torch.Tensor, "argmax", lambda self, axis: torch.tensor([next(draws)]))
    (episode,) = played(LanguagePolicy(model, tokenizer, name="x", kind="trained", max_new_tokens=len(answer_ids)))
    assert [message["content"] for message in episode.messages[2::2]] == ["<think>\nRSI low</think>\nBUY 1"] * 3
    assert episode.unread == 0
