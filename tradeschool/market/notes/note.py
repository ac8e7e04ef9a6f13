"""A text or a row of figures that became public at a known moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tradeschool.market.finding import Finding

ROW_KINDS = ("fundamentals", "insider", "analyst", "macro", "volatility_index", "company")
"""Kinds shown in a section of their own: rows of figures, and descriptions of the company, which are no news."""
TEXT_KINDS = ("news", "tweet", "filing", "market")
"""Kinds that are news. ``market`` and every text without a ticker tell of the whole market."""
MARKET_KINDS = ("market", "macro", "volatility_index")
"""Kinds that are of no ticker."""
KINDS = TEXT_KINDS + ROW_KINDS
Value = str | float


@dataclass(frozen=True)
class Note:
    """What became public at ``known_at``: the publication, never the period that it tells of.

    ``known_at`` is a moment in UTC, or a day (``datetime64[D]``), which counts as known by that day's close.
    ``ticker`` is None for the whole market. ``fields`` holds the figures of a row; a row may have a text too.
    """

    known_at: np.datetime64
    ticker: str | None
    kind: str
    text: str = ""
    source: str = ""
    fields: Mapping[str, Value] = field(default_factory=dict)

    @property
    def by_day(self) -> bool:
        """Whether only the day of the publication is known, not the hour."""
        return np.datetime_data(self.known_at.dtype)[0] == "D"

    def digest_line(self) -> str:
        """Everything of the note in one line, for the data hash."""
        more = "|".join(f"{name}={value}" for name, value in self.fields.items())
        parts = [str(self.known_at), str(self.ticker), self.kind, self.text, *filter(None, (self.source, more))]
        return "|".join(parts) + "\n"


@dataclass(frozen=True)
class Notes:
    """What a file of notes held, and what was found on the way; ``names`` are companies' names by ticker."""

    notes: list[Note]
    findings: list[Finding]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
