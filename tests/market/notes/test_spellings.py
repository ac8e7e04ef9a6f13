"""A field means the same in camelCase, in Title Case and in snake_case, beside the columns and inside ``fields``."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from markets import market

from tradeschool.market.notes.archive import DatedNote
from tradeschool.market.notes.fields import snake
from tradeschool.market.notes.read import holds_notes, read_notes
from tradeschool.market.window import Window, Windows
from tradeschool.text import figures
from tradeschool.text.figures import row_text

ROW = {"ticker": "PRAC00", "known_at": "2011-03-01", "kind": "fundamentals"}
PEOPLE = [*sorted(figures._PEOPLE), "owner_name", "analyst_name", "reporting_name", "name"]
PER_SHARE = [*(f"reported_{word}" for word in sorted(figures._PER_SHARE)), "price_per_share", "book_value_per_share",
             "target_price", "price_target", "diluted_eps"]  # fmt: skip
RATIOS = [f"gross_{word}" for word in sorted(figures._RATIOS)] + ["return_on_equity"]
COUNTS = [f"total_{word}" for word in sorted(figures._COUNTS)] + ["shares_owned"]
MONEY = ["net_income", "total_assets", "market_cap", "long_term_debt"]


def spellings(name: str) -> list[str]:
    words = name.split("_")
    title = [word.title() for word in words]
    return [words[0] + "".join(title[1:]), "".join(title), " ".join(title), f" {'-'.join(words)} "]


@cache
def masked_window() -> Window:
    return Windows(market(), mask=True).at(200, 0)


def shown(folder: Path, fields: dict[str, Any], inside: bool, **row: Any) -> str:
    """What a masked window says of a row of a file."""
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({**ROW, **row, **({"fields": fields} if inside else fields)}))
    (note,) = read_notes(path).notes
    return row_text(masked_window(), DatedNote(note.text, 3, 4, note.kind, fields=tuple(note.fields.items())))


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
                told = {spelt: value, "total_revenue": 1e9}
                assert shown(tmp_path, told, inside, kind=kind, **texts) == expected, spelt


@pytest.mark.parametrize("revenue", figures._REVENUE)
def test_fundamentals_are_in_percent_of_a_revenue_in_any_spelling(tmp_path: Path, revenue: str) -> None:
    for spelt in (revenue, *spellings(revenue)):
        for inside in (False, True):
            assert shown(tmp_path, {spelt: 2e9, "netIncome": 5e8}, inside) == "net income 25% of revenue"


@pytest.mark.parametrize("form", figures._FORMS)
def test_forms_are_said_in_any_spelling(tmp_path: Path, form: str) -> None:
    for spelt in (form, *spellings(form)):
        assert shown(tmp_path, {spelt: "10-K"}, False) == f"{form.replace('_', ' ')} 10-K"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fiscalDateEnding", "fiscal_date_ending"), ("reportedEPS", "reported_eps"), ("EPSEstimate", "eps_estimate"),
        ("EPS Estimate", "eps_estimate"), ("PERatio", "pe_ratio"), ("trailingPE", "trailing_pe"), ("EBITDA", "ebitda"),
        ("Total Revenue", "total_revenue"), ("total__revenue", "total_revenue"), ("Price-Target", "price_target"),
        ("ROE", "roe"), ("Q1Revenue", "q1_revenue"), ("price", "price"), ("", ""),
    ],
)  # fmt: skip
def test_snake(name: str, expected: str) -> None:
    assert snake(name) == expected
    assert snake(snake(name)) == expected


def test_columns_are_told_in_any_spelling(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Symbol,publishedAt,Kind,netIncome\nA,2014-05-01,fundamentals,5\n")
    assert holds_notes(path)
    (note,) = read_notes(path).notes
    assert (note.ticker, str(note.known_at), note.kind, note.fields) == (
        "A", "2014-05-02", "fundamentals", {"net_income": 5.0},
    )  # fmt: skip
    path.write_text("ticker,createdAt,text\nA,2014-05-01,hi\n")
    assert [note.kind for note in read_notes(path).notes] == ["tweet"]


def test_two_spellings_of_a_column_are_told_of_where_they_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "ticker,known_at,kind,netIncome,net_income\nA,2014-05-01,analyst,5,\nA,2014-05-02,analyst,,6\n"
        "A,2014-05-03,analyst,7,7\nA,2014-05-04,analyst,8,9\n"
    )
    found = read_notes(path)
    assert [note.fields["net_income"] for note in found.notes] == [5.0, 6.0, 7.0, 8.0]
    assert [(one.row, one.value) for one in found.findings if one.severity == "warning"] == [(5, "net_income: 8, 9")]
