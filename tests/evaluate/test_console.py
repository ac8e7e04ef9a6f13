"""The terminal table: narrow, complete, and names cannot style it."""

from dataclasses import replace

import evaluations as fake
import numpy as np
import pytest
from rich.console import Console

from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import JUDGED, MODELS, Comparison
from tradeschool.evaluate.console import SUMMARY_LINES, print_comparison, rows_table, summary


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    questions = fake.evaluation_set()
    return compare(questions, fake.field(questions))


def printed(comparison: Comparison) -> str:
    console = Console(record=True, width=120)
    print_comparison(console, comparison)
    return console.export_text()


def test_every_policy_has_a_row_within_120_columns(comparison: Comparison) -> None:
    lines = printed(comparison).splitlines()
    assert max(map(len, lines)) <= 120
    rows = [
        line for line in lines if "[" in line and ("better" in line or "best baseline" in line or "ceiling" in line)
    ]
    assert any(line.lstrip().startswith("grpo") for line in rows)
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize("warnings", [[], ["sft: " + "something is odd, " * 20, "another"]], ids=["calm", "warned"])
def test_80_columns_hold_the_table_and_six_lines(comparison: Comparison, warnings: list[str]) -> None:
    console = Console(record=True, width=80)
    print_comparison(console, comparison, warnings)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert any(line.lstrip().startswith("grpo") and "better" in line and "]" in line for line in lines)
    caption = next(number for number, line in enumerate(lines) if "95% interval" in line)
    assert "in the report" in lines[caption]
    summary_part = lines[caption + 1 :]
    assert len(summary_part) <= SUMMARY_LINES
    assert any(line.startswith("grpo: edge %") for line in summary_part)
    assert ("more in the report" in summary_part[-1]) is bool(warnings)


def test_many_models_do_not_make_more_lines(comparison: Comparison) -> None:
    last = comparison.rows[-2]
    rows = [last.model_copy(update={"policy": f"stage number {n}"}) for n in range(9)]
    many = comparison.model_copy(update={"rows": [*comparison.rows[:-2], *rows]})
    console = Console(record=True, width=80)
    print_comparison(console, many)
    lines = console.export_text().splitlines()
    caption = next(number for number, line in enumerate(lines) if "95% interval" in line)
    assert len(lines[caption + 1 :]) <= SUMMARY_LINES
    assert "The report has the rest" in lines[-1]


def test_names_are_text_not_markup(comparison: Comparison) -> None:
    row = comparison.rows[-2].model_copy(update={"policy": "[red]x[/red]"})
    lines = printed(comparison.model_copy(update={"rows": [*comparison.rows[:-2], row]})).splitlines()
    assert any(line.strip().startswith("[red]x[/red]  ") for line in lines), "the table's row"
    assert any(line.startswith("[red]x[/red]: ") for line in lines), "the summary's line"


def test_where_there_is_no_edge_there_is_no_share_of_it() -> None:
    questions = fake.evaluation_set(dates=30, tickers=3)
    answers = [replace(a, values={**a.values, "expected": np.zeros(questions.shape)}) for a in fake.field(questions)]
    table = compare(questions, answers)
    assert np.isnan(table.row("grpo").metrics["share"].value)
    assert "edge" not in printed(table)


def test_the_summary_says_what_was_learned(comparison: Comparison) -> None:
    lines = summary(comparison)
    assert lines[0].startswith("Learned something: on 120 unseen dates and 10 tickers")
    assert any(line.startswith("grpo: edge %") and "an improvement" in line for line in lines)
    assert any(line.startswith("grpo: return %") for line in lines)


def test_the_summary_says_that_nothing_was_learned() -> None:
    questions = fake.evaluation_set(seed=2)
    lines = summary(compare(questions, fake.field(questions, sft=0.0, grpo=0.0)))
    assert lines[0].startswith("Not shown to have learned anything")


def test_on_too_few_dates_there_is_no_claim() -> None:
    questions = fake.evaluation_set(dates=5)
    table = compare(questions, fake.field(questions))
    assert summary(table) == ["Too few dates to judge anything: 5 unseen dates."]
    facts = table.evaluation.model_copy(update={"dates": table.evaluation.dates[:1]})
    assert summary(table.model_copy(update={"evaluation": facts}))[0].endswith(" 1 unseen date.")
    text = printed(table)
    assert "too few dates" in text
    assert not any(word in text for word in ("better", "worse", "improvement", "Learned"))


def columns(comparison: Comparison) -> list[str]:
    table = rows_table("", comparison, [("", row) for row in comparison.rows], Console(width=250))
    return [str(column.header).replace("\n", " ") for column in table.columns]


def test_the_metrics_say_which_of_them_the_terminal_shows(comparison: Comparison) -> None:
    shown = ["score", "edge %", "rank IC", "return %", "Sharpe", "drawdown %"]
    assert columns(comparison) == ["policy", "verdict", *shown]
    own = [replace(metric, terminal="figure") if metric.key == "accuracy" else metric for metric in comparison.metrics]
    assert "right %" in columns(comparison.model_copy(update={"metrics": own}))


def test_without_trained_policies_there_is_no_claim() -> None:
    questions = fake.evaluation_set(dates=30, tickers=3)
    naive = [p for p in fake.field(questions) if p.kind not in MODELS]
    assert summary(compare(questions, naive)) == ["No model was evaluated; the rows show the baselines only."]


def test_a_base_model_alone_is_named_and_judged() -> None:
    """It may be a pretrained or a trained model, so nothing is said about training or unseen dates."""
    questions = fake.evaluation_set(dates=30, tickers=3)
    without = [p for p in fake.field(questions) if p.kind not in JUDGED]
    lines = summary(compare(questions, without))
    assert lines[0] == "Evaluated as given: untrained, beside the baselines."
    assert lines[1].startswith("Not shown to be better than the baselines: on 30 dates and 3 tickers, untrained")
    assert not any(word in " ".join(lines) for word in ("trained model", "unseen", "earned", "Learned"))


def test_a_trained_model_has_learned_nothing_where_its_base_beats_the_baselines_too() -> None:
    questions = fake.evaluation_set(dates=120, tickers=6)
    field = [
        replace(p, kind="base") if p.policy == "sft" else p
        for p in fake.field(questions, sft=0.5, grpo=0.5)
        if p.kind != "base"
    ]
    found = compare(questions, field)
    assert (found.row("sft").verdict, found.row("grpo").verdict) == ("better", "better")
    assert summary(found)[0].startswith("Better than the baselines: on 120 unseen dates")
