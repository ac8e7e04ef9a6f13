"""Conversations as tokens: appended, never rendered again."""

import pytest
import tiny_models

from tradeschool.errors import RecipeError
from tradeschool.models.turns import Turns, transcribe

# As Qwen3's: thinking is dropped from all answers but the last.
FORGETFUL = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' and not loop.last %}{{ message['content'].split('</think>')[-1] }}"
    "{% else %}{{ message['content'] }}{% endif %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TALK = [
    {"role": "system", "content": "Trade."},
    {"role": "user", "content": "day 0"},
    {"role": "assistant", "content": "<think>RSI low</think>\nBUY 1"},
    {"role": "user", "content": "day 1"},
    {"role": "assistant", "content": "HOLD"},
]


def turns_of(**changes: object) -> Turns:
    tokenizer = tiny_models.tokenizer(**changes)
    return Turns.of(tokenizer, (tokenizer.eos_token_id,))


def test_a_conversation_reads_as_its_template_writes_it() -> None:
    turns = turns_of()
    script = transcribe(turns, TALK)
    assert turns.tokenizer.decode(script.ids) == turns.tokenizer.apply_chat_template(TALK, tokenize=False)


def test_thinking_of_earlier_days_stays_where_the_template_would_drop_it() -> None:
    turns = turns_of(chat_template=FORGETFUL)
    text = turns.tokenizer.decode(transcribe(turns, TALK).ids)
    assert "RSI low" in text
    assert "RSI low" not in turns.tokenizer.apply_chat_template(TALK, tokenize=False)


@pytest.mark.parametrize("template", [None, FORGETFUL])
def test_a_longer_conversation_begins_with_the_tokens_of_a_shorter_one(template: str | None) -> None:
    turns = turns_of() if template is None else turns_of(chat_template=template)
    shorter, longer = transcribe(turns, TALK[:3]), transcribe(turns, TALK)
    assert longer.ids[: len(shorter.ids)] == shorter.ids
    assert longer.turns[: len(shorter.turns)] == shorter.turns


def test_only_answers_and_their_ends_are_said() -> None:
    turns = turns_of()
    script = transcribe(turns, TALK)
    for day, answer in enumerate(("<think>RSI low</think>\nBUY 1", "HOLD")):
        own = [token for token, turn in zip(script.ids, script.turns, strict=True) if turn == day]
        assert turns.tokenizer.decode(own) == answer + "<|end|>"
    heard = [token for token, turn in zip(script.ids, script.turns, strict=True) if turn < 0]
    assert "BUY" not in turns.tokenizer.decode(heard)
    assert script.said == [int(turn >= 0) for turn in script.turns]


def test_an_answer_that_was_cut_off_gets_its_end_from_the_template() -> None:
    turns = turns_of()
    whole, cut = turns.answer("HOLD"), turns.encode("HOLD")
    assert turns.tokenizer.decode(whole + turns.heard("day 1", whole)) == turns.tokenizer.decode(
        cut + turns.heard("day 1", cut)
    )


def test_a_template_that_hides_messages_is_refused() -> None:
    with pytest.raises(RecipeError, match="turn by turn"):
        turns_of(chat_template="{{ messages[-1]['content'] }}")
