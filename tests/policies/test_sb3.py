"""A zip of Stable-Baselines3: ours loads without unpickling anything, a foreign one is refused unless it is trusted."""

import base64
import io
import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from env_markets import hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO

from tradeschool.env.data import MarketData
from tradeschool.env.harness import State, play
from tradeschool.env.trading import TradingEnv
from tradeschool.policies import sb3
from tradeschool.policies.sb3 import RECORD, ZIP, AgentError, Sb3Agent, load_agent, save_agent
from tradeschool.train.ppo_learner import learn

MARKET = MarketData(hostile(0))


def env(**rules: Any) -> TradingEnv:
    return TradingEnv(MARKET, **{"observation": "numeric", "tickers": 2, "days": 5, **rules})


@pytest.fixture(scope="session")
def model() -> PPO:
    return learn(env(), steps=100, seed=0, envs=10, sb3={"n_epochs": 5, "learning_rate": 0.05})


@pytest.fixture
def saved(model: PPO, tmp_path: Path) -> Path:
    return save_agent(model, tmp_path / "weights")


class Opens:
    """Unpickled, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return path


def with_malice(path: Path, mark: Path) -> Path:
    """The zip at ``path`` with a pickle in it that creates ``mark``."""
    content = parts(path)
    data = json.loads(content["data"])
    data["lr_schedule"][":serialized:"] = base64.b64encode(pickle.dumps(Opens(mark))).decode()
    return zipped(path, {**content, "data": json.dumps(data).encode()})


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is unpickled from now on."""
    seen: list[str] = []
    monkeypatch.setattr("cloudpickle.loads", lambda *given, **options: seen.append("loads"))
    return seen


def test_our_own_zip_plays_as_the_model_did_and_nothing_is_unpickled(
    model: PPO, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch(monkeypatch)
    agents = [load_agent(saved, env=env()), load_agent(saved.parent, name="of the folder"), Sb3Agent(model)]
    assert seen == []
    assert agents[1].name == "of the folder"
    first, second, third = (play(agent, env(), 20, seed=3) for agent in agents)
    for one, other, own in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(one.equity_D, own.equity_D)
        np.testing.assert_array_equal(other.equity_D, own.equity_D)
    assert any(record.turnover_D.any() for record in first)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_loaded_agent_reads_the_facts_that_it_was_trained_on(trusted: bool, tmp_path: Path) -> None:
    trained = learn(env(), steps=50, seed=0, envs=10, sb3={"n_epochs": 5, "learning_rate": 0.05}, facts=["rsi_14"])
    path = save_agent(trained, tmp_path / "weights")
    if trusted:
        (path.parent / RECORD).unlink()
    agent = load_agent(path, trust=trusted, env=env())
    vectors = np.repeat(env().reset(seed=0)[0][None], 3, axis=0)
    vectors[1, 2] += 5.0  # change_5
    vectors[2, 3] += 20.0  # rsi_14
    orders = agent.policy.predict(vectors, deterministic=True)[0]
    np.testing.assert_array_equal(orders, trained.predict(vectors, deterministic=True)[0])
    np.testing.assert_array_equal(orders[0], orders[1])
    assert (orders[0] != orders[2]).any()


def test_plain_stable_baselines3_loads_our_zip(model: PPO, saved: Path) -> None:
    loaded = PPO.load(saved)
    vector = env().reset(seed=0)[0]
    np.testing.assert_array_equal(
        loaded.predict(vector, deterministic=True)[0], model.predict(vector, deterministic=True)[0]
    )


def test_an_answer_is_the_likeliest_and_not_drawn(saved: Path) -> None:
    agent, one = load_agent(saved), env()
    state = State(one.config, (("S1", "S2"),) * 3, (0, 1, 2), 0, np.ones(3, np.bool_))
    vectors = np.stack([one.reset(seed=seed)[0] for seed in range(3)])
    np.testing.assert_array_equal(agent.act(vectors, state), agent.act(vectors, state))
    assert agent.act(vectors, state).shape == (3, 2)


def test_a_foreign_zip_is_refused_with_the_reason_and_the_way(model: PPO, tmp_path: Path) -> None:
    model.save(tmp_path / "foreign.zip")
    with pytest.raises(
        AgentError, match=r"foreign\.zip was not written by a ppo stage.*runs whatever code.*trust=True"
    ):
        load_agent(tmp_path / "foreign.zip")
    agent = load_agent(tmp_path / "foreign.zip", trust=True, env=env())
    assert play(agent, env(), 3)[0].agent == "ppo"


def test_malice_is_refused_and_does_not_run(saved: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with_malice(saved, mark)
    with pytest.raises(AgentError, match="has been changed since"):
        load_agent(saved, env=env())
    assert not mark.exists()


def test_malice_does_not_run_under_a_forged_record_either(model: PPO, saved: Path, tmp_path: Path) -> None:
    import hashlib

    mark, record = tmp_path / "mark", json.loads((saved.parent / RECORD).read_text())
    with_malice(saved, mark)
    record["sha256"] = hashlib.sha256(saved.read_bytes()).hexdigest()
    (saved.parent / RECORD).write_text(json.dumps(record))
    agent = load_agent(saved)
    vector = env().reset(seed=0)[0]
    assert not mark.exists()
    np.testing.assert_array_equal(
        agent.policy.predict(vector, deterministic=True)[0], model.predict(vector, deterministic=True)[0]
    )


def test_malice_in_the_weights_does_not_run(saved: Path, tmp_path: Path) -> None:
    import hashlib

    import torch

    mark, weights = tmp_path / "mark", io.BytesIO()
    torch.save({"log_std": Opens(mark)}, weights)
    mark.unlink(missing_ok=True)
    zipped(saved, {**parts(saved), "policy.pth": weights.getvalue()})
    record = json.loads((saved.parent / RECORD).read_text())
    (saved.parent / RECORD).write_text(json.dumps({**record, "sha256": hashlib.sha256(saved.read_bytes()).hexdigest()}))
    with pytest.raises(AgentError, match="its weights are not those"):
        load_agent(saved)
    assert not mark.exists()


def test_malice_runs_where_it_is_trusted(saved: Path, tmp_path: Path) -> None:
    """So that the tests above would see it run."""
    mark = tmp_path / "mark"
    with_malice(saved, mark)
    (saved.parent / RECORD).unlink()
    load_agent(saved, trust=True)
    assert mark.exists()


@pytest.mark.parametrize("rules", [{"tickers": 3}, {"tickers": 1}])
@pytest.mark.parametrize("known", [True, False])
def test_an_agent_for_other_observations_is_refused_before_anything_is_unpickled(
    saved: Path, rules: dict[str, Any], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not known:
        (saved.parent / RECORD).unlink()
    seen = watch(monkeypatch)
    n = rules["tickers"]
    shapes = rf"shape \(26,\) and orders of shape \(2,\).*\({11 * n + 4},\) and \({n},\), {n} stock"
    with pytest.raises(AgentError, match=shapes):
        load_agent(saved, trust=True, env=env(**rules))
    assert seen == []


def test_an_agent_says_when_it_is_given_what_it_cannot_see(saved: Path) -> None:
    agent = load_agent(saved)
    with pytest.raises(AgentError, match=r"ppo is made for observations of shape \(26,\)"):
        play(agent, env(tickers=3), 2)
    with pytest.raises(AgentError, match="sees numbers, and these are texts"):
        play(agent, env(observation="text"), 2)
    with pytest.raises(AgentError, match="observation='numeric'"):
        load_agent(saved, env=env(observation="text"))


def test_a_trusted_zip_without_plain_shapes_is_still_held_against_the_environment(saved: Path) -> None:
    (saved.parent / RECORD).unlink()
    content = parts(saved)
    data = json.loads(content["data"])
    del data["observation_space"]["_shape"]
    zipped(saved, {**content, "data": json.dumps(data).encode()})
    with pytest.raises(AgentError, match=r"\(37,\)"):
        load_agent(saved, trust=True, env=env(tickers=3))
    assert load_agent(saved, trust=True, env=env()).name == "ppo"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": None}, "a zip without data, so Stable-Baselines3 did not save it"),
        ({"policy.pth": None}, r"a zip without policy\.pth"),
        ({"data": b"{"}, "is damaged"),
        ({"data": b"[]"}, "no mapping"),
        ({"data": b"\xff"}, "is damaged"),
    ],
)
def test_a_zip_that_is_not_whole_is_told_apart(saved: Path, change: dict[str, bytes | None], said: str) -> None:
    zipped(saved, {name: value for name, value in {**parts(saved), **change}.items() if value is not None})
    with pytest.raises(AgentError, match=said):
        load_agent(saved, trust=True)


def test_every_part_is_held_against_its_checksum(saved: Path) -> None:
    content = saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        part = archive.getinfo("policy.optimizer.pth")
    place = part.header_offset + 200
    saved.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(AgentError, match=r"its part policy\.optimizer\.pth fails its checksum"):
        load_agent(saved, trust=True)


def packed(path: Path, content: dict[str, bytes | int]) -> Path:
    """A zip of small size: a number stands for as many zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            with archive.open(name, "w", force_zip64=True) as part:
                if isinstance(value, bytes):
                    part.write(value)
                    continue
                for _ in range(value // 2**20):
                    part.write(bytes(2**20))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": 80 * 2**20}, "its part data would unpack to 80 MiB, and no more than 64 are read"),
        ({"policy.pth": 65 * 2**20}, r"bomb\.zip: it would unpack to 65 MiB"),
        ({"other": 65 * 2**20}, "it would unpack to 65 MiB"),
    ],
)
def test_a_zip_that_would_unpack_to_far_more_is_refused_before_it_is(
    saved: Path, tmp_path: Path, change: dict[str, int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "data" not in change:
        monkeypatch.setattr(sb3, "MOST_BYTES", 2**26)
    bomb = packed(tmp_path / "bomb.zip", {**parts(saved), **change})
    assert bomb.stat().st_size < 2**20
    tracemalloc.start()
    try:
        with pytest.raises(AgentError, match=said):
            load_agent(bomb, trust=True)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_weights_that_would_unpack_to_far_more_are_refused_too(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sb3, "MOST_BYTES", 2**26)
    inner = packed(tmp_path / "weights.pth", {"archive/data/0": 65 * 2**20}).read_bytes()
    packed(saved, {**parts(saved), "policy.pth": inner})
    with pytest.raises(AgentError, match="would unpack to 65 MiB"):
        load_agent(saved, trust=True)


def test_what_is_no_zip_is_said_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(AgentError, match=r"text\.zip is damaged, or no zip at all"):
        load_agent(tmp_path / "text.zip", trust=True)
    with pytest.raises(AgentError, match=r"There is no .*absent\.zip"):
        load_agent(tmp_path / "absent.zip")
    with pytest.raises(AgentError, match=rf"There is no .*{ZIP}"):
        load_agent(tmp_path)


def test_a_damaged_record_is_said(saved: Path) -> None:
    (saved.parent / RECORD).write_text("{")
    with pytest.raises(AgentError, match=r"ppo\.json is damaged"):
        load_agent(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"stocks": 3},
        {"stocks": 0},
        {"policy_kwargs": {"net_arch": [7]}},
        {"use_sde": 1},
        {"policy_kwargs": {"features_extractor_kwargs": {"facts": ["rsi_14"]}}},
        {"policy_kwargs": {"features_extractor_kwargs": {"facts": ["rsi"]}}},
    ],
)
def test_a_record_that_does_not_fit_the_weights_is_said(saved: Path, change: dict[str, Any]) -> None:
    record = json.loads((saved.parent / RECORD).read_text())
    (saved.parent / RECORD).write_text(json.dumps({**record, **change}))
    with pytest.raises(AgentError, match=r"its weights are not those that ppo\.json tells of"):
        load_agent(saved)


@settings(max_examples=60)
@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_zip_never_ends_in_another_error(
    saved_once: tuple[Path, bytes], at: float, flip: int, cut: bool
) -> None:
    path, content = saved_once
    place = int(at * len(content))
    changed = content[:place] if cut else content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
    path.write_bytes(changed)
    with pytest.raises(AgentError):
        load_agent(path)


@pytest.fixture(scope="session")
def saved_once(model: PPO, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = save_agent(model, tmp_path_factory.mktemp("once"))
    return path, path.read_bytes()
