"""Bad requests to an environment server: each gets a status or an error message, and the session goes on."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("openenv", reason="openenv is not installed: pip install 'tradeschool[openenv]'")

import httpx
from env_markets import hostile
from env_servers import ask, serving, socket_to
from fastapi import FastAPI
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed

from tradeschool.apps.env_messages import TYPES, BadRequest, check_message
from tradeschool.apps.env_server import MAX_BYTES, ServeConfig, TradingSession, create_app, listen
from tradeschool.env.config import ENV_VERSION, LEVEL_VERSIONS, EnvConfig, EnvError, level_config, settings_hash
from tradeschool.env.features import LONGEST_ACTION
from tradeschool.env.market_data import MarketData
from tradeschool.errors import TradeschoolError

VERSIONS = {
    "env_version": ENV_VERSION,
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
def app(market: MarketData) -> FastAPI:
    return create_app(ServeConfig(market, EnvConfig()), sessions=4, timeout=60)


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(scope="module")
def url(market: MarketData) -> Iterator[str]:
    with serving(ServeConfig(market, EnvConfig())) as address:
        yield address


BAD_BODIES: dict[str, tuple[str, Any, int, str]] = {
    "not JSON": ("/reset", b"{seed: 1}", 422, "JSON"),
    "not UTF-8": ("/reset", b"\xff\xfe{", 400, "parsing"),
    "deeply nested": ("/reset", DEEP.encode(), 400, "parsing"),
    "a number of ten thousand digits": ("/reset", b'{"seed": ' + b"9" * 10_000 + b"}", 400, "parsing"),
    "NaN": ("/step", b'{"action": {"orders": NaN}}', 422, "orders"),
    "a list": ("/reset", b"[1]", 422, "body"),
    "an unknown field": ("/reset", {"sede": 1}, 422, "sede cannot be set here"),
    "seed: a fraction": ("/reset", {"seed": 1.5}, 422, "body.seed"),
    "seed: below 0": ("/reset", {"seed": -1}, 422, "body.seed"),
    "seed: too large": ("/reset", {"seed": 2**63}, 422, "less than or equal"),
    "episode_id: too long": ("/reset", {"episode_id": "x" * 256}, 422, "episode_id"),
    "episode_id: half a letter": ("/reset", b'{"episode_id": "\\ud800"}', 422, "episode_id"),
    "episode_id: a number": ("/reset", {"episode_id": 5}, 422, "episode_id"),
    "start where it is hidden": ("/reset", {"start": 80}, 422, "start cannot be set here"),
    "step: no body": ("/step", b"", 422, "body"),
    "step: no action": ("/step", {}, 422, "body.action"),
    "action: text": ("/step", {"action": "HOLD"}, 422, "body.action"),
    "action: an unknown field": ("/step", {"action": {"order": "HOLD"}}, 422, "order"),
    "orders: a number": ("/step", {"action": {"orders": 1}}, 422, "orders"),
    "orders: too long": ("/step", {"action": {"orders": LONG}}, 422, "at most 20000"),
    "a step without an episode": ("/step", {"action": {"orders": "HOLD"}}, 409, "send reset first"),
    "no such page": ("/rest", {}, 404, "POST /rest: Not Found"),
    "no such method": ("/health", {}, 405, "POST /health: Method Not Allowed"),
    "another environment": ("/chess/task", {"split": "train", "index": 1}, 404, "unknown environment 'chess'"),
    "an invalid task": ("/tradeschool/task", {"split": 1}, 422, "body.split"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_http_request_has_its_status_and_a_reason(client: TestClient, case: str) -> None:
    path, body, status, words = BAD_BODIES[case]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(path, content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == status
    detail = answer.json()["detail"]
    assert words in detail
    assert len(detail) < 500
    assert "Traceback" not in answer.text


def test_a_body_that_is_too_large_is_refused(client: TestClient) -> None:
    answer = client.post("/reset", content=b" " * (MAX_BYTES + 1))
    assert answer.status_code == 413
    assert answer.headers["x-env-version"] == ENV_VERSION
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += 2**19
            yield b" " * 2**19

    assert client.post("/reset", content=pieces()).status_code == 413


def test_a_body_of_another_type_is_refused(client: TestClient) -> None:
    answer = client.post("/step", content=b'{"action": {"orders": "HOLD"}}', headers={"content-type": "text/plain"})
    assert answer.status_code == 422
    assert "body" in answer.json()["detail"]


def _step(orders: Any) -> dict[str, Any]:
    return {"type": "step", "data": {"orders": orders}}


BAD_MESSAGES: dict[str, tuple[Any, str, str]] = {
    "not JSON": ("{", "INVALID_JSON", "line 1 column 1"),
    "nothing": ("", "INVALID_JSON", "Invalid JSON"),
    "bytes": (b"{}", "INVALID_JSON", "binary"),
    "deeply nested": (DEEP, "INVALID_JSON", "Invalid JSON"),
    "a number of ten thousand digits": ("9" * 10_000, "INVALID_JSON", "Invalid JSON"),
    "a list": ("[1, 2]", "VALIDATION_ERROR", "object"),
    "null": ("null", "VALIDATION_ERROR", "object"),
    "no type": ({}, "UNKNOWN_TYPE", "Types are: reset"),
    "a wrong type": ({"type": "rset"}, "UNKNOWN_TYPE", "Did you mean 'reset'?"),
    "a type that is a list": ({"type": ["reset"]}, "UNKNOWN_TYPE", "reset, step, state, close"),
    "an unknown field": ({"type": "reset", "seed": 1}, "VALIDATION_ERROR", "reset.seed: "),
    "state with data": ({"type": "state", "data": {}}, "VALIDATION_ERROR", "state.data: "),
    "seed: text": (
        {"type": "reset", "data": {"seed": "1"}},
        "VALIDATION_ERROR",
        "seed: Input should be a valid integer",
    ),
    "seed: true": (
        {"type": "reset", "data": {"seed": True}},
        "VALIDATION_ERROR",
        "seed: Input should be a valid integer",
    ),
    "reset: a list": ({"type": "reset", "data": [1]}, "VALIDATION_ERROR", "reset.data: "),
    "reset: unknown": ({"type": "reset", "data": {"sed": 1}}, "VALIDATION_ERROR", "Did you mean 'seed'?"),
    "reset: many": (
        {"type": "reset", "data": dict.fromkeys(map(str, range(21)))},
        "VALIDATION_ERROR",
        "reset.data.0: ",
    ),
    "tickers": (
        {"type": "reset", "data": {"tickers": "A"}},
        "VALIDATION_ERROR",
        "tickers: Input should be a valid array",
    ),
    "start": ({"type": "reset", "data": {"start": 5}}, "EXECUTION_ERROR", "cannot be set here"),
    "step: no data": ({"type": "step"}, "VALIDATION_ERROR", "step.data: Field required"),
    "step: text": ({"type": "step", "data": "HOLD"}, "VALIDATION_ERROR", "step.data: "),
    "orders: a number": (_step(1), "VALIDATION_ERROR", "orders: Input should be a valid string"),
    "orders: too long": (_step(LONG), "VALIDATION_ERROR", "at most 20000"),
    "step before reset": (_step("HOLD"), "EXECUTION_ERROR", "send reset first"),
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
        assert ask(raw, {"type": "reset", "data": {"seed": 1}})["type"] == "observation"


def test_a_bad_message_does_not_change_the_episode(url: str) -> None:
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
        assert "The episode is over" in over["data"]["message"]


def test_a_message_that_is_too_large_closes_the_session(url: str) -> None:
    with socket_to(url) as raw, pytest.raises(ConnectionClosed, match="1009"):
        ask(raw, " " * (MAX_BYTES + 1))


def test_an_unknown_session_is_an_error(url: str) -> None:
    with socket_to(url, "?session_id=nobody") as raw:
        answer = json.loads(raw.recv(timeout=60))
    assert answer["data"]["code"] == "SESSION_ERROR"
    assert answer["data"]["message"] == "Unknown session_id: nobody"


@pytest.mark.parametrize("path", ["/mcp", "/harness", "/elsewhere"])
def test_sessions_have_one_address(url: str, path: str) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus, match="403"), connect(url.replace("http", "ws", 1) + path, proxy=None):
        pass


def test_numeric_orders_are_checked() -> None:
    def check(orders: Any) -> None:
        check_message(json.dumps(_step(orders)), EnvConfig(tickers=3, observation="numeric"))

    check([0, 0.5, -1])
    for orders, words in {
        (0.5,): "has 1 numbers, but needs 3",
        ("a", 0.5, 0.5): "orders.0: .*valid number",
        (True, 0.5, 0.5): "orders.0: .*valid number",
        (1e999, 0.5, 0.5): "orders.0: .*finite number",
        (0.5,) * 501: "at most 500",
        "HOLD": "valid array",
    }.items():
        with pytest.raises(BadRequest, match=words):
            check(orders)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries(
    {"type": st.sampled_from([*TYPES, "mcp"]) | JSON},
    optional={"data": st.fixed_dictionaries({}, optional={"seed": JSON, "orders": JSON, "tickers": JSON}) | JSON},
)


@settings(max_examples=150, deadline=None)
@given(message=(JSON | NEARLY).map(json.dumps) | st.text(max_size=50), observation=st.sampled_from(["text", "numeric"]))
def test_any_message_passes_or_is_refused_with_a_short_error(message: str, observation: Any) -> None:
    refusal = ""
    try:
        assert check_message(message, EnvConfig(tickers=2, observation=observation)) in TYPES
    except BadRequest as error:
        refusal = str(error)
    assert len(refusal) < 500
    assert "\n" not in refusal


@settings(max_examples=100, deadline=None)
@given(data=NEARLY.map(lambda message: message.get("data", {})))
def test_no_reset_breaks_a_session(market: MarketData, data: Any) -> None:
    if not isinstance(data, dict):
        return
    session = TradingSession(ServeConfig(market, EnvConfig(tickers=2, days=3, mask=False)))
    # A bug would be a ServerFault.
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


def test_observations_and_states_have_the_versions(url: str) -> None:
    with socket_to(url) as raw:
        answers = [ask(raw, message) for message in ({"type": "state"}, {"type": "reset"}, _step("HOLD"))]
    for answer in answers:
        data = answer["data"]
        assert VERSIONS.items() <= data.get("metadata", data).items(), answer


def test_a_bug_reveals_no_details(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServeConfig, "make_env", lambda self: 1 / 0)
    answer = client.post("/reset", json={"seed": 1})
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    assert answer.headers["x-env-version"] == ENV_VERSION


def test_a_port_that_is_taken_is_an_error() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TradeschoolError, match=f"port {port}: Address already in use"):
            listen("127.0.0.1", port)
    with pytest.raises(TradeschoolError, match="Cannot serve at no.such.host.invalid"):
        listen("no.such.host.invalid", 0)
