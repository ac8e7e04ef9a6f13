"""One thing that a price file gets wrong, or that reading it had to mend."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Severity = Literal["error", "warning", "info"]
KEPT = 20
"""Findings of one rule in one file that are kept one by one; one more stands for all the others."""


@dataclass(frozen=True)
class Finding:
    """``row`` is the line in a CSV file, the record (from 1) in a parquet file, None for the whole file.

    An error stops loading. A warning asks for a look. An info says what was mended or left out.
    ``count`` is above 1 where one finding stands for several of the same rule.
    """

    severity: Severity
    file: str
    row: int | None
    rule: str
    value: str
    cure: str
    count: int = 1

    @property
    def text(self) -> str:
        """One sentence for a person: where, what, what to do."""
        where = self.file if self.row is None else f"{self.file}, row {self.row}"
        value = f" ({self.value})" if self.value else ""
        return f"{where}: {self.rule}{value}. {self.cure}"


@dataclass
class Report:
    """Collects the findings of one file: the first ``KEPT`` of every rule, the others counted.

    ``about`` names the ticker in every error and warning, for tables in which the row alone does not tell it.
    """

    file: str
    about: str = ""
    _kept: list[Finding] = field(default_factory=list)
    _more: dict[tuple[Severity, str], Finding] = field(default_factory=dict)
    _seen: dict[tuple[Severity, str], int] = field(default_factory=dict)

    def of(self, ticker: str) -> "Report":
        """This report, with every error and warning about ``ticker``."""
        return replace(self, about=ticker)

    def error(self, row: int | None, rule: str, value: str, cure: str, kind: str = "") -> None:
        """Something that only the file's owner can decide. ``kind``: see :meth:`_add`."""
        self._add(Finding("error", self.file, row, rule, value, cure), kind)

    def error_each(self, rows: NDArray[np.int64], rule: str, values: Iterator[str], cure: str) -> None:
        """An error for each of ``rows``; of ``values``, which go with them, only those kept are taken."""
        room = max(0, KEPT - self._seen.get(("error", rule), 0))
        for row, value in zip(rows[:room].tolist(), values, strict=False):
            self.error(row, rule, value, cure)
        if len(rows) > room:
            self._overflow(Finding("error", self.file, int(rows[-1]), rule, "", cure), rule, len(rows) - room)

    def warning(self, row: int | None, rule: str, value: str, cure: str, kind: str = "") -> None:
        """Something odd that loads all the same."""
        self._add(Finding("warning", self.file, row, rule, value, cure), kind)

    def info(self, rule: str, value: str, cure: str = "Nothing to do.", kind: str = "") -> None:
        """Something that was left out or mended, about the whole file."""
        self._add(Finding("info", self.file, None, rule, value, cure), kind)

    def counted(
        self, rows: Sequence[int] | NDArray[np.int64], rule: str, cure: str = "Nothing to do.", kind: str = ""
    ) -> None:
        """An info for all ``rows`` together, which names the first; nothing when there are none."""
        if len(rows):
            value = f"{len(rows)} row{'s' if len(rows) > 1 else ''}, the first is row {int(rows[0])}"
            self.info(rule, value, cure, kind)

    def take(self, other: "Report") -> None:
        """Add what another report about the same file kept and counted."""
        for finding in other.findings:
            self._add(finding, finding.rule)

    @property
    def findings(self) -> list[Finding]:
        """Those kept, and one for each rule that was broken more often than that."""
        return self._kept + list(self._more.values())

    @property
    def errors(self) -> int:
        """How many errors there were, those that were not kept one by one included."""
        kept = sum(count for (severity, _), count in self._seen.items() if severity == "error")
        return kept + sum(finding.count for finding in self._more.values() if finding.severity == "error")

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an error."""
        return self.errors > 0

    def _add(self, finding: Finding, kind: str) -> None:
        """``kind`` makes findings count as of one rule although their texts differ, as by a ticker's name."""
        kind = kind or finding.rule
        key = (finding.severity, kind)
        if finding.count > 1 or self._seen.get(key, 0) >= KEPT:
            self._overflow(finding, kind, finding.count)
            return
        self._seen[key] = self._seen.get(key, 0) + 1
        told = finding.severity != "info"
        rule = f"{self.about}: {finding.rule}" if told and self.about else finding.rule
        self._kept.append(replace(finding, rule=_short(rule, 300), value=_short(finding.value, 80 if told else 300)))

    def _overflow(self, finding: Finding, kind: str, count: int) -> None:
        key = (finding.severity, kind)
        total = count + (self._more[key].count if key in self._more else 0)
        last = f", the last in row {finding.row}" if finding.row is not None else ""
        self._more[key] = replace(finding, row=None, rule=kind, value=f"{total:,} more{last}", count=total)


def _short(value: str, limit: int = 80) -> str:
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in value)
    return printable if len(printable) <= limit else printable[: limit - 3] + "..."
