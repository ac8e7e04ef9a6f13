"""Reads a table of decisions onto a panel's dates and tickers; errors name the file and the line."""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError, did_you_mean
from tradeschool.market.panel import Floats, Panel
from tradeschool.text.parse import RATINGS

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("date", "ticker", "rating", "position")
SAME_CLOSE = 0.9  # share of rows in which a column equals the day's close that suggests execution at that close
FILL_WORDS = re.compile(r"fill|exec|entry|exit|trade_?price|pnl|profit|return", re.IGNORECASE)
TOO_MANY = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")  # pandas' message
SEPARATORS = {"';'": ";", "tabs": "\t", "'|'": "|"}
LATE = "Date each decision by the trading day whose close it was based on; a later date can hide look-ahead."


@dataclass(frozen=True)
class Decisions:
    """Positions that somebody decided on after the close of each date.

    Attributes:
        position_TN: on the panel's grid, in [-1, 1], NaN where there is no decision.
        source: the file, for messages.
        are_ratings: whether the table holds ratings, so that a position is rating / 2.
        warnings: what suggests look-ahead.
        unreadable: grid cells of answers that could not be read, whose position is 0.
    """

    source: str
    position_TN: Floats
    are_ratings: bool
    warnings: list[str]
    unreadable: frozenset[tuple[int, int]] = frozenset()

    @property
    def rows_T(self) -> NDArray[np.int64]:
        """The panel's rows from the first to the last decision."""
        decided_T = np.flatnonzero(np.isfinite(self.position_TN).any(axis=1))
        return np.arange(decided_T[0], decided_T[-1] + 1)


def read_decisions(decisions: "Path | str | DataFrame", panel: Panel) -> Decisions:
    """Read a table with the columns date, ticker, and rating or position.

    Args:
        decisions: a CSV file or a data frame. A rating is STRONG_SELL to STRONG_BUY or -2 to 2, a position a number
            from -1 (all of the ticker's capital short) to 1. An empty rating with a text in the column ``error``, as
            ``tradeschool signal --csv`` writes it, is an answer that could not be read.
        panel: the prices; every date and ticker must be in it.

    Raises:
        DataError: a row breaks a rule; the text names the file and the line.
    """
    table, source, where = _table(decisions)
    column = _value_column(list(table.columns), source)
    table = table.loc[:, table.columns != ""]  # where every row ends in a comma
    rows = {str(day): row for row, day in enumerate(panel.dates_T.astype("datetime64[D]"))}
    columns = {ticker: n for n, ticker in enumerate(panel.tickers)}
    position_TN = np.full(panel.shape, np.nan)
    lines: dict[tuple[int, int], Hashable] = {}
    unreadable = set()
    for line, entry in table.iterrows():
        try:
            unread = column == "rating" and not entry[column].strip() and str(entry.get("error", "")).strip()
            for name in ("date", "ticker") if unread else ("date", "ticker", column):
                if not entry[name].strip():
                    hold = " HOLD, or position 0, means no position." if name == column else ""
                    raise DataError(f"{name}: the cell is empty. Fill it, or remove the row.{hold}")
            if (ticker := entry["ticker"].strip()) not in columns:
                cure = did_you_mean(ticker, columns) or f" Remove the row, or add {ticker}.csv to the prices."
                raise DataError(f"ticker '{ticker}' is not in the prices.{cure}")
            cell = _date_row(entry["date"], rows), columns[ticker]
            if not panel.listed_TN[cell]:
                raise DataError(f"{entry['ticker']} has no bar on {entry['date']}. {LATE}")
            if cell in lines:
                first = where(lines[cell])
                raise DataError(
                    f"a second decision for {entry['ticker']} on {entry['date']}; the first is in {first}. Keep one."
                )
            if unread:
                unreadable.add(cell)
            position_TN[cell] = 0.0 if unread else _position(entry[column], column == "rating")
        except DataError as error:
            raise DataError(f"{source}, {where(line)}: {error}") from None
        lines[cell] = line
    if not lines:
        raise DataError(f"{source}: no decision. Give at least one row.")
    warnings = _fill_warnings(table, lines, panel)
    return Decisions(source, position_TN, column == "rating", warnings, frozenset(unreadable))


def _table(decisions: "Path | str | DataFrame") -> "tuple[DataFrame, str, Callable[[Hashable], str]]":
    """The table as text, its name, and how messages name its rows."""
    import pandas as pd

    if isinstance(decisions, pd.DataFrame):
        given = decisions.reset_index(drop=True)
        table, source = given.astype(str).mask(given.isna(), ""), "decisions"
    else:
        source = str(decisions)
        table = _csv(Path(decisions))
    table.columns = [str(column).strip().lower() for column in table.columns]
    if isinstance(decisions, pd.DataFrame):
        return table, source, lambda row: f"row {row}"
    return table, source, lambda row: f"line {int(str(row)) + 1}"


def _csv(path: Path) -> "DataFrame":
    """The cells of a CSV file as text; its index counts lines from 0, which is the header."""
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline()
        if "," not in header and (other := next((name for name, sign in SEPARATORS.items() if sign in header), None)):
            raise DataError(f"{path}: the cells are separated by {other}. Separate them by commas.")
        # The header is read as a row: otherwise pandas takes the first of too many cells for the name of a row.
        cells = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False, header=None)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Check the path.") from None
    except (OSError, ValueError) as error:
        if found := TOO_MANY.search(str(error)):
            header_cells, line, row_cells = found.groups()
            raise DataError(
                f"{path}, line {line} has {row_cells} cells, the header has {header_cells}. Give every line as many "
                "cells as the header; quote a cell that contains a comma."
            ) from None
        raise DataError(f"{path}: cannot be read as CSV ({str(error).strip()}). Write it as CSV again.") from error
    return cells.iloc[1:].set_axis(cells.iloc[0].tolist(), axis=1)


def _value_column(found: list[str], source: str) -> str:
    if twice := next((name for name in found if name and found.count(name) > 1), None):
        raise DataError(f"{source}: two columns are called '{twice}'. Rename or remove one.")
    for name in ("date", "ticker"):
        if name not in found:
            raise DataError(
                f"{source}: no column '{name}', only {', '.join(found)}. Add it, or rename one to '{name}'."
            )
    given = [name for name in ("rating", "position") if name in found]
    if len(given) != 1:
        have = "both" if given else f"only {', '.join(found)}"
        raise DataError(f"{source}: has {have}. Give exactly one of the columns 'rating' and 'position'.")
    return given[0]


def _date_row(text: str, rows: Mapping[str, int]) -> int:
    text = re.sub(r"[ T]00:00(:00)?$", "", text.strip())
    try:
        day = str(date.fromisoformat(text))
    except ValueError:
        raise DataError(f"'{text}' is not a date. Write YYYY-MM-DD.") from None
    if day in rows:
        return rows[day]
    first, *_, last = rows
    if not first <= day <= last:
        raise DataError(f"{day} is outside the prices, which run from {first} to {last}.")
    raise DataError(f"{day} has no bar in the prices (weekend or holiday). {LATE}")


def _position(text: str, is_rating: bool) -> float:
    """The position that a cell gives, or that a rating in it implies."""
    name = re.sub(r"[\s-]+(?=[A-Za-z])", "_", text.strip()).upper()
    if is_rating and name in RATINGS:
        return RATINGS[name] / 2
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if is_rating and value not in RATINGS.values():
        raise DataError(
            f"rating '{text}' cannot be read.{did_you_mean(name, RATINGS)} Write one of {', '.join(RATINGS)}, "
            "or -2 to 2."
        )
    if not is_rating and not -1 <= value <= 1:
        raise DataError(f"position '{text}' is not a number from -1 to 1.")
    return value / 2 if is_rating else value


def _fill_warnings(table: "DataFrame", lines: Mapping[tuple[int, int], Hashable], panel: Panel) -> list[str]:
    """Of columns that suggest execution at the close that a decision was made from."""
    import pandas as pd

    warnings = []
    close_R = np.array([panel.traded_close_TN[cell] for cell in lines])
    for column in [name for name in table.columns if name not in COLUMNS]:
        value_R = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
        share = float(np.mean(np.isclose(value_R, close_R, rtol=1e-4)))
        if share >= SAME_CLOSE:
            reason = f"equals the day's close in {share:.0%} of the rows"
        elif FILL_WORDS.search(column):
            reason = "suggests execution prices or results of your own"
        else:
            continue
        warnings.append(
            f"Column '{column}' {reason}. A decision made from a close cannot be executed at that close; here every "
            "decision is executed at the next open."
        )
    return warnings
