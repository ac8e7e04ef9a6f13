"""Advice: each sentence where it belongs, and silence where nothing looks wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
from markets import market

from tradeschool.evaluate.result import Interval
from tradeschool.market.notes.note import Note
from tradeschool.prepare.advice import advice
from tradeschool.prepare.overview_table import luck
from tradeschool.prepare.parts import Part
from tradeschool.prepare.presence import Presence, note_kinds
from tradeschool.prepare.relation import Relation, Relations

DATES = tuple(str(day) for day in np.arange("2010-01-01", "2014-01-01", dtype="datetime64[D]"))


def made_up(*rows: tuple[float, float, float, float], dates: int = 500) -> Relations:
    """Rows of (IC, low, high, adjusted p)."""
    listed = [Relation(f"f{k}", Interval(value=v, low=low, high=h), p, dates) for k, (v, low, h, p) in enumerate(rows)]
    return Relations(listed, (5,), True, dates, 6, 2000)


def whole(ticker: str = "A", **changes: Any) -> Presence:
    full = Presence(ticker, DATES[0], DATES[-1], len(DATES), 0, 0, ((0, len(DATES) - 1),))
    return replace(full, **changes)


def part(name: str, rows: tuple[int, int], *labels: int) -> Part:
    names = ("SELL", "HOLD", "BUY")
    counts = dict(zip(names, labels, strict=True))
    return Part(name, rows, DATES[rows[0]], DATES[rows[1]], rows[1] - rows[0] + 1, sum(labels), counts, 0)


PARTS = (part("train", (0, 800), 20, 50, 30), part("validation", (820, 900), 20, 50, 30))
GONE = whole("GONE", last=DATES[-2], bars=len(DATES) - 1, runs=((0, len(DATES) - 2),))


def advised(**changes: Any) -> str:
    given: dict[str, Any] = {"tickers": [whole(), GONE], "calendar": None, "notes": [], "parts": PARTS}
    given |= {"relations": made_up()} | changes
    return "\n".join(
        advice(DATES, *(given.pop(k) for k in ("tickers", "calendar", "notes", "parts", "relations")), **given)
    )


def test_a_market_in_order_needs_no_advice() -> None:
    assert advised() == ""


def test_short_holed_and_unseen_tickers_are_named() -> None:
    short = whole("FB", bars=196, runs=((1200, 1395),), first=DATES[1200])
    assert "Too short a history: FB (196 bars)" in advised(tickers=[whole(), GONE, short])
    assert "No bar in the training part: FB." in advised(tickers=[whole(), GONE, short])
    holed = whole("H", bars=900, missing=100)
    assert "Many days missing between the first and the last: H (100 of 1000 days)" in advised(tickers=[GONE, holed])
    many = [whole(f"T{i}", bars=10) for i in range(8)]
    assert "T4 (10 bars) and 3 more" in advised(tickers=[GONE, *many])


def test_survivors_are_told_on_real_markets_only() -> None:
    tickers = [whole(f"T{i}") for i in range(5)]
    assert "survivorship" in advised(tickers=tickers)
    assert "survivorship" not in advised(tickers=tickers, real=False)
    assert "survivorship" not in advised(tickers=[*tickers, GONE])


def test_labels_that_moved_are_told_with_both_shares() -> None:
    moved = (PARTS[0], part("validation", (820, 900), 20, 44, 36), part("test", (920, 1400), 20, 40, 40))
    said = advised(parts=moved)
    assert "validation HOLD 44% (train 50%), validation BUY 36% (train 30%), test HOLD 40%" in said
    assert "SELL 20%" not in said
    assert "No training question has the class SELL" in advised(parts=(part("train", (0, 800), 0, 50, 30),))


def test_notes_that_miss_a_part_are_told() -> None:
    panel = replace(market(days=200), notes=(Note(np.datetime64("2010-05-05", "D"), "A", "tweet", "x"),))
    said = advised(notes=note_kinds(panel))
    assert "Notes of kind tweet reach from 2010-05-05 to 2010-05-05: none of them falls into validation." in said


def test_few_dates_are_told() -> None:
    assert "Only 60 training dates have an outcome" in advised(relations=made_up(dates=60))


def test_luck_is_counted_beside_what_was_found() -> None:
    rows = [(0.05, 0.02, 0.08, 0.01), (-0.03, -0.05, -0.01, 0.3), *[(0.0, -0.1, 0.1, 1.0)] * 38]
    assert luck(made_up(*rows)) == (
        "On train, 2 of 40 features have an interval that leaves zero out; about 2 would by luck alone. "
        "Allowing for their number (Holm), 1 does."
    )
    assert luck(made_up(*rows[1:])).endswith("Allowing for their number (Holm), none do.")
