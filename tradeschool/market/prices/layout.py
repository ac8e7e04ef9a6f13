"""What the columns of a price file mean, read from its header: long, or wide in one of its spellings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tradeschool.errors import did_you_mean
from tradeschool.market.finding import Report

PRICES = ("Open", "High", "Low", "Close")
FIELD_NAMES = (*PRICES, "Volume")
REQUIRED = ("Date", *FIELD_NAMES)
OPTIONAL = ("Adj Close", "Ticker")
_OTHER_SPELLINGS = {"datetime": "Date", "adjustedclose": "Adj Close", "symbol": "Ticker", "vol": "Volume"}
_BY_SPELLING = {re.sub(r"[\W_]", "", name).casefold(): name for name in REQUIRED + OPTIONAL} | _OTHER_SPELLINGS
_LEVELS = {"", "price", "ticker", "attributes", "symbols"}
_FIELD = r"adj[ _.]?close|adjusted[ _.]?close|open|high|low|close|volume"
_FIELD_FIRST = re.compile(rf"(?P<field>{_FIELD})[ _.:](?P<ticker>.+)", re.IGNORECASE)
_TICKER_FIRST = re.compile(rf"(?P<ticker>.+?)[ _.:](?P<field>{_FIELD})", re.IGNORECASE)
Title = str | tuple[str, str]


@dataclass(frozen=True)
class Layout:
    """Where everything stands: ``columns[ticker][field]`` is a position, from 0.

    The ticker is None where a column ``ticker`` tells it, or the file's name. ``lines`` is the header's length.
    """

    date: int
    columns: dict[str | None, dict[str, int]]
    ticker: int | None = None
    lines: int = 1


def standard_name(title: str) -> str | None:
    """A column's standard name in whatever case, with blanks or underscores; None when it has none."""
    return _BY_SPELLING.get(re.sub(r"[\W_]", "", title).casefold())


def numbers_of(found: Layout) -> list[int]:
    """The positions of all columns that hold numbers."""
    return [position for fields in found.columns.values() for position in fields.values()]


def of_lines(head: Sequence[Sequence[str]], field: str | None, report: Report) -> Layout | None:
    """The layout of a CSV file by its first records (three, where there are as many); None after an error.

    ``field``: the file is a table of dates x tickers of this one field.
    """
    first = [title.strip() for title in head[0]]
    second = [title.strip() for title in head[1]] if len(head) > 1 else []
    if len(first) < 2 or len(second) != len(first) or not (_is_level(first[0]) and _is_level(second[0])):
        return of_titles(list(head[0]), field, report)
    third = head[2] if len(head) > 2 and head[2] else [""]
    lines = 3 if standard_name(third[0]) == "Date" and not any(title.strip() for title in third[1:]) else 2
    pairs: list[Title] = [("", ""), *zip(first[1:], second[1:], strict=True)]
    return of_titles(pairs, field, report, lines)


def of_titles(titles: list[Title], field: str | None, report: Report, lines: int = 1) -> Layout | None:
    """The layout of a table by its columns' titles; a title of two levels is a pair, in either order."""
    names = [standard_name(title) if isinstance(title, str) else None for title in titles]
    date = _date(titles, names)
    if date is not None:
        names[date] = "Date"
    pairs = _pairs(titles) if field is None else {i: (field, _shown(title)) for i, title in enumerate(titles)}
    if field is None and (not pairs or any(name in FIELD_NAMES for name in names)):
        return _long([_shown(title) for title in titles], names, report)
    pairs.pop(-1 if date is None else date, None)
    own = Report(report.file)
    _check_date(date, titles, names, own)
    columns = _by_ticker(pairs, FIELD_NAMES if field is None else (field,), own)
    report.take(own)
    if date is None or own.has_errors:
        return None
    for i, title in enumerate(titles):
        if i != date and i not in pairs:
            report.info("a column is not used", f"'{_shown(title)}'")
    return Layout(date, columns, lines=lines)


def _is_level(title: str) -> bool:
    return title.casefold() in _LEVELS


def _shown(title: Title) -> str:
    return title if isinstance(title, str) else " ".join(title).strip()


def _date(titles: Sequence[Title], names: Sequence[str | None]) -> int | None:
    """The date's position; without a Date, an end column without a title counts as one, as pandas writes an index."""
    if "Date" in names:
        return names.index("Date")
    for i, title in enumerate(titles):
        shown = _shown(title)
        untitled = not shown.strip() or shown == "index" or re.fullmatch(r"__index_level_\d+__", shown)
        if standard_name(shown) == "Date" or (untitled and i in (0, len(titles) - 1)):
            return i
    return None


def _pairs(titles: Sequence[Title]) -> dict[int, tuple[str, str]]:
    """Position -> (standard field, ticker) of all titles that hold both, in the order that fits more of them."""
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
            if (name := standard_name(field)) in (*FIELD_NAMES, "Adj Close"):
                pairs[i] = (str(name), ticker.strip())
        found.append(pairs)
    return max(found, key=lambda pairs: (len(pairs), _whole(pairs)))


def _whole(pairs: dict[int, tuple[str, str]]) -> int:
    fields: dict[str, set[str]] = {}
    for field, ticker in pairs.values():
        fields.setdefault(ticker, set()).add(field)
    return sum(found >= set(FIELD_NAMES) for found in fields.values())


def _check_date(date: int | None, titles: Sequence[Title], names: Sequence[str | None], report: Report) -> None:
    if date is None:
        shown = ", ".join(_shown(title) for title in titles[:5])
        report.error(1, "column Date missing", f"found {shown}", "Name the column of dates Date.")
    elif names.count("Date") > 1:
        report.error(1, "two columns mean Date", "", "Keep one of them.")


def _by_ticker(
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
            report.error(1, "a ticker has not all columns", f"{ticker} lacks {', '.join(missing)}", cure)
    if not columns:
        report.error(1, "no column names a ticker", "", "Name the tickers in the first line.")
    raw = [str(ticker) for ticker, fields in columns.items() if "Adj Close" not in fields]
    if "Adj Close" not in required and 0 < len(raw) < len(columns):
        cure = "Nothing to do if their prices are adjusted already."
        report.warning(1, "some tickers have an Adj Close, others have none", ", ".join(raw[:5]), cure)
    return columns


def _long(titles: Sequence[str], names: Sequence[str | None], report: Report) -> Layout | None:
    """One column per field; None when a required column is missing or one comes twice."""
    places: dict[str, int] = {}
    twice = False
    for position, (title, name) in enumerate(zip(titles, names, strict=True)):
        if name is not None and name in places:
            report.error(1, f"two columns mean {name}", f"'{titles[places[name]]}' and '{title}'", "Keep one of them.")
            twice = True
        elif name is not None:
            places[name] = position
    unknown = [title for title, name in zip(titles, names, strict=True) if name is None]
    if missing := [name for name in REQUIRED if name not in places]:
        hints = "".join(f" Column '{title}':{hint}" for title in unknown[:9] if (hint := did_you_mean(title, missing)))
        rule = f"column{'s' if missing[1:] else ''} {', '.join(missing)} missing"
        cure = f"Name the columns in the first line: {', '.join(REQUIRED)}.{hints}"
        report.error(1, rule, f"found {', '.join(titles)}", cure)
    if missing or twice:
        return None
    _report_unknown(unknown, [name for name in OPTIONAL if name not in places], report)
    fields = {name: places[name] for name in (*FIELD_NAMES, "Adj Close") if name in places}
    return Layout(places["Date"], {None: fields}, places.get("Ticker"))


def _report_unknown(unknown: Sequence[str], absent: Sequence[str], report: Report) -> None:
    for title in unknown:
        if hint := did_you_mean(title, absent):
            report.warning(1, "a column is not used", f"'{title}'", f"Nothing to do, unless it is misspelt.{hint}")
        elif title.strip():
            report.info("a column is not used", f"'{title.strip()}'")
