"""Leaderboards written by hand, for the tests of their reports: rows of chosen grades, and run folders."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tradeschool.evaluate.leaderboard.book import Book
from tradeschool.evaluate.leaderboard.ladder import Board, ladder
from tradeschool.evaluate.leaderboard.row import PARTS, Edition, Row
from tradeschool.manifest import Manifest
from tradeschool.trace import Trace, write_traces

DAYS, EPISODES, MARKET = 4, 60, 0.575
EDITION = Edition(
    "1.0.0", "a" * 16, "Easy", "1.0.0", "b" * 16, 1, DAYS, "a market", "c" * 16, "2020-01-02", "2021-01-04", 7
)
TWO_STEPS = ({"stage": "sft", "name": "sft"}, {"stage": "grpo", "name": "grpo", "model": None})
LEADERBOARD = {"stage": "leaderboard", "name": "board", "split": "test"}
LANGUAGE = {"agent": "model", "source": "folder"}


def row(
    agent: str, gain: float = 0.0, spread: float = 0.02, settings: dict[str, Any] | None = None, **changes: Any
) -> Row:
    """A row whose grades are the market's plus ``gain``, give or take ``spread``, each episode in its own block."""
    count = len(changes.get("starts", range(EPISODES)))
    noise = spread * np.where(np.arange(count) % 2, 1.0, -1.0)
    grades = (MARKET + gain + noise).tolist()
    fields: dict[str, Any] = {
        "agent": agent,
        "settings": settings or {"agent": agent},
        "edition": EDITION,
        "starts": [2 * DAYS * n for n in range(count)],
        "grades": grades,
        "parts": dict.fromkeys(PARTS, grades),
        "returns": [0.01 + gain / 10 + n / 10 for n in noise],
        "refused": [0] * count,
        "bankrupt": 0,
        "seconds": 1.0,
        "date": "2026-01-02T03:04:05+00:00",
        "tradeschool": "0.1.0",
        "path": [1.0, 1.01, 1.0, 1.02, 1.01],
    }
    return Row(**{**fields, **changes})


def model(agent: str, gain: float = 0.0, **changes: Any) -> Row:
    """The row of a language model."""
    return row(agent, gain, settings={**LANGUAGE, "source": agent}, **changes)


def rules(**gains: float) -> list[Row]:
    """Buy and hold, and rules with these gains on it."""
    return [row("buy and hold", spread=0.0), *(row(name, gain) for name, gain in gains.items())]


def board(*rows: Row, stages: Sequence[Mapping[str, Any]] = TWO_STEPS) -> Board:
    return Board.of("board", rows, ladder({"stages": stages}))


def talk(agent: str, number: int, grade: float, *answers: str, told: str = "RSI 30", **changes: Any) -> Trace:
    """A conversation of an answer a day."""
    messages = [{"role": "system", "content": "Trade."}]
    for day, answer in enumerate(answers):
        messages += [{"role": "user", "content": f"day {day}, {told}"}, {"role": "assistant", "content": answer}]
    metrics = {"grade": grade, "return": 0.01, "market_return": 0.02, "refused": 0.0}
    rewards: dict[str, float | None] = dict.fromkeys(PARTS, grade)
    fields: dict[str, Any] = {"rewards": rewards, "stop": "answered", "metrics": metrics} | changes
    return Trace(f"Easy#{number}", "trade", agent, messages, **fields)


def run_folder(
    folder: Path,
    rows: Sequence[Row] = (),
    traces: Mapping[str, Sequence[Trace]] | None = None,
    stages: Sequence[Mapping[str, Any]] = TWO_STEPS,
    name: str = "episodes",
) -> Path:
    """A run folder whose leaderboard, its last stage, has finished; without rows it has not."""
    recipe = {"name": name, "stages": [*stages, *([LEADERBOARD] if rows else [])], "task": {"weights": {"profit": 1.0}}}
    none: dict[str, Any] = {"versions": {}, "source": {}, "machine": {}}
    folder.mkdir(parents=True, exist_ok=True)
    Manifest(recipe, "d" * 64, "a market", "c" * 16, "1.0.0", {"run": 7}, **none).write(folder)
    if rows:
        own = folder / f"{len(stages) + 1}-board"
        own.mkdir()
        book = Book(own / "rows.json")
        for one in rows:
            book.put(one)
        found = {"edition": dataclasses.asdict(EDITION), "standings": [{"agent": one.agent} for one in rows]}
        (own / "leaderboard.json").write_text(json.dumps(found), encoding="utf-8")
        for agent, said in (traces or {}).items():
            write_traces(own / f"traces-{agent}.jsonl", said)
    return folder
