"""The file of a leaderboard's rows: one for each market and level, all editions in it, the newest rows last.

    {"format": 1, "rows": [
    {"agent": ..., "settings": {...}, "edition": {...}, "starts": [...], "grades": [...], ...},
    ...
    ]}

A row holds the fields of :class:`~tradeschool.evaluate.leaderboard.row.Row`, its edition those of ``Edition``. Every
row stands on a line of its own, so that two files can be told apart with ``diff``. A row of the same name with other
settings, code or weights is another agent's, and stays.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from tradeschool.errors import RunError
from tradeschool.evaluate.leaderboard.row import PARTS, Edition, Row
from tradeschool.manifest import replace_text

FORMAT = 1


class Book:
    """The rows in one file; every change is written at once.

    Raises:
        RunError: the file is not one of these, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = _read(path) if path.exists() else []

    def find(self, agent: str, edition: Edition, settings: dict[str, Any]) -> Row | None:
        """The row of an agent of this name and these settings on an edition."""
        return next((row for row in self.rows if row.is_of(agent, edition, settings)), None)

    def put(self, row: Row) -> None:
        """Add a row, in the place of that agent's on the same edition."""
        self.rows = [one for one in self.rows if not one.is_of(row.agent, row.edition, row.settings)] + [row]
        lines = [json.dumps(dataclasses.asdict(one), ensure_ascii=False, allow_nan=False) for one in self.rows]
        body = ",\n".join(lines)
        replace_text(self.path, f'{{"format": {FORMAT}, "rows": [\n{body}\n]}}\n')

    def editions(self) -> list[Edition]:
        """All editions, the one last played first."""
        return list(dict.fromkeys(row.edition for row in reversed(self.rows)))

    def on(self, edition: Edition) -> list[Row]:
        """The rows of an edition, of every name the newest."""
        by_name = {row.agent: row for row in self.rows if row.edition == edition}
        return [row for row in self.rows if row is by_name.get(row.agent)]


def _read(path: Path) -> list[Row]:
    cure = "Move it away, and all agents are played again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise RunError(
                f"{path} has format {content['format']}; this version of tradeschool reads {FORMAT}. {cure}."
            )
        rows = [Row(**{**row, "edition": Edition(**row["edition"])}) for row in content["rows"]]
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}). {cure}.") from error
    for row in rows:
        lists: list[list[Any]] = [row.starts, row.returns, row.refused, *(row.parts.get(name, []) for name in PARTS)]
        if not row.grades or any(len(values) != row.episodes for values in lists):
            raise RunError(f"{path} is damaged (the row of {row.agent} has lists of unequal length). {cure}.")
    return rows
