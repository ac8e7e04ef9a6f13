"""The interface of every policy: a rule, a language model, a remote server, a person."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from tradeschool.chat import Chat, Message

T = TypeVar("T")
Kind = Literal["naive", "rule", "base", "trained", "decisions", "best", "bound"]
"""``base`` is a model as it was given to a run, trained or not; ``trained`` is one that the run has trained. ``best``
and ``bound`` are not competitors: the best possible answers, and a ridge regression on as many outcomes."""
YARDSTICKS: tuple[Kind, ...] = ("best", "bound")


class Answerer(ABC):
    """Whatever answers a task's single questions. ``kind`` says how a report treats its row."""

    name: str
    kind: Kind

    @abstractmethod
    def answer(self, task: Any, examples: Sequence[Any]) -> list[str]:
        """One answer to each example of the task."""


class Policy(Answerer):
    """Answers conversations in batches, as text."""

    @abstractmethod
    def generate(self, conversations: Sequence[Sequence[Message]], n: int = 1) -> list[list[str]]:
        """``n`` answers to each conversation, in order. A policy that does not sample gives ``n`` equal ones."""

    def answer(self, task: Any, examples: Sequence[Any]) -> list[str]:
        """One answer to each example of the task, from its messages."""
        return [answers[0] for answers in self.generate([task.messages(example) for example in examples])]

    def chat(self) -> Chat:
        """Conversations of several turns. By default every turn generates from the whole history."""
        return HistoryChat(self)


def make_policy(policy_class: Callable[..., T], task: Any) -> T:
    """A policy or rule of the user's own. Its constructor takes the task, or nothing; other arguments need defaults."""
    first = next(iter(inspect.signature(policy_class).parameters.values()), None)
    if first is None or (first.default is not first.empty and first.name != "task"):
        return policy_class()
    return policy_class(task)


class HistoryChat:
    """Conversations with a policy that keeps no state between turns, such as a server."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def start(self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int] | None = None) -> None:
        """Begin with the messages up to the first answer. ``seeds`` are not used."""
        self._history_B = [list(messages) for messages in conversations]

    def answer(self, live: Sequence[bool]) -> list[str | None]:
        """The next answer of each conversation that is live; None in the others."""
        answer_B: list[str | None] = [None] * len(self._history_B)
        asked = [b for b, is_live in enumerate(live) if is_live]
        for b, answers in zip(asked, self._policy.generate([self._history_B[b] for b in asked]), strict=True):
            answer_B[b] = answers[0]
            self._history_B[b].append({"role": "assistant", "content": answers[0]})
        return answer_B

    def add_user_turn(self, turns: Sequence[Sequence[Message]]) -> None:
        """Add the messages that follow each answer."""
        for history, messages in zip(self._history_B, turns, strict=True):
            history += messages
