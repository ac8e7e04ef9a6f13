"""Sends one request until it is answered, refused, or out of retries."""

import logging
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx2

from tradeschool.policies.chat.config import Endpoint, RemoteError, ServerConfig
from tradeschool.policies.chat.meter import Call, Meter, Prices
from tradeschool.policies.chat.pace import Pace, backoff
from tradeschool.policies.chat.reading import (
    Again,
    Answer,
    Failed,
    UnknownModel,
    quoted,
    read_models,
    read_response,
    unknown_model,
)

if TYPE_CHECKING:
    from ssl import SSLContext

LARGEST_BODY = 2**20
"""Bytes of a response; an answer of 512 tokens takes some thousand."""
LONGEST_WAIT = 300.0
"""Seconds that a server may ask to wait; a request that is to wait longer has failed."""
MODELS_TIMEOUT = 10.0

logger = logging.getLogger(__name__)


class SpendingLimit(RemoteError):
    """The next request could go over the limit. ``answers`` holds what came, None for what did not."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.answers: list[str | None] = []


class Sender:
    """Asks one server within its pace, its retries and its spending limit, and counts on a meter."""

    def __init__(self, config: ServerConfig, where: Endpoint, meter: Meter) -> None:
        self._config, self._where, self._meter = config, where, meter
        self._prices = Prices(config.price_input, config.price_output)
        self._pace = Pace(config.requests_per_minute)
        self._under_way = 0
        self._certificates: SSLContext | bool = True

    def open(self) -> httpx2.AsyncClient:
        """Connections for a batch of requests. Redirects are not followed: the key stays with the server named."""
        if self._where.url.startswith("https") and self._certificates is True:
            self._certificates = httpx2.create_ssl_context()
        key = self._where.key
        return httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            # Every request runs under a time-out as a whole, which a server that drips its answer cannot stretch.
            timeout=None,
            limits=httpx2.Limits(max_connections=self._config.at_once),
            verify=self._certificates,
            trust_env=not self._where.is_local,
        )

    async def ask(self, http: httpx2.AsyncClient, body: dict[str, Any]) -> str:
        """The answer to a request.

        Raises:
            Failed: it came to nothing; the text is the reason.
            SpendingLimit: it could go over the limit, and was not sent.
            RemoteError: every request will be refused.
        """
        for attempt in range(1, self._config.retries + 2):
            self._check_spending()
            await self._pace.turn()
            try:
                return await self._counted(http, body)
            except UnknownModel as problem:
                if error := unknown_model(self._where, await self._models(http), str(problem)):
                    raise error from problem
                raise Failed(str(problem)) from problem
            except Again as problem:
                await self._wait(problem, attempt)
        raise AssertionError("the last attempt has returned or raised")

    async def _wait(self, problem: Again, attempt: int) -> None:
        """Until the request may be sent again; Failed where it may not."""
        wait = backoff(attempt, self._config.backoff)
        if problem.after is not None:
            wait = max(wait, problem.after)
            if problem.after <= LONGEST_WAIT:
                self._pace.hold(problem.after)
        if attempt > self._config.retries or wait > LONGEST_WAIT:
            raise Failed(str(problem)) from problem
        logger.info("%s: %s; again in %.1f s", self._where.url, problem, wait)
        self._meter.retries += 1
        await anyio.sleep(wait)

    async def _counted(self, http: httpx2.AsyncClient, body: dict[str, Any]) -> str:
        self._under_way += 1
        started = time.monotonic()
        try:
            answer = await self._once(http, body)
        finally:
            self._under_way -= 1
        tokens, cost = (answer.prompt_tokens, answer.completion_tokens), None
        if tokens[0] is not None and tokens[1] is not None:
            cost = self._prices.cost(tokens[0], tokens[1])
        self._meter.add(Call(time.monotonic() - started, *tokens, cost, answer.cut))
        if cost is None and self._config.spending_limit is not None:
            raise RemoteError(
                f"{self._where.url} does not tell how many tokens an answer took, so that spending_limit cannot be "
                "kept. Take spending_limit out, or set a limit with the server's provider."
            )
        return answer.text

    async def _once(self, http: httpx2.AsyncClient, body: dict[str, Any]) -> Answer:
        url = f"{self._where.url}/chat/completions"
        try:
            with anyio.fail_after(self._config.timeout):
                async with http.stream("POST", url, json=body) as response:
                    content = await _body(response)
        except TimeoutError as error:
            raise Again(f"no answer within {self._config.timeout:g} s") from error
        except httpx2.ConnectError as error:
            raise Again(f"no connection: {quoted(str(error).encode(), self._where)}") from error
        except httpx2.RequestError as error:
            raise Again(f"a broken connection ({type(error).__name__})") from error
        return read_response(response.status_code, response.headers, content, self._where)

    async def _models(self, http: httpx2.AsyncClient) -> list[str] | None:
        try:
            with anyio.fail_after(MODELS_TIMEOUT):
                async with http.stream("GET", f"{self._where.url}/models") as response:
                    return read_models(await _body(response)) if response.status_code == 200 else None
        except (TimeoutError, httpx2.RequestError, Failed):
            # Only a better message is lost.
            return None

    def _check_spending(self) -> None:
        limit, spent = self._config.spending_limit, self._meter.cost or 0.0
        # Those under way are taken to cost as much as the dearest so far, and so is the next.
        if limit is None or spent + (self._under_way + 1) * self._meter.dearest <= limit:
            return
        keep = (
            f"The answers are kept in {self._config.answers}: raise spending_limit and run again."
            if self._config.answers
            else "Raise spending_limit, and give answers: FILE to keep what is paid for."
        )
        raise SpendingLimit(
            f"The spending limit of {limit:g} is reached: {len(self._meter.calls):,} answers cost {spent:.4f}, "
            f"and the next could go over it. {keep}"
        )


async def _body(response: httpx2.Response) -> bytes:
    """The body, decoded; Failed where it is far too large to be an answer."""
    found = bytearray()
    async for part in response.aiter_bytes():
        found += part
        if len(found) > LARGEST_BODY:
            raise Failed(f"an answer of more than {LARGEST_BODY // 2**20} MiB")
    return bytes(found)
