"""A question and its answer as tokens, as a model's chat template writes them.

A message is text, whatever it says: only the template's own markers become the tokens that begin and end turns.
Where a template knows no system message, that stands at the head of the first user message.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from tradeschool.errors import RecipeError

Message = dict[str, str]
ANSWER, HEARD, SYSTEM = "@@answer@@", "@@heard@@", "@@system@@"
THINK = "<think>"
SAID: list[Message] = [
    {"role": "user", "content": "."},
    {"role": "assistant", "content": ANSWER},
    {"role": "user", "content": HEARD},
]
"""A conversation that a template is asked to write, to see what it writes around messages."""
_OPENED = re.compile(THINK + r"\s*\Z")


@dataclass(frozen=True)
class Turn:
    """A question and its answer, as a tokenizer's chat template writes them.

    ``ends`` are the tokens at any of which the model stops. ``closing`` ends an answer to imitate: as the template does
    where that is with one of ``ends``, else with the first of them. ``opened`` is what the question ends with where
    that opens a ``<think>`` block for the model: its tokens are heard and bear no loss, its text belongs to the answer
    that is read. ``takes_system`` is whether the template has system messages.
    """

    tokenizer: Any
    ends: tuple[int, ...]
    closing: tuple[int, ...]
    opened: str
    takes_system: bool

    @classmethod
    def of(cls, tokenizer: Any, ends: Sequence[int]) -> "Turn":
        """Ask the template of ``tokenizer``.

        Raises:
            RecipeError: the template refuses a question, or there is no token that ends an answer.
        """
        question = written(tokenizer, SAID[:1])
        talk = written(tokenizer, SAID, lenient=True) or written(tokenizer, SAID[:2], lenient=True)
        closing = closing_of(tokenizer, ends, talk.partition(ANSWER)[2])
        return Turn(tokenizer, tuple(ends), closing, opened_by(question), takes_system(tokenizer))

    def opening(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of the first messages, up to where the first answer begins."""
        return self.render(self.folded(messages), add_generation_prompt=True)

    def folded(self, messages: Sequence[Message]) -> list[Message]:
        """The messages as the template takes them."""
        if self.takes_system or len(messages) < 2 or messages[0]["role"] != "system":
            return list(messages)
        first = f"{messages[0]['content']}\n\n{messages[1]['content']}"
        return [{**messages[1], "content": first}, *messages[2:]]

    def questions(self, asked: Sequence[Sequence[Message]]) -> Any:
        """As :meth:`opening`, of several: ``input_ids`` and ``attention_mask`` as tensors, padded to the longest."""
        return self.tokenizer.apply_chat_template(
            [self.folded(messages) for messages in asked],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
            sanitize_control_tokens=True,
        )

    def answer(self, text: str) -> list[int]:
        """The tokens of an answer to imitate, with its end: those that the model is to say."""
        if self.opened:
            text = text.removeprefix(THINK) if text.startswith(THINK) else f"</think>\n{text}"
        return [*self.encode(text), *self.closing]

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, in which the name of a special token is text too."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer up to its end, from where its ``<think>`` block was opened."""
        said = list(itertools.takewhile(lambda one: one not in self.ends, ids))
        text: str = self.tokenizer.decode(said, skip_special_tokens=True)
        return self.opened + text

    def render(self, messages: Sequence[Message], **options: Any) -> list[int]:
        ids: list[int] = self.tokenizer.apply_chat_template(
            list(messages), tokenize=True, return_dict=False, sanitize_control_tokens=True, **options
        )
        return ids


def written(tokenizer: Any, messages: Sequence[Message], lenient: bool = False) -> str:
    """What the template writes of messages, up to where an answer follows a user's; "" where it refuses them."""
    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=messages[-1]["role"] == "user"
        )
    except TemplateError as error:
        if lenient:
            return ""
        raise RecipeError(
            f"The tokenizer's chat template refuses a conversation of {len(messages)} messages, user first: {error}. "
            "Give a model with a chat template for plain conversations."
        ) from error
    return text


def takes_system(tokenizer: Any) -> bool:
    """Whether a template writes system messages; some raise an error, some leave them out."""
    return SYSTEM in written(tokenizer, [{"role": "system", "content": SYSTEM}, *SAID[:1]], lenient=True)


def closing_of(tokenizer: Any, ends: Sequence[int], behind: str) -> tuple[int, ...]:
    """The tokens that end an answer, out of what a template writes behind one."""
    if not ends:
        raise RecipeError(
            "Neither the tokenizer nor the model's generation settings name a token that ends an answer. Set "
            "eos_token in the tokenizer's tokenizer_config.json."
        )
    special = {one for one, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids: list[int] = tokenizer(behind, add_special_tokens=False).input_ids
    at = next((i for i, one in enumerate(ids) if one in special), None)
    if at is None or ids[at] not in ends or tokenizer.decode(ids[:at]).strip():
        return tuple(ends[:1])
    return tuple(ids[: at + 1])


def opened_by(text: str) -> str:
    """The end of what a template writes before an answer, where it begins to think for the model."""
    found = _OPENED.search(text)
    return found[0] if found else ""


def end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end an answer: the tokenizer's end first, then those of the model's generation settings."""
    given = getattr(model.generation_config, "eos_token_id", None)
    others = given if isinstance(given, list) else [given]
    return tuple(dict.fromkeys(one for one in (tokenizer.eos_token_id, *others) if one is not None))
