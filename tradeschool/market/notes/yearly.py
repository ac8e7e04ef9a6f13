"""Yearly financials without a publication date: when they were public, and which were restated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tradeschool.market.finding import Report
from tradeschool.market.notes.fields import Value, flat, mapping_of
from tradeschool.market.notes.known_at import day_of
from tradeschool.market.notes.note import Note

FILING_DAYS = 90
"""A yearly report is due 60 to 90 days after the fiscal year's end (SEC form 10-K): where a row does not say when it
was filed, its figures count as public after the longest of these."""
_ABOUT = ("year", "period_end", "filing_date", "financials")


@dataclass(frozen=True)
class Yearly:
    """The figures of a fiscal year as a row tells them; ``current`` is the row's date, ``filed`` None where unknown."""

    row: int
    current: np.datetime64
    filed: np.datetime64 | None
    figures: Mapping[str, float]

    def public(self, end: np.datetime64) -> np.datetime64:
        """When the first report on a fiscal year that ended on ``end`` was public."""
        return self.filed if self.filed is not None else end + np.timedelta64(FILING_DAYS, "D")


def figures_of(part: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a row: those beside ``year``, and those in the mapping or JSON text ``financials``.

    Raises:
        ValueError: the text is no JSON object.
    """
    given: dict[str, Value] = flat((name, cell) for name, cell in part.items() if name not in _ABOUT)
    given |= flat(mapping_of(part.get("financials")).items())
    return {name: value for name, value in given.items() if isinstance(value, float)}


def fiscal_end(part: Mapping[str, Any]) -> np.datetime64 | None:
    """The last day of the fiscal year: ``period_end``, or ``year`` as a day, or the end of the calendar year."""
    for name in ("period_end", "year"):
        if (day := day_of(part.get(name))) is not None:
            return day
    try:
        year = float(part.get("year"))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return np.datetime64(f"{year:.0f}-12-31", "D") if year.is_integer() and 1900 <= year <= 2100 else None


def yearly_notes(years: Mapping[tuple[str, np.datetime64], Sequence[Yearly]], report: Report) -> list[Note]:
    """A note for every year and every restatement of it; ``years`` holds the rows by ticker and fiscal year's end."""
    found: list[Note] = []
    for (ticker, end), told in years.items():
        versions: dict[np.datetime64, Yearly] = {}
        last: Yearly | None = None
        for one in told:
            if last is not None and one.figures == last.figures:
                continue
            known_at = one.public(end)
            # Figures that only a later row has were restated: known by its date, unless it tells when they were filed.
            if last is not None and one.filed in (None, last.filed):
                known_at = max(known_at, one.current)
            if known_at in versions:
                rule = "rows tell different figures of the same year, public on the same day: the later row's are kept"
                value = f"{ticker}, year to {end}, rows {versions[known_at].row} and {one.row}"
                report.warning(one.row, rule, value, "Give the filing_date of each.")
            versions[known_at] = last = one
        for known_at, one in versions.items():
            fields: dict[str, Value] = {"period_end": str(end), **one.figures}
            found.append(Note(known_at, ticker, "fundamentals", fields=fields))
    return found
