"""Progress of long work: a bar on a terminal or in a notebook, and plain lines in a file or a pipe."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY = 30.0
"""Seconds after which a plain line is due."""
SHARE = 0.1
"""Share of the work after which one is due earlier."""
SHORTEST = 1.0
"""Seconds between two plain lines of the same work, except for its last."""


def is_live(console: Console) -> bool:
    """Whether lines can be redrawn; a variable such as FORCE_COLOR does not make a file a terminal."""
    return console.is_jupyter or (console.is_interactive and console.file.isatty())


def progress(console: Console) -> Progress:
    """A progress display, as a context manager. Tasks have the fields ``figures`` and optionally ``unit``."""
    if not is_live(console):
        return PlainProgress(console)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    return Progress(*columns, console=console)


@contextmanager
def status(console: Console, text: str) -> Iterator[None]:
    """Name a phase whose length is not known: a spinner while it lasts, or one line at its start."""
    if is_live(console):
        with console.status(text):
            yield
    else:
        console.print(f"{text} ...", markup=False, highlight=False, soft_wrap=True)
        yield


def duration(seconds: float) -> str:
    """``12 s``, or ``0:02:10`` from a minute on."""
    return f"{seconds:.0f} s" if seconds < 59.5 else str(timedelta(seconds=round(seconds)))


class PlainProgress(Progress):
    """Prints ``sft: 12 of 40 steps (30 %), 0:02:10 left, loss 0.412`` every 10 % or 30 s, and when a task is done."""

    def __init__(self, console: Console, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(console=console, disable=True)
        self._clock = clock
        self._began: dict[TaskID, tuple[float, float]] = {}  # when a task began, and what was done of it then
        self._shown: dict[TaskID, tuple[float, float]] = {}  # the same for its last line

    def start(self) -> None:
        """Nothing: there is no display."""

    def stop(self) -> None:
        """Nothing: rich would print an empty line."""

    def add_task(self, *args: Any, **kwargs: Any) -> TaskID:
        """As in rich; what is completed already does not count for the time left."""
        task_id = super().add_task(*args, **kwargs)
        self._began[task_id] = self._shown[task_id] = self._clock(), self._tasks[task_id].completed
        return task_id

    def update(self, task_id: TaskID, **kwargs: Any) -> None:
        """As in rich, and print a line where one is due."""
        super().update(task_id, **kwargs)
        self._print_if_due(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """As in rich, and print a line where one is due."""
        self.update(task_id, advance=advance)

    def _print_if_due(self, task_id: TaskID) -> None:
        task, (when, done), now = self._tasks[task_id], self._shown[task_id], self._clock()
        if not task.visible or not task.total or task.completed <= done:
            return
        waited, share = now - when, (task.completed - done) / task.total
        if task.completed < task.total and (waited < SHORTEST or (waited < EVERY and share < SHARE)):
            return
        self._shown[task_id] = now, task.completed
        began, done_before = self._began[task_id]
        took = now - began
        time = f"took {duration(took)}"
        if task.completed < task.total:
            time = f"{duration(took * (task.total - task.completed) / (task.completed - done_before))} left"
        unit, figures = task.fields.get("unit", ""), task.fields.get("figures", "")
        text = f"{task.description}: {task.completed:,.0f} of {task.total:,.0f}{unit and f' {unit}'}"
        text += f" ({task.completed / task.total:.0%}), {time}{figures and f', {figures}'}"
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


NOISE = (
    "mtime may not be reliable",
    "generation flags are not valid",
    "`use_cache=True` is incompatible",
    "The tokenizer has new PAD/BOS/EOS tokens",
    "No label_names provided",
)
"""Begins or parts of warnings by transformers about what is decided here, not by the user."""


def quiet_libraries() -> None:
    """Keep out of the output what libraries print about themselves: their progress bars, and warnings of ``NOISE``.

    Other warnings of theirs, such as that of weights that a model lacks, are still printed.
    """
    from huggingface_hub.utils import disable_progress_bars
    from transformers.utils import logging as transformers_logging

    # TRL still names gradient_checkpointing by its old name, and transformers says so at every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    transformers_logging.disable_progress_bar()  # of loading and saving: one bar at a time
    if not sys.stderr.isatty():
        disable_progress_bars()  # of downloads
    transformers_logging.get_logger("transformers")  # makes the handler
    for handler in logging.getLogger("transformers").handlers:
        if _is_news not in handler.filters:
            handler.addFilter(_is_news)
    for name in ("httpx", "httpcore", "openai"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in NOISE)
