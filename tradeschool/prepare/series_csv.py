"""Windows for forecasting as CSV files per stock, in the layout of VTA's pipeline (arXiv 2511.08616)."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from tradeschool.errors import DataError, RecipeError
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.series import COLUMNS, SeriesConfig, SeriesWindows, windows
from tradeschool.prepare.folder import Identity, begun, finished
from tradeschool.recipe_sections import SplitConfig
from tradeschool.train.logging import progress

FILES = ("train_x", "train_y", "test_x", "test_y", "full_x", "full_y")
DIGITS = 10


@dataclass
class Written:
    """How many windows each ticker's ``full`` file has, and why tickers have none.

    ``mixed``: whether a forecast of one ticker's train file is of a day at or after the first of another's test file.
    """

    windows: dict[str, int]
    left_out: dict[str, str]
    mixed: bool = False


def series_config(split: SplitConfig) -> SeriesConfig:
    """A recipe's split as that of forecasting windows: its shares or its two days.

    Raises:
        RecipeError: it walks forward in folds, which this layout cannot hold.
    """
    if split.folds > 1:
        raise RecipeError(
            f"split.folds is {split.folds}, but CSV windows have one train and one test file. Leave it out, and give "
            "the days of a fold as split.validation_from and split.test_from."
        )
    if split.validation_from is not None:
        return SeriesConfig(validation_from=split.validation_from, test_from=split.test_from)
    return SeriesConfig(shares=(split.train or 0.0, split.validation or 0.0, split.test or 0.0))


def write_series(panel: Panel, config: SeriesConfig, identity: Identity, out: Path, console: Console) -> Written:
    """Write ``<TICKER>_<train|test|full>_<x|y>.csv`` for every ticker of a panel into ``out``.

    A row is a window. x has ``sequence`` (the scaled closes read), the indicators and the statistics of
    :data:`tradeschool.market.series.COLUMNS`; y has ``sequence`` (the scaled closes to forecast). A cell with
    several values is a list, ``[0.1, 0.2]``, oldest first; values have ten significant digits. ``full`` holds train,
    validation and test in the order of time. A ticker with too few bars is left out and named.

    Raises:
        DataError: ``out`` holds something, or no ticker has enough bars.
    """
    partial = begun(out, identity)
    written = Written({}, {})
    trained, tested = [], []
    with progress(console) as bar:
        task = bar.add_task("tickers", total=len(panel.tickers), figures="")
        for n, ticker in enumerate(panel.tickers):
            try:
                found = windows(panel, n, config)
                _write_ticker(partial, _file_name(ticker), found)
                written.windows[ticker] = len(found)
                trained.append(found.only("train").dates_W[-1])
                tested.append(found.only("test").dates_W[0])
            except DataError as error:
                written.left_out[ticker] = str(error)
            bar.update(task, advance=1)
    if not written.windows:
        raise DataError(f"No ticker has enough bars. The first: {next(iter(written.left_out.values()))}")
    written.mixed = max(trained) >= min(tested)
    finished(partial, out)
    return written


def _file_name(ticker: str) -> str:
    # A ticker such as BRK/B must not name a folder.
    return ticker.replace("/", "-")


def _write_ticker(folder: Path, name: str, found: SeriesWindows) -> None:
    x_WC = np.stack([_cells(found.columns[column]) for column in COLUMNS], axis=1)
    y_WC = _cells(found.y_WH)[:, None]
    for part in ("train", "test", "full"):
        chosen_W = (found.part_W == part) | (part == "full")
        _write(folder / f"{name}_{part}_x.csv", list(COLUMNS), x_WC[chosen_W].tolist())
        _write(folder / f"{name}_{part}_y.csv", ["sequence"], y_WC[chosen_W].tolist())


def _cells(values: Floats) -> NDArray[np.object_]:
    """A text per window. Windows overlap, so most values come ten times, and each is written out once."""
    different, places = np.unique(values, return_inverse=True)
    texts = np.array([f"{value:.{DIGITS}g}" for value in different.tolist()], dtype=object)[places]
    if values.ndim == 1:
        return texts
    cells = np.empty(len(values), dtype=object)
    cells[:] = ["[" + ", ".join(row) + "]" for row in texts.reshape(values.shape).tolist()]
    return cells


def _write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
