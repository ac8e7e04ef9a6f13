"""The chat client against a server over HTTP that misbehaves on purpose."""

import logging
import math
import signal
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import chat_server as servers
import pytest
from chat_server import KEY, MODEL, ChatServer, Step, chat_server

from tradeschool.policies.chat import client as clients
from tradeschool.policies.chat.client import ChatClient
from tradeschool.policies.chat.config import RemoteError, server_config
from tradeschool.policies.chat.sender import SpendingLimit

ENVIRON = {"TRADESCHOOL_API_KEY": KEY}
QUICK: dict[str, Any] = {"model": MODEL, "backoff": 0.01, "timeout": 5.0, "retries": 2}


def client(server: ChatServer, environ: dict[str, str] | None = None, **settings: Any) -> ChatClient:
    return ChatClient(
        server_config(**{"base_url": server.url, **QUICK, **settings}), ENVIRON if environ is None else environ
    )


def asked(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def refusal(*steps: Step, always: Step, environ: dict[str, str] | None = None, **settings: Any) -> tuple[str, int]:
    """What a client that cannot go on says, and how many requests it sent."""
    with chat_server(*steps, always=always) as server, pytest.raises(RemoteError) as raised:
        client(server, environ, **settings).answers(asked("a"))
    return str(raised.value), len(server.bodies)


def test_answers_come_in_the_order_of_the_questions() -> None:
    def slow_first(handler: Any, body: dict[str, Any]) -> None:
        time.sleep(0.2 if body["messages"][-1]["content"] == "0" else 0.0)
        servers.echo(handler, body)

    with chat_server(always=slow_first) as server:
        answers = client(server).answers(asked(*map(str, range(12))))
    assert answers == [f"said {n}" for n in range(12)]


def test_a_request_holds_what_the_recipe_says_and_the_key() -> None:
    with chat_server() as server:
        client(server, request={"temperature": None, "top_p": 0.9}).answers(asked("a"))
    assert server.bodies == [
        {"model": MODEL, "messages": [{"role": "user", "content": "a"}], "max_tokens": 512, "top_p": 0.9}
    ]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_no_key_no_header() -> None:
    with chat_server() as server:
        client(server, {}).answers(asked("a"))
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    "misdeed",
    [
        servers.error(429, "slow down"),
        servers.raw(500, b"boom"),
        servers.raw(503),
        servers.raw(200, b"{not json"),
        servers.raw(200, b"[]"),
        servers.raw(200, {"choices": []}),
        servers.raw(200, {"choices": [{"message": {"content": 3}}]}),
        servers.drop,
        servers.break_off,
    ],
    ids=["429", "500", "503", "no json", "list", "no choices", "number", "dropped", "broken off"],
)
def test_what_passes_is_asked_again(misdeed: Step) -> None:
    with chat_server(misdeed, misdeed, always=servers.echo) as server:
        asker = client(server)
        assert asker.answers(asked("a")) == ["said a"]
    assert asker.meter.retries == 2
    assert not asker.meter.failed


@pytest.mark.parametrize("misdeed", [servers.hang, servers.drip], ids=["hangs", "drips"])
def test_a_time_out_is_of_the_whole_answer(misdeed: Step) -> None:
    with chat_server(misdeed, always=servers.echo) as server:
        asker = client(server, timeout=0.4)
        started = time.monotonic()
        assert asker.answers(asked("a")) == ["said a"]
    assert 0.4 < time.monotonic() - started < 2.0
    assert asker.meter.retries == 1


@pytest.mark.parametrize("dated", [False, True])
def test_retry_after_is_waited_for(dated: bool) -> None:
    # A date has whole seconds.
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    limited = servers.error(429, "slow down", headers={"Retry-After": later if dated else "0.4"})
    with chat_server(limited, always=servers.echo) as server:
        assert client(server, at_once=1).answers(asked("a", "b")) == ["said a", "said b"]
    assert server.times[1] - server.times[0] > (0.7 if dated else 0.4)


def test_others_wait_as_well() -> None:
    limited = servers.error(429, "slow down", headers={"Retry-After": "0.6"})
    with chat_server(limited, servers.say("b", 0.1), always=servers.say("later")) as server:
        client(server, at_once=2).answers(asked(*"abcd"))
    # The two that were under way, then none until the time is over.
    assert len(server.times) == 5
    assert server.times[2] - server.times[0] > 0.6


def test_no_one_waits_an_hour() -> None:
    limited = servers.error(429, "come back tomorrow", headers={"Retry-After": "4000"})
    with chat_server(limited, always=servers.echo) as server:
        asker = client(server, at_once=1)
        assert asker.answers(asked("a", "b")) == [None, "said b"]
    assert asker.meter.failures == {"status 429: come back tomorrow": 1}


def test_a_flood_is_cut_off_and_not_asked_for_again() -> None:
    with chat_server(servers.flood, always=servers.echo) as server:
        asker = client(server, at_once=1)
        assert asker.answers(asked("a", "b")) == [None, "said b"]
    assert list(asker.meter.failures) == ["an answer of more than 1 MiB"]


def test_a_refused_request_is_data_and_the_next_is_asked() -> None:
    with chat_server(servers.error(400, "too long"), always=servers.echo) as server:
        asker = client(server, at_once=1)
        assert asker.answers(asked("a", "b")) == [None, "said b"]
    assert asker.meter.failures == {"status 400: too long": 1}
    assert "1 failed (1 x status 400: too long)" in asker.meter.line()
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("step", "settings", "words"),
    [
        (servers.error(401, f"Incorrect API key provided: {KEY}"), {}, "Check the key in TRADESCHOOL_API_KEY"),
        (servers.error(403, "not for you"), {}, "not for you"),
        (servers.error(402, "Insufficient Balance"), {}, "balance"),
        (servers.error(429, "You exceeded your quota", "insufficient_quota"), {}, "plan and limits"),
        (servers.raw(307, b"", {"Location": "https://elsewhere/v1"}), {}, "https://elsewhere/v1"),
        (servers.error(404, "no such model"), {"model": "tiny-tradr"}, "Did you mean 'tiny-trader'?"),
        (servers.error(400, "Invalid model name tiny-tradr"), {"model": "tiny-tradr"}, "It has: tiny-trader, other"),
    ],
    ids=["401", "403", "402", "quota", "redirect", "404", "400 model"],
)
def test_what_no_retry_mends_ends_at_once_with_the_cure(step: Step, settings: dict[str, Any], words: str) -> None:
    said, requests = refusal(always=step, **settings)
    assert words in said
    assert requests == 1


def test_names_of_models_cannot_write_to_the_terminal_nor_show_the_key() -> None:
    with chat_server(always=servers.error(404, "no")) as server:
        server.models = [f"tiny\x1b[2J-{KEY}"]
        with pytest.raises(RemoteError) as raised:
            client(server).answers(asked("a"))
    assert "It has: tiny [2J-***." in str(raised.value)
    assert KEY not in str(raised.value)


def test_without_a_key_401_says_which_to_set() -> None:
    said, _ = refusal(always=servers.error(401, "who are you"), environ={"OPENAI_API_KEY": KEY})
    assert "No key was sent: set TRADESCHOOL_API_KEY" in said


def test_a_key_for_another_server_is_not_sent_and_401_says_how_to_trust_this_one() -> None:
    environ = {**ENVIRON, "TRADESCHOOL_BASE_URL": "https://good.example/v1"}
    with chat_server(servers.say("a"), always=servers.error(401, "who are you")) as server:
        assert client(server, environ).answers(asked("a")) == ["a"]
        with pytest.raises(RemoteError, match="and TRADESCHOOL_BASE_URL to this server if you trust it"):
            client(server, environ).answers(asked("a"))
        assert not any("Authorization" in headers for headers in server.headers)
        # So that what is not there would be seen.
        with pytest.raises(RemoteError, match="Check the key"):
            client(server, {**ENVIRON, "TRADESCHOOL_BASE_URL": server.url}).answers(asked("a"))
        assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"


def test_an_address_without_v1_is_found_out() -> None:
    with chat_server() as server, pytest.raises(RemoteError, match=r"Did you mean http://127.0.0.1:\d+/v1\?"):
        client(server, base_url=server.url.removesuffix("/v1")).answers(asked("a"))


def test_nobody_there() -> None:
    with chat_server() as server:
        pass
    with pytest.raises(RemoteError, match="answered none of 2 requests .2 retries each.: 2 x no connection.* running"):
        client(server).answers(asked("a", "b"))


def test_a_server_that_stops_answering_is_given_up() -> None:
    with chat_server(*[servers.echo] * 5, always=servers.raw(500)) as server:
        asker = client(server, retries=0, at_once=1)
        with pytest.raises(RemoteError, match="none of the last 10 requests .*10 x status 500"):
            asker.answers(asked(*map(str, range(50))))
    assert len(server.bodies) == 5 + clients.FAILED_IN_A_ROW


def test_an_answer_in_between_is_a_sign_of_life() -> None:
    no = servers.error(400, "no")
    with chat_server(*[no] * 9, servers.echo, *[no] * 9, always=servers.echo) as server:
        asker = client(server, at_once=1)
        assert asker.answers(asked(*map(str, range(20)))).count(None) == 18


def test_failures_after_an_answer_are_data() -> None:
    with chat_server(servers.echo, always=servers.raw(500)) as server:
        asker = client(server, retries=0)
        assert asker.answers(asked("a")) == ["said a"]
        assert asker.answers(asked("b")) == [None]


def test_no_more_are_under_way_than_allowed() -> None:
    with chat_server(always=servers.say(seconds=0.03)) as server:
        client(server, at_once=3).answers(asked(*map(str, range(12))))
    assert server.most_at_once == 3


def test_requests_start_evenly_retries_included() -> None:
    with chat_server(servers.raw(500), always=servers.echo) as server:
        asker = client(server, requests_per_minute=1200)
        asker.answers(asked(*"abcde"))
        asker.answers(asked("f"))
    gaps = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    assert len(gaps) == 6
    # 50 ms apart; a thread may see two of them a little nearer.
    assert sum(gaps) > 6 * 0.05 - 0.03


def test_backoff_doubles_and_is_not_the_same_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from tradeschool.policies.chat.pace import LONGEST_BACKOFF, backoff

    for attempt in (1, 2, 3):
        waits = {backoff(attempt, 1.0) for _ in range(50)}
        assert len(waits) > 10
        assert all(2 ** (attempt - 1) / 2 <= wait <= 2 ** (attempt - 1) for wait in waits)
    assert backoff(20, 1.0) <= LONGEST_BACKOFF


def test_tokens_cost_and_latency_are_counted() -> None:
    steps = [servers.say("a", tokens=(1000, 200)), servers.say("b", 0.2, tokens=(3000, 0), finish="length")]
    with chat_server(*steps) as server:
        asker = client(server, price_input=2.0, price_output=10.0, at_once=1)
        asker.answers(asked("a", "b"))
    found = asker.meter.summary()
    # (1000 x 2 + 200 x 10 + 3000 x 2) / a million
    assert found["cost"] == pytest.approx(0.010)
    assert found["cost_per_request"] == pytest.approx(0.005)
    assert (found["requests"], found["prompt_tokens"], found["completion_tokens"], found["cut"]) == (2, 4000, 200, 1)
    assert 0.1 < float(found["latency_median"] or 0) < 0.2 < float(found["latency_p95"] or 0) + 0.02
    assert "cost 0.0100" in asker.meter.line()


def test_latency_is_of_the_attempt_that_was_answered() -> None:
    with chat_server(servers.raw(500), always=servers.echo) as server:
        asker = client(server, backoff=0.8)
        asker.answers(asked("a"))
    assert asker.meter.latency(0.5) < 0.3


def test_unknown_tokens_and_prices_are_none_and_not_nought() -> None:
    with chat_server(always=servers.say("a", tokens=None)) as server:
        asker = client(server)
        assert asker.meter.summary()["latency_median"] is None
        asker.answers(asked("a"))
    found = asker.meter.summary()
    assert found["cost"] is found["prompt_tokens"] is None
    assert math.isfinite(float(found["latency_median"] or math.nan))


PRICED: dict[str, Any] = {"price_input": 1.0, "price_output": 1.0}


def test_the_spending_limit_is_never_passed_and_what_came_is_kept(tmp_path: Path) -> None:
    # An answer costs .002.
    step, kept = servers.say("a", tokens=(1000, 1000)), tmp_path / "answers.jsonl"
    with chat_server(always=step) as server:
        asker = client(server, at_once=1, spending_limit=0.007, answers=kept, **PRICED)
        with pytest.raises(
            SpendingLimit, match="limit of 0.007 is reached: 3 answers cost 0.0060.*run again"
        ) as raised:
            asker.answers(asked(*"abcdef"))
    assert raised.value.answers == ["a"] * 3 + [None] * 3
    assert len(server.bodies) == 3
    assert len(kept.read_text().splitlines()) == 3


def test_what_is_under_way_at_the_limit_is_awaited() -> None:
    """It is paid for."""

    def slow_b(handler: Any, body: dict[str, Any]) -> None:
        text = body["messages"][-1]["content"]
        servers.say(text, 0.4 if text == "b" else 0.0, tokens=(1000, 1000))(handler, body)

    with chat_server(always=slow_b) as server, pytest.raises(SpendingLimit) as raised:
        client(server, at_once=2, spending_limit=0.003, **PRICED).answers(asked(*"abc"))
    assert raised.value.answers == ["a", "b", None]


def test_a_limit_that_cannot_be_kept_is_said() -> None:
    said, requests = refusal(always=servers.say("a", tokens=None), spending_limit=1.0, **PRICED)
    assert "does not tell how many tokens" in said
    assert requests == 1


def test_a_second_run_pays_for_what_the_first_did_not_get(tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "answers.jsonl"
    with chat_server(servers.echo, servers.error(400, "no"), always=servers.echo) as server:
        assert client(server, at_once=1, answers=kept).answers(asked("a", "b")) == ["said a", None]
        # Killed while it wrote a line.
        with kept.open("a") as file:
            file.write('{"key": "hal')
        asker = client(server, at_once=1, answers=kept)
        assert asker.answers(asked("a", "b", "a")) == ["said a", "said b", "said a"]
        assert [body["messages"][0]["content"] for body in server.bodies] == ["a", "b", "b", "a"]
        assert asker.meter.reused == 1
        again = client(server, answers=kept)
        assert again.answers(asked("a", "b", "a")) == ["said a", "said b", "said a"]
        other = client(server, answers=kept, request={"seed": 1})
        other.answers(asked("a"))
    assert (again.meter.reused, len(again.meter.calls)) == (3, 0)
    assert len(other.meter.calls) == 1
    assert KEY not in kept.read_text()


def test_a_file_of_something_else_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy low\n")
    with chat_server() as server, pytest.raises(RemoteError, match="line 1: no kept answer"):
        client(server, answers=tmp_path / "notes.txt")
    with chat_server() as server, pytest.raises(RemoteError, match="cannot keep answers"):
        client(server, answers=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "buy low\n"


@pytest.mark.parametrize(("said", "text"), [(None, ""), ("\ud800 sell", "? sell"), ("", "")])
def test_odd_answers_are_texts(said: str | None, text: str) -> None:
    with chat_server(always=servers.say(said)) as server:
        assert client(server).answers(asked("a")) == [text]


@pytest.mark.parametrize(
    "always",
    [
        servers.error(401, f"wrong: {KEY}"),
        servers.error(400, "x" * 290 + KEY),
        servers.raw(302, b"", {"Location": KEY}),
    ],
)
def test_the_key_stands_nowhere(always: Step, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    with chat_server(servers.raw(500, KEY.encode()), always=always) as server:
        asker = client(server, answers=tmp_path / "answers.jsonl")
        with pytest.raises(RemoteError) as raised:
            asker.answers(asked("a"))
    # What a server says in its headers, the library below tells at the level of debugging.
    logged = [line for line in caplog.text.splitlines() if "receive_response_headers" not in line]
    shown = [repr(asker), repr(asker.config), repr(asker.endpoint), asker.meter.line(), *logged]
    shown += traceback.format_exception(raised.value)
    # Half a key is a leak as well.
    assert KEY[:8] not in " ".join(shown)
    assert "302" in str(raised.value) or "status 40" in str(raised.value)


# A program started in the background of a shell ignores Ctrl-C until told otherwise.
SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tradeschool.policies.chat.client import ChatClient
from tradeschool.policies.chat.config import server_config
ChatClient(server_config(base_url=sys.argv[1], model="m")).answers([[{"role": "user", "content": "a"}]] * 40)
"""


@pytest.mark.parametrize(
    "always", [servers.hang, servers.error(429, "no", headers={"Retry-After": "100"})], ids=["waits", "backs off"]
)
def test_ctrl_c_ends_at_once(always: Step) -> None:
    with chat_server(always=always) as server:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, server.url], stderr=subprocess.PIPE)
        while not server.bodies:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=15)[1].decode()
    assert said.strip().endswith("KeyboardInterrupt")


def test_within_a_running_loop() -> None:
    """As in a notebook."""
    import asyncio

    async def cell(asker: ChatClient) -> list[str | None]:
        return asker.answers(asked("a"))

    with chat_server(always=servers.echo) as server:
        assert asyncio.run(cell(client(server))) == ["said a"]


def test_progress_is_told() -> None:
    seen: list[int] = []
    with chat_server() as server:
        config = server_config(base_url=server.url, **QUICK)
        ChatClient(config, ENVIRON, on_answer=seen.append).answers(asked("a", "b", "c"))
    assert seen == [1, 2, 3]


def test_nothing_asked_nothing_sent() -> None:
    with chat_server() as server:
        assert client(server).answers([]) == []
    assert not server.bodies


def test_every_letter_arrives() -> None:
    texts = ["naïve ✓", 'quote " and \\', "line\nbreak"]
    with chat_server(always=servers.echo) as server:
        assert client(server).answers(asked(*texts)) == [f"said {text}" for text in texts]
