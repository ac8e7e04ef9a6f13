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
from tradeschool.evaluate.comparison import JUDGED, Row, figure_with_interval
from tradeschool.manifest import replace_text
from tradeschool.tasks.base import Metric
from tradeschool.trace import Trace

Training = Mapping[str, Sequence[Mapping[str, Any]]]
"""The metrics of each training stage's steps, in order."""
Cell = str | tuple[str, str]
"""Text, its second line in a soft colour; or text and its CSS class."""

TEMPLATE = Path(__file__).with_name("report.jinja")
TRAINS = ("sft", "grpo", "ppo")
"""Kinds of stages that train."""
_THINKING = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)
_SPACES = re.compile(r"[ \t]*\n\s*")
# For browsers' widest usual font. Tables that are wider than the page would scroll sideways.
PAGE_WIDTH, CHARACTER, PADDING = 1080, 7.5, 17


@dataclass(frozen=True)
class Table:
    """A table of text; ``marked`` are the numbers of the rows that stand out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: Sequence[int] = ()


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

    Raises:
        RunError: the file cannot be written.
    """
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str) if manifest else ""
    html = template(TEMPLATE).render(title=title, sections=sections, manifest=text, **method)
    try:
        replace_text(path, html)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error


def tag(verdict: str) -> Cell:
    """A verdict in its colour."""
    return verdict, f"tag {verdict.replace(' ', '-')}"


def figure_tables(rows: Sequence[Row], metrics: Sequence[Metric], kinds: Mapping[str, str]) -> list[Table]:
    """Every figure of every row: as many columns in the first table as fit the page, the others in further ones.

    Args:
        rows: in order.
        metrics: the primary one comes first, then those that the terminal shows.
        kinds: what each policy is, by its name.
    """
    names = ("policy", [f"{row.policy}\n{kinds.get(row.policy, '')}" for row in rows])
    tables: list[list[tuple[str, Sequence[Cell]]]] = [[names, ("verdict", [tag(row.verdict) for row in rows])]]
    free = PAGE_WIDTH - _width(*names) - _width("verdict", [f"({row.verdict})" for row in rows])
    for metric in sorted(metrics, key=lambda metric: (not metric.primary, metric.terminal == "no")):
        cells = [_figure(metric, row) for row in rows]
        width = _width(metric.label, cells)
        if width > free:
            tables.append([names])
            free = PAGE_WIDTH - _width(*names)
        tables[-1].append((metric.label, cells))
        free -= width
    marked = [at for at, row in enumerate(rows) if row.kind in JUDGED]
    return [
        Table([label for label, _ in columns], list(zip(*(cells for _, cells in columns), strict=True)), marked)
        for columns in tables
    ]


def _figure(metric: Metric, row: Row) -> str:
    found = row.metrics.get(metric.key)
    return figure_with_interval(metric, found).replace(" [", "\n[") if found else "-"


def _width(label: str, cells: Sequence[str]) -> float:
    """Of a column, in pixels: headings break at spaces, cells at line ends, and names at 26 letters."""
    lines = [*label.split(), *(line for cell in cells for line in cell.split("\n"))]
    return PADDING + CHARACTER * min(max(map(len, lines)), 26)


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


# training ----------------------------------------------------------------------------------------


def training_section(training: Training, manifest: Mapping[str, Any] | None, classes: Sequence[str]) -> Section:
    """What each training stage recorded, and how many optimizer steps it took; ``classes`` are those of answers."""
    weights = _recipe(manifest).get("task", {}).get("weights", {})
    return Section(
        parts=[
            Part(f"Training: {stage}", [text], training_charts(stage, training.get(stage, ()), weights, classes))
            for stage, text in _steps_taken(training, manifest).items()
        ]
    )


def _steps_taken(training: Training, manifest: Mapping[str, Any] | None) -> dict[str, str]:
    """By stage that has trained: how long."""
    none = "No optimizer step: the weights are those that it began with."
    kinds = {stage.get("name"): stage.get("stage") for stage in _recipe(manifest).get("stages", [])}
    finished = [stage["name"] for stage in (manifest or {}).get("stages", [])]
    found = {}
    for stage in dict.fromkeys([*(one for one in finished if kinds.get(one) in TRAINS), *training]):
        steps = max((int(row.get("step") or 0) for row in training.get(stage, ())), default=0)
        if kinds.get(stage) == "ppo":
            epochs = max((int(row.get("n_updates") or 0) for row in training.get(stage, ())), default=0)
            found[stage] = f"{steps:,} decisions, learned from in {epochs:,} epochs." if epochs else none
        else:
            found[stage] = f"{steps:,} optimizer step{'s' * (steps != 1)}." if steps else none
    return found


def _recipe(manifest: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (manifest or {}).get("recipe", {})
    return found
