"""A version is one set of rules for ever."""

from pathlib import Path

import pytest

from tradeschool.env import versions
from tradeschool.env.config import EnvError, env_config
from tradeschool.env.levels import LEVELS, level_config, level_of


def test_the_rules_are_those_of_the_locked_version() -> None:
    faults = versions.changed(versions.read_lock(), versions.present())
    assert not faults, "; ".join(faults)


def test_what_a_module_does_is_hashed_and_not_how_it_is_written() -> None:
    plain = versions.code_hash("def f(x):\n    return x + 1\n")
    assert versions.code_hash('"""Doc."""\n# why\ndef f(x):\n    """Says."""\n    return (x + 1)\n') == plain
    assert versions.code_hash("def f(x):\n    return x + 2\n") != plain
    assert versions.code_hash("def f(x, y=1):\n    return x + 1\n") != plain


def test_a_changed_rule_or_level_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    locked = versions.read_lock()
    rule = tmp_path / "broker.py"
    rule.write_text(versions.rules()[0].read_text() + "\nEXTRA = 1\n")
    monkeypatch.setattr(versions, "PACKAGE", tmp_path)
    monkeypatch.setattr(versions, "rules", lambda: [rule])
    assert any("environment" in fault for fault in versions.changed(locked, versions.present()))
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
    path = tmp_path / "lock.json"
    monkeypatch.setattr(versions.write_lock, "__defaults__", (path, False))
    monkeypatch.setattr(versions.read_lock, "__defaults__", (path,))
    versions.main([])
    assert "is not in the lock" in capsys.readouterr().out
    versions.main(["--write"])
    assert capsys.readouterr().out == ""


def test_every_module_of_rules_is_hashed() -> None:
    names = {path.name for path in versions.rules()}
    assert {"broker.py", "kernel.py", "trading.py", "batched.py", "facts.py", "levels.py", "orders.py"} <= names
    assert all(path.exists() for path in versions.rules())


def test_a_level_is_known_by_its_rules_whatever_its_form() -> None:
    for name in LEVELS:
        assert level_of(level_config(name)) == name
        assert level_of(level_config(name, observation="numeric", mask=False)) == name
        assert level_of(level_config(name, commission=0.0)) == "custom"
        assert versions.level_version(name) == versions.LEVEL_VERSIONS[name]
    assert level_of(env_config(tickers=3)) == "custom"
    assert versions.level_version("custom") == versions.ENV_VERSION
