"""Companies' names by ticker, from a table: what masking has to hide in news."""

import csv
import io
from pathlib import Path

from tradeschool.errors import DataError

_TICKER, _NAME = ("symbol", "ticker"), ("company", "name", "company name", "security")


def read_names(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Names by ticker from a table with columns Ticker (or Symbol) and Company (or Name), by commas or tabs.

    StockNet's StockTable is one (``Sector, Symbol, Company``). A dollar sign before a symbol does not count.
    Several rows of a ticker give it several names.

    Raises:
        DataError: the file cannot be read, a column is missing, a row is too short, or no row names a company.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the table of names cannot be read ({error}). Give a text file in UTF-8.") from error
    head = text.partition("\n")[0]
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=max(",\t;", key=head.count)))
    except csv.Error as error:
        raise DataError(f"{path}: the table of names cannot be read ({error}). Write one company a row.") from error
    titles = [title.strip().casefold() for title in rows[0]] if rows else []
    columns = [next((i for i, title in enumerate(titles) if title in wanted), -1) for wanted in (_TICKER, _NAME)]
    if -1 in columns:
        raise DataError(f"{path}: the table has columns {', '.join(titles) or 'none'}. It needs Ticker and Company.")
    names: dict[str, tuple[str, ...]] = {}
    for row, cells in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) <= max(columns):
            raise DataError(f"{path}, row {row}: {len(cells)} values for {len(titles)} columns. Complete the row.")
        ticker, name = (cells[column].strip() for column in columns)
        ticker = ticker.lstrip("$").strip()
        if ticker and name:
            names[ticker] = tuple(dict.fromkeys([*names.get(ticker, ()), name]))
    if not names:
        raise DataError(f"{path}: the table has no row with a ticker and a name. Fill it, or leave it out.")
    return names
