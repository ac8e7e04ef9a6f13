"""Playing a leaderboard: what is played, what is kept, what is never mixed, and what is printed."""

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from boards import NAMES, content, played, printed
from rich.console import Console
from typer.testing import CliRunner

from tradeschool.cli import app
from tradeschool.env import versions
from tradeschool.env.config import EnvError
from tradeschool.env.traders import rule
from tradeschool.errors import RunError
from tradeschool.evaluate.leaderboard import board, playing
from tradeschool.evaluate.leaderboard.book import Book
from tradeschool.evaluate.leaderboard.reporting import write_index
from tradeschool.evaluate.leaderboard.rivals import Renamed, Rival
from tradeschool.evaluate.leaderboard.standing import standings
from tradeschool.evaluate.leaderboard.table import print_standings

# playing


def test_every_rival_plays_the_same_test_rows_once(recipe: Any, tmp_path: Path, plays: list[str]) -> None:
    (found,) = played(recipe(), tmp_path / "out")
    assert plays == list(NAMES)
    rows = content(tmp_path / "out")
    assert [row["agent"] for row in rows] == list(NAMES)
    assert len({json.dumps(row["edition"]) for row in rows}) == len({json.dumps(row["starts"]) for row in rows}) == 1
    assert found.edition
    first, last = (int(day[:4]) for day in (found.edition.first, found.edition.last))
    assert (first, last) == (2011, 2011)  # the later part of the days from 2010 on
    played(recipe(), tmp_path / "out")
    assert plays == list(NAMES)
    assert content(tmp_path / "out") == rows


@pytest.mark.parametrize(
    ("sets", "who"),
    [
        (("agents=[hold, {momentum: {band: 2}}, random]",), ["momentum"]),
        (("agents=[hold, momentum, random, rsi]",), ["rsi"]),
        (("episodes=13",), list(NAMES)),
        (("episodes=5",), []),
        (("seed=1",), list(NAMES)),
        (("markets.small.seed=1",), list(NAMES)),
        (("split.warmup=90",), list(NAMES)),
    ],
)
def test_only_what_differs_is_played_again(
    recipe: Any, tmp_path: Path, plays: list[str], sets: tuple[str, ...], who: list[str]
) -> None:
    played(recipe(), tmp_path / "out")
    plays.clear()
    played(recipe(*sets), tmp_path / "out")
    assert plays == who


def test_again_plays_all_and_replaces_their_rows(recipe: Any, tmp_path: Path, plays: list[str]) -> None:
    played(recipe(), tmp_path / "out")
    before = content(tmp_path / "out")
    played(recipe(), tmp_path / "out", again=True)
    assert plays == [*NAMES, *NAMES]
    after = content(tmp_path / "out")
    assert [row["grades"] for row in after] == [row["grades"] for row in before]


def test_an_interrupted_leaderboard_goes_on(
    recipe: Any, tmp_path: Path, plays: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = playing.row_of

    def cut(records: Any, *args: Any) -> Any:
        if records[0].agent == "momentum":
            raise KeyboardInterrupt
        return real(records, *args)

    monkeypatch.setattr(playing, "row_of", cut)
    with pytest.raises(KeyboardInterrupt):
        played(recipe(), tmp_path / "out")
    assert [row["agent"] for row in content(tmp_path / "out")] == ["buy and hold", "hold"]
    monkeypatch.setattr(playing, "row_of", real)
    plays.clear()
    played(recipe(), tmp_path / "out")
    assert plays == ["momentum", "random"]


def test_a_level_that_the_market_is_too_small_for_is_named_with_the_reason(recipe: Any, tmp_path: Path) -> None:
    found = played(recipe("levels=[Easy, Medium]"), tmp_path / "out")
    assert found[1].book is None
    assert "small, Medium: not played. " in printed(found)
    assert "10 stocks" in found[1].reason
    assert not (tmp_path / "out" / "small-Medium.json").exists()


def test_an_agent_that_cannot_play_is_named_and_the_others_play(recipe: Any, tmp_path: Path) -> None:
    def make(arena: Any, tell: Any) -> Any:
        raise EnvError("made for 10 stocks")

    made = recipe()
    broken = dataclasses.replace(made, rivals=(*made.rivals[:2], Rival("big", {"agent": "zip"}, make), made.rivals[2]))
    (found,) = played(broken, tmp_path / "out")
    assert found.missing == {"big": "made for 10 stocks"}
    assert [row["agent"] for row in content(tmp_path / "out")] == ["buy and hold", "hold", "momentum"]
    assert "big: not played. made for 10 stocks" in printed([found])


@pytest.mark.parametrize("where", ["made", "told apart"])
def test_an_agent_that_fails_in_whatever_way_is_named_and_the_others_play(
    recipe: Any, tmp_path: Path, where: str
) -> None:
    def fail(*args: Any) -> Any:
        raise ZeroDivisionError("division by zero")

    kinds: dict[str, dict[str, Any]] = {
        "made": {"make": fail},
        "told apart": {"make": lambda arena, tell: None, "made_of": fail},
    }
    made = recipe()
    wrong = Rival("wrong", {"agent": "zip"}, **kinds[where])
    (found,) = played(dataclasses.replace(made, rivals=(*made.rivals[:2], wrong, *made.rivals[2:])), tmp_path / "out")
    assert found.missing == {"wrong": "ZeroDivisionError: division by zero"}
    assert [row["agent"] for row in content(tmp_path / "out")] == list(NAMES)
    assert "wrong: not played. ZeroDivisionError: division by zero" in printed([found])


def test_a_ppo_whose_values_are_wrong_is_named_and_the_others_play(recipe: Any, tmp_path: Path) -> None:
    sets = "agents=[hold, {ppo: {steps: 20, envs: 2, sb3: {n_epochs: 0}}}, random]"
    (found,) = played(recipe(sets), tmp_path / "out")
    assert found.missing
    assert found.missing["ppo"].startswith("sb3: PPO cannot learn with n_epochs: 0 (")
    assert [row["agent"] for row in content(tmp_path / "out")] == ["buy and hold", "hold", "random"]


def test_an_interrupt_is_no_reason_of_an_agent(recipe: Any, tmp_path: Path) -> None:
    def make(arena: Any, tell: Any) -> Any:
        raise KeyboardInterrupt

    made = recipe()
    with pytest.raises(KeyboardInterrupt):
        played(dataclasses.replace(made, rivals=(Rival("x", {"agent": "zip"}, make),)), tmp_path / "out")


def test_a_full_disk_ends_the_board_and_is_no_reason_of_an_agent(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Book, "put", full)
    with pytest.raises(RunError, match="the disk is full"):
        played(recipe(), tmp_path / "out")


def test_two_at_once_in_one_folder_are_refused(recipe: Any, tmp_path: Path) -> None:
    from tradeschool.run_folder import locked

    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(RunError, match="in use by process"):
        played(recipe(), tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "model", "remote"])
def test_a_board_says_of_whom_nothing_is_known_of_its_training(recipe: Any, tmp_path: Path, kind: str) -> None:
    note = "Nothing is known of the rows that saved was trained on"
    without = played(recipe(), tmp_path / "out")
    assert note not in printed(without)
    saved = Rival("saved", {"agent": kind}, lambda arena, tell: Renamed(rule("hold"), "saved"))
    made = recipe()
    found = played(dataclasses.replace(made, rivals=(*made.rivals, saved)), tmp_path / "out")
    assert note in printed(found, width=1_000)
    assert note in write_index(tmp_path / "out", "mine", found).read_text(encoding="utf-8")
    assert note not in write_index(tmp_path / "out", "mine", without).read_text(encoding="utf-8")


# versions


def test_rows_of_an_older_version_stay_and_stand_apart(
    recipe: Any, tmp_path: Path, plays: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old_version = versions.ENV_VERSION
    monkeypatch.setattr(versions, "ENV_VERSION", "0.9.0")
    played(recipe(), tmp_path / "out")
    old = content(tmp_path / "out")
    monkeypatch.setattr(versions, "ENV_VERSION", old_version)
    plays.clear()
    found = played(recipe("agents=[hold, momentum]"), tmp_path / "out")
    assert plays == ["buy and hold", "hold", "momentum"]
    rows = content(tmp_path / "out")
    assert rows[:4] == old
    assert [row["edition"]["env_version"] for row in rows] == ["0.9.0"] * 4 + [old_version] * 3
    present, _, older = printed(found).partition("another edition")
    assert f"environment {old_version}" in present
    assert "environment 0.9.0" not in present
    assert "random" not in present
    assert "environment 0.9.0" in older
    assert "differs in: environment" in older
    assert "random" in older
    # No overview is made of one board; with two, it holds the present version alone.
    assert "Mean grades" not in printed(found)


def test_rows_of_changed_rules_or_a_changed_level_stand_apart(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(recipe(), tmp_path / "out")
    real = versions.rules_hash
    monkeypatch.setattr(versions, "rules_hash", lambda: "f" * 16)
    found = played(recipe(), tmp_path / "out")
    assert len({row["edition"]["rules_hash"] for row in content(tmp_path / "out")}) == 2
    assert "differs in: environment" in printed(found)
    monkeypatch.setattr(versions, "rules_hash", real)
    monkeypatch.setitem(versions.LEVEL_VERSIONS, "Easy", "2.0.0")
    found = played(recipe(), tmp_path / "out")
    assert len(content(tmp_path / "out")) == 12
    assert "differs in: level" in printed(found)


def test_other_data_and_seeds_stand_apart(recipe: Any, tmp_path: Path) -> None:
    played(recipe(), tmp_path / "out")
    found = played(recipe("markets.small.seed=3", "seed=2"), tmp_path / "out")
    assert "differs in: data, seed" in printed(found)


# what is printed


def test_the_table_says_what_was_asked_of_it(recipe: Any, tmp_path: Path) -> None:
    found = played(recipe(), tmp_path / "out")
    text = printed(found)
    assert "small, Easy: 1 stock, 20 days" in text
    for word in ("grade", "risk", "pnl", "drawdown", "activity", "return", "less buy and hold", "refused", "episodes"):
        assert word in text
    lines = {name: line for line in text.splitlines() for name in NAMES if line.strip().startswith(name)}
    assert "reference" in lines["buy and hold"]
    assert "0.575 [0.575, 0.575]" in lines["buy and hold"]
    rows = {row["agent"]: row for row in content(tmp_path / "out")}
    mean = sum(rows["random"]["grades"]) / 12
    assert f"{mean:.3f} [" in lines["random"]
    assert f"{sum(rows['random']['refused']) / 12:.1f}" in lines["random"]
    assert "95% interval, each on its own" in text
    assert "verdict: 5% for all rows together (Holm)" in text
    assert "unread" not in text  # no language model played
    assert "Episodes that a difference to buy and hold would need" in text
    assert "0.02: " in text
    assert "0.05: " in text
    assert "Below 10 blocks the intervals are rough" in text
    apart = [dataclasses.replace(row, starts=[1_000 * n for n in range(12)]) for row in found[0].rows]
    with (console := Console(width=200)).capture() as capture:
        print_standings(console, "far apart", standings(apart))
    assert "in 12 blocks" in capture.get()
    assert "rough" not in capture.get()


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_narrow_console_leaves_columns_out_and_cuts_none(recipe: Any, tmp_path: Path, width: int) -> None:
    text = printed(played(recipe(), tmp_path / "out"), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "…" not in text
    assert "grade" in text
    assert ("activity" in text) == (width == 160)


def test_the_overview_sets_all_boards_side_by_side(recipe: Any, tmp_path: Path) -> None:
    sets = ("markets.other={tickers: 3, days: 400}", "levels=[Easy, Hard]")
    text = printed(played(recipe(*sets), tmp_path / "out")).partition("Mean grades")[2]
    assert "small" in text
    assert "other" in text
    assert "Hard" not in text
    assert [line.split()[-1] for line in text.splitlines() if line.strip().startswith("buy and hold")] == ["0.575"]


# the command


def test_the_command_plays_prints_and_says_where_the_rows_are(recipe: Any, tmp_path: Path) -> None:
    out = tmp_path / "rows"
    result = CliRunner().invoke(app, ["leaderboard", str(tmp_path / "mine.yaml"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "momentum" in result.output
    assert f"Rows: {out}" in result.output
    assert (out / "small-Easy.json").exists()


def test_the_command_ends_with_1_where_an_agent_could_not_play_after_all_others_have(
    recipe: Any, tmp_path: Path
) -> None:
    out = tmp_path / "rows"
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    command = ["leaderboard", str(tmp_path / "mine.yaml"), "--out", str(out)]
    agents = ["--set", f"agents=[hold, {{zip: {tmp_path / 'bad.zip'}, name: broken}}, random]"]
    result = CliRunner().invoke(app, [*command, *agents])
    assert result.exit_code == 1, result.output
    assert [row["agent"] for row in content(out)] == ["buy and hold", "hold", "random"]
    assert "broken: not played. " in result.output
    assert f"Page: {out / 'index.html'}" in result.output
    assert "Could not play: broken. " in result.output
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert "Could not play" not in again.output


def test_the_command_says_what_is_wrong_and_how_to_go_on(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["leaderboard", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "rows")]
    wrong = CliRunner().invoke(app, [*arguments, "--set", "levles=[Easy]"])
    assert wrong.exit_code == 2
    assert "Did you mean 'levels'?" in wrong.output

    def cut(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(board, "play_all", cut)
    stopped = CliRunner().invoke(app, arguments)
    assert stopped.exit_code == 130
    assert "Give the same command again" in stopped.output


def test_a_folder_that_cannot_be_written_is_said_plainly(recipe: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file"):
        played(recipe(), tmp_path / "file" / "out")
