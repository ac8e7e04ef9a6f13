"""Data sets of answers to imitate: what the stages write and read, and files of the user's own.

A row has ``messages``, the conversation before an answer, and ``completion``, the answer, which alone bears loss. Where
``learned`` is given, it says the same of the answers in ``messages``, in order. Other columns are ignored.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tradeschool.errors import RecipeError
from tradeschool.tasks.base import Demonstration

FORMATS = (".jsonl", ".csv", ".parquet")
CSV_COLUMNS = ("date", "ticker", "system", "prompt", "completion", "reward")
CSV_NAME = "{ticker}_sft_training_data.csv"


def write_dataset(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of ``messages`` and ``completion`` as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_dataset(path: Path) -> list[dict[str, Any]]:
    """The rows of a data set.

    A file is JSON lines, parquet or CSV. In place of ``messages`` it may have ``prompt``, a text or messages, with an
    optional text ``system``; ``completion`` is a text, or one message.

    Raises:
        RecipeError: the file cannot be read, or a row lacks the question or the answer.
    """
    if path.suffix not in FORMATS:
        raise RecipeError(f"data: {path} is no data set. Give a file that ends in {', '.join(FORMATS)}.")
    try:
        if path.suffix == ".jsonl":
            found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        elif path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                found = list(csv.DictReader(file))
        else:
            import pyarrow.parquet

            found = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, ValueError, csv.Error) as error:
        raise RecipeError(f"data: {path} cannot be read ({error}). Correct the file.") from error
    return [_row(row, f"data: {path}, row {number}") for number, row in enumerate(found, 1)]


def _row(row: Any, where: str) -> dict[str, Any]:
    """A row with ``messages`` and ``completion``."""
    given = row if isinstance(row, dict) else {}
    asked, completion = given.get("messages") or given.get("prompt"), given.get("completion")
    if isinstance(asked, str):
        system = [{"role": "system", "content": given["system"]}] if given.get("system") else []
        asked = [*system, {"role": "user", "content": asked}]
    if isinstance(completion, list) and len(completion) == 1 and isinstance(completion[0], dict):
        completion = completion[0].get("content")
    is_asked = isinstance(asked, list) and all(
        isinstance(one, dict) and {"role", "content"} <= set(one) for one in asked
    )
    if not asked or not is_asked or not isinstance(completion, str) or not completion:
        raise RecipeError(
            f"{where} has the columns {', '.join(map(str, given)) or '(none)'}. A row needs prompt (a text) or "
            "messages (role and content), and completion, the answer to imitate."
        )
    return {**given, "messages": asked, "completion": completion}


def conversations(rows: Sequence[dict[str, Any]]) -> Iterator[Demonstration]:
    """The rows as conversations to imitate."""
    for row in rows:
        before = sum(message["role"] == "assistant" for message in row["messages"])
        messages = [*row["messages"], {"role": "assistant", "content": row["completion"]}]
        yield Demonstration(messages, [*(row.get("learned") or [False] * before), True])


def write_csv(folder: Path, rows: Sequence[dict[str, Any]]) -> list[Path]:
    """Write ``{TICKER}_sft_training_data.csv`` for each ticker of the rows, which have single questions.

    The columns are :data:`CSV_COLUMNS`; :func:`read_dataset` reads them again.
    """
    by_ticker: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_ticker.setdefault(row["ticker"] or "ALL", []).append(row)
    paths = []
    for ticker, own in by_ticker.items():
        # A ticker such as BRK/B must not create a folder.
        paths.append(folder / CSV_NAME.format(ticker=ticker.replace("/", "-")))
        with paths[-1].open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            for row in own:
                system = next((one["content"] for one in row["messages"] if one["role"] == "system"), "")
                prompt = "\n\n".join(one["content"] for one in row["messages"] if one["role"] != "system")
                writer.writerow({**row, "system": system, "prompt": prompt})
    return paths
