"""Conversations between a policy and an environment: messages, steps, and the interfaces of both sides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tradeschool.trace import Stop

Message = dict[str, str]
"""``role`` (system, user, assistant or tool) and ``content``."""


def merge_user_messages(messages: Sequence[Message]) -> list[Message]:
    """Neighbouring user messages as one, because many chat templates and servers want roles to alternate."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"] == "user":
            merged[-1] = {"role": "user", "content": f"{merged[-1]['content']}\n\n{message['content']}"}
        else:
            merged.append(message)
    return merged


@dataclass(frozen=True)
class StepResult:
    """An environment's reply to an answer.

    Attributes:
        messages: the next messages to the policy, in the roles user or tool; none where ``done``.
        rewards: of this answer, by component.
        done: whether the conversation is over.
        info: all optional: ``action``, the parsed answer (None where it cannot be parsed); ``error``, why it cannot be
            parsed; ``state``, a hashable state in which the answer was given, within which turn-level advantages
            compare answers; ``restart``, whether ``messages`` begin a new conversation without those before; ``stop``,
            a :data:`tradeschool.trace.Stop` where the conversation ended early.
    """

    messages: list[Message]
    rewards: dict[str, float] = field(default_factory=dict)
    done: bool = False
    info: dict[str, Any] = field(default_factory=dict)


class ChatEnv(Protocol):
    """A task of several turns as a conversation. One object holds one conversation at a time."""

    def reset(self, example: Any) -> list[Message]:
        """Begin the conversation of a :class:`tradeschool.tasks.base.Example`: the messages up to the first answer."""

    def step(self, completion: str) -> StepResult:
        """Take an answer; "" where the policy has none. A bad answer is data, not an error."""


class Chat(Protocol):
    """B conversations of one policy, side by side."""

    def start(self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int] | None = None) -> None:
        """Begin with the messages up to the first answer. ``seeds`` fix what is drawn in each conversation."""

    def answer(self, live: Sequence[bool]) -> list[str | None]:
        """The next answer of each; None where it is not live, or has no room left in the model's context."""

    def add_user_turn(self, turns: Sequence[Sequence[Message]]) -> None:
        """Add the messages that follow each answer; none where a conversation is over."""


@dataclass(frozen=True)
class Turn:
    """An answer, None where the policy had no room for one, and the environment's reply."""

    completion: str | None
    result: StepResult


@dataclass
class Episode:
    """One conversation of a policy with an environment.

    Attributes:
        example: the example that ``env`` was reset to.
        env: the environment, in its last state.
        messages: the whole conversation; answers that were not given are left out.
        turns: one for each step of the environment.
    """

    example: Any
    env: ChatEnv
    messages: list[Message]
    turns: list[Turn] = field(default_factory=list)

    @property
    def answers(self) -> int:
        """How many answers were given."""
        return sum(turn.completion is not None for turn in self.turns)

    @property
    def unread(self) -> int:
        """How many answers could not be read."""
        return sum(turn.completion is not None and turn.result.info.get("action") is None for turn in self.turns)

    @property
    def out_of_room(self) -> bool:
        """Whether the policy had no room left for an answer."""
        return any(turn.completion is None for turn in self.turns)

    @property
    def stop(self) -> Stop:
        """Why the conversation ended."""
        last = self.turns[-1].result if self.turns else StepResult([])
        if "stop" in last.info:
            stop: Stop = last.info["stop"]
            return stop
        if self.out_of_room:
            return "max_tokens"
        return "answered" if last.done else "max_turns"
