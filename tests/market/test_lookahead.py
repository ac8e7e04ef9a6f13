"""Nothing after a close reaches what is shown at it: every source, every kind of event, every feature."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deepstock_rows import write_rows
from markets import listed, market, ragged
from modalities import closes, known, mixed, noise_after, some_events
from numpy.typing import NDArray

from tradeschool.market import features
from tradeschool.market.events.event import read_names
from tradeschool.market.events.read import attach, read_events
from tradeschool.market.load import load_prices, load_sample
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.market.snapshot import Snapshots
from tradeschool.market.splits import split_rows
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.rating_config import RatingConfig
from tradeschool.text.describe import FACTS
from tradeschool.text.sections import SECTIONS


def _with_every_kind(panel: Panel, count: int = 1500) -> Panel:
    names = {ticker: (f"{ticker.title()} Motor Company",) for ticker in panel.tickers}
    return replace(panel, events=mixed(panel.events, some_events(panel, count, seed=5), 3), names=names)


def _last(panel: Panel, rows: int) -> Panel:
    bars: dict[str, Any] = {name: getattr(panel, name)[-rows:] for name in
                            ("open_TN", "high_TN", "low_TN", "close_TN", "volume_TN")}  # fmt: skip
    factor_TN = None if panel.factor_TN is None else panel.factor_TN[-rows:]
    return replace(panel, dates_T=panel.dates_T[-rows:], factor_TN=factor_TN, true_alpha_TN=None, **bars)


@cache
def _plain_market() -> Panel:
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
    return _with_every_kind(replace(few, tickers=more.tickers, true_alpha_TN=None, **bars))


@cache
def _deepstock(folder: Path) -> Panel:
    """A file of DeepStock rows, its own events, and events of every kind."""
    path = write_rows(folder / "rows.jsonl", _last(market(tickers=12), 260))
    return _with_every_kind(attach(load_prices(path, []), [read_events(path)], []))


@cache
def _sample() -> Panel:
    pytest.importorskip("bokeh_sampledata")
    return _with_every_kind(_last(load_sample(), 500))


@cache
def _stocknet(folder: Path) -> Panel:
    panel = load_prices(folder / "price", messages=[])
    panel = attach(panel, [read_events(folder / "tweets.parquet")], [])
    panel = replace(panel, names=read_names(folder / "StockTable"))
    return replace(panel, events=(*panel.events, *some_events(panel, 4000, seed=5)))


def _task(panel: Panel, mask: bool, variants: int) -> RatingTask:
    config = RatingConfig(facts=list(FACTS), sections=list(SECTIONS), mask=mask, variants=variants)
    return RatingTask(config, panel, split_rows(panel, (0.6, 0.1, 0.3), embargo=16, warmup=40))


def _everything_shown(task: RatingTask, t: int) -> list[object]:
    """Everything shown for every ticker listed at t: prompts in both variants, the expert's answers, values."""
    shown: list[object] = []
    for example in listed(task.panel, t):
        snapshot = task.snapshots.at(example.t, example.n)
        for variant in range(task.config.variants):
            shown.append(task.messages(replace(example, variant=variant)))
        shown.append(task.expert(example))
        shown += [np.float64(value).tobytes() for value in snapshot.values.values()]
        shown += [values_L.tobytes() for values_L in snapshot.recent.values()]
        shown += [tuple(events) for events in snapshot.events.values()]
    return shown


def _features(panel: Panel) -> dict[str, NDArray[np.float64]]:
    return features.compute(panel) | features.panel_statistics(panel)


def _compare_with_noise(panel: Panel, mask: bool, rows: list[int]) -> int:
    before, features = _task(panel, mask, variants=2), _features(panel)
    pairs = 0
    for t in rows:
        changed = noise_after(panel, t)
        assert changed.data_hash() != panel.data_hash()
        assert _everything_shown(_task(changed, mask, variants=2), t) == _everything_shown(before, t)
        for name, values_TN in _features(changed).items():
            assert values_TN[: t + 1].tobytes() == features[name][: t + 1].tobytes(), name
        pairs += len(listed(panel, t))
    return pairs


SOURCES = {"plain": (_plain_market, 480), "ragged": (_ragged, 340), "sample": (_sample, 120)}
"""The least number of (ticker, date) pairs to test per source: more than a thousand with DeepStock."""


def _check(panel: Panel, least: int) -> None:
    rows = np.linspace(30, panel.shape[0] - 2, 2 + int(1.1 * least) // panel.shape[1]).astype(int).tolist()
    assert sum(_compare_with_noise(panel, mask, rows[mask::2]) for mask in (False, True)) >= least


@pytest.mark.parametrize("name", SOURCES)
def test_noise_after_a_close_changes_nothing_shown_at_it(name: str) -> None:
    make, least = SOURCES[name]
    _check(make(), least)


def test_noise_after_a_close_changes_nothing_on_deepstock(tmp_path: Path) -> None:
    panel = _deepstock(tmp_path)
    kinds = {event.kind for event in panel.events if event.text.startswith("PRAC")}
    assert {"news", "company"} <= kinds
    _check(panel, 190)


def test_noise_after_a_close_changes_nothing_on_stocknet(stocknet: Path) -> None:
    panel = _stocknet(stocknet)
    day = np.datetime64("2014-06-09")
    rows = [int(np.searchsorted(panel.dates_T, day + back)) for back in (0, 100, 200, 300)]
    assert sum(_compare_with_noise(panel, t % 2 == 0, [t]) for t in rows) >= 300


def test_the_noise_reaches_what_is_shown_on_the_days_that_it_replaces() -> None:
    """Prompts do depend on what the tests above replace: the bars and every kind of event."""
    panel = _plain_market()
    before = _task(panel, False, variants=1)
    t = 200
    after = _task(noise_after(panel, t - 10), False, variants=1)
    for name in SECTIONS:
        alone = [
            RatingTask(RatingConfig(sections=[name], mask=False), task.panel, task.split) for task in (before, after)
        ]
        same = [e for e in listed(panel, t) if e in listed(after.panel, t)]
        texts = [[task.messages(example)[0]["content"].partition("## ")[2] for example in same] for task in alone]
        assert texts[0] != texts[1], name


def test_what_was_known_at_the_close_is_shown_and_the_second_after_it_is_not() -> None:
    panel = market()
    t = 200
    close = closes(panel.dates_T[t])
    at = some_events(panel, 1, seed=1)[0]
    events = [
        replace(at, known_at=close + np.timedelta64(s, "s"), ticker="PRAC03", kind="news", text=f"text {s}")
        for s in (0, 1)
    ]
    snapshots = Snapshots(replace(panel, events=tuple(events)), mask=False)
    assert [event.text for event in snapshots.at(t, 3).events["texts"]] == ["text 0"]
    assert {event.text for event in snapshots.at(t + 1, 3).events["texts"]} == {"text 0", "text 1"}


def test_tweets_are_in_the_prompts_of_their_days(stocknet: Path) -> None:
    """Every prompt shows exactly the tweets that the file has for its days."""
    panel = _stocknet(stocknet)
    tweets = [event for event in panel.events if event.kind == "tweet" and event.ticker == "AMZN"]
    snapshots = Snapshots(panel, mask=False)
    n = panel.tickers.index("AMZN")
    for day in ("2014-06-09", "2014-11-28", "2015-03-09", "2015-07-06"):
        t = int(np.searchsorted(panel.dates_T, np.datetime64(day)))
        shown = {event.text for event in snapshots.at(t, n).events["texts"] if event.kind == "tweet"}
        first = closes(panel.dates_T[t] - 30) - np.timedelta64(16, "h")
        due = {
            " ".join(event.text.split())
            for event in tweets
            if known(event, panel.dates_T[t]) and event.known_at >= first
        }
        assert {" ".join(text.split()) for text in shown} == due
        assert len(due) > 50
