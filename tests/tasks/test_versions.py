"""A version of the trade task is one set of prompts, parsing and rewards for ever."""

from pathlib import Path

import pytest
from imports import PACKAGE, imported

from tradeschool.code_hash import WHOLE
from tradeschool.env.config import EnvError
from tradeschool.env.versions import changed, read_lock, write_lock
from tradeschool.env.versions import rules as env_rules
from tradeschool.tasks import versions
from tradeschool.tasks.trade import TradeTask


def test_prompts_parsing_and_rewards_are_those_of_the_locked_version() -> None:
    faults = changed(read_lock(versions.LOCK), versions.present())
    assert not faults, "; ".join(faults)
    assert TradeTask.version == versions.TRADE_VERSION


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tasks/trade.py", 'for side in ("BUY", "SELL")', 'for side in ("SELL", "BUY")'),
        ("tasks/trade_config.py", '"legal": 0.02', '"legal": 0.03'),
        ("tasks/trade_rewards.py", "-0.5 * change_DB**2", "-change_DB**2"),
        ("env/conversation.py", "Orders fill at the next open", "Orders fill at the close"),
        ("text/orders.py", "HOLD", "WAIT"),
    ],
)
def test_a_changed_line_is_another_version(
    name: str, old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = versions.present()
    copied(tmp_path, monkeypatch)
    assert changed(locked, versions.present()) == []
    before = (tmp_path / name).read_text(encoding="utf-8")
    assert old in before
    (tmp_path / name).write_text("# a remark\n" + before, encoding="utf-8")
    assert changed(locked, versions.present()) == []
    (tmp_path / name).write_text(before.replace(old, new), encoding="utf-8")
    (fault,) = changed(locked, versions.present())
    assert fault.startswith("the rules of trade task are not those of version 1.")


def test_a_locked_version_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock.json"
    write_lock(path, now=versions.present())
    first = read_lock(path)
    assert first == versions.present()
    copied(tmp_path, monkeypatch)
    (tmp_path / "tasks" / "trade_rewards.py").write_text("HARDER = True\n")
    with pytest.raises(EnvError, match=r"trade task 1\.\d+\.\d+ is locked with other rules"):
        write_lock(path, now=versions.present())
    assert read_lock(path) == first
    monkeypatch.setattr(versions, "TRADE_VERSION", "9.0.0")
    write_lock(path, now=versions.present())
    assert read_lock(path)["trade task"].items() > first["trade task"].items()


def test_the_command_reports_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(versions, "LOCK", tmp_path / "lock.json")
    assert versions.main([]) == 1
    assert "trade task" in (said := capsys.readouterr().out)
    assert "is not in the lock" in said
    assert versions.main(["--write"]) == 0
    assert capsys.readouterr().out == ""
    assert read_lock(tmp_path / "lock.json") == versions.present()


def test_all_that_the_task_imports_is_hashed_a_rule_of_the_environment_or_excepted() -> None:
    known = {*versions.CODE, *env_rules(), *versions.DECIDES_NOTHING}
    reached = {path for name in versions.CODE for path in imported((PACKAGE / name).read_text(encoding="utf-8"))}
    own = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "tasks").glob("trade*.py")}
    assert own <= versions.CODE.keys()
    assert reached <= known
    assert not versions.DECIDES_NOTHING.keys() & versions.CODE.keys()
    assert all((PACKAGE / name).is_file() and why for name, why in versions.DECIDES_NOTHING.items())
    assert reached >= versions.DECIDES_NOTHING.keys()
    assert {versions.CODE[name] for name in own} == {WHOLE}


def copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the code be that of a copy."""
    for name in versions.CODE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((PACKAGE / name).read_bytes())
    monkeypatch.setattr(versions, "PACKAGE", folder)
