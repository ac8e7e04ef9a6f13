"""Coverage of 95 % intervals of mean grades for episodes that overlap in time.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/intervals.py

Episodes begin at uniformly drawn rows. A value is the sum of its days' noise, of variance 1 in total, and noise of its
own. Compared: the estimator of ``evaluate/inference_cosine.py`` (cosines), the cluster-robust estimator over blocks of
two and of four episodes, and the plain one that treats episodes as independent. Width: mean width of the interval over
the width that the true standard error would give.
"""

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.signal import lfilter
from scipy.stats import t

from tradeschool.evaluate.inference_cosine import CosineEstimate

REPEATS = 2000
SIZES = ((500, 20, 100), (500, 20, 400), (1000, 20, 200), (1500, 20, 100), (1500, 20, 400), (700, 40, 300))
"""Rows, days of an episode, episodes."""
PHI = 0.98
Draw = Callable[[np.random.Generator, int], Any]


def shared(rng: np.random.Generator, rows: int) -> Any:
    """Daily noise, independent from day to day."""
    return rng.normal(0, 1, rows)


def regimes(rng: np.random.Generator, rows: int) -> Any:
    """Daily noise whose log volatility is an AR(1) of 50 days with a standard deviation of 0.6."""
    return shared(rng, rows) * np.exp(autoregressive(rng, rows, PHI, 0.6))


def drift(phi: float) -> Draw:
    """Daily noise with a mean that is an AR(1) with a standard deviation of 0.25."""
    return lambda rng, rows: shared(rng, rows) + autoregressive(rng, rows, phi, 0.25)


def autoregressive(rng: np.random.Generator, rows: int, phi: float, deviation: float) -> Any:
    """A stationary AR(1)."""
    noise = rng.normal(0, deviation * math.sqrt(1 - phi**2), rows + 500)
    return lfilter([1], [1, -phi], noise)[500:]


PROCESSES: dict[str, tuple[Draw, float]] = {
    "daily noise only": (shared, 0.0),
    "daily and as much own noise": (shared, 1.0),
    "mostly own noise (paired differences)": (shared, 4.0),
    "slow volatility, daily noise only": (regimes, 0.0),
    "slow volatility, and own noise": (regimes, 1.0),
    "mean drifts over 10 days": (drift(0.9), 1.0),
    "mean drifts over 50 days": (drift(PHI), 1.0),
}


def cosines(values: Any, starts: Any, days: int) -> tuple[float, float]:
    """The interval of the package."""
    found = CosineEstimate.of(values, starts, days).interval()
    return found.low, found.high


def clustered(values: Any, starts: Any, days: int, episodes: int) -> tuple[float, float]:
    """The interval of Liang & Zeger (1986) over blocks of ``episodes`` episodes."""
    _, block = np.unique(starts // (episodes * days), return_inverse=True)
    count = int(block.max()) + 1
    sums = np.bincount(block, weights=values - values.mean())
    reach = t.ppf(0.975, count - 1) * math.sqrt(count / (count - 1) * float(sums @ sums)) / len(values)
    return values.mean() - reach, values.mean() + reach


def plain(values: Any, starts: Any, days: int) -> tuple[float, float]:
    """The interval of independent values."""
    reach = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - reach, values.mean() + reach


METHODS: dict[str, Callable[[Any, Any, int], tuple[float, float]]] = {
    "cosines": cosines,
    "blocks of 2": lambda values, starts, days: clustered(values, starts, days, 2),
    "blocks of 4": lambda values, starts, days: clustered(values, starts, days, 4),
    "plain": plain,
}


def simulated(process: str, rows: int, days: int, count: int, repeats: int) -> Iterator[tuple[Any, Any]]:
    """Values and starts of simulated episodes; the true mean is 0."""
    draw, own = PROCESSES[process]
    rng = np.random.default_rng([rows, days, count, list(PROCESSES).index(process)])
    for _ in range(repeats):
        starts = rng.integers(0, rows - days + 1, count)
        total = np.concatenate([[0], np.cumsum(draw(rng, rows))])
        yield (total[starts + days] - total[starts]) / math.sqrt(days) + own * rng.normal(0, 1, count), starts


def main(repeats: int) -> None:
    """Print a table for each size."""
    console = Console(width=120)
    for rows, days, count in SIZES:
        table = Table(title=f"{count} episodes of {days} days in {rows} rows: coverage, width")
        for heading in ("noise", *METHODS):
            table.add_column(heading, justify="left" if heading == "noise" else "right")
        for process in PROCESSES:
            found = list(simulated(process, rows, days, count, repeats))
            truth = 2 * 1.96 * float(np.std([values.mean() for values, _ in found]))
            cells = []
            for method in METHODS.values():
                ends = np.array([method(values, starts, days) for values, starts in found])
                coverage = np.mean((ends[:, 0] < 0) & (ends[:, 1] > 0))
                cells.append(f"{coverage:.3f}, {np.mean(ends[:, 1] - ends[:, 0]) / truth:.2f}")
            table.add_row(process, *cells)
        console.print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS)
