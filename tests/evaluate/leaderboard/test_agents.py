"""Agents in a leaderboard: those that learn, those that read texts, those behind a server."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from boards import asked, content, played, talker
from chat_server import KEY, MODEL, chat_server, say
from rich.console import Console
from stable_baselines3 import PPO

from tradeschool.env import trading
from tradeschool.env.data import MarketData
from tradeschool.env.versions import KEYS
from tradeschool.errors import RecipeError, RunError
from tradeschool.evaluate.leaderboard import rivals
from tradeschool.evaluate.leaderboard.board import LevelArena, file_name
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe
from tradeschool.evaluate.leaderboard.rivals import Rival
from tradeschool.evaluate.leaderboard.talks import read_talks
from tradeschool.opening import load_market, split_panel
from tradeschool.trace import read_traces


def test_who_learns_is_given_the_training_rows_alone(recipe: Any, tmp_path: Path) -> None:
    seen: list[Any] = []

    def make(arena: Any, tell: Any) -> Any:
        seen.append((arena.env("train", "numeric").rows, arena.env("test", "numeric").rows))
        return rivals.rule_rival("hold").make(arena, tell)

    made = dataclasses.replace(recipe(), rivals=(Rival("hold", {"agent": "ppo"}, make, learns=True),))
    played(made, tmp_path / "out")
    (train, test) = seen[0]
    assert train[0] == 60
    assert train[1] + 16 <= test[0]
    assert content(tmp_path / "out")[0]["settings"] == {"agent": "ppo", "trained_on": list(train)}


# who reads texts


def test_agents_on_texts_play_the_same_episodes_and_leave_traces(recipe: Any, tmp_path: Path) -> None:
    made = recipe()
    idle, buyer = talker("idle", "HOLD", episodes=5), talker("a/buyer", "BUY 1", batch=4)
    made = dataclasses.replace(made, rivals=(*made.rivals, idle, buyer))
    played(made, tmp_path / "out")
    rows = {row["agent"]: row for row in content(tmp_path / "out")}
    assert rows["idle"]["grades"] == rows["hold"]["grades"][:5]
    assert rows["idle"]["starts"] == rows["hold"]["starts"][:5]
    traces = list(read_traces(tmp_path / "out" / "small-Easy" / f"traces-{file_name('a/buyer')}.jsonl"))
    assert [trace.key for trace in traces] == [f"Easy#{seed}" for seed in range(12)]
    assert [trace.metrics["grade"] for trace in traces] == pytest.approx(rows["a/buyer"]["grades"], abs=1e-6)
    assert (asked["idle"], asked["a/buyer"]) == (5, 4)
    messages = traces[0].messages
    assert [message["role"] for message in messages] == ["system"] + ["user", "assistant"] * 20
    assert messages[1]["content"].startswith("day 0 of 20, cash 100%")
    assert {message["content"] for message in messages[2::2]} == {"BUY 1"}
    assert traces[0].metrics["refused"] > 0  # a second BUY finds no cash
    assert set(traces[0].versions) == {*KEYS, "tradeschool", "agent_hash"}
    assert {key: traces[0].versions[key] for key in KEYS} == {key: rows["hold"]["edition"][key] for key in KEYS}
    other = next(iter(read_traces(tmp_path / "out" / "small-Easy" / "traces-idle.jsonl")))
    assert traces[0].versions["agent_hash"] != other.versions["agent_hash"]


def test_agents_whose_names_look_alike_in_files_keep_their_conversations_apart(recipe: Any, tmp_path: Path) -> None:
    names = ("a b", "a-b", "a/b", "a_b")
    assert len({file_name(name) for name in names}) == len(names)
    assert file_name("a-b") == "a-b"
    assert all(letter.isalnum() or letter in "-_." for name in names for letter in file_name(name))
    made = dataclasses.replace(recipe(), rivals=tuple(talker(name, f"HOLD {n}") for n, name in enumerate(names)))
    played(made, tmp_path / "out")
    for n, name in enumerate(names):
        talks = read_talks(tmp_path / "out" / "small-Easy", name)
        assert {day.order for talk in talks for day in talk.days} == {f"HOLD {n}"}


def test_conversations_of_a_run_of_before_are_found_by_their_plain_name(recipe: Any, tmp_path: Path) -> None:
    made = dataclasses.replace(recipe(), rivals=(talker("a b", "HOLD"),))
    (found,) = played(made, tmp_path / "out")
    folder = tmp_path / "out" / "small-Easy"
    (folder / f"traces-{file_name('a b')}.jsonl").rename(folder / "traces-a-b.jsonl")
    assert len(read_talks(folder, "a b", found.rows[0])) == 12
    # Of another agent, whose name is plain: not those of this one.
    with pytest.raises(RunError, match=rf"traces-{file_name('a/b')}\.jsonl is missing"):
        read_talks(folder, "a/b")


def test_a_bankrupt_episode_ends_its_conversation(recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LevelArena.env

    def ruined(self: LevelArena, split: Any, observation: Any) -> Any:
        env = real(self, split, observation)
        return trading.TradingEnv(env.data, rows=env.rows, observation=observation, days=20, ruin=0.9999)

    monkeypatch.setattr(LevelArena, "env", ruined)
    made = dataclasses.replace(recipe(), rivals=(talker("buyer", "BUY 1"),))
    played(made, tmp_path / "out")
    traces = list(read_traces(tmp_path / "out" / "small-Easy" / "traces-buyer.jsonl"))
    over = [trace for trace in traces if trace.stop == "bankrupt"]
    assert over
    assert all(len(trace.messages) < 41 for trace in over if trace.messages)
    assert sum(trace.stop == "bankrupt" for trace in traces) == content(tmp_path / "out")[0]["bankrupt"]


def test_a_remote_model_plays_and_its_cost_is_kept(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADESCHOOL_API_KEY", KEY)
    with chat_server(always=say("HOLD")) as server:
        entry = (
            f"{{remote: {{base_url: '{server.url}', model: {MODEL}, episodes: 2, price_input: 1, price_output: 2}}}}"
        )
        played(recipe(f"agents=[hold, {entry}]"), tmp_path / "out")
        assert len(server.bodies) == 2 * 20
        played(recipe(f"agents=[hold, {entry}]"), tmp_path / "out")
        assert len(server.bodies) == 2 * 20
    rows = {row["agent"]: row for row in content(tmp_path / "out")}
    assert rows[MODEL]["grades"] == rows["hold"]["grades"][:2]
    assert rows[MODEL]["figures"]["requests"] == 40
    assert rows[MODEL]["figures"]["latency_median"] > 0
    assert KEY not in "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "out").rglob("*.json*"))


# who learns


def test_ppo_is_trained_once_and_its_zip_can_play(recipe: Any, tmp_path: Path, plays: list[str]) -> None:
    ppo = "{ppo: {steps: 64, envs: 4, sb3: {n_steps: 16, batch_size: 16, n_epochs: 1}}}"
    made = recipe(f"agents=[{ppo}]")
    played(made, tmp_path / "out")
    played(made, tmp_path / "out")
    assert plays == ["buy and hold", "ppo"]
    row = content(tmp_path / "out")[1]
    assert row["settings"]["trained_on"][1] < min(row["starts"])
    agent: Any = made.rivals[1].make(arena_of(made), lambda count: None)
    saved = tmp_path / "mine.zip"
    PPO("MlpPolicy", arena_of(made).env("train", "numeric"), n_steps=8, batch_size=8, device="cpu").save(saved)
    assert agent.name == "ppo"
    found = played(recipe(f"agents=[{{zip: {saved}}}, {{zip: {saved}, trust: true, name: mine}}]"), tmp_path / "out")
    reason = (found[0].missing or {})["mine 2"]
    assert "trust: true" in reason
    assert plays[2:] == ["mine"]


def test_a_ppo_entry_may_say_which_facts_are_read(recipe: Any, tmp_path: Path) -> None:
    quick = "steps: 64, envs: 4, sb3: {n_steps: 16, batch_size: 16, n_epochs: 1}"
    made = recipe(f"agents=[{{ppo: {{{quick}, facts: [rsi_14]}}}}, {{ppo: {{{quick}, name: all}}}}]")
    few, every = made.rivals[1:]
    assert few.settings_in(arena_of(made)) != every.settings_in(arena_of(made))
    agents: list[Any] = [one.make(arena_of(made), lambda count: None).agent.policy for one in (few, every)]
    assert [len(agent.features_extractor.market) for agent in agents] == [2, 9]
    with pytest.raises(RecipeError, match="Did you mean 'rsi_14'"):
        recipe("agents=[{ppo: {facts: [rsi_41]}}]")


def arena_of(made: LeaderboardRecipe) -> LevelArena:
    panel = load_market(made.markets["small"], Console(quiet=True))
    return LevelArena(MarketData(panel), split_panel(made.split, panel), "Easy")
