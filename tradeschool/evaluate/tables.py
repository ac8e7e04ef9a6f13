"""Tables for the terminal and for report pages: of text, and of the figures of rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import rich.table
from rich import box
from rich.console import Console
from rich.text import Text

from tradeschool.evaluate.comparison import JUDGED, Row, figure, figure_with_interval
from tradeschool.tasks.base import Metric

Cell = str | tuple[str, str]
"""Text, on a page with its second line in a soft colour; or text and its CSS class."""
STYLES = {
    "better": "bold green",
    "worse": "red",
    "not-shown": "yellow",
    "same": "yellow",
    "too-few-dates": "yellow",
    "best baseline": "cyan",
    "reference": "cyan",
    "ceiling": "dim",
    "bound": "dim",
}
"""Of CSS classes, in the terminal."""
# For browsers' widest usual font. Tables that are wider than the page would scroll sideways.
PAGE_WIDTH, CHARACTER, PADDING = 1080, 7.5, 17


@dataclass(frozen=True)
class Table:
    """A table of text; ``marked`` are the numbers of the rows that stand out on a page."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: Sequence[int] = ()


def tag(verdict: str) -> Cell:
    """A verdict in its colour."""
    return verdict, f"tag {verdict.replace(' ', '-')}"


def terminal_table(table: Table, title: str, caption: str, names: int = 2) -> rich.table.Table:
    """The table for a terminal; the first ``names`` columns hold names, the others figures."""
    made = rich.table.Table(title=Text(title), caption=Text(caption) or None, box=box.SIMPLE_HEAD, pad_edge=False)
    rows = [[(cell.replace("\n", " "), "") if isinstance(cell, str) else cell for cell in row] for row in table.rows]
    for place, column in enumerate(table.columns):
        is_wide = any(len(row[place][0]) >= len(column) for row in rows)
        heading = Text(column if is_wide or place < names else column.replace(" ", "\n"))
        made.add_column(heading, justify="left" if place < names else "right", overflow="fold")
    for place, row in enumerate(rows):
        cells = (Text(text, STYLES.get(style.removeprefix("tag "), "")) for text, style in row)
        made.add_row(*cells, style="bold green" if place in table.marked else "")
    return made


def shown_metrics(metrics: Sequence[Metric], rows: Sequence[Row], primary: str) -> list[Metric]:
    """The metrics that are defined for any of the rows, the ``primary`` one first."""
    defined = {key for row in rows for key, interval in row.metrics.items() if math.isfinite(interval.value)}
    return sorted((one for one in metrics if one.key in defined), key=lambda one: one.key != primary)


def fitting_table(
    title: str,
    caption: str,
    metrics: Sequence[Metric],
    rows: Sequence[tuple[str, Row]],
    console: Console,
    with_interval: Sequence[str],
) -> rich.table.Table:
    """The figures of rows for a terminal.

    Where they do not fit, the last column is left out, then all intervals but the first metric's, then more columns;
    the caption says where they are.

    Args:
        title, caption: above and below the table.
        metrics: the columns after ``policy`` and ``verdict``.
        rows: with the name of their run, empty where there is one run.
        console: whose width counts.
        with_interval: keys of the metrics that are printed with their interval, the most important first.
    """
    names = ["policy", "verdict"] if not any(run for run, _ in rows) else ["run", "policy", "verdict"]

    def made(count: int, intervals: Sequence[str]) -> rich.table.Table:
        cells = []
        for run, row in rows:
            figures = [_figure(metric, row, metric.key in intervals) for metric in metrics[:count]]
            cells.append([*[run, row.policy, tag(row.verdict)][-len(names) :], *figures])
        note = caption if count == len(metrics) else f"{caption}; more columns in the report"
        columns = [*names, *(metric.label for metric in metrics[:count])]
        return terminal_table(Table(columns, cells), title, note, len(names))

    whole = len(metrics)
    tries = [(whole, with_interval), (whole - 1, with_interval)]
    tries += [(count, with_interval[:1]) for count in range(whole, 0, -1)]
    candidates = [made(count, intervals) for count, intervals in tries if count > 0]
    unbounded = console.options.update(max_width=10_000)  # otherwise the measured width is cut to the console's
    fitting = (one for one in candidates if console.measure(one, options=unbounded).maximum <= console.width)
    return next(fitting, candidates[-1])


def figure_tables(rows: Sequence[Row], metrics: Sequence[Metric], kinds: Mapping[str, str]) -> list[Table]:
    """Every figure of every row for a page: as many columns in the first table as fit, the others in further ones.

    The primary metric comes first, then those that the terminal shows. ``kinds`` says what each policy is.
    """
    names = ("policy", [f"{row.policy}\n{kinds.get(row.policy, '')}" for row in rows])
    tables: list[list[tuple[str, Sequence[Cell]]]] = [[names, ("verdict", [tag(row.verdict) for row in rows])]]
    free = PAGE_WIDTH - _width(*names) - _width("verdict", [f"({row.verdict})" for row in rows])
    for metric in sorted(metrics, key=lambda metric: (not metric.primary, metric.terminal == "no")):
        cells = [_figure(metric, row).replace(" [", "\n[") for row in rows]
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


def _figure(metric: Metric, row: Row, with_interval: bool = True) -> str:
    found = row.metrics.get(metric.key)
    if found is None:
        return "-"
    return figure_with_interval(metric, found) if with_interval else figure(metric, found.value)


def _width(label: str, cells: Sequence[str]) -> float:
    """Of a column, in pixels: headings break at spaces, cells at line ends, and names at 26 letters."""
    lines = [*label.split(), *(line for cell in cells for line in cell.split("\n"))]
    return PADDING + CHARACTER * min(max(map(len, lines)), 26)
