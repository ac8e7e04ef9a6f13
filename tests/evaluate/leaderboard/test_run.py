"""Playing a leaderboard: what is played, what is stored, what is kept apart, and what is printed."""

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from boards import NAMES, played, printed, stored
from typer.testing import CliRunner

from tradeschool.cli.main import app
from tradeschool.env import config
from tradeschool.env.config import EnvError
from tradeschool.env.strategies import make_strategy
from tradeschool.errors import RunError
from tradeschool.evaluate.leaderboard import results, run
from tradeschool.evaluate.leaderboard.agents import AgentSpec
from tradeschool.evaluate.leaderboard.report import write_index
from tradeschool.evaluate.leaderboard.results import ResultsStore

# playing


def test_every_agent_plays_the_same_test_dates_once(recipe: Any, tmp_path: Path, plays: list[str]) -> None:
    (found,) = played(recipe(), tmp_path / "out")
    assert plays == list(NAMES)
    results = stored(tmp_path / "out")
    assert [one["agent"] for one in results] == list(NAMES)
    for key in ("benchmark", "starts"):
        assert len({json.dumps(one[key]) for one in results}) == 1
    assert found.benchmark
    assert found.benchmark.first[:4] == found.benchmark.last[:4] == "2011"  # the market begins in 2010
    played(recipe(), tmp_path / "out")
    assert plays == list(NAMES)
    assert stored(tmp_path / "out") == results


@pytest.mark.parametrize(
    ("sets", "names"),
    [
        (("agents=[hold, {momentum 5d: {band: 2}}, random]",), ["momentum 5d"]),
        (("agents=[hold, momentum 5d, random, rsi]",), ["rsi"]),
        (("episodes=13",), list(NAMES)),
        (("episodes=5",), []),
        (("seed=1",), list(NAMES)),
        (("markets.small.seed=1",), list(NAMES)),
        (("split.warmup=90",), list(NAMES)),
    ],
)
def test_only_what_differs_is_played_again(
    recipe: Any, tmp_path: Path, plays: list[str], sets: tuple[str, ...], names: list[str]
) -> None:
    played(recipe(), tmp_path / "out")
    plays.clear()
    played(recipe(*sets), tmp_path / "out")
    assert plays == names


def test_again_plays_all_and_replaces_their_results(recipe: Any, tmp_path: Path, plays: list[str]) -> None:
    played(recipe(), tmp_path / "out")
    before = stored(tmp_path / "out")
    played(recipe(), tmp_path / "out", again=True)
    assert plays == [*NAMES, *NAMES]
    assert [one["grades"] for one in stored(tmp_path / "out")] == [one["grades"] for one in before]


def test_an_interrupted_leaderboard_continues(
    recipe: Any, tmp_path: Path, plays: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = results.result_of

    def cut(records: Any, *args: Any) -> Any:
        if records[0].agent == "momentum 5d":
            raise KeyboardInterrupt
        return real(records, *args)

    with monkeypatch.context() as patch:
        patch.setattr(run, "result_of", cut)
        with pytest.raises(KeyboardInterrupt):
            played(recipe(), tmp_path / "out")
    assert [one["agent"] for one in stored(tmp_path / "out")] == ["buy and hold", "hold"]
    plays.clear()
    played(recipe(), tmp_path / "out")
    assert plays == ["momentum 5d", "random"]


def test_a_level_that_does_not_fit_the_market_is_named_with_the_reason(recipe: Any, tmp_path: Path) -> None:
    found = played(recipe("levels=[Easy, Medium]"), tmp_path / "out")
    assert found[1].store is None
    assert "small, Medium: not played. " in printed(found)
    assert "10 stocks" in found[1].reason
    assert not (tmp_path / "out" / "small-Medium.json").exists()


def fail(*args: Any) -> Any:
    raise ZeroDivisionError("division by zero")


def refuse(*args: Any) -> Any:
    raise EnvError("made for 10 stocks")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"build": refuse}, "made for 10 stocks"),
        ({"build": fail}, "ZeroDivisionError: division by zero"),
        (
            {"build": lambda envs, on_progress: None, "weights": fail},
            "ZeroDivisionError: division by zero",
        ),
    ],
    ids=["refused", "built", "identified"],
)
def test_an_agent_that_fails_is_named_and_the_others_play(
    recipe: Any, tmp_path: Path, broken: dict[str, Any], reason: str
) -> None:
    made = recipe()
    spec = AgentSpec("wrong", {"agent": "zip"}, **broken)
    (found,) = played(dataclasses.replace(made, agents=(*made.agents[:2], spec, *made.agents[2:])), tmp_path / "out")
    assert found.missing == {"wrong": reason}
    assert [one["agent"] for one in stored(tmp_path / "out")] == list(NAMES)
    assert f"wrong: not played. {reason}" in printed([found])


def test_a_ppo_with_wrong_values_is_named_and_the_others_play(recipe: Any, tmp_path: Path) -> None:
    sets = "agents=[hold, {ppo: {steps: 20, envs: 2, sb3: {n_epochs: 0}}}, random]"
    (found,) = played(recipe(sets), tmp_path / "out")
    assert "n_epochs: 0" in found.missing["ppo"]
    assert [one["agent"] for one in stored(tmp_path / "out")] == ["buy and hold", "hold", "random"]


def test_an_interrupt_ends_the_leaderboard(recipe: Any, tmp_path: Path) -> None:
    def build(envs: Any, on_progress: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        played(dataclasses.replace(recipe(), agents=(AgentSpec("x", {"agent": "zip"}, build),)), tmp_path / "out")


def test_a_full_disk_ends_the_leaderboard(recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ResultsStore, "put", full)
    with pytest.raises(RunError, match="disk"):
        played(recipe(), tmp_path / "out")


def test_two_processes_in_one_folder_are_refused(recipe: Any, tmp_path: Path) -> None:
    from tradeschool.run_folder import locked

    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(RunError, match="process"):
        played(recipe(), tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(recipe: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file"):
        played(recipe(), tmp_path / "file" / "out")


@pytest.mark.parametrize("kind", ["zip", "model", "remote"])
def test_unknown_training_dates_are_named(recipe: Any, tmp_path: Path, kind: str) -> None:
    note = "saved: training dates unknown"
    without = played(recipe(), tmp_path / "out")
    assert note not in printed(without)
    saved = AgentSpec("saved", {"agent": kind}, lambda envs, on_progress: make_strategy("hold", name="saved"))
    made = recipe()
    found = played(dataclasses.replace(made, agents=(*made.agents, saved)), tmp_path / "out")
    assert note in printed(found, width=1_000)
    assert note in write_index(tmp_path / "out", "mine", found).read_text(encoding="utf-8")
    assert note not in write_index(tmp_path / "out", "mine", without).read_text(encoding="utf-8")


# versions


def test_results_of_an_older_version_stay_and_are_shown_apart(
    recipe: Any, tmp_path: Path, plays: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    present = config.ENV_VERSION
    with monkeypatch.context() as patch:
        patch.setattr(config, "ENV_VERSION", "0.9.0")
        played(recipe(), tmp_path / "out")
    old = stored(tmp_path / "out")
    plays.clear()
    found = played(recipe("agents=[hold, momentum 5d]"), tmp_path / "out")
    assert plays == ["buy and hold", "hold", "momentum 5d"]
    results = stored(tmp_path / "out")
    assert results[:4] == old
    assert [one["benchmark"]["env_version"] for one in results] == ["0.9.0"] * 4 + [present] * 3
    assert "random" not in printed(found)
    assert "another benchmark (differs in: environment)" in printed(found)
    now, _, older = (
        write_index(tmp_path / "out", "mine", found).read_text(encoding="utf-8").partition("another benchmark")
    )
    assert f"version {present}" in now
    assert "random" not in now
    assert "random" in older
    assert "Mean grades" not in printed(found)  # one benchmark needs no overview


def test_results_of_another_level_version_data_or_seed_are_shown_apart(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(recipe(), tmp_path / "out")
    assert "differs in: data, seed" in printed(played(recipe("markets.small.seed=3", "seed=2"), tmp_path / "out"))
    monkeypatch.setitem(config.LEVEL_VERSIONS, "Easy", "2.0.0")
    assert "differs in: level" in printed(played(recipe(), tmp_path / "out"))


# what is printed


def test_the_table_holds_the_figures_of_the_results(recipe: Any, tmp_path: Path) -> None:
    found = played(recipe("markets.small.days=1400"), tmp_path / "out")
    text = printed(found)
    assert "small, Easy: 1 stock and 20 days" in text
    for word in ("grade", "risk", "P&L", "drawdown", "activity", "return", "difference", "refused", "episodes"):
        assert word in text
    lines = {name: line for line in text.splitlines() for name in NAMES if line.strip().startswith(name)}
    assert "reference" in lines["buy and hold"]
    assert "0.575 [0.575, 0.575]" in lines["buy and hold"]
    results = {one["agent"]: one for one in stored(tmp_path / "out")}
    assert f"{sum(results['random']['grades']) / 12:.3f} [" in lines["random"]
    assert f"{sum(results['random']['refused']) / 12:.1f}" in lines["random"]
    assert "for all rows together" in text
    assert "unreadable" not in text  # no language model played
    page = write_index(tmp_path / "out", "mine", found).read_text(encoding="utf-8")
    for word in ("0.02: ", "0.05: ", "rough", "blocks of 40 days"):
        assert word in page


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_narrow_console_leaves_columns_out_and_cuts_none(recipe: Any, tmp_path: Path, width: int) -> None:
    text = printed(played(recipe(), tmp_path / "out"), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "…" not in text
    assert "grade" in text
    assert ("activity" in text) == (width == 160)


def test_the_overview_shows_all_levels_side_by_side(recipe: Any, tmp_path: Path) -> None:
    sets = ("markets.other={tickers: 3, days: 400}", "levels=[Easy, Hard]")
    text = printed(played(recipe(*sets), tmp_path / "out")).partition("Mean grades")[2]
    assert "small" in text
    assert "other" in text
    assert "Hard" not in text
    assert "0.575" in next(line for line in text.splitlines() if line.strip().startswith("buy and hold"))


# the command


def test_the_command_plays_prints_and_names_the_files(recipe: Any, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = CliRunner().invoke(app, ["leaderboard", str(tmp_path / "mine.yaml"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "momentum 5d" in result.output
    assert str(out / "index.html") in result.output
    assert (out / "small-Easy.json").exists()
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "small, Easy</h2>" not in page  # one level needs no heading of its own
    assert "No agent is shown to be better than buy and hold." in page


def test_the_command_exits_with_1_if_an_agent_failed(recipe: Any, tmp_path: Path) -> None:
    out = tmp_path / "results"
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    command = ["leaderboard", str(tmp_path / "mine.yaml"), "--out", str(out)]
    agents = ["--set", f"agents=[hold, {{zip: {tmp_path / 'bad.zip'}, name: broken}}, random]"]
    result = CliRunner().invoke(app, [*command, *agents])
    assert result.exit_code == 1, result.output
    assert [one["agent"] for one in stored(out)] == ["buy and hold", "hold", "random"]
    assert "broken: not played. " in result.output
    assert "Could not play: broken. " in result.output
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert "Could not play" not in again.output


def test_the_command_names_the_problem_and_how_to_continue(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["leaderboard", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "results")]
    wrong = CliRunner().invoke(app, [*arguments, "--set", "levles=[Easy]"])
    assert wrong.exit_code == 2
    assert "Did you mean 'levels'?" in wrong.output

    def cut(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_leaderboard", cut)
    stopped = CliRunner().invoke(app, arguments)
    assert stopped.exit_code == 130
    assert "same command again" in stopped.output
