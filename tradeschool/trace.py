"""One finished episode, in and out of JSON lines."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tradeschool.errors import RunError

Stop = Literal["answered", "parse_error", "max_turns", "max_tokens", "bankrupt"]


@dataclass(frozen=True)
class Trace:
    """What was asked, what was answered and what it was worth. A bad answer is data, not a crash.

    ``rewards`` holds one value per named component, None where it was not scored. ``versions``
    holds the task's version, the data hash and the package's version; of an episode of the trading environment what
    episodes must have in common to be compared (:data:`tradeschool.env.versions.KEYS`), and ``agent_hash``: of the
    settings, code and weights of who played it, as the leaderboard's row has them.
    """

    key: str
    task: str
    policy: str
    messages: list[dict[str, str]]
    rewards: dict[str, float | None]
    stop: Stop
    action: str | None = None
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def write_traces(path: Path, traces: Iterable[Trace]) -> int:
    """Write one JSON object a line, replacing the file; return how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for trace in traces:
            file.write(json.dumps(dataclasses.asdict(trace), ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def read_traces(path: Path) -> Iterator[Trace]:
    """Read what :func:`write_traces` wrote.

    Raises:
        RunError: a line is not a trace; the text names file and line.
    """
    names = {f.name for f in dataclasses.fields(Trace)}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row: dict[str, Any] = json.loads(line)
                yield Trace(**{key: value for key, value in row.items() if key in names})
            except (json.JSONDecodeError, TypeError, AttributeError) as error:
                raise RunError(f"{path}, line {number}: not a trace ({error}). Remove the line or the file.") from error
