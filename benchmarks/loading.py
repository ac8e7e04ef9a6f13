"""Loading price files into a checked Panel, compared with plain pandas loops that check nothing.

    .venv/bin/python benchmarks/loading.py

Writes its own files to a temporary folder: 80 CSV files of five years, and 500 tickers x 20 years as one long parquet
file and as a folder of 500. Prints medians over repeats, of the wall clock and of the processor's time, which other
work on the machine hardly changes, and how the time grows with tickers and days.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from tradeschool.market.load import load_prices

CSV_TICKERS, CSV_DAYS = 80, 1258
TICKERS, DAYS = 500, 5040
CURVE = (50, 100, 200, 400)
CURVE_DAYS = (630, 1260, 2520, 5040)
REPEATS = 7


def frames(tickers: int, days: int) -> Iterable[tuple[str, pd.DataFrame]]:
    """A random walk per ticker, as Yahoo writes it: six decimals, an Adj Close, whole volumes."""
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("2000-01-03", periods=days)
    for n in range(tickers):
        close_T = np.round(50 * np.exp(np.cumsum(rng.normal(0, 0.01, days))), 6)
        open_T = np.round(close_T * np.exp(rng.normal(0, 0.005, days)), 6)
        yield (
            f"T{n:03d}",
            pd.DataFrame(
                {
                    "Date": dates,
                    "Open": open_T,
                    "High": np.round(np.maximum(open_T, close_T) * 1.01, 6),
                    "Low": np.round(np.minimum(open_T, close_T) * 0.99, 6),
                    "Close": close_T,
                    "Adj Close": np.round(close_T * 0.9, 6),
                    "Volume": rng.integers(1, 10**7, days),
                }
            ),
        )


def write_csv(folder: Path, tickers: int, days: int) -> Path:
    folder.mkdir()
    for ticker, frame in frames(tickers, days):
        frame.to_csv(folder / f"{ticker}.csv", index=False)
    return folder


def write_folder(folder: Path, tickers: int, days: int) -> Path:
    folder.mkdir()
    for ticker, frame in frames(tickers, days):
        frame.to_parquet(folder / f"{ticker}.parquet", index=False)
    return folder


def write_long(path: Path, tickers: int, days: int) -> Path:
    pd.concat([frame.assign(Ticker=ticker) for ticker, frame in frames(tickers, days)]).to_parquet(path, index=False)
    return path


def bare_csv(folder: Path) -> None:
    """A loop without any check or adjustment."""
    for file in sorted(folder.iterdir()):
        pd.read_csv(file, parse_dates=["Date"])


def bare_parquet(path: Path) -> None:
    """The same for parquet: one file, or all of a folder."""
    for file in [path] if path.is_file() else sorted(path.iterdir()):
        pd.read_parquet(file)


Times = list[tuple[float, float]]
"""Seconds by the wall clock and of the processor."""


def measured(runs: dict[str, Callable[[], object]]) -> dict[str, Times]:
    """The times of every run, in turns so that a busy minute affects all of them; the first turn is not counted."""
    times: dict[str, Times] = {name: [] for name in runs}
    for turn in range(REPEATS + 1):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if turn:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def show(title: str, times: dict[str, Times]) -> None:
    print(title)
    for name, found in times.items():
        walls, cpus = zip(*found, strict=True)
        shown = f"{statistics.median(walls):6.3f} s (median of {REPEATS}; {min(walls):.3f} to {max(walls):.3f})"
        print(f"  {name:32} {shown}, processor {statistics.median(cpus):.3f} s")


def curve(title: str, paths: dict[int, Path]) -> None:
    """The medians for growing markets, and their largest distance from a straight line."""
    times = measured({str(size): lambda path=path: load_prices(path, []) for size, path in paths.items()})  # type: ignore[misc]
    middle = [statistics.median(wall for wall, _ in found) for found in times.values()]
    slope, start = np.polyfit(list(paths), middle, 1)
    off = max(abs(value / (start + slope * size) - 1) for size, value in zip(paths, middle, strict=True))
    shown = ", ".join(f"{size}: {value:.3f} s" for size, value in zip(paths, middle, strict=True))
    print(f"  {title:32} {shown}")
    print(f"  {'':32} {start:.3f} s + {slope * 100:.3f} s per 100, at most {off:.0%} off the line")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        csv = write_csv(root / "csv", CSV_TICKERS, CSV_DAYS)
        runs: dict[str, Callable[[], object]] = {
            "tradeschool, checked": lambda: load_prices(csv, []),
            "pandas.read_csv in a loop": lambda: bare_csv(csv),
        }
        show(f"{CSV_TICKERS} CSV files x {CSV_DAYS} rows", measured(runs))
        folder, long = write_folder(root / "folder", TICKERS, DAYS), write_long(root / "long.parquet", TICKERS, DAYS)
        runs = {
            "tradeschool, long file": lambda: load_prices(long, []),
            "pandas.read_parquet, long file": lambda: bare_parquet(long),
            "tradeschool, folder": lambda: load_prices(folder, []),
            "pandas.read_parquet in a loop": lambda: bare_parquet(folder),
        }
        show(f"{TICKERS} tickers x {DAYS} rows, parquet", measured(runs))
        panel = load_prices(folder, [])
        parts = {"Panel's own checks": panel.__post_init__, "data hash": panel.data_hash}
        show("  of these, or after them", measured(dict(parts)))
        print("Growth")
        curve("CSV files x 1,258 rows", {n: write_csv(root / f"c{n}", n, CSV_DAYS) for n in CURVE})
        curve("parquet folder, tickers x 5,040", {n: write_folder(root / f"f{n}", n, DAYS) for n in CURVE})
        curve("long parquet, tickers x 5,040", {n: write_long(root / f"l{n}.parquet", n, DAYS) for n in CURVE})
        curve("long parquet, 200 x days", {d: write_long(root / f"d{d}.parquet", 200, d) for d in CURVE_DAYS})


if __name__ == "__main__":
    main()
