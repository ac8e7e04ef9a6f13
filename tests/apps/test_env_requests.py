"""Bad requests to an environment server: each has a status, or an error message, and a plain sentence."""

import asyncio
import contextlib
import itertools
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("openenv", reason="openenv is not installed: pip install 'tradeschool[openenv]'")

import httpx
from env_markets import hostile
from env_servers import ask, serving, socket_to
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed

from tradeschool.apps.env_server import door as door_module
from tradeschool.apps.env_server.app import create, listen
from tradeschool.apps.env_server.door import Door
from tradeschool.apps.env_server.environment import ServedTrading
from tradeschool.apps.env_server.offer import Offer
from tradeschool.apps.env_server.requests import MESSAGES, MOST_BYTES, Refusal, Requests
from tradeschool.env.config import EnvConfig, EnvError
from tradeschool.env.data import MarketData
from tradeschool.env.levels import level_config
from tradeschool.env.spaces import LONGEST_ACTION
from tradeschool.env.versions import ENV_VERSION, LEVEL_VERSIONS, rules_hash, settings_hash
from tradeschool.errors import TradeschoolError

VERSIONS = {
    "env_version": ENV_VERSION,
    "rules_hash": rules_hash(),
    "task_version": LEVEL_VERSIONS["Easy"],
    "level": "Easy",
    "level_version": LEVEL_VERSIONS["Easy"],
    "settings_hash": settings_hash(level_config("Easy")),
}
LONG = "B" * (LONGEST_ACTION + 1)
DEEP = "[" * 100_000


@pytest.fixture(scope="module")
def market() -> MarketData:
    return MarketData(hostile())


@pytest.fixture(scope="module")
def door(market: MarketData) -> Door:
    return create(Offer(market, EnvConfig()), sessions=4, timeout=60)


@pytest.fixture(scope="module")
def client(door: Door) -> Iterator[TestClient]:
    with TestClient(door, raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(scope="module")
def url(market: MarketData) -> Iterator[str]:
    with serving(Offer(market, EnvConfig())) as address:
        yield address


BAD_BODIES: dict[str, tuple[str, Any, int, str]] = {
    "no JSON": ("/reset", b"{seed: 1}", 400, "this is no JSON: "),
    "not UTF-8": ("/reset", b"\xff\xfe{", 400, "no JSON"),
    "nested without end": ("/reset", DEEP.encode(), 400, "no JSON that can be read"),
    "a number of ten thousand digits": ("/reset", b'{"seed": ' + b"9" * 10_000 + b"}", 400, "no JSON that can be read"),
    "NaN": ("/step", b'{"action": {"orders": NaN}}', 400, "no JSON"),
    "a list": ("/reset", b"[1]", 422, r"a JSON object belongs here, like {...}, not [1]"),
    "an unknown field": ("/reset", {"sede": 1}, 422, "'sede' is not a key here. Did you mean 'seed'?"),
    "many fields": ("/reset", dict.fromkeys(map(str, range(21))), 422, "21 fields are given"),
    "seed: text": ("/reset", {"seed": "1"}, 422, "seed is '1', but must be a whole number"),
    "seed: a fraction": ("/reset", {"seed": 1.5}, 422, "seed is 1.5, but must be a whole number"),
    "seed: true": ("/reset", {"seed": True}, 422, "seed is True, but must be a whole number"),
    "seed: below 0": ("/reset", {"seed": -1}, 422, "seed is -1, but must be at least 0"),
    "seed: too large": ("/reset", {"seed": 2**63}, 422, "must be at most"),
    "episode_id: too long": ("/reset", {"episode_id": "x" * 256}, 422, "must have 1 to 255 printable characters"),
    "episode_id: half a letter": ("/reset", b'{"episode_id": "\\ud800"}', 422, "printable characters"),
    "episode_id: a number": ("/reset", {"episode_id": 5}, 422, "episode_id is 5, but must be text"),
    "start where it is hidden": ("/reset", {"start": 80}, 422, "start cannot be chosen here: names and dates are hid"),
    "tickers: no list": ("/reset", {"tickers": "TICK1"}, 422, "tickers is 'TICK1', but must be a list"),
    "step: no body": ("/step", b"", 400, "no JSON"),
    "step: no action": ("/step", {}, 422, "action is missing"),
    "step: an unknown field": ("/step", {"action": {"orders": "HOLD"}, "x": 1}, 422, "'x' is not a key here"),
    "action: text": ("/step", {"action": "HOLD"}, 422, "action is 'HOLD', but must be a mapping"),
    "action: an unknown field": ("/step", {"action": {"order": "HOLD"}}, 422, "Did you mean 'orders'?"),
    "orders: a number": ("/step", {"action": {"orders": 1}}, 422, "orders is 1, but must be text"),
    "orders: numbers": ("/step", {"action": {"orders": [0.5]}}, 422, "orders is [0.5], but must be text"),
    "orders: too long": ("/step", {"action": {"orders": LONG}}, 422, "has 20,001 characters, but at most 20,000"),
    "a step without an episode": ("/step", {"action": {"orders": "HOLD"}}, 409, "no episode here yet: send reset"),
    "too large": ("/reset", b" " * (MOST_BYTES + 1), 413, "may have 1,048,576 bytes"),
    "no such page": ("/rest", {}, 404, "POST /rest: Not Found"),
    "no such method": ("/health", {}, 405, "POST /health: Method Not Allowed"),
    "another environment": ("/chess/task", {"split": "train", "index": 1}, 404, "unknown environment 'chess'"),
    "a task that is none": ("/tradeschool/task", {"split": 1}, 422, "body.split: Input should be a valid string"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_http_request_has_its_status_and_a_sentence(client: TestClient, case: str) -> None:
    path, body, status, words = BAD_BODIES[case]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(path, content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == status
    told = answer.json()
    assert words in told["detail"]
    assert len(told["detail"]) < 500
    assert "Traceback" not in answer.text
    assert VERSIONS.items() <= told.items()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_goes_on_sending_too_much_sees_why(url: str, chunked: bool) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    piece, count = b" " * 2**19, 8
    length = "transfer-encoding: chunked" if chunked else f"content-length: {count * len(piece)}"
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        raw.sendall(f"POST /reset HTTP/1.1\r\nhost: {host}\r\n{length}\r\n\r\n".encode())
        for _ in range(count):
            raw.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            # Once more than is taken is there, a server that does not read on has hung up meanwhile.
            time.sleep(0.05)
        raw.sendall(b"0\r\n\r\n" if chunked else b"")
        answer = b"".join(iter(lambda: raw.recv(2**16), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"may have 1,048,576 bytes" in answer


def refused_while_sending(pieces: Iterator[bytes], pause: float) -> int:
    """How many bytes the door takes of a body without end, before it answers 413."""
    sent: list[Any] = []
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        await asyncio.sleep(pause)
        body = next(pieces)
        read += len(body)
        return {"type": "http.request", "body": body, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    async def nobody(*connection: Any) -> None:
        raise AssertionError("it was let through")

    at = Door(nobody, Requests(EnvConfig()), VERSIONS, 1.0)
    asyncio.run(asyncio.wait_for(at({"type": "http", "method": "POST", "path": "/reset"}, receive, send), 20))
    assert sent[0]["status"] == 413
    return read


def test_a_body_without_end_is_read_so_far_alone() -> None:
    piece = b" " * 2**19
    read = refused_while_sending(itertools.repeat(piece), 0.0)
    assert door_module.MOST_DRAINED <= read <= MOST_BYTES + door_module.MOST_DRAINED + 2 * len(piece)


def test_a_body_that_drips_is_read_so_long_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "LONGEST_DRAIN", 0.2)
    pieces = itertools.chain([b" " * (MOST_BYTES + 1)], itertools.repeat(b" "))
    began = time.monotonic()
    refused_while_sending(pieces, 0.01)
    assert time.monotonic() - began < 5


def test_a_body_of_another_type_is_refused_in_a_sentence(client: TestClient) -> None:
    answer = client.post("/step", content=b'{"action": {"orders": "HOLD"}}', headers={"content-type": "text/plain"})
    assert answer.status_code == 422
    assert "cannot be read" in answer.json()["detail"]


def _step(orders: Any) -> dict[str, Any]:
    return {"type": "step", "data": {"orders": orders}}


BAD_MESSAGES: dict[str, tuple[Any, str, str]] = {
    "no JSON": ("{", "INVALID_JSON", "this is no JSON: "),
    "nothing": ("", "INVALID_JSON", "this is no JSON: "),
    "bytes": (b"{}", "INVALID_JSON", "not a binary one"),
    "nested without end": (DEEP, "INVALID_JSON", "no JSON that can be read"),
    "a number of ten thousand digits": ("9" * 10_000, "INVALID_JSON", "no JSON that can be read"),
    "a list": ("[1, 2]", "VALIDATION_ERROR", "a JSON object belongs here"),
    "null": ("null", "VALIDATION_ERROR", "not None"),
    "no type": ({}, "UNKNOWN_TYPE", "no message of type None"),
    "a wrong type": ({"type": "rset"}, "UNKNOWN_TYPE", "Did you mean 'reset'?"),
    "a type that is none": ({"type": ["reset"]}, "UNKNOWN_TYPE", "There are: reset, step, state, close"),
    "an unknown field": ({"type": "reset", "seed": 1}, "VALIDATION_ERROR", "a reset message has no field 'seed'"),
    "state with data": ({"type": "state", "data": {}}, "VALIDATION_ERROR", "a state message has no field 'data'"),
    "seed: text": ({"type": "reset", "data": {"seed": "1"}}, "VALIDATION_ERROR", "must be a whole number"),
    "reset: a list": ({"type": "reset", "data": [1]}, "VALIDATION_ERROR", "reset: a JSON object belongs here"),
    "reset: unknown": ({"type": "reset", "data": {"sed": 1}}, "VALIDATION_ERROR", "Did you mean 'seed'?"),
    "start": ({"type": "reset", "data": {"start": 5}}, "EXECUTION_ERROR", "cannot be chosen here"),
    "step: no data": ({"type": "step"}, "VALIDATION_ERROR", "a step message needs its action"),
    "step: text": ({"type": "step", "data": "HOLD"}, "VALIDATION_ERROR", "the action: a JSON object belongs here"),
    "orders: a number": (_step(1), "VALIDATION_ERROR", "orders is 1, but must be text"),
    "orders: too long": (_step(LONG), "VALIDATION_ERROR", "at most 20,000 are read"),
    "step before reset": (_step("HOLD"), "EXECUTION_ERROR", "no episode here yet: send reset first"),
    "too large": (_step(" " * MOST_BYTES), "VALIDATION_ERROR", "may have 1,048,576 bytes"),
}


@pytest.mark.parametrize("case", BAD_MESSAGES)
def test_a_bad_message_is_answered_and_the_session_goes_on(url: str, case: str) -> None:
    message, code, words = BAD_MESSAGES[case]
    with socket_to(url) as raw:
        answer = ask(raw, message)
        assert answer["type"] == "error"
        assert answer["data"]["code"] == code
        assert words in answer["data"]["message"]
        assert len(answer["data"]["message"]) < 500
        assert VERSIONS.items() <= answer["data"].items()
        assert ask(raw, {"type": "reset", "data": {"seed": 1}})["type"] == "observation"


def test_a_bad_message_in_the_middle_of_an_episode_leaves_it_as_it_was(url: str) -> None:
    with socket_to(url) as disturbed, socket_to(url) as calm:
        for raw in (disturbed, calm):
            ask(raw, {"type": "reset", "data": {"seed": 1, "episode_id": "e"}})
        for message, _, _ in BAD_MESSAGES.values():
            if message != BAD_MESSAGES["step before reset"][0]:
                assert ask(disturbed, message)["type"] == "error"
        assert ask(disturbed, {"type": "state"}) == ask(calm, {"type": "state"})
        for _ in range(20):
            assert ask(disturbed, _step("BUY 0.4")) == ask(calm, _step("BUY 0.4"))
        over = ask(calm, _step("HOLD"))
        assert over["data"]["code"] == "EXECUTION_ERROR"
        assert "the episode is over: send reset" in over["data"]["message"]


def test_a_message_far_too_large_is_cut_off_unread(url: str) -> None:
    with socket_to(url) as raw, pytest.raises(ConnectionClosed, match="1009"):
        ask(raw, " " * (2 * MOST_BYTES + 1))


def test_an_unknown_session_is_told_so(url: str) -> None:
    with socket_to(url, "?session_id=nobody") as raw:
        answer = json.loads(raw.recv(timeout=60))
    assert answer["data"]["code"] == "SESSION_ERROR"
    assert answer["data"]["message"] == "Unknown session_id: nobody"
    assert VERSIONS.items() <= answer["data"].items()


@pytest.mark.parametrize("path", ["/mcp", "/harness", "/elsewhere"])
def test_sessions_are_at_one_address_alone(url: str, path: str) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus, match="403"), connect(url.replace("http", "ws", 1) + path, proxy=None):
        pass


def test_numeric_orders_are_checked_by_number(market: MarketData) -> None:
    requests = Requests(EnvConfig(tickers=3, observation="numeric"))
    requests.check_action({"orders": [0, 0.5, -1]})
    for orders, words in {
        (0.5,): "orders has 1 numbers, but must have 3 numbers, one a stock",
        ("a", 0.5, 0.5): "orders.0 is 'a', but must be a number",
        (True, 0.5, 0.5): "orders.0 is True, but must be a number",
        (1e999, 0.5, 0.5): "orders.0 is inf, but must be a finite number",
        (0.5,) * 501: "at most 500",
    }.items():
        with pytest.raises(Refusal, match=words):
            requests.check_action({"orders": list(orders)})
    with pytest.raises(Refusal, match="orders is 'HOLD', but must be a list"):
        requests.check_action({"orders": "HOLD"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries(
    {"type": st.sampled_from([*MESSAGES, "mcp"]) | JSON},
    optional={"data": st.fixed_dictionaries({}, optional={"seed": JSON, "orders": JSON, "tickers": JSON}) | JSON},
)


@settings(max_examples=150, deadline=None)
@given(message=(JSON | NEARLY).map(json.dumps) | st.text(max_size=50), observation=st.sampled_from(["text", "numeric"]))
def test_any_message_is_passed_on_or_refused_in_a_short_sentence(message: str, observation: Any) -> None:
    requests, refusal = Requests(EnvConfig(tickers=2, observation=observation)), None
    try:
        assert requests.check_message(message) in MESSAGES
    except Refusal as raised:
        refusal = raised
    if refusal is not None:
        assert 400 <= refusal.status < 500
        assert 10 < len(str(refusal)) < 500
        assert "\n" not in str(refusal)


@settings(max_examples=100, deadline=None)
@given(data=NEARLY.map(lambda message: message.get("data", {})))
def test_what_passes_the_door_never_breaks_a_session(market: MarketData, data: Any) -> None:
    shown = EnvConfig(tickers=2, days=3, mask=False)
    try:
        Requests(shown).check_reset(data)
    except Refusal:
        return
    session = ServedTrading(Offer(market, shown))
    # A defect would be a ServerFault.
    with contextlib.suppress(EnvError):
        assert session.reset(**data).day == 0


def test_every_answer_over_http_has_the_versions(client: TestClient) -> None:
    answers: list[httpx.Response] = [
        client.get(path)
        for path in ("/health", "/metadata", "/state", "/schema", "/openapi.json", "/docs", "/list_environments", "/no")
    ]
    answers += [client.post("/reset"), client.post("/reset", json={"seed": 1}), client.post("/mcp", json={})]
    answers += [client.get("/step"), client.get("/tradeschool/splits"), client.post("/reset", content=b"{")]
    for answer in answers:
        for key, value in VERSIONS.items():
            assert answer.headers[f"x-{key.replace('_', '-')}"] == value, answer.url
        if answer.headers["content-type"] == "application/json" and answer.url.path != "/openapi.json":
            body = answer.json()
            assert isinstance(body, list) or VERSIONS.items() <= body.items(), answer.url


def test_every_answer_over_a_websocket_has_the_versions(url: str) -> None:
    with socket_to(url) as raw:
        answers = [ask(raw, message) for message in ({"type": "state"}, {"type": "reset"}, _step("HOLD"), "?")]
    for answer in answers:
        data = answer["data"]
        assert VERSIONS.items() <= data.get("metadata", data).items(), answer


def test_a_defect_in_a_request_over_http_is_a_sentence(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Offer, "env", lambda self: 1 / 0)
    answer = client.post("/reset", json={"seed": 1})
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    assert VERSIONS.items() <= answer.json().items()


def test_a_port_that_is_taken_is_told_plainly() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TradeschoolError, match=f"port {port}: Address already in use"):
            listen("127.0.0.1", port)
    with pytest.raises(TradeschoolError, match="Cannot serve at no.such.host.invalid"):
        listen("no.such.host.invalid", 0)
