"""Answers kept in a file as they come, so that a run that was cut off goes on without asking again."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from tradeschool.policies.chat.config import RemoteError


class AnswerStore:
    """JSON lines, one an answer: ``key``, a hash of server and request, and ``answer``. No prompt stands in it.

    The same request asked again within a run is another one: ten samples of a prompt are ten lines.

    Raises:
        RemoteError: the file cannot be written, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked: Counter[str] = Counter()
        self._known: dict[str, str] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+b") as file:
                file.seek(0)
                self._read(file.read())
        except OSError as error:
            raise RemoteError(f"{path} cannot keep answers: {error.strerror}. Give another file.") from error

    def _read(self, content: bytes) -> None:
        # A run that was killed may have left a part of a line at the end.
        whole, _, part = content.rpartition(b"\n")
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = json.loads(line)
                self._known[str(row["key"])] = str(row["answer"])
            except (ValueError, KeyError, TypeError) as error:
                raise RemoteError(
                    f"{self._path}, line {number}: no kept answer. Give a file of kept answers, or a new one."
                ) from error
        if part:
            with self._path.open("r+b") as file:
                file.truncate(len(content) - len(part))

    def key(self, url: str, body: dict[str, Any]) -> str:
        """The key of a request that is about to be asked; each call counts as asking once."""
        text = json.dumps([url, body], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._asked[digest] += 1
        return f"{digest}-{self._asked[digest]}"

    def get(self, key: str) -> str | None:
        """The answer of an earlier run."""
        return self._known.get(key)

    def add(self, key: str, answer: str) -> None:
        """Keep an answer.

        Raises:
            RemoteError: the file cannot be written any more.
        """
        self._known[key] = answer
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "answer": answer}) + "\n")
        except OSError as error:
            raise RemoteError(f"{self._path} cannot keep answers: {error.strerror}. Give another file.") from error
