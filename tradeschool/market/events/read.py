"""Reads files of events row by row, and attaches them to a panel."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tradeschool.errors import DataError, did_you_mean
from tradeschool.market.events import deepstock
from tradeschool.market.events.archive import known_rows
from tradeschool.market.events.event import (
    KINDS,
    MARKET_KINDS,
    Event,
    EventFile,
    Record,
    as_mapping,
    cell_text,
    column_names,
    flatten_fields,
    read_records,
    snake_case,
)
from tradeschool.market.events.timing import TimeParser, check_period, period_ends
from tradeschool.market.findings import MAX_PER_RULE, Report, join_some, note, raise_on_errors
from tradeschool.market.panel import Panel

_SYNONYMS = {"created_at": "known_at", "published_at": "known_at", "symbol": "ticker"}
_COLUMNS = ("ticker", "known_at", "kind", "source", "text", "fields")
_SEPARATORS = str.maketrans("./", "--")
_NEED_TICKER = ("fundamentals", "insider", "analyst", "company")


def read_events(path: str | Path, *, same_day: bool = False, every: bool = False) -> EventFile:
    """Events from a JSON lines, parquet or CSV file in one of three layouts, recognized by the columns.

    - ``ticker, known_at, kind, source, text`` and ``fields``; every other column is a field, too. Without a ``kind`` a
      row is news. An empty ticker means the whole market, and so do the kinds ``market``, ``macro`` and
      ``volatility_index``, whose ticker ("^VIX") becomes part of the source.
    - ``ticker, created_at, text``: tweets, as in StockNet.
    - ``ticker, company_info``: DeepStock rows, see :mod:`tradeschool.market.events.deepstock`.

    ``known_at`` is when an event became public. A time without a time zone is UTC. A day without a time (or with
    midnight, which programs write for it) may have been published after that day's close.

    Args:
        path: the file.
        same_day: a day without a time counts as known at that day's close instead of the next day's.
        every: keep every finding, not the first ones of each rule and a count of the rest.

    Returns:
        The events, and what was found wrong. A row with an error makes no event.
    """
    path = Path(path)
    report = Report(str(path), most=float("inf") if every else MAX_PER_RULE)
    rows = read_records(path, report)
    if not rows:
        return EventFile([], report.findings)
    times = TimeParser(report, same_day)
    if any(deepstock.COLUMN in record.cells for record in rows):
        events, names = deepstock.extract_events(rows, report, times), deepstock.extract_names(rows)
    else:
        events, names = _events(rows, report, times), {}
    times.report_assumptions()
    return EventFile(events, report.findings, names)


def holds_events(path: str | Path) -> bool:
    """Whether a file holds events, judging by its ending or its columns; False if it cannot be read."""
    path = Path(path)
    if not path.is_file() or path.suffix.casefold() == ".jsonl":
        return path.is_file()
    columns = {_SYNONYMS.get(name, name) for name in map(snake_case, column_names(path))}
    # Texts by ticker are events even if the time column has another name; reading them reports the right one.
    return bool(columns & {"known_at", deepstock.COLUMN}) or {"ticker", "text"} <= columns


def attach(panel: Panel, files: Sequence[EventFile], messages: list[str]) -> Panel:
    """The panel with events and company names added; a DataError if a file has an error, or none of its events fits.

    ``EventFile([], [], names)`` adds company names alone. ``messages`` receives a sentence about the warnings of each
    file, and about events that no prompt shows.
    """
    events = list(panel.events)
    names = {ticker: tuple(given) for ticker, given in panel.names.items()}
    for file in files:
        where = file.findings[0].file if file.findings else ""
        raise_on_errors(file.findings, where)
        messages += note(file.findings, where)
        events += _of_panel(panel, file.events, messages)
        for ticker, given in file.names.items():
            if (own := _own_ticker(ticker, panel.tickers)) is not None:
                names[own] = tuple(dict.fromkeys([*names.get(own, ()), *given]))
    whole = replace(panel, events=tuple(events), names=names)
    late = int((known_rows(whole) >= panel.shape[0]).sum())
    if late:
        messages.append(f"{late} events became known after the last close, {panel.dates_T[-1]}; no prompt shows them.")
    return whole


def _of_panel(panel: Panel, events: Sequence[Event], messages: list[str]) -> list[Event]:
    """The events of the panel's tickers, under the panel's spelling of them, and those of the whole market."""
    spelling = {ticker: _own_ticker(ticker, panel.tickers) for ticker in {event.ticker for event in events} if ticker}
    others = sorted(ticker for ticker, own in spelling.items() if own is None)
    kept: list[Event] = []
    for event in events:
        own = None if event.ticker is None else spelling[event.ticker]
        if event.ticker is None or own is not None:
            kept.append(event if own == event.ticker else replace(event, ticker=own))
    left_out = len(events) - len(kept)
    if left_out and not kept:
        raise DataError(
            f"None of the {left_out} events is about a ticker of {panel.name}: their tickers are "
            f"{', '.join(others[:5])}, the market's are {', '.join(panel.tickers[:5])}. Give events and prices of the "
            "same stocks."
        )
    if left_out:
        messages.append(f"{left_out} events of tickers without prices were left out: {join_some(others, 5)}.")
    return kept


def _own_ticker(ticker: str, tickers: Sequence[str]) -> str | None:
    """The panel's spelling of a ticker, ignoring case and how a share class is separated (dot, dash or slash)."""
    if ticker in tickers:
        return ticker
    return {own.casefold().translate(_SEPARATORS): own for own in tickers}.get(ticker.casefold().translate(_SEPARATORS))


def _events(rows: Sequence[Record], report: Report, times: TimeParser) -> list[Event]:
    columns = _columns(rows, report)
    if columns is None:
        return []
    default_kind = "tweet" if "created_at" in map(snake_case, columns) else "news"
    empty: list[int] = []
    without_period: list[int] = []
    found = []
    for row, given in rows:
        cells: dict[str, Any] = {}
        # Of two columns with the same meaning the first that is not empty counts.
        for name, cell in given.items():
            before = cell_text(cells.get(key := columns[name]))
            if not before:
                cells[key] = cell
            elif cell_text(cell) not in ("", before):
                rule = "two spellings of a column differ: the first is kept"
                report.warning(row, rule, f"{key}: {before}, {cell_text(cell)}", "Remove one of them.")
        event = _event(cells, row, default_kind, report, times)
        if event is not None and not event.text and not event.fields:
            empty.append(row)
        elif event is not None:
            found.append(event)
            if event.kind == "fundamentals" and not period_ends(event.kind, event.fields):
                without_period.append(row)
    report.counted(empty, "rows without text and figures were left out")
    rule = "no field gives the period, so known_at cannot be checked against it"
    report.counted(without_period, rule, "Give the last day of the period as period_end.")
    unique: dict[tuple[Any, ...], Event] = {}
    for one in found:
        unique.setdefault((one.known_at, one.ticker, one.kind, one.text, one.source, *one.fields.items()), one)
    if repeated := len(found) - len(unique):
        report.info("duplicate events were kept once", f"{repeated} rows")
    return list(unique.values())


def _columns(rows: Sequence[Record], report: Report) -> dict[str, str] | None:
    """The meaning of each column; None, after an error, if known_at is missing or a column is ambiguous."""
    names = dict.fromkeys(name for record in rows for name in record.cells)
    meaning = {name: snake_case(name) for name in names}
    given = set(meaning.values())
    # created_at beside known_at is a field like any other.
    meaning |= {name: _SYNONYMS[key] for name, key in meaning.items() if _SYNONYMS.get(key, key) not in given}
    for column in _COLUMNS:
        if len(several := [name for name, key in meaning.items() if key == column]) > 1:
            cure = "Keep one of them, or rename the others."
            report.error(None, f"more than one column is {column}", ", ".join(several), cure)
            return None
    if "known_at" not in meaning.values():
        cure = "Give the time of publication as known_at (not the end of a period)."
        cure += did_you_mean("known_at", [name for name in names if "date" in name.casefold() or "at" in name])
        report.error(None, "column known_at missing", f"found {', '.join(names)}", cure)
        return None
    return meaning


def _event(cells: dict[str, Any], row: int, default_kind: str, report: Report, times: TimeParser) -> Event | None:
    known_at = times.known_at(cells.get("known_at"), row)
    kind = cell_text(cells.get("kind")).casefold() or default_kind
    ticker, source = cell_text(cells.get("ticker")).lstrip("$").strip() or None, cell_text(cells.get("source"))
    if kind not in KINDS:
        cure = f"Choose from: {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}"
        report.error(row, "unknown kind", f"'{kind}'", cure)
        return None
    if ticker is None and kind in _NEED_TICKER:
        report.error(row, f"a row of kind {kind} has no ticker", "", "Name the ticker.")
        return None
    fields = flatten_fields((name, cell) for name, cell in cells.items() if name not in _COLUMNS)
    try:
        fields |= flatten_fields(as_mapping(cells.get("fields")).items())
    except ValueError as error:
        report.error(row, "fields is not a JSON object", str(error), 'Write it as {"revenue": 1.5e9}.')
        return None
    if known_at is None or not check_period(times.day_given(known_at), kind, fields, row, report):
        return None
    if kind in MARKET_KINDS and ticker is not None:
        ticker, source = None, ", ".join(filter(None, (ticker, source)))
    return Event(known_at, ticker, kind, cell_text(cells.get("text")), source, fields)
