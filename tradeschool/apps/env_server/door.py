"""The door that all traffic passes: limits of size and time, a check of every request, versions in every answer."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from openenv.core.env_server.types import WSErrorCode

from tradeschool.apps.env_server.requests import Refusal, Requests, refuse_size

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SESSIONS_AT = "/ws"
AS_IT_IS = "/openapi.json"
"""A document of a standard of its own, which has no room for our versions."""
GONE_AWAY = 1001
ACTIVITY = ("reset", "step")
MOST_DRAINED = 2**24
LONGEST_DRAIN = 5.0
"""Bytes and seconds for which a body that is too long is read on, so that its client sees why it was refused."""


class Door:
    """An ASGI application around OpenEnv's, which sees only requests that can be carried out.

    Args:
        app: OpenEnv's application.
        requests: what may be asked.
        versions: what every answer carries: HTTP in its headers and, where it is a JSON object, in its keys; a
            WebSocket's errors in their ``data``. Observations and states have them already.
        timeout: seconds without ``reset`` or ``step`` after which a session is dropped.
    """

    def __init__(self, app: App, requests: Requests, versions: dict[str, str], timeout: float) -> None:
        self.app, self.requests, self.versions, self.timeout = app, requests, versions, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = _Reply(send, self.versions, scope["path"] != AS_IT_IS)
        try:
            body = await _body(receive)
            if scope["method"] == "POST":
                self.requests.check_body(scope["path"], body)
        except Refusal as refusal:
            await reply.refuse(refusal)
            return
        except _HungUp:
            return
        await self.app(scope, _replayed(body, receive), reply.send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != SESSIONS_AT:
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        line = _Line(receive, send, self)
        await self.app(scope, line.receive, line.send)


class _HungUp(Exception):
    """The client went while it was still talking."""


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _HungUp
        body += message.get("body", b"")
        more = message.get("more_body", False)
        try:
            refuse_size(len(body))
        except Refusal:
            if more:
                await _drain(receive)
            raise
        if not more:
            return bytes(body)


async def _drain(receive: Receive) -> None:
    """Read on for a while, and keep nothing.

    A connection that is closed on data that nobody read is reset, and its client never sees the answer (RFC 9112, 9.6).
    """
    left = MOST_DRAINED
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_DRAIN):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _HungUp
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, then whatever follows."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


class _Reply:
    """An HTTP answer with versions put in."""

    def __init__(self, send: Send, versions: dict[str, str], into_json: bool) -> None:
        self._send, self._versions, self._into_json = send, versions, into_json
        self._start: Message = {}
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on; a JSON answer is kept until it is whole."""
        if message["type"] == "http.response.start":
            own = [(f"x-{name.replace('_', '-')}".encode(), text.encode()) for name, text in self._versions.items()]
            self._start = {**message, "headers": [*message.get("headers", []), *own]}
            if not self._held():
                await self._send(self._start)
        elif not self._held():
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_json()

    async def refuse(self, refusal: Refusal) -> None:
        """Answer that the request was not carried out."""
        body = json.dumps({"detail": str(refusal), "code": refusal.code.value}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"0")]
        if refusal.status == 413:
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    def _held(self) -> bool:
        kind = dict(self._start["headers"]).get(b"content-type", b"")
        return self._into_json and kind.startswith(b"application/json")

    async def _send_json(self) -> None:
        body = bytes(self._body)
        value = json.loads(body) if body else None
        if isinstance(value, dict):
            body = json.dumps({**value, **self._versions}).encode()
        headers = [(name, text) for name, text in self._start["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


class _Line:
    """One WebSocket: refuses messages that cannot be carried out, and hangs up on a session that stands idle."""

    def __init__(self, receive: Receive, send: Send, door: Door) -> None:
        self._receive, self._send, self._door = receive, send, door
        self._last = asyncio.get_running_loop().time()
        self._closed = False

    async def receive(self) -> Message:
        """The next message that can be carried out."""
        clock = asyncio.get_running_loop().time
        while True:
            # State and refused messages do not keep a session alive: it would never end while someone looks at it.
            left = self._last + self._door.timeout - clock()
            try:
                message = await asyncio.wait_for(self._receive(), max(left, 0.0))
            except TimeoutError:
                return await self._hang_up()
            if message["type"] != "websocket.receive":
                return message
            try:
                kind = self._door.requests.check_message(message.get("text"))
            except Refusal as refusal:
                await self._say(refusal.code, str(refusal))
                continue
            if kind in ACTIVITY:
                self._last = clock()
            return message

    async def send(self, message: Message) -> None:
        """Pass an answer on, errors with versions; nothing once the line is closed."""
        if self._closed:
            return
        text = message.get("text")
        if message["type"] == "websocket.send" and text and text.startswith('{"type":"error"'):
            error = json.loads(text)["data"]
            await self._say(WSErrorCode(error["code"]), error["message"])
            return
        self._closed = message["type"] == "websocket.close"
        await self._send(message)

    async def _say(self, code: WSErrorCode, sentence: str) -> None:
        data = {"message": sentence, "code": code.value, **self._door.versions}
        await self._send({"type": "websocket.send", "text": json.dumps({"type": "error", "data": data})})

    async def _hang_up(self) -> Message:
        seconds = f"{self._door.timeout:g}"
        sentence = f"the session was dropped: no reset and no step for {seconds} seconds. Connect again for a new one."
        await self._say(WSErrorCode.SESSION_ERROR, sentence)
        await self.send({"type": "websocket.close", "code": GONE_AWAY, "reason": "idle"})
        return {"type": "websocket.disconnect", "code": GONE_AWAY}
