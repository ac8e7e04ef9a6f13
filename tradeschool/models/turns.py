"""Conversations as tokens: a turn is appended to what was said, and nothing is rendered twice.

Chat templates may render a conversation's past differently once it goes on (Qwen3's drop old thinking), which would
change tokens that a model has generated and been trained on. So a template is asked once for what stands between an
answer and the next one, and the tokens of every turn are those that were seen when it was said.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tradeschool.errors import RecipeError
from tradeschool.models.turn import ANSWER, HEARD, SAID, Message, Turn, closing_of, opened_by, takes_system, written


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
            RecipeError: as :meth:`Turn.of`, or the template does not show the messages as they are.
        """
        text = written(tokenizer, SAID)
        if text.count(ANSWER) != 1 or text.count(HEARD) != 1 or text.index(ANSWER) > text.index(HEARD):
            raise RecipeError(
                "The tokenizer's chat template does not write a conversation turn by turn, so episodes cannot be told "
                "to this model. Give a model with a chat template for several turns."
            )
        between, after = text.split(ANSWER)[1].split(HEARD)
        closing = closing_of(tokenizer, ends, between)
        return cls(tokenizer, tuple(ends), closing, opened_by(after), takes_system(tokenizer), between, after)

    def heard(self, text: str, said: Sequence[int]) -> list[int]:
        """The tokens from the end of the answer ``said`` to where the next one begins, ``text`` between them.

        The end that the template writes is left out where the answer has ended with it itself.
        """
        around = f"{_literal(self.between)}{{{{ messages[0]['content'] }}}}{_literal(self.after)}"
        ids = self.render([{"role": "user", "content": text}], chat_template=around)
        ended = bool(said) and said[-1] == self.closing[-1] and ids[: len(self.closing)] == list(self.closing)
        return ids[len(self.closing) :] if ended else ids


def _literal(text: str) -> str:
    """A text as a Jinja template writes it."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}"


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
