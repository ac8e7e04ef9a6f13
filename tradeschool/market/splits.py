"""Train, validation and test rows: in time, with an embargo between them; once, or walking forward."""

import datetime
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError
from tradeschool.market.panel import Panel

Rows = NDArray[np.int64]
Day = str | datetime.date | np.datetime64
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Rows of the panel's dates, ascending. The rows of the embargo and of the warm-up are in no part."""

    train_T: Rows
    validation_T: Rows
    test_T: Rows

    def rows(self, part: Part) -> Rows:
        """The rows of a part by its name."""
        return {"train": self.train_T, "validation": self.validation_T, "test": self.test_T}[part]

    def ends(self, part: Part) -> tuple[int, int]:
        """The first and the last row of a part."""
        rows = self.rows(part)
        return int(rows[0]), int(rows[-1])


def embargo(split: Split) -> int:
    """Rows between the training part and the next one."""
    later = [int(rows[0]) for rows in (split.validation_T, split.test_T) if rows.size]
    return min(later) - split.ends("train")[1] - 1


def split_rows(
    panel: Panel,
    shares: tuple[float, float, float] = (0.6, 0.1, 0.3),
    dates: tuple[Day, Day] | None = None,
    *,
    embargo: int,
    warmup: int,
) -> Split:
    """Cut the dates into three parts in time.

    No outcome of one part reaches into the next if the embargo is at least the longest horizon + 1 (open-to-open
    returns end one bar after the horizon). The last test rows have no outcome, because the panel ends.

    Args:
        panel: whose ``dates_T`` are cut.
        shares: of train, validation and test in the rows that remain, summing to 1; unused if ``dates`` is given.
        dates: the first day of validation and of test; if it is not a trading day, the next one.
        embargo: bars dropped before validation and before test: as many rows, or more where the tickers of a market
            trade on different days, so that no ticker has fewer bars in them.
        warmup: rows dropped at the start, where indicators are not settled.

    Raises:
        DataError: a part would be empty.
    """
    total = len(panel.dates_T)
    if dates is not None:
        days = panel.dates_T.astype("datetime64[D]")
        validation, test = np.searchsorted(days, np.array(dates, dtype="datetime64[D]")).tolist()
    else:
        usable = total - warmup - 2 * embargo
        # Rounding the running sum loses no row, and each part is within one row of its share.
        validation = warmup + round(shares[0] * usable) + embargo
        test = warmup + round((shares[0] + shares[1]) * usable) + 2 * embargo
    split = _split(panel, warmup, max(validation, warmup), np.arange(max(test, warmup), total), embargo)
    for part in PARTS:
        if not len(split.rows(part)):
            raise DataError(
                f"{panel.name}: the {part} part would be empty. The panel has {total} dates, {panel.dates_T[0]} to "
                f"{panel.dates_T[-1]}; {warmup} go to the warm-up and {embargo} to each of the two embargoes. "
                "Give a longer history, other split dates or shares, or a shorter warm-up."
            )
    return split


def walk_forward(
    panel: Panel,
    folds: int,
    shares: tuple[float, float, float] = (0.6, 0.1, 0.3),
    dates: tuple[Day, Day] | None = None,
    *,
    embargo: int,
    warmup: int,
) -> list[Split]:
    """The split of :func:`split_rows`, moved forward in time once for each of ``folds``.

    The test rows are cut into ``folds`` consecutive parts of equal length (to within one row). The first fold trains
    on the rows of the plain split. In later folds the training part starts at the same row, and its end and the
    validation part move as many rows as the test part, each with its embargo. One fold is the plain split.
    """
    first = split_rows(panel, shares, dates, embargo=embargo, warmup=warmup)
    if folds > len(first.test_T):
        raise DataError(
            f"{panel.name}: {folds} folds need at least as many test dates, and the test part has "
            f"{len(first.test_T)}. Give fewer folds, a larger test part, or a longer history."
        )
    train, validation, test = int(first.train_T[0]), int(first.validation_T[0]), int(first.test_T[0])
    parts = np.array_split(first.test_T, folds)
    return [_split(panel, train, validation + int(test_T[0]) - test, test_T, embargo) for test_T in parts]


def _split(panel: Panel, train: int, validation: int, test_T: Rows, embargo: int) -> Split:
    """Training from row ``train`` and validation from row ``validation``, each until the embargo of the next part."""
    test = int(test_T[0]) if len(test_T) else len(panel.dates_T)
    ends = [start - panel.own_bars.rows_before(start, embargo) for start in (validation, test)]
    return Split(np.arange(train, ends[0]), np.arange(validation, ends[1]), test_T)


def given_split(panel: Panel) -> Split:
    """The rows from the first to the last window of each part, where a panel was made of windows in files.

    Parts of different tickers may overlap.
    """
    part_TN = given_parts_TN(panel)
    rows = [np.flatnonzero((part_TN == number).any(axis=1)) for number in range(len(PARTS))]
    return Split(*(np.arange(found[0], found[-1] + 1) if found.size else found for found in rows))


def given_parts_TN(panel: Panel) -> NDArray[np.int8]:
    """The number in :data:`PARTS` of the part of the window that ends at each row; -1 without one."""
    part_TN = np.full(panel.shape, -1, dtype=np.int8)
    for n, ticker in enumerate(panel.tickers):
        windows = (panel.given or {})[ticker]
        part_TN[windows.end_rows_W, n] = [PARTS.index(part) for part in windows.part_W.tolist()]
    return part_TN
