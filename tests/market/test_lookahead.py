"""Nothing later than a close reaches what is said at it: every source, every kind of note, every feature."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deepstock_rows import write_rows
from markets import listed, market, ragged
from modalities import closes, known, mixed, noise_after, some_notes

from tradeschool.market import indicators, statistics
from tradeschool.market.notes.deepstock import read_panel
from tradeschool.market.notes.names import read_names
from tradeschool.market.notes.read import attach, read_notes
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.market.sources import load, sample
from tradeschool.market.splits import split_rows
from tradeschool.market.window import Windows
from tradeschool.tasks.rating import RatingConfig, RatingTask
from tradeschool.text.describe import FACTS
from tradeschool.text.sections import SECTIONS


def _with_every_kind(panel: Panel, count: int = 1500) -> Panel:
    names = {ticker: (f"{ticker.title()} Motor Company",) for ticker in panel.tickers}
    return replace(panel, notes=mixed(panel.notes, some_notes(panel, count, seed=5), 3), names=names)


def _last(panel: Panel, rows: int) -> Panel:
    bars: dict[str, Any] = {name: getattr(panel, name)[-rows:] for name in
                            ("open_TN", "high_TN", "low_TN", "close_TN", "volume_TN")}  # fmt: skip
    factor_TN = None if panel.factor_TN is None else panel.factor_TN[-rows:]
    return replace(panel, dates_T=panel.dates_T[-rows:], factor_TN=factor_TN, planted_TN=None, **bars)


@cache
def _practice() -> Panel:
    return _with_every_kind(market(tickers=24, days=300))


@cache
def _ragged() -> Panel:
    """The ragged market, and sixteen more tickers with holes of their own."""
    few, more = _last(ragged(), 330), market(tickers=22, days=330, seed=1)
    bars: dict[str, Any] = {}
    for name in FIELDS:
        bar_TN = getattr(more, f"{name}_TN").copy()
        bar_TN[:, :6] = getattr(few, f"{name}_TN")
        for n in range(6, 22):
            bar_TN[: 4 * n, n] = np.nan
            bar_TN[n :: 31 + n, n] = np.nan
        bars[f"{name}_TN"] = bar_TN
    return _with_every_kind(replace(few, tickers=more.tickers, planted_TN=None, **bars))


@cache
def _deepstock(folder: Path) -> Panel:
    """A file of DeepStock rows, its own notes, and notes of every kind."""
    path = write_rows(folder / "rows.jsonl", _last(market(tickers=12), 260))
    panel, own = read_panel(path)
    return _with_every_kind(attach(panel, [own], []))


@cache
def _sample() -> Panel:
    pytest.importorskip("bokeh_sampledata")
    return _with_every_kind(_last(sample(), 500))


@cache
def _stocknet(folder: Path) -> Panel:
    panel = load(folder / "price", messages=[])
    panel = attach(panel, [read_notes(folder / "tweets.parquet")], [])
    panel = replace(panel, names=read_names(folder / "StockTable"))
    return replace(panel, notes=(*panel.notes, *some_notes(panel, 4000, seed=5)))


def _task(panel: Panel, mask: bool, variants: int) -> RatingTask:
    config = RatingConfig(facts=list(FACTS), sections=list(SECTIONS), mask=mask, variants=variants)
    return RatingTask(config, panel, split_rows(panel, (0.6, 0.1, 0.3), embargo=16, warmup=40))


def _said(task: RatingTask, t: int) -> list[object]:
    """All that is said about every ticker listed at t: prompts in both variants, answers of the expert, values."""
    told: list[object] = []
    for example in listed(task.panel, t):
        window = task.windows.at(example.t, example.n)
        for variant in range(task.config.variants):
            told.append(task.prompt(replace(example, variant=variant)).messages)
        told.append(task.expert(example))
        told += [np.float64(value).tobytes() for value in window.values.values()]
        told += [values_L.tobytes() for values_L in (window.closes_L, *window.recent.values())]
        told += [tuple(notes) for notes in window.notes.values()]
    return told


def _hold_against_noise(panel: Panel, mask: bool, rows: list[int]) -> int:
    before = _task(panel, mask, variants=2)
    pairs = 0
    for t in rows:
        told = _said(before, t)
        changed = noise_after(panel, t)
        assert changed.data_hash() != panel.data_hash()
        assert _said(_task(changed, mask, variants=2), t) == told
        _same_features(panel, changed, t)
        pairs += len(listed(panel, t))
    return pairs


def _same_features(panel: Panel, changed: Panel, t: int) -> None:
    for compute in (indicators.compute, statistics.panel_statistics):
        before, after = compute(panel), compute(changed)
        assert before.keys() == after.keys()
        for name in before:
            assert before[name][: t + 1].tobytes() == after[name][: t + 1].tobytes(), name


SOURCES = {"practice": (_practice, 480), "ragged": (_ragged, 340), "sample": (_sample, 120)}
"""How many pairs of ticker and date each is held against noise at: with DeepStock's more than a thousand."""


def _hold(panel: Panel, least: int) -> None:
    rows = np.linspace(30, panel.shape[0] - 2, 2 + int(1.1 * least) // panel.shape[1]).astype(int).tolist()
    assert sum(_hold_against_noise(panel, mask, rows[mask::2]) for mask in (False, True)) >= least


@pytest.mark.parametrize("name", SOURCES)
def test_noise_after_a_close_changes_nothing_said_at_it(name: str) -> None:
    make, least = SOURCES[name]
    _hold(make(), least)


def test_noise_after_a_close_changes_nothing_on_deepstock(tmp_path: Path) -> None:
    panel = _deepstock(tmp_path)
    kinds = {note.kind for note in panel.notes if note.text.startswith("PRAC")}
    assert {"news", "company"} <= kinds
    _hold(panel, 190)


def test_noise_after_a_close_changes_nothing_on_stocknet(stocknet: Path) -> None:
    panel = _stocknet(stocknet)
    day = np.datetime64("2014-06-09")
    rows = [int(np.searchsorted(panel.dates_T, day + back)) for back in (0, 100, 200, 300)]
    assert sum(_hold_against_noise(panel, t % 2 == 0, [t]) for t in rows) >= 300


def test_the_noise_reaches_what_is_said_on_the_days_that_it_replaces() -> None:
    """The tests above are none if prompts do not depend on what they replace: every kind of note, and the bars."""
    panel = _practice()
    before = _task(panel, False, variants=1)
    t = 200
    after = _task(noise_after(panel, t - 10), False, variants=1)
    for name in SECTIONS:
        alone = [
            RatingTask(RatingConfig(sections=[name], mask=False), task.panel, task.split) for task in (before, after)
        ]
        same = [e for e in listed(panel, t) if e in listed(after.panel, t)]
        said = [[task.prompt(example).messages[0]["content"].partition("## ")[2] for example in same] for task in alone]
        assert said[0] != said[1], name


def test_what_was_known_at_the_close_is_shown_and_the_second_after_it_is_not() -> None:
    panel = market()
    t = 200
    close = closes(panel.dates_T[t])
    at = some_notes(panel, 1, seed=1)[0]
    notes = [
        replace(at, known_at=close + np.timedelta64(s, "s"), ticker="PRAC03", kind="news", text=f"told {s}")
        for s in (0, 1)
    ]
    windows = Windows(replace(panel, notes=tuple(notes)), mask=False)
    assert [note.text for note in windows.at(t, 3).notes["texts"]] == ["told 0"]
    assert {note.text for note in windows.at(t + 1, 3).notes["texts"]} == {"told 0", "told 1"}


def test_tweets_stand_in_the_prompts_of_their_days(stocknet: Path) -> None:
    """Against the file itself, read by pandas and dated by zoneinfo: what each prompt shows, and what it must show."""
    panel = _stocknet(stocknet)
    tweets = [note for note in panel.notes if note.kind == "tweet" and note.ticker == "AMZN"]
    windows = Windows(panel, mask=False)
    n = panel.tickers.index("AMZN")
    for day in ("2014-06-09", "2014-11-28", "2015-03-09", "2015-07-06"):
        t = int(np.searchsorted(panel.dates_T, np.datetime64(day)))
        shown = {note.text for note in windows.at(t, n).notes["texts"] if note.kind == "tweet"}
        first = closes(panel.dates_T[t] - 30) - np.timedelta64(16, "h")
        due = {
            " ".join(note.text.split()) for note in tweets if known(note, panel.dates_T[t]) and note.known_at >= first
        }
        assert {" ".join(text.split()) for text in shown} == due
        assert len(due) > 50
