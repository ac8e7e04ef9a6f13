"""Sections of a prompt: news by age, rows, tables, variants, and what masking hides in numbers."""

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market, ragged

from tradeschool.market.events.event import Event
from tradeschool.market.panel import Panel
from tradeschool.market.snapshot import Snapshot, Snapshots
from tradeschool.text.sections import (
    BUCKETS,
    MAX_CHARACTERS,
    SECTIONS,
    section,
    sections,
)

T = 200


@cache
def plain() -> Panel:
    return replace(market(tickers=2), events=())


def snapshot(*events: Event, t: int = T, mask: bool = True, panel: Panel | None = None) -> Snapshot:
    return Snapshots(replace(panel or plain(), events=events), mask=mask).at(t, 1)


def old(days: int, text: str = "", kind: str = "news", ticker: str | None = "PRAC01", **fields: Any) -> Event:
    """An event this many calendar days before the date of the snapshot."""
    date = plain().dates_T[T].astype("datetime64[D]")
    return Event(date - days, ticker, kind, text, fields=fields)


def lines(name: str, shown: Snapshot, draw: np.random.Generator | None = None) -> list[str]:
    title, *rest = section(name, shown, draw).split("\n")
    assert title.startswith("## ")
    return rest


# news ------------------------------------------------------------------------------------------------


def test_the_papers_buckets_and_caps() -> None:
    assert [bucket[1:] for bucket in BUCKETS] == [(0, 3, 10), (4, 10, 20), (11, 30, 20)]


@pytest.mark.parametrize(
    ("days", "bucket"),
    [(0, "0-3"), (3, "0-3"), (4, "4-10"), (10, "4-10"), (11, "11-30"), (30, "11-30"), (31, None), (400, None)],
)
def test_news_is_in_the_bucket_of_its_age(days: int, bucket: str | None) -> None:
    got = lines("news", snapshot(old(days, "it happened")))
    age = "today" if days == 0 else f"{days}d ago"
    assert got == ([f"{bucket} days old:", f"- {age}: it happened"] if bucket else ["nothing known"])


def many(seed: int, count: int = 300) -> list[Event]:
    rng = np.random.default_rng(seed)
    return [old(int(days), f"text {i}") for i, days in enumerate(rng.integers(-5, 45, count))]


def news_of(got: list[str]) -> dict[str, list[tuple[int, str]]]:
    """Age and text of every news line by its bucket."""
    found: dict[str, list[tuple[int, str]]] = {}
    bucket = ""
    for line in got:
        if match := re.fullmatch(r"- (today|(\d+)d ago): (.*)", line):
            found.setdefault(bucket, []).append((int(match[2] or 0), match[3]))
        else:
            bucket = re.split(r" days old", line)[0]
    return found


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), draw=st.none() | st.integers(0, 1000), count=st.integers(0, 300))
def test_news_under_the_caps_newest_first_and_only_what_is_known(seed: int, draw: int | None, count: int) -> None:
    events = many(seed, count)
    date = plain().dates_T[T].astype("datetime64[D]")
    ages = {event.text: (date - event.known_at).astype(int) for event in events}
    found = news_of(lines("news", snapshot(*events), None if draw is None else np.random.default_rng(draw)))
    for title, first, last, most in BUCKETS:
        shown = found.pop(title.removesuffix(" days old"), [])
        inside = [text for text, age in ages.items() if first <= age <= last]
        assert len(shown) == min(most, len(inside))
        assert all(ages[text] == age for age, text in shown)
        assert [age for age, _ in shown] == sorted(age for age, _ in shown)
        assert {text for _, text in shown} <= set(inside)
        if draw is None and inside:
            newest = sorted(ages[text] for text in inside)[: len(shown)]
            assert [age for age, _ in shown] == newest
    assert found.keys() <= {"nothing known"}


def test_a_draw_samples_from_all_the_news_of_a_bucket() -> None:
    shown = snapshot(*[old(5, f"text {i}") for i in range(40)])
    counts = Counter(text for seed in range(100) for text in lines("news", shown, np.random.default_rng(seed))[1:])
    assert len(counts) == 40
    assert all(25 < count < 75 for count in counts.values())  # half of a hundred


def test_no_news_is_shown_twice() -> None:
    events = [old(days, "again and again") for days in range(40)]
    assert lines("news", snapshot(*events)) == ["0-3 days old:", "- today: again and again"]


def test_cut_buckets_say_how_many_there_are() -> None:
    assert lines("news", snapshot(*[old(1, f"text {i}") for i in range(14)]))[0] == "0-3 days old (10 of 14):"


def test_news_are_of_the_ticker_and_market_texts_have_their_own_section() -> None:
    shown = snapshot(
        old(1, "ours"), old(1, "other", ticker="PRAC00"), old(1, "all", ticker=None), old(2, "row", "insider")
    )
    assert lines("news", shown) == ["0-3 days old:", "- 1d ago: ours"]
    assert lines("market", shown) == ["- 1d ago: all"]
    assert lines("insider", shown) == ["- 2d ago: row"]


def test_long_texts_are_cut() -> None:
    (_, got) = lines("news", snapshot(old(1, "word " * 400)))
    assert len(got) == MAX_CHARACTERS + len("- 1d ago: ")
    assert got.endswith("...")


# rows ------------------------------------------------------------------------------------------------


def test_descriptions_are_not_news_and_reveal_a_masked_company() -> None:
    event = old(40, "Makes phones in Cupertino.", "company")
    assert lines("news", snapshot(event)) == ["nothing known"]
    assert lines("company", snapshot(event)) == ["not shown, because it would tell which company this is"]
    assert lines("company", snapshot(event, mask=False)) == ["Makes phones in Cupertino."]
    assert lines("company", snapshot()) == ["nothing known"]


@pytest.mark.parametrize(("kind", "days", "most"), [("fundamentals", 550, 2), ("insider", 90, 20), ("analyst", 90, 20)])
def test_rows_look_back_a_fixed_number_of_days(kind: str, days: int, most: int) -> None:
    assert lines(kind, snapshot(old(days, "row", kind))) == [f"- {days}d ago: row"]
    assert lines(kind, snapshot(old(days + 1, "row", kind))) == ["nothing known"]
    got = lines(kind, snapshot(*[old(i, f"row {i}", kind) for i in range(30)]))
    assert len(got) == most
    assert got[:2] == ["- today: row 0", "- 1d ago: row 1"]


def test_fundamentals_are_compared_with_the_year_before() -> None:
    years = [old(400, kind="fundamentals", revenue=1e9), old(35, kind="fundamentals", revenue=1.2e9, net_income=0.3e9)]
    assert lines("fundamentals", snapshot(*years)) == [
        "- 35d ago: revenue +20% on the row before, net income 25% of revenue"
    ]


def test_macro_shows_the_newest_of_each_series_and_the_one_before() -> None:
    rows = [old(days, kind="macro", ticker=None, name=name, value=value)
            for days, name, value in ((5, "CPI", 2.1), (35, "CPI", 2.0), (65, "CPI", 1), (9, "GDP", 0.5))]  # fmt: skip
    assert lines("macro", snapshot(*rows)) == [
        "- 5d ago: name CPI, value 2.1; before: name CPI, value 2", "- 9d ago: name GDP, value 0.5",
    ]  # fmt: skip


def test_masked_rows_show_no_date() -> None:
    shown = snapshot(old(40, "for the year to 2009-12-31", "fundamentals", period_end="2009-12-31", fiscal_year=2009.0))
    (got,) = lines("fundamentals", shown)
    days = (plain().dates_T[T].astype("datetime64[D]") - np.datetime64("2009-12-31")).astype(int)
    assert got == f"- 40d ago: for the year to [date] | period end {days} days ago, fiscal year last year"


# tables ----------------------------------------------------------------------------------------------


def test_tables_show_fifteen_days_and_do_not_reveal_the_level_of_prices_or_volumes() -> None:
    panel = plain()
    bars: dict[str, Any] = {
        f"{name}_TN": getattr(panel, f"{name}_TN") * 8.0 for name in ("open", "high", "low", "close", "volume")
    }
    for name in ("prices", "indicators", "statistics"):
        here, there = lines(name, snapshot()), lines(name, snapshot(panel=replace(panel, **bars)))
        assert here == there
    prices = lines("prices", snapshot())
    assert prices[0] == "day: open, high, low, close, volume in % of these days' mean"
    assert [line.split(":")[0] for line in prices[1:]] == [f"{i:+d}" for i in range(-14, 1)]
    volumes = [float(line.rsplit(", ", 1)[1]) for line in prices[1:]]
    assert np.mean(volumes) == pytest.approx(100, abs=0.1)


def test_unmasked_tables_show_what_was_traded() -> None:
    panel = plain()
    got = lines("prices", snapshot(mask=False))
    assert got[0] == "day: open, high, low, close, volume"
    assert got[-1].split(", ")[-2] == f"{panel.close_TN[T, 1]:.4g}"


def test_statistics_show_when() -> None:
    closes = Snapshots(plain(), mask=False).at(T, 1).recent["close"][-10:]
    got = lines("statistics", snapshot(mask=False))
    back = 9 - int(np.argmin(closes))
    assert got[0] == f"min {closes.min():.4g}, {'today' if back == 0 else f'{back}d ago'}"


@pytest.mark.parametrize("name", SECTIONS)
def test_an_empty_section_says_so(name: str) -> None:
    """Row 100 of a ticker that is listed from row 150 on."""
    shown = Snapshots(replace(ragged(), events=())).at(100, 0)
    assert lines(name, shown) == ["nothing known"]


def test_days_without_a_bar_are_left_out() -> None:
    got = lines("prices", Snapshots(replace(ragged(), events=())).at(264, 2))
    assert [line.split(":")[0] for line in got[1:]] == [f"{i:+d}" for i in range(-14, 1)]
    assert not any("-" in line.split(": ")[1] for line in got[1:])


# variants --------------------------------------------------------------------------------------------


def everything() -> Snapshot:
    rng = np.random.default_rng(3)
    rows = [old(int(rng.integers(-10, 100)), f"{kind} {i}", kind, None if kind == "macro" else "PRAC01", value=float(i))
            for i, kind in enumerate(["insider", "analyst", "fundamentals", "macro"] * 30)]  # fmt: skip
    return snapshot(*many(5), *rows)


def test_the_same_seed_gives_the_same_variant_and_others_differ() -> None:
    shown = everything()
    variants = [sections(shown, SECTIONS, np.random.default_rng([0, i])) for i in range(20)]
    assert variants == [sections(shown, SECTIONS, np.random.default_rng([0, i])) for i in range(20)]
    assert len(set(variants)) == 20


def test_variants_shuffle_and_drop_sections_but_the_first() -> None:
    shown = everything()
    orders, kept = set(), Counter[str]()
    for i in range(200):
        titles = re.findall("^## (.*)", sections(shown, SECTIONS, np.random.default_rng(i)), re.MULTILINE)
        assert len(titles) == len(set(titles))
        orders.add(tuple(titles))
        kept.update(titles)
    assert len(orders) > 190
    assert kept["Prices"] == 200
    assert len(kept) == len(SECTIONS)
    assert all(130 < count < 190 for title, count in kept.items() if title != "Prices")  # four fifths


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_no_variant_shows_what_is_not_known(seed: int) -> None:
    """Every line of a variant is in the whole prompt, or is known news that the caps leave out of it."""
    shown = everything()
    date = plain().dates_T[T].astype("datetime64[D]")
    known = {f"- {'today' if age == 0 else f'{age}d ago'}: {event.text}" for event in many(5)
             if 0 <= (age := int((date - event.known_at).astype(int))) <= 30}  # fmt: skip
    whole = set(sections(shown, SECTIONS).split("\n")) | known
    for line in sections(shown, SECTIONS, np.random.default_rng(seed)).split("\n"):
        assert line in whole or re.fullmatch(r"(0-3|4-10|11-30) days old( \(\d+ of \d+\))?:", line)


def test_without_a_generator_all_sections_keep_their_order() -> None:
    shown = everything()
    names = list(reversed(SECTIONS))
    assert sections(shown, names) == "\n\n".join(section(name, shown) for name in names)
