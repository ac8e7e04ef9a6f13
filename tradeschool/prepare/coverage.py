"""Coverage of a market (bars, events, the questions and labels of each split part), and warnings about it."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.calendar import sessions
from tradeschool.market.features import SETTLED, segments
from tradeschool.market.panel import Panel
from tradeschool.tasks.base import SplitName, Task

Days = NDArray[np.datetime64]
NAMED = 5
"""Tickers or dates that a warning lists; the others are counted."""
MISSING_SHARE = 0.02
SURVIVORS = (5, 756)
"""Number of tickers and of dates (three years) above which the absence of any delisting is suspicious."""
SHIFT = 0.05
"""Largest difference of a class's share from train that is not reported."""
FEW_DATES = 120


@dataclass(frozen=True)
class TickerCoverage:
    """One ticker's bars.

    ``first`` and ``last`` are days like 2014-01-02, empty for a ticker that was never listed. ``missing`` counts the
    days without a bar between them. ``runs`` are the unbroken runs of bars as (first row, last row); ``longest_gap``
    is the largest number of rows between two runs.
    """

    ticker: str
    first: str
    last: str
    bars: int
    missing: int
    longest_gap: int
    runs: tuple[tuple[int, int], ...]

    @property
    def span(self) -> int:
        """Days from the first to the last bar."""
        return self.bars + self.missing


@dataclass(frozen=True)
class CalendarDifference:
    """Differences to an exchange calendar: sessions without any bar, and dates that are not sessions."""

    exchange: str
    missing: tuple[str, ...]
    extra: tuple[str, ...]


@dataclass(frozen=True)
class EventKind:
    """The events of one kind; ``months`` counts them by month like 2014-01."""

    kind: str
    count: int
    tickers: int
    first: str
    last: str
    months: dict[str, int]


@dataclass(frozen=True)
class SplitPart:
    """One part of the split: train, validation or test.

    ``rows`` are its first and last date row. ``questions`` counts those that can be scored, ``labels`` counts them by
    class, ``unlabelled`` those without a class (near the end of the part, around gaps).
    """

    name: str
    rows: tuple[int, int]
    first: str
    last: str
    dates: int
    questions: int
    labels: dict[str, int]
    unlabelled: int

    def share(self, label: str) -> float:
        """Share of a class among the labelled questions; 0 without any."""
        return self.labels[label] / max(1, sum(self.labels.values()))


def ticker_coverage(panel: Panel, exchange: str | None = None) -> list[TickerCoverage]:
    """Coverage per ticker, in the panel's order.

    Args:
        panel: the market.
        exchange: count missing days by this exchange's sessions instead of the panel's own dates.

    Raises:
        TradeschoolError: pandas-market-calendars is not installed, or the exchange is unknown.
    """
    dates_T: Days = panel.dates_T.astype("datetime64[D]")
    expected = dates_T if exchange is None else sessions(exchange, dates_T[0], dates_T[-1])
    found = []
    for ticker, listed_T in zip(panel.tickers, panel.listed_TN.T, strict=True):
        runs = tuple((rows.start, rows.stop - 1) for rows in segments(listed_T))
        days = dates_T[listed_T]
        first, last = (str(days[0]), str(days[-1])) if days.size else ("", "")
        within = expected[(expected >= days[0]) & (expected <= days[-1])] if days.size else days
        missing = int((~np.isin(within, days)).sum())
        gaps = [later[0] - earlier[1] - 1 for earlier, later in itertools.pairwise(runs)]
        found.append(TickerCoverage(ticker, first, last, len(days), missing, max(gaps, default=0), runs))
    return found


def calendar_difference(panel: Panel, exchange: str) -> CalendarDifference:
    """Compare the panel's dates with the exchange's sessions in the same period.

    Raises:
        TradeschoolError: pandas-market-calendars is not installed, or the exchange is unknown.
    """
    dates_T: Days = panel.dates_T.astype("datetime64[D]")
    expected = sessions(exchange, dates_T[0], dates_T[-1])
    missing, extra = np.setdiff1d(expected, dates_T), np.setdiff1d(dates_T, expected)
    return CalendarDifference(exchange.upper(), tuple(map(str, missing)), tuple(map(str, extra)))


def event_kinds(panel: Panel) -> list[EventKind]:
    """The panel's events by kind, the most frequent kind first."""
    found = []
    for kind, count in Counter(event.kind for event in panel.events).most_common():
        events = [event for event in panel.events if event.kind == kind]
        days = sorted(str(event.known_at.astype("datetime64[D]")) for event in events)
        tickers = len({event.ticker for event in events if event.ticker is not None})
        months = dict(sorted(Counter(day[:7] for day in days).items()))
        found.append(EventKind(kind, count, tickers, days[0], days[-1], months))
    return found


def split_parts(panel: Panel, task: Task) -> tuple[SplitPart, ...]:
    """Train, validation and test; ``labels`` is empty for a task without classes."""
    counted = {name: Counter(map(task.label, task.examples(name))) for name in get_args(SplitName)}
    found = {label for counts in counted.values() for label in counts if label is not None}
    classes = tuple(dict.fromkeys((*task.action_names, *sorted(found)))) if found else ()
    parts = []
    for name, counts in counted.items():
        rows_T = task.rows(name)
        rows = int(rows_T[0]), int(rows_T[-1])
        first, last = panel.dates_T[list(rows)].astype("datetime64[D]").astype(str).tolist()
        labels = {label: counts[label] for label in classes}
        parts.append(SplitPart(name, rows, first, last, len(rows_T), counts.total(), labels, counts[None]))
    return tuple(parts)


# warnings -----------------------------------------------------------------------------------------


def data_warnings(
    dates: Sequence[str],
    tickers: Sequence[TickerCoverage],
    calendar: CalendarDifference | None,
    events: Sequence[EventKind],
    parts: Sequence[SplitPart],
    outcome_dates: int | None = None,
    *,
    real: bool = True,
) -> list[str]:
    """Warnings about a market, each with what to do about it; empty if nothing looks wrong.

    ``parts`` is empty if the market cannot be split. ``outcome_dates`` are the training dates whose outcome also lies
    in train. ``real`` is False for a synthetic market.
    """
    return [
        *_about_bars(dates, tickers, calendar, real),
        *(_about_parts(tickers, events, parts) if parts else ()),
        *_about(
            [str(outcome_dates)] if outcome_dates is not None and outcome_dates < FEW_DATES else [],
            "Only {} training dates have an outcome inside the training part, so intervals are wide. Use a longer "
            "history.",
        ),
    ]


def _about_bars(
    dates: Sequence[str], tickers: Sequence[TickerCoverage], calendar: CalendarDifference | None, real: bool
) -> list[str]:
    gappy = [one for one in tickers if one.missing > MISSING_SHARE * one.span]
    many = real and len(tickers) >= SURVIVORS[0] and len(dates) >= SURVIVORS[1]
    exchange, missing, extra = (calendar.exchange, calendar.missing, calendar.extra) if calendar else ("", (), ())
    return [
        *_about(
            [f"{one.ticker} ({one.bars} bars)" for one in tickers if one.bars < SETTLED],
            f"History too short: {{}}. Indicators need {SETTLED} bars to settle. Use a longer history, or leave these "
            "tickers out.",
        ),
        *_about(
            [f"{one.ticker} ({one.missing} of {one.span} days)" for one in gappy],
            "Many missing days between the first and the last bar: {}. Nothing to do if its exchange was closed on "
            "them: indicators and horizons count a ticker's own bars. Otherwise check the source: tradeschool data "
            "check.",
        ),
        *_about(
            dates[-1:] if many and all(one.last == dates[-1] for one in tickers) else (),
            "Survivorship bias: every ticker still trades on the last day, {}. If tickers were selected at the end of "
            "the period, those that failed are missing, and results look better than they would have been.",
        ),
        *_about(
            missing,
            f"{len(missing)} sessions of {exchange} are missing from every ticker: {{}}. Fetch them again, or choose "
            "the exchange that these tickers trade on.",
        ),
        *_about(
            extra,
            f"{len(extra)} dates are not sessions of {exchange}: {{}}. Remove them, or choose the exchange that these "
            "tickers trade on.",
        ),
    ]


def _about_parts(
    tickers: Sequence[TickerCoverage], events: Sequence[EventKind], parts: Sequence[SplitPart]
) -> list[str]:
    train, *others = parts
    first, last = train.rows
    moved = [
        f"{part.name} {label} {part.share(label):.0%} (train {train.share(label):.0%})"
        for part in others
        if part.questions > part.unlabelled
        for label in part.labels
        if abs(part.share(label) - train.share(label)) > SHIFT
    ]
    without = {
        kind.kind: [one.name for one in parts if kind.last < one.first or kind.first > one.last] for kind in events
    }
    return [
        *_about(
            [one.ticker for one in tickers if not any(run[0] <= last and run[1] >= first for run in one.runs)],
            "No bar in the training part: {}. The model first sees these tickers in the evaluation.",
        ),
        *(
            f"Events of kind {kind.kind} cover {kind.first} to {kind.last}, but not {' or '.join(without[kind.kind])}. "
            "Choose the split dates so that train and test both have them."
            for kind in events
            if without[kind.kind]
        ),
        *_about(
            moved,
            "Label shares differ from train: {}. A constant answer may pay there, so compare with the best constant.",
        ),
        *_about(
            [label for label, count in train.labels.items() if not count],
            "No training question has the class {}, so a model cannot learn it.",
        ),
    ]


def _about(found: Iterable[str], sentence: str) -> list[str]:
    """The sentence with the first of what was found and the number of the rest; empty if nothing was."""
    listed = list(found)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return [sentence.replace("{}", ", ".join(listed[:NAMED]) + more)] if listed else []
