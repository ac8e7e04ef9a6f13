"""DeepStock rows: a company's news, financials and prices around one decision date, taken apart into notes and bars.

A row is ``{ticker, company_info{current_date, company_info{name, description}, news{news_headlines[], news_date},
financials{year, financials}, price{open, close, open_previous, close_previous, previous_date, price_date}}}``. Its
public builder fills it in ways that leak the future, so that nothing is taken at its word:

- ``news_date`` is the first day of a span of headlines that ends at ``current_date``, not their publication.
- ``financials`` are those of the fiscal year still running: ``year`` is its END, the figures a JSON text.
- descriptions are the company's at the time of building.
- ``price`` is that of ``price_date`` itself, the outcome of the row: a bar, never a note.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tradeschool.errors import DataError
from tradeschool.market.finding import Report
from tradeschool.market.notes import records
from tradeschool.market.notes.closed_bars import Closed, closed_bars
from tradeschool.market.notes.fields import mapping_of, text_of
from tradeschool.market.notes.known_at import Clock, is_blank
from tradeschool.market.notes.note import Note, Notes
from tradeschool.market.notes.records import Record
from tradeschool.market.notes.yearly import Yearly, figures_of, fiscal_end, yearly_notes
from tradeschool.market.panel import Panel

COLUMN = "company_info"
SPAN = np.timedelta64(7, "D")
"""How many days before its date a row looks for headlines, where it has no news_date."""


def read_panel(path: str | Path, *, same_day: bool = False, exchange: str = "NYSE") -> tuple[Panel, Notes]:
    """Prices and notes of a file of DeepStock rows, a market of their own; ``attach`` puts them together.

    Raises:
        DataError: the file cannot be read, has no prices, or a price breaks a rule.
    """
    path = Path(path)
    report = Report(str(path))
    rows = records.read(path, report)
    clock = Clock(report, same_day)
    found = notes(rows, report, clock) if rows else []
    panel = bars(rows, report, name=path.stem, exchange=exchange)
    clock.tell()
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if panel is None or errors:
        rest = sum(finding.count for finding in errors) - 1
        raise DataError(errors[0].text + (f" {rest} more error{'s' * (rest > 1)} in it." if rest else ""))
    return panel, Notes(found, report.findings, names(rows))


def holds_rows(path: str | Path) -> bool:
    """Whether a file is one of DeepStock rows, told by its columns; False where it cannot be read."""
    path = Path(path)
    if path.suffix.casefold() != ".jsonl":
        return path.is_file() and COLUMN in records.columns(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            row = json.loads(next((line for line in file if line.strip()), "null"))
    except (OSError, ValueError, RecursionError):
        return False  # reading it says what is wrong
    return isinstance(row, dict) and COLUMN in row


def notes(rows: Sequence[Record], report: Report, clock: Clock) -> list[Note]:
    """News, descriptions and financials of DeepStock rows, each known when it was public.

    - A headline counts as published on the ``current_date`` of the first row that has it, or on its ``news_date``
      where that is later or has an hour. It counts again where the span of a later row does not reach back to it.
    - Financials are public on their ``filing_date``, or FILING_DAYS after the fiscal year's end. Where a later row
      has other figures for the same year these were restated: a second note, known by that row's date.
    - A description is known from the first row that has it.
    """
    told = _Told(report, clock)
    known = [(current, row, ticker, info) for row, ticker, info, current in _known(rows, report, clock)]
    for current, row, ticker, info in sorted(known, key=lambda one: one[:2]):
        told.row, told.current = row, current
        told.news(ticker, info)
        told.describe(ticker, info)
        told.financials(ticker, info)
    return told.notes()


class _Told:
    """What rows in the order of their dates have told so far."""

    def __init__(self, report: Report, clock: Clock) -> None:
        self.row = 0
        self.current: np.datetime64 = np.datetime64(0, "D")
        self._report, self._clock = report, clock
        self._found: list[Note] = []
        self._sightings: dict[tuple[str, str], np.datetime64] = {}
        self._descriptions: dict[str, str] = {}
        self._years: dict[tuple[str, np.datetime64], list[Yearly]] = {}
        self._repeats = 0
        self._spans: list[int] = []
        self._held_back: list[int] = []

    def news(self, ticker: str, info: Mapping[str, Any]) -> None:
        part = self._part(info, "news")
        given = part.get("news_headlines")
        given = [given] if isinstance(given, str) else [] if is_blank(given) else given
        if not isinstance(given, list | tuple | np.ndarray):
            self._report.error(self.row, "news_headlines is no list of texts", text_of(given), "Correct the row.")
            return
        headlines = [text_of(text) for text in given]
        if not any(headlines) or (when := self._published(part.get("news_date"))) is None:
            return
        start, known_at = when
        for text in filter(None, headlines):
            seen = self._sightings.get((ticker, text))
            self._sightings[ticker, text] = known_at.astype("datetime64[D]")
            if seen is not None and start <= seen:
                self._repeats += 1
            else:
                self._found.append(Note(known_at, ticker, "news", text))

    def _published(self, given: Any) -> tuple[np.datetime64, np.datetime64] | None:
        """The first day of a row's headlines, and when all of them were public."""
        if is_blank(given):
            return self.current.astype("datetime64[D]") - SPAN, self.current
        if (known_at := self._clock.read(given, self.row, "news_date")) is None:
            return None
        start = known_at.astype("datetime64[D]")
        spans = np.datetime_data(known_at.dtype)[0] == "D" and known_at < self.current
        if spans:
            self._spans.append(self.row)
        return start, self.current if spans else known_at

    def describe(self, ticker: str, info: Mapping[str, Any]) -> None:
        text = text_of(self._part(info, COLUMN).get("description"))
        if text and self._descriptions.get(ticker) != text:
            self._descriptions[ticker] = text
            self._found.append(Note(self.current, ticker, "company", text))

    def financials(self, ticker: str, info: Mapping[str, Any]) -> None:
        part = self._part(info, "financials")
        try:
            figures = figures_of(part)
        except ValueError as error:
            self._report.error(self.row, "the financials are no JSON object", str(error), "Correct the row.")
            return
        if not figures:
            return
        if (end := fiscal_end(part)) is None:
            rule, cure = "the financials have no fiscal year", "Give year as the day of its end, or as a whole number."
            self._report.error(self.row, rule, text_of(part.get("year")), cure)
            return
        filed = None
        if not is_blank(given := part.get("filing_date")) and (filed := self._filed(given, end)) is None:
            return
        one = Yearly(self.row, self.current, filed, figures)
        self._years.setdefault((ticker, end), []).append(one)
        if one.public(end).astype("datetime64[D]") > self.current.astype("datetime64[D]"):
            self._held_back.append(self.row)

    def _filed(self, given: Any, end: np.datetime64) -> np.datetime64 | None:
        filed = self._clock.read(given, self.row, "filing_date")
        if filed is None or self._clock.day_given(filed) > end:
            return filed
        rule = "filing_date is not after the end of the fiscal year"
        self._report.error(self.row, rule, f"{self._clock.day_given(filed)}, {end}", "Correct one of them.")
        return None

    def _part(self, info: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        try:
            return mapping_of(info.get(name))
        except ValueError as error:
            self._report.error(self.row, f"{name} is no JSON object", str(error), "Correct the row.")
            return {}

    def notes(self) -> list[Note]:
        """All notes; what was assumed is reported."""
        rule = "rows have a news_date before their current_date, the first day of a span: their headlines count as "
        self._report.counted(self._spans, rule + "published on the current_date")
        rule = "rows carry financials that were not public on their date, which are held back until they were"
        self._report.counted(self._held_back, rule)
        if self._repeats:
            self._report.info("headlines that later rows repeat were kept once", f"{self._repeats} headlines")
        if self._descriptions:
            cure = "Leave the section company out of prompts where this matters."
            rule = "descriptions of companies have no date of their own: they may be younger than their rows"
            self._report.warning(None, rule, f"{len(self._descriptions)} companies", cure)
        return self._found + yearly_notes(self._years, self._report)


def _known(
    rows: Sequence[Record], report: Report, clock: Clock
) -> list[tuple[int, str, Mapping[str, Any], np.datetime64]]:
    """The rows that can be dated; those without a company_info, as the builder leaves them, are counted."""
    found, empty = [], []
    for row, cells in rows:
        ticker = text_of(cells.get("ticker")).lstrip("$")
        if (info := _info(cells)) is None:
            empty.append(row)
        elif not ticker:
            report.error(row, "the row has no ticker", "", "Name the ticker, or remove the row.")
        elif (current := clock.read(info.get("current_date"), row, "current_date")) is not None:
            found.append((row, ticker, info, current))
    report.counted(empty, "rows without a company_info were left out")
    return found


def _info(cells: Mapping[str, Any]) -> Mapping[str, Any] | None:
    try:
        return mapping_of(cells.get(COLUMN)) or None
    except ValueError:
        return None


def names(rows: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """The companies' names by ticker."""
    found: dict[str, dict[str, None]] = {}
    for _, cells in rows:
        info = (_info(cells) or {}).get(COLUMN)
        ticker, name = (
            text_of(cells.get("ticker")).lstrip("$"),
            text_of(info.get("name") if isinstance(info, Mapping) else ""),
        )
        if ticker and name:
            found.setdefault(ticker, {})[name] = None
    return {ticker: tuple(given) for ticker, given in found.items()}


def bars(rows: Sequence[Record], report: Report, name: str = "deepstock", exchange: str = "NYSE") -> Panel | None:
    """A panel of the rows' prices: open and close of ``price_date`` and of ``previous_date``, which is days before.

    High and low are the higher and the lower of the two, the volume is NaN. Where rows tell different prices of the
    same ticker and date, a warning says so, and that of the row whose ``price_date`` it is stands, the first of them.
    None, with an error in ``report``, where there is no price.
    """
    found: list[Closed] = []
    without: list[int] = []
    for row, cells in rows:
        ticker = text_of(cells.get("ticker")).lstrip("$")
        try:
            price = mapping_of((_info(cells) or {}).get("price"))
        except ValueError:
            price = {}
        if not ticker or not price:
            without.append(row)
            continue
        found.append(Closed(row, ticker, True, price.get("price_date"), price.get("open"), price.get("close")))
        if not is_blank(price.get("previous_date")):
            before = (price.get(part) for part in ("previous_date", "open_previous", "close_previous"))
            found.append(Closed(row, ticker, False, *before))
    report.counted(without, "rows without a price make no bar")
    return closed_bars(found, report, name, exchange)
