"""What is in a market: bars, events, questions and labels of each split part, rank ICs of features; and warnings."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.calendar import sessions
from tradeschool.market.events.event import Event
from tradeschool.market.features import SETTLED, segments
from tradeschool.market.findings import join_some
from tradeschool.market.panel import Panel
from tradeschool.metrics import DAYS_A_YEAR
from tradeschool.prepare.feature_ic import FeatureICs, feature_ics
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
class EventKind:
    """The events of one kind, with the number of tickers that they are about."""

    kind: str
    count: int
    tickers: int
    first: str
    last: str


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


@dataclass(frozen=True)
class Overview:
    """What is in a market. ``parts`` and ``feature_ics`` are empty if it cannot be split, for the reason ``problem``.

    ``missing`` and ``extra`` are the differences to the calendar of ``exchange``, if one is given: sessions without any
    bar, and dates that are not sessions. ``real`` is False for a synthetic market.
    """

    name: str
    data_hash: str
    dates: tuple[str, ...]
    tickers: list[TickerCoverage]
    events: list[EventKind]
    exchange: str = ""
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    task: str = ""
    parts: tuple[SplitPart, ...] = ()
    feature_ics: FeatureICs | None = None
    problem: str = ""
    real: bool = True

    @property
    def classes(self) -> tuple[str, ...]:
        """The task's classes; empty for a task without classes."""
        return tuple(self.parts[0].labels) if self.parts else ()

    @property
    def warnings(self) -> list[str]:
        """What looks wrong, each with what to do about it."""
        found = [self.problem] if self.problem else []
        found += _about_bars(self) + (_about_parts(self) if self.parts else [])
        if self.feature_ics and self.feature_ics.dates < FEW_DATES:
            found.append(
                f"Only {self.feature_ics.dates} training dates have an outcome inside the training part, so intervals "
                "are wide. Use a longer history."
            )
        return found


def make_overview(
    panel: Panel,
    task: Task | None,
    *,
    horizons: Sequence[int],
    exchange: str | None = None,
    problem: str | None = None,
) -> Overview:
    """Describe a market.

    Args:
        panel, task: the task is None if the market cannot be split, for the reason ``problem``, the first warning.
        horizons: days of the outcome that features are correlated with.
        exchange: compare the dates with this exchange's calendar.
    """
    # An exchange's sessions are expected of daily bars alone.
    exchange = exchange if panel.bars_per_year >= DAYS_A_YEAR else None
    found = Overview(
        panel.name,
        panel.data_hash(),
        tuple(panel.dates_T.astype("datetime64[D]").astype(str).tolist()),
        ticker_coverage(panel, exchange),
        event_kinds(panel.events),
        problem=problem or "",
        real=panel.true_alpha_TN is None,
    )
    if exchange:
        missing, extra = calendar_difference(panel, exchange)
        found = replace(found, exchange=exchange.upper(), missing=missing, extra=extra)
    if task is None:
        return found
    train_T = task.rows("train")
    ics = feature_ics(panel, int(train_T[0]), int(train_T[-1]), horizons)
    return replace(found, task=task.name, parts=split_parts(panel, task), feature_ics=ics)


def ticker_coverage(panel: Panel, exchange: str | None = None) -> list[TickerCoverage]:
    """Coverage per ticker. Missing days are counted by the sessions of ``exchange``, or by the panel's own dates."""
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


def calendar_difference(panel: Panel, exchange: str) -> tuple[list[str], list[str]]:
    """The exchange's sessions without any bar, and the panel's dates that are not sessions."""
    dates_T: Days = panel.dates_T.astype("datetime64[D]")
    expected = sessions(exchange, dates_T[0], dates_T[-1])
    missing, extra = np.setdiff1d(expected, dates_T), np.setdiff1d(dates_T, expected)
    return missing.astype(str).tolist(), extra.astype(str).tolist()


def event_kinds(events: Sequence[Event]) -> list[EventKind]:
    """Events by kind, the most frequent kind first."""
    found = []
    for kind, count in Counter(event.kind for event in events).most_common():
        own = [event for event in events if event.kind == kind]
        days = sorted(str(event.known_at.astype("datetime64[D]")) for event in own)
        found.append(EventKind(kind, count, len({event.ticker for event in own} - {None}), days[0], days[-1]))
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


def _about_bars(overview: Overview) -> list[str]:
    dates, tickers, exchange = overview.dates, overview.tickers, overview.exchange
    gappy = [one for one in tickers if one.missing > MISSING_SHARE * one.span]
    long = overview.real and len(tickers) >= SURVIVORS[0] and len(dates) >= SURVIVORS[1]
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
            dates[-1:] if long and all(one.last == dates[-1] for one in tickers) else (),
            "Survivorship bias: every ticker still trades on the last day, {}. If tickers were selected at the end of "
            "the period, those that failed are missing, and results look better than they would have been.",
        ),
        *_about(
            overview.missing,
            f"{len(overview.missing)} sessions of {exchange} are missing from every ticker: {{}}. Fetch them again, or "
            "choose the exchange that these tickers trade on.",
        ),
        *_about(
            overview.extra,
            f"{len(overview.extra)} dates are not sessions of {exchange}: {{}}. Remove them, or choose the exchange "
            "that these tickers trade on.",
        ),
    ]


def _about_parts(overview: Overview) -> list[str]:
    train, *others = overview.parts
    first, last = train.rows
    moved = [
        f"{part.name} {label} {part.share(label):.0%} (train {train.share(label):.0%})"
        for part in others
        if part.questions > part.unlabelled
        for label in part.labels
        if abs(part.share(label) - train.share(label)) > SHIFT
    ]
    without = [
        (kind, [part.name for part in overview.parts if kind.last < part.first or kind.first > part.last])
        for kind in overview.events
    ]
    return [
        *_about(
            [one.ticker for one in overview.tickers if not any(a <= last and b >= first for a, b in one.runs)],
            "No bar in the training part: {}. The model first sees these tickers in the evaluation.",
        ),
        *(
            f"Events of kind {kind.kind} cover {kind.first} to {kind.last}, but not {' or '.join(names)}. "
            "Choose the split dates so that train and test both have them."
            for kind, names in without
            if names
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


def _about(found: Sequence[str], sentence: str) -> list[str]:
    """The sentence with the first of what was found and the number of the rest; nothing if nothing was found."""
    return [sentence.replace("{}", join_some(found, NAMED))] if found else []
