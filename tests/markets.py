"""Small markets for the tests: practice ones, ragged ones, and ones whose future is scrambled."""

from dataclasses import replace
from typing import Any

import numpy as np

from tradeschool.market.notes.note import Note
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.market.practice import PracticeConfig, practice
from tradeschool.market.splits import split_rows
from tradeschool.policies.base import Kind, Policy
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RatingConfig, RatingTask
from tradeschool.text.describe import FACTS

EMBARGO = 16


def market(edge: float = 0.3, tickers: int = 6, days: int = 400, seed: int = 0) -> Panel:
    return practice(PracticeConfig(edge=edge, tickers=tickers, days=days, seed=seed))


def task_of(panel: Panel, warmup: int = 40, **config: Any) -> RatingTask:
    """The rating task, dates split 60 / 10 / 30 with the embargo that the longest label needs."""
    return RatingTask(RatingConfig(**config), panel, split_rows(panel, (0.6, 0.1, 0.3), embargo=EMBARGO, warmup=warmup))


def every_fact(panel: Panel, mask: bool = True) -> RatingTask:
    """A task whose prompts state all that can be stated."""
    return task_of(panel, facts=list(FACTS), mask=mask)


def ragged(seed: int = 0) -> Panel:
    """A practice market with a late listing, a delisting, gaps, and a note on a day without trading."""
    panel = market(seed=seed)
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN").copy() for name in FIELDS}
    for bar_TN in bars.values():
        bar_TN[:150, 0] = np.nan
        bar_TN[330:, 1] = np.nan
        bar_TN[[120, 260, 261, 262], 2] = np.nan
        bar_TN[::37, 3] = np.nan
    saturday = panel.dates_T[204].astype("datetime64[D]") + 1
    assert saturday not in panel.dates_T
    extra = Note(saturday, panel.tickers[2], "news", f"{panel.tickers[2]} wins a prize over ${panel.tickers[3]}")
    notes = tuple(sorted((*panel.notes, extra), key=lambda note: note.known_at))
    return replace(panel, notes=notes, name="ragged", **bars)


def scrambled_after(panel: Panel, t: int, seed: int = 1) -> Panel:
    """The same until the close of row t; after it other bars, other listings, other notes, another forecast."""
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
    known = [note for note in panel.notes if note.known_at <= panel.dates_T[t]]
    told = [
        Note(date, ticker, "news", text)
        for date in panel.dates_T[t] + np.arange(1, 40)
        for ticker, text in ((None, "Sessions turn choppy and trending"), (panel.tickers[0], "Record lawsuit wins"))
    ]
    planted_TN = panel.planted_TN
    if planted_TN is not None:
        planted_TN = planted_TN.copy()
        planted_TN[t + 1 :] = rng.normal(0, 5, planted_TN[t + 1 :].shape)
    return replace(panel, notes=(*known, *told), planted_TN=planted_TN, **bars)


def listed(panel: Panel, t: int) -> list[Example]:
    """A question about every ticker that trades at t, whether or not its outcome is known."""
    date = panel.dates_T[t].astype("datetime64[D]")
    return [Example(f"{panel.tickers[n]}@{date}", t, int(n)) for n in np.flatnonzero(panel.listed_TN[t])]


class Says(Policy):
    """Answers every prompt with the same text."""

    def __init__(self, *texts: str, name: str = "says", kind: Kind = "trained") -> None:
        self.name, self.kind, self._texts = name, kind, texts

    def reply(self, prompts: Any) -> list[str]:
        return [self._texts[i % len(self._texts)] for i in range(len(prompts))]
