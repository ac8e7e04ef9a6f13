"""A task's prompts and answers as a Hugging Face dataset: parquet shards and a card, the same bytes every time."""

import datetime
import itertools
import json
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from rich.console import Console

from tradeschool.prepare.folder import Identity, begun, finished
from tradeschool.tasks.base import Example, SplitName, Task
from tradeschool.train.logging import progress

SHARD, CHUNK = 20_000, 500
"""Prompts in a file, and prompts that a worker renders at a time. The shards do not depend on the workers."""
SPLITS = cast(tuple[SplitName, ...], get_args(SplitName))
_rendered: Task


@dataclass
class Written:
    """How many prompts each split has, and in how many of them hindsight knows the answer."""

    prompts: dict[SplitName, int]
    answered: dict[SplitName, int]


def write_prompts(
    task: Task, identity: Identity, out: Path, console: Console, workers: int | None = None, shard: int = SHARD
) -> Written:
    """Render every question of every split into ``out/data/<split>-<number>.parquet``, and write the card.

    A row has ``prompt`` (chat messages), ``completion`` (the answer of hindsight as a message, null where nobody
    knows), ``expert`` (the answer of the task's expert, null where there is none), ``label``, ``key``, ``ticker``,
    ``date`` and ``variant``. Memory holds one shard, however many there are. What is written goes to
    ``out.partial`` first: cut off, the same call goes on after the last whole shard.

    Args:
        task: whose questions they are.
        identity: what the files are made from; it is written into them.
        out: a folder that does not exist yet, or is empty.
        console: shows the progress.
        workers: processes; by default one for each processor. The files are the same for any number.
        shard: prompts in a file.

    Raises:
        DataError: ``out`` holds something, or a half-written preparation of something else lies beside it.
    """
    partial = begun(out, identity)
    (partial / "data").mkdir(exist_ok=True)
    with _pool(task, workers or os.cpu_count() or 1) as render, progress(console) as bar:
        for split in SPLITS:
            dates = task.rows(split)
            bar_task = bar.add_task(f"{split} prompts", total=len(dates), figures="")
            for last in _write_split(task, split, partial / "data", render, shard):
                bar.update(bar_task, completed=int((dates <= last).sum()))
            bar.update(bar_task, completed=len(dates))
    written = _counted(partial / "data")
    card = _card(task, identity, written)
    (partial / "README.md").write_text(card, encoding="utf-8")
    finished(partial, out)
    return written


def _write_split(task: Task, split: SplitName, data: Path, render: "_Render", shard: int) -> Iterator[int]:
    """Write the shards of a split that are not there yet; yields the date row that each chunk ended with."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    done = _whole_shards(data, split)
    examples = itertools.islice(task.stream(split), done * shard, None)
    for number in itertools.count(done):
        batches = []
        for chunk, batch in render(_chunks(itertools.islice(examples, shard))):
            batches.append(batch)
            yield chunk[-1].t
        if not batches:
            return
        path = data / f"{split}-{number:05d}.parquet"
        # Whole or not at all: a shard that is there was written to its end.
        pq.write_table(pa.Table.from_batches(batches), path.with_suffix(".tmp"), compression="zstd")
        path.with_suffix(".tmp").replace(path)


def _whole_shards(data: Path, split: str) -> int:
    return next(number for number in itertools.count() if not (data / f"{split}-{number:05d}.parquet").exists())


def _chunks(examples: Iterator[Example]) -> Iterator[list[Example]]:
    while chunk := list(itertools.islice(examples, CHUNK)):
        yield chunk


class _Render:
    """Renders chunks in order, by several processes where there are; no more than a few wait at a time."""

    def __init__(self, pool: ProcessPoolExecutor | None, ahead: int) -> None:
        self._pool, self._ahead = pool, ahead

    def __call__(self, chunks: Iterator[list[Example]]) -> Iterator[tuple[list[Example], Any]]:
        if self._pool is None:
            yield from ((chunk, render(chunk)) for chunk in chunks)
            return
        waiting: deque[tuple[list[Example], Future[Any]]] = deque()
        for chunk in chunks:
            waiting.append((chunk, self._pool.submit(render, chunk)))
            if len(waiting) > self._ahead:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)


def _first(waiting: "deque[tuple[list[Example], Future[Any]]]") -> tuple[list[Example], Any]:
    chunk, batch = waiting.popleft()
    return chunk, batch.result()


class _pool:
    """Processes that have the task by being forked from this one, so that nothing of it is copied."""

    def __init__(self, task: Task, workers: int) -> None:
        global _rendered
        _rendered = task
        self._pool = None
        if workers > 1:
            context = multiprocessing.get_context("fork")
            self._pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_the_parent)
        self._ahead = 2 * workers

    def __enter__(self) -> _Render:
        return _Render(self._pool, self._ahead)

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def render(examples: Sequence[Example]) -> Any:
    """The rows of the examples as a pyarrow record batch, see :func:`write_prompts`."""
    import pyarrow as pa

    message = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    schema = pa.schema(
        {"prompt": message, "completion": message, **dict.fromkeys(("expert", "label", "key", "ticker"), pa.string())}
        | {"date": pa.date32(), "variant": pa.int32()}
    )
    return pa.RecordBatch.from_pylist([_row(_rendered, example) for example in examples], schema)


def _row(task: Task, example: Example) -> dict[str, Any]:
    ticker, _, date = example.key.partition("#")[0].rpartition("@")
    answer = task.target(example)
    return {
        "prompt": task.prompt(example).messages,
        "completion": None if answer is None else [{"role": "assistant", "content": answer}],
        "expert": task.expert_answer(example),
        "label": task.label(example),
        "key": example.key,
        "ticker": ticker,
        "date": datetime.date.fromisoformat(date),
        "variant": example.variant,
    }


def _counted(data: Path) -> Written:
    import pyarrow.parquet as pq

    prompts, answered = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)
    for path in sorted(data.glob("*.parquet")):
        split = cast(SplitName, path.name.partition("-")[0])
        column = pq.read_table(path, columns=["label"]).column("label")
        prompts[split] += len(column)
        answered[split] += len(column) - column.null_count
    return Written(prompts, answered)


def _card(task: Task, identity: Identity, written: Written) -> str:
    files = "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in SPLITS)
    rows = "".join(f"| {split} | {written.prompts[split]:,} | {written.answered[split]:,} |\n" for split in SPLITS)
    return f"""---
configs:
- config_name: default
  data_files:
{files}tags:
- finance
- tradeschool
---
# Prompts of the {task.name} task on {identity.data_name}

Written by tradeschool {identity.package}, task {task.name} {task.version}. Each prompt says what was known after the
close of its date and nothing later. The splits follow each other in time, with an embargo between them.

| split | prompts | with an answer by hindsight |
|---|---|---|
{rows}
- `prompt`: chat messages. `completion`: the answer that hindsight gives, as a message; null where the future that it
  needs is not in the data, so filter these out before training on it. `expert`: the answer of the task's expert,
  who knows no more than the prompt.
- `label`: the class by hindsight. `key`, `ticker`, `date`, `variant`: which question it is; these are not masked, so
  do not show them to a model.

Data hash {identity.data_hash}, preparation {identity.digest()}: the same recipe on the same data gives the same bytes.

```json
{json.dumps(identity.recipe, indent=1, sort_keys=True)}
```
"""
