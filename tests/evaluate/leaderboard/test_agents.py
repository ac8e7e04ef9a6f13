"""Agents in a leaderboard: those that learn, those that read text, remote models, and what identifies each."""

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from boards import NAMES, agents, batches, played, printed, scripted, stored
from chat_server import KEY, MODEL, chat_server, say
from rich.console import Console
from stable_baselines3 import PPO

import tradeschool
from tradeschool.config.sections import load_market, split_panel
from tradeschool.env import trading_env
from tradeschool.env.config import KEYS, EnvError
from tradeschool.errors import RecipeError
from tradeschool.evaluate.leaderboard.agents import AgentSpec, RemoteEntry, ZipEntry, model_agent, rule_agent, unload
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe
from tradeschool.evaluate.leaderboard.results import traces_path
from tradeschool.evaluate.page import turns_of
from tradeschool.models.load import ModelConfig
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.trace import read_traces


def with_agents(recipe: LeaderboardRecipe, *agents: AgentSpec) -> LeaderboardRecipe:
    return dataclasses.replace(recipe, agents=agents)


def test_an_agent_that_learns_gets_the_training_rows(recipe: Any, tmp_path: Path) -> None:
    seen: list[Any] = []

    def build(envs: Any, on_progress: Any) -> Any:
        seen.append((envs.env("train", "numeric").rows, envs.env("test", "numeric").rows))
        return rule_agent("hold").build(envs, on_progress)

    played(with_agents(recipe(), AgentSpec("hold", {"agent": "ppo"}, build, learns=True)), tmp_path / "out")
    (train, test) = seen[0]
    assert train[0] == 60
    assert train[1] + 16 <= test[0]
    versions = {"tradeschool": tradeschool.__version__}
    identity = {"agent": "ppo", "trained_on": list(train), "versions": versions}
    assert stored(tmp_path / "out")[0]["identity"] == identity


# agents that read text


def test_text_agents_play_the_same_episodes_and_leave_traces(recipe: Any, tmp_path: Path) -> None:
    made = recipe()
    idle, buyer = scripted("idle", "HOLD", episodes=5), scripted("a/buyer", "BUY 1", batch=4)
    played(with_agents(made, *made.agents, idle, buyer), tmp_path / "out")
    results = {one["agent"]: one for one in stored(tmp_path / "out")}
    assert results["idle"]["grades"] == results["hold"]["grades"][:5]
    assert results["idle"]["starts"] == results["hold"]["starts"][:5]
    folder = tmp_path / "out" / "small-Easy"
    traces = list(read_traces(traces_path(folder, "a/buyer")))
    assert [trace.key for trace in traces] == [f"Easy#{seed}" for seed in range(12)]
    assert [trace.metrics["grade"] for trace in traces] == pytest.approx(results["a/buyer"]["grades"], abs=1e-6)
    assert (batches["idle"], batches["a/buyer"]) == (5, 4)
    messages = traces[0].messages
    assert [message["role"] for message in messages] == ["system"] + ["user", "assistant"] * 20
    assert messages[1]["content"].startswith("day 0 of 20, cash 100%")
    assert {message["content"] for message in messages[2::2]} == {"BUY 1"}
    assert traces[0].metrics["refused"] > 0  # a second BUY finds no cash
    assert set(traces[0].versions) >= {"tradeschool", "agent_hash", "env_version", "level_version", "data_hash"}
    benchmark = results["hold"]["benchmark"]
    assert all(traces[0].versions[key] == benchmark[key] for key in KEYS if key in benchmark)
    other = next(iter(read_traces(traces_path(folder, "idle"))))
    assert traces[0].versions["agent_hash"] != other.versions["agent_hash"]


def test_similar_names_have_traces_of_their_own(recipe: Any, tmp_path: Path) -> None:
    names = ("a b", "a-b", "a/b", "a_b")
    made = with_agents(recipe(), *(scripted(name, f"HOLD {n}") for n, name in enumerate(names)))
    (found,) = played(made, tmp_path / "out")
    folder = tmp_path / "out" / "small-Easy"
    assert traces_path(folder, "a-b").name == "traces-a-b.jsonl"
    assert found.board
    for n, result in enumerate(found.board.results.values()):
        assert result.agent == names[n]
        traces = read_traces(traces_path(folder, result.agent))
        assert {turn.answer for one in traces for turn in turns_of(one)} == {f"HOLD {n}"}


def test_a_bankrupt_episode_ends_its_conversation(recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = TradeTask.env

    def ruined(self: TradeTask, split: Any, observation: Any) -> Any:
        env = real(self, split, observation)
        return trading_env.TradingEnv(env.data, rows=env.rows, observation=observation, days=20, ruin=0.9999)

    monkeypatch.setattr(TradeTask, "env", ruined)
    played(with_agents(recipe(), scripted("buyer", "BUY 1")), tmp_path / "out")
    traces = list(read_traces(traces_path(tmp_path / "out" / "small-Easy", "buyer")))
    over = [trace for trace in traces if trace.stop == "bankrupt"]
    assert over
    assert all(len(trace.messages) < 41 for trace in over)
    assert len(over) == stored(tmp_path / "out")[0]["bankrupt"]


def test_a_remote_model_plays_and_its_cost_is_kept(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADESCHOOL_API_KEY", KEY)
    with chat_server(always=say("HOLD")) as server:
        entry = (
            f"{{remote: {{base_url: '{server.url}', model: {MODEL}, episodes: 2, price_input: 1, price_output: 2}}}}"
        )
        for _ in range(2):  # asked once
            played(recipe(f"agents=[hold, {entry}]"), tmp_path / "out")
            assert len(server.bodies) == 2 * 20
    results = {one["agent"]: one for one in stored(tmp_path / "out")}
    assert results[MODEL]["grades"] == results["hold"]["grades"][:2]
    assert results[MODEL]["figures"]["requests"] == 40
    assert results[MODEL]["figures"]["latency_median"] > 0
    assert KEY not in "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "out").rglob("*.json*"))


# agents that learn


def test_ppo_is_trained_once_and_its_zip_can_play(recipe: Any, tmp_path: Path, plays: list[str]) -> None:
    ppo = "{ppo: {steps: 64, envs: 4, sb3: {n_steps: 16, batch_size: 16, n_epochs: 1}}}"
    made = recipe(f"agents=[{ppo}]")
    played(made, tmp_path / "out")
    played(made, tmp_path / "out")
    assert plays == ["buy and hold", "ppo"]
    result = stored(tmp_path / "out")[1]
    assert result["identity"]["trained_on"][1] < min(result["starts"])
    saved = tmp_path / "mine.zip"
    PPO("MlpPolicy", task_of(made).env("train", "numeric"), n_steps=8, batch_size=8, device="cpu").save(saved)
    zips = recipe(f"agents=[{{zip: {saved}}}, {{zip: {saved}, trust: true, name: trusted}}]")
    found = played(zips, tmp_path / "out")
    assert "trust" in found[0].missing["mine"]
    assert plays[2:] == ["trusted"]
    before = saved.read_bytes()
    PPO.load(saved, device="cpu").save(saved)
    assert saved.read_bytes() != before
    played(zips, tmp_path / "out")
    assert plays[2:] == ["trusted"], "the same agent, saved again, is not played again"


OWN = """
from tradeschool import Policy

class Plain(Policy):
    name, kind = "plain", "rule"

    def generate(self, conversations, n=1):
        return [["HOLD"] * n for _ in conversations]

class Asks(Plain):
    def __init__(self, task, n=3):
        self.said = f"HOLD {task.config.form} {task.config.level} {task.config.facts} {n}"

class HasDefaults(Plain):
    def __init__(self, n=3):
        self.said = n
"""


def test_a_policy_of_ones_own_is_constructed_with_the_task_or_with_nothing(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_agents.py").write_text(OWN, encoding="utf-8")
    entries = [
        f"{{policy: 'own_agents:{name}', form: table, facts: [rsi_14]}}" for name in ("Plain", "Asks", "HasDefaults")
    ]
    made = recipe(f"agents=[{', '.join(entries)}]")
    (results,) = played(made, tmp_path / "out")
    assert not results.missing
    built: list[Any] = [spec.build(task_of(made), lambda count: None) for spec in made.agents[2:]]
    assert [one.said for one in built] == ["HOLD table Easy ['rsi_14'] 3", 3]


def test_a_ppo_entry_may_name_the_facts_that_are_read(recipe: Any) -> None:
    quick = "steps: 64, envs: 4, sb3: {n_steps: 16, batch_size: 16, n_epochs: 1}"
    made = recipe(f"agents=[{{ppo: {{{quick}, facts: [rsi_14]}}}}, {{ppo: {{{quick}, name: all}}}}]")
    few, every = made.agents[1:]
    assert few.identity(task_of(made)) != every.identity(task_of(made))
    agents: list[Any] = [one.build(task_of(made), lambda count: None).policy for one in (few, every)]
    assert [len(agent.features_extractor.market) for agent in agents] == [2, 9]
    with pytest.raises(RecipeError, match="Did you mean 'rsi_14'"):
        recipe("agents=[{ppo: {facts: [rsi_41]}}]")


def task_of(made: LeaderboardRecipe) -> TradeTask:
    panel = load_market(made.markets["small"], Console(quiet=True))
    return TradeTask(TradeConfig(level="Easy", demonstrators=["hold"]), panel, split_panel(made.split, panel))


# identity


def test_identity_holds_settings_weights_and_versions(tmp_path: Path) -> None:
    saved = tmp_path / "mine.zip"
    saved.write_bytes(b"x")
    folder = tiny_models.folder(tmp_path / "tiny")
    envs: Any = None
    package = {"tradeschool": tradeschool.__version__}
    assert rule_agent("momentum 5d", band=2).identity(envs) == {
        "agent": "momentum 5d",
        "band": 2,
        "parts": 5,
        "versions": package,
    }
    found = ZipEntry(agent="zip", name="mine", path=saved).spec({}).identity(envs)
    assert (len(found["sha256"]), found["versions"]) == (16, package)
    text = {**package, "task": TradeTask.version}
    found = model_agent("tiny", str(folder), ModelConfig(base=str(folder)), batch=2).identity(envs)
    assert (len(found["weights"]["sha256"]), found["versions"]) == (16, text)
    server = {"base_url": "http://localhost:1/v1", "model": "m"}
    found = RemoteEntry(agent="remote", name="m", facts=["rsi_14"]).spec(server).identity(envs)
    assert (found["url"], found["facts"], found["versions"]) == ("http://localhost:1/v1", ["rsi_14"], text)


def test_another_package_version_is_another_agent(
    recipe: Any, tmp_path: Path, plays: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    played(recipe(), tmp_path / "out")
    before = stored(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(tradeschool, "__version__", "99")
        (found,) = played(recipe(), tmp_path / "out")
    assert plays == [*NAMES, *NAMES]
    assert stored(tmp_path / "out")[:4] == before
    assert found.board
    assert {one.identity["versions"]["tradeschool"] for one in found.board.results.values()} == {"99"}
    lines = [line.split()[0] for line in printed([found]).splitlines() if line.strip().startswith(("hold", "random"))]
    assert sorted(lines) == ["hold", "random"]
    (again,) = played(recipe(), tmp_path / "out")
    assert again.board
    assert {name: one.identity for name, one in again.board.results.items()} == {
        one["agent"]: one["identity"] for one in before
    }
    assert len(stored(tmp_path / "out")) == 8


def test_a_model_that_sees_answered_questions_is_another_agent(recipe: Any, tmp_path: Path) -> None:
    folder = tiny_models.folder(tmp_path / "tiny", max_position_embeddings=2048)
    common = f"source: {folder}, question: day, episodes: 2, max_new_tokens: 2, batch_size: 2"
    agents = f"[{{model: {{{common}, name: a}}}}, {{model: {{{common}, name: b, few_shot: 3}}}}]"
    (found,) = played(recipe(f"agents={agents}"), tmp_path / "out")
    assert found.board
    results = found.board.results
    assert set(results) >= {"a", "b"}
    assert results["a"].identity != results["b"].identity
    assert results["b"].identity["few_shot"] == 3


def test_answered_questions_need_rules_that_read_the_facts_shown(recipe: Any, tmp_path: Path) -> None:
    entry = f"{{model: {{source: {tmp_path}, few_shot: 2, facts: [change_5], demonstrators: [macd]}}}}"
    with pytest.raises(RecipeError, match="macd"):
        recipe(f"agents=[{entry}]")


def test_a_checkpoint_is_the_same_agent_elsewhere_and_another_when_a_byte_changes(
    recipe: Any, tmp_path: Path, plays: list[str]
) -> None:
    first = tiny_models.folder(tmp_path / "tiny", max_position_embeddings=2048)
    entry = "{{model: {{source: {}, name: tiny, episodes: 2, max_new_tokens: 2, batch_size: 2}}}}"
    played(recipe(f"agents=[{entry.format(first)}]"), tmp_path / "out")
    moved = Path(shutil.copytree(first, tmp_path / "elsewhere" / "tiny"))
    shutil.rmtree(first)
    plays.clear()
    played(recipe(f"agents=[{entry.format(moved)}]"), tmp_path / "out")
    assert plays == []
    weights = moved / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    os.utime(weights, (10**9, 10**9))
    (found,) = played(recipe(f"agents=[{entry.format(moved)}]"), tmp_path / "out")
    assert plays == ["tiny"]
    results = [one for one in stored(tmp_path / "out") if one["agent"] == "tiny"]
    assert len({one["identity"]["weights"]["sha256"] for one in results}) == 2
    assert set(agents(found)) == {"buy and hold", "tiny"}
    (trace, _) = read_traces(traces_path(tmp_path / "out" / "small-Easy", "tiny"))
    assert len(trace.versions["agent_hash"]) == 16
    unload()


def failing(envs: Any, on_progress: Any) -> Any:
    raise EnvError("the server does not answer")


def test_an_agent_that_fails_is_not_shown_with_the_result_of_another_of_its_name(recipe: Any, tmp_path: Path) -> None:
    made = recipe()
    played(made, tmp_path / "out")
    momentum = made.agents[2]
    changed = dataclasses.replace(momentum, settings={**momentum.settings, "band": 7.0}, build=failing)
    (found,) = played(with_agents(made, *made.agents[:2], changed), tmp_path / "out")
    assert set(agents(found)) == {"buy and hold", "hold"}
    assert found.missing == {"momentum 5d": "the server does not answer"}
    text = printed([found])
    assert "momentum 5d: not played. the server does not answer" in text
    assert not [line for line in text.splitlines() if line.strip().startswith("momentum 5d ")]
    assert [one["agent"] for one in stored(tmp_path / "out")] == list(NAMES)


def test_an_agent_whose_weights_are_gone_is_named_and_the_others_play(recipe: Any, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    (found,) = played(recipe(f"agents=[hold, {{model: {gone}}}]"), tmp_path / "out")
    assert set(agents(found)) == {"buy and hold", "hold"}
    assert str(gone) in found.missing["gone"]
