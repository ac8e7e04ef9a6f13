"""A version is one set of rules for ever."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from env_markets import hostile
from imports import PACKAGE, imported

from tradeschool.code_hash import WHOLE
from tradeschool.env import sampling, versions
from tradeschool.env.batched import BatchedTradingEnv
from tradeschool.env.config import EnvError, env_config
from tradeschool.env.data import MarketData
from tradeschool.env.harness import play
from tradeschool.env.levels import LEVELS, level_config, level_of
from tradeschool.env.traders import rule
from tradeschool.env.trading import TradingEnv
from tradeschool.evaluate.leaderboard.row import Edition


def test_the_rules_are_those_of_the_locked_version() -> None:
    faults = versions.changed(versions.read_lock(), versions.present())
    assert not faults, "; ".join(faults)


def test_a_changed_rule_or_level_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    locked = versions.present()
    copied(tmp_path, monkeypatch)
    assert versions.changed(locked, versions.present()) == []
    for name, old, new in (
        ("env/broker.py", "", "EXTRA = 1\n"),
        ("metrics.py", "DAYS_A_YEAR = 252", "DAYS_A_YEAR = 365"),
        ("market/indicators.py", "", "EXTRA = 1\n"),
    ):
        before = (tmp_path / name).read_text(encoding="utf-8")
        assert old in before
        (tmp_path / name).write_text(before.replace(old, new) if old else before + new, encoding="utf-8")
        assert [fault.split()[3] for fault in versions.changed(locked, versions.present())] == ["environment"], name
        (tmp_path / name).write_text(before, encoding="utf-8")
    (tmp_path / "metrics.py").write_text("DAYS_A_YEAR = 252\n")
    (tmp_path / "env" / "vec.py").write_text("EXTRA = 1\n")
    assert versions.changed(locked, versions.present()) == []
    (tmp_path / "env" / "new.py").write_text("")
    assert versions.changed(locked, versions.present())
    monkeypatch.undo()
    monkeypatch.setitem(LEVELS, "Easy", {"tickers": 1, "days": 21})
    assert [fault.split()[3] for fault in versions.changed(locked, versions.present())] == ["Easy"]
    monkeypatch.undo()
    monkeypatch.setitem(versions.LEVEL_VERSIONS, "Hard", "9.0.0")
    assert versions.changed(locked, versions.present()) == ["Hard 9.0.0 is not in the lock: add it with --write"]


def test_a_locked_version_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock.json"
    versions.write_lock(path)
    assert versions.changed(versions.read_lock(path), versions.present()) == []
    first = versions.read_lock(path)
    monkeypatch.setitem(LEVELS, "Easy", {"tickers": 1, "days": 21})
    with pytest.raises(EnvError, match="Easy 1.0.0 is locked with other rules"):
        versions.write_lock(path)
    assert versions.read_lock(path) == first
    monkeypatch.setitem(versions.LEVEL_VERSIONS, "Easy", "1.1.0")
    versions.write_lock(path)
    assert versions.read_lock(path)["Easy"].keys() == {"1.0.0", "1.1.0"}
    assert versions.read_lock(path)["Easy"]["1.0.0"] == first["Easy"]["1.0.0"]


def test_the_command_reports_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(versions, "LOCK", tmp_path / "lock.json")
    assert versions.main([]) == 1
    assert "is not in the lock" in capsys.readouterr().out
    assert versions.main(["--write"]) == versions.main([]) == 0
    assert capsys.readouterr().out == ""
    monkeypatch.setitem(LEVELS, "Easy", {"tickers": 1, "days": 21})
    for arguments in ([], ["--write"]):
        assert versions.main(arguments) == 1
        assert re.search("Easy.* 1.0.0", capsys.readouterr().out)


def copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rules be those of a copy."""
    for name in versions.rules():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((PACKAGE / name).read_bytes())
    monkeypatch.setattr(versions, "PACKAGE", folder)


# which code is a rule


def not_hashed(rules: Mapping[str, Any], exceptions: Mapping[str, str]) -> list[str]:
    """What modules of rules import that is neither hashed nor excepted."""
    found = []
    for rule_name in rules:
        for path, names in imported((PACKAGE / rule_name).read_text(encoding="utf-8")).items():
            hashed = path in rules and (rules[path] == WHOLE or names <= set(rules[path]))
            if not hashed and path not in exceptions:
                found.append(f"{rule_name}: {path} {', '.join(sorted(names))}")
    return found


def test_all_that_rules_import_is_hashed_or_excepted() -> None:
    exceptions = {f"env/{name}": why for name, why in versions.NO_RULES.items()} | versions.NO_RULES_ELSEWHERE
    assert not_hashed(versions.rules(), exceptions) == []
    assert all((PACKAGE / name).is_file() and why for name, why in exceptions.items())
    assert not set(exceptions) & set(versions.rules())


def test_no_exception_stands_that_nothing_imports() -> None:
    reached = {path for name in versions.rules() for path in imported((PACKAGE / name).read_text(encoding="utf-8"))}
    assert reached >= versions.NO_RULES_ELSEWHERE.keys()


def test_what_is_not_hashed_is_found() -> None:
    """The test of the test: each of these decides something, and is missed where it is left out."""
    rules = dict(versions.rules())
    exceptions = {f"env/{name}": why for name, why in versions.NO_RULES.items()} | versions.NO_RULES_ELSEWHERE
    for name in ("market/indicators.py", "market/panel.py", "metrics.py", "text/orders.py", "env/kernel.py"):
        rest = {other: names for other, names in rules.items() if other != name}
        assert any(f" {name} " in fault for fault in not_hashed(rest, exceptions)), name
    assert not_hashed({**rules, "metrics.py": ("sharpe",)}, exceptions) == ["env/broker.py: metrics.py DAYS_A_YEAR"]


# what episodes tell of it


def test_every_episode_says_all_that_it_must_share_to_be_compared() -> None:
    data = MarketData(hostile())
    env = TradingEnv(data, observation="numeric", **LEVELS["Easy"])
    expected = {
        "env_version": versions.ENV_VERSION,
        "rules_hash": versions.present()["environment"][versions.ENV_VERSION],
        "level": "Easy",
        "level_version": versions.LEVEL_VERSIONS["Easy"],
        "settings_hash": versions.present()["Easy"][versions.LEVEL_VERSIONS["Easy"]],
        "data_hash": data.data_hash,
    }
    assert tuple(expected) == versions.KEYS
    batch = BatchedTradingEnv(data, 2, **LEVELS["Easy"])
    for info in (
        env.reset(seed=0)[1],
        env.step([0.0])[4],
        batch.reset(seed=0)[1],
        batch.step(np.zeros((2, 1), np.float32))[4],
    ):
        assert expected.items() <= info.items()
    assert play(rule("hold"), env, 1)[0].versions == expected
    edition = Edition.of(env, 0)
    assert {key: getattr(edition, key) for key in versions.KEYS} == expected


def test_a_stamp_tells_settings_apart_and_not_forms() -> None:
    easy = versions.stamp(level_config("Easy"), "d")
    assert versions.stamp(level_config("Easy", observation="numeric", mask=False), "d") == easy
    dearer = versions.stamp(level_config("Easy", commission=0.001), "d")
    shorter = versions.stamp(level_config("Easy", days=10), "d")
    assert dearer["level_version"] == versions.ENV_VERSION, "settings of no level have no version of their own"
    told = [key for key in versions.KEYS if dearer[key] != easy[key] and key != "level_version"]
    assert told == ["level", "settings_hash"]
    assert [key for key in versions.KEYS if dearer[key] != shorter[key]] == ["settings_hash"]
    assert [key for key in versions.KEYS if versions.stamp(level_config("Easy"), "e")[key] != easy[key]] == [
        "data_hash"
    ]


@pytest.mark.parametrize("key", ["rules_hash", "settings_hash", "level_version", "env_version", "data_hash"])
def test_episodes_of_other_rules_settings_or_data_are_no_pairs(key: str) -> None:
    from dataclasses import replace

    env = TradingEnv(MarketData(hostile()), observation="numeric", **LEVELS["Easy"])
    first, second = play(rule("hold"), env, 3), play(rule("random"), env, 3)
    assert len(sampling.paired(first, second)) == 3
    other = [replace(record, versions={**record.versions, key: "x"}) for record in second]
    with pytest.raises(EnvError, match="did not play the same episodes"):
        sampling.paired(first, other)


def test_a_level_is_known_by_its_rules_whatever_its_form() -> None:
    for name in LEVELS:
        assert level_of(level_config(name)) == name
        assert level_of(level_config(name, observation="numeric", mask=False)) == name
        assert level_of(level_config(name, commission=0.0)) == "custom"
        assert versions.level_version(name) == versions.LEVEL_VERSIONS[name]
    assert level_of(env_config(tickers=3)) == "custom"
    assert versions.level_version("custom") == versions.ENV_VERSION
