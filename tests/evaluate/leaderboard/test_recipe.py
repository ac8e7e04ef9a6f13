"""A leaderboard's recipe: entries in every form, and every problem with its place."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tradeschool.errors import RecipeError
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe, normalise_agents, read

ROOT = Path(__file__).parents[3]
TEXT = """\
    name: mine
    seed: 4
    markets:
      synthetic: {source: synthetic, days: 300}
      calm: {edge: 0}
    agents:
      - rsi
      - {momentum 5d: {band: 2}}
    """


def recipe(tmp_path: Path, *sets: str, text: str = TEXT) -> LeaderboardRecipe:
    path = tmp_path / "mine.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return read(path, sets)


def refused(tmp_path: Path, *sets: str, text: str = TEXT) -> str:
    with pytest.raises(RecipeError) as raised:
        recipe(tmp_path, *sets, text=text)
    return str(raised.value)


def test_keys_have_defaults(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    assert (made.name, made.seed, made.episodes, made.levels) == ("mine", 4, 300, ["Easy", "Medium", "Hard"])
    sizes = {"tickers": 40, "days": 300, "edge": 0.3, "drift": 0.0, "fundamentals": False}
    assert made.markets["synthetic"] == {"source": "synthetic", "seed": 0, "start": "2010-01-04", **sizes}
    assert made.markets["calm"]["source"] == "synthetic"
    assert (made.split.train, made.split.test) == (0.6, 0.3)


def test_buy_and_hold_is_always_there_once_and_first(tmp_path: Path) -> None:
    assert [one.name for one in recipe(tmp_path).agents] == ["buy and hold", "rsi", "momentum 5d"]
    given = recipe(tmp_path, "agents=[hold, buy and hold]")
    assert [one.name for one in given.agents] == ["buy and hold", "hold"]


def test_entries_in_every_form(tmp_path: Path) -> None:
    saved = tmp_path / "mine.zip"
    saved.write_bytes(b"x")
    items: list[Any] = ["rsi", {"ppo": {"steps": 5}}, {"zip": str(saved), "trust": True}, {"model": "Qwen/Qwen3-0.6B"}]
    items += [
        {"model": {"source": "Qwen/Qwen3-0.6B", "name": "few", "episodes": 9}},
        {"momentum 5d": None},
        {"rsi": {"name": "other"}},
    ]
    normalise_agents(items)
    assert [item["name"] for item in items] == [
        "rsi",
        "ppo",
        "mine",
        "Qwen3-0.6B",
        "few",
        "momentum 5d",
        "other",
    ]
    assert items[1] == {"agent": "ppo", "steps": 5, "name": "ppo"}
    assert items[2] == {"agent": "zip", "path": str(saved), "trust": True, "name": "mine"}
    before = [dict(item) for item in items]
    normalise_agents(items)
    assert items == before


def test_options_reach_markets_and_agents_by_name(tmp_path: Path) -> None:
    made = recipe(tmp_path, "agents.momentum 5d.band=3.5", "markets.calm.days=500", "levels=[Easy]", "episodes=7")
    assert made.agents[2].settings == {"agent": "momentum 5d", "parts": 5, "band": 3.5}
    assert made.markets["calm"]["days"] == 500
    assert (made.levels, made.episodes) == (["Easy"], 7)


def test_a_path_implies_the_source_of_a_market(tmp_path: Path) -> None:
    prices = tmp_path / "prices"
    prices.mkdir()
    (prices / "A.csv").write_text("Date,Open,High,Low,Close,Volume\n")
    made = recipe(tmp_path, f"markets.synthetic.path={prices}")
    assert made.markets["synthetic"]["source"] == "folder"
    assert made.markets["synthetic"]["path"] == str(prices)
    assert "markets.synthetic.source is folder" in made.notes[0]
    assert "markets.synthetic.days" in made.notes[0]
    assert "markets.calm.path" in refused(tmp_path, "markets.calm.path=nowhere")


def test_a_trained_agent_learns_and_a_rule_does_not(tmp_path: Path) -> None:
    made = recipe(tmp_path, "agents=[rsi, {ppo: {steps: 64, sb3: {n_steps: 8}}}]")
    assert [one.learns for one in made.agents] == [False, False, True]
    settings = made.agents[2].settings
    assert (settings["agent"], settings["steps"], settings["sb3"]) == ("ppo", 64, {"n_steps": 8})


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("agents=[momentun]", "Did you mean 'momentum 5d'?"),
        ("agents=[{momentum 5d: {bands: 2}}]", "Did you mean 'band'?"),
        ("agents=[{ppo: {stepps: 2}}]", "Did you mean 'steps'?"),
        ("agents=[{ppo: {steps: 0}}]", "steps is 0, but must be at least 1"),
        (
            "agents=[{ppo: {sb3: {gama: 0.9}}}]",
            "Did you mean 'gamma'?",
        ),
        (
            "agents=[{ppo: {sb3: {policy_kwargs: {ortho_init: off}}}}]",
            "agents.ppo.sb3: policy_kwargs.ortho_init is 'off'",
        ),
        ("agents=[{zip: nowhere.zip}]", "there is no such file"),
        ("agents=[{model: X, form: txt}]", "Did you mean 'text'?"),
        ("agents=[{remote: {base_url: x, model: y}}]", "base_url"),
        ("agents=[{remote: {base_url: 'http://x', model: y, api_key: sk-hidden}}]", "environment"),
        ("agents=[{rsi: {name: a}}, {macd: {name: a}}]", "unique names"),
        ("agents=[{rsi: {name: buy and hold}}]", "reserved"),
        ("agents=[{ppo: {steps: 9}}, {ppo: {steps: 8}}]", "unique names"),
        ("agents=[{rsi: {}, macd: {}}]", "must be one of hold"),
        ("agents=[]", "must be a list of at least one agent"),
        ("levels=[Esay]", "Did you mean 'Easy'?"),
        ("episodes=1", "episodes is 1"),
        ("markets={}", "must be a mapping"),
        ("markets={'a/b': {source: synthetic}}", "file name"),
        ("markets={a: {source: foldr}}", "Did you mean 'folder'?"),
        ("markets.synthetic.edgy=1", "Did you mean 'edge'?"),
        ("split.train=2", "split.train is 2"),
        ("marketss={}", "Did you mean 'markets'?"),
    ],
)
def test_a_problem_is_named_with_its_option_and_a_cure(tmp_path: Path, option: str, words: str) -> None:
    text = refused(tmp_path, option)
    assert words in text
    assert text.startswith(f"--set {option}")
    # The option is repeated as it was typed; the key is nowhere else.
    assert "hidden" not in text.replace(option, "")


def test_a_problem_in_the_file_is_named_with_its_line(tmp_path: Path) -> None:
    text = TEXT.replace("band: 2", "band: 2, parts: 99").replace("edge: 0", "edge: 9")
    lines = refused(tmp_path, text=text).splitlines()
    assert "mine.yaml, line 5: markets.calm.edge is 9" in lines[0]
    assert "mine.yaml, line 8: agents.momentum 5d: The strategy 'momentum 5d': parts is 99" in lines[1]


@pytest.mark.parametrize("key", ["name", "markets", "agents"])
def test_missing_sections_are_named(tmp_path: Path, key: str) -> None:
    text = {"name": "    name: mine\n", "markets": TEXT[TEXT.index("    markets") : TEXT.index("    agents")]}
    text["agents"] = TEXT[TEXT.index("    agents") :]
    assert f"{key} is missing" in refused(tmp_path, text=TEXT.replace(text[key], ""))


def test_the_packaged_recipe_is_valid() -> None:
    made = read(ROOT / "recipes" / "leaderboard.yaml")
    assert {one.settings["agent"] for one in made.agents} >= {"hold", "buy and hold", "momentum 5d", "random", "ppo"}
    assert set(made.markets) == {"synthetic", "stocks"}


def test_a_policy_of_the_users_own_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_policies.py").write_text(
        "from tradeschool import Policy\n\n\nclass Mine(Policy):\n    name, kind = 'mine', 'trained'\n\n"
        "    def generate(self, conversations, n=1):\n        return [['HOLD'] * n for _ in conversations]\n"
    )
    (_, spec) = recipe(tmp_path, "agents=[{policy: 'my_policies:Mine', episodes: 5}]").agents
    assert (spec.name, spec.observation, spec.episodes) == ("Mine", "text", 5)
    assert spec.settings["class"] == "my_policies:Mine"
    assert "my_policies" in refused(tmp_path, "agents=[{policy: 'my_policies:Yours'}]")
    text = refused(tmp_path, "agents=[{policy: 'tradeschool.policies.rules:Rule'}]")
    assert "is not a subclass of tradeschool.policies.base.Policy" in text
