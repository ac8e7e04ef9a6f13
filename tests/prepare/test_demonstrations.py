"""Demonstration episodes as a dataset."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tradeschool.cli import data as prepare
from tradeschool.cli.main import app
from tradeschool.config.recipe import from_mapping, load_panel, make_task
from tradeschool.errors import DataError
from tradeschool.prepare.export import identity, write_demonstrations
from tradeschool.tasks.base import Task

RECIPE = {
    "name": "small",
    "market": {"source": "synthetic", "tickers": 12, "days": 500},
    "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 60},
    "task": {"name": "trade"},
    "stages": [{"stage": "sft"}],
    "model": {},
}


def written(out: Path, answers: int = 200) -> tuple[Task, int]:
    recipe, console = from_mapping(RECIPE), Console(quiet=True)
    panel = load_panel(recipe, console)
    task = make_task(recipe, panel)
    parts = {key: recipe.resolved[key] for key in ("seed", "market", "split", "task")}
    made_from = identity("conversations", parts, panel, task.version)
    return task, write_demonstrations(task, made_from, out, console, answers, 0)


def test_a_dataset_holds_the_conversations_and_what_is_to_be_learned(tmp_path: Path) -> None:
    task, count = written(tmp_path / "one")
    rows = pq.read_table(tmp_path / "one" / "data" / "train-00000.parquet").to_pylist()
    episodes = task.demonstrations(200, 0)
    assert len(rows) == count == len(episodes)
    assert [row["messages"] for row in rows] == [episode.messages for episode in episodes]
    assert [row["learned"] for row in rows] == [episode.learned for episode in episodes]
    assert f"{sum(sum(episode.learned) for episode in episodes):,}" in (tmp_path / "one" / "README.md").read_text()


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    written(tmp_path / "one")
    written(tmp_path / "two")
    for path in sorted((tmp_path / "one").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path


def test_what_is_there_already_is_kept(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "mine.txt").write_text("kept")
    with pytest.raises(DataError, match="not empty"):
        written(tmp_path / "one")
    assert (tmp_path / "one" / "mine.txt").read_text() == "kept"


def test_the_command_writes_what_the_last_sft_stage_imitates(tmp_path: Path) -> None:
    prepared(tmp_path, [MORE, FEW])
    rows = pq.read_table(tmp_path / "out" / "data" / "train-00000.parquet").to_pylist()
    recipe = from_mapping({**RECIPE, "stages": [MORE, FEW]})
    episodes = make_task(recipe, load_panel(recipe, Console(quiet=True))).demonstrations(60, 0, None, 3)
    assert [row["messages"] for row in rows] == [episode.messages for episode in episodes]
    assert max(len(row["learned"]) for row in rows) == 3


def prepared(tmp_path: Path, stages: list[dict[str, Any]], *options: str) -> tuple[int, str]:
    """How many answers the command has flagged, and its output."""
    path, out = tmp_path / "recipe.yaml", tmp_path / "out"
    path.write_text(json.dumps({**RECIPE, "stages": stages}))
    result = CliRunner().invoke(app, ["prepare", str(path), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    flags = pq.read_table(out / "data" / "train-00000.parquet").column("learned").to_pylist()
    return sum(map(sum, flags)), " ".join(result.output.split())


FEW, MORE = {"stage": "sft", "examples": 60, "turns": 3}, {"stage": "sft", "name": "more", "examples": 120}


@pytest.mark.parametrize(
    ("stages", "options", "wanted"),
    [
        ([FEW], [], 60),
        ([FEW, MORE, {"stage": "evaluate"}], [], 120),
        ([MORE, FEW], [], 60),
        ([FEW], ["--set", "stages.sft.examples=90"], 90),
        ([MORE], ["--answers", "30"], 30),
        ([{"stage": "ppo"}], [], 150),
    ],
)
def test_the_command_writes_as_many_answers_as_the_recipe_or_the_option_wants(
    stages: list[dict[str, Any]], options: list[str], wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "ANSWERS", 150)
    learned, output = prepared(tmp_path, stages, *options)
    assert wanted <= learned < 1.1 * wanted + 3
    assert f"demonstration episodes with at least {wanted} training answers" in output


@pytest.mark.parametrize(
    ("more", "output"), [(["--format", "csv"], "--format csv writes none"), ([], "the task 'rating' has none")]
)
def test_the_option_is_refused_without_episodes(more: list[str], output: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["prepare", "synthetic", "--answers", "9", "--out", str(tmp_path / "out"), *more])
    assert result.exit_code == 2
    assert output in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()
