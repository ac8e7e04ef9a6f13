"""Made-up bars of one ticker, changes to them, and files of them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bars = dict[str, NDArray]
"""Columns by their names in a file."""
PRICES = ("Open", "High", "Low", "Close")
BUSINESS = np.busday_offset(np.datetime64("2015-01-01"), np.arange(3000), roll="forward")


def bars(seed: int = 0, days: NDArray[np.datetime64] = BUSINESS[:300], price: float = 50.0) -> Bars:
    """A random walk of 1.5 % a bar, with volumes that vary by half."""
    rng, count = np.random.default_rng(seed), len(days)
    close_T = price * np.exp(np.cumsum(rng.normal(0, 0.015, count)))
    open_T = np.append(close_T[0], close_T[:-1]) * np.exp(rng.normal(0, 0.003, count))
    high_T = np.maximum(open_T, close_T) * (1 + np.abs(rng.normal(0, 0.004, count)))
    low_T = np.minimum(open_T, close_T) * (1 - np.abs(rng.normal(0, 0.004, count)))
    volume_T = np.round(2e5 * np.exp(rng.uniform(-0.5, 0.5, count)))
    return {"Date": days, "Open": open_T, "High": high_T, "Low": low_T, "Close": close_T, "Volume": volume_T}


def times(made: Bars, rows: slice, factor: float, names: tuple[str, ...] = PRICES) -> Bars:
    """The bars with some cells multiplied; highs and lows contain the others, as far as these were not given."""
    made = {name: cells.copy() for name, cells in made.items()}
    for name in names:
        made[name][rows] *= factor
    if names != ("High",):
        made["High"] = np.maximum.reduce([made[name] for name in PRICES])
    if names != ("Low",):
        made["Low"] = np.minimum.reduce([made[name] for name in PRICES])
    return made


def filled(made: Bars, first: int, after: int, volume: float = 0) -> Bars:
    """The bars with the days from ``first`` to before ``after`` filled with the close before, or the first open."""
    made = {name: cells.copy() for name, cells in made.items()}
    for name in PRICES:
        made[name][first:after] = made["Close"][first - 1] if first else made["Open"][after]
    made["Volume"][first:after] = volume
    return made


def rows(made: Bars, chosen: slice) -> Bars:
    """Some of the bars."""
    return {name: cells[chosen] for name, cells in made.items()}


def write(folder: Path, digits: int = 6, **tickers: Bars) -> Path:
    """A file for each ticker."""
    folder.mkdir(exist_ok=True)
    for ticker, made in tickers.items():
        columns = [cells.astype(str) if name == "Date" else cells.round(digits) for name, cells in made.items()]
        lines = [",".join(made), *(",".join(map(str, cells)) for cells in zip(*columns, strict=True))]
        (folder / f"{ticker}.csv").write_text("\n".join(lines) + "\n")
    return folder
