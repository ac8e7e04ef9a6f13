"""Training figures: in the progress display for people, as JSON lines for the report."""

import json
from pathlib import Path
from typing import Any

from rich.progress import Progress

METRICS = "metrics.jsonl"


def step_callback(bar: Progress, title: str, path: Path, shown: tuple[str, ...]) -> Any:
    """A transformers callback that moves the bar at every step and writes every log entry to a file.

    After a resume, entries after the checkpoint's step are dropped: they will come again. ``shown`` are the figures
    beside the bar.
    """
    from transformers import TrainerCallback

    class StepCallback(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar = bar.add_task(title, total=state.max_steps, completed=state.global_step, unit="steps", figures="")
            rows = read_metrics(path) if state.global_step else []
            write_rows(path, [row for row in rows if row["step"] <= state.global_step])

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(self.bar, completed=state.global_step)
            # A checkpoint does not hold the figures since the last entry: without this a resume would lose them.
            last = state.global_step >= state.max_steps
            control.should_log = control.should_log or control.should_save or last

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            given = {key: value for key, value in (logs or {}).items() if isinstance(value, int | float | str)}
            row = {"step": state.global_step, **{key: _number(value) for key, value in given.items()}}
            if "train_loss" in row:
                row["train_loss"] = mean_loss(read_metrics(path))
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            figures = [f"{key} {row[key]:.3f}" for key in shown if isinstance(row.get(key), float)]
            bar.update(self.bar, figures=" ".join(figures))

    return StepCallback()


def _number(value: Any) -> Any:
    """TRL logs some numbers as formatted strings; JSON has no NaN."""
    try:
        number = float(value)
    except ValueError:
        return value
    return number if number == number and abs(number) != float("inf") else None


def mean_loss(rows: list[dict[str, Any]]) -> float | None:
    """The mean loss over all steps: an entry's loss is the mean since the entry before it. None without any.

    transformers' own ``train_loss`` is the mean over the steps of one process, so a resume would change it.
    """
    total, last = 0.0, 0
    for row in rows:
        if isinstance(row.get("loss"), int | float):
            total, last = total + row["loss"] * (row["step"] - last), row["step"]
    return total / last if last else None


def write_end(path: Path, state: Any) -> None:
    """Write the entry that ends a training, where the process was killed after the last step and before that entry."""
    rows = read_metrics(path)
    if not any("train_loss" in row for row in rows):
        end = {"step": state.global_step, "total_flos": state.total_flos, "train_loss": mean_loss(rows)}
        write_rows(path, [*rows, {**end, "epoch": state.epoch}])


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All entries of a metrics file, none where there is no file. A half-written last line is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:  # the process was killed while it wrote this line
            break
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Replace a metrics file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
