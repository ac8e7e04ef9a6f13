"""Report pages: sections of sentences, tables, charts and conversations as one HTML file, the same for all reports."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tradeschool.errors import RunError
from tradeschool.evaluate.charts import Drawn, template, training_charts
from tradeschool.evaluate.tables import Cell, Table
from tradeschool.evaluate.training_curves import curves, selection_table
from tradeschool.manifest import replace_text
from tradeschool.trace import Trace

Training = Mapping[str, Sequence[Mapping[str, Any]]]
"""The metrics of each training stage's steps, in order."""

TEMPLATE = Path(__file__).with_name("report.jinja")
TRAINS = ("sft", "grpo", "ppo")
"""Kinds of stages that train."""
_THINKING = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)
_SPACES = re.compile(r"[ \t]*\n\s*")


@dataclass(frozen=True)
class Turn:
    """A message and the answer to it; ``style`` is the CSS class of the answer."""

    message: str
    thought: str
    answer: str
    style: str


@dataclass(frozen=True)
class Card:
    """An answer or an episode, its figures in words, and its outcome."""

    trace: Trace
    facts: Sequence[str]
    tag: Cell = ""

    @property
    def prompt(self) -> str:
        """What every turn shares: the rules of an episode, or the question to a single answer."""
        texts = [message["content"] for message in self.trace.messages if message["role"] == "system"]
        turns = turns_of(self.trace)
        return "\n\n".join([*texts, turns[0].message] if len(turns) == 1 else texts)

    @property
    def turns(self) -> list[Turn]:
        """The answers, of an episode with their messages."""
        turns = turns_of(self.trace)
        return turns if len(turns) > 1 else [dataclasses.replace(one, message="") for one in turns]


@dataclass(frozen=True)
class Part:
    """A heading with what stands below it, in this order. ``folded``: shown on a click on the heading."""

    heading: str
    notes: Sequence[str] = ()
    charts: Drawn = field(default_factory=list)
    tables: Sequence[Table] = ()
    cards: Sequence[Card] = ()
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A subject of a page: its name where there are several, the first sentences, the warnings, and the parts."""

    name: str = ""
    description: str = ""
    headline: Sequence[str] = ()
    warnings: Sequence[str] = ()
    parts: Sequence[Part] = ()


def write_page(
    path: Path, title: str, sections: Sequence[Section], manifest: Mapping[str, Any] | None = None, **method: Any
) -> None:
    """Write a page, replacing the file in one step. Every text is escaped, so none can become markup.

    ``method`` is what the template needs to say how the figures were measured.
    """
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str) if manifest else ""
    html = template(TEMPLATE).render(title=title, sections=sections, manifest=text, **method)
    try:
        replace_text(path, html)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error


def turns_of(trace: Trace) -> list[Turn]:
    """A conversation turn by turn, with the reasoning of an answer apart."""
    turns, pending = [], []
    for message in trace.messages:
        role, content = message["role"], str(message["content"])
        if role == "user":
            pending.append(content)
        elif role == "assistant":
            found = _THINKING.fullmatch(content)
            thought, answer = (found[1].strip(), found[2].strip()) if found else ("", content.strip())
            words = [piece.split()[0].upper() for piece in re.split(r"[;\n]", answer) if piece.strip()]
            order = next((name for name in ("BUY", "SELL", "HOLD") if name in words), "")
            style = order or ("unreadable" if trace.task == "trade" else "")
            turns.append(Turn("\n".join(pending), thought, _SPACES.sub("\n", answer), style))
            pending = []
    return turns


def training_section(training: Training, manifest: Mapping[str, Any] | None, classes: Sequence[str]) -> Section:
    """What each training stage recorded, and how many optimizer steps it took; ``classes`` are those of answers."""
    record = manifest or {}
    recipe = record.get("recipe", {})
    weights = recipe.get("task", {}).get("weights", {})
    kinds = {stage.get("name"): stage.get("stage") for stage in recipe.get("stages", [])}
    finished = [stage["name"] for stage in record.get("stages", []) if kinds.get(stage["name"]) in TRAINS]
    together = curves(training)
    parts = [Part("Training", charts=[("All stages, one after the other", together)])] if together else []
    for stage in dict.fromkeys([*finished, *training]):
        steps = training.get(stage, ())
        drawn = training_charts(stage, steps, weights, classes)
        if (selection := selection_table(steps)) is not None:
            parts.append(Part(f"Rejection sampling: {stage}", selection[:1], drawn, selection[1:]))
        else:
            parts.append(Part(f"Training: {stage}", [_steps_taken(steps, kinds.get(stage))], drawn))
    return Section(parts=parts)


def _steps_taken(steps: Sequence[Mapping[str, Any]], kind: str | None) -> str:
    count, epochs = (max((int(row.get(key) or 0) for row in steps), default=0) for key in ("step", "n_updates"))
    if not (epochs if kind == "ppo" else count):
        return "No optimizer step: the weights are those that it began with."
    if kind == "ppo":
        return f"{count:,} decisions, learned from in {epochs:,} epochs."
    return f"{count:,} optimizer step{'s' * (count != 1)}."
