"""Coverage of a market (bars, events, the questions and labels of each split part), and warnings about it."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.calendar import sessions
from tradeschool.market.features import SETTLED, segments
from tradeschool.market.panel import Panel
from tradeschool.market.splits import PARTS
from tradeschool.tasks.base import SplitName, Task

Days = NDArray[np.datetime64]
NAMES: dict[str, SplitName] = {"train": "train", "validation": "validation", "test": "test"}
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


def ticker_coverage(panel: Panel, exchange: str | None = None) -> list[TickerCoverage]:
    """Coverage per ticker, in the panel's order.

    Args:
        panel: the market.
        exchange: count missing days by this exchange's sessions instead of the panel's own dates.

    Raises:
        TradeschoolError: pandas-market-calendars is not installed, or the exchange is unknown.
    """
    dates_T = _days(panel)
    expected = dates_T if exchange is None else sessions(exchange, dates_T[0], dates_T[-1])
    return [_coverage(panel, n, dates_T, expected) for n in range(len(panel.tickers))]


def _coverage(panel: Panel, n: int, dates_T: Days, expected: Days) -> TickerCoverage:
    listed_T = panel.listed_TN[:, n]
    if not listed_T.any():
        return TickerCoverage(panel.tickers[n], "", "", 0, 0, 0, ())
    runs = tuple((rows.start, rows.stop - 1) for rows in segments(listed_T))
    days = dates_T[listed_T]
    within = expected[(expected >= days[0]) & (expected <= days[-1])]
    gaps = [later[0] - earlier[1] - 1 for earlier, later in itertools.pairwise(runs)]
    return TickerCoverage(
        ticker=panel.tickers[n],
        first=str(days[0]),
        last=str(days[-1]),
        bars=len(days),
        missing=int((~np.isin(within, days)).sum()),
        longest_gap=max(gaps, default=0),
        runs=runs,
    )


def calendar_difference(panel: Panel, exchange: str) -> CalendarDifference:
    """Compare the panel's dates with the exchange's sessions in the same period.

    Raises:
        TradeschoolError: pandas-market-calendars is not installed, or the exchange is unknown.
    """
    dates_T = _days(panel)
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


def _days(panel: Panel) -> Days:
    days: Days = panel.dates_T.astype("datetime64[D]")
    return days


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


def split_parts(panel: Panel, task: Task) -> tuple[SplitPart, ...]:
    """Train, validation and test; ``labels`` is empty for a task without classes."""
    counted = [(name, Counter(map(task.label, task.examples(NAMES[name])))) for name in PARTS]
    found = {label for _, counts in counted for label in counts if label is not None}
    classes = tuple(dict.fromkeys((*task.action_names, *sorted(found)))) if found else ()
    return tuple(_part(panel, task, name, counts, classes) for name, counts in counted)


def _part(panel: Panel, task: Task, name: str, counts: Counter[str | None], classes: Sequence[str]) -> SplitPart:
    rows_T = task.rows(NAMES[name])
    first, last = int(rows_T[0]), int(rows_T[-1])
    days = panel.dates_T[[first, last]].astype("datetime64[D]")
    return SplitPart(
        name=name,
        rows=(first, last),
        first=str(days[0]),
        last=str(days[1]),
        dates=len(rows_T),
        questions=counts.total(),
        labels={label: counts[label] for label in classes},
        unlabelled=counts[None],
    )


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
        *_about_tickers(tickers),
        *(_about_survivors(dates, tickers) if real else ()),
        *_about_calendar(calendar),
        *(_about_training(tickers, parts[0]) if parts else ()),
        *_about_events(events, parts),
        *(_about_labels(parts) if parts and parts[0].labels else ()),
        *_about_outcomes(outcome_dates),
    ]


def _about_tickers(tickers: Sequence[TickerCoverage]) -> Iterator[str]:
    few = [f"{ticker.ticker} ({ticker.bars} bars)" for ticker in tickers if ticker.bars < SETTLED]
    if few:
        yield (
            f"History too short: {_some(few)}. Indicators need {SETTLED} bars to settle. "
            "Use a longer history, or leave these tickers out."
        )
    gappy = [
        f"{ticker.ticker} ({ticker.missing} of {ticker.span} days)"
        for ticker in tickers
        if ticker.missing > MISSING_SHARE * ticker.span
    ]
    if gappy:
        yield (
            f"Many missing days between the first and the last bar: {_some(gappy)}. Nothing to do if "
            "its exchange was closed on them: indicators and horizons count a ticker's own bars. Otherwise check the "
            "source: tradeschool data check."
        )


def _about_survivors(dates: Sequence[str], tickers: Sequence[TickerCoverage]) -> Iterator[str]:
    lasting = all(ticker.last == dates[-1] for ticker in tickers)
    if lasting and len(tickers) >= SURVIVORS[0] and len(dates) >= SURVIVORS[1]:
        yield (
            "Survivorship bias: every ticker still trades on the last day. If tickers were selected at the end of the "
            "period, those that failed are missing, and results look better than they would have been."
        )


def _about_calendar(calendar: CalendarDifference | None) -> Iterator[str]:
    if calendar and calendar.missing:
        yield (
            f"{len(calendar.missing)} sessions of {calendar.exchange} are missing from every ticker: "
            f"{_some(calendar.missing)}. Fetch them again, or choose the exchange that these tickers trade on."
        )
    if calendar and calendar.extra:
        yield (
            f"{len(calendar.extra)} dates are not sessions of {calendar.exchange}: {_some(calendar.extra)}. "
            "Remove them, or choose the exchange that these tickers trade on."
        )


def _about_training(tickers: Sequence[TickerCoverage], train: SplitPart) -> Iterator[str]:
    first, last = train.rows
    unseen = [ticker.ticker for ticker in tickers if not any(run[0] <= last and run[1] >= first for run in ticker.runs)]
    if unseen:
        yield f"No bar in the training part: {_some(unseen)}. The model first sees these tickers in the evaluation."


def _about_events(events: Sequence[EventKind], parts: Sequence[SplitPart]) -> Iterator[str]:
    for kind in events:
        without = [part.name for part in parts if kind.last < part.first or kind.first > part.last]
        if without:
            yield (
                f"Events of kind {kind.kind} cover {kind.first} to {kind.last}, but not {' or '.join(without)}. "
                "Choose the split dates so that train and test both have them."
            )


def _about_labels(parts: Sequence[SplitPart]) -> Iterator[str]:
    train, *others = parts
    moved = [
        f"{part.name} {label} {part.share(label):.0%} (train {train.share(label):.0%})"
        for part in others
        if part.questions > part.unlabelled
        for label in part.labels
        if abs(part.share(label) - train.share(label)) > SHIFT
    ]
    if moved:
        yield (
            f"Label shares differ from train: {_some(moved)}. A constant answer may pay there, so compare with the "
            "best constant."
        )
    absent = [label for label, count in train.labels.items() if not count]
    if absent:
        yield f"No training question has the class {_some(absent)}, so a model cannot learn it."


def _about_outcomes(dates: int | None) -> Iterator[str]:
    if dates is not None and dates < FEW_DATES:
        yield (
            f"Only {dates} training dates have an outcome inside the training part, so intervals are wide. "
            "Use a longer history."
        )


def _some(words: Iterable[str]) -> str:
    listed = list(words)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more
