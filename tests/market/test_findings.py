"""Findings stay few: the first of every rule one by one, one more that counts the rest."""

import tracemalloc
from itertools import repeat
from pathlib import Path

import numpy as np

from tradeschool.market.findings import MAX_PER_RULE, Report
from tradeschool.market.load import check_prices


def test_the_first_findings_of_a_rule_are_kept_and_the_others_counted() -> None:
    report = Report("a.csv")
    for row in range(1, 51):
        report.error(row, f"row {row} is odd", str(row), "Correct it.", kind="rows are odd")
        report.warning(row, "it looks odd", str(row), "Look.")
    report.error(9, "another rule", "", "Correct it.")
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert [finding.row for finding in errors] == [*range(1, MAX_PER_RULE + 1), 9, None]
    assert (errors[-1].rule, errors[-1].count) == ("rows are odd", 50 - MAX_PER_RULE)
    assert errors[-1].text == f"a.csv: rows are odd ({50 - MAX_PER_RULE} more, the last in row 50). Correct it."
    assert report.errors == 51
    assert sum(finding.count for finding in report.findings if finding.severity == "warning") == 50


def test_many_rows_at_once_are_described_only_as_far_as_they_are_kept() -> None:
    report = Report("a.csv")
    values = iter([str(i) for i in range(MAX_PER_RULE)])  # one more would end the iterator, and the findings with it
    report.error_each(np.arange(10, 10_010), "wrong", values, "Correct it.")
    report.error_each(np.array([20_000]), "wrong", repeat("x"), "Correct it.")
    assert [finding.value for finding in report.findings[:MAX_PER_RULE]] == [str(i) for i in range(MAX_PER_RULE)]
    assert report.findings[-1].count == 10_001 - MAX_PER_RULE
    assert "the last in row 20000" in report.findings[-1].value
    assert report.errors == 10_001


def test_findings_about_tickers_count_as_one_rule() -> None:
    report = Report("a.csv")
    for n in range(100):
        report.for_ticker(f"T{n}").error(n, "wrong", "", "Correct it.")
    assert report.findings[3].rule == "T3: wrong"
    assert len(report.findings) == MAX_PER_RULE + 1
    assert (report.findings[-1].rule, report.findings[-1].count) == ("wrong", 100 - MAX_PER_RULE)


def test_many_bad_rows_are_a_short_list(tmp_path: Path) -> None:
    rows = 20_000
    days = np.datetime64("1900-01-01") + np.arange(rows) % 8_000
    lines = ["Date,Open,High,Low,Close,Volume"]
    lines += [f"{day}{'x' * (i % 7)},-1,abc,0,{i}," + "1," * (i % 5) for i, day in enumerate(days)]
    path = tmp_path / "A.csv"
    path.write_text("\n".join(lines) + "\n")
    tracemalloc.start()
    findings = check_prices(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(findings) < 12 * (MAX_PER_RULE + 1)
    assert sum(finding.count for finding in findings) > 2 * rows
    assert peak < 80e6


def test_findings_of_a_file_do_not_hide_those_of_another(tmp_path: Path) -> None:
    for name in ("A.csv", "B.csv"):
        body = "".join(f"2020-01-{day:02d},0,0,0,0,1\n" for day in range(1, 29))
        (tmp_path / name).write_text("Date,Open,High,Low,Close,Volume\n" + body)
    findings = [finding for finding in check_prices(tmp_path) if finding.rule == "Open is zero or negative"]
    assert [Path(finding.file).name for finding in findings].count("B.csv") == MAX_PER_RULE + 1
    assert sum(finding.count for finding in findings) == 56
