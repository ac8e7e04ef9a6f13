"""The environment server: the same episodes as locally, in independent sessions."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

pytest.importorskip("openenv", reason="openenv is not installed: pip install 'tradeschool[openenv]'")

from env_markets import hostile, scrambled
from env_servers import ask, local_facts, random_orders, served_facts, serving, socket_to, wait_for

from tradeschool.apps.env_client import connect
from tradeschool.apps.env_messages import TradeAction
from tradeschool.apps.env_server import ServeConfig, TradingSession
from tradeschool.env.config import EnvConfig
from tradeschool.env.grading import grade
from tradeschool.env.market_data import MarketData
from tradeschool.env.trading_env import TradingEnv

CONFIGS = {
    "one stock, text": EnvConfig(days=8),
    "three stocks, text": EnvConfig(tickers=3, days=8, short=True),
    "one stock, numeric": EnvConfig(days=8, observation="numeric"),
    "three stocks, numeric": EnvConfig(tickers=3, days=8, observation="numeric"),
}


@pytest.fixture(scope="module")
def market() -> MarketData:
    return MarketData(hostile())


@pytest.fixture(scope="module", params=CONFIGS)
def served(request: pytest.FixtureRequest, market: MarketData) -> Iterator[tuple[str, ServeConfig]]:
    config = ServeConfig(market, CONFIGS[request.param])
    with serving(config) as url:
        yield url, config


@pytest.fixture(scope="module")
def url(market: MarketData) -> Iterator[str]:
    with serving(ServeConfig(market, CONFIGS["three stocks, text"])) as address:
        yield address


def test_a_served_episode_is_the_local_one_step_for_step(served: tuple[str, ServeConfig]) -> None:
    url, config = served
    rng, refused = np.random.default_rng(1), 0
    with connect(url) as session:
        for seed in range(4):
            env = config.make_env()
            seen, info = env.reset(seed=seed)
            result = session.reset(seed=seed)
            assert served_facts(result) == local_facts((seen, None, False, False, info))
            while not result.done:
                orders = random_orders(env, rng)
                there, here = session.step(orders), local_facts(env.step(orders))
                assert served_facts(there) == here
                assert there.done or there.observation.grade is None
                result, refused = there, refused + here["refused"]
            graded = grade(env)
            assert result.observation.grade == {**asdict(graded), "total": graded.total}
            assert session.state().step_count == len(env.equities) - 1
    assert refused


def test_a_bankruptcy_ends_a_served_episode_with_its_grade(market: MarketData) -> None:
    rules = EnvConfig(tickers=3, days=30, ruin=0.9, short=True, leverage=5)
    with serving(ServeConfig(market, rules)) as url, connect(url) as session:
        for seed in range(20):
            result = session.reset(seed=seed)
            while not result.done:
                result = session.step("BUY S1 1\nBUY S2 1")
            if result.observation.terminated:
                break
        assert result.observation.terminated
        assert not result.observation.truncated
        assert set(result.observation.grade or {}) == {"risk", "pnl", "drawdown", "activity", "total"}


def _played(config: ServeConfig, seed: int, session: Any = None) -> list[dict[str, Any]]:
    """The days of an episode of a random policy, in a session or, without one, here."""
    rng, env = np.random.default_rng([seed, 3]), config.make_env()
    seen, info = env.reset(seed=seed)
    days = [served_facts(session.reset(seed=seed)) if session else local_facts((seen, None, False, False, info))]
    while not days[-1]["done"]:
        orders = random_orders(env, rng)
        here = local_facts(env.step(orders))
        days.append(served_facts(session.step(orders)) if session else here)
    return days


def test_two_interleaved_sessions_are_independent(served: tuple[str, ServeConfig]) -> None:
    url, config = served
    alone = {seed: _played(config, seed) for seed in (11, 12)}
    rngs = {seed: np.random.default_rng([seed, 3]) for seed in alone}
    envs = {seed: config.make_env() for seed in alone}
    with connect(url) as first, connect(url) as second:
        sessions = {11: first, 12: second}
        days = {seed: [served_facts(session.reset(seed=seed))] for seed, session in sessions.items()}
        for seed, env in envs.items():
            env.reset(seed=seed)
        for turn in range(2 * config.config.days):
            seed = (11, 12)[turn % 2]
            if not days[seed][-1]["done"]:
                orders = random_orders(envs[seed], rngs[seed])
                envs[seed].step(orders)
                days[seed].append(served_facts(sessions[seed].step(orders)))
        assert days == alone
        assert first.state().episode_id != second.state().episode_id
        # A session that restarts does not disturb the other.
        before = second.state()
        first.reset(seed=1)
        assert second.state() == before


def test_twenty_concurrent_sessions_are_independent(served: tuple[str, ServeConfig]) -> None:
    url, config = served

    def play(seed: int) -> list[dict[str, Any]]:
        with connect(url, message_timeout_s=120) as session:
            return _played(config, seed, session)

    with ThreadPoolExecutor(20) as pool:
        together = list(pool.map(play, range(20)))
    assert together == [_played(config, seed) for seed in range(20)]


def test_without_a_seed_episodes_differ_and_the_state_says_how_to_have_one_again(url: str) -> None:
    with connect(url) as session:
        texts, seeds = [], []
        for _ in range(6):
            texts.append(session.reset().observation.text)
            seeds.append(session.state().seed)
        assert len(set(texts)) > 1
        assert [session.reset(seed=seed).observation.text for seed in seeds] == texts


def test_one_session_too_many_is_refused_until_another_ends(market: MarketData) -> None:
    with serving(ServeConfig(market, EnvConfig(days=4)), sessions=2) as url, socket_to(url) as first:
        assert ask(first, {"type": "reset"})["type"] == "observation"
        with socket_to(url) as second:
            assert ask(second, {"type": "reset"})["type"] == "observation"
            with socket_to(url) as third:
                refused = json.loads(third.recv(timeout=60))
                assert refused["data"]["code"] == "CAPACITY_REACHED"
                assert "2/2 sessions" in refused["data"]["message"]
                with pytest.raises(ConnectionClosed):
                    third.recv(timeout=60)
            assert ask(first, {"type": "step", "data": {"orders": "HOLD"}})["type"] == "observation"

        def accepted() -> bool:
            with socket_to(url) as fourth:
                fourth.send(json.dumps({"type": "reset"}))
                return bool(json.loads(fourth.recv(timeout=60))["type"] == "observation")

        wait_for(accepted)


def test_an_idle_session_is_closed_and_frees_its_slot(market: MarketData) -> None:
    with serving(ServeConfig(market, EnvConfig(days=30)), sessions=1, timeout=1) as url, socket_to(url) as idle:
        ask(idle, {"type": "reset", "data": {"seed": 1}})

        def accepted() -> bool:
            with socket_to(url) as another:
                return bool(ask(another, {"type": "reset"})["type"] == "observation")

        wait_for(accepted, 15)
        for message in ({"type": "step", "data": {"orders": "HOLD"}}, {"type": "reset"}):
            assert "idle for too long" in ask(idle, message)["data"]["message"]


def test_a_session_over_http_is_reaped_too(market: MarketData) -> None:
    import httpx

    with serving(ServeConfig(market, EnvConfig(days=4)), sessions=1, timeout=0.5) as url:
        create = {"jsonrpc": "2.0", "id": 1, "method": "openenv/session/create"}
        assert "result" in httpx.post(f"{url}/mcp", json=create).json()
        assert "capacity" in httpx.post(f"{url}/mcp", json=create).json()["error"]["message"]
        wait_for(lambda: "result" in httpx.post(f"{url}/mcp", json=create).json(), 15)


SECRETS = re.compile(r"TICK\d|\b(19|20)\d\d-\d\d-\d\d\b|market by hand")
"""A whole date: the name of an episode, random hexadecimal digits, may hold the like of a month."""


def test_what_is_sent_while_masked_holds_no_ticker_and_no_date(served: tuple[str, ServeConfig]) -> None:
    import httpx

    url, config = served
    rng, env, sent = np.random.default_rng(2), config.make_env(), []
    with socket_to(url) as raw:
        for seed in range(4):
            env.reset(seed=seed)
            sent.append(ask(raw, {"type": "reset", "data": {"seed": seed}}))
            while not sent[-1]["data"].get("done"):
                orders = random_orders(env, rng)
                sent += [ask(raw, {"type": "state"}), ask(raw, {"type": "step", "data": {"orders": orders}})]
        sent += [
            ask(raw, {"type": "state"}),
            ask(raw, {"type": "reset", "data": {"start": 80}}),
            ask(raw, {"type": "reset", "data": {"tickers": ["TIC"]}}),
            ask(raw, {"type": "step", "data": {"orders": "BUY AAPL" if config.config.observation == "text" else [9]}}),
        ]
    pages = [httpx.get(url + path).text for path in ("/state", "/metadata", "/health", "/schema", "/list_environments")]
    pages.append(httpx.post(f"{url}/reset", json={"seed": 3}).text)
    for answer in [*map(json.dumps, sent), *pages]:
        assert not SECRETS.search(answer), answer
    observation = sent[0]["data"]["observation"]
    # Neither the row, nor shares or prices, by which a stock could be known again.
    assert set(observation) == {
        "text", "numbers", "day", "days", "equity", "refused", "messages", "terminated", "truncated", "grade",
        "metadata",
    }  # fmt: skip
    assert SECRETS.search(" ".join(config.data.panel.tickers))


def test_names_and_dates_are_shown_and_chosen_where_they_are_not_hidden(market: MarketData) -> None:
    with serving(ServeConfig(market, EnvConfig(tickers=2, days=4, mask=False))) as url, connect(url) as session:
        text = session.reset(seed=1, start=80, tickers=["TICK3", "TICK4"]).observation.text or ""
        assert "TICK3" in text
        assert "2020-" in text
        assert session.state().names == ["TICK3", "TICK4"]
        with pytest.raises(Exception, match="no ticker 'TICK33'"):
            session.reset(tickers=["TICK33", "TICK4"])


def test_no_answer_depends_on_later_rows() -> None:
    panel, row, days = hostile(), 90, 10
    rules = EnvConfig(tickers=2, days=2 * days, mask=False)
    markets = [MarketData(panel), MarketData(scrambled(panel, row))]
    answered: list[list[str]] = []
    for data in markets:
        session = TradingSession(ServeConfig(data, rules))
        answers = [session.reset(seed=1, start=row - days, tickers=["TICK3", "TICK4"])]
        answers += [session.step(TradeAction(orders="BUY TICK3 0.3")) for _ in range(2 * days)]
        answered.append([answer.model_dump_json(exclude={"metadata"}) for answer in answers])
    assert answered[0][: days + 1] == answered[1][: days + 1]
    assert answered[0][days + 1] != answered[1][days + 1]


def test_the_rows_and_the_version_of_a_task_are_served(market: MarketData) -> None:
    env = TradingEnv(market, rows=(60, 70), days=10)
    config = ServeConfig.from_env(env, "3.1.4")
    assert config.versions["task_version"] == "3.1.4"
    assert config.versions["level"] == "custom"
    assert {config.make_env().reset(seed=seed)[1]["start"] for seed in range(5)} == {60}
