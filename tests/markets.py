"""Small markets for the tests: synthetic ones, ragged ones, and ones whose future is scrambled."""

from dataclasses import replace
from typing import Any

import numpy as np

from tradeschool.market.events.event import Event
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.market.splits import split_rows
from tradeschool.market.synthetic import SyntheticConfig, simulate
from tradeschool.policies.base import Kind, Policy
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.rating_config import RatingConfig
from tradeschool.text.describe import FACTS

EMBARGO = 16


def market(edge: float = 0.3, tickers: int = 6, days: int = 400, seed: int = 0) -> Panel:
    return simulate(SyntheticConfig(edge=edge, tickers=tickers, days=days, seed=seed))


def task_of(panel: Panel, warmup: int = 40, **config: Any) -> RatingTask:
    """The rating task, dates split 60 / 10 / 30 with the embargo that the longest label needs."""
    return RatingTask(RatingConfig(**config), panel, split_rows(panel, (0.6, 0.1, 0.3), embargo=EMBARGO, warmup=warmup))


def every_fact(panel: Panel, mask: bool = True) -> RatingTask:
    """A task whose prompts state all that can be stated."""
    return task_of(panel, facts=list(FACTS), mask=mask)


def ragged(seed: int = 0) -> Panel:
    """A synthetic market with a late listing, a delisting, gaps, and an event on a day without trading."""
    panel = market(seed=seed)
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN").copy() for name in FIELDS}
    for bar_TN in bars.values():
        bar_TN[:150, 0] = np.nan
        bar_TN[330:, 1] = np.nan
        bar_TN[[120, 260, 261, 262], 2] = np.nan
        bar_TN[::37, 3] = np.nan
    saturday = panel.dates_T[204].astype("datetime64[D]") + 1
    assert saturday not in panel.dates_T
    extra = Event(saturday, panel.tickers[2], "news", f"{panel.tickers[2]} wins a prize over ${panel.tickers[3]}")
    events = tuple(sorted((*panel.events, extra), key=lambda event: event.known_at))
    return replace(panel, events=events, name="ragged", **bars)


def scrambled_after(panel: Panel, t: int, seed: int = 1) -> Panel:
    """The same until the close of row t; after it other bars, other listings, other events, another forecast."""
    rng = np.random.default_rng([seed, t])
    rows, count = panel.shape[0] - t - 1, panel.shape[1]
    open_, close = (rng.uniform(1, 1000, (rows, count)) for _ in range(2))
    high, low = np.maximum(open_, close) * rng.uniform(1, 2, (rows, count)), np.minimum(open_, close) / 3
    missing = rng.random((rows, count)) < 0.1
    bars = {}
    for name, later in zip(FIELDS, (open_, high, low, close, rng.uniform(0, 1e9, (rows, count))), strict=True):
        bar_TN = getattr(panel, f"{name}_TN").copy()
        bar_TN[t + 1 :] = np.where(missing, np.nan, later)
        bars[f"{name}_TN"] = bar_TN
    known = [event for event in panel.events if event.known_at <= panel.dates_T[t]]
    new_events = [
        Event(date, ticker, "news", text)
        for date in panel.dates_T[t] + np.arange(1, 40)
        for ticker, text in ((None, "Sessions turn choppy and trending"), (panel.tickers[0], "Record lawsuit wins"))
    ]
    true_alpha_TN = panel.true_alpha_TN
    if true_alpha_TN is not None:
        true_alpha_TN = true_alpha_TN.copy()
        true_alpha_TN[t + 1 :] = rng.normal(0, 5, true_alpha_TN[t + 1 :].shape)
    return replace(panel, events=(*known, *new_events), true_alpha_TN=true_alpha_TN, **bars)


def repriced_after(panel: Panel, t: int) -> Panel:
    """The same until the close of row t; after it other prices, on the same days."""
    later_T1 = np.arange(panel.shape[0])[:, None] > t
    factor_TN = np.where(later_T1, np.random.default_rng(t).uniform(0.3, 3, panel.shape), 1.0)
    bars: dict[str, Any] = {f"{name}_TN": getattr(panel, f"{name}_TN") * factor_TN for name in FIELDS}
    return replace(panel, **bars)


def listed(panel: Panel, t: int) -> list[Example]:
    """A question about every ticker that trades at t, whether or not its outcome is known."""
    date = panel.dates_T[t].astype("datetime64[D]")
    return [Example(f"{panel.tickers[n]}@{date}", t, int(n)) for n in np.flatnonzero(panel.listed_TN[t])]


class Says(Policy):
    """Answers with the same texts in turn."""

    def __init__(self, *texts: str, name: str = "says", kind: Kind = "trained") -> None:
        self.name, self.kind, self._texts = name, kind, texts

    def generate(self, conversations: Any, n: int = 1) -> list[list[str]]:
        return [[self._texts[i % len(self._texts)]] * n for i in range(len(conversations))]
