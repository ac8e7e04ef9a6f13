"""A tokenizer's chat template: a plain one where it has none, one where it has several, and variables at its head."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints

from tradeschool.errors import RecipeError
from tradeschool.verbatim import WORDS

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{{ eos_token }}{% endif %}{% endfor %}"
)
"""For models that bring no chat template (base models): plain text, one turn."""
USUAL = "default"
"""What transformers calls the template that plain conversations are written with, where a tokenizer has several."""
_SET = re.compile(r'\{% set (\w+) = (?:true|false|-?[\d.eE+-]+|"(?:[^"\\]|\\.)*") %\}')


def _no_word(value: bool | int | float | str) -> bool | int | float | str:
    if isinstance(value, str) and value.casefold() in (*WORDS, "true", "false"):
        raise ValueError(f"is {value!r}, a text, which would count as true. Write true or false")
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*$")]
Template = dict[Name, Annotated[bool | int | float | str, AfterValidator(_no_word)]]
"""Variables for a chat template, as ``{enable_thinking: false}``."""


def prepare(tokenizer: Any, variables: Mapping[str, Any]) -> None:
    """Leave a tokenizer with one chat template, which has ``variables``: whoever renders it from now on has them.

    A variable that an earlier call has set, before the tokenizer was saved, is set anew.

    Raises:
        RecipeError: the template does not name a variable, or none of several templates is for conversations.
    """
    head, rest = _parted(_one(tokenizer.chat_template))
    for name in variables:
        if not re.search(rf"\b{name}\b", rest):
            raise RecipeError(
                f"model.template.{name}: the chat template does not ask for it. Look for its variables in "
                "chat_template.jinja or tokenizer_config.json."
            )
    said = {name: f"{{% set {name} = {json.dumps(value, ensure_ascii=False)} %}}" for name, value in variables.items()}
    tokenizer.chat_template = "".join({**head, **said}.values()) + rest


def _one(template: Any) -> str:
    if template is None:
        return PLAIN_TEMPLATE
    if isinstance(template, str):
        return template
    if USUAL not in template:
        raise RecipeError(
            f"The tokenizer has the chat templates {', '.join(template)}, and none is called '{USUAL}'. Save it with "
            "the one for plain conversations as chat_template.jinja, and name the folder in model.base."
        )
    return str(template[USUAL])


def _parted(template: str) -> tuple[dict[str, str], str]:
    """The statements at the head that set variables, and what follows them."""
    head: dict[str, str] = {}
    while found := _SET.match(template):
        head[found[1]] = found[0]
        template = template[found.end() :]
    return head, template
