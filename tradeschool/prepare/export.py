"""Market data as files that any trainer reads: prompts and demonstrations (Hugging Face datasets), windows (CSV).

An output folder appears when it is complete, or not at all.
"""

import contextlib
import csv
import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import tradeschool
from tradeschool.config.sections import SplitConfig
from tradeschool.errors import DataError, RecipeError, disk_error
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.windows import COLUMNS, TickerWindows, WindowConfig, make_windows
from tradeschool.progress import progress, status
from tradeschool.tasks.base import Demonstration, Example, SplitName, Task

IDENTITY_FILE = "preparation.json"
FILE_ROWS, BATCH_ROWS = 20_000, 500
"""Prompts in a parquet file, and in a row group."""
DIGITS = 10
"""Significant digits in CSV files."""
SPLITS = cast(tuple[SplitName, ...], get_args(SplitName))
_LOCATIONS = ("path", "events", "names")


@dataclass(frozen=True)
class Identity:
    """What prepared files are made from. Two preparations with the same identity have the same bytes.

    ``recipe`` holds the relevant sections without file locations.
    """

    kind: str
    recipe: dict[str, Any]
    data_name: str
    data_hash: str
    task_version: str
    package: str = tradeschool.__version__

    def digest(self) -> str:
        """16 hex digits over all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def identity(kind: str, sections: dict[str, Any], panel: Panel, task_version: str = "") -> Identity:
    """The identity of a preparation, from the sections of a resolved recipe that it depends on."""
    market = {key: value for key, value in sections["market"].items() if key not in _LOCATIONS}
    return Identity(kind, {**sections, "market": market}, panel.name, panel.data_hash(), task_version)


@contextlib.contextmanager
def output_folder(out: Path, identity: Identity) -> Iterator[Path]:
    """Yield a temporary folder to write into, and rename it to ``out`` at the end; remove it after a failure.

    Raises:
        DataError: ``out`` is not empty or cannot be written.
    """
    partial = out.with_name(f".{out.name}.partial")
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DataError(f"--out {out}: this folder is not empty. Choose a new folder, or empty it first.")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        text = json.dumps({"digest": identity.digest(), **asdict(identity)}, indent=1, sort_keys=True)
        (partial / IDENTITY_FILE).write_text(text + "\n", encoding="utf-8")
        yield partial
        if out.exists():
            out.rmdir()
        partial.replace(out)
    except OSError as error:
        raise disk_error(error, out) or DataError(f"{out}: {error.strerror}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


# prompts ------------------------------------------------------------------------------------------


def write_prompts(
    task: Task, identity: Identity, out: Path, console: Console, workers: int | None = None, rows: int = FILE_ROWS
) -> dict[SplitName, int]:
    """Write every question of every split to ``out/data/<split>-<number>.parquet``, and a card.

    Columns: ``prompt`` (chat messages), ``completion`` (the hindsight answer as a message, null where unknown),
    ``expert`` (the answer of the task's expert, null without one), ``label``, ``key``, ``ticker``, ``date`` and
    ``variant``.

    Args:
        task: the task whose questions are written.
        identity: what the files are made from; stored with them.
        out: a folder that does not exist yet, or is empty.
        console: shows progress.
        workers: number of processes, by default one per processor. The files do not depend on it.
        rows: prompts per file.

    Returns:
        The number of prompts per split.

    Raises:
        DataError: ``out`` is not empty or cannot be written.
    """
    from datasets import disable_progress_bars

    disable_progress_bars()  # they would interfere with the console's own
    written: dict[SplitName, int] = {}
    answered: dict[SplitName, int] = {}
    with output_folder(out, identity) as folder:
        for split in SPLITS:
            with status(console, f"Writing {split} prompts"):
                dataset = _render(task, split, folder, workers or os.cpu_count() or 1)
                _write_parquet(dataset, folder / "data", split, rows)
            written[split] = len(dataset)
            answered[split] = sum(label is not None for label in dataset["label"])
        shutil.rmtree(folder / ".cache")
        (folder / "README.md").write_text(_prompts_card(task, identity, written, answered), encoding="utf-8")
    return written


def _messages_type() -> Any:
    from datasets import List, Value

    return List({"role": Value("string"), "content": Value("string")})


def _render(task: Task, split: SplitName, folder: Path, workers: int) -> Any:
    from datasets import Dataset, Features, Value

    features = {
        "prompt": _messages_type(),
        "completion": _messages_type(),
        **dict.fromkeys(("expert", "label", "key", "ticker"), Value("string")),
        "date": Value("date32"),
        "variant": Value("int32"),
    }
    dates = sorted({example.t for example in task.examples(split)})
    workers = min(workers, len(dates))
    # One run of consecutive dates per process, so that the order does not depend on their number.
    parts = [part.tolist() for part in np.array_split(np.array(dates), max(workers, 1))]
    return Dataset.from_generator(
        _rows,
        features=Features(features),
        cache_dir=str(folder / ".cache"),
        gen_kwargs={"task": task, "split": split, "parts": parts},
        num_proc=workers if workers > 1 else None,
        # The default is a hash of the pickled task, which is slow to compute.
        fingerprint=f"{split}-prompts",
    )


def _rows(task: Task, split: SplitName, parts: list[list[int]]) -> Iterator[dict[str, Any]]:
    dates = {t for part in parts for t in part}
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
    data.mkdir(exist_ok=True)
    for number, start in enumerate(range(0, len(dataset), rows)):
        part = dataset.select(range(start, min(start + rows, len(dataset))))
        part.to_parquet(data / f"{split}-{number:05d}.parquet", batch_size=BATCH_ROWS)


def _front_matter(splits: tuple[str, ...]) -> str:
    files = "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in splits)
    return f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}tags:\n- finance\n- tradeschool\n---\n"


def _prompts_card(task: Task, identity: Identity, written: dict[SplitName, int], answered: dict[SplitName, int]) -> str:
    rows = "".join(f"| {split} | {written[split]:,} | {answered[split]:,} |\n" for split in SPLITS)
    return f"""{_front_matter(SPLITS)}# Prompts of the {task.name} task: {identity.data_name}

Written by tradeschool {identity.package}, task {task.name} {task.version}. A prompt holds what was known
after the close of its date and nothing later. The splits are consecutive in time, separated by an embargo.

| split | prompts | with a hindsight answer |
|---|---|---|
{rows}
- `prompt`: chat messages. `completion`: the hindsight answer as a message; null where its outcome is not in the
  data, so drop these rows before training on it. `expert`: the answer of the task's expert, who knows only the prompt.
- `label`: the class in hindsight. `key`, `ticker`, `date`, `variant` identify the question; they are not masked, so do
  not show them to a model.

Data hash {identity.data_hash}, preparation {identity.digest()}: the same recipe on the same data gives the same bytes.

```json
{json.dumps(identity.recipe, indent=1, sort_keys=True)}
```
"""


# demonstrations -----------------------------------------------------------------------------------


def write_demonstrations(
    task: Task,
    identity: Identity,
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

    Raises:
        DataError: ``out`` is not empty or cannot be written.
        RecipeError: the demonstrators give no answers to balance.
    """
    from datasets import Dataset, Features, List, Value

    with output_folder(out, identity) as folder:
        with status(console, "Playing demonstration episodes"):
            episodes = task.demonstrations(answers, seed, pool, turns)
        features = Features({"messages": _messages_type(), "learned": List(Value("bool"))})
        columns = {
            "messages": [episode.messages for episode in episodes],
            "learned": [episode.learned for episode in episodes],
        }
        _write_parquet(Dataset.from_dict(columns, features=features), folder / "data", "train", FILE_ROWS)
        (folder / "README.md").write_text(_demonstrations_card(task, identity, episodes), encoding="utf-8")
    return len(episodes)


def _demonstrations_card(task: Task, identity: Identity, episodes: list[Demonstration]) -> str:
    answers = sum(len(episode.learned) for episode in episodes)
    learned = sum(sum(episode.learned) for episode in episodes)
    return f"""{_front_matter(("train",))}# Demonstration episodes of the {task.name} task: {identity.data_name}

Written by tradeschool {identity.package}, task {task.name} {task.version}, data {identity.data_hash}.
{len(episodes):,} conversations with {answers:,} answers; train on the {learned:,} that are flagged.

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
    """The window configuration with a recipe's split: its shares or its two dates.

    Raises:
        RecipeError: the split has folds, which this layout cannot hold.
    """
    if split.folds > 1:
        raise RecipeError(
            f"split.folds is {split.folds}, but CSV windows have one train and one test file. Remove it, and give the "
            "dates of a fold as split.validation_from and split.test_from."
        )
    if split.validation_from is not None:
        return WindowConfig(validation_from=split.validation_from, test_from=split.test_from)
    return WindowConfig(shares=(split.train or 0.0, split.validation or 0.0, split.test or 0.0))


def write_windows(
    panel: Panel, config: WindowConfig, identity: Identity, out: Path, console: Console
) -> WrittenWindows:
    """Write ``<TICKER>_<train|test|full>_<x|y>.csv`` for every ticker, in the layout of VTA (arXiv 2511.08616).

    A row is a window. x has ``sequence`` (the scaled input closes), the indicators and the statistics of
    :data:`tradeschool.market.windows.COLUMNS`; y has ``sequence`` (the scaled closes to forecast). A cell with several
    values is a list, ``[0.1, 0.2]``, oldest first, with ten significant digits. ``full`` holds train, validation and
    test in time order. Tickers with too few bars are left out and reported.

    Raises:
        DataError: ``out`` is not empty or cannot be written, or no ticker has enough bars.
    """
    written = WrittenWindows({}, {})
    train_ends, test_starts = [], []
    with output_folder(out, identity) as folder, progress(console) as bar:
        task = bar.add_task("Writing windows", unit="tickers", total=len(panel.tickers), figures="")
        for n, ticker in enumerate(panel.tickers):
            try:
                found = make_windows(panel, n, config)
                # A ticker such as BRK/B must not create a folder.
                _write_ticker(folder, ticker.replace("/", "-"), found)
                written.windows[ticker] = len(found)
                train_ends.append(found.only("train").dates_W[-1])
                test_starts.append(found.only("test").dates_W[0])
            except DataError as error:
                written.left_out[ticker] = str(error)
            bar.update(task, advance=1)
        if not written.windows:
            raise DataError(f"No ticker has enough bars. The first: {next(iter(written.left_out.values()))}")
    written.overlap = max(train_ends) >= min(test_starts)
    return written


def _write_ticker(folder: Path, name: str, found: TickerWindows) -> None:
    x_WC = np.stack([_cells(found.columns[column]) for column in COLUMNS], axis=1)
    y_WC = _cells(found.y_WH)[:, None]
    for part in ("train", "test", "full"):
        chosen_W = (found.part_W == part) | (part == "full")
        for side, header, cells_WC in (("x", list(COLUMNS), x_WC), ("y", ["sequence"], y_WC)):
            with (folder / f"{name}_{part}_{side}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(header)
                writer.writerows(cells_WC[chosen_W].tolist())


def _cells(values: Floats) -> NDArray[np.object_]:
    """One text per window. Windows overlap, so each distinct value is formatted once."""
    distinct, places = np.unique(values, return_inverse=True)
    texts = np.array([f"{value:.{DIGITS}g}" for value in distinct.tolist()], dtype=object)[places]
    if values.ndim == 1:
        return texts
    cells = np.empty(len(values), dtype=object)
    cells[:] = ["[" + ", ".join(row) + "]" for row in texts.reshape(values.shape).tolist()]
    return cells
