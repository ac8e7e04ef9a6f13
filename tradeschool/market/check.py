"""Everything that is wrong with the price files under a path, for ``tradeschool data check``."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tradeschool.market.finding import Finding
from tradeschool.market.prices.jumps import Splits
from tradeschool.market.sources import inspect

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_PER_RULE = 5
_STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


def check(path: str | Path, exchange: str | None = None, splits: Splits = "refuse") -> list[Finding]:
    """All findings, errors first, then by file and row. It reads by the same code as loading does: a path
    loads if and only if it has no error here.

    Args:
        path: folder or file.
        exchange: hold the dates against this exchange's calendar, as :func:`sources.inspect` does.
        splits: as in :func:`sources.load`.

    Raises:
        DataError: there is no exchange of this name.
        TradeschoolError: an exchange is given, and the ``data`` extra is not installed.
    """
    order = {"error": 0, "warning": 1, "info": 2}
    findings = inspect(path, exchange=exchange, splits=splits).findings
    return sorted(findings, key=lambda f: (order[f.severity], f.file, f.count > 1, f.row or 0))


def has_errors(findings: Sequence[Finding]) -> bool:
    """Whether the path cannot be loaded."""
    return any(finding.severity == "error" for finding in findings)


def render(findings: Sequence[Finding], console: "Console") -> None:
    """Print a table, at most five rows per file and rule (the rest counted), and a line that sums it up."""
    from rich.table import Table
    from rich.text import Text

    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.severity] += finding.count
    if findings:
        table = Table("", "file", "row", "rule", "value", "cure", show_lines=False)
        seen: Counter[tuple[str, str]] = Counter()
        for finding in findings:
            key = (finding.file, finding.rule)
            seen[key] += finding.count
            if seen[key] <= SHOWN_PER_RULE:
                row = "" if finding.row is None else str(finding.row)
                cells = (finding.severity, Path(finding.file).name, row, finding.rule, finding.value, finding.cure)
                # Text, not markup: a value may hold square brackets.
                table.add_row(*(Text(cell) for cell in cells), style=_STYLES[finding.severity])
        console.print(table)
        for (file, rule), count in seen.items():
            if count > SHOWN_PER_RULE:
                console.print(Text(f"{Path(file).name}: {rule}: {count - SHOWN_PER_RULE:,} more"))
    console.print(f"{counts['error']:,} errors, {counts['warning']:,} warnings, {counts['info']:,} infos")
