"""The file of people's results: JSON lines, one an episode, the newest last.

A line holds ``name``, ``time`` (UTC, ISO 8601), ``market``, ``seed``, ``masked``, ``start`` (the episode's first
row), ``tickers`` (in the order shown), ``days`` (played, of those the level has), ``finished``, ``played_before``
(lines of the same episode above it: whoever knows how it goes on is no rival), ``orders`` (what was typed, by day, so
that the episode can be graded again), ``refused``, ``return`` (equity at the end over the start, less 1),
``tradeschool`` and what episodes must have in common to be compared: ``env_version``, ``rules_hash``, ``level``,
``level_version``, ``settings_hash`` and ``data_hash`` (:data:`tradeschool.env.versions.KEYS`). A finished episode also
has ``grade`` and ``market_grade`` (that of buy and hold), each with ``total``, ``risk``, ``pnl``, ``drawdown`` and
``activity``. An episode that was left has a line too: whoever leaves what goes badly must not look better for it.
"""

import json
import os
from pathlib import Path
from typing import Any

from tradeschool.errors import TradeschoolError

SAME = ("level", "seed", "data_hash")


class ResultsFile:
    """Results of people, appended to and never rewritten.

    Raises:
        TradeschoolError: the file cannot be written; said before an episode is played, not after.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        folder = next(parent for parent in self.path.absolute().parents if parent.exists())
        exists = self.path.exists()
        if self.path.is_dir() or not os.access(self.path if exists else folder, os.W_OK) or not folder.is_dir():
            raise TradeschoolError(
                f"Results cannot be written to {self.path}. Give another file with --results, or --no-results."
            )

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        """Append a row, with ``played_before`` counted from those above it; gives back what was written.

        Raises:
            TradeschoolError: the disk is full, or the like; the text holds the row.
        """
        try:
            row = {**row, "played_before": self._played_before(row)}
            self._append(json.dumps(row, ensure_ascii=False, allow_nan=False))
        except OSError as error:
            raise TradeschoolError(
                f"The result could not be written to {self.path} ({error.strerror}). It is: "
                f"{json.dumps(row, ensure_ascii=False)}"
            ) from error
        return row

    def _append(self, line: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A line that was cut off must not swallow this one.
        broken = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
        with self.path.open("ab") as file:
            file.write(("\n" * broken + line + "\n").encode())

    def _played_before(self, row: dict[str, Any]) -> int:
        if not self.path.exists():
            return 0
        count = 0
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                other = json.loads(line)
            except ValueError:
                # Another's line; whoever reads the results will say so.
                continue
            count += isinstance(other, dict) and all(other.get(key) == row[key] for key in SAME)
        return count
