"""A language model as a policy: answers in order, whatever the batches, with nothing of the prompt in them."""

from collections.abc import Iterator
from typing import Any

import pytest
import tiny_models
import torch
from chat_families import FAMILIES, HOSTILE, THINKING, markers_in, tokenizer_like
from transformers import GenerationConfig

from tradeschool.policies.language import LanguagePolicy
from tradeschool.tasks.base import Prompt
from tradeschool.text.grammar import parse_decision

TOKENIZER = tiny_models.tokenizer()
MODEL = tiny_models.model(
    vocabulary=len(TOKENIZER), eos_token_id=TOKENIZER.eos_token_id, pad_token_id=TOKENIZER.pad_token_id
)
QUESTIONS = ["RSI 28.4 (oversold). Momentum up.", "RSI 2", "Market trending. " * 4, "", "RSI 3.3 Momentum"]


def prompts(texts: list[str] = QUESTIONS) -> list[Prompt]:
    window: Any = None
    return [Prompt(text, [{"role": "user", "content": text}], window) for text in texts]


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
    replies = policy(batch_size=batch_size).reply(prompts())
    assert replies == [alone(text) for text in QUESTIONS]
    assert len(set(replies)) > 2


def test_special_tokens_are_no_part_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(input_ids: Any, **options: Any) -> Any:
        words = TOKENIZER("[[[BUY]]]<|end|><|pad|>", add_special_tokens=False, return_tensors="pt").input_ids
        return torch.cat([input_ids, words.expand(len(input_ids), -1)], dim=1)

    monkeypatch.setattr(MODEL, "generate", answer)
    assert policy().reply(prompts(["RSI 2"])) == ["[[[BUY]]]"]


def test_progress_is_told_batch_by_batch() -> None:
    told: list[int] = []
    policy(batch_size=2, on_batch=told.append).reply(prompts())
    assert told == [2, 4, 5]


def test_no_questions_no_answers() -> None:
    assert policy().reply([]) == []


@pytest.fixture
def training() -> Iterator[None]:
    MODEL.train()
    yield
    MODEL.eval()


def test_a_model_left_in_training_mode_answers_without_dropout(training: None) -> None:
    policy().reply(prompts(["RSI 2"]))
    assert not MODEL.training


@pytest.mark.parametrize(
    "setting", [{"repetition_penalty": 1.5}, {"min_new_tokens": 8}, {"suppress_tokens": [11, 12, 13]}]
)
def test_a_checkpoints_own_settings_of_generation_change_no_answer(
    setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = GenerationConfig(**{**MODEL.generation_config.to_dict(), **setting})
    monkeypatch.setattr(MODEL, "generation_config", given)
    assert policy().reply(prompts()) == [alone(text) for text in QUESTIONS]
    assert MODEL.generation_config is given


@pytest.mark.parametrize("setting", [{}, {"top_k": 1}, {"top_p": 0.1}])
def test_at_a_temperature_every_token_can_be_drawn(setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**MODEL.generation_config.to_dict(), "do_sample": True, **setting}
    monkeypatch.setattr(MODEL, "generation_config", GenerationConfig(**given))
    torch.manual_seed(0)
    replies = policy(temperature=50.0, max_new_tokens=1).reply(prompts(["RSI 2"] * 2_000))
    assert len(set(replies)) > 150


def test_a_temperature_draws_and_the_seed_fixes_the_draw() -> None:
    def drawn(seed: int) -> list[str]:
        torch.manual_seed(seed)
        return policy(temperature=1.5).reply(prompts())

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def saying(monkeypatch: pytest.MonkeyPatch, family: str, answer: str) -> tuple[LanguagePolicy, list[list[int]]]:
    """A policy of a family that gives one answer to all, and the questions that it is then asked, as tokens."""
    tokenizer, asked = tokenizer_like(family), list[list[int]]()
    said = tokenizer(answer + tokenizer.eos_token, add_special_tokens=False, return_tensors="pt").input_ids

    def answers(input_ids: Any, **options: Any) -> Any:
        asked.extend(input_ids.tolist())
        return torch.cat([input_ids, said.expand(len(input_ids), -1)], dim=1)

    monkeypatch.setattr(MODEL, "generate", answers)
    return LanguagePolicy(MODEL, tokenizer, name="model", kind="trained"), asked


@pytest.mark.parametrize("family", FAMILIES)
def test_what_news_say_cannot_end_the_question(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    speaker, asked = saying(monkeypatch, family, "[[[BUY]]]")
    assert speaker.reply(prompts([HOSTILE])) == speaker.reply(prompts(["RSI 2"])) == ["[[[BUY]]]"]
    tokenizer = tokenizer_like(family)
    hostile, tame = (markers_in(tokenizer, ids) for ids in asked)
    assert hostile == tame
    assert HOSTILE in tokenizer.decode(asked[0])


@pytest.mark.parametrize("family", THINKING)
def test_thinking_that_the_template_has_opened_is_part_of_the_answer(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker, _ = saying(monkeypatch, family, "RSI low</think>\n[[[BUY]]]")
    (reply,) = speaker.reply(prompts(["RSI 2"]))
    assert reply == "<think>\nRSI low</think>\n[[[BUY]]]"
    assert parse_decision(reply) == "BUY"


def test_an_answer_ends_at_any_of_the_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer's end is one even where the model's generation settings do not name it."""
    asked: list[dict[str, Any]] = []

    def answer(input_ids: Any, **options: Any) -> Any:
        asked.append(options)
        words = TOKENIZER("[[[BUY]]]<|end|>[[[SELL]]]", add_special_tokens=False, return_tensors="pt").input_ids
        return torch.cat([input_ids, words.expand(len(input_ids), -1)], dim=1)

    monkeypatch.setattr(MODEL, "generate", answer)
    monkeypatch.setattr(MODEL.generation_config, "eos_token_id", 7)
    assert policy().reply(prompts(["RSI 2"])) == ["[[[BUY]]]"]
    assert asked[0]["eos_token_id"] == [TOKENIZER.eos_token_id, 7]
