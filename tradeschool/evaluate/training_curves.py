"""The training curves of all stages in one figure, and what rejection sampling chose, as a table."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tradeschool.evaluate.charts import INK, draw, legend_below, line_style
from tradeschool.evaluate.tables import Table
from tradeschool.train.selection import AFTER, ANSWERS, BEFORE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
PANELS = {"reward": {"reward": "reward", "kept_reward": "reward of the kept answers"}, "loss": {"loss": "loss"}}
"""By panel, the figures that are drawn. The loss of a stage with rewards begins at 0 and is left out."""


def curves(training: Mapping[str, Rows], of: str = "", *, fewest: int = 2) -> str:
    """The rewards and losses of all stages, one after the other, as SVG; empty with fewer than ``fewest`` stages.

    Every stage has the same width, whatever the number of its steps.

    Args:
        training: the metrics of each stage's steps, in order.
        of: ends the label, which is unique on a page.
        fewest: 1 or more.
    """
    found = {panel: _series(training, list(keys)) for panel, keys in PANELS.items()}
    found = {panel: series for panel, series in found.items() if series}
    stages = [stage for stage in training if any(stage in names for names, _ in map(_names, found.values()))]
    if len(stages) < fewest:
        return ""

    def paint(axes: "Axes") -> None:
        figure = axes.figure
        axes.remove()
        panels = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
        for panel, (ylabel, series) in zip(panels, found.items(), strict=True):
            for (stage, key), values in series.items():
                _curve(panel, stages.index(stage), values, PANELS[ylabel][key], key)
            panel.set_ylabel(ylabel)
            for place in range(1, len(stages)):
                panel.axvline(place, color=INK, linewidth=0.6, alpha=0.4)
        panels[-1].set_xticks([place + 0.5 for place in range(len(stages))], stages)
        panels[-1].set_xlim(0, len(stages))
        if any(key == "kept_reward" for series in found.values() for _, key in series):
            legend_below(panels[0], 2)

    return draw(paint, f"Training curves of all stages{of}", size=(5.4, 1.2 + 1.9 * len(found)))


def _series(training: Mapping[str, Rows], keys: Sequence[str]) -> dict[tuple[str, str], list[float]]:
    """By stage and figure, its values at the stage's steps."""
    found = {}
    for stage, rows in training.items():
        rewarded = any(row.get("reward") is not None for row in rows)
        for key in keys:
            values = [float(row[key]) for row in rows if isinstance(row.get(key), int | float)]
            values = [value for value in values if math.isfinite(value)]
            if len(values) > 1 and not (key == "loss" and rewarded):
                found[stage, key] = values
    return found


def _names(series: Mapping[tuple[str, str], list[float]]) -> tuple[set[str], set[str]]:
    return {stage for stage, _ in series}, {key for _, key in series}


def _curve(axes: "Axes", place: int, values: Sequence[float], label: str, key: str) -> None:
    x = [place + (i + 0.5) / len(values) for i in range(len(values))]
    known = axes.get_legend_handles_labels()[1]
    style = line_style(1 if key == "kept_reward" else 0)
    axes.plot(x, values, linewidth=1.3, label=None if label in known else label, **style)


def selection_table(rows: Rows) -> tuple[str, Table] | None:
    """What rejection sampling chose, in a sentence, and its figures before and after; None for other stages."""
    whole = rows[-1] if rows else {}
    if f"{BEFORE}reward" not in whole:
        return None
    kept, count = int(whole["kept"]), int(whole["answers"])
    sentence = (
        f"{count:,} answers to {whole['questions']:,} questions. Kept: {kept:,} ({kept / count:.1%}), to "
        f"{whole['questions_kept']:,} questions. The rewards of a question have a standard deviation of "
        f"{whole['reward_spread']:.3g} on average. They were chosen by what happened afterwards, so part of the "
        "difference is luck that no model can repeat."
    )
    names = [key.removeprefix(BEFORE) for key in whole if key.startswith(BEFORE)]
    cells = [(_label(name), _cell(whole, BEFORE, name), _cell(whole, AFTER, name)) for name in names]
    return sentence, Table(("mean of the answers", "all", "kept"), cells)


def _label(name: str) -> str:
    if name.startswith(ANSWERS):
        return f"{name.removeprefix(ANSWERS).replace('_', ' ').lower()}, %"
    return {"reward": "reward, weighted", "parse_errors": "unreadable, %"}.get(name, name.removeprefix("rewards/"))


def _cell(whole: Mapping[str, Any], prefix: str, name: str) -> str:
    value = whole.get(f"{prefix}{name}")
    if not isinstance(value, int | float):
        return "-"
    is_share = name.startswith(ANSWERS) or name == "parse_errors"
    return f"{100 * value:.1f}" if is_share else f"{value:.3f}"
