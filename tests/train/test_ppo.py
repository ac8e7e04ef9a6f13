"""The ppo stage: the same seed gives the same agent, interrupted or not; what cannot train is refused first."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from env_markets import hostile
from rich.console import Console
from stable_baselines3 import PPO

from tradeschool import pipeline, run_folder
from tradeschool.config.recipe import from_mapping
from tradeschool.env import features
from tradeschool.env.grading import play
from tradeschool.env.market_data import MarketData
from tradeschool.env.render import FACTS
from tradeschool.env.trading_env import TradingEnv
from tradeschool.errors import RecipeError
from tradeschool.policies.numeric import TYPICAL, load_agent
from tradeschool.train import ppo_learner
from tradeschool.train.logging import read_metrics
from tradeschool.train.ppo import train_ppo
from tradeschool.train.ppo_learner import REWARD_UNIT, dry_run, learn, new_model

MARKET = MarketData(hostile(0))
QUICK = {"n_epochs": 2}
TIMES = {"steps_per_second"}


def env(**rules: Any) -> TradingEnv:
    return TradingEnv(MARKET, **{"observation": "numeric", "tickers": 2, "days": 5, **rules})


def weights(model: Any) -> list[torch.Tensor]:
    return [value.clone() for value in model.policy.state_dict().values()]


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(*pair) for pair in zip(weights(one), weights(other), strict=True))


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def document(**stage: Any) -> dict[str, Any]:
    return {
        "name": "numbers",
        "market": {"source": "synthetic", "tickers": 3, "days": 300},
        "split": {"train": 0.5, "validation": 0.2, "test": 0.3, "warmup": 60},
        "task": {"name": "trade", "level": "Easy", "env": {"tickers": 2, "days": 5}},
        "model": {"base": "tiny"},
        "stages": [{"stage": "ppo", "steps": 200, "envs": 10, "sb3": dict(QUICK), **stage}],
    }


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=300)


# training ----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_agent() -> None:
    agents = [train_ppo(env(), steps=150, seed=seed, sb3=dict(QUICK), envs=10) for seed in (4, 4, 5)]
    assert same(agents[0], agents[1])
    assert not same(agents[0], agents[2])
    records = [play(agent, env(), 5) for agent in agents[:2]]
    for one, other in zip(*records, strict=True):
        np.testing.assert_array_equal(one.equity_D, other.equity_D)


def test_it_trains_on_one_thread_and_restores_their_number() -> None:
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        train_ppo(
            env(), steps=50, seed=0, sb3=dict(QUICK), envs=10, progress=lambda _: seen.append(torch.get_num_threads())
        )
        with pytest.raises(RecipeError):
            train_ppo(env(), steps=50, seed=0, sb3={"batch_size": 1})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


def test_it_learns_to_hold_what_rises() -> None:
    """A market that rises 3 % a day: a trained agent buys all of it; an untrained one stays out."""
    close = 10 * 1.03 ** np.arange(140.0)
    from env_markets import by_hand

    market = MarketData(by_hand(close, close))
    one = TradingEnv(market, observation="numeric", days=5)
    agent = train_ppo(one, steps=1_500, seed=0, envs=20, sb3={"learning_rate": 3e-3})
    earned = [math.log(record.equity_D[-1] / record.equity_D[0]) for record in play(agent, one, 20)]
    held = [math.log(record.market.equity_D[-1] / record.market.equity_D[0]) for record in play(agent, one, 20)]
    assert np.mean(earned) > 0.8 * np.mean(held)


def test_every_rollout_reports_its_metrics() -> None:
    rows: list[dict[str, Any]] = []
    train_ppo(env(), steps=101, seed=0, sb3=dict(QUICK), envs=10, progress=rows.append)
    assert [row["step"] for row in rows] == [50, 100, 150]
    for row in rows:
        assert {"loss", "value_loss", "entropy", "approx_kl", "episode_return", "steps_per_second"} <= row.keys()
        assert row["steps_per_second"] > 0
        assert row["episode_days"] == 5
    # Of untrained agents with costs of .1 % a trade: a log return, not one in units of the training.
    assert 1e-5 < abs(rows[0]["episode_return"]) < 0.5


def test_the_mean_return_is_that_of_the_episodes() -> None:
    """The reward that is learned from is the log return, scaled."""
    model = new_model(env(), 0, 10, {})
    vec = model.env.venv
    vec.seed(0)
    vec.reset()
    _, rewards, _, _ = vec.step(np.ones((10, 2), np.float32))
    equity_B = vec.batch._info()["equity"]
    np.testing.assert_allclose(rewards, np.log(equity_B / 100_000) / REWARD_UNIT, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("days", "sb3", "together"), [(5, {}, 1), (5, {"n_steps": 2, "batch_size": 20}, 5), (6, {"n_steps": 4}, 3)]
)
def test_an_interrupted_training_resumes_to_the_same_weights(
    days: int, sb3: dict[str, Any], together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rollouts that start within an episode write a checkpoint only where episodes end together."""
    monkeypatch.setattr(ppo_learner, "CHECKPOINT_SECONDS", 0.0)
    given: dict[str, Any] = {"steps": 400, "seed": 3, "envs": 10, "sb3": {**QUICK, **sb3}}
    whole: list[dict[str, Any]] = []
    unbroken = learn(env(days=days), **given, on_rollout=whole.append)

    class Killed(Exception):
        pass

    def kill(figures: dict[str, Any]) -> None:
        if figures["step"] >= 300:
            raise Killed

    checkpoint = tmp_path / "kept" / "ppo.pt"
    with pytest.raises(Killed):
        learn(env(days=days), **given, on_rollout=kill, checkpoint=checkpoint)
    kept = checkpointed_steps(checkpoint)
    assert 0 < kept < 300
    assert kept % (10 * together * unbroken.n_steps) == 0
    rest: list[dict[str, Any]] = []
    resumed = learn(env(days=days), **given, on_rollout=rest.append, checkpoint=checkpoint)
    assert same(unbroken, resumed)
    assert timeless(rest) == timeless([row for row in whole if row["step"] > kept])
    assert resumed.num_timesteps == unbroken.num_timesteps


def checkpointed_steps(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["steps"])


def test_state_dependent_exploration_is_resumed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppo_learner, "CHECKPOINT_SECONDS", 0.0)
    given: dict[str, Any] = {
        "seed": 1,
        "envs": 10,
        "sb3": {**QUICK, "use_sde": True},
        "checkpoint": tmp_path / "ppo.pt",
    }
    unbroken = learn(env(), steps=200, **{**given, "checkpoint": None})
    learn(env(), steps=100, **given)
    resumed = learn(env(), steps=200, **given)
    assert resumed.num_timesteps == 200
    assert same(unbroken, resumed)


# refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sb3", "message"),
    [
        (
            {"lerning_rate": 1},
            r"sb3\.lerning_rate: 'lerning_rate' is not a field of PPO\. Did you mean 'learning_rate'",
        ),
        ({"env": "CartPole-v1"}, r"sb3\.env: 'env' is not a field of PPO"),
        ({"seed": 1}, r"sb3\.seed: .*seed of the recipe"),
        ({"tensorboard_log": "logs"}, r"sb3\.tensorboard_log: .*metrics\.jsonl"),
        ({"policy": "CnnPolicy"}, r"sb3\.policy: 'policy' is not a field"),
        ({"batch_size": 1}, "PPO cannot train with .*batch_size"),
        ({"learning_rate": "fast"}, "PPO cannot train with"),
        ({"n_steps": "many"}, "PPO cannot train with"),
        ({"policy_kwargs": {"layers": 3}}, "PPO cannot train with .*layers"),
        ({"policy_kwargs": {"features_extractor_kwargs": {"facts": ["rsi"]}}}, "has 'rsi', but facts are"),
        ({"device": "foo"}, "PPO cannot train with device: 'foo'"),
        ({"policy_kwargs": "x"}, r"sb3\.policy_kwargs: is 'x', but must be a mapping"),
        ({"normalize_advantage": "no"}, r"sb3\.normalize_advantage: is 'no'.*Write true or false"),
        ({"gamma": "x"}, r"PPO cannot train with gamma: 'x' \(.*Error: .*Correct the values"),
        ({"ent_coef": "auto", "n_epochs": 1}, r"PPO cannot train with ent_coef: 'auto', n_epochs: 1 \(TypeError"),
        ({"n_epochs": 0}, r"PPO cannot train with n_epochs: 0 \("),
        ({"learning_rate": 1e30}, "diverged.*learning_rate \\(1e"),
    ],
)
def test_bad_values_are_refused(sb3: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        train_ppo(env(), steps=100, seed=0, sb3=sb3, envs=10)


def test_our_own_errors_are_not_blamed_on_the_values() -> None:
    def fail(*args: Any) -> None:
        raise TypeError("of ours")

    with pytest.raises(TypeError, match="of ours"):
        train_ppo(env(), steps=100, seed=0, sb3=dict(QUICK), envs=10, progress=fail)


@pytest.mark.parametrize(
    ("sb3", "message"),
    [
        ({"gamma": "x"}, "PPO cannot train with gamma: 'x'"),
        ({"n_epochs": 0}, "PPO cannot train with n_epochs: 0"),
        ({"device": "foo"}, "PPO cannot train with"),
        ({"policy_kwargs": 5}, r"policy_kwargs: is 5"),
        ({"batch_size": 2.5}, "PPO cannot train with batch_size: 2.5"),
        ({"n_steps": 0}, r"PPO cannot train with n_steps: 0 .*n_envs=10"),
    ],
)
def test_a_wrong_value_is_refused_before_the_first_stage(
    sb3: dict[str, Any], message: str, console: Console, tmp_path: Path, fake_stage: None
) -> None:
    stages = [{"stage": "fake"}, {"stage": "ppo", "steps": 100, "envs": 10, "sb3": sb3}]
    out = tmp_path / "run"
    with pytest.raises(RecipeError, match=rf"^stages\.ppo\.sb3[.:].*{message}"):
        pipeline.run(from_mapping({**document(), "stages": stages}), out, console)
    assert not out.exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sb3", [{"n_steps": 40, "batch_size": 100}, {"use_sde": True, "n_epochs": 30}, {"gamma": 1}])
def test_the_dry_run_is_short(sb3: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = PPO.learn

    def learn_seen(model: PPO, *args: Any, **given: Any) -> PPO:
        seen.append(model)
        return real(model, *args, **given)

    monkeypatch.setattr(PPO, "learn", learn_seen)
    dry_run(env(), envs=10, sb3=sb3)
    (model,) = seen
    assert (model.num_timesteps, model._n_updates) == (4, 1)


def test_an_unknown_fact_is_refused(console: Console, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"facts has 'rsi_41', but facts are .*Did you mean 'rsi_14'"):
        train_ppo(env(), steps=50, seed=0, facts=["rsi_41"])
    with pytest.raises(RecipeError, match=r"facts has 'rsi_41', but facts are .*Did you mean 'rsi_14'"):
        from_mapping(document(facts=["rsi_41"]))


def test_text_observations_are_refused() -> None:
    with pytest.raises(RecipeError, match="observation='numeric'"):
        train_ppo(env(observation="text"), steps=100, seed=0)


@pytest.mark.filterwarnings("error")
def test_minibatches_are_of_one_size() -> None:
    for days, envs in ((20, 50), (30, 50), (40, 50), (5, 10), (7, 13)):
        model = new_model(env(tickers=1, days=days), 0, envs, {})
        assert model.n_steps == days
        assert model.batch_size <= days * envs
    assert new_model(env(days=80, tickers=1), 0, 10, {}).n_steps == 64
    assert new_model(env(), 0, 50, {"batch_size": 25, "gamma": 0.5}).batch_size == 25


def test_a_misspelled_key_and_a_task_without_episodes_are_refused_first(console: Console, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(
        RecipeError, match=r"stages\.ppo\.sb3\.gama: 'gama' is not a field of PPO\. Did you mean 'gamma'"
    ):
        pipeline.run(from_mapping(document(sb3={"gama": 1})), out, console)
    with pytest.raises(RecipeError, match=r"stages\.ppo\.trl"):
        pipeline.run(from_mapping(document(trl={"beta": 1})), out, console)
    rating = {**document(), "task": {"name": "rating"}}
    with pytest.raises(RecipeError, match=r"stages\.ppo: the task 'rating' has no trading environment"):
        pipeline.run(from_mapping(rating), out, console)
    assert not out.exists()
    with pytest.raises(RecipeError, match=r"sb3.*is not a key here"):
        from_mapping({**document(), "stages": [{"stage": "sft", "sb3": {"gamma": 1}}]})


# the stage ---------------------------------------------------------------------------------------


def test_the_stage_saves_an_agent_that_loads(console: Console, tmp_path: Path) -> None:
    recipe = from_mapping(document())
    folder = pipeline.run(recipe, tmp_path / "run", console)
    stage = folder / "1-ppo"
    done = run_folder.read_done(stage)
    assert done is not None
    assert (done.kind, done.weights) == ("numeric", stage / "weights")
    assert done.summary["step"] == 200
    assert "episode_return" in done.summary
    rows = read_metrics(stage / "metrics.jsonl")
    assert [row["step"] for row in rows] == [50, 100, 150, 200]
    assert not (stage / "checkpoints").exists()
    task = pipeline.make_task(recipe, pipeline.load_panel(recipe, console))
    own = train_ppo(task.env("train", "numeric"), steps=200, seed=0, envs=10, sb3=dict(QUICK))  # type: ignore[attr-defined]
    agent = load_agent(stage / "weights", env=task.env("test", "numeric"))  # type: ignore[attr-defined]
    assert same(agent, own)
    pipeline.resume(folder, None, console)
    assert "has already finished" in console.export_text()


def read_by(agent: Any) -> list[str]:
    """The facts that an order depends on."""
    vector = env().reset(seed=0)[0]
    before = agent.policy.predict(vector, deterministic=True)[0]
    found = []
    for m, fact in enumerate(features.MARKET[1:], 1):
        changed = vector.copy()
        changed[m] = TYPICAL[fact.name][0] + 2 * TYPICAL[fact.name][1]
        if (agent.policy.predict(changed, deterministic=True)[0] != before).any():
            found.append(fact.name)
    return found


@pytest.mark.parametrize(
    ("task", "stage", "expected"),
    [
        ({"facts": ["macd_hist", "rsi_14"], "demonstrators": ["rsi+macd"]}, {}, ["rsi_14", "macd_hist"]),
        (
            {"facts": ["macd_hist"], "demonstrators": ["macd"]},
            {"facts": ["rsi_14", "change_1"]},
            ["change_1", "rsi_14"],
        ),
        ({}, {}, list(FACTS)),
        (
            {"facts": ["macd_hist"], "demonstrators": ["macd"]},
            {"sb3": {**QUICK, "policy_kwargs": {"features_extractor_kwargs": {"facts": ["rsi_14"]}}}},
            ["rsi_14"],
        ),
    ],
)
def test_the_network_reads_the_facts_of_the_task_unless_the_stage_names_others(
    task: dict[str, Any], stage: dict[str, Any], expected: list[str], console: Console, tmp_path: Path
) -> None:
    made = document(**stage)
    made["task"] = {**made["task"], **task}
    folder = pipeline.run(from_mapping(made), tmp_path / "run", console)
    agent = load_agent(folder / "1-ppo" / "weights")
    assert read_by(agent) == expected


def test_a_later_stage_does_not_mistake_the_agent_for_a_language_model(
    console: Console, tmp_path: Path, fake_stage: None
) -> None:
    stages = [{"stage": "ppo", "steps": 50, "envs": 10, "sb3": dict(QUICK)}, {"stage": "fake"}, {"stage": "fake"}]
    folder = pipeline.run(from_mapping({**document(), "stages": stages}), tmp_path / "run", console)
    seen = [json.loads((folder / name / "metrics.jsonl").read_text()) for name in ("2-fake", "3-fake-2")]
    assert [figures["models"] for figures in seen] == [[], ["fake"]]
    (folder / "3-fake-2" / "done.json").unlink()
    pipeline.resume(folder, None, console)
    again = json.loads((folder / "3-fake-2" / "metrics.jsonl").read_text())
    assert again["models"] == ["fake"]


def test_the_agent_cannot_be_a_starting_model() -> None:
    stages = [{"stage": "ppo"}, {"stage": "sft", "model": "ppo"}]
    with pytest.raises(RecipeError, match="is 'ppo', but no stage of that name before this one makes a model"):
        from_mapping({**document(), "stages": stages})


KILLED = """
import sys, time
from pathlib import Path
from rich.console import Console
from tradeschool import pipeline
from tradeschool.config.recipe import read
from tradeschool.train import ppo_learner
ppo_learner.CHECKPOINT_SECONDS = 0.0
learn = ppo_learner.learn
def slow_learn(*args, on_rollout, **given):
    def slow(metrics):
        on_rollout(metrics)
        if metrics["step"] >= 150:
            Path(sys.argv[3]).touch()
            time.sleep(300)
    return learn(*args, on_rollout=slow, **given)
ppo_learner.learn = slow_learn
pipeline.run(read(Path(sys.argv[1])), Path(sys.argv[2]), Console())
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_agent(console: Console, tmp_path: Path) -> None:
    import yaml

    recipe, out, mark = tmp_path / "numbers.yaml", tmp_path / "killed", tmp_path / "mark"
    recipe.write_text(yaml.safe_dump(document()))
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(recipe), str(out), str(mark)], env={**os.environ, "PYTHONPATH": path}
    )
    deadline = time.monotonic() + 240
    while not mark.exists():
        assert process.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline, "the run never came to its third round"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stage = out / "1-ppo"
    assert [row["step"] for row in read_metrics(stage / "metrics.jsonl")] == [50, 100, 150]
    assert checkpointed_steps(stage / "checkpoints" / "ppo.pt") == 100
    assert run_folder.read_done(stage) is None

    pipeline.resume(out, None, console)
    unbroken = pipeline.run(from_mapping(document()), tmp_path / "unbroken", console) / "1-ppo"
    assert same(load_agent(stage / "weights"), load_agent(unbroken / "weights"))
    rows = [timeless(read_metrics(folder / "metrics.jsonl")) for folder in (stage, unbroken)]
    assert rows[0] == rows[1]
