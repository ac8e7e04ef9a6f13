"""Leaderboards made of chosen grades, for the tests of their reports: results and run folders."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tradeschool.evaluate.leaderboard.ranking import Leaderboard, lineage
from tradeschool.evaluate.leaderboard.results import PARTS, AgentResult, BenchmarkSpec, ResultsStore, traces_path
from tradeschool.manifest import Manifest
from tradeschool.trace import Trace, write_traces

DAYS, EPISODES, MARKET = 4, 60, 0.575
BENCHMARK = BenchmarkSpec(
    env_version="1.0.0",
    level="Easy",
    level_version="1.0.0",
    settings_hash="b" * 16,
    data_hash="c" * 16,
    data="a market",
    tickers=1,
    days=DAYS,
    first="2020-01-02",
    last="2021-01-04",
    seed=7,
)
TWO_STEPS = ({"stage": "sft", "name": "sft"}, {"stage": "grpo", "name": "grpo", "model": None})
STAGE = {"stage": "leaderboard", "name": "board", "split": "test"}


def result(
    agent: str, gain: float = 0.0, spread: float = 0.02, identity: dict[str, Any] | None = None, **changes: Any
) -> AgentResult:
    """Grades of the market plus ``gain``, plus and minus ``spread`` in turn, each episode in its own block."""
    count = len(changes.get("starts", range(EPISODES)))
    noise = spread * np.where(np.arange(count) % 2, 1.0, -1.0)
    grades = (MARKET + gain + noise).tolist()
    fields: dict[str, Any] = {
        "agent": agent,
        "identity": identity or {"agent": agent},
        "benchmark": BENCHMARK,
        "starts": [2 * DAYS * n for n in range(count)],
        "grades": grades,
        "parts": dict.fromkeys(PARTS, grades),
        "returns": [0.01 + gain / 10 + n / 10 for n in noise],
        "refused": [0] * count,
        "bankrupt": 0,
        "seconds": 1.0,
        "date": "2026-01-02T03:04:05+00:00",
        "figures": {},
        "path": [1.0, 1.01, 1.0, 1.02, 1.01],
    }
    return AgentResult(**{**fields, **changes})


def model(agent: str, gain: float = 0.0, **changes: Any) -> AgentResult:
    """The result of a language model."""
    return result(agent, gain, identity={"agent": "model", "source": agent}, **changes)


def rules(**gains: float) -> list[AgentResult]:
    """Buy and hold, and rules with these gains over it."""
    return [result("buy and hold", spread=0.0), *(result(name, gain) for name, gain in gains.items())]


def board(*results: AgentResult, stages: Sequence[Mapping[str, Any]] = TWO_STEPS) -> Leaderboard:
    return Leaderboard.of("board", results, lineage({"model": {"base": "tiny"}, "stages": stages}))


def trace(agent: str, number: int, grade: float, *answers: str, message: str = "RSI 30", **changes: Any) -> Trace:
    """A conversation with one answer per day."""
    messages = [{"role": "system", "content": "Trade."}]
    for day, answer in enumerate(answers):
        messages += [{"role": "user", "content": f"day {day}, {message}"}, {"role": "assistant", "content": answer}]
    metrics = {"grade": grade, "return": 0.01, "market_return": 0.02, "refused": 0.0}
    rewards: dict[str, float | None] = dict.fromkeys(PARTS, grade)
    fields: dict[str, Any] = {"rewards": rewards, "stop": "answered", "metrics": metrics} | changes
    return Trace(f"Easy#{number}", "trade", agent, messages, **fields)


def run_folder(
    folder: Path,
    results: Sequence[AgentResult] = (),
    traces: Mapping[str, Sequence[Trace]] | None = None,
    stages: Sequence[Mapping[str, Any]] = TWO_STEPS,
    name: str = "episodes",
) -> Path:
    """A run folder whose last stage is a finished leaderboard; without results it has not finished."""
    recipe = {
        "name": name,
        "model": {"base": "tiny"},
        "stages": [*stages, *([STAGE] if results else [])],
        "task": {"weights": {"profit": 1.0}},
    }
    none: dict[str, Any] = {"versions": {}, "source": {}, "machine": {}}
    folder.mkdir(parents=True, exist_ok=True)
    Manifest(recipe, "d" * 64, "a market", "c" * 16, "1.0.0", {"run": 7}, **none).write(folder)
    if results:
        own = folder / f"{len(stages) + 1}-board"
        own.mkdir()
        store = ResultsStore(own / "results.json")
        for one in results:
            store.put(one)
        content = {"rows": [{"policy": one.agent} for one in results], "best_rule": None}
        (own / "leaderboard.json").write_text(json.dumps(content), encoding="utf-8")
        for agent, own_traces in (traces or {}).items():
            write_traces(traces_path(own, agent), own_traces)
    return folder
