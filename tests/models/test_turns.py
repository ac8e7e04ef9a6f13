"""Conversations as tokens: appended, never rendered again."""

import pytest
import tiny_models
from chat_families import APART, FAMILIES, HOSTILE, THINKING, markers_in, tokenizer_like

from tradeschool.errors import RecipeError
from tradeschool.models.template import PLAIN_TEMPLATE
from tradeschool.models.turn import Turn
from tradeschool.models.turns import Turns, transcribe
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


def test_what_a_template_writes_around_messages_may_be_any_character() -> None:
    turns = turns_of(chat_template=FORGETFUL.replace("'<|' +", "'🤖<|' +"))
    script = transcribe(turns, TALK)
    assert turns.tokenizer.decode(script.ids).count("🤖<|user|>day ") == 2


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
    assert tokenizer.decode(turn.opening(TALK[:2])) == "Trade.\n\nday 0<|assistant|>"


# ends --------------------------------------------------------------------------------------------


def turns_apart(family: str) -> tuple[Turns, str]:
    """Of a family whose tokenizer's end is not, or not alone, what ends an answer; and what does."""
    eos, others, end = APART[family]
    tokenizer = tokenizer_like(family, eos)
    return Turns.of(tokenizer, tokenizer.convert_tokens_to_ids([eos, *others])), end


@pytest.mark.parametrize("family", APART)
def test_an_answer_to_imitate_ends_as_the_template_ends_it_where_the_model_stops_there(family: str) -> None:
    turns, end = turns_apart(family)
    for turn in (turns, Turn.of(turns.tokenizer, turns.ends)):
        assert turn.tokenizer.decode(turn.answer("BUY 1")) == f"BUY 1{end}"
        assert turn.answer("BUY 1")[-1] in turn.ends


@pytest.mark.parametrize("family", [name for name in APART if name != "qwen2_5"])
def test_the_next_message_begins_as_the_template_begins_it_whatever_ended_the_answer(family: str) -> None:
    turns, end = turns_apart(family)
    written = turns.tokenizer.decode(turns.answer("BUY 1") + turns.heard("day 1", turns.answer("BUY 1")))
    assert written == f"BUY 1{turns.between}day 1{turns.after}"
    for other in turns.ends:
        said = [*turns.encode("BUY 1"), other]
        ending = turns.tokenizer.decode([other])
        expected = written if ending == end else f"BUY 1{ending}{turns.between}day 1{turns.after}"
        assert turns.tokenizer.decode(said + turns.heard("day 1", said)) == expected


def test_the_plain_template_writes_one_end_of_an_answer() -> None:
    turns = turns_of(chat_template=PLAIN_TEMPLATE)
    end = turns.tokenizer.eos_token
    said = turns.answer("BUY 1")
    text = turns.tokenizer.decode(said + turns.heard("day 1", said))
    assert text == f"BUY 1\n{end}day 1\n"
    cut = [*turns.encode("BUY 1"), turns.ends[0]]
    assert turns.tokenizer.decode(cut + turns.heard("day 1", cut)) == f"BUY 1{end}day 1\n"


def test_a_model_without_an_end_is_refused() -> None:
    for kind in (Turn, Turns):
        with pytest.raises(RecipeError, match="token that ends an answer"):
            kind.of(tiny_models.tokenizer(), ())


def test_what_a_model_says_after_its_end_is_no_part_of_the_answer() -> None:
    turns = turns_of()
    assert turns.decode([*turns.encode("BUY 1"), turns.ends[0], *turns.encode("SELL 1")]) == "BUY 1"


# system messages ---------------------------------------------------------------------------------


def test_where_a_template_knows_no_system_message_the_first_question_begins_with_it() -> None:
    turns, _ = turns_apart("gemma")
    assert not turns.takes_system
    assert turns_apart("gemma3")[0].takes_system
    expected = "<|begin_of_text|><start_of_turn>user\nTrade.\n\nday 0<end_of_turn>\n<start_of_turn>model\n"
    for turn in (turns, Turn.of(turns.tokenizer, turns.ends)):
        assert turn.tokenizer.decode(turn.opening(TALK[:2])) == expected
        assert turn.tokenizer.decode(turn.questions([TALK[:2]]).input_ids[0]) == expected
    assert transcribe(turns, TALK).ids[: len(turns.opening(TALK[:2]))] == turns.opening(TALK[:2])


def test_a_system_message_that_a_template_would_leave_out_is_told_too() -> None:
    leaves_out = (
        "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['content'] + '<|end|>' }}"
        "{% endif %}{% endfor %}"
    )
    turns = turns_of(chat_template=leaves_out)
    assert turns.tokenizer.decode(turns.opening(TALK[:2])) == "Trade.\n\nday 0<|end|>"


def test_a_template_that_refuses_plain_conversations_is_refused() -> None:
    with pytest.raises(RecipeError, match="refuses a conversation of 3 messages, user first: tools alone"):
        turns_of(chat_template="{{ raise_exception('tools alone') }}")
