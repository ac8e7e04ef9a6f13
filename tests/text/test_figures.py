"""Figures in prompts: short, and in a masked window nothing that tells a company's size, price level or people."""

import math
import re
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markets import market

from tradeschool.market.notes.archive import DatedNote
from tradeschool.market.window import Window, Windows
from tradeschool.text.figures import figure, row_text, trend_word


@cache
def window(mask: bool) -> Window:
    return Windows(market(tickers=2), mask=mask).at(200, 1)


def row(kind: str, text: str = "", /, **fields: Any) -> DatedNote:
    return DatedNote(text, 0, 3, kind, "", tuple(fields.items()))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"), (1234.5, "1234"), (-0.12345, "-0.1235"), (12345, "12.35k"), (-5.5e6, "-5.5m"), (394.3e9, "394.3bn"),
        (2.5e12, "2500bn"), (math.nan, "-"), (math.inf, "-"), (1e-9, "1e-09"), (9999, "9999"), (1e4, "10k"),
    ],
)  # fmt: skip
def test_figures(value: float, said: str) -> None:
    assert figure(value) == said


@pytest.mark.parametrize(
    ("slope", "mean", "word"),
    [(0.2, 100, "up"), (0.05, 100, "flat"), (-0.1, 100, "down"), (1, 0, "flat"), (-1, -10, "down")],
)
def test_trends(slope: float, mean: float, word: str) -> None:
    assert trend_word(slope, mean) == word


def test_unmasked_rows_say_all() -> None:
    told = row("insider", "Form 4", insider="Tim Cook", shares=50123.0, price=172.25, date="2014-03-31")
    assert row_text(window(False), told) == "Form 4 | insider Tim Cook, shares 50.12k, price 172.2, date 2014-03-31"
    told = row("fundamentals", total_revenue=394.3e9, eps=6.1)
    assert row_text(window(False), told) == "total revenue 394.3bn, eps 6.1"


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e-9, 88.0])
def test_masked_fundamentals_are_shares_of_revenue_in_any_unit(unit: float) -> None:
    """Also of a file in millions, whose amounts are small numbers."""
    year = {"total_revenue": 110e9 * unit, "net_income": 22e9 * unit, "employees": 147_000.0 * unit}
    before = row("fundamentals", total_revenue=100e9 * unit)
    told = row("fundamentals", gross_margin=0.43, price_to_book=4.5, return_on_equity=0.3, **year)
    assert row_text(window(True), told, [before]) == (
        "gross margin 0.43, price to book 4.5, return on equity 0.3, total revenue +10% on the row before, "
        "net income 20% of revenue, employees 0.000134% of revenue"
    )
    assert "revenue" not in row_text(window(True), row("fundamentals", total_revenue=110e9 * unit))


def test_masked_amounts_without_revenue_are_changes_or_nothing() -> None:
    told = row("fundamentals", net_income=-5e6, assets=2e9)
    assert row_text(window(True), told) == ""
    earlier = [row("fundamentals", assets=1e9), row("fundamentals", assets=8e9, net_income=-10e6)]
    assert row_text(window(True), told, earlier) == "net income +50% on the row before, assets +100% on the row before"


def test_masked_prices_are_rebased_as_the_stocks_are() -> None:
    shown = window(True)
    scale = shown.scale
    told = row("analyst", firm="Broker", rating="buy", target=50.0, previous_target=40.0, eps_estimate=2.0)
    assert row_text(shown, told) == (
        f"firm Broker, rating buy, target {figure(50 * scale)}, previous target {figure(40 * scale)}, "
        f"eps estimate {figure(2 * scale)}"
    )
    assert (
        row_text(shown, row("fundamentals", book_value_per_share=10.0)) == f"book value per share {figure(10 * scale)}"
    )
    assert row_text(shown, row("analyst", revenue_estimate=90e9, analysts=12.0)) == "analysts 12"


def test_masked_insiders_trade_shares_of_a_day() -> None:
    shown = window(True)
    volume, turnover = (
        float(np.nanmean(values))
        for values in (shown.recent["volume"], shown.recent["volume"] * shown.recent["close"] / shown.scale)
    )
    told = row("insider", shares=volume / 2, value=turnover / 4, shares_owned=30 * volume)
    assert row_text(shown, told) == (
        "shares 50% of a day's volume, value 25% of a day's turnover, shares owned 3e+03% of a day's volume"
    )
    silent = replace(shown, recent={"volume": np.full(15, np.nan), "close": shown.recent["close"]})
    assert row_text(silent, told) == ""


def test_masked_rows_name_no_person() -> None:
    text = "Timothy D. Cook sold shares; Cook, Tim gave some away. Cooking on."
    told = row("insider", text, insider="COOK TIMOTHY D", owner_name="Cook", title="CEO", company_name="Stock 4")
    assert row_text(window(True), told) == (
        "[person] sold shares; [person], Tim gave some away. Cooking on. | title CEO, company name Stock 4"
    )
    assert row_text(window(True), row("analyst", analyst="Toni S", firm="B")) == "firm B"
    assert row_text(window(True), row("macro", name="CPI", value=2.5)) == "name CPI, value 2.5"


def test_masked_texts_with_digits_are_amounts_unless_they_are_ages_or_forms() -> None:
    told = row(
        "fundamentals", market_cap="2.5T", period_end="77 days ago", fiscal_year="2 years ago", form="10-K", rank="high"
    )
    assert row_text(window(True), told) == "period end 77 days ago, fiscal year 2 years ago, form 10-K, rank high"


NAMES = st.sampled_from(["net_income", "total_assets", "revenue", "shares", "value", "change_in_cash",
                         "shares_outstanding", "payments_to_acquire", "return_of_capital",
                         "yield_reserve", "price", "eps"])  # fmt: skip


@given(
    kind=st.sampled_from(["fundamentals", "insider", "analyst", "news"]),
    fields=st.dictionaries(NAMES, st.floats(1e5, 1e13), min_size=1),
)
def test_no_masked_amount_is_said(kind: str, fields: dict[str, float]) -> None:
    told = row_text(window(True), row(kind, **fields))
    for name, value in fields.items():
        for said in re.findall(rf"(?:^|, ){name.replace('_', ' ')} ([^,]*)", told):
            assert "%" in said or name in ("price", "eps")
            assert figure(value) != said


@given(
    fields=st.dictionaries(NAMES, st.floats() | st.text(max_size=5), max_size=5),
    kind=st.sampled_from(["insider", "macro", "x"]),
)
def test_any_row_can_be_said(fields: dict[str, Any], kind: str) -> None:
    for mask in (False, True):
        assert isinstance(row_text(window(mask), row(kind, **fields), [row(kind, **fields)]), str)
