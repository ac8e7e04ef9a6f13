"""The numeric agent's features and network, and saved agents: only a trusted zip may run code."""

import base64
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from env_markets import hostile
from stable_baselines3 import PPO

from tradeschool.env import features
from tradeschool.env.config import EnvConfig
from tradeschool.env.features import action_space, observation_space
from tradeschool.env.grading import play
from tradeschool.env.market_data import MarketData
from tradeschool.env.strategies import State
from tradeschool.env.trading_env import TradingEnv
from tradeschool.policies.numeric import (
    AGENT_FILE,
    MAX_SCALED,
    TYPICAL,
    AgentError,
    NumericAgent,
    StockFeatures,
    StockPolicy,
    agent_hash,
    load_agent,
    network_options,
    save_agent,
)
from tradeschool.train.ppo_learner import learn

UNKNOWABLE = [fact.name for fact in features.MARKET if fact.low == features.UNKNOWN]
WIDTH = features.PER_STOCK + len(UNKNOWABLE) + features.M + features.G


def config(stocks: int) -> EnvConfig:
    return EnvConfig(tickers=stocks, observation="numeric")


def extracted(vectors: np.ndarray, stocks: int, **options: Any) -> np.ndarray:
    space: Any = observation_space(config(stocks), ())
    extractor = StockFeatures(space, **options)
    return extractor(torch.tensor(vectors, dtype=torch.float32)).numpy().reshape(len(vectors), stocks, -1)


def typical(stocks: int) -> np.ndarray:
    named = [name.partition(":")[2] or name for name in features.names(stocks)]
    return np.array([[TYPICAL[name][0] for name in named]])


def policy(stocks: int, read: list[str] | None = None) -> StockPolicy:
    torch.manual_seed(0)
    options = network_options({}, read)
    return StockPolicy(observation_space(config(stocks), ()), action_space(config(stocks)), lambda _: 0.001, **options)


def noticed(net: StockPolicy, stocks: int) -> set[str]:
    """The columns of the observation that some output depends on."""
    base = typical(stocks).astype(np.float32)
    before = [net.predict(base, deterministic=True)[0], net.predict_values(torch.tensor(base)).detach().numpy()]
    found = set()
    for at, name in enumerate(features.names(stocks)):
        changed = base.copy()
        changed[0, at] += 3 * TYPICAL[name.partition(":")[2] or name][1]
        after = [
            net.predict(changed, deterministic=True)[0],
            net.predict_values(torch.tensor(changed)).detach().numpy(),
        ]
        if any(not np.array_equal(*pair) for pair in zip(before, after, strict=True)):
            found.add(name)
    return found


@pytest.mark.parametrize("stocks", [1, 3])
@pytest.mark.parametrize("read", [None, [], ["rsi_14"], ["macd_hist", "change_5", "rsi_14"]])
def test_the_named_facts_are_read_with_the_account_and_the_holdings(stocks: int, read: list[str] | None) -> None:
    named = set(features.names(1) if read is None else [f"0:{name}" for name in (*read, "traded", "share", "gain")])
    of_stocks = {f"{n}:{name[2:]}" for name in named if name.startswith("0:") for n in range(stocks)}
    assert noticed(policy(stocks, read), stocks) == of_stocks | {"cash", "equity", "days_left", "refused"}


@pytest.mark.parametrize("stocks", [1, 3])
def test_naming_all_facts_in_any_order_is_the_default(stocks: int) -> None:
    every = [fact.name for fact in features.MARKET[1:]][::-1]
    nets = [policy(stocks), policy(stocks, every)]
    states = [net.state_dict() for net in nets]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    vectors = typical(stocks).astype(np.float32) + 3
    assert np.array_equal(*[net.predict(vectors, deterministic=True)[0] for net in nets])


def test_an_unread_fact_has_no_flag_and_no_mean() -> None:
    vectors = typical(2)
    vectors[0, [1, 3]] = features.UNKNOWN
    found = extracted(vectors, 2, facts=["rsi_14"])
    # Traded, RSI, share, gain; whether RSI is unknown; the means of the first two; the account.
    assert found.shape == (1, 2, 4 + 1 + 2 + features.G)
    assert found[0, :, 4].tolist() == [1.0, 0.0]


def test_unknown_facts_and_conflicting_choices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"has 'rsi_41', but facts are .*Did you mean 'rsi_14'"):
        network_options({}, ["rsi_41"])
    with pytest.raises(ValueError, match="Did you mean 'rsi_14'"):
        extracted(typical(1), 1, facts=["rsi_41"])
    with pytest.raises(ValueError, match="Remove one of the two"):
        network_options({"features_extractor_kwargs": {"facts": ["rsi_14"]}}, ["rsi_14"])


def test_every_fact_has_a_scale() -> None:
    assert set(TYPICAL) == {fact.name for fact in (*features.MARKET, *features.HOLDING, *features.ACCOUNT)}
    assert all(scale > 0 for _, scale in TYPICAL.values())


@pytest.mark.parametrize("stocks", [1, 3])
def test_typical_values_are_zero_and_outliers_are_clipped(stocks: int) -> None:
    vectors = np.repeat(typical(stocks), 2, axis=0)
    vectors[1, 3] = 100.0
    vectors[1, 1] = 900.0
    found = extracted(vectors, stocks)
    assert found.shape == (2, stocks, WIDTH)
    assert not found[0].any()
    assert found[1, 0, 1] == MAX_SCALED
    assert found[1, 0, 3] == pytest.approx((100 - TYPICAL["rsi_14"][0]) / TYPICAL["rsi_14"][1])


def test_an_unknown_fact_is_zero_with_a_flag() -> None:
    vectors = typical(2)
    vectors[0, [1, 3]] = features.UNKNOWN
    found = extracted(vectors, 2)
    flags = found[0, :, features.PER_STOCK : features.PER_STOCK + len(UNKNOWABLE)]
    assert flags[0].nonzero()[0].tolist() == [0, 2]
    assert not flags[1].any()
    assert not found[0, :, : features.PER_STOCK].any()


def test_a_holding_at_minus_a_hundred_percent_is_not_unknown() -> None:
    vectors = typical(1)
    vectors[0, features.M] = features.UNKNOWN
    found = extracted(vectors, 1)
    assert found[0, 0, features.M] == -1.0
    assert not found[0, 0, features.PER_STOCK : features.PER_STOCK + len(UNKNOWABLE)].any()


def test_reordering_the_stocks_reorders_the_orders() -> None:
    stocks, rng = 4, np.random.default_rng(0)
    net = policy(stocks)
    with torch.no_grad():
        for weights in net.parameters():
            weights += 0.1 * torch.randn_like(weights)
    vectors = typical(stocks) + rng.normal(0, 20, (3, stocks * features.PER_STOCK + features.G))
    order = np.array([2, 0, 3, 1])
    parts = vectors[:, : -features.G].reshape(3, stocks, -1)[:, order].reshape(3, -1)
    other = np.concatenate([parts, vectors[:, -features.G :]], axis=1)
    orders, moved = (net.predict(one.astype(np.float32), deterministic=True)[0] for one in (vectors, other))
    np.testing.assert_allclose(moved, orders[:, order], atol=1e-5)
    assert np.ptp(orders, axis=1).max() > 0.01
    values = [net.predict_values(torch.tensor(one, dtype=torch.float32)) for one in (vectors, other)]
    torch.testing.assert_close(values[0], values[1], atol=1e-4, rtol=1e-4)


def test_one_stock_affects_the_others() -> None:
    net = policy(3)
    vectors = np.repeat(typical(3), 2, axis=0).astype(np.float32)
    vectors[1, 3] = 90.0
    orders = net.predict(vectors, deterministic=True)[0]
    assert orders[0, 2] != orders[1, 2]


def test_all_parameters_are_optimized() -> None:
    net = policy(2)
    optimized = {id(weights) for group in net.optimizer.param_groups for weights in group["params"]}
    assert optimized == {id(weights) for weights in net.parameters()}
    assert {name.split(".")[0] for name, _ in net.named_parameters()} == {
        "log_std",
        "mlp_extractor",
        "action_net",
        "value_net",
    }


# saved agents --------------------------------------------------------------------------------------

MARKET = MarketData(hostile(0))
QUICK = {"n_epochs": 5, "learning_rate": 0.05}


def env(**rules: Any) -> TradingEnv:
    return TradingEnv(MARKET, **{"observation": "numeric", "tickers": 2, "days": 5, **rules})


@pytest.fixture(scope="module")
def model() -> PPO:
    return learn(env(), steps=100, seed=0, envs=10, sb3=QUICK)


@pytest.fixture
def saved(model: PPO, tmp_path: Path) -> Path:
    path = tmp_path / "weights" / AGENT_FILE
    save_agent(model, path)
    return path


class Opens:
    """Unpickled, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def malicious_zip(model: PPO, folder: Path, mark: Path) -> Path:
    """A zip of Stable-Baselines3 with a pickle in it that creates ``mark``."""
    model.save(folder / "good.zip")
    with zipfile.ZipFile(folder / "good.zip") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(parts["data"])
    data["lr_schedule"][":serialized:"] = base64.b64encode(pickle.dumps(Opens(mark))).decode()
    mark.unlink(missing_ok=True)
    with zipfile.ZipFile(folder / "bad.zip", "w") as archive:
        for name, value in {**parts, "data": json.dumps(data).encode()}.items():
            archive.writestr(name, value)
    return folder / "bad.zip"


def test_a_saved_agent_plays_as_the_model_did(model: PPO, saved: Path) -> None:
    agents = [load_agent(saved, env=env()), load_agent(saved.parent, name="renamed"), NumericAgent(model)]
    assert agents[1].name == "renamed"
    first, second, third = (play(agent, env(), 20, seed=3) for agent in agents)
    for one, other, own in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(one.equity_D, own.equity_D)
        np.testing.assert_array_equal(other.equity_D, own.equity_D)
    assert any(record.turnover_D.any() for record in first)


def test_equal_trainings_give_equal_files(saved: Path, tmp_path: Path) -> None:
    save_agent(learn(env(), steps=100, seed=0, envs=10, sb3=QUICK), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


TRAIN = """
import sys
from pathlib import Path
from env_markets import hostile
from tradeschool.env.trading_env import TradingEnv
from tradeschool.train.ppo_learner import learn
env = TradingEnv(hostile(0), observation="numeric", tickers=2, days=5)
learn(env, steps=100, seed=0, envs=10, sb3={"n_epochs": 5, "learning_rate": 0.05}).save(Path(sys.argv[1]))
"""


def test_equal_trainings_give_equal_hashes_of_their_zips(model: PPO, tmp_path: Path) -> None:
    """Zips differ by times and memory addresses, also between processes."""
    first, second, resumed, other = (tmp_path / f"{name}.zip" for name in ("first", "second", "resumed", "other"))
    model.save(first)
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", TRAIN, second], check=True, env={**os.environ, **paths})
    PPO.load(first, device="cpu").save(resumed)
    assert first.read_bytes() != second.read_bytes()
    assert agent_hash(first) == agent_hash(second) == agent_hash(resumed)
    learn(env(), steps=100, seed=1, envs=10, sb3=QUICK).save(other)
    assert agent_hash(first) != agent_hash(other)
    changed = PPO.load(first, device="cpu")
    changed.policy_kwargs = {**changed.policy_kwargs, "squash_output": True}
    changed.save(other)
    assert agent_hash(first) != agent_hash(other)


def test_the_hash_of_a_zip_runs_no_code_in_it(model: PPO, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = malicious_zip(model, tmp_path, mark)
    assert agent_hash(path) == agent_hash(tmp_path / "good.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", "{}")
        archive.writestr("policy.pth", pickle.dumps(Opens(mark), protocol=2))
    assert len(agent_hash(path)) == 16
    assert not mark.exists()


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_loaded_agent_reads_the_facts_it_was_trained_on(as_zip: bool, tmp_path: Path) -> None:
    trained = learn(env(), steps=50, seed=0, envs=10, sb3=QUICK, facts=["rsi_14"])
    path = tmp_path / ("agent.zip" if as_zip else AGENT_FILE)
    trained.save(path) if as_zip else save_agent(trained, path)
    agent = load_agent(path, trust=as_zip, env=env())
    vectors = np.repeat(env().reset(seed=0)[0][None], 3, axis=0)
    vectors[1, 2] += 5.0  # change_5
    vectors[2, 3] += 20.0  # rsi_14
    orders = agent.policy.predict(vectors, deterministic=True)[0]
    np.testing.assert_array_equal(orders, trained.predict(vectors, deterministic=True)[0])
    np.testing.assert_array_equal(orders[0], orders[1])
    assert (orders[0] != orders[2]).any()


def test_the_agent_takes_the_mode(saved: Path) -> None:
    agent, one = load_agent(saved), env()
    state = State(one.config, (("S1", "S2"),) * 3, (0, 1, 2), 0, np.ones(3, np.bool_))
    vectors = np.stack([one.reset(seed=seed)[0] for seed in range(3)])
    np.testing.assert_array_equal(agent.act(vectors, state), agent.act(vectors, state))
    assert agent.act(vectors, state).shape == (3, 2)


def test_a_zip_needs_trust(model: PPO, tmp_path: Path) -> None:
    model.save(tmp_path / "foreign.zip")
    with pytest.raises(AgentError, match=r"foreign\.zip.*pickles.*trust=True"):
        load_agent(tmp_path / "foreign.zip")
    agent = load_agent(tmp_path / "foreign.zip", trust=True, env=env())
    assert play(agent, env(), 3)[0].agent == "ppo"


def test_code_in_a_zip_runs_only_where_it_is_trusted(model: PPO, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = malicious_zip(model, tmp_path, mark)
    with pytest.raises(AgentError, match="trust=True"):
        load_agent(path, env=env())
    assert not mark.exists()
    load_agent(path, trust=True)  # proves that the file above would have been created
    assert mark.exists()


@pytest.mark.parametrize("tickers", [3, 1])
@pytest.mark.parametrize("as_zip", [False, True])
def test_an_agent_for_other_observations_is_refused(
    model: PPO, saved: Path, tickers: int, as_zip: bool, tmp_path: Path
) -> None:
    if as_zip:
        saved = tmp_path / "agent.zip"
        model.save(saved)
    shapes = rf"shape \(26,\) and orders of shape \(2,\).*\({11 * tickers + 4},\) and \({tickers},\) \({tickers} stock"
    with pytest.raises(AgentError, match=shapes):
        load_agent(saved, trust=True, env=env(tickers=tickers))


def test_an_agent_refuses_observations_that_it_cannot_read(saved: Path) -> None:
    agent = load_agent(saved)
    with pytest.raises(AgentError, match=r"ppo was trained on observations of shape \(26,\)"):
        play(agent, env(tickers=3), 2)
    with pytest.raises(AgentError, match="observation='numeric'"):
        load_agent(saved, env=env(observation="text"))


def test_files_that_are_missing_or_damaged_are_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(AgentError, match=r"text\.zip: Stable-Baselines3 cannot load it"):
        load_agent(tmp_path / "text.zip", trust=True)
    with pytest.raises(AgentError, match=r"no file .*absent\.zip"):
        load_agent(tmp_path / "absent.zip")
    with pytest.raises(AgentError, match=rf"no file .*{AGENT_FILE}"):
        load_agent(tmp_path)
    for content in (b"", b"hello", saved.read_bytes()[:-100], saved.read_bytes().replace(b"stocks", b"stacks")):
        saved.write_bytes(content)
        with pytest.raises(AgentError, match="is damaged"):
            load_agent(saved)
