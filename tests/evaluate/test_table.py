"""The terminal table: narrow, complete, and names cannot style it."""

from dataclasses import replace

import exams
import numpy as np
import pytest
from rich.console import Console

from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.headline import headline
from tradeschool.evaluate.result import Comparison
from tradeschool.evaluate.table import print_comparison


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    exam = exams.exam()
    return compare(exam, exams.field(exam), seed=0, draws=200)


def printed(comparison: Comparison) -> str:
    console = Console(record=True, width=120)
    print_comparison(console, comparison)
    return console.export_text()


def test_every_policy_has_a_row_within_120_columns(comparison: Comparison) -> None:
    lines = printed(comparison).splitlines()
    assert max(map(len, lines)) <= 120
    rows = [line for line in lines if "[" in line and ("better" in line or "reference" in line or "ceiling" in line)]
    assert any(line.lstrip().startswith("grpo") for line in rows)
    assert not any("…" in line for line in lines)


def test_a_narrow_console_loses_columns_not_figures(comparison: Comparison) -> None:
    console = Console(record=True, width=80)
    print_comparison(console, comparison)
    lines = console.export_text().splitlines()
    assert not any("…" in line for line in lines)
    assert any(line.lstrip().startswith("grpo") and "better" in line and "]" in line for line in lines)


def test_names_are_text_not_markup(comparison: Comparison) -> None:
    row = comparison.rows[-2].model_copy(update={"policy": "[red]x[/red]"})
    lines = printed(comparison.model_copy(update={"rows": [*comparison.rows[:-2], row]})).splitlines()
    assert any(line.strip().startswith("[red]x[/red]  ") for line in lines), "the table's row"
    assert any(line.startswith("[red]x[/red]: ") for line in lines), "the verdict's line"


def test_where_there_is_no_edge_there_is_no_share_of_it() -> None:
    exam = exams.exam(dates=30, tickers=3)
    answers = [replace(a, expected_TN=np.zeros(exam.shape)) for a in exams.field(exam)]
    table = compare(exam, answers, seed=0, draws=150)
    assert np.isnan(table.row("grpo").metrics["share"].value)
    assert "edge" not in printed(table)


def test_the_headline_says_what_was_learned(comparison: Comparison) -> None:
    lines = headline(comparison)
    assert lines[0].startswith("Learned something: on 120 unseen dates and 10 tickers")
    assert any(line.startswith("grpo raised the share of the edge") for line in lines)
    assert any(line.startswith("Traded after costs, grpo returned") for line in lines)


def test_the_headline_says_that_nothing_was_learned() -> None:
    exam = exams.exam(seed=2)
    lines = headline(compare(exam, exams.field(exam, sft=0.0, grpo=0.0), seed=0, draws=200))
    assert lines[0].startswith("Not shown to have learned anything")


def test_without_trained_policies_there_is_no_claim() -> None:
    exam = exams.exam(dates=30, tickers=3)
    assert "No trained policy" in headline(compare(exam, exams.field(exam)[:4], seed=0, draws=150))[0]
