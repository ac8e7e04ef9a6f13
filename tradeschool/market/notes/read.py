"""Notes from files: rows of (ticker, known_at, kind, source, text or figures), checked one by one."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tradeschool.errors import DataError, did_you_mean
from tradeschool.market.finding import Report
from tradeschool.market.notes import deepstock, periods, records
from tradeschool.market.notes.archive import known_rows
from tradeschool.market.notes.fields import Value, flat, mapping_of, snake, text_of
from tradeschool.market.notes.known_at import Clock
from tradeschool.market.notes.note import KINDS, MARKET_KINDS, ROW_KINDS, Note, Notes
from tradeschool.market.notes.periods import PERIODS
from tradeschool.market.notes.records import Record
from tradeschool.market.panel import Panel

_SPELLINGS = {"created_at": "known_at", "published_at": "known_at", "symbol": "ticker"}
_COLUMNS = ("ticker", "known_at", "kind", "source", "text", "fields")
_OF_A_TICKER = ("fundamentals", "insider", "analyst", "company")
logger = logging.getLogger(__name__)


def read_notes(path: str | Path, *, same_day: bool = False) -> Notes:
    """Notes from a JSON lines, parquet or CSV file, of one of three layouts told by its columns.

    - ``ticker, known_at, kind, source, text`` and ``fields``: any other column is a field too. Without a ``kind``
      a row is news. An empty ticker means the whole market, and so do the kinds ``market``, ``macro`` and
      ``volatility_index``, of which a ticker ("^VIX") becomes part of the source.
    - ``ticker, created_at, text``: tweets, as StockNet's.
    - ``ticker, company_info``: DeepStock rows, see :mod:`tradeschool.market.notes.deepstock`.

    ``known_at`` is when a note became public. An hour without a time zone is UTC. A day without an hour (or with
    midnight, which programs write for it) counts as known at the close of the NEXT day, because it may have come out
    after the close of its own: with ``same_day`` it counts as known at its own day's close.

    Errors are among the findings, and a row with an error makes no note.
    """
    path = Path(path)
    report = Report(str(path))
    rows = records.read(path, report)
    if not rows:
        return Notes([], report.findings)
    clock = Clock(report, same_day)
    if any(deepstock.COLUMN in record.cells for record in rows):
        found, names = deepstock.notes(rows, report, clock), deepstock.names(rows)
    else:
        found, names = _once(_notes(rows, report, clock), report), {}
    clock.tell()
    return Notes(found, report.findings, names)


def holds_notes(path: str | Path) -> bool:
    """Whether a file is one of notes, told by its ending or its columns; False where it cannot be read."""
    path = Path(path)
    if not path.is_file() or path.suffix.casefold() == ".jsonl":
        return path.is_file()
    columns = {_SPELLINGS.get(name, name) for name in map(snake, records.columns(path))}
    # Texts of tickers are notes also where the time has another name: then it is said which name it should have.
    return bool(columns & {"known_at", deepstock.COLUMN}) or {"ticker", "text"} <= columns


def attach(panel: Panel, found: Sequence[Notes], messages: list[str] | None = None) -> Panel:
    """The panel with the notes of files added, and with the companies' names, which masking hides.

    Args:
        panel: the market.
        found: what :func:`read_notes` made of files; ``Notes([], [], names)`` adds companies' names alone.
        messages: receives a sentence for every repair and warning. Without it they go to Python's log.

    Raises:
        DataError: a file has an error, or none of its notes is of a ticker of the panel.
    """
    notes, said = list(panel.notes), list[str]()
    for one in found:
        errors = [finding for finding in one.findings if finding.severity == "error"]
        if errors:
            rest = sum(finding.count for finding in errors) - 1
            raise DataError(errors[0].text + (f" {rest} more error{'s' * (rest > 1)} in it." if rest else ""))
        said += [finding.text for finding in one.findings]
        notes += _of(panel, one.notes, said)
    names = {ticker: tuple(given) for ticker, given in panel.names.items()}
    for ticker, given in (named for one in found for named in one.names.items()):
        if (own := _our_ticker(ticker, panel.tickers)) is not None:
            names[own] = tuple(dict.fromkeys([*names.get(own, ()), *given]))
    whole = replace(panel, notes=tuple(notes), names=names)
    late = int((known_rows(whole) >= panel.shape[0]).sum())
    if late:
        said.append(f"{late} notes became known after the last close, {panel.dates_T[-1]}; no prompt shows them.")
    if messages is None:
        for text in said:
            logger.info(text)
    else:
        messages += said
    return whole


def _of(panel: Panel, notes: Sequence[Note], said: list[str]) -> list[Note]:
    ours = {ticker: _our_ticker(ticker, panel.tickers) for ticker in {note.ticker for note in notes} if ticker}
    others = sorted(ticker for ticker, own in ours.items() if own is None)
    kept: list[Note] = []
    for note in notes:
        own = None if note.ticker is None else ours[note.ticker]
        if note.ticker is None or own is not None:
            kept.append(note if own == note.ticker else replace(note, ticker=own))
    left_out = len(notes) - len(kept)
    if left_out and not kept:
        raise DataError(
            f"None of the {left_out} notes is of a ticker of {panel.name}: they are of {', '.join(others[:5])}, the "
            f"market has {', '.join(panel.tickers[:5])}. Give the notes of these stocks, or the prices of those."
        )
    if left_out:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        said.append(f"{left_out} notes of tickers without prices were left out: {shown}.")
    return kept


def _our_ticker(ticker: str, tickers: Sequence[str]) -> str | None:
    """The panel's spelling of a ticker: case and the dot, dash or slash of a share class do not count."""
    if ticker in tickers:
        return ticker
    return {_folded(own): own for own in tickers}.get(_folded(ticker))


def _folded(ticker: str) -> str:
    return ticker.casefold().replace(".", "-").replace("/", "-")


def _notes(rows: Sequence[Record], report: Report, clock: Clock) -> list[Note]:
    spelt = _columns(rows, report)
    if spelt is None:
        return []
    default_kind = "tweet" if "created_at" in map(snake, spelt) else "news"
    empty: list[int] = []
    undated: list[int] = []
    found = []
    for record in rows:
        cells = _cells(record, spelt, report)
        note = _note(cells, record.row, default_kind, report, clock)
        if note is not None and not note.text and not note.fields:
            empty.append(record.row)
        elif note is not None:
            found.append(note)
            if note.kind == "fundamentals" and not periods.ends(note.kind, note.fields):
                undated.append(record.row)
    report.counted(empty, "rows without a text and without figures were left out")
    rule = "no field says which period; whether known_at is the publication cannot be checked"
    report.counted(undated, rule, "Give the last day of the period as period_end.")
    return found


def _cells(record: Record, spelt: Mapping[str, str], report: Report) -> dict[str, Any]:
    """A row under the columns' own names; of two spellings of one name the first that is not empty."""
    found: dict[str, Any] = {}
    for name, cell in record.cells.items():
        key = spelt[name]
        if key not in found or not text_of(found[key]):
            found[key] = cell
        elif text_of(cell) and text_of(cell) != text_of(found[key]):
            rule = "two spellings of a column differ: the first is kept"
            report.warning(record.row, rule, f"{key}: {text_of(found[key])}, {text_of(cell)}", "Remove one of them.")
    return found


def _columns(rows: Sequence[Record], report: Report) -> dict[str, str] | None:
    """What each column is; None, reported, where no column or more than one can be known_at."""
    names = dict.fromkeys(name for record in rows for name in record.cells)
    spelt = {name: snake(name) for name in names}
    given = set(spelt.values())
    # created_at beside known_at is a field like any other.
    spelt |= {name: _SPELLINGS[key] for name, key in spelt.items() if _SPELLINGS.get(key, key) not in given}
    for column in _COLUMNS:
        if len(several := [name for name, key in spelt.items() if key == column]) > 1:
            cure = "Keep one of them, or rename the others."
            report.error(None, f"more than one column is {column}", ", ".join(several), cure)
            return None
    if "known_at" not in spelt.values():
        cure = "Name the time of publication known_at; a period's end is none."
        cure += did_you_mean("known_at", [name for name in names if "date" in name.casefold() or "at" in name])
        report.error(None, "column known_at missing", f"found {', '.join(names)}", cure)
        return None
    return spelt


def _note(cells: dict[str, Any], row: int, default_kind: str, report: Report, clock: Clock) -> Note | None:
    known_at = clock.read(cells.get("known_at"), row)
    kind = text_of(cells.get("kind")).casefold() or default_kind
    ticker, source = text_of(cells.get("ticker")).lstrip("$").strip() or None, text_of(cells.get("source"))
    if kind not in KINDS:
        report.error(
            row, "the kind is unknown", f"'{kind}'", f"Choose from: {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}"
        )
        return None
    if ticker is None and kind in _OF_A_TICKER:
        report.error(row, f"a row of kind {kind} has no ticker", "", "Name the ticker.")
        return None
    try:
        fields = _fields(cells)
    except ValueError as error:
        report.error(row, "fields is no JSON object", str(error), 'Write it as {"revenue": 1.5e9}.')
        return None
    if known_at is None or not periods.holds(clock.day_given(known_at), kind, fields, row, report):
        return None
    if kind in MARKET_KINDS and ticker is not None:
        ticker, source = None, ", ".join(filter(None, (ticker, source)))
    return Note(known_at, ticker, kind, text_of(cells.get("text")), source, fields)


def _fields(cells: dict[str, Any]) -> dict[str, Value]:
    given = [(name, cell) for name, cell in cells.items() if name not in _COLUMNS]
    found = flat(given) if given else {}
    return found | flat(mapping_of(cells["fields"]).items()) if "fields" in cells else found


def _once(notes: Sequence[Note], report: Report) -> list[Note]:
    """Every note once: the same text told twice at the same moment is one."""
    kept: dict[tuple[Any, ...], Note] = {}
    for note in notes:
        key = (note.known_at, note.ticker, note.kind, note.text, note.source, tuple(note.fields.items()))
        kept.setdefault(key, note)
    if repeated := len(notes) - len(kept):
        report.info("notes that come twice were kept once", f"{repeated} rows")
    return list(kept.values())


__all__ = ["KINDS", "PERIODS", "ROW_KINDS", "Notes", "attach", "read_notes"]
