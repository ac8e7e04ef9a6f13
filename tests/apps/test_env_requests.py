"""Bad requests to an environment server: each gets a status or an error message, and the session goes on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("openenv", reason="openenv is not installed: pip install 'tradeschool[openenv]'")

import httpx
from env_markets import hostile
from env_servers import ask, serving, socket_to
from fastapi import FastAPI
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed

from tradeschool.apps.env_messages import NumericTradeAction
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
    "an unknown field": ("/reset", {"sede": 1}, 422, "Did you mean 'seed'?"),
    "seed: below 0": ("/reset", {"seed": -1}, 422, "greater than or equal to 0"),
    "seed: too large": ("/reset", {"seed": 2**63}, 422, "seed: is 9223372036854775808, but must be at most"),
    "start where it is hidden": ("/reset", {"start": 80}, 422, "start cannot be set here"),
    "step: no action": ("/step", {}, 422, "action"),
    "action: an unknown field": ("/step", {"action": {"order": "HOLD"}}, 422, "order"),
    "orders: too long": ("/step", {"action": {"orders": "B" * (LONGEST_ACTION + 1)}}, 422, "at most 20000"),
    "a step without an episode": ("/step", {"action": {"orders": "HOLD"}}, 422, "send reset first"),
    "no such page": ("/rest", {}, 404, "Not Found"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_http_request_has_its_status_and_a_reason(client: TestClient, case: str) -> None:
    path, body, status, words = BAD_BODIES[case]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(path, content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert words in str(answer.json()["detail"])


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


def _step(orders: Any) -> dict[str, Any]:
    return {"type": "step", "data": {"orders": orders}}


BAD_MESSAGES: dict[str, tuple[Any, str, str]] = {
    "not JSON": ("{", "INVALID_JSON", "line 1 column 2"),
    "a wrong type": ({"type": "rset"}, "UNKNOWN_TYPE", "rset"),
    "seed: text": ({"type": "reset", "data": {"seed": "1"}}, "EXECUTION_ERROR", "seed: is '1', but must be a whole"),
    "reset: a list": ({"type": "reset", "data": [1]}, "VALIDATION_ERROR", "valid dictionary"),
    "reset: unknown": ({"type": "reset", "data": {"sed": 1}}, "EXECUTION_ERROR", "Did you mean 'seed'?"),
    "start": ({"type": "reset", "data": {"start": 5}}, "EXECUTION_ERROR", "cannot be set here"),
    "orders: a number": (_step(1), "VALIDATION_ERROR", "valid string"),
    "step before reset": (_step("HOLD"), "EXECUTION_ERROR", "send reset first"),
}


@pytest.mark.parametrize("case", BAD_MESSAGES)
def test_a_bad_message_is_answered_and_the_session_goes_on(url: str, case: str) -> None:
    message, code, words = BAD_MESSAGES[case]
    with socket_to(url) as raw:
        answer = ask(raw, message)
        assert answer["type"] == "error"
        assert answer["data"]["code"] == code
        assert words in json.dumps(answer)
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


def test_numeric_orders_are_checked(market: MarketData) -> None:
    session = TradingSession(ServeConfig(market, EnvConfig(tickers=3, observation="numeric")))
    session.reset(seed=1)
    session.step(NumericTradeAction(orders=[0, 0.5, -1]))
    with pytest.raises(EnvError, match="3"):
        session.step(NumericTradeAction(orders=[0.5]))
    for orders in (["a", 0.5, 0.5], [True, 0.5, 0.5], [1e999, 0.5, 0.5], [0.5] * 501, "HOLD"):
        with pytest.raises(ValueError, match="orders"):
            NumericTradeAction.model_validate({"orders": orders})


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


def test_a_port_that_is_taken_is_an_error() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TradeschoolError, match=f"port {port}: Address already in use"):
            listen("127.0.0.1", port)
    with pytest.raises(TradeschoolError, match="Cannot serve at no.such.host.invalid"):
        listen("no.such.host.invalid", 0)
