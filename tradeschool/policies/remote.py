"""Models behind an OpenAI-compatible chat server, through the openai client."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tradeschool.chat import Message, merge_user_messages
from tradeschool.policies.base import Kind, Policy
from tradeschool.policies.remote_config import (
    BASE_URL,
    EXAMPLE_URL,
    MODEL,
    OPENAI_HOST,
    OPENAI_KEY,
    OWN_KEY,
    AnswerFile,
    RemoteError,
    ServerConfig,
    endpoint,
)

if TYPE_CHECKING:
    import httpx2
    from openai import APIStatusError, AsyncOpenAI

MAX_FAILURES_IN_A_ROW = 10
"""Failed requests without an answer in between, after which no more are sent."""
HEADERS = frozenset(
    {"host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length"}
    | {"x-stainless-raw-response"}
)
"""All that is sent besides the API key. The openai client would add keys that it finds in the environment."""
OF_ONE_REQUEST = (400, 408, 409, 413, 414, 422, 429)
"""Statuses below 500 that perhaps do not refuse the next request too. The openai client retries 408, 409 and 429."""
OUT_OF_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")
MAX_QUOTE = 300
KEY_CURE = (
    f"Check the key in {OWN_KEY}, or {OPENAI_KEY} for {OPENAI_HOST}. {OWN_KEY} is sent only to the server in "
    f"{BASE_URL}: set that as well if you trust this server."
)


class SpendingLimit(RemoteError):
    """The next request could exceed the limit."""


class _RequestFailed(Exception):
    """One request has failed, another may not. The text is the reason."""


@dataclass
class Usage:
    """What was sent through a client, and what it cost.

    Attributes:
        seconds: latency of each answered request.
        prompt_tokens, completion_tokens: in all; None where the server reports none.
        truncated: answers cut off at max_tokens.
        failures: requests without an answer after all retries, by reason.
        retries: repeated requests before the answers that came in the end.
        reused: answers taken from the file of an earlier run; they are not among the requests.
        cost: of all answers whose tokens are known; None without prices. Failed requests may have cost more.
        highest_cost: of a single answer so far.
    """

    seconds: list[float] = field(default_factory=list)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    truncated: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    reused: int = 0
    cost: float | None = None
    highest_cost: float = 0.0

    def summary(self) -> dict[str, float | int | None]:
        """The totals by name, for the leaderboard's results; None where one is unknown."""
        answered = len(self.seconds)
        return {
            "requests": answered + self.failures.total(),
            "failed": self.failures.total(),
            "retries": self.retries,
            "reused": self.reused,
            "truncated": self.truncated,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": self.cost,
            "cost_per_request": None if self.cost is None else self.cost / answered,
            "latency_median": float(np.quantile(self.seconds, 0.5)) if answered else None,
            "latency_p95": float(np.quantile(self.seconds, 0.95)) if answered else None,
        }


class ChatClient:
    """One model on one chat server. ``usage`` counts everything that was sent through it.

    Args:
        config: the server and the limits.
        environ: where the API key comes from, and the address and the model where ``config`` leaves them out.

    Raises:
        RemoteError: no server or model is named, the key is malformed, or the file of answers cannot be used.
    """

    def __init__(self, config: ServerConfig, environ: Mapping[str, str] = os.environ) -> None:
        self.config = config
        self.endpoint = endpoint(config, environ)
        self.usage = Usage()
        self._saved = AnswerFile(config.answers) if config.answers else None
        self._failures_in_a_row = 0
        self._open_requests = 0

    def __repr__(self) -> str:
        return f"ChatClient({self.endpoint.model} at {self.endpoint.url})"

    def complete(self, conversations: Sequence[Sequence[Mapping[str, str]]]) -> list[str | None]:
        """One answer per conversation, in order; None where a request failed after its retries.

        Raises:
            SpendingLimit: another request could exceed the limit.
            RemoteError: every request will be refused, or none was answered. The text says why and what to do.
        """
        from anyio.from_thread import start_blocking_portal

        sent = [[dict(message) for message in messages] for messages in conversations]
        body = {**self.config.body, "model": self.endpoint.model}
        keys = [
            self._saved.next_key(self.endpoint.url, {**body, "messages": messages}) if self._saved else ""
            for messages in sent
        ]
        answers = [self._saved.answers.get(key) if self._saved else None for key in keys]
        self.usage.reused += len(answers) - answers.count(None)
        if None in answers:
            # An event loop in a thread of its own also works in a notebook, which runs one already.
            with start_blocking_portal() as portal:
                portal.call(self._fill_in, answers, sent, keys)
        return answers

    async def _fill_in(self, answers: list[str | None], sent: list[list[Message]], keys: list[str]) -> None:
        """Get the missing answers."""
        import anyio

        slots = anyio.Semaphore(self.config.concurrency)
        fatal: list[RemoteError] = []
        async with self._connect() as api, anyio.create_task_group() as group:

            async def get(n: int) -> None:
                async with slots:
                    if fatal:
                        return
                    try:
                        answers[n] = await self._answer(api, sent[n], keys[n])
                    except RemoteError as error:
                        fatal.append(error)
                        # Requests that are open when the limit is reached are paid for, so their answers are awaited.
                        if not isinstance(error, SpendingLimit):
                            group.cancel_scope.cancel()

            for n, answer in enumerate(answers):
                if answer is None:
                    group.start_soon(get, n)
        if not fatal and not self.usage.seconds and not self.usage.reused:
            fatal.append(self._no_answers(""))
        if fatal:
            raise fatal[0]

    def _connect(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        http = DefaultAsyncHttpxClient(
            follow_redirects=False,  # the key stays with this server
            trust_env=not self.endpoint.is_local,
            # Plain http needs no certificates, and loading them takes longer than a short answer.
            verify=self.endpoint.url.startswith("https"),
            event_hooks={"request": [self._set_headers]},
        )
        # The key is set in _set_headers. Without one here, the openai client would look for one itself.
        return AsyncOpenAI(
            base_url=self.endpoint.url,
            api_key="unused",
            timeout=self.config.timeout,
            max_retries=self.config.retries,
            http_client=http,
        )

    async def _set_headers(self, request: "httpx2.Request") -> None:
        for name in set(request.headers) - HEADERS:
            del request.headers[name]
        if key := self.endpoint.key:
            request.headers["Authorization"] = f"Bearer {key.get_secret_value()}"

    async def _answer(self, api: "AsyncOpenAI", messages: list[Message], key: str) -> str | None:
        """One answer, counted and saved; None where the request failed."""
        self._check_spending()
        self._open_requests += 1
        try:
            answer = await self._send(api, messages)
        except _RequestFailed as failure:
            self.usage.failures[str(failure)] += 1
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                raise self._no_answers("the last ") from failure
            return None
        finally:
            self._open_requests -= 1
        self._failures_in_a_row = 0
        if self._saved is not None:
            self._saved.add(key, answer)
        return answer

    async def _send(self, api: "AsyncOpenAI", messages: list[Message]) -> str:
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        try:
            response = await api.chat.completions.with_raw_response.create(
                model=self.endpoint.model, messages=cast(Any, messages), extra_body=self.config.body
            )
        except APITimeoutError as error:
            raise _RequestFailed(f"no answer within {self.config.timeout:g} s") from error
        except APIConnectionError as error:
            raise _RequestFailed(f"no connection: {self._quote(str(error.__cause__))}") from error
        except APIStatusError as error:
            # Not "from error": its text may repeat the key.
            raise self._refused(error) from None
        try:
            completion = response.parse()
            choice = completion.choices[0]
            # None where a model only reasoned or refused. JSON may hold half of a surrogate pair.
            text: str = (choice.message.content or "").encode("utf-8", "replace").decode("utf-8")
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise _RequestFailed("an answer that is not a chat completion") from error
        self.usage.retries += response.retries_taken
        self.usage.seconds.append(response.elapsed.total_seconds())
        self.usage.truncated += choice.finish_reason == "length"
        self._count_tokens(completion.usage)
        return text

    def _count_tokens(self, tokens: Any) -> None:
        """Add the tokens of an answer, and their price, to the usage."""
        usage, config = self.usage, self.config
        if tokens is None and config.spending_limit is not None:
            raise RemoteError(
                f"{self.endpoint.url} does not report token counts, so spending_limit cannot be enforced. Remove "
                "spending_limit, or set a limit with the provider."
            )
        if tokens is None:
            return
        usage.prompt_tokens = (usage.prompt_tokens or 0) + tokens.prompt_tokens
        usage.completion_tokens = (usage.completion_tokens or 0) + tokens.completion_tokens
        if config.price_input is not None or config.price_output is not None:
            cost = tokens.prompt_tokens * (config.price_input or 0.0) / 1e6
            cost += tokens.completion_tokens * (config.price_output or 0.0) / 1e6
            usage.cost = (usage.cost or 0.0) + cost
            usage.highest_cost = max(usage.highest_cost, cost)

    def _check_spending(self) -> None:
        """Raise SpendingLimit where open requests and the next one could exceed it, at the highest cost so far."""
        limit, spent = self.config.spending_limit, self.usage.cost or 0.0
        if limit is None or spent + (self._open_requests + 1) * self.usage.highest_cost <= limit:
            return
        raise SpendingLimit(
            f"The spending limit of {limit:g} is reached: {len(self.usage.seconds):,} answers cost {spent:.4f}, and "
            "the next could exceed it. Raise spending_limit and run again. With answers: FILE no answer is paid twice."
        )

    def _refused(self, error: "APIStatusError") -> Exception:
        """What a status above 299 means: a failed request, or an error for all of them."""
        url, status, body = self.endpoint.url, error.status_code, error.body
        message = body.get("message", body) if isinstance(body, dict) else body or error.response.text
        quote = self._quote(str(message))
        reason = f"status {status}" + (f": {quote}" if quote else "")
        if status == 429 and any(code in error.response.text for code in OUT_OF_CREDIT):
            return RemoteError(f"{url} has run out of credit ({reason}). Check the account's plan and limits.")
        if status in OF_ONE_REQUEST or status >= 500:
            return _RequestFailed(reason)
        cure = {401: KEY_CURE, 403: KEY_CURE, 402: "Check the account's balance."}.get(status, "Check base_url.")
        if status == 404:
            hint = "" if url.endswith("/v1") else f" Did you mean {url}/v1?"
            cure = (
                f"It has no model '{self.endpoint.model}', or no chat completions there.{hint} {url}/models lists its "
            )
            cure += f"models. Check base_url and model, or {BASE_URL} and {MODEL}."
        if status < 400:
            target = self._quote(error.response.headers.get("location", "?"))
            cure = f"It redirects to {target}, which was not followed. If that is the server, set base_url to it."
        return RemoteError(f"{url} refuses ({reason}). {cure}")

    def _quote(self, text: str) -> str:
        """Text of a server in one line of at most 300 characters, without the API key and control characters."""
        # The key is hidden before the text is cut, which could leave half of it.
        plain = "".join(letter if letter.isprintable() else " " for letter in text.encode("utf-8", "replace").decode())
        line = self.endpoint.hide_key(" ".join(plain.split()))
        return line if len(line) <= MAX_QUOTE else line[:MAX_QUOTE] + "..."

    def _no_answers(self, which: str) -> RemoteError:
        count = self._failures_in_a_row
        reasons = ", ".join(f"{n} x {reason}" for reason, n in self.usage.failures.most_common(3))
        return RemoteError(
            f"{self.endpoint.url} answered none of {which}{count} request{'s' * (count > 1)} "
            f"({self.config.retries} retries each): {reasons}. Check that the server runs at base_url (like "
            f"{EXAMPLE_URL}) and accepts the fields of request; lower concurrency after time-outs and status 429."
        )


class RemotePolicy(Policy):
    """A model behind a chat server.

    A request that failed after its retries gives an empty answer, which a task cannot read; ``client.usage`` counts
    it with its reason.

    ``name`` is that of tables, the model's by default.
    """

    def __init__(self, client: ChatClient, *, name: str = "", kind: Kind = "base") -> None:
        self.client = client
        self.name, self.kind = name or client.endpoint.model, kind

    def generate(self, conversations: Sequence[Sequence[Message]], n: int = 1) -> list[list[str]]:
        """``n`` answers to each conversation, in order.

        Raises:
            RemoteError: the server refuses, or the spending limit is reached.
        """
        # Some servers refuse empty answers.
        whole = [
            [one for one in messages if one["role"] != "assistant" or one["content"].strip()]
            for messages in conversations
        ]
        sent = [merge_user_messages(messages) for messages in whole for _ in range(n)]
        answers = [_with_opened_thinking(answer or "") for answer in self.client.complete(sent)]
        return [answers[i : i + n] for i in range(0, len(answers), n)]


def _with_opened_thinking(answer: str) -> str:
    """An answer with the ``<think>`` that the server's chat template opened and that the server did not send.

    A server without a reasoning parser sends only what came after the prompt. The model did begin by thinking, so the
    conversation has to contain the opening tag: templates remove the thinking of earlier turns by both tags.
    """
    return f"<think>\n{answer}" if "</think>" in answer and "<think>" not in answer else answer
