"""The HTML report of an overview, with its charts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tradeschool.errors import DataError
from tradeschool.evaluate.charts import (
    COLOURS,
    INK,
    NAIVE_COLOUR,
    class_colours,
    date_axis,
    draw,
    legend_below,
    template,
)
from tradeschool.evaluate.comparison import signed
from tradeschool.market.panel import Floats
from tradeschool.prepare.coverage import EventKind, TickerCoverage
from tradeschool.prepare.feature_ic import LEVEL, FeatureICs
from tradeschool.prepare.overview import Overview, days, headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEMPLATE = Path(__file__).with_name("overview.jinja")
FOLDED = 20
"""Tables with more rows are collapsed."""
WIDTH = 5.4
MOST_ROWS = 120
"""Tickers with a row in the chart; if there are more, only their number is drawn."""
PART_COLOURS = {"train": COLOURS[0], "validation": COLOURS[4], "test": COLOURS[1]}
FOUND_COLOUR, EXCLUDES_COLOUR = COLOURS[2], COLOURS[4]


def write_overview(path: Path, overview: Overview) -> None:
    """Write the report, replacing an existing file; missing folders are created.

    Raises:
        DataError: the file cannot be written.
    """
    features = overview.feature_ics
    html = template(TEMPLATE).render(
        title=f"Market: {overview.name}",
        overview=overview,
        headline=headline(overview),
        level=LEVEL,
        days=days(features) if features else "",
        signed=signed,
        folded=FOLDED,
        coverage_chart=coverage_chart(overview),
        events_chart=events_chart(overview.events) if overview.events else "",
        label_chart=label_chart(overview) if overview.classes else "",
        feature_ic_chart=feature_ic_chart(features) if features and features.known else "",
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}. Give another place: --out page.html") from error


def coverage_chart(overview: Overview) -> str:
    """One line per ticker, sorted by first day, drawn where it has bars; for very many tickers, their number."""
    days = np.array(overview.dates, dtype="datetime64[D]")
    tickers = sorted(overview.tickers, key=lambda ticker: (ticker.first, ticker.ticker))
    few = len(tickers) <= MOST_ROWS

    def paint(axes: "Axes") -> None:
        from matplotlib.dates import date2num

        numbers = np.append(date2num(days), date2num(days[-1]) + 1)
        for name, colour, zone in _zones(overview):
            if few:
                for row, ticker in enumerate(tickers):
                    bars = [(numbers[first], numbers[last] + 1 - numbers[first]) for first, last in _runs(ticker, zone)]
                    axes.broken_barh(bars, (row - 0.33, 0.66), facecolors=colour, label=name if row == 0 else None)
            else:
                rows, count_T = slice(zone[0], zone[1] + 1), _tickers_with_a_bar(overview)
                axes.fill_between(numbers[rows], count_T[rows], step="post", color=colour, linewidth=0, label=name)
        if few:
            axes.set_yticks(np.arange(len(tickers)), [ticker.ticker for ticker in tickers], fontsize=7.5)
            axes.set_ylim(len(tickers) - 0.4, -0.6)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        axes.set_xlim(numbers[0], numbers[-1])
        axes.xaxis_date()
        date_axis(axes)
        if overview.parts:
            legend_below(axes, 4)

    height = 0.9 + 0.145 * len(tickers) if few else 3.2
    return draw(paint, "Days with a bar" if few else "Tickers with a bar by date", (WIDTH, height))


def _runs(ticker: TickerCoverage, zone: tuple[int, int]) -> list[tuple[int, int]]:
    """The ticker's runs of bars inside the zone."""
    clipped = [(max(first, zone[0]), min(last, zone[1])) for first, last in ticker.runs]
    return [(first, last) for first, last in clipped if first <= last]


def _tickers_with_a_bar(overview: Overview) -> Floats:
    edges_T = np.zeros(len(overview.dates) + 1)
    for ticker in overview.tickers:
        for first, last in ticker.runs:
            edges_T[first] += 1
            edges_T[last + 1] -= 1
    return np.cumsum(edges_T)[:-1]


def _zones(overview: Overview) -> list[tuple[str, str, tuple[int, int]]]:
    """(name, colour, first and last row): all rows, then the split parts drawn over them."""
    background = "in no part" if overview.parts else "bars"
    parts = [(part.name, PART_COLOURS[part.name], part.rows) for part in overview.parts]
    return [(background, NAIVE_COLOUR, (0, len(overview.dates) - 1)), *parts]


def events_chart(events: Sequence[EventKind]) -> str:
    """Events by month, stacked by kind."""
    found = sorted({month for kind in events for month in kind.months})
    months = np.arange(np.datetime64(found[0], "M"), np.datetime64(found[-1], "M") + 1)
    counts = np.array([[kind.months.get(str(month), 0) for month in months] for kind in events])

    def paint(axes: "Axes") -> None:
        starts = months.astype("datetime64[D]")
        floor = np.zeros(len(months))
        for number, kind in enumerate(events):
            colour, hatch = COLOURS[number % len(COLOURS)], "//" * (number // len(COLOURS))
            axes.bar(starts, counts[number], 26, floor, color=colour, hatch=hatch, label=kind.kind, align="edge")
            floor += counts[number]
        axes.set_ylabel("events a month")
        axes.grid(visible=False, axis="x")
        date_axis(axes)
        legend_below(axes, 4)

    return draw(paint, "Events by month and kind")


def label_chart(overview: Overview) -> str:
    """Class shares of every part, stacked."""
    shares = np.array([[100 * part.share(label) for label in overview.classes] for part in overview.parts])

    def paint(axes: "Axes") -> None:
        floor = np.zeros(len(overview.parts))
        for k, (label, colour) in enumerate(zip(overview.classes, class_colours(overview.classes), strict=True)):
            name = label.replace("_", " ").lower()
            axes.barh(np.arange(len(overview.parts)), shares[:, k], left=floor, color=colour, label=name, height=0.7)
            floor += shares[:, k]
        axes.set_yticks(np.arange(len(overview.parts)), [part.name for part in overview.parts])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of the labelled questions")
        axes.grid(visible=False, axis="y")
        legend_below(axes, 3)

    return draw(paint, "Labels by part", (WIDTH, 2.4))


def feature_ic_chart(feature_ics: FeatureICs) -> str:
    """Every feature's rank IC with its interval, in ascending order."""
    rows = sorted(feature_ics.known, key=lambda row: row.ic.value)
    after_holm, excluding = feature_ics.after_holm, feature_ics.excluding_zero
    groups = (
        (FOUND_COLOUR, "significant after Holm", after_holm),
        (EXCLUDES_COLOUR, "excludes zero", [row for row in excluding if row not in after_holm]),
        (NAIVE_COLOUR, "includes zero", [row for row in rows if row not in excluding]),
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
