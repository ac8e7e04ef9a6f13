"""Training figures: a progress bar for people, JSON lines for the report."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

METRICS = "metrics.jsonl"


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """A progress display with our columns."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as bar:
        yield bar


def step_callback(bar: Progress, title: str, path: Path, shown: tuple[str, ...]) -> Any:
    """A transformers callback that moves the bar at every step and writes every log entry to a file.

    After a resume, entries after the checkpoint's step are dropped: they will come again.

    Args:
        bar: the display.
        title: of its row.
        path: the file.
        shown: figures beside the bar.
    """
    from transformers import TrainerCallback

    class StepCallback(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar = bar.add_task(title, total=state.max_steps, completed=state.global_step, figures="")
            rows = read_metrics(path) if state.global_step else []
            write_rows(path, [row for row in rows if row["step"] <= state.global_step])

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(self.bar, completed=state.global_step)
            # A checkpoint does not hold the figures since the last entry: without this a resume would lose them.
            control.should_log = control.should_log or control.should_save

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            row = {key: value for key, value in (logs or {}).items() if isinstance(value, int | float | str)}
            row = {"step": state.global_step, **{key: _number(value) for key, value in row.items()}}
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
