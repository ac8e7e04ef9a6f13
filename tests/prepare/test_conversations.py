"""Expert episodes as a dataset."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tradeschool import prepare_command
from tradeschool.cli import app
from tradeschool.errors import DataError
from tradeschool.opening import load_panel, make_task
from tradeschool.prepare.conversations import write_conversations
from tradeschool.prepare.folder import identity
from tradeschool.recipe import of
from tradeschool.tasks.base import Task

RECIPE = {
    "name": "small",
    "market": {"source": "practice", "tickers": 12, "days": 500},
    "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 60},
    "task": {"name": "trade"},
    "stages": [{"stage": "sft"}],
    "model": {},
}


def written(out: Path, answers: int = 200) -> tuple[Task, int]:
    recipe, console = of(RECIPE), Console(quiet=True)
    panel = load_panel(recipe, console)
    task = make_task(recipe, panel)
    parts = {key: recipe.resolved[key] for key in ("seed", "market", "split", "task")}
    made_from = identity("conversations", parts, panel.name, panel.data_hash(), task.version)
    return task, write_conversations(task, made_from, out, console, answers, 0)


def test_a_dataset_holds_the_conversations_and_what_is_to_be_learned(tmp_path: Path) -> None:
    task, count = written(tmp_path / "one")
    rows = pq.read_table(tmp_path / "one" / "data" / "train-00000.parquet").to_pylist()
    talks = task.conversations(200, 0)
    assert len(rows) == count == len(talks)
    assert [row["messages"] for row in rows] == [talk.messages for talk in talks]
    assert [row["learned"] for row in rows] == [talk.learned for talk in talks]
    assert (
        f"{sum(sum(talk.learned) for talk in talks):,} are to be learned"
        in (tmp_path / "one" / "README.md").read_text()
    )


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    written(tmp_path / "one")
    written(tmp_path / "two")
    for path in sorted((tmp_path / "one").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path


def test_what_is_there_already_is_kept(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "mine.txt").write_text("kept")
    with pytest.raises(DataError, match="something in it already"):
        written(tmp_path / "one")
    assert (tmp_path / "one" / "mine.txt").read_text() == "kept"


def test_the_command_writes_episodes_of_an_episodic_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_command, "ANSWERS", 60)
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(RECIPE))
    result = CliRunner().invoke(app, ["prepare", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "expert episodes" in result.output
    assert (tmp_path / "out" / "data" / "train-00000.parquet").exists()
