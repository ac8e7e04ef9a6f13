"""Snapshots: what was known at a close, which names are masked how, and how old an event is."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import every_fact, market, ragged, task_of

from tradeschool.market import features
from tradeschool.market.events.event import Event
from tradeschool.market.panel import Panel
from tradeschool.market.snapshot import Snapshots


def with_events(panel: Panel, *events: Event) -> Panel:
    return replace(panel, events=events)


def test_values_are_the_indicators_of_the_day() -> None:
    panel = market()
    snapshot = Snapshots(panel).at(100, 3)
    for name, value_TN in features.compute(panel).items():
        assert snapshot.values[name] == value_TN[100, 3]
    assert snapshot.values["close"] == panel.close_TN[100, 3]
    assert set(snapshot.values) == {*features.NAMES, "close", "strength_10"}
    assert len(snapshot.values) == len(set(snapshot.values))


def test_unmasked_shows_ticker_date_and_prices() -> None:
    panel = market()
    snapshot = Snapshots(panel, mask=False).at(100, 3)
    assert (snapshot.ticker, snapshot.date) == ("PRAC03", str(panel.dates_T[100]))
    np.testing.assert_array_equal(snapshot.recent["close"], panel.close_TN[86:101, 3])


def test_masked_hides_them() -> None:
    panel = market()
    snapshot = Snapshots(panel).at(100, 3)
    assert snapshot.date == "day 100"
    np.testing.assert_allclose(snapshot.recent["close"] / 100, panel.close_TN[86:101, 3] / panel.close_TN[81, 3])


def test_masked_names_are_one_to_one_shuffled_and_fixed_by_the_seed() -> None:
    panel = market(tickers=12)

    def names(seed: int) -> list[str]:
        return [Snapshots(panel, seed=seed).at(50, n).ticker for n in range(12)]

    assert sorted(names(0)) == sorted(f"Stock {n}" for n in range(1, 13))
    assert names(0) == names(0)
    assert names(0) != names(1)
    assert names(0) != [f"Stock {n}" for n in range(1, 13)]


def test_a_late_listing_shows_the_closes_it_has() -> None:
    panel = ragged()  # column 0 is listed from row 150
    closes = Snapshots(panel).at(155, 0).recent["close"]
    assert len(closes) == 6
    np.testing.assert_allclose(closes / 100, panel.close_TN[150:156, 0] / panel.close_TN[150, 0])
    assert np.isnan(Snapshots(panel).at(100, 0).recent["close"]).all()
    assert len(Snapshots(panel).at(3, 4).recent["close"]) == 4


def test_events_have_their_age_in_trading_days_and_are_forgotten() -> None:
    panel = market()
    panel = with_events(
        panel, Event(panel.dates_T[100], "PRAC03", "news", "Wins"), Event(panel.dates_T[100], None, "m", "Up")
    )
    snapshots = Snapshots(panel)
    assert [[event.age for event in snapshots.at(t, 3).news] for t in (99, 100, 104, 105)] == [[], [0], [4], []]
    assert [[event.age for event in snapshots.at(t, 3).market_news] for t in (99, 100, 129, 130)] == [[], [0], [29], []]
    assert snapshots.at(100, 2).news == ()


def test_newest_events_come_first() -> None:
    panel = market()
    events = [Event(panel.dates_T[t], "PRAC03", "news", f"text of row {t}") for t in (102, 99, 100)]
    texts = [event.text for event in Snapshots(with_events(panel, *events)).at(102, 3).news]
    assert texts == ["text of row 102", "text of row 100", "text of row 99"]


def test_an_event_of_a_day_without_trading_is_known_at_the_next_close() -> None:
    panel = market()
    friday = int(np.flatnonzero(np.diff(panel.dates_T).astype(int) == 3)[20])
    weekend = with_events(panel, Event(panel.dates_T[friday] + 1, "PRAC03", "news", "On Saturday"))
    snapshots = Snapshots(weekend)
    assert snapshots.at(friday, 3).news == ()
    assert [event.age for event in snapshots.at(friday + 1, 3).news] == [0]
    beyond = with_events(panel, Event(panel.dates_T[-1] + 5, "PRAC03", "news", "After the last day"))
    assert Snapshots(beyond).at(399, 3).news == ()


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("PRAC03 beats PRAC04", "{3} beats {4}"),
        ("($PRAC03) up", "({3}) up"),
        ("XPRAC03 and PRAC030", "XPRAC03 and PRAC030"),
        ("PRAC03's lawsuit, PRAC03: sold", "{3}'s lawsuit, {3}: sold"),
    ],
)
def test_tickers_inside_events_are_masked_as_whole_words(text: str, template: str) -> None:
    panel = market()
    panel = with_events(panel, Event(panel.dates_T[100], "PRAC03", "news", text))
    names = {n: Snapshots(panel).at(100, n).ticker for n in range(6)}
    expected = re.sub(r"\{(\d)\}", lambda found: names[int(found[1])], template)
    assert Snapshots(panel).at(100, 3).news[0].text == expected
    assert Snapshots(panel, mask=False).at(100, 3).news[0].text == text


def test_tickers_that_contain_each_other_or_signs_are_masked_whole() -> None:
    panel = replace(market(tickers=4), tickers=("BRK", "BRK.B", "^GSPC", "A"))
    panel = with_events(panel, Event(panel.dates_T[50], "BRK", "news", "BRK.B, BRK and A"))
    names = [Snapshots(panel).at(50, n).ticker for n in range(4)]
    assert Snapshots(panel).at(50, 0).news[0].text == f"{names[1]}, {names[0]} and {names[3]}"


@settings(max_examples=60)
@given(t=st.integers(0, 399), n=st.integers(0, 5))
def test_masked_prompts_show_no_ticker_date_or_price(t: int, n: int) -> None:
    """With all facts, at any date, including days without a bar and the warm-up."""
    task = _RAGGED
    shown = json.dumps(task.messages(task.example_at(t, n)))
    for ticker in task.panel.tickers:
        assert ticker not in shown
    assert not re.search(r"\b(19|20)\d\d\b|\d\d-\d\d", shown)
    for price in (task.panel.close_TN, task.panel.open_TN, task.panel.high_TN, task.panel.low_TN):
        if np.isfinite(price[t, n]):
            assert not re.search(rf"(?<![\d.]){price[t, n]:.2f}(?!\d)", shown)
            assert not re.search(rf"(?<![\d.]){price[t, n]:.1f}(?![\d%])(?! \()", shown)


_RAGGED = every_fact(ragged())


def test_masked_prompts_do_not_depend_on_the_level_of_prices() -> None:
    """Prices in another currency and shifted by ten years, tickers renamed: the same prompts."""
    panel = market()
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN") * 8.0 for name in ("open", "high", "low", "close")}
    events = tuple(
        replace(event, known_at=event.known_at + 3652, ticker=event.ticker and event.ticker.replace("PRAC", "T"))
        for event in panel.events
    )
    moved = replace(
        panel, dates_T=panel.dates_T + 3652, events=events, tickers=tuple(f"T0{n}" for n in range(6)), **bars
    )
    here, there = every_fact(panel), every_fact(moved)
    for t in range(36, 400, 31):
        for n in range(6):
            assert here.messages(here.example_at(t, n)) == there.messages(there.example_at(t, n))


def test_unmasked_prompts_show_them() -> None:
    task = every_fact(market(), mask=False)
    shown = task.messages(task.example_at(200, 2))[0]["content"]
    assert "Stock: PRAC02" in shown
    assert f"Date: {task.panel.dates_T[200]}" in shown


def test_strength_is_the_return_above_the_market_in_own_volatilities() -> None:
    panel = market()
    volatility = features.volatility_TN(panel)
    closes = np.log(panel.close_TN)
    gained = closes[100] - closes[90]
    expected = (gained - gained.mean()) / (volatility[100] * np.sqrt(10))
    np.testing.assert_allclose(features.strength_TN(panel, volatility)[100], expected)
    assert np.isnan(features.strength_TN(panel, volatility)[:20]).all()


def test_strength_leaves_missing_tickers_out_of_the_market() -> None:
    panel = ragged()
    closes = np.log(panel.close_TN)
    gained = (closes[140] - closes[130])[1:]  # column 0 is not listed yet
    volatility = features.volatility_TN(panel)
    found = features.strength_TN(panel, volatility)[140]
    assert np.isnan(found[0])
    np.testing.assert_allclose((found * volatility[140])[[1, 4, 5]] * np.sqrt(10), (gained - gained.mean())[[0, 3, 4]])


def test_a_single_ticker_is_compared_with_nothing() -> None:
    panel = market(tickers=2)
    alone = replace(
        panel, tickers=panel.tickers[:1], events=(), true_alpha_TN=None,
        **{f"{name}_TN": getattr(panel, f"{name}_TN")[:, :1] for name in ("open", "high", "low", "close", "volume")},
    )  # fmt: skip
    volatility = features.volatility_TN(alone)
    closes = np.log(alone.close_TN)
    expected = (closes[100] - closes[90]) / (volatility[100] * np.sqrt(10))
    np.testing.assert_allclose(features.strength_TN(alone, volatility)[100], expected)


def test_a_price_that_never_moves_has_no_strength() -> None:
    panel = market()
    flat = {f"{name}_TN": getattr(panel, f"{name}_TN").copy() for name in ("open", "high", "low", "close")}
    for bar_TN in flat.values():
        bar_TN[:, 0] = 5.0
    still = replace(panel, **flat)
    assert np.isnan(features.strength_TN(still, features.volatility_TN(still))[:, 0]).all()
    assert "Strength unknown" in (task := task_of(still)).messages(task.example_at(100, 0))[0]["content"]
