"""A leaderboard's recipe: entries in every form, and every fault with its place."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tradeschool.errors import RecipeError
from tradeschool.evaluate.leaderboard.entries import named
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe, read

ROOT = Path(__file__).parents[3]
TEXT = """\
    name: mine
    seed: 4
    markets:
      practice: {source: practice, days: 300}
      calm: {edge: 0}
    agents:
      - rsi
      - {momentum: {band: 2}}
    """


def recipe(tmp_path: Path, *sets: str, text: str = TEXT) -> LeaderboardRecipe:
    path = tmp_path / "mine.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return read(path, sets)


def refused(tmp_path: Path, *sets: str, text: str = TEXT) -> str:
    with pytest.raises(RecipeError) as raised:
        recipe(tmp_path, *sets, text=text)
    return str(raised.value)


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    assert (made.name, made.seed, made.episodes, made.levels) == ("mine", 4, 300, ("Easy", "Medium", "Hard"))
    assert made.markets["practice"] == {"source": "practice", "seed": 4, "tickers": 40, "days": 300, "edge": 0.3} | {
        "start": "2010-01-04"
    }
    assert made.markets["calm"]["source"] == "practice"
    assert (made.split.train, made.split.test) == (0.6, 0.3)


def test_buy_and_hold_is_always_there_once_and_first(tmp_path: Path) -> None:
    assert [one.name for one in recipe(tmp_path).rivals] == ["buy and hold", "rsi", "momentum"]
    given = recipe(tmp_path, "agents=[hold, buy and hold]")
    assert [one.name for one in given.rivals] == ["buy and hold", "hold"]


def test_entries_in_every_form(tmp_path: Path) -> None:
    saved = tmp_path / "mine.zip"
    saved.write_bytes(b"x")
    items: list[Any] = ["rsi", {"ppo": {"steps": 5}}, {"zip": str(saved), "trust": True}, {"model": "Qwen/Qwen3-0.6B"}]
    items += [{"model": {"source": "Qwen/Qwen3-0.6B", "episodes": 9}}, {"momentum": None}, {"rsi": {"name": "other"}}]
    named(items)
    assert [item["name"] for item in items] == [
        "rsi",
        "ppo",
        "mine",
        "Qwen3-0.6B",
        "Qwen3-0.6B 2",
        "momentum",
        "other",
    ]
    assert items[1] == {"agent": "ppo", "steps": 5, "name": "ppo"}
    assert items[2] == {"agent": "zip", "path": str(saved), "trust": True, "name": "mine"}
    before = [dict(item) for item in items]
    named(items)
    assert items == before


def test_options_reach_markets_and_agents_by_name(tmp_path: Path) -> None:
    made = recipe(tmp_path, "agents.momentum.band=3.5", "markets.calm.days=500", "levels=[easy]", "episodes=7")
    assert made.rivals[2].settings == {"agent": "momentum", "parts": 5, "band": 3.5}
    assert made.markets["calm"]["days"] == 500
    assert (made.levels, made.episodes) == (("Easy",), 7)


def test_a_path_says_what_source_a_market_is(tmp_path: Path) -> None:
    prices = tmp_path / "prices"
    prices.mkdir()
    (prices / "A.csv").write_text("Date,Open,High,Low,Close,Volume\n")
    made = recipe(tmp_path, f"markets.practice.path={prices}")
    assert made.markets["practice"]["source"] == "folder"
    assert made.markets["practice"]["path"] == str(prices)
    assert "markets.practice.path is given, so markets.practice.source is folder" in made.notes[0]
    assert "markets.practice.days" in made.notes[0]
    assert "markets.calm.path: nowhere does not exist" in refused(tmp_path, "markets.calm.path=nowhere")


def test_a_trained_agent_learns_and_a_rule_does_not(tmp_path: Path) -> None:
    made = recipe(tmp_path, "agents=[rsi, {ppo: {steps: 64, sb3: {n_steps: 8}}}]")
    assert [one.learns for one in made.rivals] == [False, False, True]
    settings = made.rivals[2].settings
    assert (settings["agent"], settings["steps"], settings["sb3"]) == ("ppo", 64, {"n_steps": 8})


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("agents=[momentun]", "Did you mean 'momentum'?"),
        ("agents=[{momentum: {bands: 2}}]", "no setting 'bands'. Did you mean 'band'?"),
        ("agents=[{ppo: {stepps: 2}}]", "Did you mean 'steps'?"),
        ("agents=[{ppo: {steps: 0}}]", "steps is 0, but must be at least 1"),
        (
            "agents=[{ppo: {sb3: {gama: 0.9}}}]",
            "agents.ppo.sb3.gama: 'gama' is not a field of PPO. Did you mean 'gamma'?",
        ),
        (
            "agents=[{ppo: {sb3: {policy_kwargs: {ortho_init: off}}}}]",
            "agents.ppo.sb3.policy_kwargs.ortho_init is 'off', a text, which would count as true. Write true or false",
        ),
        ("agents=[{zip: nowhere.zip}]", "there is no such file"),
        ("agents=[{model: X, form: txt}]", "Did you mean 'text'?"),
        ("agents=[{remote: {base_url: x, model: y}}]", "no address of a server"),
        ("agents=[{remote: {base_url: 'http://x', model: y, api_key: sk-hidden}}]", "comes from the environment alone"),
        ("agents=[{rsi: {name: a}}, {macd: {name: a}}]", "as an earlier agent's"),
        ("agents=[{rsi: {name: buy and hold}}]", "that all are compared with"),
        ("agents=[{rsi: {}, macd: {}}]", "must be one of hold"),
        ("agents=[]", "must be a list of at least one agent"),
        ("levels=[Esay]", "Did you mean 'Easy'?"),
        ("episodes=1", "episodes is 1"),
        ("markets={}", "must be a mapping"),
        ("markets={'a/b': {source: practice}}", "its name becomes a file's"),
        ("markets={a: {source: practise}}", "Did you mean 'practice'?"),
        ("markets.practice.edgy=1", "Did you mean 'edge'?"),
        ("split.train=2", "split.train is 2"),
        ("marketss={}", "Did you mean 'markets'?"),
    ],
)
def test_a_fault_is_named_with_its_option_and_a_cure(tmp_path: Path, option: str, words: str) -> None:
    text = refused(tmp_path, option)
    assert words in text
    assert text.startswith(f"--set {option}")
    # The option itself is repeated, as it was typed; nothing else says a key.
    assert "hidden" not in text.replace(option, "")


def test_a_fault_in_the_file_is_named_with_its_line(tmp_path: Path) -> None:
    text = TEXT.replace("band: 2", "band: 2, parts: 99").replace("edge: 0", "edge: 9")
    said = refused(tmp_path, text=text).splitlines()
    assert "mine.yaml, line 5: markets.calm.edge is 9" in said[0]
    assert "mine.yaml, line 8: agents.momentum has a fault: parts is 99" in said[1]


@pytest.mark.parametrize("key", ["name", "markets", "agents"])
def test_missing_sections_are_named(tmp_path: Path, key: str) -> None:
    text = {"name": "    name: mine\n", "markets": TEXT[TEXT.index("    markets") : TEXT.index("    agents")]}
    text["agents"] = TEXT[TEXT.index("    agents") :]
    assert f"{key} is missing. Add it; recipes/leaderboard.yaml" in refused(tmp_path, text=TEXT.replace(text[key], ""))


def test_the_recipe_of_the_house_can_be_read() -> None:
    made = read(ROOT / "recipes" / "leaderboard.yaml")
    assert {one.settings["agent"] for one in made.rivals} >= {"hold", "buy and hold", "momentum", "random", "ppo"}
    assert set(made.markets) == {"practice", "stocks"}
