"""Weekends, long gaps, formats of dates and files of notes beside price files are told."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tradeschool.cli import app
from tradeschool.errors import DataError
from tradeschool.market import sources
from tradeschool.market.check import check

DAYS = [str(day) for day in np.busday_offset(np.datetime64("2020-01-01"), np.arange(40), roll="raise")]
NOTES = "ticker,known_at,text\nAAA,2020-01-02,Hello\n"


def write(folder: Path, days: list[str] = DAYS, name: str = "AAA.csv") -> Path:
    folder.mkdir(exist_ok=True)
    lines = ["Date,Open,High,Low,Close,Volume", *(f"{day},1,1,1,1,1" for day in days)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def test_weekends_are_counted(tmp_path: Path) -> None:
    write(tmp_path, ["2020-01-03", "2020-01-04", "2020-01-05", "2020-01-06"])
    (found,) = check(tmp_path)
    assert (found.severity, found.rule, found.value) == ("warning", "2 bars stand on Saturdays and Sundays", "AAA 2")


def test_a_gap_of_more_than_ten_weekdays_that_all_share_is_warned_of(tmp_path: Path) -> None:
    assert check(write(tmp_path, DAYS[:10] + DAYS[20:])) == []
    (found,) = check(write(tmp_path, DAYS[:10] + DAYS[21:]))
    assert found.severity == "warning"
    assert found.value == f"11 weekdays between {DAYS[9]} and {DAYS[21]}"
    write(tmp_path, name="BBB.csv")
    assert [one.severity for one in check(tmp_path)] == ["info"]


def test_dates_in_another_format_are_told_also_where_they_repeat(tmp_path: Path) -> None:
    assert [one.rule for one in check(write(tmp_path, ["14/01/2020", "15/01/2020"]))] == [
        "dates were read as DD/MM/YYYY"
    ]
    lines = ["Date,Ticker,Open,High,Low,Close,Volume"]
    lines += [f"{day}/01/2020,{ticker},1,1,1,1,1" for ticker in "ABC" for day in (14, 15)]
    (tmp_path / "AAA.csv").write_text("\n".join(lines) + "\n")
    assert [one.rule for one in check(tmp_path)] == ["dates were read as DD/MM/YYYY"]


@pytest.mark.parametrize("name", ["tweets.csv", "news.jsonl"])
def test_notes_beside_prices_are_named_and_prices_load(tmp_path: Path, name: str) -> None:
    (write(tmp_path) / name).write_text(NOTES)
    (found,) = check(tmp_path)
    assert (found.severity, found.rule, found.value) == ("info", "a file of notes was not read as prices", name)
    assert sources.load(tmp_path, []).tickers == ("AAA",)


def test_a_folder_of_notes_names_the_folder_of_prices_in_it(tmp_path: Path) -> None:
    (tmp_path / "tweets.csv").write_text(NOTES)
    write(tmp_path / "price")
    with pytest.raises(DataError, match=f"only notes. .*Did you mean {tmp_path / 'price'}"):
        sources.load(tmp_path)


def test_texts_with_a_date_are_told_as_notes(tmp_path: Path) -> None:
    path = tmp_path / "tweets.csv"
    path.write_text(NOTES.replace("known_at", "date"))
    done = CliRunner().invoke(app, ["data", "check", str(path)], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert "column known_at missing" in done.output


def test_the_last_line_counts_the_warnings(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["data", "check", str(write(tmp_path))])
    assert done.output.rstrip().endswith("It loads.")
    write(tmp_path, ["2020-01-03", "2020-01-04"])
    done = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert done.output.rstrip().endswith("It loads, with 1 warning.")
