"""The chat template that a tokenizer is left with: one, with the variables that were asked for last."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models
from pydantic import ValidationError

from tradeschool.errors import RecipeError
from tradeschool.models.load import ModelConfig, load
from tradeschool.models.template import prepare

THINKS = (
    "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ ' without' }}{% endif %}"
    "{{ mood | default('') }}"
)


def asked(tokenizer: Any) -> str:
    return str(tokenizer.apply_chat_template([{"role": "user", "content": "RSI 2"}], tokenize=False))


def prepared(template: Any, *variables: dict[str, Any]) -> Any:
    tokenizer = tiny_models.tokenizer(chat_template=template)
    for given in variables:
        prepare(tokenizer, given)
    return tokenizer


@pytest.mark.parametrize("word", ["no", "Off", "yes", "on", "false", "True"])
def test_a_word_for_true_or_false_is_refused(word: str) -> None:
    with pytest.raises(ValidationError, match=f"is '{word}', a text, which would count as true. Write true or false"):
        ModelConfig(template={"enable_thinking": word})
    assert ModelConfig(template={"mood": "none", "level": 2}).template == {"mood": "none", "level": 2}


def test_what_is_set_last_holds_and_the_others_stay() -> None:
    made = prepared(THINKS, {"enable_thinking": False, "mood": " calm"}, {})
    assert asked(made) == "RSI 2 without calm"
    prepare(made, {"enable_thinking": True})
    assert asked(made) == "RSI 2 calm"
    prepare(made, {"enable_thinking": False, "mood": ' a "quoted" %} one'})
    assert asked(made) == 'RSI 2 without a "quoted" %} one'
    prepare(made, {"mood": " 🤖"})
    assert asked(made) == "RSI 2 without 🤖"
    assert made.chat_template.count("{% set ") == 2


def test_a_name_that_stands_in_an_earlier_setting_alone_is_not_asked_for() -> None:
    made = prepared("{% set enable_thinking = false %}{{ messages[0]['content'] }}")
    with pytest.raises(RecipeError, match="the chat template does not ask for it"):
        prepare(made, {"enable_thinking": True})


def test_of_several_templates_the_one_for_conversations_is_taken(tmp_path: Path) -> None:
    made = tiny_models.tokenizer(chat_template={"tool_use": "tools", "default": THINKS})
    folder = str(tiny_models.folder(tmp_path / "model", made=made))
    assert asked(load(folder, ModelConfig(base=folder))[1]) == "RSI 2"
    switched = ModelConfig(base=folder, template={"enable_thinking": False})
    assert asked(load(folder, switched)[1]) == "RSI 2 without"


def test_templates_none_of_which_is_for_conversations_are_named() -> None:
    with pytest.raises(RecipeError, match=r"the chat templates rag, tool_use, and none is called 'default'"):
        prepared({"rag": "x", "tool_use": "y"}, {})
