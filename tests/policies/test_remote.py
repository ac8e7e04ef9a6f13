"""A remote model as a policy and as a trader, over HTTP; and against ``transformers serve``."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import chat_server as servers
import gymnasium
import pytest
import tiny_models
from chat_server import MODEL, ChatServer, chat_server
from env_markets import by_hand

import tradeschool.env  # noqa: F401 - registers the levels
from tradeschool.env.config import EnvConfig
from tradeschool.env.conversation import opening
from tradeschool.env.harness import play
from tradeschool.env.reference import Saying
from tradeschool.env.trading import TradingEnv
from tradeschool.market.practice import PracticeConfig, practice
from tradeschool.market.window import Windows
from tradeschool.policies.chat.client import ChatClient
from tradeschool.policies.chat.config import RemoteError, server_config
from tradeschool.policies.remote import RemotePolicy, RemoteTrader, sendable, whole
from tradeschool.tasks.base import Prompt

DAYS = 4


@pytest.fixture(scope="module")
def env() -> Any:
    return gymnasium.make("tradeschool/Easy-v1", panel=practice(PracticeConfig(tickers=2, days=200)), days=DAYS)


def client(server: ChatServer, **settings: Any) -> ChatClient:
    return ChatClient(server_config(base_url=server.url, model=MODEL, backoff=0.01, retries=0, **settings), {})


def test_a_policy_answers_prompts_and_a_failure_is_an_empty_answer() -> None:
    window = Windows(practice(PracticeConfig(tickers=2, days=200))).at(100, 0)
    prompts = [Prompt(str(n), [{"role": "user", "content": f"q{n}"}], window) for n in range(3)]
    with chat_server(servers.echo, servers.error(400, "no"), always=servers.echo) as server:
        policy = RemotePolicy(client(server, at_once=1))
        assert policy.reply(prompts) == ["said q0", "", "said q2"]
    assert (policy.name, policy.kind) == (MODEL, "untrained")
    assert policy.client.meter.failed == 1


def test_a_trader_trades_what_its_server_says(env: Any) -> None:
    with chat_server(servers.say("<think>up</think>BUY 1")) as server:
        trader = RemoteTrader(client(server), name="model")
        (record,) = play(trader, env, 1)
    (bought,) = play(Saying("BUY 1"), env, 1)
    assert record.agent == "model"
    assert record.turnover_D[0] == bought.turnover_D[0] > 0
    assert record.turnover_D[1:].sum() == 0


UNOPENED = "RSI low</think>\nBUY 1"
"""What a server sends whose template opens ``<think>`` and that does not part reasoning from the answer."""


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (UNOPENED, f"<think>\n{UNOPENED}"),
        ("<think>a</think>\nBUY 1", "<think>a</think>\nBUY 1"),
        ("a</think>b<think>c", "a</think>b<think>c"),
        ("<think>a", "<think>a"),
        ("BUY 1", "BUY 1"),
        ("", ""),
    ],
)
def test_thinking_that_the_template_opened_is_opened_here_too(answer: str, read: str) -> None:
    assert whole(answer) == read
    window = Windows(practice(PracticeConfig(tickers=2, days=200))).at(100, 0)
    with chat_server(always=servers.say(answer)) as server:
        policy = RemotePolicy(client(server))
        assert policy.reply([Prompt("0", [{"role": "user", "content": "q"}], window)]) == [read]


def test_a_trader_whose_thinking_the_template_opened_trades(env: Any) -> None:
    with chat_server(servers.say(UNOPENED), always=servers.say("HOLD")) as server:
        trader = RemoteTrader(client(server))
        (record,) = play(trader, env, 1)
    (bought,) = play(Saying("BUY 1"), env, 1)
    assert record.refused == 0
    assert record.turnover_D[0] == bought.turnover_D[0] > 0
    # As it is read, so it stands in the conversation, whose traces are read again.
    assert trader.conversations[0][2] == {"role": "assistant", "content": f"<think>\n{UNOPENED}"}
    assert server.bodies[1]["messages"][2] == trader.conversations[0][2]


def test_a_conversation_is_only_ever_appended_to(env: Any) -> None:
    answers = ["HOLD", "BUY 0.5", "<think>why</think>\nSELL", "HOLD"]
    with chat_server(*map(servers.say, answers)) as server:
        play(RemoteTrader(client(server)), env, 1)
    sent = [body["messages"] for body in server.bodies]
    assert len(sent) == DAYS
    assert sent[0][0] == {"role": "system", "content": opening(env.unwrapped.config)}
    for day, (before, after) in enumerate(pairwise(sent)):
        assert after[: len(before)] == before
        assert after[len(before)] == {"role": "assistant", "content": answers[day]}
        assert after[len(before) + 1]["content"].startswith(f"day {day + 1} of {DAYS}")
        assert len(after) == len(before) + 2


def test_episodes_are_asked_side_by_side_and_kept_apart(env: Any) -> None:
    with chat_server(always=servers.say("HOLD", seconds=0.05)) as server:
        play(RemoteTrader(client(server)), env, 3)
    assert server.most_at_once == 3
    last = [body["messages"] for body in server.bodies[-3:]]
    assert len({conversation[1]["content"] for conversation in last}) == 3
    assert all(len(conversation) == 2 * DAYS for conversation in last)


def test_a_failed_day_is_refused_counted_and_followed_by_the_next(env: Any) -> None:
    with chat_server(servers.say("HOLD"), servers.error(400, "no"), always=servers.say("HOLD")) as server:
        trader = RemoteTrader(client(server))
        (record,) = play(trader, env, 1)
    assert record.refused == 1
    assert trader.client.meter.failed == 1
    # The day without an answer and the next are one message: roles go on in turn, and nothing empty is sent.
    roles = [message["role"] for message in server.bodies[2]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    missed, told = server.bodies[2]["messages"][-1]["content"].split("\n\n")
    assert missed.startswith("day 1 of 4")
    assert told.startswith("day 2 of 4")
    assert "1 refused" in told.splitlines()[0]
    assert [message["content"] for message in trader.conversations[0] if message["role"] == "assistant"] == [
        "HOLD",
        "",
        "HOLD",
        "HOLD",
    ]


def test_a_finished_episode_is_not_asked_again() -> None:
    # The one start there is; on the next day the stock falls by 95 %.
    falling = TradingEnv(by_hand([10.0] * 51 + [0.5] * 3, [10.0] * 50 + [0.5] * 4), days=DAYS)
    with chat_server(servers.say("BUY 1"), always=servers.say("HOLD")) as server:
        trader = RemoteTrader(client(server, at_once=1))
        bankrupt, idle = play(trader, falling, 2)
    assert (bankrupt.terminated, idle.terminated) == (True, False)
    assert len(server.bodies) == 2 + (DAYS - 1)
    assert [len(trader.conversations[seed]) for seed in (0, 1)] == [3, 1 + 2 * DAYS]


def test_a_day_without_any_answer_from_the_start_is_an_error(env: Any) -> None:
    with (
        chat_server(always=servers.raw(500)) as server,
        pytest.raises(RemoteError, match="answered none of 2 requests"),
    ):
        play(RemoteTrader(client(server)), env, 2)


def test_numbers_are_no_conversation() -> None:
    with chat_server() as server, pytest.raises(RemoteError, match="observation: text"):
        play(RemoteTrader(client(server)), gymnasium.make("tradeschool/Easy-v1", observation="numeric"), 1)


def test_the_form_of_numbers_has_no_labels(env: Any) -> None:
    with chat_server() as server:
        play(RemoteTrader(client(server), form="numbers"), env, 1)
    system, user = server.bodies[0]["messages"]
    assert system["content"] == opening(EnvConfig(days=DAYS), "numbers")
    assert "cash" not in user["content"]


def test_sendable_leaves_a_whole_conversation_as_it_is() -> None:
    whole = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
    assert sendable(whole) == whole
    assert sendable([]) == []


@contextmanager
def transformers_serve(folder: Path, home: Path) -> Iterator[str]:
    """The address of ``transformers serve`` with the model of a folder, while the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "hub").mkdir(parents=True)
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--device", "cpu"]
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    log = home / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], env=environ, stdout=file, stderr=file
        )
        try:
            deadline = time.monotonic() + 240
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.slow
def test_against_transformers_serve(env: Any, tmp_path: Path) -> None:
    for package in ("fastapi", "uvicorn", "openai"):
        pytest.importorskip(package, reason="transformers serve needs transformers[serving]")
    # Not Qwen3: for that family the server takes its own template of answers, whatever the tokenizer's is.
    folder = tiny_models.folder(tmp_path / "model", "Llama")
    with transformers_serve(folder, tmp_path / "home") as url:
        settings = {"base_url": url, "request": {"max_tokens": 8}}
        trader = RemoteTrader(ChatClient(server_config(model=str(folder), **settings), {}), name="served")
        records = play(trader, env, 2)
        found = trader.client.meter.summary()
        assert (found["requests"], found["failed"]) == (2 * DAYS, 0)
        assert found["completion_tokens"] == 2 * DAYS * 8
        assert found["cut"] == 2 * DAYS
        assert int(found["prompt_tokens"] or 0) > 1000
        assert [len(record.equity_D) for record in records] == [DAYS + 1] * 2
        (again,) = play(trader, env, 1)
        assert again.equity_D.tolist() == records[0].equity_D.tolist()
        with pytest.raises(RemoteError, match="has no model 'nope'"):
            ChatClient(server_config(model="nope", **settings), {}).answers([[{"role": "user", "content": "a"}]])
