"""Traces: questions with their answers and rewards, one JSON object a line."""

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
    """One question or episode with its answers and rewards. A bad answer is data, not an error.

    Attributes:
        key: of the example.
        task: the task's name.
        policy: the policy's name.
        messages: the conversation; the last message is an answer.
        rewards: one value for each component, None where it was not scored.
        stop: why it ended.
        action: the class of the answer; None where it cannot be read.
        label: the class that the outcome makes right; None where the task has none, or the outcome is not known.
        error: why it cannot be read.
        metrics: further figures, all finite.
        versions: of the task, the data and the package; of a trading episode also what episodes must have in common to
            be compared (:data:`tradeschool.env.config.KEYS`).
    """

    key: str
    task: str
    policy: str
    messages: list[dict[str, str]]
    rewards: dict[str, float | None]
    stop: Stop
    action: str | None = None
    label: str | None = None
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def write_traces(path: Path, traces: Iterable[Trace]) -> int:
    """Write one JSON object a line, replacing the file. Returns the number of traces."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for trace in traces:
            file.write(json.dumps(dataclasses.asdict(trace), ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def read_traces(path: Path) -> Iterator[Trace]:
    """Read what :func:`write_traces` wrote; a RunError that names file and line if a line is not a trace."""
    names = {f.name for f in dataclasses.fields(Trace)}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row: dict[str, Any] = json.loads(line)
                yield Trace(**{key: value for key, value in row.items() if key in names})
            except (json.JSONDecodeError, TypeError, AttributeError) as error:
                raise RunError(f"{path}, line {number}: not a trace ({error}). Remove the line or the file.") from error
