"""A chat server in a thread, over real HTTP, that follows a script: answers, refuses, hangs, breaks off."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-0123456789abcdef"
MODEL = "tiny-trader"
Step = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


@dataclass
class ChatServer:
    """``steps`` are taken one a request, then ``always``. ``bodies`` and ``headers`` hold what was received."""

    url: str = ""
    always: Step = field(default_factory=lambda: say())
    steps: list[Step] = field(default_factory=list)
    models: list[str] | None = field(default_factory=lambda: [MODEL, "other-trader"])
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most_at_once: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self._lock:
            step = self.steps.pop(0) if self.steps else self.always
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
            self.times.append(time.monotonic())
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            step(handler, body)
        finally:
            with self._lock:
                self._now -= 1


@contextmanager
def chat_server(*steps: Step, always: Step | None = None) -> Iterator[ChatServer]:
    """A server on a free port of this machine, while the block lasts."""
    state = ChatServer(steps=list(steps))
    if always is not None:
        state.always = always

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions":
                send(self, 404, b"<html>not here</html>")
                return
            state.take(self, body)

        def do_GET(self) -> None:
            if self.path != "/v1/models" or state.models is None:
                send(self, 404, b"<html>not here</html>")
                return
            send(self, 200, json.dumps({"data": [{"id": name} for name in state.models]}).encode())

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            # Clients of these tests hang up in the middle on purpose.
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.closing = state.closing  # type: ignore[attr-defined]
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def completion(text: str | None, tokens: tuple[int, int] | None = (100, 10), finish: str = "stop") -> dict[str, Any]:
    """The body of an answer."""
    found: dict[str, Any] = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
    }
    if tokens:
        found["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return found


def say(text: str | None = "HOLD", seconds: float = 0.0, **options: Any) -> Step:
    """Answer with a text, after some seconds."""

    def step(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        time.sleep(seconds)
        send(handler, 200, json.dumps(completion(text, **options)).encode())

    return step


def echo(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Answer with the last message."""
    send(handler, 200, json.dumps(completion(f"echo {body['messages'][-1]['content']}")).encode())


def raw(status: int, body: bytes | dict[str, Any] = b"", headers: dict[str, str] | None = None) -> Step:
    """Answer with these bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler, _: send(handler, status, content, headers)


def error(status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None) -> Step:
    """An error as OpenAI writes it."""
    return raw(status, {"error": {"message": message, "code": code}}, headers)


def hang(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Send nothing until the server is closed."""
    handler.server.closing.wait(30)  # type: ignore[attr-defined]


def drop(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Hang up without an answer."""
    handler.close_connection = True
    handler.connection.close()


def break_off(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """Hang up in the middle of an answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.wfile.flush()
    drop(handler, body)
