"""Train, validation and test rows: in time, with an embargo between them; once, or walking forward."""

import datetime
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError, RecipeError
from tradeschool.market.panel import Panel

Rows = NDArray[np.int64]
Day = str | datetime.date | np.datetime64
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Row numbers of the panel's dates, ascending; the embargo's rows and the warm-up's are in no part."""

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


def split_rows(
    panel: Panel,
    shares: tuple[float, float, float] = (0.6, 0.1, 0.3),
    dates: tuple[Day, Day] | None = None,
    *,
    embargo: int,
    warmup: int,
) -> Split:
    """Cut the dates into three parts in time.

    The first ``warmup`` rows are dropped (indicators are not settled there), and ``embargo`` rows
    before validation and before test, so that with an embargo of at least the longest horizon
    (``horizon + 1`` for open-to-open forward returns) no outcome of one part reaches into the next.
    The last rows of test have no outcome, because the panel ends.

    Args:
        panel: whose ``dates_T`` are cut.
        shares: of train, validation and test in the rows that remain; unused when ``dates`` is given.
        dates: (validation from, test from): the first day of each, or the first trading day after it.
        embargo: rows between two parts.
        warmup: rows dropped at the start.

    Raises:
        RecipeError: shares, dates, embargo or warm-up make no sense.
        DataError: a part would be empty.
    """
    for name, rows in (("embargo", embargo), ("warmup", warmup)):
        if rows < 0:
            raise RecipeError(f"{name} is {rows} rows; it cannot be negative. Give 0 or more.")
    total = len(panel.dates_T)
    if dates is None:
        validation, test = _starts_by_share(shares, total, embargo, warmup)
    else:
        validation, test = _starts_by_date(dates, panel.dates_T)
    split = Split(
        train_T=np.arange(warmup, validation - embargo, dtype=np.int64),
        validation_T=np.arange(max(validation, warmup), test - embargo, dtype=np.int64),
        test_T=np.arange(max(test, warmup), total, dtype=np.int64),
    )
    _refuse_empty(split, panel, embargo, warmup)
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
    """The split of :func:`split_rows` moved forward in time, so that every test row is reached from a nearer past.

    The test rows of :func:`split_rows` are cut into ``folds`` consecutive parts, as equal as can be, one
    for each fold. Fold 0 trains on the same rows as the plain split; in every later fold the training part
    ends as many rows later as its test begins, and starts at the same row (it expands: it takes in what was
    validation and test before). The validation part keeps its length and moves along, right before the
    embargo of each test. One fold is the plain split.

    Args:
        panel: whose ``dates_T`` are cut.
        folds: how many, at least 1.
        shares: of the plain split that the folds start from; as in :func:`split_rows`.
        dates: as in :func:`split_rows`.
        embargo: rows between two parts, in every fold.
        warmup: rows dropped at the start.

    Raises:
        RecipeError: folds, shares, dates, embargo or warm-up make no sense.
        DataError: a part would be empty.
    """
    if folds < 1:
        raise RecipeError(f"folds is {folds}; it must be at least 1. Give 1 for a single split.")
    first = split_rows(panel, shares, dates, embargo=embargo, warmup=warmup)
    if folds > len(first.test_T):
        raise DataError(
            f"{panel.name}: {folds} folds need at least as many test dates, and the test part has "
            f"{len(first.test_T)}. Give fewer folds, a larger test part, or a longer history."
        )
    return [_moved(first, test_T) for test_T in np.array_split(first.test_T, folds)]


def _moved(first: Split, test_T: Rows) -> Split:
    step = int(test_T[0] - first.test_T[0])
    train_T = np.arange(first.train_T[0], first.train_T[-1] + 1 + step, dtype=np.int64)
    return Split(train_T, first.validation_T + step, test_T)


def _starts_by_share(shares: tuple[float, float, float], total: int, embargo: int, warmup: int) -> tuple[int, int]:
    cure = "Give three positive shares for train, validation and test that sum to 1, such as 0.6, 0.1, 0.3."
    if len(shares) != 3:
        raise RecipeError(f"The split has {len(shares)} shares: {_listed(shares)}. {cure}")
    if not all(np.isfinite(share) and share > 0 for share in shares):
        raise RecipeError(f"The split's shares are {_listed(shares)}, and each must be above 0. {cure}")
    if abs(sum(shares) - 1.0) > 1e-6:
        raise RecipeError(f"The split's shares {_listed(shares)} sum to {sum(shares):g}, not to 1. {cure}")
    usable = total - warmup - 2 * embargo
    # Rounding by the running sum, so that no row is lost and each part is within one row of its share.
    validation = warmup + round(shares[0] * usable) + embargo
    test = warmup + round((shares[0] + shares[1]) * usable) + 2 * embargo
    return validation, test


def _starts_by_date(dates: tuple[Day, Day], dates_T: NDArray[np.datetime64]) -> tuple[int, int]:
    if len(dates) != 2:
        raise RecipeError(f"The split's dates are {_listed(dates)}. Give two: validation from, test from.")
    days = [_day(day) for day in dates]
    if days[0] >= days[1]:
        raise RecipeError(
            f"The split's test begins on {days[1]}, not after validation's {days[0]}. "
            "Give the earlier day for validation and the later one for test."
        )
    first, second = np.searchsorted(dates_T.astype("datetime64[D]"), np.array(days, dtype="datetime64[D]"))
    return int(first), int(second)


def _day(day: Day) -> datetime.date:
    try:
        if isinstance(day, datetime.date):
            return datetime.date(day.year, day.month, day.day)
        return datetime.date.fromisoformat(str(day))
    except ValueError as error:
        raise RecipeError(f"The split's date {day!r} is not a date. Write it as 2015-12-31.") from error


def _refuse_empty(split: Split, panel: Panel, embargo: int, warmup: int) -> None:
    for part in PARTS:
        if not len(getattr(split, f"{part}_T")):
            total = len(panel.dates_T)
            raise DataError(
                f"{panel.name}: the {part} part would be empty. The panel has {total} dates, {panel.dates_T[0]} to "
                f"{panel.dates_T[-1]}; {warmup} go to the warm-up and {embargo} to each of the two embargoes. "
                "Give a longer history, other split dates or shares, or a shorter warm-up."
            )


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(str(value) for value in values)
