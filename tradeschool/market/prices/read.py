"""A price file as a table of named columns: CSV or parquet, in one of several layouts; every problem is reported."""

import ast
import codecs
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import did_you_mean
from tradeschool.market.findings import Report
from tradeschool.market.panel import Floats
from tradeschool.market.prices.csv_cells import decode, plain_columns, split_records, typed_cells
from tradeschool.market.prices.parse import Days, Rows, is_blank, parse_days, parse_numbers

if TYPE_CHECKING:
    import pandas as pd

PRICES = ("Open", "High", "Low", "Close")
REQUIRED_COLUMNS = (*PRICES, "Volume")
COLUMNS = (*REQUIRED_COLUMNS, "Adj Close")
_OTHER_SPELLINGS = {"datetime": "Date", "adjustedclose": "Adj Close", "symbol": "Ticker", "vol": "Volume"}
_STANDARD = ("Date", *COLUMNS, "Ticker")
_BY_SPELLING = {re.sub(r"[\W_]", "", name).casefold(): name for name in _STANDARD} | _OTHER_SPELLINGS
_LEVEL_NAMES = {"", "price", "ticker", "attributes", "symbols"}
_FIELD = r"adj[ _.]?close|adjusted[ _.]?close|open|high|low|close|volume"
_FIELD_FIRST = re.compile(rf"(?P<field>{_FIELD})[ _.:](?P<ticker>.+)", re.IGNORECASE)
_TICKER_FIRST = re.compile(rf"(?P<ticker>.+?)[ _.:](?P<field>{_FIELD})", re.IGNORECASE)
Title = str | tuple[str, str]


@dataclass(frozen=True)
class Layout:
    """Column positions, counted from 0, and the number of header lines.

    ``columns[ticker][field]`` is a position. The only ticker is None where the ``ticker`` column of a long table or
    the file name gives it.
    """

    date: int
    columns: dict[str | None, dict[str, int]]
    ticker: int | None = None
    lines: int = 1


@dataclass(frozen=True)
class Table:
    """The rows of a file that are not empty.

    Attributes:
        rows: line or record numbers in the file.
        dates_T: NaT where they cannot be read.
        columns: ``columns[ticker][field]``, NaN in blank cells and inf in cells that hold no number. One ticker's table
            and a long table have the single key None.
        tickers: the ticker column of a long table.
    """

    rows: Rows
    dates_T: Days
    columns: dict[str | None, dict[str, Floats]]
    tickers: "pd.Categorical | None" = None


def read_table(path: Path, report: Report, field: str | None = None) -> Table | None:
    """Read a CSV or parquet file; None if no row can be read.

    ``field`` is given where the file is a table of dates x tickers of this one field, such as ``close.csv``.
    """
    try:
        if path.suffix.casefold() == ".parquet":
            return _read_parquet(path, report, field)
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        report.error(None, "the file cannot be read", error.strerror or str(error), "Check that you may read it.")
        return None
    table = _read_csv(data, report, field)
    if table is not None and not data.endswith((b"\n", b"\r")):
        cure = "Nothing to do if the last row is complete. A truncated file looks the same."
        report.info("the last line has no line end", f"the last row is row {table.rows[-1]}", cure)
    return table


def _table(layout: Layout, cells: Mapping[int, Any], rows: Rows, report: Report) -> Table | None:
    """The table of a file's columns by position, all parsed; every cell that is no number is reported."""
    import pandas as pd

    empty_T = np.ones(len(rows), dtype=bool)
    columns: dict[str | None, dict[str, Floats]] = {}
    cure = "Write a plain number such as 1234.5, or leave all prices of a day without trading empty."
    for ticker, places in layout.columns.items():
        columns[ticker] = {name: parse_numbers(cells[i]) for name, i in places.items()}
        for name, values_T in columns[ticker].items():
            at = np.flatnonzero(np.isinf(values_T))
            texts = (f"'{cells[places[name]][i]}'" for i in at)
            report.for_ticker(ticker or "").error_each(rows[at], f"{name} is not a number", texts, cure)
            empty_T &= np.isnan(values_T)
    empty_T[empty_T] = is_blank(cells[layout.date][empty_T])
    report.counted(rows[empty_T], "empty rows were skipped")
    if empty_T.all():
        report.error(None, "the file has no rows with values", "", "Add the daily rows, or remove the file.")
        return None
    kept = ~empty_T if empty_T.any() else slice(None)
    dates_T = parse_days(cells[layout.date][kept], rows[kept], report)
    tickers = None if layout.ticker is None else pd.Categorical(cells[layout.ticker][kept])
    columns = {key: {name: value_T[kept] for name, value_T in some.items()} for key, some in columns.items()}
    return Table(rows[kept], dates_T, columns, tickers)


def _read_csv(data: bytes, report: Report, field: str | None) -> Table | None:
    text = decode(data, report)
    if text is None:
        return None
    if (columns := plain_columns(data)) is not None:
        return _plain_table(columns, report, field)
    records, rows = split_records(text, report)
    if not records or (layout := _layout_of_lines(records[:3], field, report)) is None:
        return None
    heads = records[: layout.lines]
    kept = [i for i in range(layout.lines, len(records)) if records[i] not in heads]
    if not kept:
        report.error(None, "the file has a header but no rows", "", "Add the daily rows, or remove the file.")
        return None
    repeats = sorted(set(rows[layout.lines :]) - {rows[i] for i in kept})
    report.counted(repeats, "rows that repeat the header were skipped")
    cells = dict(enumerate(np.array([records[i] for i in kept], dtype=object).T))
    return _table(layout, cells, np.array([rows[i] for i in kept], dtype=np.int64), report)


def _plain_table(columns: Sequence[Any], report: Report, field: str | None) -> Table | None:
    """The table of a CSV file by its columns of texts, the lines of the header included."""
    head = [[column[i].as_py() for column in columns] for i in range(3)]
    if (layout := _layout_of_lines(head, field, report)) is None:
        return None
    kinds = {i: "float64" for fields in layout.columns.values() for i in fields.values()} | {layout.date: "date32"}
    if layout.ticker is not None:
        kinds[layout.ticker] = "category"
    cells = {i: typed_cells(columns[i][layout.lines :], kind) for i, kind in kinds.items()}
    return _table(layout, cells, np.arange(layout.lines + 1, len(columns[0]) + 1, dtype=np.int64), report)


def _read_parquet(path: Path, report: Report, field: str | None) -> Table | None:
    """Page checksums are verified where the file has them. Rows are numbered from 1."""
    import pyarrow as pa
    import pyarrow.parquet

    source = pa.OSFile(str(path))  # outside try: a file that may not be read is not broken content
    try:
        with source, pyarrow.parquet.ParquetFile(source, page_checksum_verification=True) as file:
            names = list(file.schema_arrow.names)
            if not names or not file.metadata.num_rows:
                report.error(None, "the file has no rows", "", "Write it again, or remove it.")
                return None
            if (layout := _layout_of_titles([_title(name) for name in names], field, report)) is None:
                return None
            wanted = {layout.date, *(i for fields in layout.columns.values() for i in fields.values())}
            wanted |= set() if layout.ticker is None else {layout.ticker}
            threads = len(wanted) * file.metadata.num_rows > 1e6
            read = file.read(columns=[names[i] for i in wanted], use_threads=threads)
            cells = {i: _arrow_cells(read.column(names[i]), is_ticker=i == layout.ticker) for i in wanted}
    except (pa.ArrowException, ArithmeticError, KeyError, OSError, TypeError, ValueError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        report.error(None, "the file is not readable parquet", lines[0], "Write it again, or remove it.")
        return None
    return _table(layout, cells, np.arange(1, read.num_rows + 1, dtype=np.int64), report)


def _title(name: str) -> Title:
    """pandas writes a title of two levels as the text of a tuple: ``('Close', 'AAPL')``."""
    if not name.startswith("("):
        return name
    try:
        parts = ast.literal_eval(name)
    except (ValueError, SyntaxError):
        return name
    return (str(parts[0]), str(parts[1])) if isinstance(parts, tuple) and len(parts) == 2 else name


def _arrow_cells(column: Any, *, is_ticker: bool) -> Any:
    """A column as numbers, as local times without a zone, as objects, or as categories of texts."""
    import pyarrow as pa
    import pyarrow.compute

    if is_ticker:
        return typed_cells(column.cast(pa.string()), "category")
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = pyarrow.compute.local_timestamp(column)
    cells: NDArray[Any] = column.to_pandas(date_as_object=False).to_numpy()
    return cells if cells.dtype.kind in "fiuM" else cells.astype(object)


# What the columns mean


def standard_name(title: str) -> str | None:
    """The standard name of a column title in any case, with blanks or underscores; None if it has none."""
    return _BY_SPELLING.get(re.sub(r"[\W_]", "", title).casefold())


def _layout_of_lines(head: Sequence[Sequence[str]], field: str | None, report: Report) -> Layout | None:
    """The layout of a CSV file by its first three records; None after an error."""
    first = [title.strip() for title in head[0]]
    second = [title.strip() for title in head[1]] if len(head) > 1 else []
    levels = len(first) >= 2 and len(second) == len(first)
    if not (levels and first[0].casefold() in _LEVEL_NAMES and second[0].casefold() in _LEVEL_NAMES):
        return _layout_of_titles(list(head[0]), field, report)
    third = head[2] if len(head) > 2 and head[2] else [""]
    lines = 3 if standard_name(third[0]) == "Date" and not any(title.strip() for title in third[1:]) else 2
    pairs: list[Title] = [("", ""), *zip(first[1:], second[1:], strict=True)]
    return _layout_of_titles(pairs, field, report, lines)


def _layout_of_titles(titles: list[Title], field: str | None, report: Report, lines: int = 1) -> Layout | None:
    """The layout of a table by its column titles; None after an error. A two-level title is a pair, in either order."""
    names = [standard_name(title) if isinstance(title, str) else None for title in titles]
    date = _date_position(titles, names)
    if date is not None:
        names[date] = "Date"
    pairs = _field_ticker_pairs(titles) if field is None else {i: (field, _shown(t)) for i, t in enumerate(titles)}
    if field is None and (not pairs or any(name in REQUIRED_COLUMNS for name in names)):
        return _one_column_per_field([_shown(title) for title in titles], names, report)
    pairs.pop(-1 if date is None else date, None)
    errors_before = report.errors
    if date is None:
        shown = ", ".join(_shown(title) for title in titles[:5])
        report.error(1, "column Date missing", f"found {shown}", "Name the column of dates Date.")
    elif names.count("Date") > 1:
        report.error(1, "two columns mean Date", "", "Keep one of them.")
    columns = _columns_by_ticker(pairs, REQUIRED_COLUMNS if field is None else (field,), report)
    if date is None or report.errors > errors_before:
        return None
    for i, title in enumerate(titles):
        if i != date and i not in pairs:
            report.info("a column is not used", f"'{_shown(title)}'")
    return Layout(date, columns, lines=lines)


def _shown(title: Title) -> str:
    return title if isinstance(title, str) else " ".join(title).strip()


def _date_position(titles: Sequence[Title], names: Sequence[str | None]) -> int | None:
    """The position of Date. Without one, an untitled first or last column counts, as pandas writes an index."""
    if "Date" in names:
        return names.index("Date")
    for i, title in enumerate(titles):
        shown = _shown(title)
        untitled = not shown.strip() or shown == "index" or re.fullmatch(r"__index_level_\d+__", shown)
        if standard_name(shown) == "Date" or (untitled and i in (0, len(titles) - 1)):
            return i
    return None


def _field_ticker_pairs(titles: Sequence[Title]) -> dict[int, tuple[str, str]]:
    """Position -> (field, ticker) of all titles that hold both, in the order of the two that fits more titles."""
    found: list[dict[int, tuple[str, str]]] = []
    for pattern, at in ((_FIELD_FIRST, 0), (_TICKER_FIRST, 1)):
        pairs: dict[int, tuple[str, str]] = {}
        for i, title in enumerate(titles):
            if isinstance(title, tuple):
                field, ticker = title[at], title[1 - at]
            elif match := pattern.fullmatch(title.strip()):
                field, ticker = match["field"], match["ticker"]
            else:
                continue
            if (name := standard_name(field)) in COLUMNS:
                pairs[i] = (str(name), ticker.strip())
        found.append(pairs)
    return max(found, key=lambda pairs: (len(pairs), _complete_tickers(pairs)))


def _complete_tickers(pairs: dict[int, tuple[str, str]]) -> int:
    fields = Counter(ticker for field, ticker in set(pairs.values()) if field in REQUIRED_COLUMNS)
    return sum(count == len(REQUIRED_COLUMNS) for count in fields.values())


def _columns_by_ticker(
    pairs: dict[int, tuple[str, str]], required: Sequence[str], report: Report
) -> dict[str | None, dict[str, int]]:
    columns: dict[str | None, dict[str, int]] = {}
    for position, (field, title) in pairs.items():
        fields = columns.setdefault(title.strip(), {})
        if not title.strip():
            report.error(1, "a column names no ticker", f"column {position + 1}", "Name it, or remove the column.")
        elif field in fields:
            report.error(1, "two columns hold the same", f"{field} of {title}", "Keep one of them.")
        fields.setdefault(field, position)
    for ticker, fields in columns.items():
        if missing := [name for name in required if name not in fields]:
            cure = "Add the column, or remove the ticker's others."
            report.error(1, "columns of a ticker are missing", f"{ticker} lacks {', '.join(missing)}", cure)
    if not columns:
        report.error(1, "no column names a ticker", "", "Name the tickers in the first line.")
    raw = [str(ticker) for ticker, fields in columns.items() if "Adj Close" not in fields]
    if 0 < len(raw) < len(columns):
        cure = "Nothing to do if their prices are adjusted already."
        report.warning(1, "some tickers have an Adj Close, others do not", ", ".join(raw[:5]), cure)
    return columns


def _one_column_per_field(titles: Sequence[str], names: Sequence[str | None], report: Report) -> Layout | None:
    """The layout of one ticker or a long table; None if a required column is missing or a column comes twice."""
    places: dict[str, int] = {}
    errors_before = report.errors
    for position, name in enumerate(names):
        if name is not None and places.setdefault(name, position) != position:
            shown = f"'{titles[places[name]]}' and '{titles[position]}'"
            report.error(1, f"two columns mean {name}", shown, "Keep one of them.")
    unknown = [title for title, name in zip(titles, names, strict=True) if name is None]
    if missing := [name for name in ("Date", *REQUIRED_COLUMNS) if name not in places]:
        hints = "".join(f" Column '{title}':{hint}" for title in unknown[:9] if (hint := did_you_mean(title, missing)))
        rule = f"column{'s' if missing[1:] else ''} {', '.join(missing)} missing"
        cure = f"Name the columns in the first line: Date, {', '.join(REQUIRED_COLUMNS)}.{hints}"
        report.error(1, rule, f"found {', '.join(titles)}", cure)
    if report.errors > errors_before:
        return None
    absent = [name for name in ("Adj Close", "Ticker") if name not in places]
    for title in unknown:
        if hint := did_you_mean(title, absent):
            report.warning(1, "a column is not used", f"'{title}'", f"Nothing to do unless it is misspelt.{hint}")
        elif title.strip():
            report.info("a column is not used", f"'{title.strip()}'")
    fields = {name: places[name] for name in COLUMNS if name in places}
    return Layout(places["Date"], {None: fields}, places.get("Ticker"))
