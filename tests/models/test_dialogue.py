"""Many conversations on one cache give what each would alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from transformers import DynamicCache, LogitsProcessorList, TemperatureLogitsWarper

from tradeschool.models.cache import growing_cache
from tradeschool.models.dialogue import Dialogue, _at
from tradeschool.models.turns import Turns

OPENINGS = [
    [{"role": "system", "content": "Trade."}, {"role": "user", "content": "RSI 28.4 (oversold)."}],
    [{"role": "user", "content": "Momentum up. Market trending. RSI 70."}],
    [{"role": "user", "content": "RSI."}],
]
HEARD = [["day 1: RSI 30", "x", "Momentum up. Market trending."], ["RSI 28.41", "day 2 and more", "y"]]


def made(family: str = "Qwen3", attention: str = "eager", **options: Any) -> tuple[Any, Turns]:
    tokenizer = tiny_models.tokenizer()
    model = tiny_models.model(family, vocabulary=len(tokenizer), attention=attention, **options)
    return model, Turns.of(tokenizer, (tokenizer.eos_token_id,))


def alone(model: Any, turns: Turns, ids: list[int], most: int) -> list[int]:
    """Greedy, token by token, without any cache."""
    said: list[int] = []
    while len(said) < most and not (said and said[-1] in turns.ends):
        with torch.no_grad():
            logits_V = model(input_ids=torch.tensor([ids + said]), use_cache=False).logits[0, -1]
        said.append(int(logits_V.argmax()))
    return said


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_each_row_says_what_it_would_say_alone(family: str, attention: str) -> None:
    model, turns = made(family, attention)
    dialogue = Dialogue(model, turns, max_new_tokens=6)
    dialogue.open(OPENINGS)
    own = [turns.opening(messages) for messages in OPENINGS]
    for heard in [None, *HEARD]:
        if heard:
            dialogue.hear(heard)
            own = [ids + turns.heard(text, ids) for ids, text in zip(own, heard, strict=True)]
        answers = dialogue.answer()
        for b, ids in enumerate(own):
            said = alone(model, turns, ids, most=6)
            assert answers[b] == turns.decode(said)
            own[b] = ids + said
    assert [script.ids for script in dialogue.transcripts()] == own


def test_rows_that_are_over_say_nothing_and_change_nobody() -> None:
    model, turns = made()
    both, first = (Dialogue(model, turns, max_new_tokens=5) for _ in range(2))
    both.open(OPENINGS[:2])
    first.open(OPENINGS[:1])
    assert both.answer()[0] == first.answer()[0]
    both.hear([HEARD[0][0], None])
    first.hear([HEARD[0][0]])
    answers = both.answer([True, False])
    assert answers == [first.answer()[0], None]
    assert both.transcripts()[0] == first.transcripts()[0]


def drawn(model: Any, turns: Turns, rows: list[int], temperature: float = 1.0) -> list[list[str | None]]:
    """What the rows of OPENINGS say when tokens are drawn, turn by turn; row b has the seed (7, b)."""
    dialogue = Dialogue(
        model, turns, max_new_tokens=6, warp=LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    )
    dialogue.open([OPENINGS[b] for b in rows], [(7, b) for b in rows])
    said = [dialogue.answer()]
    for heard in HEARD:
        dialogue.hear([heard[b] for b in rows])
        said.append(dialogue.answer())
    return [[day[place] for day in said] for place in range(len(rows))]


def test_what_is_drawn_in_a_conversation_does_not_hang_on_those_beside_it() -> None:
    model, turns = made()
    # Every fifth token ends an answer, so that some go on while others have ended.
    turns = replace(turns, ends=tuple(range(0, len(turns.tokenizer), 5)))
    together = drawn(model, turns, [0, 1, 2])
    assert len({len(text or "") for own in together for text in own}) > 2
    torch.manual_seed(99)
    assert drawn(model, turns, [0, 1, 2]) == together
    assert [drawn(model, turns, [b])[0] for b in range(3)] == together
    assert drawn(model, turns, [2, 0]) == [together[2], together[0]]
    assert drawn(model, turns, [0, 1, 2], temperature=1e-4) != together


def test_tokens_are_drawn_by_their_chances() -> None:
    chances_V = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    thrown_B = (np.arange(1000) / 1000).tolist()
    counts = torch.bincount(_at(chances_V.repeat(1000, 1), thrown_B), minlength=6)
    assert counts.tolist() == pytest.approx([0, 500, 0, 300, 200, 0], abs=1)
    assert counts[[0, 2, 5]].tolist() == [0, 0, 0]
    assert _at(chances_V[None], [np.nextafter(1.0, 0.0)]).tolist() == [4]


def test_turns_are_counted_by_day() -> None:
    model, turns = made()
    dialogue = Dialogue(model, turns, max_new_tokens=3)
    dialogue.open(OPENINGS[:1])
    dialogue.answer()
    dialogue.hear(["x"])
    dialogue.answer()
    script = dialogue.transcripts()[0]
    assert sorted(set(script.turns)) == [-1, 0, 1]
    assert len(script.ids) == len(script.turns)


def test_a_conversation_without_room_is_over_and_the_others_go_on() -> None:
    model, turns = made(max_position_embeddings=64)
    dialogue = Dialogue(model, turns, max_new_tokens=4)
    dialogue.open(OPENINGS[1:])
    dialogue.answer()
    dialogue.hear(["RSI 28.41 " * 8, "y"])
    answers = dialogue.answer()
    assert answers[0] is None
    assert answers[1]
    assert dialogue.full == [True, False]
    dialogue.hear(["y", "y"])
    assert dialogue.answer()[0] is None
    assert all(len(script.ids) <= 64 for script in dialogue.transcripts())


def test_a_growing_cache_holds_what_transformers_own_does() -> None:
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
