"""Clients of an environment server: ours, OpenEnv's generic one, and OpenEnv's own checks of a server."""

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
from tradeschool.apps.env_server.offer import Offer
from tradeschool.env.config import EnvConfig
from tradeschool.env.data import MarketData
from tradeschool.env.versions import ENV_VERSION, KEYS, rules_hash

DOCS = Path(__file__).parents[2] / "docs" / "serving.md"


@pytest.fixture(scope="module")
def offer() -> Offer:
    return Offer(MarketData(hostile()), EnvConfig())


@pytest.fixture(scope="module")
def url(offer: Offer) -> Iterator[str]:
    with serving(offer) as address:
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


def test_numbers_are_sent_as_they_are_or_in_their_message(offer: Offer) -> None:
    numeric = dataclasses.replace(offer, config=EnvConfig(observation="numeric"))
    with serving(numeric) as url, connect(url) as session:
        session.reset(seed=7)
        first = session.step([0.5])
        session.reset(seed=7)
        assert session.step(NumericTradeAction(orders=[0.5])) == first
        assert first.observation.text is None
        assert len(first.observation.numbers or []) == 15


def test_it_is_asynchronous_where_that_is_wanted(url: str) -> None:
    async def play() -> list[Any]:
        async with TradingClient(url) as one, TradingClient(url) as two:
            begun = await asyncio.gather(one.reset(seed=1), two.reset(seed=1))
            stepped = await asyncio.gather(one.step("HOLD"), two.step("HOLD"))
            return [*begun, *stepped, await one.state()]

    first, second, third, fourth, state = asyncio.run(play())
    assert first == second
    assert third == fourth
    assert state.step_count == 1


def test_a_server_that_is_not_there_is_named_with_the_cure() -> None:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with pytest.raises(EnvServerError, match=rf"127.0.0.1:{port}.*Start one: tradeschool serve --env"):
        connect(f"http://127.0.0.1:{port}").connect()


def test_a_server_of_another_version_is_refused_unless_wanted(offer: Offer) -> None:
    here = rf"{ENV_VERSION} \(rules {rules_hash()}\)"
    for change, told in (
        ({"env_version": "99.0.0"}, rf"99.0.0 \(rules {rules_hash()}\)"),
        ({"rules_hash": "f" * 16}, rf"{ENV_VERSION} \(rules {'f' * 16}\)"),
    ):
        other = dataclasses.replace(offer)
        other.__dict__["versions"] = {**offer.versions, **change}
        with serving(other, sessions=1) as url:
            for _ in range(2):  # It hangs up: the second time there is a place again.
                with pytest.raises(EnvServerError, match=f"has version {told} of the environment, and here is {here}"):
                    connect(url).connect()
            with connect(url, any_version=True) as session:
                assert session.reset(seed=1).observation.day == 0


def test_a_server_that_does_not_tell_its_rules_is_played_where_any_is_wanted(offer: Offer) -> None:
    """As the first ones did: they knew fewer versions."""
    other = dataclasses.replace(offer)
    known = ("env_version", "task_version", "level", "data_hash")
    other.__dict__["versions"] = {key: offer.versions[key] for key in known}
    with serving(other) as url:
        with pytest.raises(EnvServerError, match="rules not told"):
            connect(url).connect()
        with connect(url, any_version=True) as session:
            assert session.state().rules_hash == ""


def test_states_and_observations_hold_all_that_episodes_must_share(url: str, offer: Offer) -> None:
    assert set(KEYS) | {"task_version"} == set(offer.versions) <= set(TradeState.model_fields)
    with connect(url) as session:
        assert (session.reset(seed=1).metadata or {}).items() >= offer.versions.items()
        state = session.state()
    assert {key: getattr(state, key) for key in offer.versions} == offer.versions


def test_a_server_of_something_else_is_no_server_of_ours() -> None:
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
    with served as url, pytest.raises(EnvServerError, match="is no server of tradeschool's environment"):
        connect(url).connect()


def test_what_the_server_refuses_is_raised_in_its_words(url: str) -> None:
    with connect(url) as session:
        with pytest.raises(EnvServerError, match="no episode here yet: send reset first"):
            session.step("HOLD")
        with pytest.raises(EnvServerError, match=r"'sed' is not a key here. Did you mean 'seed'\?"):
            session.reset(sed=1)
        assert session.reset(seed=1).observation.day == 0


def test_a_server_that_stops_is_told_plainly(offer: Offer) -> None:
    with serving(offer) as url:
        session = connect(url)
        session.connect()
        session.reset(seed=1)
    with pytest.raises(EnvServerError, match=r"No environment server answers|broke, and its episode with it"):
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
