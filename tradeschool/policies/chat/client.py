"""Asks an OpenAI-compatible chat server many conversations at once, within limits, and keeps count."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradeschool.policies.chat.config import EXAMPLE, RemoteError, ServerConfig, endpoint
from tradeschool.policies.chat.meter import Meter
from tradeschool.policies.chat.reading import Failed
from tradeschool.policies.chat.store import AnswerStore

if TYPE_CHECKING:
    import httpx2

Conversation = Sequence[Mapping[str, str]]
FAILED_IN_A_ROW = 10
"""Requests that came to nothing, one after the other, after which no more are sent."""

logger = logging.getLogger(__name__)


@dataclass
class _Batch:
    answers: list[str | None]
    done: int = 0
    fatal: RemoteError | None = None


class ChatClient:
    """One server, one model; the ``meter`` sums up all that was asked through it.

    Requests run on one event loop: so many may be under way at once, each has a time-out as a whole, and Ctrl-C ends
    all of them at once, where threads would wait for their sockets. One batch at a time.

    Args:
        config: the server and the limits.
        environ: where the key comes from, and the address and the model that ``config`` leaves out.
        on_answer: called with the number of answers of the batch so far.

    Raises:
        RemoteError: no server or model is named, the key cannot be one, or the file of answers cannot be used.
    """

    def __init__(
        self,
        config: ServerConfig,
        environ: Mapping[str, str] = os.environ,
        on_answer: Callable[[int], None] = lambda count: None,
    ) -> None:
        from tradeschool.policies.chat.sender import Sender

        self.config = config
        self.endpoint = endpoint(config, environ)
        self.meter = Meter()
        self._sender = Sender(config, self.endpoint, self.meter)
        self._store = AnswerStore(config.answers) if config.answers else None
        self._on_answer = on_answer
        self._failed_in_a_row = 0

    def __repr__(self) -> str:
        return f"ChatClient({self.endpoint.model} at {self.endpoint.url})"

    def answers(self, conversations: Sequence[Conversation]) -> list[str | None]:
        """One answer per conversation, in order; None where a request came to nothing after its retries.

        Raises:
            SpendingLimit: asking on could cost more than the limit; the error holds the answers so far.
            RemoteError: no request will be answered, or none was: the text says why, and the cure.
        """
        from anyio.from_thread import start_blocking_portal

        from tradeschool.policies.chat.sender import SpendingLimit

        batch = _Batch([None] * len(conversations))
        wanted = list(filter(None, (self._request(batch, n, messages) for n, messages in enumerate(conversations))))
        if wanted:
            # A loop in a thread of its own also works in a notebook, where one is running already.
            with start_blocking_portal() as portal:
                portal.call(self._ask_all, batch, wanted)
        if batch.fatal is None:
            return batch.answers
        if isinstance(batch.fatal, SpendingLimit):
            batch.fatal.answers = batch.answers
        raise batch.fatal

    def _request(self, batch: _Batch, n: int, messages: Conversation) -> tuple[int, dict[str, Any], str] | None:
        """What conversation ``n`` sends, and its key in the file of answers; None where the file has the answer."""
        body = {**self.config.body, "model": self.endpoint.model, "messages": [dict(one) for one in messages]}
        if self._store is None:
            return n, body, ""
        key = self._store.key(self.endpoint.url, body)
        known = self._store.get(key)
        if known is None:
            return n, body, key
        batch.answers[n] = known
        self.meter.reused += 1
        return None

    async def _ask_all(self, batch: _Batch, wanted: list[tuple[int, dict[str, Any], str]]) -> None:
        import anyio

        from tradeschool.policies.chat.sender import SpendingLimit

        places = anyio.Semaphore(self.config.at_once)
        async with self._sender.open() as http, anyio.create_task_group() as group:

            async def one(n: int, body: dict[str, Any], key: str) -> None:
                async with places:
                    if batch.fatal is not None:
                        return
                    try:
                        await self._ask(http, batch, n, body, key)
                    except RemoteError as error:
                        batch.fatal = batch.fatal or error
                        # What is under way when the money ends is paid for, and awaited.
                        if not isinstance(error, SpendingLimit):
                            group.cancel_scope.cancel()

            for request in wanted:
                group.start_soon(one, *request)
        if batch.fatal is None and not self.meter.calls and not self.meter.reused:
            batch.fatal = self._nothing_came("")

    async def _ask(self, http: "httpx2.AsyncClient", batch: _Batch, n: int, body: dict[str, Any], key: str) -> None:
        try:
            answer = await self._sender.ask(http, body)
        except Failed as failure:
            self._count_failure(str(failure))
            return
        self._failed_in_a_row = 0
        batch.answers[n] = answer
        batch.done += 1
        if self._store is not None:
            self._store.add(key, answer)
        self._on_answer(batch.done)

    def _count_failure(self, reason: str) -> None:
        logger.info("%s: a request failed: %s", self.endpoint.url, reason)
        self.meter.failures[reason] += 1
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILED_IN_A_ROW:
            raise self._nothing_came("the last ")

    def _nothing_came(self, which: str) -> RemoteError:
        count = self._failed_in_a_row
        reasons = ", ".join(f"{times} x {reason}" for reason, times in self.meter.failures.most_common(3))
        return RemoteError(
            f"{self.endpoint.url} answered none of {which}{count} request{'s' * (count > 1)} "
            f"({self.config.retries} retries each): {reasons}. {_cure(reasons)}"
        )


def _cure(reasons: str) -> str:
    if "no connection" in reasons:
        return f"Is the server running, and base_url its address, like {EXAMPLE}?"
    if "no answer within" in reasons:
        return "Raise timeout, or lower at_once or request.max_tokens."
    if "status 429" in reasons:
        return "Lower requests_per_minute and at_once."
    if "status 4" in reasons:
        return "Change what the server names: a field of request (null leaves it out), or the length of what is asked."
    return "Look into the server's log."
