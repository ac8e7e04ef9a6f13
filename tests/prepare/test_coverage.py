"""Coverage (runs and gaps, exchange calendars, events by month, labels by split part), and the warnings."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markets import market, ragged, task_of

from tradeschool.market.events.event import Event
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.prepare.coverage import (
    Overview,
    SplitPart,
    TickerCoverage,
    calendar_difference,
    event_kinds,
    split_parts,
    ticker_coverage,
)
from tradeschool.prepare.feature_ic import FeatureICs

TWO = market(tickers=2, days=220)


@given(st.lists(st.booleans(), min_size=220, max_size=220))
def test_runs_are_the_bars_and_what_lies_between_them_is_missing(listed: list[bool]) -> None:
    keep_TN = np.column_stack([np.ones(220, dtype=bool), listed])
    bars: dict[str, Any] = {f"{name}_TN": np.where(keep_TN, getattr(TWO, f"{name}_TN"), np.nan) for name in FIELDS}
    ticker = ticker_coverage(replace(TWO, **bars))[1]
    covered = [t for first, last in ticker.runs for t in range(first, last + 1)]
    assert covered == np.flatnonzero(listed).tolist()
    assert ticker.bars == sum(listed)
    if covered:
        assert ticker.span == covered[-1] - covered[0] + 1
        assert ticker.longest_gap == max(np.diff(covered), default=1) - 1
        assert ticker.first == str(TWO.dates_T[covered[0]])
        assert ticker.last == str(TWO.dates_T[covered[-1]])
    else:
        assert (ticker.first, ticker.missing, ticker.runs) == ("", 0, ())


def test_an_exchange_calendar_separates_holes_from_holidays() -> None:
    pytest.importorskip("pandas_market_calendars")
    # 3 July was a holiday, 8 July is a hole, 11 July was a Saturday.
    weekdays = np.arange("2015-06-29", "2015-07-18", dtype="datetime64[D]")
    weekdays = weekdays[np.is_busday(weekdays, holidays=["2015-07-03", "2015-07-08"])]
    dates_T = np.sort(np.append(weekdays, np.datetime64("2015-07-11")))
    ones = np.ones((len(dates_T), 1))
    panel = Panel(dates_T, ("A",), ones, ones, ones, ones, ones)
    assert calendar_difference(panel, "nyse") == (["2015-07-08"], ["2015-07-11"])
    assert ticker_coverage(panel)[0].missing == 0
    assert ticker_coverage(panel, "NYSE")[0].missing == 1


def test_events_are_counted_by_kind() -> None:
    days = np.array(["2014-01-30", "2014-01-31", "2014-03-02"], dtype="datetime64[D]")
    events = [Event(day, ticker, "tweet", "x") for day in days for ticker in ("A", "B")]
    evening = np.datetime64("2014-02-03T22:00:00", "s")
    panel = replace(market(days=200), events=(*events, Event(evening, None, "macro", fields={"CPI": 2.0})))
    tweets, macro = event_kinds(panel.events)
    assert (tweets.kind, tweets.count, tweets.tickers) == ("tweet", 6, 2)
    assert (tweets.first, tweets.last) == ("2014-01-30", "2014-03-02")
    assert (macro.kind, macro.tickers) == ("macro", 0)


def test_labels_are_those_of_the_questions_of_each_part() -> None:
    task = task_of(ragged())
    for part in split_parts(task.panel, task):
        examples = task.examples(part.name)  # type: ignore[arg-type]
        values = np.array([task.label_TN[e.t, e.n] for e in examples])
        assert part.questions == len(examples)
        assert part.unlabelled == np.isnan(values).sum()
        assert list(part.labels.values()) == [int((values == rating).sum()) for rating in (-2, -1, 0, 1, 2)]
        assert list(part.labels) == list(task.action_names)
        assert part.rows == (task.rows(part.name)[0], task.rows(part.name)[-1])  # type: ignore[arg-type]
        assert part.first == str(task.panel.dates_T[part.rows[0]])


def test_train_has_the_shares_that_the_cuts_were_fitted_to() -> None:
    task = task_of(market(tickers=12))
    train = split_parts(task.panel, task)[0]
    assert [train.share(label) for label in train.labels] == pytest.approx([0.03, 0.12, 0.38, 0.32, 0.15], abs=0.005)


# warnings

DATES = tuple(str(day) for day in np.arange("2010-01-01", "2014-01-01", dtype="datetime64[D]"))


def whole(ticker: str = "A", **changes: Any) -> TickerCoverage:
    full = TickerCoverage(ticker, DATES[0], DATES[-1], len(DATES), 0, 0, ((0, len(DATES) - 1),))
    return replace(full, **changes)


def part(name: str, rows: tuple[int, int], *labels: int) -> SplitPart:
    names = ("SELL", "HOLD", "BUY")
    counts = dict(zip(names, labels, strict=True))
    return SplitPart(name, rows, DATES[rows[0]], DATES[rows[1]], rows[1] - rows[0] + 1, sum(labels), counts, 0)


PARTS = (part("train", (0, 800), 20, 50, 30), part("validation", (820, 900), 20, 50, 30))
GONE = whole("GONE", last=DATES[-2], bars=len(DATES) - 1, runs=((0, len(DATES) - 2),))


def warned(**changes: Any) -> str:
    given: dict[str, Any] = {"tickers": [whole(), GONE], "events": [], "parts": PARTS}
    return "\n".join(Overview("market", "hash", DATES, **(given | changes)).warnings)


def test_a_market_without_problems_has_no_warnings() -> None:
    assert warned() == ""


def test_short_holed_and_unseen_tickers_are_named() -> None:
    short = whole("FB", bars=196, runs=((1200, 1395),), first=DATES[1200])
    assert "FB (196 bars)" in warned(tickers=[whole(), GONE, short])
    assert "training part: FB." in warned(tickers=[whole(), GONE, short])
    holed = whole("H", bars=900, missing=100)
    assert "H (100 of 1000 days)" in warned(tickers=[GONE, holed])
    many = [whole(f"T{i}", bars=10) for i in range(8)]
    assert "T4 (10 bars) and 3 more" in warned(tickers=[GONE, *many])


def test_survivorship_is_reported_on_real_markets_only() -> None:
    tickers = [whole(f"T{i}") for i in range(5)]
    assert "Survivorship" in warned(tickers=tickers)
    assert "Survivorship" not in warned(tickers=tickers, real=False)
    assert "Survivorship" not in warned(tickers=[*tickers, GONE])


def test_label_shares_that_moved_are_reported_with_both_shares() -> None:
    moved = (PARTS[0], part("validation", (820, 900), 20, 44, 36), part("test", (920, 1400), 20, 40, 40))
    found = warned(parts=moved)
    assert "validation HOLD 44% (train 50%), validation BUY 36% (train 30%), test HOLD 40%" in found
    assert "SELL 20%" not in found
    assert "class SELL" in warned(parts=(part("train", (0, 800), 0, 50, 30),))


def test_events_that_miss_a_part_are_reported() -> None:
    panel = replace(market(days=200), events=(Event(np.datetime64("2010-05-05", "D"), "A", "tweet", "x"),))
    found = warned(events=event_kinds(panel.events))
    assert "tweet cover 2010-05-05 to 2010-05-05, but not validation" in found


def test_few_dates_are_reported() -> None:
    assert "60 training dates" in warned(feature_ics=FeatureICs([], (5,), True, 60, 15))
    assert warned(feature_ics=FeatureICs([], (5,), True, 500, 15)) == ""
