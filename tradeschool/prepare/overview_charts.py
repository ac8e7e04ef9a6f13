"""The charts of an overview: who traded when, notes by month, labels by part, features against the outcome."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tradeschool.evaluate.charts import ANSWER_COLOURS, INK, NAIVE_COLOUR, date_axis, draw, legend_below
from tradeschool.prepare.overview import Overview
from tradeschool.prepare.presence import NoteKind, Presence
from tradeschool.prepare.relation import Relations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 5.4
ROWS_A_CHART, MOST_ROWS = 40, 200
"""Tickers in one chart, and tickers in all: beyond that only their number is drawn."""
PART_COLOURS = {"train": "#2f80ed", "validation": "#c79a00", "test": "#e4572e"}
FOUND_COLOUR, EXCLUDES_COLOUR = "#2a9d5c", "#c79a00"


def coverage_charts(seen: Overview) -> list[tuple[str, str]]:
    """(caption, SVG): a line for every ticker, unbroken where it has bars, in the order of the first day."""
    tickers = sorted(seen.tickers, key=lambda ticker: (ticker.first, ticker.ticker))
    if len(tickers) > MOST_ROWS:
        return [("Tickers with a bar", _count_chart(seen))]
    charts = []
    for start in range(0, len(tickers), ROWS_A_CHART):
        shown = tickers[start : start + ROWS_A_CHART]
        caption = shown[0].ticker if len(shown) == 1 else f"{shown[0].ticker} to {shown[-1].ticker}"
        charts.append((caption, _rows_chart(seen, shown)))
    return charts


def _rows_chart(seen: Overview, tickers: Sequence[Presence]) -> str:
    days = np.array(seen.dates, dtype="datetime64[D]")

    def paint(axes: "Axes") -> None:
        from matplotlib.collections import PolyCollection
        from matplotlib.dates import date2num

        numbers = date2num(days)
        for name, colour, zone in _zones(seen):
            boxes = [_box(row, numbers, run) for row, ticker in enumerate(tickers) for run in _within(ticker, zone)]
            axes.add_collection(PolyCollection(boxes, facecolors=colour, linewidths=0, label=name))
        axes.set_yticks(np.arange(len(tickers)), [ticker.ticker for ticker in tickers], fontsize=7.5)
        axes.set_ylim(len(tickers) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        _finish(axes, seen, numbers)

    label = f"Days with a bar, {tickers[0].ticker} to {tickers[-1].ticker}"
    return draw(paint, label, (WIDTH, 0.9 + 0.145 * len(tickers)))


def _within(ticker: Presence, zone: tuple[int, int]) -> list[tuple[int, int]]:
    """The ticker's runs, cut to the zone."""
    cut = [(max(first, zone[0]), min(last, zone[1])) for first, last in ticker.runs]
    return [(first, last) for first, last in cut if first <= last]


def _box(row: int, numbers: Sequence[float], run: tuple[int, int]) -> list[tuple[float, float]]:
    left, right, top, bottom = numbers[run[0]], numbers[run[1]] + 1, row - 0.33, row + 0.33
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _count_chart(seen: Overview) -> str:
    days = np.array(seen.dates, dtype="datetime64[D]")
    edges_T = np.zeros(len(days) + 1)
    for ticker in seen.tickers:
        for first, last in ticker.runs:
            edges_T[first] += 1
            edges_T[last + 1] -= 1
    count_T = np.cumsum(edges_T)[:-1]

    def paint(axes: "Axes") -> None:
        from matplotlib.dates import date2num

        numbers = date2num(days)
        for name, colour, (first, last) in _zones(seen):
            rows = slice(first, last + 1)
            axes.fill_between(numbers[rows], count_T[rows], step="post", color=colour, linewidth=0, label=name)
        axes.set_ylabel("tickers with a bar")
        axes.set_ylim(0, None)
        _finish(axes, seen, numbers)

    return draw(paint, "Tickers with a bar by date")


def _zones(seen: Overview) -> list[tuple[str, str, tuple[int, int]]]:
    """(name, colour, first and last row): all rows first, then the parts over them."""
    beside = "in no part" if seen.parts else "bars"
    parts = [(part.name, PART_COLOURS[part.name], part.rows) for part in seen.parts]
    return [(beside, NAIVE_COLOUR, (0, len(seen.dates) - 1)), *parts]


def _finish(axes: "Axes", seen: Overview, numbers: Sequence[float]) -> None:
    axes.set_xlim(numbers[0], numbers[-1] + 1)
    axes.xaxis_date()
    date_axis(axes)
    if seen.parts:
        legend_below(axes, 4)


def notes_chart(notes: Sequence[NoteKind]) -> str:
    """Notes by month, stacked by kind."""
    found = sorted({month for kind in notes for month in kind.months})
    months = np.arange(np.datetime64(found[0], "M"), np.datetime64(found[-1], "M") + 1)
    counts = np.array([[kind.months.get(str(month), 0) for month in months] for kind in notes])
    colours = ("#5a7fb8", "#e4572e", "#c79a00", "#00957a", "#8e5bd0", NAIVE_COLOUR)

    def paint(axes: "Axes") -> None:
        starts = months.astype("datetime64[D]")
        floor = np.zeros(len(months))
        for number, kind in enumerate(notes):
            colour = colours[number % len(colours)]
            axes.bar(starts, counts[number], 26, bottom=floor, color=colour, label=kind.kind, align="edge")
            floor += counts[number]
        axes.set_ylabel("notes a month")
        axes.grid(visible=False, axis="x")
        date_axis(axes)
        legend_below(axes, 4)

    return draw(paint, "Notes by month and kind")


def labels_chart(seen: Overview) -> str:
    """Shares of the classes in every part, stacked."""
    shares = np.array([[100 * part.share(label) for label in seen.classes] for part in seen.parts])

    def paint(axes: "Axes") -> None:
        floor = np.zeros(len(seen.parts))
        for k, label in enumerate(seen.classes):
            colour = ANSWER_COLOURS[k % len(ANSWER_COLOURS)]
            name = label.replace("_", " ").lower()
            axes.barh(np.arange(len(seen.parts)), shares[:, k], left=floor, color=colour, label=name, height=0.7)
            floor += shares[:, k]
        axes.set_yticks(np.arange(len(seen.parts)), [part.name for part in seen.parts])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of the labelled questions")
        axes.grid(visible=False, axis="y")
        legend_below(axes, 3)

    return draw(paint, "Labels by part", (WIDTH, 2.4))


def relations_chart(relations: Relations) -> str:
    """Every feature's rank IC with its interval, from the lowest to the highest."""
    rows = sorted(relations.known, key=lambda row: row.ic.value)
    after_holm, excluding = relations.after_holm, relations.excluding_zero
    groups = (
        (FOUND_COLOUR, "stands after Holm", after_holm),
        (EXCLUDES_COLOUR, "leaves zero out", [row for row in excluding if row not in after_holm]),
        (NAIVE_COLOUR, "may be zero", [row for row in rows if row not in excluding]),
    )

    def paint(axes: "Axes") -> None:
        for colour, label, members in groups:
            at = [rows.index(row) for row in members if row in rows]
            values = np.array([rows[i].ic.value for i in at])
            ends = np.array([(rows[i].ic.low, rows[i].ic.high) for i in at]).reshape(-1, 2)
            if at:
                axes.hlines(at, ends[:, 0], ends[:, 1], color=colour, linewidth=1.6)
                axes.plot(values, at, "o", color=colour, markersize=4, label=label)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(np.arange(len(rows)), [row.feature for row in rows], fontsize=7.5)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("rank IC")
        legend_below(axes, 3)

    return draw(paint, "Rank IC of every feature", (WIDTH, 1.2 + 0.155 * len(rows)))
