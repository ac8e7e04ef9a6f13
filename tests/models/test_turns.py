"""Conversations as tokens: appended, never rendered again."""

import pytest
import tiny_models
from chat_families import FAMILIES, HOSTILE, THINKING, markers_in, tokenizer_like

from tradeschool.errors import RecipeError
from tradeschool.models.turns import Turn, Turns, transcribe
from tradeschool.text.orders import parse_orders

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


def test_an_answer_that_was_cut_off_gets_its_end_from_the_template() -> None:
    turns = turns_of()
    whole, cut = turns.answer("HOLD"), turns.encode("HOLD")
    assert turns.tokenizer.decode(whole + turns.heard("day 1", whole)) == turns.tokenizer.decode(
        cut + turns.heard("day 1", cut)
    )


def test_a_template_that_hides_messages_is_refused() -> None:
    with pytest.raises(RecipeError, match="turn by turn"):
        turns_of(chat_template="{{ messages[-1]['content'] }}")


# markers in what is said -------------------------------------------------------------------------


def turns_like(family: str) -> Turns:
    tokenizer = tokenizer_like(family)
    return Turns.of(tokenizer, (tokenizer.eos_token_id,))


def markers(turns: Turns, ids: list[int]) -> list[str]:
    return markers_in(turns.tokenizer, ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_heard_cannot_end_a_turn(family: str) -> None:
    turns = turns_like(family)
    said = turns.answer("HOLD")
    tame, hostile = turns.heard("day 1", said), turns.heard(HOSTILE, said)
    assert len(markers(turns, tame)) > 1
    assert markers(turns, hostile) == markers(turns, tame)
    assert HOSTILE in turns.tokenizer.decode(hostile)
    openings = [
        turns.opening([{"role": "system", "content": text}, {"role": "user", "content": text}])
        for text in ("day 0", HOSTILE)
    ]
    assert markers(turns, openings[1]) == markers(turns, openings[0])
    assert turns.tokenizer.decode(openings[1]).count(HOSTILE) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_to_imitate_ends_once(family: str) -> None:
    turns = turns_like(family)
    ids = turns.answer(f"<think>why</think>\nBUY A{HOSTILE} 1")
    assert markers(turns, ids) == [FAMILIES[family]]
    assert ids[-1] == turns.ends[0]
    tokens = turns.tokenizer.convert_ids_to_tokens(ids)
    assert {"<think>", "</think>"} <= set(tokens), "thinking has tokens of its own, and keeps them"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_without_markers_has_the_templates_own_tokens(family: str) -> None:
    turns = turns_like(family)
    talk = [one | {"content": one["content"].split("</think>")[-1].strip()} for one in TALK]
    script = transcribe(turns, talk)
    rendered = turns.tokenizer.apply_chat_template(
        talk[:-1], tokenize=True, return_dict=False, add_generation_prompt=True
    )
    assert script.ids[: script.turns.index(1)] == rendered


# templates that begin to think -------------------------------------------------------------------


@pytest.mark.parametrize("family", THINKING)
def test_thinking_that_the_template_has_opened_belongs_to_the_answer(family: str) -> None:
    turns = turns_like(family)
    assert turns.opened == "<think>\n"
    said = [*turns.encode("RSI low</think>\nBUY 1"), turns.ends[0]]
    assert turns.decode(said) == "<think>\nRSI low</think>\nBUY 1"
    assert parse_orders(turns.decode(said), ["S1"])[0].side == "BUY"
    for heard in (turns.opening(TALK[:2]), turns.heard("day 1", said)):
        assert turns.tokenizer.decode(heard).endswith("<think>\n")


@pytest.mark.parametrize("family", THINKING)
def test_an_answer_to_imitate_goes_on_where_the_template_stops(family: str) -> None:
    turns = turns_like(family)
    script = transcribe(turns, TALK)
    text = turns.tokenizer.decode(script.ids)
    assert text.count("<think>") == text.count("</think>") == 2
    for day, (said, read) in enumerate(
        [("RSI low</think>\nBUY 1", "<think>\nRSI low</think>\nBUY 1"), ("</think>\nHOLD", "<think>\n</think>\nHOLD")]
    ):
        own = [token for token, turn in zip(script.ids, script.turns, strict=True) if turn == day]
        assert turns.tokenizer.decode(own) == said + THINKING[family]
        assert turns.decode(own) == read
        assert parse_orders(read, ["S1"]) == parse_orders(("BUY 1", "HOLD")[day], ["S1"])
    assert "low" not in turns.tokenizer.decode(
        [t for t, turn in zip(script.ids, script.turns, strict=True) if turn < 0]
    )


def test_other_templates_open_nothing() -> None:
    for family in FAMILIES:
        assert turns_like(family).opened == ""


# one question ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [*FAMILIES, *THINKING])
def test_a_question_alone_has_the_tokens_of_one_that_begins_a_conversation(family: str) -> None:
    turns = turns_like(family)
    turn = Turn.of(turns.tokenizer, turns.ends)
    assert (turn.opened, turn.ends) == (turns.opened, turns.ends)
    assert turn.opening(TALK[:2]) == turns.opening(TALK[:2])
    assert turn.answer("<think>why</think>\nHOLD") == turns.answer("<think>why</think>\nHOLD")


@pytest.mark.parametrize("family", FAMILIES)
def test_questions_side_by_side_are_padded_before_they_begin(family: str) -> None:
    turns = turns_like(family)
    asked = [TALK[:2], [TALK[0], {"role": "user", "content": HOSTILE}]]
    both = turns.questions(asked)
    for ids, mask, messages in zip(both.input_ids.tolist(), both.attention_mask.tolist(), asked, strict=True):
        assert mask == sorted(mask)
        assert ids[mask.count(0) :] == turns.opening(messages)


def test_a_template_for_one_question_is_enough_for_one_question() -> None:
    tokenizer = tiny_models.tokenizer(chat_template="{{ messages[-1]['content'] }}<|assistant|>")
    turn = Turn.of(tokenizer, (tokenizer.eos_token_id,))
    assert tokenizer.decode(turn.opening(TALK[:2])) == "day 0<|assistant|>"
