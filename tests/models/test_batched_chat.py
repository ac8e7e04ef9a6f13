"""Many conversations on one cache give what each would alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from transformers import DynamicCache, LogitsProcessorList, TemperatureLogitsWarper

from tradeschool.models.batched_chat import BatchedChat, growing_cache, inverse_cdf
from tradeschool.models.chat_renderer import ChatRenderer

OPENINGS = [
    [{"role": "system", "content": "Trade."}, {"role": "user", "content": "RSI 28.4 (oversold)."}],
    [{"role": "user", "content": "Momentum up. Market trending. RSI 70."}],
    [{"role": "user", "content": "RSI."}],
]
FURTHER = [["day 1: RSI 30", "x", "Momentum up. Market trending."], ["RSI 28.41", "day 2 and more", "y"]]


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def users(texts: Sequence[str | None]) -> list[list[dict[str, str]]]:
    return [[] if text is None else user(text) for text in texts]


def made(family: str = "Qwen3", attention: str = "eager", **options: Any) -> tuple[Any, ChatRenderer]:
    tokenizer = tiny_models.tokenizer()
    model = tiny_models.model(family, vocabulary=len(tokenizer), attention=attention, **options)
    return model, ChatRenderer.of(tokenizer, (tokenizer.eos_token_id,))


def alone(model: Any, renderer: ChatRenderer, ids: list[int], most: int) -> list[int]:
    """Greedy, token by token, without any cache."""
    generated: list[int] = []
    while len(generated) < most and not (generated and generated[-1] in renderer.ends):
        with torch.no_grad():
            logits_V = model(input_ids=torch.tensor([ids + generated]), use_cache=False).logits[0, -1]
        generated.append(int(logits_V.argmax()))
    return generated


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_each_row_generates_what_it_would_alone(family: str, attention: str) -> None:
    model, renderer = made(family, attention)
    chat = BatchedChat(model, renderer, max_new_tokens=6)
    chat.start(OPENINGS)
    own = [renderer.prompt(messages) for messages in OPENINGS]
    for texts in [None, *FURTHER]:
        if texts:
            chat.add_user_turn(users(texts))
            own = [ids + renderer.next_turn(user(text), ids) for ids, text in zip(own, texts, strict=True)]
        answers = chat.answer()
        for b, ids in enumerate(own):
            generated = alone(model, renderer, ids, most=6)
            assert answers[b] == renderer.decode(generated)
            own[b] = ids + generated
    assert [script.ids for script in chat.transcripts()] == own


def test_ended_rows_generate_nothing_and_do_not_affect_others() -> None:
    model, renderer = made()
    both, first = (BatchedChat(model, renderer, max_new_tokens=5) for _ in range(2))
    both.start(OPENINGS[:2])
    first.start(OPENINGS[:1])
    assert both.answer()[0] == first.answer()[0]
    both.add_user_turn(users([FURTHER[0][0], None]))
    first.add_user_turn(users([FURTHER[0][0]]))
    answers = both.answer([True, False])
    assert answers == [first.answer()[0], None]
    assert both.transcripts()[0] == first.transcripts()[0]


def drawn(model: Any, renderer: ChatRenderer, rows: list[int], temperature: float = 1.0) -> list[list[str | None]]:
    """The answers of some rows of OPENINGS when tokens are drawn, turn by turn; row b has the seed (7, b)."""
    chat = BatchedChat(
        model, renderer, max_new_tokens=6, seed=7, warp=LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    )
    chat.start([OPENINGS[b] for b in rows], rows)
    generated = [chat.answer()]
    for texts in FURTHER:
        chat.add_user_turn(users([texts[b] for b in rows]))
        generated.append(chat.answer())
    return [[day[place] for day in generated] for place in range(len(rows))]


def test_draws_do_not_depend_on_other_conversations() -> None:
    model, renderer = made()
    # Every fifth token ends an answer, so that some go on while others have ended.
    renderer = replace(renderer, ends=tuple(range(0, len(renderer.tokenizer), 5)))
    together = drawn(model, renderer, [0, 1, 2])
    assert len({len(text or "") for own in together for text in own}) > 2
    torch.manual_seed(99)
    assert drawn(model, renderer, [0, 1, 2]) == together
    assert [drawn(model, renderer, [b])[0] for b in range(3)] == together
    assert drawn(model, renderer, [2, 0]) == [together[2], together[0]]
    assert drawn(model, renderer, [0, 1, 2], temperature=1e-4) != together


def test_tokens_are_drawn_by_their_probabilities() -> None:
    chances_V = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    thrown_B = (np.arange(1000) / 1000).tolist()
    counts = torch.bincount(inverse_cdf(chances_V.repeat(1000, 1), thrown_B), minlength=6)
    assert counts.tolist() == pytest.approx([0, 500, 0, 300, 200, 0], abs=1)
    assert counts[[0, 2, 5]].tolist() == [0, 0, 0]
    assert inverse_cdf(chances_V[None], [np.nextafter(1.0, 0.0)]).tolist() == [4]


def test_tool_messages_have_their_own_role() -> None:
    model, renderer = made()
    chat = BatchedChat(model, renderer, max_new_tokens=3)
    chat.start(OPENINGS[:1])
    chat.answer()
    chat.add_user_turn([[{"role": "tool", "content": "RSI 30"}]])
    chat.answer()
    text = renderer.tokenizer.decode(chat.transcripts()[0].ids)
    assert "<|tool|>RSI 30<|end|><|assistant|>" in text


def test_turns_are_counted_by_answer() -> None:
    model, renderer = made()
    chat = BatchedChat(model, renderer, max_new_tokens=3)
    chat.start(OPENINGS[:1])
    chat.answer()
    chat.add_user_turn(users(["x"]))
    chat.answer()
    script = chat.transcripts()[0]
    assert sorted(set(script.turns)) == [-1, 0, 1]
    assert len(script.ids) == len(script.turns)


def test_a_conversation_without_room_ends_and_others_continue() -> None:
    model, renderer = made(max_position_embeddings=64)
    chat = BatchedChat(model, renderer, max_new_tokens=4)
    chat.start(OPENINGS[1:])
    chat.answer()
    chat.add_user_turn(users(["RSI 28.41 " * 8, "y"]))
    answers = chat.answer()
    assert answers[0] is None
    assert answers[1]
    chat.add_user_turn(users(["y", "y"]))
    assert chat.answer()[0] is None
    assert all(len(script.ids) <= 64 for script in chat.transcripts())


def test_a_growing_cache_equals_transformers_cache() -> None:
    model, _ = made()
    ids = torch.randint(5, 40, (2, 700))
    ours, theirs = growing_cache(model.config), DynamicCache(config=model.config)
    with torch.no_grad():
        for start, stop in ((0, 300), (300, 301), (301, 650), (650, 700)):
            found = model(input_ids=ids[:, start:stop], past_key_values=ours, use_cache=True).logits
            expected = model(input_ids=ids[:, start:stop], past_key_values=theirs, use_cache=True).logits
            torch.testing.assert_close(found, expected)
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        torch.testing.assert_close(mine.keys, other.keys)
        torch.testing.assert_close(mine.values, other.values)
