"""Tracks a stage's answers against what happened: whether the market's bias towards one class becomes the model's.

Files in the stage's folder: ``NAME_training_log.jsonl``, a line for each answer; ``market_stats.json``, how often each
class came true and was answered, over all steps and in quarters of them; ``training.log``, the progress as text.
"""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from tradeschool.manifest import replace_text, versions
from tradeschool.tasks.base import Example, Rewards, Task
from tradeschool.train.logging import read_metrics, write_rows

STATS = "market_stats.json"
LOG = "training.log"
PARTS = 4


class Tracker(TrainerCallback):
    """Collects answers, and writes them whenever the trainer logs.

    Args:
        task: names the classes and knows the outcomes.
        folder: of the stage.
        name: of the stage.
    """

    def __init__(self, task: Task, folder: Path, name: str) -> None:
        self._task, self._name = task, name
        self._answers, self._stats = folder / f"{name}_training_log.jsonl", folder / STATS
        self._log, self._step = folder / LOG, 0
        self._new: list[dict[str, Any]] = []

    def add(self, examples: Sequence[Example], actions: Sequence[Any | None], rewards: Sequence[Rewards]) -> None:
        """Answers of the present step; an action is None where it could not be read."""
        for example, action, earned in zip(examples, actions, rewards, strict=True):
            row: dict[str, Any] = {
                "step": self._step + 1,
                "question": example.key,
                "prediction": None if action is None else self._task.action_name(action),
                "truth": self._task.label(example),
            }
            known = {k: round(v, 6) for k, v in earned.items() if v is not None and math.isfinite(v)}
            self._new.append(row | {"reward": round(self._task.total({**known}), 6), "rewards": known})

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After a resume, lines after the checkpoint's step are dropped: they will come again."""
        self._step, resumed = state.global_step, state.global_step > 0
        rows = read_metrics(self._answers) if resumed else []
        write_rows(self._answers, [row for row in rows if row["step"] <= state.global_step])
        if not resumed:
            self._log.unlink(missing_ok=True)
        used = ", ".join(f"{name} {version}" for name, version in versions().items())
        self._say(
            f"{self._name}: {state.max_steps} steps from step {state.global_step} on {platform.platform()}; {used}"
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._step = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        with self._answers.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in self._new)
        self._new = []
        figures = {k: v for k, v in (logs or {}).items() if isinstance(v, int | float)}
        self._say(f"step {state.global_step}: " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items()))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        rows = read_metrics(self._answers)
        classes = self._task.action_names
        last = rows[-1]["step"] if rows else 0
        parts = [[row for row in rows if (row["step"] - 1) * PARTS // max(last, 1) == part] for part in range(PARTS)]
        found = {"stage": self._name, "steps": last, **statistics(rows, classes)}
        found["quarters"] = [statistics(part, classes) for part in parts if part]
        replace_text(self._stats, json.dumps(found, indent=1))
        self._say(f"{self._name}: done after {state.global_step} steps")

    def _say(self, text: str) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")


def statistics(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Of lines of the answers' log: by class how often it came true (``market``), was answered (``predicted``), and of
    the outcomes of that class the share answered so (``accuracy``); mean rewards; the share of unreadable answers.
    """
    read = [row for row in rows if row["prediction"] is not None and row["truth"] is not None]

    def share(name: str) -> dict[str, float | None]:
        true = [row for row in read if row["truth"] == name]
        return {
            "market": _mean([row["truth"] == name for row in read]),
            "predicted": _mean([row["prediction"] == name for row in read]),
            "accuracy": _mean([row["prediction"] == name for row in true]),
        }

    components = dict.fromkeys(name for row in rows for name in row["rewards"])
    return {
        "answers": len(rows),
        "unreadable": _mean([row["prediction"] is None for row in rows]),
        "classes": {name: share(name) for name in classes},
        "average_reward": _mean([row["reward"] for row in rows]),
        "rewards": {k: _mean([row["rewards"][k] for row in rows if k in row["rewards"]]) for k in components},
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 6) if values else None
