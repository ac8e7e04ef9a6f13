"""The command serve: a server as a user starts it, and the errors where it cannot start."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tradeschool.cli.main import app
from tradeschool.config.recipe import from_mapping, make_task
from tradeschool.config.sections import split_panel
from tradeschool.env.config import LEVEL_VERSIONS
from tradeschool.evaluate.leaderboard.recipe import read

ROOT = Path(__file__).parents[2]
START = [sys.executable, "-c", "from tradeschool.cli import main; main()", "serve", "--port", "0"]


def test_a_server_is_started_played_and_stopped() -> None:
    pytest.importorskip("openenv", reason="openenv is not installed: pip install 'tradeschool[openenv]'")
    from tradeschool.apps.env_client import connect

    with subprocess.Popen(
        [*START, "--level", "medium", "--observation", "numeric", "--sessions", "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "400"},
    ) as process:
        try:
            assert process.stdout
            output = process.stdout.readline()
            assert f"Serving Medium {LEVEL_VERSIONS['Medium']}" in output
            assert "at most 3 sessions" in output
            assert "all rows (2010-01-04 to " in output
            address = re.search(r"http://[\d.:]+", output)
            assert address, output
            with connect(address[0].rstrip(":"), connect_timeout_s=60) as session:
                assert len(session.reset(seed=1).observation.numbers or []) == 10 * 11 + 4
                assert session.step([0.1] * 10).observation.day == 1
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
            assert not errors
        finally:
            process.kill()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be served, by servers that stop at once."""
    pytest.importorskip("openenv", reason="openenv is not installed: pip install 'tradeschool[openenv]'")
    from tradeschool.apps import env_server as server_app

    made: list[Any] = []

    class Stopped:
        def run(self, sockets: list[Any]) -> None:
            sockets[0].close()

    monkeypatch.setattr(server_app, "create_app", lambda config, *limits: made.append(config))
    monkeypatch.setattr(server_app, "make_server", lambda made: Stopped())
    return made


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_is_served_as_a_recipe_splits_the_market(split: Any, served: list[Any]) -> None:
    result = CliRunner().invoke(app, ["serve", "--port", "0", "--split", split])
    assert result.exit_code == 0, result.output
    (config,) = served
    recipe = from_mapping(
        {"name": "a", "task": {"name": "trade"}, "model": {"base": "tiny"}, "stages": [{"stage": "ppo"}]}
    )
    cut = make_task(recipe, config.data.panel).split  # type: ignore[attr-defined]
    assert config.make_env().rows == (cut.rows(split)[0], cut.rows(split)[-1])
    days = config.data.panel.dates_T.astype("datetime64[D]")
    first, last = cut.ends(split)
    assert f"the {split} rows ({days[first]} to {days[last]})" in " ".join(result.output.split())


def test_the_training_rows_of_a_leaderboard_are_before_its_test_rows(served: list[Any]) -> None:
    shown = ROOT / "recipes" / "leaderboard.yaml"
    for options in (["train"], ["train", "--recipe", str(shown)], ["test", "--recipe", str(shown)]):
        result = CliRunner().invoke(app, ["serve", "--port", "0", "--split", *options])
        assert result.exit_code == 0, result.output
    usual, train, test = (config.make_env().rows for config in served)
    assert train[1] < test[0] < usual[1]
    played = split_panel(read(shown).split, served[0].data.panel).ends("test")
    assert test == played


def test_a_recipe_with_an_invalid_split_is_refused(tmp_path: Path, served: list[Any]) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: a\nsplit: {tran: 0.5}\n")
    result = CliRunner().invoke(app, ["serve", "--split", "train", "--recipe", str(path)])
    assert result.exit_code == 2
    assert "'tran' is not a key here. Did you mean 'train'?" in result.output
    assert not served


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--recipe", "r.yaml"], "--recipe r.yaml needs --split"),
        (["--level", "Hrd"], "There is no level 'Hrd'. Did you mean 'Hard'?"),
    ],
)
def test_impossible_options_are_refused_with_the_cure(options: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["serve", *options])
    assert result.exit_code == 2
    assert words in result.output


def test_a_market_that_is_missing_or_too_small_is_refused_with_the_cure(tmp_path: Path) -> None:
    pytest.importorskip("openenv", reason="openenv is not installed: pip install 'tradeschool[openenv]'")
    for options, words in {
        ("--market", "synthetik"): "Did you mean 'synthetic'?",
        ("--market", str(tmp_path / "nowhere")): "there is no such file or folder",
        (
            "--level",
            "Medium",
            "--market",
            "sample",
        ): "Level Medium needs 10 stocks; sample has 5. Use --level easy or add tickers.",
        ("--host", "203.0.113.1"): "Cannot serve at 203.0.113.1, port 8000: Cannot assign requested address",
    }.items():
        if "sample" in options:
            pytest.importorskip("bokeh_sampledata")
        result = CliRunner().invoke(app, ["serve", *options])
        assert result.exit_code == 2, result.output
        assert words in result.output


def test_without_openenv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("tradeschool.apps.env_", "openenv"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openenv", None)
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 2
    assert "pip install 'tradeschool[openenv]'" in result.output
