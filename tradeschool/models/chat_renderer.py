"""Chat messages as tokens, the way a model's chat template writes them.

Message text is always plain text: only the template's own markers become the tokens that begin and end turns. A
conversation is appended to and never rendered twice. Chat templates may render the past differently once a conversation
goes on (Qwen3's drop earlier thinking), which would change tokens that a model has generated and been trained on.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from jinja2 import TemplateError
from pydantic import AfterValidator, StringConstraints

from tradeschool.chat import Message, merge_user_messages
from tradeschool.config.check import WORDS
from tradeschool.errors import RecipeError

THINK = "<think>"
_ANSWER, _SYSTEM = "@@answer@@", "@@system@@"
_QUESTION: list[Message] = [{"role": "user", "content": "."}]
_ANSWERED: list[Message] = [*_QUESTION, {"role": "assistant", "content": _ANSWER}]
"""Conversations that a template is asked to write, to see what it writes around messages."""
_OPENED = re.compile(THINK + r"\s*\Z")


@dataclass(frozen=True)
class ChatRenderer:
    """Writes conversations with the chat template of ``tokenizer``.

    Attributes:
        tokenizer: the tokenizer.
        ends: the tokens at any of which the model stops.
        closing: the tokens that end an answer in training data. These are the template's own where they end with one of
            ``ends``, else the first of ``ends``.
        opened: the end of the prompt where the template opens a ``<think>`` block for the model, else "". Its tokens
            belong to the prompt and bear no loss; its text belongs to the answer that is parsed.
        takes_system: whether the template writes system messages. Where it does not, the system message is put in front
            of the first user message.
    """

    tokenizer: Any
    ends: tuple[int, ...]
    closing: tuple[int, ...]
    opened: str
    takes_system: bool
    _around: dict[tuple[str, ...], list[str] | None] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    @classmethod
    def of(cls, tokenizer: Any, ends: Sequence[int]) -> "ChatRenderer":
        """Probe the chat template of ``tokenizer``.

        Raises:
            RecipeError: the template refuses a question, or no token ends an answer.
        """
        opened = _OPENED.search(_written(tokenizer, _QUESTION))
        answered = _written(tokenizer, [*_ANSWERED, *_QUESTION], lenient=True)
        answered = answered or _written(tokenizer, _ANSWERED, lenient=True)
        closing = _closing(tokenizer, ends, answered.partition(_ANSWER)[2])
        system = _written(tokenizer, [{"role": "system", "content": _SYSTEM}, *_QUESTION], lenient=True)
        return cls(tokenizer, tuple(ends), closing, opened[0] if opened else "", _SYSTEM in system)

    # prompts

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of the first messages, up to where the first answer begins."""
        return self._render(self.supported(messages), add_generation_prompt=True)

    def prompt_batch(self, conversations: Sequence[Sequence[Message]]) -> Any:
        """The prompts of several conversations, padded left: tensors ``input_ids`` and ``attention_mask``."""
        return self.tokenizer.apply_chat_template(
            [self.supported(messages) for messages in conversations],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
            sanitize_control_tokens=True,
        )

    def supported(self, messages: Sequence[Message]) -> list[Message]:
        """The messages in the roles that the template takes: without system or tool messages where it knows none."""
        messages = list(messages)
        if any(message["role"] == "tool" for message in messages) and self._texts_around(("tool",)) is None:
            messages = _tools_as_user(messages)
        if self.takes_system or len(messages) < 2 or messages[0]["role"] != "system":
            return messages
        first = f"{messages[0]['content']}\n\n{messages[1]['content']}"
        return [{**messages[1], "content": first}, *messages[2:]]

    # answers

    def answer(self, text: str) -> list[int]:
        """The tokens that the model should generate for an answer, its end included."""
        if self.opened:
            text = text.removeprefix(THINK) if text.startswith(THINK) else f"</think>\n{text}"
        return [*self.encode(text), *self.closing]

    def encode(self, text: str) -> list[int]:
        """The tokens of a text. The name of a special token is text like any other."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a generated answer up to its end, a ``<think>`` that the template opened included."""
        answer = list(itertools.takewhile(lambda one: one not in self.ends, ids))
        text: str = self.tokenizer.decode(answer, skip_special_tokens=True)
        return self.opened + text

    # later turns

    def check_multi_turn(self) -> None:
        """Refuse a template that cannot write a conversation of several turns."""
        self._texts_around(("user",))

    def next_turn(self, messages: Sequence[Message], answer_ids: Sequence[int]) -> list[int]:
        """The tokens from the end of an answer to where the next one begins, ``messages`` between them.

        Args:
            messages: roles user or tool. Where the template knows no tool messages they are written as user messages.
            answer_ids: the tokens of the previous answer. Where they include its end, it is not written again.
        """
        around = self._texts_around(tuple(message["role"] for message in messages))
        if around is None:
            messages = _tools_as_user(messages)
            around = self._texts_around(tuple(message["role"] for message in messages)) or []
        template = _literal(around[0])
        for i, text in enumerate(around[1:]):
            template += f"{{{{ messages[{i}]['content'] }}}}{_literal(text)}"
        ids = self._render(messages, chat_template=template)
        ended = bool(answer_ids) and answer_ids[-1] == self.closing[-1] and ids[: len(self.closing)] == [*self.closing]
        return ids[len(self.closing) :] if ended else ids

    def _texts_around(self, roles: tuple[str, ...]) -> list[str] | None:
        """What the template writes before, between and after messages that follow an answer; None where it cannot."""
        if roles not in self._around:
            marks = [f"@@message{i}@@" for i in range(len(roles))]
            added = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
            only_user = set(roles) == {"user"}
            text = _written(self.tokenizer, [*_ANSWERED, *added], lenient=not only_user)
            around = re.split("|".join(marks), text.partition(_ANSWER)[2])
            shown = [text.count(mark) for mark in (_ANSWER, *marks)]
            whole = len(around) == len(marks) + 1 and set(shown) == {1}
            if not whole and only_user:
                raise RecipeError(
                    "The tokenizer's chat template does not write a conversation turn by turn, so this model cannot "
                    "play episodes. Use a model with a chat template for several turns."
                )
            self._around[roles] = around if whole else None
        return self._around[roles]

    def _render(self, messages: Sequence[Message], **options: Any) -> list[int]:
        ids: list[int] = self.tokenizer.apply_chat_template(
            list(messages), tokenize=True, return_dict=False, sanitize_control_tokens=True, **options
        )
        return ids


@dataclass(frozen=True)
class Transcript:
    """A conversation as tokens: ``ids``, and for each token the number of the answer it is part of, -1 if of none."""

    ids: list[int]
    turns: list[int]


def transcribe(renderer: ChatRenderer, messages: Sequence[Message]) -> Transcript:
    """The tokens of a conversation with known answers, as they would have been seen and generated turn by turn.

    Raises:
        RecipeError: the template cannot write several turns.
    """
    first = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    ids = renderer.prompt(messages[:first])
    turns = [-1] * len(ids)
    answer: list[int] = []
    number = -1
    for is_answer, group in itertools.groupby(messages[first:], lambda message: message["role"] == "assistant"):
        if is_answer:
            number += 1
            added = answer = renderer.answer(next(group)["content"])
        else:
            added = renderer.next_turn(list(group), answer)
        ids, turns = ids + added, turns + [number if is_answer else -1] * len(added)
    return Transcript(ids, turns)


def end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end an answer: the tokenizer's end first, then those of the model's generation settings."""
    given = getattr(model.generation_config, "eos_token_id", None)
    others = given if isinstance(given, list) else [given]
    return tuple(dict.fromkeys(one for one in (tokenizer.eos_token_id, *others) if one is not None))


def positions_of(model: Any) -> int | None:
    """How many positions the model's context has; None where it does not say."""
    positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return positions


def _written(tokenizer: Any, messages: Sequence[Message], lenient: bool = False) -> str:
    """What the template writes, up to where an answer follows; where ``lenient``, "" if it refuses the messages."""
    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=messages[-1]["role"] != "assistant"
        )
    except TemplateError as error:
        if lenient:
            return ""
        raise RecipeError(
            f"The tokenizer's chat template refuses a conversation of {len(messages)} messages, user first: {error}. "
            "Use a model with a chat template for plain conversations."
        ) from error
    return text


def _closing(tokenizer: Any, ends: Sequence[int], behind: str) -> tuple[int, ...]:
    """The tokens that end an answer, out of the text that a template writes after one."""
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


def _tools_as_user(messages: Sequence[Message]) -> list[Message]:
    return merge_user_messages([{**one, "role": "user"} if one["role"] == "tool" else one for one in messages])


def _literal(text: str) -> str:
    """A text as an expression of a Jinja template."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}"


# the template of a loaded tokenizer ---------------------------------------------------------------

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{{ eos_token }}{% endif %}{% endfor %}"
)
"""For models without a chat template (base models): plain text."""
_SET = re.compile(r'\{% set (\w+) = (?:true|false|-?[\d.eE+-]+|"(?:[^"\\]|\\.)*") %\}')
"""A statement at the head of a template that sets a variable."""


def _not_a_truth_word(value: bool | int | float | str) -> bool | int | float | str:
    if isinstance(value, str) and value.casefold() in (*WORDS, "true", "false"):
        raise ValueError(f"is {value!r}, a text, which would count as true. Write true or false")
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*$")]
TemplateVariables = dict[Name, Annotated[bool | int | float | str, AfterValidator(_not_a_truth_word)]]
"""Variables for a chat template, such as ``{enable_thinking: false}``."""


def prepare_template(tokenizer: Any, variables: Mapping[str, Any]) -> None:
    """Leave a tokenizer with one chat template that sets ``variables`` at its head.

    A variable that was set before the tokenizer was saved is set again.

    Raises:
        RecipeError: the template does not name a variable, or none of several templates is the default one.
    """
    try:
        rest = tokenizer.get_chat_template() if tokenizer.chat_template else PLAIN_TEMPLATE
    except ValueError as error:
        raise RecipeError(
            f"The tokenizer has several chat templates, and none is called 'default' ({error}). Save it with the one "
            "for plain conversations as chat_template.jinja, and name the folder in model.base."
        ) from error
    head: dict[str, str] = {}
    while found := _SET.match(rest):
        head[found[1]] = found[0]
        rest = rest[found.end() :]
    for name in variables:
        if not re.search(rf"\b{name}\b", rest):
            raise RecipeError(
                f"model.template.{name}: the chat template does not use this variable. Look for its variables in "
                "chat_template.jinja or tokenizer_config.json."
            )
    new = {name: f"{{% set {name} = {json.dumps(value, ensure_ascii=False)} %}}" for name, value in variables.items()}
    tokenizer.chat_template = "".join({**head, **new}.values()) + rest
