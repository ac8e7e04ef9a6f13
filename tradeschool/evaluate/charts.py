"""Building blocks of report pages: the page template, and charts as inline SVG in the colour of the page's text."""

import io
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeschool.evaluate.comparison import MODELS, NAIVE, UNREADABLE, Row
from tradeschool.tasks.base import Figure, Metric, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

# Stands for "the colour of the page's text" until the SVG is written: the page may be light or dark.
INK = "#010203"
SIZE = (5.4, 3.2)
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.12,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito (2008): they look different with every kind of colour blindness, on white and on black."""
NAIVE_COLOUR, DARK_COLOUR, UNREADABLE_COLOUR = "#a3abb3", "#6b737c", "#e69f00"
DASHES = ("-", "--", ":", "-.")
COMPONENT = re.compile("rewards/(.*)/mean")
ANSWER, CAPITAL = "answers/", "Capital after costs"
# Figures of trainers (those of train/rewards.py, TRL and Stable-Baselines3) that get a chart each, and what they are.
FIGURES = {
    "entropy": "entropy",
    "kl": "KL to the reference",
    "approx_kl": "KL between updates",
    "zero_variance_groups": "groups with equal rewards",
    "decision_entropy": "entropy of the decisions",
    "decision_mass": "probability that the answer is one of the decisions",
    "sft_loss": "loss of the tokens around the decision",
    "episode_return": "return of the training episodes, as a share",
    "acceptance": "share of the answers that were kept",
    "reward_spread": "spread of the rewards of a question",
}

Steps = Sequence[Mapping[str, Any]]
Drawn = list[tuple[str, str]]
"""(caption, SVG)."""


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
    from html import escape

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    file = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": label}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[^"]*"', "", svg, count=2)  # of the svg element, so that the page scales it
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
    return svg.replace(INK, "currentColor")


def equity_chart(rows: Sequence[Row], dates: Sequence[str] = (), of: str = "") -> str:
    """Capital after costs, starting at 1, by date, or by day of an episode; a log scale where the rows differ much."""

    def paint(axes: "Axes") -> None:
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        x = np.array(dates, dtype="datetime64[D]") if dates else np.arange(len(rows[0].equity_T))
        for row, style in _styles(rows):
            axes.plot(x, row.equity_T, label=row.policy, **style)
        values = np.array([row.equity_T for row in rows])
        if values.min() > 0 and values.max() / values.min() > 4:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylabel("capital")
        if dates:
            date_axis(axes)
        else:
            axes.set_xlabel("day of the episode")
        legend_below(axes, 4)

    return draw(paint, f"{CAPITAL}{of}")


def interval_chart(rows: Sequence[Row], metric: Metric, of: str = "") -> str:
    """A bar per policy with its interval, for one metric."""
    shown = [row for row in rows if metric.key in row.metrics and math.isfinite(row.metrics[metric.key].value)]
    colours = [NAIVE_COLOUR if row.kind in NAIVE else style["color"] for row, style in _styles(rows) if row in shown]
    label = metric.unit or metric.meaning

    def paint(axes: "Axes") -> None:
        found = [row.metrics[metric.key] for row in shown]
        values = metric.scale * np.array([one.value for one in found])
        ends = metric.scale * np.array([(one.low, one.high) for one in found]).reshape(-1, 2)
        # An interval may leave out its own value, and a whisker cannot have a negative length.
        reach = np.maximum(np.nan_to_num([values - ends[:, 0], ends[:, 1] - values]), 0)
        axes.barh(np.arange(len(shown)), values, xerr=reach, color=colours, ecolor=INK)
        axes.set_yticks(np.arange(len(shown)), [row.policy for row in shown])
        axes.invert_yaxis()
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel(label)

    return draw(paint, f"{label} by policy{of}")


def result_charts(rows: Sequence[Row], metrics: Sequence[Metric], dates: Sequence[str] = (), of: str = "") -> Drawn:
    """A chart with the intervals of each metric, and the capital. ``of`` ends every label, which is unique."""
    drawn = [(capitalised(metric.label), interval_chart(rows, metric, of)) for metric in metrics]
    capital = CAPITAL if dates else "Mean capital through an episode, after costs"
    return [*drawn, (capital, equity_chart(rows, dates, of))] if rows[0].equity_T else drawn


def capitalised(label: str) -> str:
    """With a capital letter at the beginning; the others stay."""
    return label[:1].upper() + label[1:]


def task_figure(figure: Figure, values: Mapping[str, Values]) -> str:
    """A plot of the task's own."""
    return draw(lambda axes: figure.paint(axes, values), figure.caption)


def answers_chart(row: Row, dates: Sequence[str]) -> str:
    """Stacked shares of the answers of one policy over the dates."""
    names = list(row.answer_shares)

    def paint(axes: "Axes") -> None:
        parts = np.array_split(np.array(dates, dtype="datetime64[D]"), len(row.shares_over_time))
        shares = np.array([[period[name] for name in names] for period in row.shares_over_time])
        _stack(axes, np.array([part[0] for part in parts]), shares, names)
        date_axis(axes)

    return draw(paint, f"Answers of {row.policy} over time")


def training_charts(stage: str, steps: Steps, weights: Mapping[str, float], classes: Sequence[str]) -> Drawn:
    """All that a training stage recorded.

    ``weights`` are those of the reward's components: what has no weight is drawn apart from what is trained on. They
    are empty where they are not known. ``classes`` are those of answers in their order.
    """
    import pandas as pd

    recorded = pd.DataFrame([{k: v for k, v in step.items() if isinstance(v, int | float)} for step in steps])
    if "step" in recorded:
        recorded = recorded.set_index("step")
    components = {key: found[1] for key in map(str, recorded) if (found := COMPONENT.fullmatch(key))}
    idle = {key: name for key, name in components.items() if weights and not weights.get(name)}
    named = {
        key: f"{name} (weight {weights[name]:g})" if weights else name
        for key, name in components.items()
        if key not in idle
    }
    # The loss of reinforcement learning begins at 0 and says nothing about progress.
    losses = {} if "reward" in recorded else {"loss": "training loss", "eval_loss": "validation loss"}
    total = {"reward": "reward, weighted", "kept_reward": "reward of the kept answers"}
    drawn = [
        ("Loss", _lines(stage, recorded, losses, "loss")),
        ("Reward and its components", _lines(stage, recorded, {**total, **named}, "reward")),
        ("Recorded, but not trained on (weight 0)", _lines(stage, recorded, idle, "components of weight 0")),
        *((capitalised(label), _lines(stage, recorded, {key: label}, label)) for key, label in FIGURES.items()),
        ("Answers", _training_answers(stage, recorded, classes)),
    ]
    return [(caption, svg) for caption, svg in drawn if svg]


def _training_answers(stage: str, recorded: "DataFrame", classes: Sequence[str]) -> str:
    """Stacked shares of the classes of answers over the steps; empty where the stage did not record them."""
    found = [key for key in map(str, recorded) if key.startswith(ANSWER)]
    ordered = [key for name in classes if (key := f"{ANSWER}{name}") in found]
    keys = [*ordered, *(key for key in found if key not in ordered)]
    steps = recorded.dropna(how="all", subset=keys) if keys else recorded[:0]
    if len(steps) < 2:
        return ""

    def paint(axes: "Axes") -> None:
        shares = steps.reindex(columns=[*keys, "parse_errors"]).fillna(0.0)
        _stack(axes, steps.index, shares.to_numpy(), [*(key.removeprefix(ANSWER) for key in keys), UNREADABLE])
        axes.set_xlabel("step")

    return draw(paint, f"Answers during {stage}")


def _lines(stage: str, recorded: "DataFrame", keys: Mapping[str, str], ylabel: str) -> str:
    """Lines over steps for those of ``keys`` (key -> label) that the stage recorded; empty where none."""
    series = {label: recorded[key][np.isfinite(recorded[key])] for key, label in keys.items() if key in recorded}
    series = {label: known for label, known in series.items() if len(known) > 1}
    if not series:
        return ""

    def paint(axes: "Axes") -> None:
        for place, (label, known) in enumerate(series.items()):
            marker = "o" if len(known) < 8 else None
            axes.plot(known, label=label, linewidth=1.4, marker=marker, markersize=3, **line_style(place))
        axes.set_xlabel("step")
        axes.set_ylabel(ylabel)
        axes.ticklabel_format(axis="y", useOffset=False)
        legend_below(axes, 3)

    return draw(paint, f"{ylabel} during {stage}")


def _stack(axes: "Axes", x: Any, shares_PK: Any, names: Sequence[str]) -> None:
    """Shares of K classes of answers at P points, stacked."""
    colours = class_colours(names)
    labels = [name.replace("_", " ").lower() for name in names]
    axes.stackplot(x, 100 * np.nan_to_num(shares_PK).T, colors=colours, labels=labels, linewidth=0)
    axes.set_ylim(0, 100)
    axes.set_ylabel("% of answers")
    axes.margins(x=0)
    legend_below(axes, 3)


def line_style(place: int) -> dict[str, Any]:
    """Colour and dashes of the line at a place; no two places have the same."""
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": _dashes(place // len(COLOURS))}


def _dashes(place: int) -> Any:
    """Beyond the usual ones, a long dash and more and more dots."""
    return DASHES[place] if place < len(DASHES) else (0, (6, 1.5, *(1, 1.5) * (place - 2)))


def class_colours(names: Sequence[str]) -> list[Any]:
    """Of an ordered scale of classes, red to blue over grey, and of unreadable answers."""
    import matplotlib

    classes = [name for name in names if name != UNREADABLE]
    scale = iter(matplotlib.colormaps["coolwarm_r"](np.linspace(0.02, 0.98, len(classes))))
    return [UNREADABLE_COLOUR if name == UNREADABLE else tuple(next(scale)) for name in names]


def _styles(rows: Sequence[Row]) -> list[tuple[Row, dict[str, Any]]]:
    """Models in colour, baselines thin, grey and dashed, yardsticks in the colour of the text."""
    models, naive = itertools.count(), itertools.count()

    def style(row: Row) -> dict[str, Any]:
        if row.kind == "best":
            return {"color": INK, "linestyle": "--", "linewidth": 1.0}
        if row.kind == "bound":
            return {"color": INK, "linestyle": ":", "linewidth": 1.0}
        if row.kind in MODELS:
            return {**line_style(next(models)), "linewidth": 1.9}
        place = next(naive)
        grey = DARK_COLOUR if place % 2 else NAIVE_COLOUR
        return {"color": grey, "linestyle": _dashes(1 + place // 2), "linewidth": 1.1}

    return [(row, style(row)) for row in rows]


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
