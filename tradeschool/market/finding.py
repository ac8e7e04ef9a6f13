"""One thing that a price file gets wrong, or that reading it had to mend."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """``row`` is the line in a CSV file, the record (from 1) in a parquet file, None for the whole file.

    An error stops loading. A warning asks for a look. An info says what was mended or left out.
    """

    severity: Severity
    file: str
    row: int | None
    rule: str
    value: str
    cure: str

    @property
    def text(self) -> str:
        """One sentence for a person: where, what, what to do."""
        where = self.file if self.row is None else f"{self.file}, row {self.row}"
        value = f" ({self.value})" if self.value else ""
        return f"{where}: {self.rule}{value}. {self.cure}"


@dataclass
class Report:
    """Collects the findings of one file."""

    file: str
    findings: list[Finding] = field(default_factory=list)

    def error(self, row: int | None, rule: str, value: str, cure: str) -> None:
        """Something that only the file's owner can decide."""
        self.findings.append(Finding("error", self.file, row, rule, _short(value), cure))

    def warning(self, row: int | None, rule: str, value: str, cure: str) -> None:
        """Something odd that loads all the same."""
        self.findings.append(Finding("warning", self.file, row, rule, _short(value), cure))

    def info(self, rule: str, value: str, cure: str = "Nothing to do.") -> None:
        """Something that was left out or mended, about the whole file."""
        self.findings.append(Finding("info", self.file, None, rule, value, cure))

    def counted(self, rows: Sequence[int] | NDArray[np.int64], rule: str, cure: str = "Nothing to do.") -> None:
        """An info for all ``rows`` together, which names the first; nothing when there are none."""
        if len(rows):
            value = f"{len(rows)} row{'s' if len(rows) > 1 else ''}, the first is row {int(rows[0])}"
            self.info(rule, value, cure)

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)


def _short(value: str, limit: int = 80) -> str:
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in value)
    return printable if len(printable) <= limit else printable[: limit - 3] + "..."
