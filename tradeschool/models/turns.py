"""Conversations as tokens: a turn is appended to what was said, and nothing is rendered twice.

Chat templates may render a conversation's past differently once it goes on (Qwen3's drop old thinking), which would
change tokens that a model has generated and been trained on. So a template is asked once for what stands between an
answer and the next one, and the tokens of every turn are those that were seen when it was said.

A message is text, whatever it says: only the template's own markers become the tokens that begin and end turns.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tradeschool.errors import RecipeError

Message = dict[str, str]
ANSWER, HEARD = "@@answer@@", "@@heard@@"
THINK = "<think>"
_OPENED = re.compile(THINK + r"\s*\Z")


@dataclass(frozen=True)
class Turn:
    """A question and its answer, as a tokenizer's chat template writes them.

    ``ends`` are the tokens that end an answer. ``opened`` is what the question ends with where that opens a
    ``<think>`` block for the model: its tokens are heard and bear no loss, its text belongs to the answer that is read.
    """

    tokenizer: Any
    ends: tuple[int, ...]
    opened: str

    @classmethod
    def of(cls, tokenizer: Any, ends: Sequence[int]) -> "Turn":
        """Ask the template of ``tokenizer``."""
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "."}], tokenize=False, add_generation_prompt=True
        )
        return Turn(tokenizer, tuple(ends), _opened(text))

    def opening(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of the first messages, up to where the first answer begins."""
        return self._render(messages, add_generation_prompt=True)

    def questions(self, asked: Sequence[Sequence[Message]]) -> Any:
        """As :meth:`opening`, of several: ``input_ids`` and ``attention_mask`` as tensors, padded to the longest."""
        return self.tokenizer.apply_chat_template(
            [list(messages) for messages in asked],
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
        return [*self.encode(text), self.ends[0]]

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, in which the name of a special token is text too."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without its end, from where its ``<think>`` block was opened."""
        text: str = self.tokenizer.decode([one for one in ids if one not in self.ends], skip_special_tokens=True)
        return self.opened + text

    def _render(self, messages: Sequence[Message], **options: Any) -> list[int]:
        ids: list[int] = self.tokenizer.apply_chat_template(
            list(messages), tokenize=True, return_dict=False, sanitize_control_tokens=True, **options
        )
        return ids


@dataclass(frozen=True)
class Turns(Turn):
    """A conversation of several. ``between`` stands after an answer and before the next user message, ``after`` behind
    that message."""

    between: str
    after: str

    @classmethod
    def of(cls, tokenizer: Any, ends: Sequence[int]) -> "Turns":
        """Ask the template of ``tokenizer``.

        Raises:
            RecipeError: the template does not show the messages as they are.
        """
        messages = [
            {"role": "user", "content": "."},
            {"role": "assistant", "content": ANSWER},
            {"role": "user", "content": HEARD},
        ]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if text.count(ANSWER) != 1 or text.count(HEARD) != 1 or text.index(ANSWER) > text.index(HEARD):
            raise RecipeError(
                "The tokenizer's chat template does not write a conversation turn by turn, so episodes cannot be told "
                "to this model. Give a model with a chat template for several turns."
            )
        between, after = text.split(ANSWER)[1].split(HEARD)
        return cls(tokenizer, tuple(ends), _opened(after), between, after)

    def heard(self, text: str, said: Sequence[int]) -> list[int]:
        """The tokens from the end of the answer ``said`` to where the next one begins, ``text`` between them.

        The end token that the template writes is left out where the answer has ended with one itself.
        """
        around = f"{_literal(self.between)}{{{{ messages[0]['content'] }}}}{_literal(self.after)}"
        ids = self._render([{"role": "user", "content": text}], chat_template=around)
        if said and said[-1] in self.ends and ids and ids[0] in self.ends:
            return ids[1:]
        return ids


def _opened(text: str) -> str:
    """The end of what a template writes before an answer, where it begins to think for the model."""
    found = _OPENED.search(text)
    return found[0] if found else ""


def _literal(text: str) -> str:
    """A text as a Jinja template writes it."""
    return f"{{{{ {json.dumps(text)} }}}}"


def end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end an answer: the tokenizer's end first, then those of the model's generation settings."""
    given = getattr(model.generation_config, "eos_token_id", None)
    others = given if isinstance(given, list) else [given]
    return tuple(dict.fromkeys(one for one in (tokenizer.eos_token_id, *others) if one is not None))


@dataclass(frozen=True)
class Transcript:
    """A conversation as tokens: ``ids`` of all of it, and for each the turn that said it, -1 where it was heard."""

    ids: list[int]
    turns: list[int]


def transcribe(turns: Turns, messages: Sequence[Message]) -> Transcript:
    """A conversation whose answers are known, as it would have been said: the tokens of expert episodes."""
    first = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    ids = turns.opening(messages[:first])
    whose = [-1] * len(ids)
    said: list[int] = []
    day = -1
    for message in messages[first:]:
        if message["role"] == "assistant":
            day += 1
            said = turns.answer(message["content"])
            ids, whose = ids + said, whose + [day] * len(said)
        else:
            heard = turns.heard(message["content"], said)
            ids, whose = ids + heard, whose + [-1] * len(heard)
    return Transcript(ids, whose)
