"""Reads forecasting windows from files in VTA's layout: ``{STOCK}_{train,test,full}_{x,y}.csv``.

A row is a window: x has the scaled closes read (``sequence``), indicators and statistics, y the scaled closes to
forecast. The files hold neither dates nor prices, so the panel made of them has numbered days, on which the test
windows of all stocks begin together, and its bars are the scaled closes above a floor.
"""

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError, did_you_mean
from tradeschool.market.panel import Floats, GivenWindows, Panel
from tradeschool.market.windows import COLUMNS, INDICATORS

SUFFIX = "_full_x.csv"
START = np.datetime64("2000-01-03")
"""The first of the numbered days."""
APART = 30
"""Days without a bar where windows do not overlap, so that nothing is computed across."""
FLOOR = 1.0
"""The lowest close of the panel; prices must be above 0."""
TOLERANCE = 1e-6
"""Between values of overlapping windows, which were rounded when written."""
PARTS = ("train", "validation", "test")


def holds_windows(folder: Path) -> bool:
    """Whether a folder holds such files."""
    return folder.is_dir() and any(folder.glob(f"*{SUFFIX}"))


def read_windows(folder: Path) -> Panel:
    """The panel of all stocks with window files in a folder; ``Panel.given`` holds the windows themselves.

    The windows of a stock's ``full`` files that are in its ``train`` or ``test`` files belong to that part, those in
    neither to validation. Closes of overlapping windows are joined to one series.

    Raises:
        DataError: there are no such files, one is missing, or a cell, a row or a column is not as it should be.
    """
    stocks = sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))
    if not stocks:
        raise DataError(f"{folder}: no file is called STOCK{SUFFIX}. Give the folder that holds the window files.")
    read = {stock: _read_stock(folder, stock) for stock in stocks}
    before = max(found.starts[2] for found in read.values())
    length = max(before - found.starts[2] + len(found.close_B) for found in read.values())
    close_TN = np.full((length, len(stocks)), np.nan)
    given, shift_N = {}, np.zeros(len(stocks))
    for n, found in enumerate(read.values()):
        first = before - found.starts[2]
        shift_N[n] = FLOOR - min(float(np.nanmin(found.close_B)), 0.0)
        close_TN[first : first + len(found.close_B), n] = found.close_B + shift_N[n]
        given[stocks[n]] = GivenWindows(found.end_W + first, found.part_W, found.columns, float(shift_N[n]))
    bars: dict[str, Any] = {f"{name}_TN": close_TN.copy() for name in ("open", "high", "low", "close")}
    days_T = np.busday_offset(START, np.arange(length), roll="forward").astype("datetime64[D]")
    volume_TN = np.where(np.isfinite(close_TN), 1.0, np.nan)
    return Panel(days_T, tuple(stocks), **bars, volume_TN=volume_TN, name=f"windows of {folder.name}", given=given)


class _Stock:
    """The windows of one stock on its own row of bars B; ``starts`` are the first end rows of the parts."""

    def __init__(self, columns: dict[str, Floats], y_WH: Floats, part_W: NDArray[np.str_], where: str) -> None:
        self.columns, self.part_W = columns, part_W
        self.close_B, self.end_W = _joined(columns["sequence"], y_WH)
        for part in ("train", "test"):
            if not (part_W == part).any():
                raise DataError(f"{where}: none of its windows is in the {part} file. Give files of the same windows.")
        self.starts = [int(self.end_W[part_W == part][0]) if (part_W == part).any() else 0 for part in PARTS]


def _read_stock(folder: Path, stock: str) -> _Stock:
    parts = {part: _read_pair(folder, stock, part) for part in ("full", "train", "test")}
    columns, y_WH = parts["full"]
    keys = {part: {row.tobytes() for row in _whole(*pair)} for part, pair in parts.items()}
    part_W = np.full(len(y_WH), "validation", dtype="U10")
    for part in ("train", "test"):
        if not keys[part] <= keys["full"]:
            raise DataError(
                f"{folder / stock}_{part}_x.csv: it has windows that {stock}{SUFFIX} has not. Write both again."
            )
        part_W[[row.tobytes() in keys[part] for row in _whole(columns, y_WH)]] = part
    return _Stock(columns, y_WH, part_W, f"{folder / stock}{SUFFIX}")


def _whole(columns: dict[str, Floats], y_WH: Floats) -> Floats:
    return np.ascontiguousarray(np.hstack([columns["sequence"], y_WH]))


def _joined(x_WL: Floats, y_WH: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The series of all closes, NaN between windows that do not overlap, and the place of each window's last input."""
    windows_WS = np.hstack([x_WL, y_WH])
    size, inputs = windows_WS.shape[1], x_WL.shape[1]
    series, ends = [*windows_WS[0]], [inputs - 1]
    for before_S, window_S in itertools.pairwise(windows_WS):
        steps = (k for k in range(1, size) if np.allclose(before_S[k:], window_S[: size - k], rtol=0, atol=TOLERANCE))
        step = next(steps, None)
        if step is None:
            series += [np.nan] * APART
            step = size + APART
        series += window_S[max(size - step, 0) :].tolist()
        ends.append(ends[-1] + step)
    return np.array(series), np.array(ends)


# cells --------------------------------------------------------------------------------------------


def _read_pair(folder: Path, stock: str, part: str) -> tuple[dict[str, Floats], Floats]:
    """The x columns and y of one part; lists [W, L], numbers [W]."""
    paths = [folder / f"{stock}_{part}_{side}.csv" for side in "xy"]
    columns, (y_WH,) = _read(paths[0], COLUMNS), _read(paths[1], ("sequence",)).values()
    if len(y_WH) != len(columns["sequence"]):
        windows = len(columns["sequence"])
        raise DataError(f"{paths[1]}: it has {len(y_WH)} windows, but {paths[0].name} has {windows}. Write both again.")
    return columns, y_WH


def _read(path: Path, names: tuple[str, ...]) -> dict[str, Floats]:
    if not path.is_file():
        raise DataError(f"{path} is missing. A stock needs the files train, test and full, x and y of each.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise DataError(f"{path}: it has no windows. Write it anew, or leave this stock out.")
    for name in names:
        if name not in rows[0]:
            raise DataError(
                f"{path}: there is no column '{name}'.{did_you_mean(name, rows[0])} Needed: {', '.join(names)}."
            )
    return {name: np.array(list(_cells(path, rows, name))) for name in names}


def _cells(path: Path, rows: list[dict[str, str]], name: str) -> Iterator[Any]:
    """Numbers, or lists of numbers of the same length as in the first row."""
    is_list, length = name == "sequence" or name in INDICATORS, None
    for number, row in enumerate(rows, start=2):
        where = f"{path}, line {number}: {name}"
        try:
            value = json.loads((row[name] or "").replace("nan", "NaN"))
            values = [float(one) for one in value] if is_list else float(value)
        except (ValueError, TypeError) as error:
            form = "a list of numbers like [0.1, 0.2]" if is_list else "a number"
            raise DataError(f"{where} is '{str(row[name])[:40]}', but must be {form}. Correct the cell.") from error
        if isinstance(values, list):
            length = len(values) if length is None else length
            if len(values) != length:
                raise DataError(
                    f"{where} has {len(values)} values, but the rows before have {length}. Correct the cell."
                )
            if name == "sequence" and not np.isfinite(values).all():
                raise DataError(
                    f"{where} has a value that is not a finite number. Correct the cell, or remove the row."
                )
        yield values
