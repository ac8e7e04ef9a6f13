"""A remote model as a policy: single answers, whole episodes, and against ``transformers serve``."""

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
import pytest
import tiny_models
from chat_server import MODEL, ChatServer, chat_server
from env_markets import by_hand

from tradeschool.env.trading_env import TradingChatEnv, TradingEnv
from tradeschool.market.synthetic import SyntheticConfig, simulate
from tradeschool.policies.remote import ChatClient, RemotePolicy
from tradeschool.policies.remote_config import RemoteError, server_config
from tradeschool.rollout import run_episodes
from tradeschool.tasks.base import Example

DAYS = 4
UNOPENED = "RSI low</think>\nBUY 1"
"""What a server without a reasoning parser sends where the chat template opens ``<think>``."""


def remote(server: ChatServer, **settings: Any) -> RemotePolicy:
    return RemotePolicy(ChatClient(server_config(base_url=server.url, model=MODEL, retries=0, **settings), {}))


def asked(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def test_answers_are_in_order_and_a_failure_is_an_empty_answer() -> None:
    with chat_server(servers.echo, servers.error(400, "no"), always=servers.echo) as server:
        policy = remote(server, concurrency=1)
        assert policy.generate(asked("q0", "q1", "q2")) == [["echo q0"], [""], ["echo q2"]]
    assert (policy.name, policy.kind) == (MODEL, "base")
    assert policy.client.usage.failures.total() == 1


def test_several_answers_to_a_conversation() -> None:
    with chat_server(*map(servers.say, "abcd")) as server:
        assert remote(server, concurrency=1).generate(asked("x", "y"), n=2) == [["a", "b"], ["c", "d"]]


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
def test_thinking_opened_by_the_template_is_completed(answer: str, read: str) -> None:
    with chat_server(always=servers.say(answer)) as server:
        assert remote(server).generate(asked("q")) == [[read]]


def test_empty_answers_are_not_sent_back() -> None:
    roles = ["system", "user", "assistant", "user", "assistant", "user", "assistant", "user"]
    texts = ["s", "one", "", "two", "answer", "three", " ", "four"]
    with chat_server() as server:
        remote(server).generate([[{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]])
    assert [(message["role"], message["content"]) for message in server.bodies[0]["messages"]] == [
        ("system", "s"),
        ("user", "one\n\ntwo"),
        ("assistant", "answer"),
        ("user", "three\n\nfour"),
    ]


# episodes ----------------------------------------------------------------------------------------


def episodes(server: ChatServer, count: int = 1, env: TradingEnv | None = None, **settings: Any) -> list[Any]:
    """Episodes of a remote model, played by the one loop for conversations."""
    market = simulate(SyntheticConfig(tickers=2, days=200))
    envs = [TradingChatEnv(env or TradingEnv(market, days=DAYS)) for _ in range(count)]
    examples = [Example(str(seed), -1, 0, payload={"seed": seed}) for seed in range(count)]
    return run_episodes(remote(server, **settings).chat(), envs, examples)


def test_a_remote_model_trades_what_it_says() -> None:
    with chat_server(servers.say(UNOPENED), always=servers.say("HOLD")) as server:
        (episode,) = episodes(server)
    assert (episode.unread, sum(episode.env.refused)) == (0, 0)
    assert episode.env.env.account.shares[0] > 0
    assert episode.messages[2] == {"role": "assistant", "content": f"<think>\n{UNOPENED}"}
    assert server.bodies[1]["messages"][2] == episode.messages[2]


def test_a_conversation_is_only_appended_to() -> None:
    answers = ["HOLD", "BUY 0.5", "<think>why</think>\nSELL", "HOLD"]
    with chat_server(*map(servers.say, answers)) as server:
        episodes(server)
    sent = [body["messages"] for body in server.bodies]
    assert len(sent) == DAYS
    for day, (before, after) in enumerate(pairwise(sent)):
        assert after[: len(before)] == before
        assert after[len(before)] == {"role": "assistant", "content": answers[day]}
        assert len(after) == len(before) + 2


def test_episodes_are_played_side_by_side() -> None:
    with chat_server(always=servers.say("HOLD", seconds=0.05)) as server:
        episodes(server, 3)
    assert server.most_at_once == 3
    last = [body["messages"] for body in server.bodies[-3:]]
    assert len({conversation[1]["content"] for conversation in last}) == 3


def test_a_failed_day_is_counted_and_followed_by_the_next() -> None:
    with chat_server(servers.say("HOLD"), servers.error(400, "no"), always=servers.say("HOLD")) as server:
        (episode,) = episodes(server)
    assert episode.unread == 1
    assert [message["role"] for message in server.bodies[2]["messages"]] == ["system", "user", "assistant", "user"]


def test_a_finished_episode_is_not_continued() -> None:
    # The only possible start; on the next day the stock falls by 95 %.
    falling = TradingEnv(by_hand([10.0] * 51 + [0.5] * 3, [10.0] * 50 + [0.5] * 4), days=DAYS)
    with chat_server(always=servers.say("BUY 1")) as server:
        (episode,) = episodes(server, env=falling)
    assert episode.stop == "bankrupt"
    assert len(server.bodies) == 1


def test_no_answer_at_all_is_an_error() -> None:
    with chat_server(always=servers.raw(500)) as server, pytest.raises(RemoteError, match="answered none of 2"):
        episodes(server, 2)


# a real server -----------------------------------------------------------------------------------


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
def test_against_transformers_serve(tmp_path: Path) -> None:
    for package in ("fastapi", "uvicorn"):
        pytest.importorskip(package, reason="transformers serve needs transformers[serving]")
    # Not Qwen3: for that family the server uses a template of its own for answers, whatever the tokenizer's is.
    folder = tiny_models.folder(tmp_path / "model", "Llama")
    with transformers_serve(folder, tmp_path / "home") as url:
        settings: dict[str, Any] = {"base_url": url, "request": {"max_tokens": 8}}
        policy = RemotePolicy(ChatClient(server_config(model=str(folder), **settings), {}))
        first = policy.generate(asked("Buy or sell?", "And today?"))
        again = policy.generate(asked("Buy or sell?", "And today?"))
        assert first == again
        usage = policy.client.usage
        assert (len(usage.seconds), usage.failures.total(), usage.truncated) == (4, 0, 4)
        assert usage.completion_tokens == 4 * 8
        with pytest.raises(RemoteError, match="requested 'nope'"):
            ChatClient(server_config(model="nope", **settings), {}).complete(asked("a"))
