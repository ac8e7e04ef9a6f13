"""An overview of a market in the terminal, and as a page with charts."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.text import Text

from tradeschool.errors import DataError, RunError
from tradeschool.evaluate.charts import COLOURS, INK, NAIVE_COLOUR, date_axis, draw, legend_below
from tradeschool.evaluate.comparison import signed
from tradeschool.evaluate.console import print_warnings
from tradeschool.evaluate.page import Part, Section, write_page
from tradeschool.evaluate.tables import Table, terminal_table
from tradeschool.market.calendar import bars_per_year
from tradeschool.metrics import DAYS_A_YEAR
from tradeschool.prepare.coverage import Overview
from tradeschool.prepare.feature_ic import LEVEL, FeatureIC, FeatureICs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_FEATURES = 10
"""Features that the terminal shows."""
FOLDED = 20
"""Tables with more rows are collapsed."""
WIDTH = 5.4
MOST_ROWS = 120
"""Tickers that the chart names."""
PART_COLOURS = {"train": COLOURS[0], "validation": COLOURS[4], "test": COLOURS[1]}
FOUND_COLOUR, EXCLUDES_COLOUR = COLOURS[2], COLOURS[4]


def print_overview(console: Console, overview: Overview) -> None:
    """Print the tables and the warnings; the report has the details."""
    for line in headline(overview):
        console.print(Text(line, style="bold"))
    for kind in overview.events:
        scope = f"{kind.tickers} tickers" if kind.tickers else "the whole market"
        console.print(Text(f"{kind.count:,} events of kind {kind.kind}: {scope}, {kind.first} to {kind.last}"))
    if overview.parts:
        console.print(terminal_table(parts_table(overview), "Split parts and label shares", "", names=1))
    if found := overview.feature_ics:
        shown = found.known[:MOST_FEATURES]
        title = f"Rank IC with the return over {days(found)}: {len(shown)} of {len(found.known)}"
        console.print(terminal_table(features_table(found, shown), title, "", names=1))
    print_warnings(console, overview.warnings)


def headline(overview: Overview) -> list[str]:
    """One or two sentences on bars and features."""
    tickers, dates = len(overview.tickers), overview.dates
    a_year = bars_per_year(np.array(dates, dtype="datetime64[D]"))
    missing, spanned = (sum(getattr(ticker, name) for ticker in overview.tickers) for name in ("missing", "span"))
    bars = (
        f"{tickers} {'ticker' if tickers == 1 else 'tickers'} on {len(dates):,} dates, "
        f"{dates[0]} to {dates[-1]}{f', {a_year} a year' if a_year != DAYS_A_YEAR else ''}. "
        f"{f'{missing:,} of {spanned:,}' if missing else 'No'} days are missing between first and last bars."
    )
    return [bars, significance_summary(overview.feature_ics)] if overview.feature_ics else [bars]


def significance_summary(feature_ics: FeatureICs) -> str:
    """How many features are significant, and how many would be by chance."""
    count = len(feature_ics.known)
    return (
        f"On train, the interval of {len(feature_ics.excluding_zero)} of {count} features excludes zero; about "
        f"{count * (1 - LEVEL):.0f} would by chance. After Holm's correction: {len(feature_ics.after_holm) or 'none'}."
    )


def parts_table(overview: Overview) -> Table:
    """The split parts side by side: dates, questions and label shares."""
    parts = overview.parts
    rows = [
        ("first day", *(part.first for part in parts)),
        ("last day", *(part.last for part in parts)),
        ("dates", *(f"{part.dates:,}" for part in parts)),
        ("questions", *(f"{part.questions:,}" for part in parts)),
    ]
    for label in overview.classes:
        rows.append((label.replace("_", " ").lower(), *(f"{part.share(label):.1%}" for part in parts)))
    if overview.classes:
        rows.append(("no label", *(f"{part.unlabelled:,}" for part in parts)))
    return Table(["", *(part.name for part in parts)], rows)


def features_table(found: FeatureICs, shown: Sequence[FeatureIC]) -> Table:
    """Features with their rank IC; those that are significant after Holm's correction are marked."""
    rows = [
        (
            row.feature,
            signed(row.ic, 4).replace(" [", "\n["),
            f"{row.p_value:.3f}" if math.isfinite(row.p_value) else "-",
            f"{row.dates:,}",
        )
        for row in shown
    ]
    marked = [number for number, row in enumerate(shown) if row in found.after_holm]
    return Table(["feature", "rank IC", "p, adjusted", "dates"], rows, marked)


def days(feature_ics: FeatureICs) -> str:
    """``5 days``, or ``1, 3 and 5 days``."""
    *before, last = map(str, feature_ics.horizons)
    listed = f"{', '.join(before)} and {last}" if before else last
    return f"{listed} {'day' if feature_ics.horizons == (1,) else 'days'}"


# the page -----------------------------------------------------------------------------------------


def write_overview(path: Path, overview: Overview) -> None:
    """Write the page, replacing an existing file and making missing folders; a DataError if it cannot be written."""
    task = f", split and labels of the task {overview.task}" if overview.task else ""
    none = "" if overview.warnings else " No warnings."
    section = Section(
        description=f"Data hash {overview.data_hash}{task}.{none}",
        headline=headline(overview),
        warnings=overview.warnings,
        parts=[*_split(overview), *_bars(overview), _events(overview), *_features(overview.feature_ics)],
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_page(path, f"Market: {overview.name}", [section])
    except (OSError, RunError) as error:
        raise DataError(f"{path} cannot be written. Give another place: --out page.html") from error


def _split(overview: Overview) -> list[Part]:
    if not overview.parts:
        return []
    notes = [
        "An embargo separates the parts, so that no outcome of one part lies in the next. A question is a ticker on a "
        "date with a known outcome."
    ]
    if overview.classes:
        notes.append(
            "A label is the class that was right in hindsight. Class bounds are fitted on train, so shares differ in "
            "the other parts. Questions near the end of a part and around gaps have no label."
        )
    return [Part("Parts", notes, tables=[parts_table(overview)])]


def _bars(overview: Overview) -> list[Part]:
    missed = f"sessions of {overview.exchange}" if overview.exchange else "days on which another ticker traded,"
    warm_up = " Rows in no part are the warm-up of the indicators and the embargoes." if overview.parts else ""
    rows = [
        (one.ticker, one.first or "never listed", one.last, f"{one.bars:,}", f"{one.missing:,}", f"{one.longest_gap:,}")
        for one in overview.tickers
    ]
    table = Table(["ticker", "first day", "last day", "bars", "missing", "longest gap, days"], rows)
    note = f"Missing: {missed} between a ticker's first and last bar."
    return [
        Part("Days with a bar", [f"Sorted by first day.{warm_up}"], [("By ticker and date", coverage_chart(overview))]),
        Part(f"All {len(rows)} tickers", [note], tables=[table], folded=len(rows) > FOLDED),
    ]


def _events(overview: Overview) -> Part:
    if not overview.events:
        return Part("Events", ["None: prompts contain prices only."])
    rows = [
        (one.kind, f"{one.count:,}", str(one.tickers or "the market"), f"{one.first}\n{one.last}")
        for one in overview.events
    ]
    table = Table(["kind", "events", "tickers", "from, to"], rows)
    return Part("Events", tables=[table])


def _features(found: FeatureICs | None) -> list[Part]:
    if found is None:
        return []
    charts = [(f"Rank IC with the return over {days(found)}", feature_ic_chart(found))] if found.known else []
    excess, ranks = "", f"over {found.dates:,} dates of the single ticker"
    if found.by_date:
        excess = " minus the mean over tickers,"
        ranks = f"among the tickers of each date, averaged over {found.dates:,} dates"
    notes = [
        f"Outcome: log return from the next open over {days(found)}{excess} divided by the ticker's daily volatility. "
        f"Rank correlation {ranks}. The market was truncated after the last training day before anything was computed. "
        "Features in price units are divided by the close.",
        f"Intervals: {100 * LEVEL:g} %, equal-weighted cosine estimator of the long-run variance over dates, "
        f"{found.cosines} degrees of freedom (docs/evaluation.md). p-values are two-sided and adjusted by Holm's "
        "method, which is conservative for correlated features. These are correlations before costs, on the training "
        "days.",
    ]
    return [
        Part("Features and the outcome, on train", notes, charts),
        Part(f"All {len(found.rows)} features", tables=[features_table(found, found.rows)], folded=True),
    ]


def coverage_chart(overview: Overview) -> str:
    """One line per ticker, sorted by first day, drawn where it has bars; very many are thin and without names."""
    from matplotlib.dates import date2num

    numbers = date2num(np.array(overview.dates, dtype="datetime64[D]"))
    numbers = np.append(numbers, numbers[-1] + 1)
    tickers = sorted(overview.tickers, key=lambda ticker: (ticker.first, ticker.ticker))
    # All rows, then the split parts drawn over them.
    zones = [("in no part" if overview.parts else "bars", NAIVE_COLOUR, (0, len(overview.dates) - 1))]
    zones += [(part.name, PART_COLOURS[part.name], part.rows) for part in overview.parts]

    def paint(axes: "Axes") -> None:
        for name, colour, (first, last) in zones:
            for row, ticker in enumerate(tickers):
                runs = [(max(run[0], first), min(run[1], last)) for run in ticker.runs]
                bars = [(numbers[start], numbers[end] + 1 - numbers[start]) for start, end in runs if start <= end]
                axes.broken_barh(bars, (row - 0.33, 0.66), facecolors=colour, label=name if row == 0 else None)
        _name_rows(axes, [ticker.ticker for ticker in tickers] if len(tickers) <= MOST_ROWS else [])
        axes.set_ylim(len(tickers) - 0.4, -0.6)
        axes.set_xlim(numbers[0], numbers[-1])
        axes.xaxis_date()
        date_axis(axes)
        if overview.parts:
            legend_below(axes, 4)

    return draw(paint, "Days with a bar", (WIDTH, 0.9 + 0.145 * min(len(tickers), MOST_ROWS)))


def _name_rows(axes: "Axes", names: Sequence[str]) -> None:
    axes.set_yticks(np.arange(len(names)), names, fontsize=7.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def feature_ic_chart(feature_ics: FeatureICs) -> str:
    """Every feature's rank IC with its interval, in ascending order."""
    rows = sorted(feature_ics.known, key=lambda row: row.ic.value)
    after_holm, excluding = feature_ics.after_holm, feature_ics.excluding_zero
    groups = (
        (FOUND_COLOUR, "significant after Holm", [row for row in rows if row in after_holm]),
        (EXCLUDES_COLOUR, "excludes zero", [row for row in rows if row in excluding and row not in after_holm]),
        (NAIVE_COLOUR, "includes zero", [row for row in rows if row not in excluding]),
    )

    def paint(axes: "Axes") -> None:
        for colour, label, members in groups:
            at = [rows.index(row) for row in members]
            values, low, high = ([getattr(row.ic, name) for row in members] for name in ("value", "low", "high"))
            if at:
                axes.hlines(at, low, high, color=colour, linewidth=1.6)
                axes.plot(values, at, "o", color=colour, markersize=4, label=label)
        axes.axvline(0, color=INK, linewidth=0.8)
        _name_rows(axes, [row.feature for row in rows])
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.set_xlabel("rank IC")
        legend_below(axes, 3)

    return draw(paint, "Rank IC of every feature", (WIDTH, 1.2 + 0.155 * len(rows)))
