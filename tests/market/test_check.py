"""The check finds everything at once, never disagrees with loading, and no damage ends in a traceback."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from tradeschool.errors import DataError
from tradeschool.market import sources
from tradeschool.market.check import check, has_errors, render
from tradeschool.market.panel import Panel

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume"
LINES = [HEADER, *(f"2020-01-{day:02d},10,12,9,11,5.5,100" for day in range(1, 20))]  # weekends, too
CLEAN = "\n".join(LINES).encode() + b"\n"


def rendered(path: Path) -> str:
    console = Console(file=io.StringIO(), width=200)
    render(check(path), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_all_findings_come_at_once_errors_first(tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text("\n".join([*LINES[:5], "2020-01-05,10,8,9,11,5.5,100", "x,0,12,9,11,5.5,-1"]))
    (tmp_path / "B.csv").write_text("")
    (tmp_path / "C.csv").write_text("\n".join(LINES[:1] + LINES[:0:-1]))
    findings = check(tmp_path)
    found = [(finding.severity, Path(finding.file).name, finding.row) for finding in findings]
    assert found[:5] == [("error", "A.csv", 6), *[("error", "A.csv", 7)] * 3, ("error", "B.csv", None)]
    assert ("info", "C.csv", None) in found
    assert has_errors(findings)
    assert {finding.rule for finding in findings if finding.row == 7} == {
        "the date cannot be read",
        "Open is zero or negative",
        "the volume is negative",
    }


def test_a_clean_folder_has_no_findings(tmp_path: Path) -> None:
    weekdays = [line for line in LINES if line[8:10] not in ("04", "05", "11", "12", "18", "19")]
    (tmp_path / "A.csv").write_text("\n".join(weekdays) + "\n")
    assert check(tmp_path) == []
    assert not has_errors([])
    assert "0 errors, 0 warnings, 0 infos" in rendered(tmp_path)


def test_a_missing_path_is_a_finding(tmp_path: Path) -> None:
    assert has_errors(check(tmp_path / "nowhere"))


def test_the_table_shows_a_few_rows_per_rule_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text("\n".join(line.replace(",9,", ",[bold]low[/bold],") for line in LINES))
    text = rendered(tmp_path)
    assert text.count("'[bold]low[/bold]'") == 5
    assert "A.csv: Low is not a number: 14 more" in text
    assert "19 errors" in text


def mangled(cells: list[list[str]], row: int, column: int, value: str) -> bytes:
    line = cells[row % len(cells)]
    line[column % len(line)] = value
    return "\n".join(",".join(line) for line in cells).encode("utf-8", "surrogatepass")


def load_or_refuse(path: Path) -> Panel | None:
    """What :func:`sources.load` does, and proof that the check says the same."""
    findings = check(path)
    if has_errors(findings):
        with pytest.raises(DataError, match=re.escape(str(path))):
            sources.load(path)
        return None
    return sources.load(path, [])


CORRUPTIONS: dict[str, st.SearchStrategy[Callable[[bytes], bytes]]] = {
    "cell": st.builds(
        lambda row, column, value: (
            lambda data: mangled([line.split(",") for line in data.decode().split("\n")], row, column, value)
        ),
        st.integers(0, 19),
        st.integers(0, 6),
        st.one_of(
            st.text(max_size=8),
            st.floats().map(str),
            st.integers().map(str),
            st.dates().map(str),
            st.sampled_from(["null", "-", "1e308", "1e-308", '"', "'", "\r", "\0", "2020-01-05", "9" * 400, "٣"]),
        ),
    ),
    "bytes": st.builds(
        lambda at, junk: lambda data: data[:at] + junk + data[at:], st.integers(0, len(CLEAN)), st.binary(max_size=6)
    ),
    "cut": st.builds(lambda at: lambda data: data[:at], st.integers(0, len(CLEAN))),
    "dropped": st.builds(
        lambda at, n: lambda data: data[:at] + data[at + n :], st.integers(0, 600), st.integers(1, 60)
    ),
    "replaced": st.builds(
        lambda a, b: lambda data: data.replace(a, b),
        st.sampled_from([b",", b"\n", b"-", b"1", b"Close", b"2020"]),
        st.sampled_from([b";", b"\t", b" ", b"", b"\r\n", b"\r", b'"', b"/", b",,", b"\xff", b"Open"]),
    ),
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.one_of(*CORRUPTIONS.values()), min_size=1, max_size=2))
def test_no_damage_ends_in_a_traceback(tmp_path: Path, damage: list[Callable[[bytes], bytes]]) -> None:
    data = CLEAN
    for harm in damage:
        try:
            data = harm(data)
        except UnicodeDecodeError:  # a cell cannot be mangled once bytes are
            continue
        if data.count(b"\n") < 1:
            break
    path = tmp_path / "A.csv"
    path.write_bytes(data)
    load_or_refuse(path)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    column=st.sampled_from(["date", "open", "volume", "ticker"]),
    cells=st.one_of(
        *(
            st.lists(cell, min_size=3, max_size=3)
            for cell in (
                st.none() | st.floats(),
                st.none() | st.text(st.characters(codec="utf-8"), max_size=6),
                st.none() | st.dates(),
                st.none() | st.datetimes(),
                st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-99, max_value=99),
                st.booleans(),
                st.integers(-(2**62), 2**62),
                st.lists(st.integers(0, 3), max_size=2),
            )
        )
    ),
)
def test_no_parquet_column_ends_in_a_traceback(tmp_path: Path, column: str, cells: list[object]) -> None:
    table = pd.DataFrame({"date": pd.date_range("2020-01-01", periods=3), "ticker": ["A", "A", "B"]})
    for name in ("open", "high", "low", "close", "volume"):
        table[name] = 10.0
    table[column] = pd.Series(cells, dtype=object)
    path = tmp_path / "A.parquet"
    table.to_parquet(path, index=False)
    load_or_refuse(path)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_of_every_system(tmp_path: Path, ending: str) -> None:
    (tmp_path / "A.csv").write_bytes(ending.join(LINES).encode())
    panel = load_or_refuse(tmp_path)
    assert panel is not None
    assert panel.shape == (19, 1)
