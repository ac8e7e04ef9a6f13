"""The reader through Arrow and the one that goes cell by cell: the same bytes give the same bars and findings."""

from pathlib import Path

import numpy as np
import pytest
from broken_folders import FORMATS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradeschool.market.finding import Finding, Report
from tradeschool.market.prices import fastcsv
from tradeschool.market.prices.bars import History, histories
from tradeschool.market.prices.pricefile import read_table

HEADER = "Date,Open,High,Low,Close,Volume"
NUMBERS = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.floats(1e-3, 1e6).map("{:.6f}".format),
    st.decimals(0, 10**9, places=12).map(str),
    st.text("0123456789.", min_size=1, max_size=30),
    st.text("0123456789.-+eE _xinfINFnaNAul%$", max_size=6),
    st.sampled_from(
        ["", "null", "NaN", "nan", "NAN", "-NaN", "+nan", "inf", "-", "--", "N/A", "#N/A", " ", " 1", "1\t"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters='"\r\n,'), max_size=4),
)


def read(path: Path, careful: bool) -> tuple[list[History], list[Finding]]:
    report = Report(str(path))
    table = read_table(path, report, careful=careful)
    return ([] if table is None else histories(table, "A", report)), report.findings


def assert_alike(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    (fast, found), (careful, wanted) = read(path, False), read(path, True)
    assert found == wanted
    assert [one.ticker for one in fast] == [one.ticker for one in careful]
    for one, other in zip(fast, careful, strict=True):
        np.testing.assert_array_equal(one.dates_T, other.dates_T)
        for name, values_T in one.bars.items():
            assert values_T.tobytes() == other.bars[name].tobytes(), name


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(close=NUMBERS, volume=NUMBERS, end=st.sampled_from(["\n", "\r\n", "\r", ""]), loose=st.booleans())
def test_every_number_reads_alike(tmp_path: Path, close: str, volume: str, end: str, loose: bool) -> None:
    # All four prices alike hold every rule, so that the last bit of what was read shows in the bars.
    lines = [HEADER, "2020-01-02,1,1,1,1,1", f"2020-01-03,{','.join([close] * 4)},{volume}"]
    if loose:
        lines[1] = f"2020-01-02,1,1,1,{close},1"
    assert_alike(tmp_path / "A.csv", ((end or "\n").join(lines) + end).encode("utf-8"))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    dates=st.lists(
        st.one_of(
            st.dates().map(str),
            st.sampled_from(
                ["0000-01-01", "0001-01-01", "1799-12-31", "9999-12-31", "2020-1-2", "2020-02-30", "now", ""]
            ),
            st.text("0123456789-/: TZ.+", max_size=20),
        ),
        min_size=2,
        max_size=4,
    )
)
def test_every_date_reads_alike(tmp_path: Path, dates: list[str]) -> None:
    lines = [HEADER, *(f"{date},1,1,1,1,1" for date in dates)]
    assert_alike(tmp_path / "A.csv", "\n".join([*lines, ""]).encode())


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.text('Dat,e12.-\n\r" ', max_size=40), at=st.integers(0, 90))
def test_every_line_reads_alike(tmp_path: Path, data: str, at: int) -> None:
    good = f"{HEADER}\n2020-01-02,1,1,1,1,1\n2020-01-03,2,2,2,2,2\n"
    assert_alike(tmp_path / "A.csv", (good[:at] + data + good[at:]).encode())


@pytest.mark.parametrize(
    "data",
    [
        HEADER + "\n2020-01-02," + "0" * 200_000 + "1,1,1,1,1\n",
        HEADER + "\n" + "0" * 200_000 + ",1,1,1,1,1\n",
        HEADER + ",x\n2020-01-02,1,1,1,1,1," + "a" * 200_000 + "\n",
        HEADER + "\n2020-01-02,1,1,1,1,1\n" * 2,
        "\n" + HEADER + "\n2020-01-02,1,1,1,1,1\n",
        HEADER + ",\n2020-01-02,1,1,1,1,1,\n",
        HEADER + ",Ticker\n2020-01-02,1,1,1,1,1,null\n2020-01-03,1,1,1,1,1,NA\n",
        HEADER + ",Ticker\n2020-01-02,1,1,1,1,1,B\n2020-01-03,1,1,1,1,1, A\n2020-01-02,1,1,1,1,1,A \n",
        HEADER + ",Dividends\n2020-01-02,1,1,1,1,1,anything\n",
        HEADER + '\n"2020-01-02",1,1,1,1,1\n2020-01-03,1,1,1,1,1\n',
        HEADER + ',x\n2020-01-02,1,1,1,1,1,"\n2020-01-03,1,1,1,1,1,"\n',
        HEADER + "\n0000-01-01,1,1,1,1,1\n2020-01-03,1,1,1,1,1\n",
        HEADER + "\n2020-01-02,1,1,1,1,1\r2020-01-03,1,1,1,1,1\n",
        HEADER + "\n2020-01-02,1,1,--,1,1\n",
    ],
    ids=range(14),
)
def test_odd_files_read_alike(tmp_path: Path, data: str) -> None:
    assert_alike(tmp_path / "A.csv", data.encode())


@pytest.mark.parametrize("kind", FORMATS)
def test_clean_files_go_the_fast_way(kind: str) -> None:
    for name, data in FORMATS[kind]().items():
        field = None if kind != "field tables" else name.removesuffix(".csv").replace("_", " ").title()
        assert fastcsv.read(data, Report(name), field) is not None
    # Yahoo's word for a day without a bar, and Windows' line ends, are clean, too.
    data = f"{HEADER}\n2020-01-02,null,null,null,null,null\n2020-01-03,1,1,1,1,1\n".replace("\n", "\r\n").encode()
    assert fastcsv.read(data, Report("A"), None) is not None


@pytest.mark.parametrize("again", [0, 1, 2])
def test_a_header_line_that_comes_again_reads_alike(tmp_path: Path, again: int) -> None:
    lines = FORMATS["wide"]()["all.csv"].split(b"\n")
    assert_alike(tmp_path / "A.csv", b"\n".join([*lines[:9], lines[again], *lines[9:]]))
    assert any("repeat the header" in finding.rule for finding in read(tmp_path / "A.csv", False)[1])
