"""Conversations as tokens: appended and never rendered twice; and the one template that a tokenizer is left with."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models
from chat_families import APART, FAMILIES, HOSTILE, THINKING, markers_in, tokenizer_like
from pydantic import ValidationError

from tradeschool.errors import RecipeError
from tradeschool.models.chat_renderer import PLAIN_TEMPLATE, ChatRenderer, prepare_template, transcribe
from tradeschool.models.load import ModelConfig, load
from tradeschool.text.parse import parse_orders

# As Qwen3's: thinking is dropped from all answers but the last.
FORGETFUL = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' and not loop.last %}{{ message['content'].split('</think>')[-1] }}"
    "{% else %}{{ message['content'] }}{% endif %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CONVERSATION: list[dict[str, str]] = [
    {"role": "system", "content": "Trade."},
    {"role": "user", "content": "day 0"},
    {"role": "assistant", "content": "<think>RSI low</think>\nBUY 1"},
    {"role": "user", "content": "day 1"},
    {"role": "assistant", "content": "HOLD"},
]


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def renderer_of(**changes: object) -> ChatRenderer:
    tokenizer = tiny_models.tokenizer(**changes)
    return ChatRenderer.of(tokenizer, (tokenizer.eos_token_id,))


def test_a_conversation_is_what_its_template_writes() -> None:
    renderer = renderer_of()
    script = transcribe(renderer, CONVERSATION)
    assert renderer.tokenizer.decode(script.ids) == renderer.tokenizer.apply_chat_template(CONVERSATION, tokenize=False)


def test_earlier_thinking_stays_where_the_template_would_drop_it() -> None:
    renderer = renderer_of(chat_template=FORGETFUL)
    text = renderer.tokenizer.decode(transcribe(renderer, CONVERSATION).ids)
    assert "RSI low" in text
    assert "RSI low" not in renderer.tokenizer.apply_chat_template(CONVERSATION, tokenize=False)


@pytest.mark.parametrize("template", [None, FORGETFUL])
def test_a_longer_conversation_begins_with_the_tokens_of_a_shorter_one(template: str | None) -> None:
    renderer = renderer_of() if template is None else renderer_of(chat_template=template)
    shorter, longer = transcribe(renderer, CONVERSATION[:3]), transcribe(renderer, CONVERSATION)
    assert longer.ids[: len(shorter.ids)] == shorter.ids
    assert longer.turns[: len(shorter.turns)] == shorter.turns


def test_a_template_may_write_any_character_around_messages() -> None:
    renderer = renderer_of(chat_template=FORGETFUL.replace("'<|' +", "'🤖<|' +"))
    script = transcribe(renderer, CONVERSATION)
    assert renderer.tokenizer.decode(script.ids).count("🤖<|user|>day ") == 2


def test_only_answers_and_their_ends_belong_to_a_turn() -> None:
    renderer = renderer_of()
    script = transcribe(renderer, CONVERSATION)
    for day, answer in enumerate(("<think>RSI low</think>\nBUY 1", "HOLD")):
        own = [token for token, turn in zip(script.ids, script.turns, strict=True) if turn == day]
        assert renderer.tokenizer.decode(own) == answer + "<|end|>"
    environment_ids = [token for token, turn in zip(script.ids, script.turns, strict=True) if turn < 0]
    assert "BUY" not in renderer.tokenizer.decode(environment_ids)


def test_an_answer_that_was_cut_off_gets_its_end_from_the_template() -> None:
    renderer = renderer_of()
    whole, cut = renderer.answer("HOLD"), renderer.encode("HOLD")
    assert renderer.tokenizer.decode(whole + renderer.next_turn(user("day 1"), whole)) == renderer.tokenizer.decode(
        cut + renderer.next_turn(user("day 1"), cut)
    )


def test_a_template_that_hides_messages_is_refused() -> None:
    with pytest.raises(RecipeError, match="turn by turn"):
        renderer_of(chat_template="{{ messages[-1]['content'] }}").check_multi_turn()


# markers in messages -------------------------------------------------------------------------


def renderer_like(family: str) -> ChatRenderer:
    tokenizer = tokenizer_like(family)
    return ChatRenderer.of(tokenizer, (tokenizer.eos_token_id,))


def markers(renderer: ChatRenderer, ids: list[int]) -> list[str]:
    return markers_in(renderer.tokenizer, ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_message_cannot_end_a_turn(family: str) -> None:
    renderer = renderer_like(family)
    answer_ids = renderer.answer("HOLD")
    tame, hostile = renderer.next_turn(user("day 1"), answer_ids), renderer.next_turn(user(HOSTILE), answer_ids)
    assert len(markers(renderer, tame)) > 1
    assert markers(renderer, hostile) == markers(renderer, tame)
    assert HOSTILE in renderer.tokenizer.decode(hostile)
    openings = [
        renderer.prompt([{"role": "system", "content": text}, {"role": "user", "content": text}])
        for text in ("day 0", HOSTILE)
    ]
    assert markers(renderer, openings[1]) == markers(renderer, openings[0])
    assert renderer.tokenizer.decode(openings[1]).count(HOSTILE) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_to_imitate_ends_once(family: str) -> None:
    renderer = renderer_like(family)
    ids = renderer.answer(f"<think>why</think>\nBUY A{HOSTILE} 1")
    assert markers(renderer, ids) == [FAMILIES[family]]
    assert ids[-1] == renderer.ends[0]
    tokens = renderer.tokenizer.convert_ids_to_tokens(ids)
    assert {"<think>", "</think>"} <= set(tokens), "thinking has tokens of its own, and keeps them"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_without_markers_has_the_templates_own_tokens(family: str) -> None:
    renderer = renderer_like(family)
    conversation = [one | {"content": one["content"].split("</think>")[-1].strip()} for one in CONVERSATION]
    script = transcribe(renderer, conversation)
    rendered = renderer.tokenizer.apply_chat_template(
        conversation[:-1], tokenize=True, return_dict=False, add_generation_prompt=True
    )
    assert script.ids[: script.turns.index(1)] == rendered


# templates that begin to think -------------------------------------------------------------------


@pytest.mark.parametrize("family", THINKING)
def test_thinking_that_the_template_has_opened_belongs_to_the_answer(family: str) -> None:
    renderer = renderer_like(family)
    assert renderer.opened == "<think>\n"
    answer_ids = [*renderer.encode("RSI low</think>\nBUY 1"), renderer.ends[0]]
    assert renderer.decode(answer_ids) == "<think>\nRSI low</think>\nBUY 1"
    assert parse_orders(renderer.decode(answer_ids), ["S1"])[0].side == "BUY"
    for environment_ids in (renderer.prompt(CONVERSATION[:2]), renderer.next_turn(user("day 1"), answer_ids)):
        assert renderer.tokenizer.decode(environment_ids).endswith("<think>\n")


@pytest.mark.parametrize("family", THINKING)
def test_an_answer_to_imitate_continues_where_the_template_stops(family: str) -> None:
    renderer = renderer_like(family)
    script = transcribe(renderer, CONVERSATION)
    text = renderer.tokenizer.decode(script.ids)
    assert text.count("<think>") == text.count("</think>") == 2
    for day, (answer_ids, read) in enumerate(
        [("RSI low</think>\nBUY 1", "<think>\nRSI low</think>\nBUY 1"), ("</think>\nHOLD", "<think>\n</think>\nHOLD")]
    ):
        own = [token for token, turn in zip(script.ids, script.turns, strict=True) if turn == day]
        assert renderer.tokenizer.decode(own) == answer_ids + THINKING[family]
        assert renderer.decode(own) == read
        assert parse_orders(read, ["S1"]) == parse_orders(("BUY 1", "HOLD")[day], ["S1"])
    assert "low" not in renderer.tokenizer.decode(
        [t for t, turn in zip(script.ids, script.turns, strict=True) if turn < 0]
    )


def test_other_templates_open_no_thinking() -> None:
    for family in FAMILIES:
        assert renderer_like(family).opened == ""


# one question ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_in_a_batch_are_padded_left(family: str) -> None:
    renderer = renderer_like(family)
    asked = [CONVERSATION[:2], [CONVERSATION[0], {"role": "user", "content": HOSTILE}]]
    both = renderer.prompt_batch(asked)
    for ids, mask, messages in zip(both.input_ids.tolist(), both.attention_mask.tolist(), asked, strict=True):
        assert mask == sorted(mask)
        assert ids[mask.count(0) :] == renderer.prompt(messages)


def test_a_template_for_one_question_is_enough_for_one_question() -> None:
    tokenizer = tiny_models.tokenizer(chat_template="{{ messages[-1]['content'] }}<|assistant|>")
    turn = ChatRenderer.of(tokenizer, (tokenizer.eos_token_id,))
    assert tokenizer.decode(turn.prompt(CONVERSATION[:2])) == "Trade.\n\nday 0<|assistant|>"


# ends --------------------------------------------------------------------------------------------


def renderer_apart(family: str) -> tuple[ChatRenderer, str]:
    """Of a family whose tokenizer's end is not, or not alone, what ends an answer; and what does."""
    eos, others, end = APART[family]
    tokenizer = tokenizer_like(family, eos)
    return ChatRenderer.of(tokenizer, tokenizer.convert_tokens_to_ids([eos, *others])), end


@pytest.mark.parametrize("family", APART)
def test_an_answer_to_imitate_ends_as_the_template_ends_it_where_the_model_stops_there(family: str) -> None:
    renderer, end = renderer_apart(family)
    assert renderer.tokenizer.decode(renderer.answer("BUY 1")) == f"BUY 1{end}"
    assert renderer.answer("BUY 1")[-1] in renderer.ends


@pytest.mark.parametrize("family", [name for name in APART if name != "qwen2_5"])
def test_the_next_message_begins_as_the_template_begins_it_whatever_ended_the_answer(family: str) -> None:
    renderer, end = renderer_apart(family)
    asked = [{"role": "user", "content": "."}, {"role": "assistant", "content": "BUY 1"}, *user("day 1")]
    whole = renderer.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    after = whole.partition("BUY 1")[2]
    written = renderer.tokenizer.decode(
        renderer.answer("BUY 1") + renderer.next_turn(user("day 1"), renderer.answer("BUY 1"))
    )
    assert written == f"BUY 1{after}"
    for other in renderer.ends:
        answer_ids = [*renderer.encode("BUY 1"), other]
        ending = renderer.tokenizer.decode([other])
        expected = written if ending == end else f"BUY 1{ending}{after}"
        assert renderer.tokenizer.decode(answer_ids + renderer.next_turn(user("day 1"), answer_ids)) == expected


def test_the_plain_template_writes_one_end_of_an_answer() -> None:
    renderer = renderer_of(chat_template=PLAIN_TEMPLATE)
    end = renderer.tokenizer.eos_token
    answer_ids = renderer.answer("BUY 1")
    text = renderer.tokenizer.decode(answer_ids + renderer.next_turn(user("day 1"), answer_ids))
    assert text == f"BUY 1\n{end}day 1\n"
    cut = [*renderer.encode("BUY 1"), renderer.ends[0]]
    assert renderer.tokenizer.decode(cut + renderer.next_turn(user("day 1"), cut)) == f"BUY 1{end}day 1\n"


def test_a_model_without_an_end_is_refused() -> None:
    with pytest.raises(RecipeError, match="token that ends an answer"):
        ChatRenderer.of(tiny_models.tokenizer(), ())


def test_text_after_the_end_is_not_part_of_the_answer() -> None:
    renderer = renderer_of()
    assert renderer.decode([*renderer.encode("BUY 1"), renderer.ends[0], *renderer.encode("SELL 1")]) == "BUY 1"


# system messages ---------------------------------------------------------------------------------


def test_without_system_messages_the_first_question_begins_with_their_text() -> None:
    renderer, _ = renderer_apart("gemma")
    assert not renderer.takes_system
    assert renderer_apart("gemma3")[0].takes_system
    expected = "<|begin_of_text|><start_of_turn>user\nTrade.\n\nday 0<end_of_turn>\n<start_of_turn>model\n"
    assert renderer.tokenizer.decode(renderer.prompt(CONVERSATION[:2])) == expected
    assert renderer.tokenizer.decode(renderer.prompt_batch([CONVERSATION[:2]]).input_ids[0]) == expected
    assert transcribe(renderer, CONVERSATION).ids[: len(renderer.prompt(CONVERSATION[:2]))] == renderer.prompt(
        CONVERSATION[:2]
    )


def test_a_system_message_that_a_template_drops_is_written_too() -> None:
    leaves_out = (
        "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['content'] + '<|end|>' }}"
        "{% endif %}{% endfor %}"
    )
    renderer = renderer_of(chat_template=leaves_out)
    assert renderer.tokenizer.decode(renderer.prompt(CONVERSATION[:2])) == "Trade.\n\nday 0<|end|>"


def test_a_template_that_refuses_plain_conversations_is_refused() -> None:
    with pytest.raises(RecipeError, match="refuses a conversation of 1 messages.*tools alone"):
        renderer_of(chat_template="{{ raise_exception('tools alone') }}")


# tools -------------------------------------------------------------------------------------------

TOOL: list[dict[str, str]] = [{"role": "tool", "content": "RSI 30"}]
ASKED: list[dict[str, str]] = [*CONVERSATION[:2], {"role": "assistant", "content": "rsi?"}, *TOOL]


@pytest.mark.parametrize("family", ["qwen2_5", "qwen3"])
def test_a_tool_message_is_written_as_the_template_writes_it(family: str) -> None:
    renderer = renderer_like(family)
    theirs = renderer.tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True)
    assert "<tool_response>\nRSI 30\n</tool_response>" in theirs
    answer = renderer.answer("rsi?")
    assert (
        renderer.tokenizer.decode(renderer.next_turn(TOOL, answer))
        == theirs.partition("rsi?")[2].partition("<|im_end|>")[2]
    )
    assert renderer.tokenizer.decode(renderer.prompt(ASKED)) == theirs


def test_several_messages_may_follow_an_answer() -> None:
    renderer = renderer_like("qwen3")
    text = renderer.tokenizer.decode(renderer.next_turn([*TOOL, *user("day 1")], renderer.answer("rsi?")))
    assert text.index("RSI 30") < text.index("</tool_response>") < text.index("<|im_start|>user\nday 1")


def test_without_tool_messages_in_a_template_they_become_user_messages() -> None:
    refuses = FORGETFUL.replace(
        "{% for message in messages %}",
        "{% for message in messages %}{% if message['role'] == 'tool' %}{{ raise_exception('no tools') }}{% endif %}",
        1,
    )
    renderer = renderer_of(chat_template=refuses)
    answer = renderer.answer("rsi?")
    assert renderer.next_turn(TOOL, answer) == renderer.next_turn(user("RSI 30"), answer)
    assert renderer.next_turn([*TOOL, *user("day 1")], answer) == renderer.next_turn(user("RSI 30\n\nday 1"), answer)
    assert renderer.prompt(ASKED) == renderer.prompt([*ASKED[:3], *user("RSI 30")])


# the template of a loaded tokenizer --------------------------------------------------------------

THINKS = (
    "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ ' without' }}{% endif %}"
    "{{ mood | default('') }}"
)


def rendered(tokenizer: Any) -> str:
    return str(tokenizer.apply_chat_template([{"role": "user", "content": "RSI 2"}], tokenize=False))


def prepared(template: Any, *variables: dict[str, Any]) -> Any:
    tokenizer = tiny_models.tokenizer(chat_template=template)
    for given in variables:
        prepare_template(tokenizer, given)
    return tokenizer


@pytest.mark.parametrize("word", ["no", "Off", "yes", "on", "false", "True"])
def test_a_word_for_true_or_false_is_refused(word: str) -> None:
    with pytest.raises(ValidationError, match=f"is '{word}', a text, which would count as true. Write true or false"):
        ModelConfig(template={"enable_thinking": word})
    assert ModelConfig(template={"mood": "none", "level": 2}).template == {"mood": "none", "level": 2}


def test_the_last_value_of_a_variable_holds_and_the_others_stay() -> None:
    made = prepared(THINKS, {"enable_thinking": False, "mood": " calm"}, {})
    assert rendered(made) == "RSI 2 without calm"
    prepare_template(made, {"enable_thinking": True})
    assert rendered(made) == "RSI 2 calm"
    prepare_template(made, {"enable_thinking": False, "mood": ' a "quoted" %} one'})
    assert rendered(made) == 'RSI 2 without a "quoted" %} one'
    prepare_template(made, {"mood": " 🤖"})
    assert rendered(made) == "RSI 2 without 🤖"
    assert made.chat_template.count("{% set ") == 2


def test_a_variable_named_only_in_an_earlier_setting_is_refused() -> None:
    made = prepared("{% set enable_thinking = false %}{{ messages[0]['content'] }}")
    with pytest.raises(RecipeError, match="the chat template does not use this variable"):
        prepare_template(made, {"enable_thinking": True})


def test_the_default_template_is_taken_of_several(tmp_path: Path) -> None:
    made = tiny_models.tokenizer(chat_template={"tool_use": "tools", "default": THINKS})
    folder = str(tiny_models.folder(tmp_path / "model", made=made))
    assert rendered(load(folder, ModelConfig(base=folder))[1]) == "RSI 2"
    switched = ModelConfig(base=folder, template={"enable_thinking": False})
    assert rendered(load(folder, switched)[1]) == "RSI 2 without"


def test_several_templates_without_a_default_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"none is called 'default' .*'rag', 'tool_use'"):
        prepared({"rag": "x", "tool_use": "y"}, {})
