"""metrics.jsonl: one JSON object an entry, without repeats after a resume, whatever was killed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tradeschool.progress import progress
from tradeschool.train.logging import read_metrics, step_callback, write_rows


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=120)


def state(step: int) -> Any:
    return SimpleNamespace(global_step=step, max_steps=10)


def control(save: bool = False) -> Any:
    return SimpleNamespace(should_save=save, should_log=False)


def test_entries_carry_their_step_and_only_plain_numbers(tmp_path: Path, console: Console) -> None:
    path = tmp_path / "metrics.jsonl"
    with progress(console) as bar:
        callback = step_callback(bar, "sft", path, ("loss",))
        callback.on_train_begin(None, state(0), control())
        callback.on_log(None, state(1), control(), logs={"loss": 2.5, "count": 3, "odd": float("nan"), "none": None})
        callback.on_log(None, state(2), control(), logs={"loss": "1.25", "far": float("inf"), "word": "text", "x": [1]})
        callback.on_log(None, state(3), control())
    text = path.read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    assert [json.loads(line) for line in text.splitlines()] == [
        {"step": 1, "loss": 2.5, "count": 3.0, "odd": None},
        {"step": 2, "loss": 1.25, "far": None, "word": "text"},
        {"step": 3},
    ]


def test_the_bar_shows_how_far_training_is_and_the_chosen_figures(tmp_path: Path, console: Console) -> None:
    with progress(console) as bar:
        callback = step_callback(bar, "grpo", tmp_path / "metrics.jsonl", ("reward", "kl"))
        callback.on_train_begin(None, state(4), control())
        assert (bar.tasks[0].completed, bar.tasks[0].total) == (4, 10)
        callback.on_step_end(None, state(5), control())
        callback.on_log(None, state(5), control(), logs={"reward": 0.12345, "loss": 9.0})
        assert bar.tasks[0].completed == 5
        assert bar.tasks[0].fields["figures"] == "reward 0.123"


def test_figures_are_logged_at_every_checkpoint(tmp_path: Path, console: Console) -> None:
    with progress(console) as bar:
        callback = step_callback(bar, "sft", tmp_path / "metrics.jsonl", ())
        callback.on_train_begin(None, state(0), control())
        saving, plain = control(save=True), control()
        callback.on_step_end(None, state(1), saving)
        callback.on_step_end(None, state(2), plain)
    assert (saving.should_log, plain.should_log) == (True, False)


@pytest.mark.parametrize(("resumed_at", "kept"), [(0, []), (2, [1, 2]), (5, [1, 2, 3])])
def test_entries_after_the_checkpoint_are_dropped(
    resumed_at: int, kept: list[int], tmp_path: Path, console: Console
) -> None:
    path = tmp_path / "metrics.jsonl"
    write_rows(path, [{"step": step, "loss": 1.0} for step in (1, 2, 3)])
    with progress(console) as bar:
        step_callback(bar, "sft", path, ()).on_train_begin(None, state(resumed_at), control())
    assert [row["step"] for row in read_metrics(path)] == kept


def test_a_half_written_last_line_is_left_out_and_written_over(tmp_path: Path, console: Console) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo', encoding="utf-8")
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]
    with progress(console) as bar:
        callback = step_callback(bar, "sft", path, ())
        callback.on_train_begin(None, state(1), control())
        callback.on_log(None, state(2), control(), logs={"loss": 1.0})
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]


def test_a_missing_file_has_no_entries(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []
