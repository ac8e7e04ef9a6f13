"""Building blocks of report pages: the page template, and charts as inline SVG in the colour of the page's text."""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeschool.evaluate.comparison import Row
from tradeschool.tasks.base import Figure, Metric, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Stands for "the colour of the page's text" until the SVG is written: the page may be light or dark.
INK = "#010203"
SIZE = (5.4, 3.2)
MODEL_COLOURS = ("#8b93a1", "#2f80ed", "#e4572e", "#8e5bd0", "#c79a00", "#00957a")
NAIVE_COLOUR, BEST_COLOUR = "#9aa3ad", "#2a9d5c"
NAIVE_DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))
ANSWER_COLOURS = ("#b2382b", "#ef9a72", "#b0b5bb", "#74aede", "#2f6fb5", "#8e44ad")

Steps = Sequence[Mapping[str, Any]]


def template(path: Path) -> Any:
    """The jinja template in a file; it may extend ``page.jinja``, which has the head and the style.

    Pages are one file without scripts or external parts, for light and dark, with all text escaped.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([path.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(path.name)


def draw(paint: Callable[["Axes"], None], label: str, size: tuple[float, float] = SIZE) -> str:
    """One chart as an SVG element, ``size`` in inches. ``label`` is for screen readers, and unique on a page."""
    import matplotlib

    with matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": label,
            "font.family": "sans-serif",
            "font.size": 9,
            "text.parse_math": False,
            "text.color": INK,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": INK,
            "grid.alpha": 0.12,
            "legend.frameon": False,
            "legend.fontsize": 7.5,
        }
    ):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(file.getvalue(), label)


def _inline(svg: str, label: str) -> str:
    from html import escape

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r' (?:width|height)="[^"]*"', "", svg, count=2
    )  # of the svg element itself, so that the page scales it
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
    return svg.replace(INK, "currentColor")


def equity_chart(rows: Sequence[Row], dates: Sequence[str]) -> str:
    """Capital after costs, starting at 1; a log scale where the rows differ much."""

    def paint(axes: "Axes") -> None:
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        days = np.array(dates, dtype="datetime64[D]")
        for row, style in _styles(rows):
            axes.plot(days, row.equity_T, label=row.policy, **style)
        values = np.array([row.equity_T for row in rows])
        if values.min() > 0 and values.max() / values.min() > 4:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylabel("capital")
        date_axis(axes)
        legend_below(axes, 4)

    return draw(paint, "Capital after costs")


def interval_chart(rows: Sequence[Row], metric: Metric) -> str:
    """A bar per policy with its interval, for one metric."""
    shown = [row for row in rows if metric.key in row.metrics and math.isfinite(row.metrics[metric.key].value)]
    colours = {row.policy: style["color"] for row, style in _styles(rows)}
    label = metric.unit or metric.meaning

    def paint(axes: "Axes") -> None:
        found = [row.metrics[metric.key] for row in shown]
        values = metric.scale * np.array([one.value for one in found])
        ends = metric.scale * np.array([(one.low, one.high) for one in found]).reshape(-1, 2)
        # An interval may leave out its own value, and a whisker cannot have a negative length.
        reach = np.maximum(np.nan_to_num([values - ends[:, 0], ends[:, 1] - values]), 0)
        axes.barh(np.arange(len(shown)), values, xerr=reach, color=[colours[row.policy] for row in shown], ecolor=INK)
        axes.set_yticks(np.arange(len(shown)), [row.policy for row in shown])
        axes.invert_yaxis()
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel(label)

    return draw(paint, f"{label} by policy")


def task_figure(figure: Figure, values: Mapping[str, Values]) -> str:
    """A plot of the task's own."""
    return draw(lambda axes: figure.paint(axes, values), figure.caption)


def answers_chart(row: Row, dates: Sequence[str]) -> str:
    """Stacked shares of the answers of one policy over the dates."""
    names = list(row.answer_shares)

    def paint(axes: "Axes") -> None:
        parts = np.array_split(np.array(dates, dtype="datetime64[D]"), len(row.shares_over_time))
        shares = np.array([[period[name] for name in names] for period in row.shares_over_time])
        stack(axes, np.array([part[0] for part in parts]), shares, _words(names), _class_colours(len(names)))
        date_axis(axes)

    return draw(paint, f"Answers of {row.policy} over time")


def training_answers_chart(stage: str, steps: Steps, names: Sequence[str]) -> str:
    """Stacked shares of the classes ``names`` over the steps of training; empty where the stage did not record them."""
    found = [step for step in steps if any(f"answers/{name}" in step for name in names)]
    if len(found) < 2:
        return ""

    def paint(axes: "Axes") -> None:
        shares = np.array([[number(step.get(f"answers/{name}", 0.0)) for name in names] for step in found])
        stack(axes, step_numbers(found), shares, _words(names), _class_colours(len(names)))
        axes.set_xlabel("step")

    return draw(paint, f"Answers during {stage}")


def training_chart(stage: str, steps: Steps, keys: Mapping[str, str], ylabel: str) -> str:
    """Lines over steps for those of ``keys`` (key -> label) that the stage recorded; empty where none."""
    series = {}
    for key, label in keys.items():
        values = [(x, number(step.get(key))) for x, step in zip(step_numbers(steps), steps, strict=True)]
        known = [(x, y) for x, y in values if math.isfinite(y)]
        if len(known) > 1:
            series[label] = known
    if not series:
        return ""

    def paint(axes: "Axes") -> None:
        for (label, known), colour in zip(series.items(), _cycle(MODEL_COLOURS[1:], len(series)), strict=True):
            marker = "o" if len(known) < 8 else None
            axes.plot(*zip(*known, strict=True), label=label, color=colour, linewidth=1.4, marker=marker, markersize=3)
        axes.set_xlabel("step")
        axes.set_ylabel(ylabel)
        axes.ticklabel_format(axis="y", useOffset=False)
        legend_below(axes, 3)

    return draw(paint, f"{ylabel} during {stage}")


def stack(axes: "Axes", x: Any, shares_PK: Any, labels: Sequence[str], colours: Sequence[str]) -> None:
    """Shares of K answers at P points, stacked."""
    axes.stackplot(x, 100 * np.nan_to_num(shares_PK).T, colors=colours, labels=labels, linewidth=0)
    axes.set_ylim(0, 100)
    axes.set_ylabel("% of answers")
    axes.margins(x=0)
    legend_below(axes, 3)


def _words(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ").lower() for name in names]


def _class_colours(count: int) -> list[str]:
    """Of an ordered scale of classes and ``unreadable`` last."""
    if count == len(ANSWER_COLOURS):
        return list(ANSWER_COLOURS)
    return [*_cycle(MODEL_COLOURS[1:], count - 1), ANSWER_COLOURS[-1]]


def _styles(rows: Sequence[Row]) -> list[tuple[Row, dict[str, Any]]]:
    """Models in colour, baselines thin and grey, the best possible dashed green."""
    styled, models, naive = [], 0, 0
    for row in rows:
        if row.kind == "best":
            style: dict[str, Any] = {"color": BEST_COLOUR, "linestyle": "--", "linewidth": 1.2}
        elif row.kind in ("untrained", "trained", "decisions"):
            style = {"color": MODEL_COLOURS[models % len(MODEL_COLOURS)], "linewidth": 1.9}
            models += 1
        else:
            style = {"color": NAIVE_COLOUR, "linestyle": NAIVE_DASHES[naive % len(NAIVE_DASHES)], "linewidth": 1.0}
            naive += 1
        styled.append((row, style))
    return styled


def _cycle(colours: Sequence[str], count: int) -> list[str]:
    return [colours[i % len(colours)] for i in range(count)]


def number(value: Any) -> float:
    """A figure of a step; NaN where it is not a number."""
    return float(value) if isinstance(value, int | float) else math.nan


def step_numbers(steps: Steps) -> list[float]:
    """The steps' numbers, or their places where they have none."""
    return [number(step.get("step", at)) for at, step in enumerate(steps)]


def date_axis(axes: "Axes") -> None:
    """Three to seven dates along the bottom."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def legend_below(axes: "Axes", columns: int) -> None:
    """The legend under the chart."""
    handles, labels = axes.get_legend_handles_labels()
    # Handles are given explicitly, as matplotlib leaves out labels that begin with an underscore.
    axes.figure.legend(handles, labels, loc="outside lower center", ncols=columns)
