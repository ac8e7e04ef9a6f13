"""Clients of an environment server: ours and OpenEnv's, and OpenEnv's own server checks."""

import asyncio
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("openenv", reason="openenv is not installed: pip install 'tradeschool[openenv]'")

from env_markets import hostile
from env_servers import listen, running, serving

from tradeschool.apps.env_client import EnvServerError, TradingClient, connect
from tradeschool.apps.env_messages import NumericTradeAction, TradeAction, TradeObservation, TradeState
from tradeschool.apps.env_server import ServeConfig
from tradeschool.env.config import ENV_VERSION, KEYS, EnvConfig
from tradeschool.env.market_data import MarketData

DOCS = Path(__file__).parents[2] / "docs" / "serving.md"


@pytest.fixture(scope="module")
def config() -> ServeConfig:
    return ServeConfig(MarketData(hostile()), EnvConfig())


@pytest.fixture(scope="module")
def url(config: ServeConfig) -> Iterator[str]:
    with serving(config) as address:
        yield address


def test_answers_are_typed(url: str) -> None:
    with connect(url) as session:
        result = session.reset(seed=7, episode_id="mine")
        assert isinstance(result.observation, TradeObservation)
        assert result.metadata is not None
        assert result.metadata["env_version"] == ENV_VERSION
        state = session.state()
        assert isinstance(state, TradeState)
        assert (state.episode_id, state.seed, state.step_count, state.done) == ("mine", 7, 0, False)
        assert state.config["commission"] == 0.0005
        first = session.step("BUY 0.5")
        session.reset(seed=7)
        assert session.step(TradeAction(orders="BUY 0.5")) == first
        assert first.reward == first.observation.reward


def test_numeric_orders_may_be_a_list_or_a_message(config: ServeConfig) -> None:
    numeric = dataclasses.replace(config, config=EnvConfig(observation="numeric"))
    with serving(numeric) as url, connect(url) as session:
        session.reset(seed=7)
        first = session.step([0.5])
        session.reset(seed=7)
        assert session.step(NumericTradeAction(orders=[0.5])) == first
        assert first.observation.text is None
        assert len(first.observation.numbers or []) == 15


def test_the_client_is_also_asynchronous(url: str) -> None:
    async def play() -> list[Any]:
        async with TradingClient(url) as one, TradingClient(url) as two:
            begun = await asyncio.gather(one.reset(seed=1), two.reset(seed=1))
            stepped = await asyncio.gather(one.step("HOLD"), two.step("HOLD"))
            return [*begun, *stepped, await one.state()]

    first, second, third, fourth, state = asyncio.run(play())
    assert first == second
    assert third == fourth
    assert state.step_count == 1


def test_a_missing_server_is_an_error_with_the_cure() -> None:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with pytest.raises(EnvServerError, match=rf"127.0.0.1:{port}.*Start one: tradeschool serve"):
        connect(f"http://127.0.0.1:{port}").connect()


def test_a_server_of_another_version_is_refused_unless_wanted(config: ServeConfig) -> None:
    other = dataclasses.replace(config)
    other.__dict__["versions"] = {**config.versions, "env_version": "99.0.0"}
    with serving(other, sessions=1) as url:
        for _ in range(2):  # the refusal closes the session, so there is room for a second one
            with pytest.raises(EnvServerError, match=rf"version 99\.0\.0.*{ENV_VERSION}.*any_version=True"):
                connect(url).connect()
        with connect(url, any_version=True) as session:
            assert session.reset(seed=1).observation.day == 0


def test_states_and_observations_have_all_versions(url: str, config: ServeConfig) -> None:
    assert set(KEYS) | {"task_version"} == set(config.versions)
    with connect(url) as session:
        assert (session.reset(seed=1).metadata or {}).items() >= config.versions.items()
        state = session.state()
    assert {key: getattr(state, key) for key in config.versions} == config.versions


def test_another_environment_is_refused() -> None:
    from openenv.core.env_server import Action, Environment, Observation, State, create_fastapi_app

    class Chess(Environment[Any, Any, Any]):
        def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> Observation:
            return Observation()

        def step(self, action: Any, timeout_s: float | None = None, **kwargs: Any) -> Observation:
            return Observation()

        @property
        def state(self) -> State:
            return State()

    served = running(create_fastapi_app(Chess, Action, Observation))
    with served as url, pytest.raises(EnvServerError, match="does not serve tradeschool"):
        connect(url).connect()


def test_refusals_of_the_server_are_raised(url: str) -> None:
    with connect(url) as session:
        with pytest.raises(EnvServerError, match="send reset first"):
            session.step("HOLD")
        with pytest.raises(EnvServerError, match=r"sed: .*Did you mean 'seed'\?"):
            session.reset(sed=1)
        assert session.reset(seed=1).observation.day == 0


def test_a_stopped_server_is_an_error(config: ServeConfig) -> None:
    with serving(config) as url:
        session = connect(url)
        session.connect()
        session.reset(seed=1)
    with pytest.raises(EnvServerError, match=r"No environment server answers|http:"):
        session.step("HOLD")
    session.close()


def test_openenvs_generic_client_plays_an_episode(url: str) -> None:
    from openenv.core.generic_client import GenericAction, GenericEnvClient

    with connect(url) as ours, GenericEnvClient(url).sync() as session:
        result, expected = session.reset(seed=3), ours.reset(seed=3)
        while not result.done:
            result, expected = session.step(GenericAction(orders="BUY 0.3")), ours.step("BUY 0.3")
            assert result.observation["text"] == expected.observation.text
            assert result.reward == expected.reward
        assert result.observation["grade"] == expected.observation.grade
        assert result.metadata == expected.metadata
        assert session.state()["env_version"] == ENV_VERSION


def test_openenvs_own_checks_of_a_server_pass(url: str) -> None:
    from openenv.cli._validation import validate_running_environment

    report = validate_running_environment(url)
    assert report["passed"], report


@pytest.mark.filterwarnings("ignore:.*context manager:DeprecationWarning:openenv")
def test_openenvs_graders_of_a_recorded_episode_pass(url: str) -> None:
    from openenv.validation.graders.runtime.basic import (
        ObservationSchemaGrader,
        RewardWellFormedGrader,
        StateContractGrader,
    )
    from openenv.validation.runtime.collector import collect_runtime_evidence
    from openenv.validation.runtime.contracts import RuntimePlan, RuntimeReset

    plan = RuntimePlan(
        plan_schema_version="1",
        reset=RuntimeReset(episode_id="checked", seed=1),
        actions=[{"orders": "BUY 0.5"}] * 21,
    )
    evidence = collect_runtime_evidence(url, plan, episode_timeout_s=120)
    assert evidence.failure_reason is None
    assert len(evidence.exchanges) == 2 + 2 * 20
    manifest = SimpleNamespace(reward=SimpleNamespace(range=(-20.0, 20.0)))
    subject = SimpleNamespace(runtime_evidence=evidence, manifest=manifest)
    for grader in (ObservationSchemaGrader(), StateContractGrader(), RewardWellFormedGrader()):
        checked = grader.run(subject)
        assert checked.status.value == "pass", checked


BLOCKS = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_examples_of_the_documentation_run(url: str, block: str) -> None:
    assert "http://127.0.0.1:8000" in block
    exec(block.replace("http://127.0.0.1:8000", url), {})
