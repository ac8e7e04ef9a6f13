"""Findings: what is wrong in a data file, and what was repaired while it was read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import DataError

Severity = Literal["error", "warning", "info"]
MAX_PER_RULE = 20
"""Findings of one rule in one file that are kept one by one, unless all are asked for. One more counts the others."""


@dataclass(frozen=True)
class Finding:
    """One broken rule or repair in a file.

    Attributes:
        severity: an error stops loading; a warning should be looked at; an info reports a repair or an omission.
        file: path of the file.
        row: line of a CSV file, record (from 1) of a parquet file, None for the whole file.
        rule: what is wrong.
        value: the offending value.
        cure: what to do.
        count: above 1 where one finding stands for several of the same rule.
        ticker: whose row it is; empty where several tickers, or the file, are meant.
        day: the row's day, YYYY-MM-DD; empty where there is none or it cannot be read.
        kind: the rule without the details of one finding, by which findings are counted.
    """

    severity: Severity
    file: str
    row: int | None
    rule: str
    value: str
    cure: str
    count: int = 1
    ticker: str = ""
    day: str = ""
    kind: str = ""

    @property
    def text(self) -> str:
        """Where, what and what to do, in one line."""
        where = self.file if self.row is None else f"{self.file}, row {self.row}"
        value = f" ({self.value})" if self.value else ""
        return f"{where}: {self.rule}{value}. {self.cure}"


@dataclass
class Report:
    """Collects the findings of one file: the first ``most`` of every rule, and a count of the rest.

    ``ticker`` is a prefix of every error and warning, for tables whose rows hold several tickers. In all methods,
    ``kind`` groups findings whose rule texts differ (by a ticker's name, say) under one limit.
    """

    file: str
    ticker: str = ""
    most: float = MAX_PER_RULE
    _kept: list[Finding] = field(default_factory=list)
    _seen: Counter[tuple[Severity, str]] = field(default_factory=Counter)
    _last: dict[tuple[Severity, str], Finding] = field(default_factory=dict)

    def for_ticker(self, ticker: str) -> "Report":
        """A view of this report whose errors and warnings name ``ticker``."""
        return replace(self, ticker=ticker)

    def locate(self, ticker: str, rows_T: NDArray[np.int64], days_T: NDArray[np.datetime64]) -> None:
        """Name ticker and day of this view's findings about rows of a ticker: they are known after the first checks."""
        here = [i for i, one in enumerate(self._kept) if one.row and not one.day and one.ticker == self.ticker]
        days = dict(zip(rows_T.tolist(), days_T.tolist(), strict=True)) if here else {}
        for i in here:
            if (day := days.get(self._kept[i].row)) is not None:
                self._kept[i] = replace(self._kept[i], ticker=ticker, day=str(day))

    def error(self, row: int | None, rule: str, value: str, cure: str, kind: str = "") -> None:
        """Add a problem that only the owner of the file can solve."""
        self._add(Finding("error", self.file, row, rule, value, cure), kind)

    def error_each(self, rows: NDArray[np.int64], rule: str, values: Iterable[str], cure: str) -> None:
        """Add an error per row. ``values`` is consumed only as far as findings are kept."""
        free = int(min(len(rows), max(0, self.most - self._seen["error", rule])))
        for row, value in zip(rows[:free].tolist(), values, strict=False):
            self.error(row, rule, value, cure)
        if len(rows) > free:
            self._add(Finding("error", self.file, int(rows[-1]), rule, "", cure, count=len(rows) - free), rule)

    def warning(self, row: int | None, rule: str, value: str, cure: str, kind: str = "") -> None:
        """Add something suspicious that does not stop loading."""
        self._add(Finding("warning", self.file, row, rule, value, cure), kind)

    def info(self, rule: str, value: str, cure: str = "Nothing to do.", kind: str = "") -> None:
        """Add a repair or an omission that concerns the whole file."""
        self._add(Finding("info", self.file, None, rule, value, cure), kind)

    def counted(
        self, rows: Sequence[int] | NDArray[np.int64], rule: str, cure: str = "Nothing to do.", kind: str = ""
    ) -> None:
        """Add one info for all ``rows`` together; nothing if there are none."""
        if len(rows):
            value = f"{len(rows)} row{'s' if len(rows) > 1 else ''}, the first is row {int(rows[0])}"
            self.info(rule, value, cure, kind)

    @property
    def findings(self) -> list[Finding]:
        """The findings kept one by one, then one count per rule that was broken more often."""
        rest = []
        for key, last in self._last.items():
            total, at = self._seen[key] - int(self.most), f", the last in row {last.row}" if last.row else ""
            rest.append(replace(last, row=None, rule=last.kind, value=f"{total:,} more{at}", count=total))
        return self._kept + rest

    @property
    def errors(self) -> int:
        """Number of errors, including those that were only counted."""
        return sum(count for (severity, _), count in self._seen.items() if severity == "error")

    @property
    def has_errors(self) -> bool:
        """Whether the data cannot be loaded."""
        return self.errors > 0

    def _add(self, finding: Finding, kind: str) -> None:
        kind = kind or finding.rule
        key = (finding.severity, kind)
        self._seen[key] += finding.count
        if self._seen[key] > self.most:
            self._last[key] = replace(finding, kind=kind)
            return
        is_info = finding.severity == "info"
        rule = f"{self.ticker}: {finding.rule}" if self.ticker and not is_info else finding.rule
        value = _short(finding.value, 300 if is_info else 80)
        self._kept.append(replace(finding, rule=_short(rule, 300), value=value, ticker=self.ticker, kind=kind))


def has_errors(findings: Sequence[Finding]) -> bool:
    """Whether the data cannot be loaded."""
    return any(finding.severity == "error" for finding in findings)


def raise_on_errors(findings: Sequence[Finding], path: str) -> None:
    """Raise the first error of the first file that has one as a DataError, and say how many more there are."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    in_file = [error for error in errors if error.file == errors[0].file]
    first = min(in_file, key=lambda error: (error.count, error.row or 0))
    rest = sum(error.count for error in errors) - first.count
    hint = f" {rest:,} more error{'s' * (rest > 1)}: list all with 'tradeschool data check {path}'." if rest else ""
    raise DataError(first.text + hint)


def note(findings: Sequence[Finding], path: object) -> list[str]:
    """What to say before a command goes on: one line about what may have changed the data, or none."""
    count = sum(finding.count for finding in findings if finding.severity == "warning")
    warnings = f"{count:,} warning{'s' * (count > 1)} about the data"
    return [f"{warnings}. See them: tradeschool data check {path}"] if count else []


def join_some(words: Sequence[str], shown: int = 10, separator: str = ", ") -> str:
    """The first words, and how many more there are."""
    more = f" and {len(words) - shown} more" if len(words) > shown else ""
    return separator.join(words[:shown]) + more


def _short(text: str, limit: int) -> str:
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."
