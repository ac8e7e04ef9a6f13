"""An agent of other code, libraries or weights is another agent, and its rows are its own."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from boards import NAMES, content, played, printed
from imports import PACKAGE, imported

from tradeschool.code_hash import WHOLE, code_hash
from tradeschool.env import versions
from tradeschool.env.config import EnvError
from tradeschool.evaluate.leaderboard import identity, rivals
from tradeschool.evaluate.leaderboard.identity import CODE, NO_AGENT, made_of
from tradeschool.models.load import ModelConfig
from tradeschool.policies.chat.config import server_config
from tradeschool.trace import read_traces

# which code is an agent's


@pytest.mark.parametrize("kind", CODE)
def test_all_that_an_agents_code_imports_is_hashed_or_excepted(kind: str) -> None:
    code, rules = CODE[kind], {**versions.rules(), **dict.fromkeys(versions.NO_RULES_ELSEWHERE, WHOLE)}
    missed = []
    for module in code:
        for path, names in imported((PACKAGE / module).read_text(encoding="utf-8")).items():
            hashed = path in code and (code[path] == WHOLE or names <= set(code[path]) or module == path)
            if not (hashed or path in rules or path in NO_AGENT):
                missed.append(f"{module}: {path} {', '.join(sorted(names))}")
    assert missed == []


def test_exceptions_are_imported_by_some_agent_and_have_a_reason() -> None:
    modules = {module for code in CODE.values() for module in code}
    reached = {path for name in modules for path in imported((PACKAGE / name).read_text(encoding="utf-8"))}
    assert reached >= NO_AGENT.keys()
    assert all(NO_AGENT.values())
    assert not modules & NO_AGENT.keys()


@pytest.mark.parametrize(
    ("kind", "module", "old", "new"),
    [
        ("rule", "env/signals.py", "RSI_OVERSOLD, RSI_OVERBOUGHT = 30.0", "RSI_OVERSOLD, RSI_OVERBOUGHT = 25.0"),
        ("rule", "env/reference.py", "seed: int = 0", "seed: int = 1"),
        ("ppo", "train/ppo_learner.py", '"gamma": 0.9', '"gamma": 0.99'),
        ("ppo", "policies/numeric.py", "LAYERS = (32, 32)", "LAYERS = (64, 64)"),
        ("ppo", "policies/sb3.py", "deterministic=True", "deterministic=False"),
        ("ppo", "train/ppo.py", "ENVS = 100", "ENVS = 10"),
        ("zip", "policies/sb3.py", 'device="cpu"', 'device="cuda"'),
        ("model", "models/load.py", 'padding_side = "left"', 'padding_side = "right"'),
        ("model", "models/template.py", "{{ eos_token }}", "{{ bos_token }}"),
        ("model", "policies/language_trader.py", "self._model.eval()", "self._model.train()"),
        ("remote", "policies/remote.py", "\\n\\n{message", "\\n{message"),
        ("remote", "policies/chat/reading.py", '(text or "")', '(text or "HOLD")'),
    ],
)
def test_a_changed_line_is_another_agent(kind: str, module: str, old: str, new: str) -> None:
    source, names = (PACKAGE / module).read_text(encoding="utf-8"), CODE[kind][module]
    assert old in source
    assert code_hash(source.replace(old, new), names) != code_hash(source, names)


@pytest.mark.parametrize(
    ("kind", "module", "old", "new"),
    [
        ("remote", "policies/chat/reading.py", "LONGEST_QUOTE = 300", "LONGEST_QUOTE = 200"),
        ("ppo", "train/ppo.py", 'SHOWN = ("episode_return", "entropy")', 'SHOWN = ("entropy",)'),
        ("model", "models/load.py", 'BASE_FOLDER = "base"', 'BASE_FOLDER = "start"'),
    ],
)
def test_a_line_that_decides_nothing_for_it_is_not(kind: str, module: str, old: str, new: str) -> None:
    source, names = (PACKAGE / module).read_text(encoding="utf-8"), CODE[kind][module]
    assert old in source
    assert code_hash(source.replace(old, new), names) == code_hash(source, names)


def test_every_kind_of_rival_says_what_it_is_made_of(tmp_path: Path) -> None:
    saved = tmp_path / "mine.zip"
    saved.write_bytes(b"x")
    folder = tiny_models.folder(tmp_path / "tiny")
    config = server_config(base_url="http://localhost:1/v1", model="m")
    made = {
        "rule": rivals.rule_rival("macd"),
        "ppo": rivals.ppo_rival("ppo", {"steps": 64}),
        "zip": rivals.zip_rival("mine", saved),
        "model": rivals.model_rival("tiny", str(folder), ModelConfig(base=str(folder)), batch=2),
        "remote": rivals.remote_rival("m", config, "text", ["rsi_14"]),
    }
    assert set(made) == set(CODE)
    for kind, rival in made.items():
        found = {**rival.settings, **rival.made_of()}
        assert found.items() >= made_of(kind).items()
        assert len(found["code"]) == 16
    assert len({rival.made_of()["code"] for rival in made.values()}) == len(made)
    import stable_baselines3
    import torch

    assert made_of("ppo")["libraries"] == {
        "stable-baselines3": stable_baselines3.__version__,
        "torch": torch.__version__,
    }
    assert set(made_of("model")["libraries"]) == {"tokenizers", "torch", "transformers"}


# what follows for its rows


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What agents are made of is worked out anew after each test."""
    yield
    made_of.cache_clear()


def test_a_changed_rule_is_played_again_and_its_old_row_stays(
    recipe: Any, tmp_path: Path, plays: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    played(recipe(), tmp_path / "out")
    before = content(tmp_path / "out")
    plays.clear()
    monkeypatch.setattr(identity, "hash_of", lambda code: "f" * 16)
    made_of.cache_clear()
    (found,) = played(recipe(), tmp_path / "out")
    assert plays == list(NAMES)
    assert content(tmp_path / "out")[:4] == before
    assert [row.settings["code"] for row in found.rows] == ["f" * 16] * 4
    lines = [line.split()[0] for line in printed([found]).splitlines() if line.strip().startswith(("hold", "random"))]
    assert lines.count("hold") == lines.count("random") == 1
    # With the code of before, the rows of before are found again.
    monkeypatch.undo()
    made_of.cache_clear()
    (again,) = played(recipe(), tmp_path / "out")
    assert [row.settings for row in again.rows] == [row["settings"] for row in before]
    assert len(content(tmp_path / "out")) == 8


def test_a_checkpoint_is_the_same_agent_elsewhere_and_another_when_a_byte_changes(
    recipe: Any, tmp_path: Path, plays: list[str]
) -> None:
    first = tiny_models.folder(tmp_path / "tiny", max_position_embeddings=2048)
    model = "{{model: {{source: {}, name: talker, episodes: 2, max_new_tokens: 2, batch_size: 2}}}}"
    played(recipe(f"agents=[{model.format(first)}]"), tmp_path / "out")
    moved = Path(shutil.copytree(first, tmp_path / "elsewhere" / "tiny"))
    shutil.rmtree(first)
    plays.clear()
    played(recipe(f"agents=[{model.format(moved)}]"), tmp_path / "out")
    assert plays == []
    weights = moved / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    os.utime(weights, (10**9, 10**9))
    (found,) = played(recipe(f"agents=[{model.format(moved)}]"), tmp_path / "out")
    assert plays == ["talker"]
    rows = [row for row in content(tmp_path / "out") if row["agent"] == "talker"]
    assert len({row["settings"]["weights"]["sha256"] for row in rows}) == 2
    assert [row.agent for row in found.rows] == ["buy and hold", "talker"]
    (trace, _) = read_traces(tmp_path / "out" / "small-Easy" / "traces-talker.jsonl")
    assert trace.versions.items() >= {key: rows[-1]["edition"][key] for key in versions.KEYS}.items()
    assert len(trace.versions["agent_hash"]) == 16
    rivals.unload()


def test_who_failed_is_not_shown_with_the_row_of_another_of_its_name(recipe: Any, tmp_path: Path) -> None:
    def fail(arena: Any, tell: Any) -> Any:
        raise EnvError("no server answers")

    made = recipe()
    played(made, tmp_path / "out")
    momentum = made.rivals[2]
    changed = dataclasses.replace(momentum, settings={**momentum.settings, "band": 7.0}, make=fail)
    (found,) = played(dataclasses.replace(made, rivals=(*made.rivals[:2], changed)), tmp_path / "out")
    assert [row.agent for row in found.rows] == ["buy and hold", "hold"]
    assert found.missing == {"momentum": "no server answers"}
    text = printed([found])
    assert "momentum: not played. no server answers" in text
    assert not [line for line in text.splitlines() if line.startswith("momentum ")]
    assert [row["agent"] for row in content(tmp_path / "out")] == list(NAMES)


def test_who_failed_now_is_shown_with_its_own_row_of_before_and_told_of(recipe: Any, tmp_path: Path) -> None:
    def fail(arena: Any, tell: Any) -> Any:
        raise EnvError("no server answers")

    made = recipe()
    played(made, tmp_path / "out")
    unreachable = dataclasses.replace(made.rivals[2], make=fail)
    more = dataclasses.replace(recipe("episodes=14"), rivals=(*made.rivals[:2], unreachable))
    (found,) = played(more, tmp_path / "out")
    assert [(row.agent, row.episodes) for row in found.rows] == [("buy and hold", 14), ("hold", 14), ("momentum", 12)]
    assert f"momentum: not played now; its row is of {found.rows[2].date}. no server answers" in printed([found])


def test_whose_weights_are_gone_is_told_of_and_the_others_play(recipe: Any, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    (found,) = played(recipe(f"agents=[hold, {{model: {gone}}}]"), tmp_path / "out")
    assert [row.agent for row in found.rows] == ["buy and hold", "hold"]
    assert f"'{gone}' is no folder here, and no model of the Hub" in (found.missing or {})["gone"]


def test_rows_of_before_are_read_and_kept(recipe: Any, tmp_path: Path, plays: list[str]) -> None:
    """Of agents whose settings did not say their code yet: their rows are no longer theirs, and are not lost."""
    played(recipe(), tmp_path / "out")
    path = tmp_path / "out" / "small-Easy.json"
    file = json.loads(path.read_text(encoding="utf-8"))
    for row in file["rows"]:
        del row["settings"]["code"]
        row["edition"]["rules_hash"] = "c8900b7cc36fe027"
    file["rows"] += [{**row, "edition": {**row["edition"], "rules_hash": "0" * 16}} for row in file["rows"]]
    path.write_text(json.dumps(file), encoding="utf-8")
    plays.clear()
    (found,) = played(recipe(), tmp_path / "out")
    assert plays == list(NAMES)
    assert content(tmp_path / "out")[:8] == json.loads(json.dumps(file["rows"]))
    assert printed([found]).count("another edition") == 2
