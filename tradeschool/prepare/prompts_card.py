"""The card of a data set of prompts: what is in it, counted, and how it was made."""

import json
import re
from collections import Counter
from typing import Any, get_args

from tradeschool.tasks.base import SplitName, Task

COUNTED_ROWS = 500
"""Rows that are read at a time."""
UNKNOWN = "(unknown)"
"""The label of a question whose outcome is not in the data."""
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


class Tally:
    """Counts rows, labels and sections of prompts by split."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.labels: dict[str, Counter[str]] = {}
        self.sections: dict[str, Counter[str]] = {}

    def add(self, split: str, dataset: Any) -> None:
        """Count a Hugging Face dataset, some rows at a time."""
        self.rows[split] = len(dataset)
        for batch in dataset.select_columns(["prompt", "label"]).iter(COUNTED_ROWS):
            for messages, label in zip(batch["prompt"], batch["label"], strict=True):
                self.labels.setdefault(label or UNKNOWN, Counter())[split] += 1
                for name in set(_HEADING.findall(messages[-1]["content"])):
                    self.sections.setdefault(name, Counter())[split] += 1

    def answered(self, split: str) -> int:
        """Rows whose label is known."""
        return self.rows[split] - self.labels.get(UNKNOWN, Counter())[split]


def prompts_card(task: Task, made_from: dict[str, Any], tally: Tally) -> str:
    """The README of a data set, in Markdown."""
    splits = get_args(SplitName)
    table = "".join(f"| {split} | {tally.rows[split]:,} | {tally.answered(split):,} |\n" for split in splits)
    text = json.dumps(made_from["recipe"], indent=1)
    counts = _counts("label", tally.labels) + _counts("section of the prompt", tally.sections)
    seed = made_from["recipe"].get("seed", 0)
    made = f" {task.answers_note}" if task.answers_note else ""
    return CARD.format(task=task, **made_from, table=table, counts=counts, seed=seed, made=made, text=text)


def _counts(what: str, found: dict[str, Counter[str]]) -> str:
    """A table with a row for each name that was counted; empty without any."""
    if not found:
        return ""
    splits = get_args(SplitName)
    rows = "".join(
        f"| {name} | {' | '.join(f'{found[name][split]:,}' for split in splits)} |\n" for name in sorted(found)
    )
    return f"\n| {what} | {' | '.join(splits)} |\n|---|---|---|---|\n{rows}"


CARD = """---
tags:
- finance
- tradeschool
---
# Prompts of the {task.name} task: {data_name}

Written by tradeschool {package}, task {task.name} {task_version}, seed {seed}. A prompt holds what was known
after the close of its date and nothing later. The splits are consecutive in time, separated by an embargo.

| split | prompts | with a hindsight answer |
|---|---|---|
{table}{counts}
- `prompt`: chat messages. `completion`: the hindsight answer as a message; null where its outcome is not in the
  data, so drop these rows before training on it. `expert`: the answer of the task's expert, who knows only the
  prompt.{made}
- `label`: the class in hindsight. `key`, `ticker`, `date`, `variant` identify the question; they are not masked, so do
  not show them to a model.

Data hash {data_hash}, preparation {digest}: the same recipe on the same data gives the same bytes.

```json
{text}
```
"""
