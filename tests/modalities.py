"""Markets with events of every kind, and the same markets with noise after a close."""

import datetime
from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np

from tradeschool.market.events.event import KINDS, ROW_KINDS, TEXT_KINDS, Event, Value
from tradeschool.market.panel import FIELDS, Panel

NEW_YORK = ZoneInfo("America/New_York")
WORDS = ("beats", "misses", "record", "lawsuit", "choppy", "trending", "2014-03-31", "$", "up")


def closes(day: np.datetime64) -> np.datetime64:
    """Four in the afternoon in New York on that day, in UTC: without the code under test."""
    date = day.astype("datetime64[D]").item()
    local = datetime.datetime.combine(date, datetime.time(16), NEW_YORK)
    return np.datetime64(local.astimezone(datetime.UTC).replace(tzinfo=None), "s")


def known(event: Event, day: np.datetime64) -> bool:
    """Whether an event was known at the close of a day."""
    return bool(event.known_at <= day if event.day_only else event.known_at <= closes(day))


def some_events(panel: Panel, count: int, seed: int, after: int = -1) -> tuple[Event, ...]:
    """Events of every kind at random moments of the panel's rows after ``after``, half of them with a time."""
    rng = np.random.default_rng([seed, after + 1])
    events = []
    for k in range(count):
        row = int(rng.integers(after + 1, panel.shape[0]))
        moment = panel.dates_T[row].astype("datetime64[D]")
        if rng.random() < 0.5:
            # Up to a day and a half around the close, and often right after it.
            late = int(rng.choice([1, 60, 7200, 86400])) if after >= row - 1 else int(rng.integers(-90_000, 40_000))
            moment = closes(panel.dates_T[max(row - 1, 0)] if after >= 0 else moment) + np.timedelta64(late, "s")
        kind = KINDS[k % len(KINDS)]
        ticker = None if kind in ("macro", "volatility_index", "market") else str(rng.choice(panel.tickers))
        events.append(_event(rng, moment, ticker, kind))
    return tuple(events)


def _event(rng: np.random.Generator, moment: np.datetime64, ticker: str | None, kind: str) -> Event:
    text = " ".join(rng.choice(WORDS, 4)) if kind in TEXT_KINDS or rng.random() < 0.3 else ""
    fields: dict[str, Value] = {}
    if kind in ROW_KINDS:
        fields = {"value": float(rng.normal()), "revenue": float(rng.uniform(1e6, 1e9)), "period_end": "2010-12-31"}
        fields |= {"name": str(rng.choice(["CPI", "GDP"])), "price": float(rng.uniform(1, 100))}
    return Event(moment, ticker, kind, text, str(rng.choice(["", "wire"])), fields)


def noise_after(panel: Panel, t: int, seed: int = 1) -> Panel:
    """The same until the close of row t, noise after it: bars, listings, volumes, and events of every kind."""
    rng = np.random.default_rng([seed, t])
    rows, count = panel.shape[0] - t - 1, panel.shape[1]
    open_, close = (rng.uniform(1, 1000, (rows, count)) for _ in range(2))
    later = (
        open_,
        np.maximum(open_, close) * 2,
        np.minimum(open_, close) / 3,
        close,
        rng.uniform(0, 1e9, (rows, count)),
    )
    missing = rng.random((rows, count)) < 0.1
    bars = {}
    for name, values in zip(FIELDS, later, strict=True):
        bar_TN = getattr(panel, f"{name}_TN").copy()
        bar_TN[t + 1 :] = np.where(missing, np.nan, values)
        bars[f"{name}_TN"] = bar_TN
    kept = [event for event in panel.events if known(event, panel.dates_T[t])]
    later_events = [event for event in some_events(panel, 120, seed, after=t) if not known(event, panel.dates_T[t])]
    return replace(panel, events=mixed(kept, later_events, seed), **bars)


def mixed(events: Sequence[Event], more: Sequence[Event], seed: int) -> tuple[Event, ...]:
    """Both, ``more`` at random places among ``events``, whose own order counts where moments are equal."""
    places = np.random.default_rng(seed).uniform(-1, len(events), len(more))
    both = [*zip(range(len(events)), events, strict=True), *zip(places.tolist(), more, strict=True)]
    return tuple(event for _, event in sorted(both, key=lambda pair: pair[0]))
