"""Numbers and fields in prompts: short, and if masked, without company size, price level or people."""

import json
import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markets import market

from tradeschool.market.events.archive import KnownEvent
from tradeschool.market.events.read import read_events
from tradeschool.market.snapshot import Snapshot, Snapshots
from tradeschool.text.sections import (
    event_text,
    format_number,
    trend_word,
)


@cache
def snapshot(mask: bool) -> Snapshot:
    return Snapshots(market(tickers=2), mask=mask).at(200, 1)


def row(kind: str, text: str = "", /, **fields: Any) -> KnownEvent:
    return KnownEvent(text, 0, 3, kind, "", tuple(fields.items()))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"), (1234.5, "1234"), (-0.12345, "-0.1235"), (12345, "12.35k"), (-5.5e6, "-5.5m"), (394.3e9, "394.3bn"),
        (2.5e12, "2500bn"), (math.nan, "-"), (math.inf, "-"), (1e-9, "1e-09"), (9999, "9999"), (1e4, "10k"),
    ],
)  # fmt: skip
def test_format_number(value: float, expected: str) -> None:
    assert format_number(value) == expected


@pytest.mark.parametrize(
    ("slope", "mean", "word"),
    [(0.2, 100, "up"), (0.05, 100, "flat"), (-0.1, 100, "down"), (1, 0, "flat"), (-1, -10, "down")],
)
def test_trends(slope: float, mean: float, word: str) -> None:
    assert trend_word(slope, mean) == word


def test_unmasked_rows_show_everything() -> None:
    event = row("insider", "Form 4", insider="Tim Cook", shares=50123.0, price=172.25, date="2014-03-31")
    assert (
        event_text(snapshot(False), event) == "Form 4 | insider Tim Cook, shares 50.12k, price 172.2, date 2014-03-31"
    )
    event = row("fundamentals", total_revenue=394.3e9, eps=6.1)
    assert event_text(snapshot(False), event) == "total revenue 394.3bn, eps 6.1"


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e-9, 88.0])
def test_masked_fundamentals_are_shares_of_revenue_in_any_unit(unit: float) -> None:
    """Also if the file is in millions, so that amounts are small numbers."""
    year = {"total_revenue": 110e9 * unit, "net_income": 22e9 * unit, "employees": 147_000.0 * unit}
    before = row("fundamentals", total_revenue=100e9 * unit)
    event = row("fundamentals", gross_margin=0.43, price_to_book=4.5, return_on_equity=0.3, **year)
    assert event_text(snapshot(True), event, [before]) == (
        "gross margin 0.43, price to book 4.5, return on equity 0.3, total revenue +10% on the row before, "
        "net income 20% of revenue, employees 0.000134% of revenue"
    )
    assert "revenue" not in event_text(snapshot(True), row("fundamentals", total_revenue=110e9 * unit))


def test_masked_amounts_without_revenue_are_changes_or_nothing() -> None:
    event = row("fundamentals", net_income=-5e6, assets=2e9)
    assert event_text(snapshot(True), event) == ""
    earlier = [row("fundamentals", assets=1e9), row("fundamentals", assets=8e9, net_income=-10e6)]
    assert (
        event_text(snapshot(True), event, earlier)
        == "net income +50% on the row before, assets +100% on the row before"
    )


def test_masked_prices_are_rebased_like_the_stocks_prices() -> None:
    shown = snapshot(True)
    scale = shown.scale
    event = row("analyst", firm="Broker", rating="buy", target=50.0, previous_target=40.0, eps_estimate=2.0)
    assert event_text(shown, event) == (
        f"firm Broker, rating buy, target {format_number(50 * scale)}, previous target {format_number(40 * scale)}, "
        f"eps estimate {format_number(2 * scale)}"
    )
    assert (
        event_text(shown, row("fundamentals", book_value_per_share=10.0))
        == f"book value per share {format_number(10 * scale)}"
    )
    assert event_text(shown, row("analyst", revenue_estimate=90e9, analysts=12.0)) == "analysts 12"


def test_masked_insiders_trade_shares_of_a_day() -> None:
    shown = snapshot(True)
    volume, turnover = (
        float(np.nanmean(values))
        for values in (shown.recent["volume"], shown.recent["volume"] * shown.recent["close"] / shown.scale)
    )
    event = row("insider", shares=volume / 2, value=turnover / 4, shares_owned=30 * volume)
    assert event_text(shown, event) == (
        "shares 50% of a day's volume, value 25% of a day's turnover, shares owned 3e+03% of a day's volume"
    )
    silent = replace(shown, recent={"volume": np.full(15, np.nan), "close": shown.recent["close"]})
    assert event_text(silent, event) == ""


def test_masked_rows_name_no_person() -> None:
    text = "Timothy D. Cook sold shares; Cook, Tim gave some away. Cooking on."
    event = row("insider", text, insider="COOK TIMOTHY D", owner_name="Cook", title="CEO", company_name="Stock 4")
    assert event_text(snapshot(True), event) == (
        "[person] sold shares; [person], Tim gave some away. Cooking on. | title CEO, company name Stock 4"
    )
    assert event_text(snapshot(True), row("analyst", analyst="Toni S", firm="B")) == "firm B"
    assert event_text(snapshot(True), row("macro", name="CPI", value=2.5)) == "name CPI, value 2.5"


def test_masked_texts_with_digits_are_amounts_unless_they_are_ages_or_forms() -> None:
    event = row(
        "fundamentals", market_cap="2.5T", period_end="77 days ago", fiscal_year="2 years ago", form="10-K", rank="high"
    )
    assert event_text(snapshot(True), event) == "period end 77 days ago, fiscal year 2 years ago, form 10-K, rank high"


NAMES = st.sampled_from(["net_income", "total_assets", "revenue", "shares", "value", "change_in_cash",
                         "shares_outstanding", "payments_to_acquire", "return_of_capital",
                         "yield_reserve", "price", "eps"])  # fmt: skip


@given(
    kind=st.sampled_from(["fundamentals", "insider", "analyst", "news"]),
    fields=st.dictionaries(NAMES, st.floats(1e5, 1e13), min_size=1),
)
def test_no_masked_amount_is_shown(kind: str, fields: dict[str, float]) -> None:
    event = event_text(snapshot(True), row(kind, **fields))
    for name, value in fields.items():
        for expected in re.findall(rf"(?:^|, ){name.replace('_', ' ')} ([^,]*)", event):
            assert "%" in expected or name in ("price", "eps")
            assert format_number(value) != expected


@given(
    fields=st.dictionaries(NAMES, st.floats() | st.text(max_size=5), max_size=5),
    kind=st.sampled_from(["insider", "macro", "x"]),
)
def test_any_row_can_be_shown(fields: dict[str, Any], kind: str) -> None:
    for mask in (False, True):
        assert isinstance(event_text(snapshot(mask), row(kind, **fields), [row(kind, **fields)]), str)


ROW = {"ticker": "PRAC00", "known_at": "2011-03-01", "kind": "fundamentals"}
PEOPLE = ["insider", "person", "owner", "filer", "analyst", "ceo", "cfo", "executive", "director", "author",
          "owner_name", "analyst_name", "reporting_name", "name"]  # fmt: skip
PER_SHARE = ["reported_bvps", "reported_dps", "reported_eps", "price_per_share", "book_value_per_share",
             "target_price", "price_target", "diluted_eps"]  # fmt: skip
RATIOS = ["gross_margin", "pe_ratio", "price_to_book", "dividend_yield", "beta", "revenue_growth", "return_on_equity"]
COUNTS = [f"total_{word}" for word in ("shares", "quantity", "volume", "units", "options")] + ["shares_owned"]
MONEY = ["net_income", "total_assets", "market_cap", "long_term_debt"]


def spellings(name: str) -> list[str]:
    words = name.split("_")
    title = [word.title() for word in words]
    return [words[0] + "".join(title[1:]), "".join(title), " ".join(title), f" {'-'.join(words)} "]


def shown(folder: Path, fields: dict[str, Any], inside: bool, **row: Any) -> str:
    """What a masked prompt shows of a row of a file."""
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({**ROW, **row, **({"fields": fields} if inside else fields)}))
    (event,) = read_events(path).events
    return event_text(snapshot(True), KnownEvent(event.text, 3, 4, event.kind, fields=tuple(event.fields.items())))


@pytest.mark.parametrize("kind", ["fundamentals", "insider", "analyst"])
@pytest.mark.parametrize(
    ("names", "value"),
    [(PEOPLE, "Smith John"), (PER_SHARE, 123.0), (RATIOS, 0.25), (COUNTS, 5e6), (MONEY, 5e9)],
    ids=["people", "per share", "ratios", "counts", "money"],
)
def test_masking_hides_the_same_in_every_spelling(tmp_path: Path, names: list[str], value: Any, kind: str) -> None:
    for name in names:
        texts = {"text": "Smith says so"}
        expected = shown(tmp_path, {name: value, "total_revenue": 1e9}, False, kind=kind, **texts)
        assert "Smith" not in expected or not isinstance(value, str)
        for spelt in spellings(name):
            for inside in (False, True):
                event = {spelt: value, "total_revenue": 1e9}
                assert shown(tmp_path, event, inside, kind=kind, **texts) == expected, spelt


@pytest.mark.parametrize("revenue", ["revenue", "total_revenue", "operating_revenue", "net_sales"])
def test_fundamentals_are_in_percent_of_a_revenue_in_any_spelling(tmp_path: Path, revenue: str) -> None:
    for spelt in (revenue, *spellings(revenue)):
        for inside in (False, True):
            assert shown(tmp_path, {spelt: 2e9, "netIncome": 5e8}, inside) == "net income 25% of revenue"


@pytest.mark.parametrize("form", ["form", "form_type", "filing_type"])
def test_forms_are_shown_in_any_spelling(tmp_path: Path, form: str) -> None:
    for spelt in (form, *spellings(form)):
        assert shown(tmp_path, {spelt: "10-K"}, False) == f"{form.replace('_', ' ')} 10-K"
