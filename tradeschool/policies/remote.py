"""A model behind an OpenAI-compatible chat server: as a policy of one turn, and as a trader of episodes."""

from collections.abc import Sequence

import numpy as np

from tradeschool.env.conversation import FACTS, Form, opening, turn
from tradeschool.env.harness import State
from tradeschool.policies.base import Kind, Policy
from tradeschool.policies.chat.client import ChatClient
from tradeschool.policies.chat.config import RemoteError
from tradeschool.tasks.base import Message, Prompt


class RemotePolicy(Policy):
    """Answers prompts through a chat server.

    A request that came to nothing after its retries is an empty answer, which a task cannot read; ``client.meter``
    counts it with its reason.

    Args:
        client: the server.
        name: as tables call it; the model's where it is left out.
        kind: how a report treats its row.
    """

    def __init__(self, client: ChatClient, *, name: str = "", kind: Kind = "untrained") -> None:
        self.client = client
        self.name, self.kind = name or client.endpoint.model, kind

    def reply(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer per prompt, in order.

        Raises:
            RemoteError: the server will not answer, or the spending limit is reached.
        """
        return [whole(answer or "") for answer in self.client.answers([prompt.messages for prompt in prompts])]


class RemoteTrader:
    """Trades text episodes: an ``Agent`` that keeps a conversation per episode and only ever appends to it.

    The conversations stand in ``state.memory["messages"]``, and by seed in ``conversations``: system, user,
    assistant, user, and so on. Each day the episodes that are not over are asked side by side. A request that came
    to nothing is an empty answer, which the environment refuses and counts; ``client.meter`` counts it with its reason.

    Args:
        client: the server.
        name: as tables call it; the model's where it is left out.
        form, facts: how a day is told, and what of it; see ``env/conversation.py``.
    """

    def __init__(
        self, client: ChatClient, *, name: str = "", form: Form = "text", facts: Sequence[str] = FACTS
    ) -> None:
        self.client, self.name = client, name or client.endpoint.model
        self.conversations: dict[int, list[Message]] = {}
        self._form, self._facts = form, facts

    def act(self, observations: Sequence[str], state: State) -> list[str]:
        """The day's orders in every episode; an empty text where it is over.

        Raises:
            RemoteError: the observations are numbers, the server will not answer, or the spending limit is reached.
        """
        if state.config.observation != "text":
            raise RemoteError(f"{self.name} reads texts. Play it with observation: text.")
        if state.day == 0:
            system = {"role": "system", "content": opening(state.config, self._form, self._facts)}
            state.memory["messages"] = [[system] for _ in observations]
            self.conversations.update(zip(state.seeds, state.memory["messages"], strict=True))
        conversations: list[list[Message]] = state.memory["messages"]
        live = np.flatnonzero(state.live_B).tolist()
        for b in live:
            conversations[b].append({"role": "user", "content": turn(observations[b], self._form, self._facts)})
        answers = self.client.answers([sendable(conversations[b]) for b in live])
        said = [""] * len(observations)
        for b, answer in zip(live, answers, strict=True):
            said[b] = whole(answer or "")
            conversations[b].append({"role": "assistant", "content": said[b]})
        return said


def whole(answer: str) -> str:
    """An answer with the ``<think>`` that its server's template opened for the model, and did not send with it.

    A server without a parser of reasoning sends what came after the prompt alone. The model did begin by thinking, so
    a conversation holds the opening too; templates leave out the thinking of earlier days by both its ends.
    """
    return f"<think>\n{answer}" if "</think>" in answer and "<think>" not in answer else answer


def sendable(messages: Sequence[Message]) -> list[Message]:
    """A conversation without its empty answers, which some servers refuse; the days around one become one message."""
    found: list[Message] = []
    for message in messages:
        if message["role"] == "assistant" and not message["content"].strip():
            continue
        if found and found[-1]["role"] == message["role"] == "user":
            found[-1] = {"role": "user", "content": f"{found[-1]['content']}\n\n{message['content']}"}
        else:
            found.append(message)
    return found
