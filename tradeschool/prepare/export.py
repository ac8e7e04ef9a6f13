"""Market data as files that any trainer reads: prompts and demonstrations (Hugging Face datasets), windows (CSV).

An output folder appears when it is complete, or not at all.
"""

import contextlib
import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich.console import Console

import tradeschool
from tradeschool.config.sections import SplitConfig
from tradeschool.errors import DataError, RecipeError
from tradeschool.manifest import new_folder
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.windows import COLUMNS, WindowConfig, make_windows
from tradeschool.prepare.prompts_card import Tally, prompts_card
from tradeschool.progress import progress, status
from tradeschool.tasks.base import Example, SplitName, Task

IDENTITY_FILE = "preparation.json"
FILE_ROWS, BATCH_ROWS = 20_000, 500
"""Prompts in a parquet file, and in a row group."""
DIGITS = 10
"""Significant digits in CSV files."""
_LOCATIONS = ("path", "events", "names")


def identity(kind: str, sections: dict[str, Any], panel: Panel, task_version: str = "") -> dict[str, Any]:
    """What prepared files are made from, and ``digest``, a hash of it: equal ones mean the same bytes.

    ``sections`` are those of a resolved recipe that the files depend on; locations of files are left out.
    """
    market = {key: value for key, value in sections["market"].items() if key not in _LOCATIONS}
    found = {
        "kind": kind,
        "recipe": {**sections, "market": market},
        "data_name": panel.name,
        "data_hash": panel.data_hash(),
        "task_version": task_version,
        "package": tradeschool.__version__,
    }
    return {"digest": hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16], **found}


@contextlib.contextmanager
def output_folder(out: Path, made_from: dict[str, Any]) -> Iterator[Path]:
    """As :func:`~tradeschool.manifest.new_folder`, with what the files are made from."""
    with new_folder(out) as partial:
        text = json.dumps(made_from, indent=1, sort_keys=True)
        (partial / IDENTITY_FILE).write_text(text + "\n", encoding="utf-8")
        yield partial


# prompts and demonstrations -----------------------------------------------------------------------


def write_prompts(
    task: Task,
    made_from: dict[str, Any],
    out: Path,
    console: Console,
    workers: int | None = None,
    rows: int = FILE_ROWS,
) -> dict[SplitName, int]:
    """Write every question of every split to ``out/data/<split>-<number>.parquet``, and a card.

    Columns: ``prompt`` (chat messages), ``completion`` (the hindsight answer as a message, null where unknown),
    ``expert`` (the answer of the task's expert, null without one), ``label``, ``key``, ``ticker``, ``date`` and
    ``variant``. The files do not depend on the number of ``workers``, by default one process per processor.

    Returns:
        The number of prompts per split.
    """
    from datasets import Dataset, Features, List, Value, disable_progress_bars

    disable_progress_bars()  # they would interfere with the console's own
    messages = List({"role": Value("string"), "content": Value("string")})
    texts = dict.fromkeys(("expert", "label", "key", "ticker"), Value("string"))
    features = {"prompt": messages, "completion": messages, **texts, "date": Value("date32"), "variant": Value("int32")}
    written: dict[SplitName, int] = {}
    tally = Tally()
    with output_folder(out, made_from) as folder:
        for split in get_args(SplitName):
            dates = sorted({example.t for example in task.stream(split)})
            # One run of consecutive dates per process, so that the order does not depend on their number.
            parts = np.array_split(np.array(dates), max(1, min(workers or os.cpu_count() or 1, len(dates))))
            with status(console, f"Writing {split} prompts"):
                dataset = Dataset.from_generator(
                    _rows,
                    features=Features(features),
                    cache_dir=str(folder / ".cache"),
                    gen_kwargs={"task": task, "split": split, "parts": parts},
                    num_proc=len(parts) if len(parts) > 1 else None,
                    # The default is a hash of the pickled task, which is slow to compute.
                    fingerprint=f"{split}-prompts",
                )
                _write_parquet(dataset, folder / "data", split, rows)
            written[split] = len(dataset)
            tally.add(split, dataset)
        shutil.rmtree(folder / ".cache")
        (folder / "README.md").write_text(prompts_card(task, made_from, tally), encoding="utf-8")
    return written


def _rows(task: Task, split: SplitName, parts: list[Any]) -> Iterator[dict[str, Any]]:
    dates = set(np.concatenate(parts).tolist())
    for example in task.stream(split):
        if example.t in dates:
            ticker, _, date = example.key.partition("#")[0].rpartition("@")
            answer = task.hindsight_answer(example)
            yield {
                "prompt": task.messages(example),
                "completion": None if answer is None else [{"role": "assistant", "content": answer}],
                "expert": task.expert_answer(example),
                "label": task.label(example),
                "key": example.key,
                "ticker": ticker,
                "date": datetime.date.fromisoformat(date),
                "variant": example.variant,
            }


def _write_parquet(dataset: Any, data: Path, split: str, rows: int) -> None:
    """``datasets`` reads from a file's name which split the file belongs to."""
    data.mkdir(exist_ok=True)
    for number, start in enumerate(range(0, len(dataset), rows)):
        part = dataset.select(range(start, min(start + rows, len(dataset))))
        part.to_parquet(data / f"{split}-{number:05d}.parquet", batch_size=BATCH_ROWS)


def write_demonstrations(
    task: Task,
    made_from: dict[str, Any],
    out: Path,
    console: Console,
    answers: int,
    seed: int,
    pool: Sequence[Example] | None = None,
    turns: int | None = None,
) -> int:
    """Write the task's demonstrations to ``data/train-00000.parquet``, with a card; return their number.

    Columns: ``messages`` (role and content) and ``learned``, one flag per answer. At least ``answers`` answers are
    flagged, balanced over BUY, SELL and HOLD. ``pool`` and ``turns`` are those of an ``sft`` stage.
    """
    from datasets import Dataset

    with output_folder(out, made_from) as folder:
        with status(console, "Playing demonstration episodes"):
            episodes = task.demonstrations(answers, seed, pool, turns)
        _write_parquet(Dataset.from_list([asdict(one) for one in episodes]), folder / "data", "train", FILE_ROWS)
        flags = [flag for episode in episodes for flag in episode.learned]
        counts = {"episodes": len(episodes), "answers": len(flags), "learned": sum(flags)}
        card = DEMONSTRATIONS_CARD.format(task=task, **made_from, **counts)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return len(episodes)


DEMONSTRATIONS_CARD = """---
tags:
- finance
- tradeschool
---
# Demonstration episodes of the {task.name} task: {data_name}

Written by tradeschool {package}, task {task.name} {task_version}, data {data_hash}.
{episodes:,} conversations with {answers:,} answers; train on the {learned:,} that are flagged.

- `messages`: the rules (system), then one message per day (user), each followed by its answer (assistant).
- `learned`: for each answer, whether it should bear loss. BUY, SELL and HOLD are balanced, and at most as many answers
  that both buy and sell; unbalanced, HOLD would dominate. Answers without `<think>` are random orders that the
  demonstrator recovers from; they are never flagged.
"""


# windows ------------------------------------------------------------------------------------------


@dataclass
class WrittenWindows:
    """Number of windows in each ticker's ``full`` file, and why tickers were left out.

    ``overlap``: whether one ticker's train file reaches into the time of another ticker's test file.
    """

    windows: dict[str, int]
    left_out: dict[str, str]
    overlap: bool = False


def window_config(split: SplitConfig) -> WindowConfig:
    """The window configuration with a recipe's shares or dates; a RecipeError for folds, which need more files."""
    if split.folds > 1:
        raise RecipeError(
            f"split.folds is {split.folds}, but CSV windows have one train and one test file. Remove it, and give the "
            "dates of a fold as split.validation_from and split.test_from."
        )
    if split.validation_from is not None:
        return WindowConfig(validation_from=split.validation_from, test_from=split.test_from)
    return WindowConfig(shares=(split.train or 0.0, split.validation or 0.0, split.test or 0.0))


def write_windows(
    panel: Panel, config: WindowConfig, made_from: dict[str, Any], out: Path, console: Console
) -> WrittenWindows:
    """Write ``<TICKER>_<train|test|full>_<x|y>.csv`` for every ticker, in the layout of VTA (arXiv 2511.08616).

    A row is a window. x has ``sequence`` (the scaled input closes), the indicators and the statistics of
    :data:`tradeschool.market.windows.COLUMNS`; y has ``sequence`` (the scaled closes to forecast). A cell with several
    values is a list, ``[0.1, 0.2]``, oldest first, with ten significant digits. ``full`` holds train, validation and
    test in time order. Tickers with too few bars are left out and reported.

    Raises:
        DataError: ``out`` is not empty or cannot be written, or no ticker has enough bars.
    """
    import pandas as pd

    written = WrittenWindows({}, {})
    train_ends, test_starts = [], []
    with output_folder(out, made_from) as folder, progress(console) as bar:
        task = bar.add_task("Writing windows", unit="tickers", total=len(panel.tickers), figures="")
        for n, ticker in enumerate(panel.tickers):
            bar.update(task, advance=1)
            try:
                found = make_windows(panel, n, config)
            except DataError as error:
                written.left_out[ticker] = str(error)
                continue
            x = pd.DataFrame({column: _cells(found.columns[column]) for column in COLUMNS})
            y = pd.DataFrame({"sequence": _cells(found.y_WH)})
            for part in ("train", "test", "full"):
                chosen_W = (found.part_W == part) | (part == "full")
                for side, table in (("x", x), ("y", y)):
                    # A ticker such as BRK/B must not create a folder.
                    path = folder / f"{ticker.replace('/', '-')}_{part}_{side}.csv"
                    table[chosen_W].to_csv(path, index=False, lineterminator="\n")
            written.windows[ticker] = len(found)
            train_ends.append(found.only("train").dates_W[-1])
            test_starts.append(found.only("test").dates_W[0])
        if not written.windows:
            raise DataError(f"No ticker has enough bars. The first: {next(iter(written.left_out.values()))}")
    written.overlap = max(train_ends) >= min(test_starts)
    return written


def _cells(values: Floats) -> list[str]:
    """One text per window."""
    if values.ndim == 1:
        return [f"{value:.{DIGITS}g}" for value in values.tolist()]
    return [f"[{', '.join(_cells(row))}]" for row in values]
