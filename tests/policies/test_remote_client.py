"""The chat client against a local HTTP server that fails on purpose."""

import logging
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import chat_server as servers
import pytest
from chat_server import KEY, MODEL, ChatServer, Step, chat_server

from tradeschool.policies.remote import MAX_FAILURES_IN_A_ROW, ChatClient, SpendingLimit
from tradeschool.policies.remote_config import RemoteError, server_config

ENVIRON = {"TRADESCHOOL_API_KEY": KEY}
QUICK: dict[str, Any] = {"model": MODEL, "timeout": 5.0, "retries": 1}


def client(server: ChatServer, environ: dict[str, str] | None = None, **settings: Any) -> ChatClient:
    return ChatClient(
        server_config(**{"base_url": server.url, **QUICK, **settings}), ENVIRON if environ is None else environ
    )


def asked(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def refusal(*steps: Step, always: Step, environ: dict[str, str] | None = None, **settings: Any) -> tuple[str, int]:
    """The error of a client that has to stop, and how many requests it sent."""
    with chat_server(*steps, always=always) as server, pytest.raises(RemoteError) as raised:
        client(server, environ, **settings).complete(asked("a"))
    return str(raised.value), len(server.bodies)


def test_answers_are_in_the_order_of_the_conversations() -> None:
    def slow_first(handler: Any, body: dict[str, Any]) -> None:
        time.sleep(0.2 if body["messages"][-1]["content"] == "0" else 0.0)
        servers.echo(handler, body)

    with chat_server(always=slow_first) as server:
        answers = client(server).complete(asked(*map(str, range(12))))
    assert answers == [f"echo {n}" for n in range(12)]


def test_a_request_has_the_fields_of_the_recipe_and_the_key() -> None:
    with chat_server() as server:
        client(server, request={"temperature": None, "top_p": 0.9}).complete(asked("a"))
    assert server.bodies == [
        {"model": MODEL, "messages": [{"role": "user", "content": "a"}], "max_tokens": 512, "top_p": 0.9}
    ]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_no_key_no_header() -> None:
    with chat_server() as server:
        client(server, {}).complete(asked("a"))
    assert "Authorization" not in server.headers[0]


SOON = {"Retry-After-Ms": "10"}


@pytest.mark.parametrize(
    "failure",
    [servers.error(429, "slow down", headers=SOON), servers.raw(500, b"boom", SOON), servers.drop, servers.break_off],
    ids=["429", "500", "dropped", "broken off"],
)
def test_transient_failures_are_retried(failure: Step) -> None:
    with chat_server(failure, always=servers.echo) as server:
        remote = client(server)
        assert remote.complete(asked("a")) == ["echo a"]
    assert (remote.usage.retries, remote.usage.failures) == (1, {})


@pytest.mark.parametrize(
    "answer",
    [
        servers.raw(200, b"{not json"),
        servers.raw(200, b"[]"),
        servers.raw(200, {"choices": []}),
        servers.raw(200, {"choices": [{"message": {"content": 3}}]}),
        servers.raw(200, {"choices": [{}]}),
    ],
    ids=["not json", "list", "no choices", "number", "empty choice"],
)
def test_an_answer_that_is_not_a_completion_is_a_failed_request(answer: Step) -> None:
    with chat_server(answer, always=servers.echo) as server:
        remote = client(server, concurrency=1)
        assert remote.complete(asked("a", "b")) == [None, "echo b"]
    assert remote.usage.failures == {"an answer that is not a chat completion": 1}


def test_a_hanging_request_is_retried_after_its_timeout() -> None:
    with chat_server(servers.hang, always=servers.echo) as server:
        remote = client(server, timeout=0.4)
        assert remote.complete(asked("a")) == ["echo a"]
    assert remote.usage.retries == 1


def test_retry_after_is_respected() -> None:
    limited = servers.error(429, "slow down", headers={"Retry-After": "0.8"})
    with chat_server(limited, always=servers.echo) as server:
        assert client(server).complete(asked("a")) == ["echo a"]
    assert server.times[1] - server.times[0] > 0.75


def test_very_long_waits_are_failures() -> None:
    limited = servers.error(429, "come back tomorrow", headers={"Retry-After": "4000"})
    with chat_server(limited, always=servers.echo) as server:
        remote = client(server, concurrency=1)
        assert remote.complete(asked("a", "b")) == [None, "echo b"]
    assert remote.usage.failures == {"status 429: come back tomorrow": 1}


def test_a_refused_request_is_a_failure_and_the_next_is_sent() -> None:
    with chat_server(servers.error(400, "too long"), always=servers.echo) as server:
        remote = client(server, concurrency=1)
        assert remote.complete(asked("a", "b")) == [None, "echo b"]
    assert remote.usage.failures == {"status 400: too long": 1}
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("step", "settings", "words"),
    [
        (servers.error(401, f"Incorrect API key provided: {KEY}"), {}, "TRADESCHOOL_API_KEY"),
        (servers.error(403, "not for you"), {}, "not for you"),
        (servers.error(402, "Insufficient Balance"), {}, "balance"),
        (servers.error(429, "You exceeded your quota", "insufficient_quota"), {"retries": 0}, "credit"),
        (servers.raw(307, b"", {"Location": "https://elsewhere/v1"}), {}, "https://elsewhere/v1"),
        (servers.error(404, "no such model"), {"model": "tiny-tradr"}, "has no model 'tiny-tradr'"),
    ],
    ids=["401", "403", "402", "quota", "redirect", "404"],
)
def test_a_permanent_refusal_ends_immediately(step: Step, settings: dict[str, Any], words: str) -> None:
    message, requests = refusal(always=step, **settings)
    assert words in message
    assert requests == 1


def test_a_key_for_another_server_is_not_sent() -> None:
    environ = {**ENVIRON, "TRADESCHOOL_BASE_URL": "https://good.example/v1"}
    with chat_server(servers.say("a"), always=servers.error(401, "who are you")) as server:
        assert client(server, environ).complete(asked("a")) == ["a"]
        with pytest.raises(RemoteError, match="the server in TRADESCHOOL_BASE_URL"):
            client(server, environ).complete(asked("a"))
        assert not any("Authorization" in headers for headers in server.headers)
        # So that what is not there would be seen.
        with pytest.raises(RemoteError, match="Check the key"):
            client(server, {**ENVIRON, "TRADESCHOOL_BASE_URL": server.url}).complete(asked("a"))
        assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"


def test_an_address_without_v1_gets_a_hint() -> None:
    with chat_server() as server, pytest.raises(RemoteError, match=r"Did you mean http://127.0.0.1:\d+/v1\?"):
        client(server, base_url=server.url.removesuffix("/v1")).complete(asked("a"))


def test_no_server() -> None:
    with chat_server() as server:
        pass
    with pytest.raises(
        RemoteError, match="answered none of 2 requests .1 retries each.: 2 x no connection.*server runs"
    ):
        client(server).complete(asked("a", "b"))


def test_many_failures_in_a_row_are_an_error() -> None:
    with chat_server(*[servers.echo] * 5, always=servers.raw(500)) as server:
        remote = client(server, retries=0, concurrency=1)
        with pytest.raises(RemoteError, match="none of the last 10 requests .*10 x status 500"):
            remote.complete(asked(*map(str, range(50))))
    assert len(server.bodies) == 5 + MAX_FAILURES_IN_A_ROW


def test_an_answer_resets_the_count_of_failures() -> None:
    no = servers.error(400, "no")
    with chat_server(*[no] * 9, servers.echo, *[no] * 9, always=servers.echo) as server:
        remote = client(server, concurrency=1)
        assert remote.complete(asked(*map(str, range(20)))).count(None) == 18


def test_failures_after_an_answer_are_no_error() -> None:
    with chat_server(servers.echo, always=servers.raw(500)) as server:
        remote = client(server, retries=0)
        assert remote.complete(asked("a")) == ["echo a"]
        assert remote.complete(asked("b")) == [None]


def test_concurrency_is_limited() -> None:
    with chat_server(always=servers.say(seconds=0.03)) as server:
        client(server, concurrency=3).complete(asked(*map(str, range(12))))
    assert server.most_at_once == 3


def test_tokens_cost_and_latency_are_counted() -> None:
    steps = [servers.say("a", tokens=(1000, 200)), servers.say("b", 0.2, tokens=(3000, 0), finish="length")]
    with chat_server(*steps) as server:
        remote = client(server, price_input=2.0, price_output=10.0, concurrency=1)
        remote.complete(asked("a", "b"))
    usage = remote.usage
    # (1000 x 2 + 200 x 10 + 3000 x 2) / a million
    assert usage.cost == pytest.approx(0.010)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.truncated) == (4000, 200, 1)
    found = usage.summary()
    assert found["requests"] == 2
    assert found["cost_per_request"] == pytest.approx(0.005)
    assert 0.1 < float(found["latency_median"] or 0) < 0.2 < float(found["latency_p95"] or 0) + 0.02


def test_latency_is_of_the_attempt_that_was_answered() -> None:
    with chat_server(servers.raw(500), always=servers.echo) as server:
        remote = client(server)
        remote.complete(asked("a"))
    assert remote.usage.seconds[0] < 0.3


def test_unknown_tokens_and_prices_are_none() -> None:
    with chat_server(always=servers.say("a", tokens=None)) as server:
        remote = client(server)
        remote.complete(asked("a"))
    assert remote.usage.cost is remote.usage.prompt_tokens is None
    assert len(remote.usage.seconds) == 1


PRICED: dict[str, Any] = {"price_input": 1.0, "price_output": 1.0}


def test_the_spending_limit_is_never_exceeded_and_answers_are_saved(tmp_path: Path) -> None:
    # An answer costs .002.
    step, kept = servers.say("a", tokens=(1000, 1000)), tmp_path / "answers.jsonl"
    with chat_server(always=step) as server:
        remote = client(server, concurrency=1, spending_limit=0.007, answers=kept, **PRICED)
        with pytest.raises(SpendingLimit, match="limit of 0.007 is reached: 3 answers cost 0.0060.*run again"):
            remote.complete(asked(*"abcdef"))
    assert len(server.bodies) == 3
    assert kept.read_text().count('"key"') == 3


def test_open_requests_at_the_limit_are_awaited() -> None:
    """They are paid for."""

    def slow_b(handler: Any, body: dict[str, Any]) -> None:
        text = body["messages"][-1]["content"]
        servers.say(text, 0.4 if text == "b" else 0.0, tokens=(1000, 1000))(handler, body)

    with chat_server(always=slow_b) as server:
        remote = client(server, concurrency=2, spending_limit=0.003, **PRICED)
        with pytest.raises(SpendingLimit):
            remote.complete(asked(*"abc"))
    assert len(remote.usage.seconds) == 2


def test_a_limit_that_cannot_be_enforced_is_an_error() -> None:
    message, requests = refusal(always=servers.say("a", tokens=None), spending_limit=1.0, **PRICED)
    assert "token counts" in message
    assert requests == 1


def test_a_second_run_pays_only_for_missing_answers(tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "answers.jsonl"
    with chat_server(servers.echo, servers.error(400, "no"), always=servers.echo) as server:
        assert client(server, concurrency=1, answers=kept).complete(asked("a", "b")) == ["echo a", None]
        # Killed while it wrote a line.
        with kept.open("a") as file:
            file.write('\n{"key": "hal')
        remote = client(server, concurrency=1, answers=kept)
        assert remote.complete(asked("a", "b", "a")) == ["echo a", "echo b", "echo a"]
        assert [body["messages"][0]["content"] for body in server.bodies] == ["a", "b", "b", "a"]
        assert remote.usage.reused == 1
        again = client(server, answers=kept)
        assert again.complete(asked("a", "b", "a")) == ["echo a", "echo b", "echo a"]
        other = client(server, answers=kept, request={"seed": 1})
        other.complete(asked("a"))
    assert (again.usage.reused, len(again.usage.seconds)) == (3, 0)
    assert len(other.usage.seconds) == 1
    assert KEY not in kept.read_text()


@pytest.mark.parametrize("text", ["buy low\n", "buy low", '{"a": 1}'])
def test_a_file_of_something_else_is_not_overwritten(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text(text)
    with chat_server() as server, pytest.raises(RemoteError, match="line 1: not a saved answer"):
        client(server, answers=tmp_path / "other.txt")
    assert (tmp_path / "other.txt").read_text() == text


def test_a_folder_is_not_a_file_of_answers(tmp_path: Path) -> None:
    with chat_server() as server, pytest.raises(RemoteError, match="cannot be saved"):
        client(server, answers=tmp_path)


@pytest.mark.parametrize(("answer", "text"), [(None, ""), ("\ud800 sell", "? sell"), ("", "")])
def test_unusual_answers_are_text(answer: str | None, text: str) -> None:
    with chat_server(always=servers.say(answer)) as server:
        assert client(server).complete(asked("a")) == [text]


@pytest.mark.parametrize(
    "always",
    [
        servers.error(401, f"wrong: {KEY}"),
        servers.error(400, "x" * 290 + KEY),
        servers.raw(302, b"", {"Location": KEY}),
    ],
)
def test_the_key_appears_nowhere(always: Step, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    with chat_server(servers.raw(500, KEY.encode(), SOON), always=always) as server:
        remote = client(server, answers=tmp_path / "answers.jsonl")
        with pytest.raises(RemoteError) as raised:
            remote.complete(asked("a"))
    # At debug level the HTTP library logs the headers that a server sends.
    logged = [line for line in caplog.text.splitlines() if "receive_response_headers" not in line]
    shown = [repr(remote), repr(remote.config), repr(remote.endpoint), repr(remote.usage), *logged]
    shown += traceback.format_exception(raised.value)
    # Half a key is a leak as well.
    assert KEY[:8] not in " ".join(shown)
    assert "302" in str(raised.value) or "status 40" in str(raised.value)


# A program started in the background of a shell ignores Ctrl-C by default.
SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tradeschool.policies.remote import ChatClient
from tradeschool.policies.remote_config import server_config
ChatClient(server_config(base_url=sys.argv[1], model="m")).complete([[{"role": "user", "content": "a"}]] * 40)
"""


@pytest.mark.parametrize(
    "always", [servers.hang, servers.error(429, "no", headers={"Retry-After": "100"})], ids=["waits", "backs off"]
)
def test_ctrl_c_works(always: Step) -> None:
    with chat_server(always=always) as server:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, server.url], stderr=subprocess.PIPE)
        while not server.bodies:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=15)[1].decode()
    assert output.strip().endswith("KeyboardInterrupt")


def test_within_a_running_loop() -> None:
    """As in a notebook."""
    import asyncio

    async def cell(remote: ChatClient) -> list[str | None]:
        return remote.complete(asked("a"))

    with chat_server(always=servers.echo) as server:
        assert asyncio.run(cell(client(server))) == ["echo a"]


def test_no_conversations_no_requests() -> None:
    with chat_server() as server:
        assert client(server).complete([]) == []
    assert not server.bodies


def test_every_character_arrives() -> None:
    texts = ["naïve ✓", 'quote " and \\', "line\nbreak"]
    with chat_server(always=servers.echo) as server:
        assert client(server).complete(asked(*texts)) == [f"echo {text}" for text in texts]


def test_only_our_own_headers_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-0123456789")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-0123456789")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer secret\nX-Mine: secret")
    with chat_server() as server:
        client(server, {}).complete(asked("a"))
        client(server).complete(asked("a"))
    names = {name.lower() for headers in server.headers for name in headers}
    assert names <= {
        "host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent",
        "authorization", "x-stainless-raw-response",
    }  # fmt: skip
    assert [headers.get("Authorization") for headers in server.headers] == [None, f"Bearer {KEY}"]
    assert "secret" not in str(server.headers)
