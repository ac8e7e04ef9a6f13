"""Conversations as tokens: a turn is appended to what was said, and nothing is rendered twice.

Chat templates may render a conversation's past differently once it goes on (Qwen3's drop old thinking), which would
change tokens that a model has generated and been trained on. So a template is asked once for what stands between an
answer and the next one, and the tokens of every turn are those that were seen when it was said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tradeschool.errors import RecipeError

Message = dict[str, str]
ANSWER, HEARD = "@@answer@@", "@@heard@@"


@dataclass(frozen=True)
class Turns:
    """What a tokenizer's chat template writes around the turns of a conversation.

    ``between`` stands after an answer and before the next user message, ``after`` behind that message.
    """

    tokenizer: Any
    ends: tuple[int, ...]
    between: str
    after: str

    @classmethod
    def of(cls, tokenizer: Any, ends: Sequence[int]) -> "Turns":
        """Ask the template of ``tokenizer``; ``ends`` are the tokens that end an answer.

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
        return cls(tokenizer, tuple(ends), between, after)

    def opening(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of the first messages, up to where the first answer begins."""
        text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return self.encode(text)

    def heard(self, text: str, said: Sequence[int]) -> list[int]:
        """The tokens from the end of the answer ``said`` to where the next one begins, ``text`` between them.

        The end token that the template writes is left out where the answer has ended with one itself.
        """
        ids = self.encode(self.between + text + self.after)
        if said and said[-1] in self.ends and ids and ids[0] in self.ends:
            return ids[1:]
        return ids

    def answer(self, text: str) -> list[int]:
        """The tokens of an answer to imitate, with its end."""
        return [*self.encode(text), self.ends[0]]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without its end."""
        text: str = self.tokenizer.decode([one for one in ids if one not in self.ends], skip_special_tokens=True)
        return text


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

    @property
    def said(self) -> list[int]:
        """1 where the model spoke, 0 where it listened."""
        return [int(turn >= 0) for turn in self.turns]


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
