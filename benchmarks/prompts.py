"""Measures how fast prompts are written as a dataset, and how the cost grows with tickers and days.

    .venv/bin/python benchmarks/prompts.py [--workers 2]

Writes 100,000 prompts of the rating task on 80 synthetic tickers with the code of ``tradeschool prepare``, in three
lengths: four facts, all facts, and four facts with tables and news. Hindsight and expert answers are included. Prints
prompts per second, the peak memory of this process and of its largest worker, and the cost by size.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tradeschool.market.panel import Panel
from tradeschool.market.splits import split_rows
from tradeschool.market.synthetic import SyntheticConfig, simulate
from tradeschool.prepare.export import identity, write_prompts
from tradeschool.tasks.base import Example, SplitName
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.rating_config import RatingConfig
from tradeschool.text.describe import FACTS

PROMPTS, TICKERS, REPEATS = 100_000, 80, 3
LENGTHS = {
    "four facts": RatingConfig(),
    "all facts": RatingConfig(facts=list(FACTS)),
    "four facts, tables, news": RatingConfig(sections=["prices", "indicators", "statistics", "news"]),
}


class _First(RatingTask):
    """Only the first ``most`` prompts of the training split."""

    most = PROMPTS

    def stream(self, split: SplitName) -> Iterator[Example]:
        yield from islice(super().stream(split), self.most if split == "train" else 0)


def market(tickers: int, days: int) -> Panel:
    """A synthetic market with events as frequent as in the demo."""
    return simulate(SyntheticConfig(seed=1, tickers=tickers, days=days))


def task_on(panel: Panel, config: RatingConfig, most: int) -> RatingTask:
    """The rating task with 98 % of the rows in the training split."""
    task = _First(config, panel, split_rows(panel, (0.98, 0.01, 0.01), embargo=16, warmup=50))
    task.most = most
    return task


def seconds(task: RatingTask, workers: int) -> float:
    """Time to write all prompts to a temporary folder."""
    made_from = identity("prompts", {"market": {}}, task.panel, task.version)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        write_prompts(task, made_from, Path(folder) / "out", Console(quiet=True), workers=workers)
        return time.perf_counter() - started


def megabytes(who: int) -> float:
    """Peak memory so far of this process or its children."""
    return resource.getrusage(who).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    workers: int = parser.parse_args().workers
    console = Console()
    table = Table("prompt", title=f"{PROMPTS:,} prompts, {TICKERS} tickers, {workers} workers, median of {REPEATS}")
    for heading in ("characters", "seconds", "per second", "peak MB", "worker's MB"):
        table.add_column(heading, justify="right")
    panel = market(TICKERS, 1500)
    for name, config in LENGTHS.items():
        task = task_on(panel, config, PROMPTS)
        length = statistics.mean(len(task.messages(e)[-1]["content"]) for e in islice(task.stream("train"), 500))
        taken = statistics.median(seconds(task, workers) for _ in range(REPEATS))
        peaks = [f"{megabytes(who):.0f}" for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        table.add_row(name, f"{length:.0f}", f"{taken:.1f}", f"{PROMPTS / taken:,.0f}", *peaks)
    console.print(table)

    curve = Table(
        "tickers", "days", "prompts", "seconds", "microseconds per prompt", title="Cost against size, four facts"
    )
    for tickers, days in ((20, 1000), (40, 1000), (80, 1000), (160, 1000), (40, 500), (40, 2000), (40, 4000)):
        task = task_on(market(tickers, days), RatingConfig(), 10**9)
        count = len(task.examples("train"))
        taken = statistics.median(seconds(task, workers) for _ in range(REPEATS))
        curve.add_row(*map(str, (tickers, days, f"{count:,}", f"{taken:.2f}", f"{1e6 * taken / count:.0f}")))
    console.print(curve)


if __name__ == "__main__":
    main()
