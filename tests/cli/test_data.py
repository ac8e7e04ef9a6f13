"""``tradeschool data check``: the table of findings, the last line, the calendar of an exchange."""

import csv
from pathlib import Path

import numpy as np
import price_files
import pytest
from deepstock_rows import write_rows
from markets import market
from typer.testing import CliRunner

from tradeschool.cli.main import app
from tradeschool.market.calendar import sessions

WEEK = ["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"]


def write(folder: Path, days: list[str], prices: str = "1,1,1,1") -> Path:
    lines = ["Date,Open,High,Low,Close,Volume", *(f"{day},{prices},1" for day in days)]
    (folder / "AAA.csv").write_text("\n".join(lines) + "\n")
    return folder


def check(path: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["data", "check", str(path), *options], env={"COLUMNS": "300"})
    return done.exit_code, done.output.rstrip()


def test_the_last_line_counts_the_warnings(tmp_path: Path) -> None:
    assert check(write(tmp_path, WEEK))[1].endswith("OK: this data can be loaded.")
    assert check(write(tmp_path, ["2020-01-03", "2020-01-04"]))[1].endswith(
        "OK: this data can be loaded, with 1 warning."
    )


def test_the_table_shows_a_few_rows_per_rule_and_counts_the_rest(tmp_path: Path) -> None:
    days = [f"2020-01-{day:02d}" for day in range(1, 20)]
    code, text = check(write(tmp_path, days, "2,2,[bold]low[/bold],2"))
    assert code == 2
    assert text.count("'[bold]low[/bold]'") == 5
    assert "Low is not a number: 19 in 1 file, of which 5 are shown" in text
    assert "--all prints them, --csv FILE writes them" in text
    assert "19 errors" in text


def test_every_finding_can_be_printed_and_written(tmp_path: Path) -> None:
    days = [f"2020-01-{day:02d}" for day in range(1, 29)]
    write(tmp_path, days, "2,2,low,2")
    code, text = check(tmp_path, "--all")
    assert (code, text.count("'low'")) == (2, 28)
    assert "are shown" not in text
    out = tmp_path / "findings.txt"
    code, text = check(tmp_path, "--csv", str(out))
    assert (code, text.count("'low'")) == (2, 5)
    with out.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [(one["row"], one["ticker"], one["day"]) for one in found if one["kind"] == "Low is not a number"] == [
        (str(row), "AAA", day) for row, day in enumerate(days, 2)
    ]
    code, text = check(tmp_path, "--csv", str(tmp_path / "nowhere" / "findings.csv"))
    assert code != 0
    assert "cannot be written" in text
    assert check(tmp_path, "--csv", str(out))[0] == 2  # earlier findings are replaced
    prices = next(tmp_path.glob("*.csv"))
    before = prices.read_bytes()
    code, text = check(tmp_path, "--csv", str(prices))
    assert (code != 0, "holds no findings" in text, prices.read_bytes() == before) == (True, True, True)


def test_what_would_load_a_wrong_number_is_refused_and_can_be_accepted_or_left_out(tmp_path: Path) -> None:
    good = price_files.bars()
    day = str(price_files.BUSINESS[200])
    pence = price_files.write(tmp_path / "pence", AAA=price_files.times(good, slice(200, None), 100))
    code, text = check(pence)
    assert (code, f"AAA.csv, row 202, {day}" in text) == (2, True)
    assert check(pence, "--accept", f"AAA {day}")[0] == 0
    assert check(pence, "--accept", "AAA 2015-01-01")[0] == 2
    spike = price_files.write(tmp_path / "spike", AAA=price_files.times(good, slice(200, 201), 100, ("High",)))
    assert check(spike)[0] == 2
    code, text = check(spike, "--leave-out")
    assert (code, "299 dates, 252 bars a year" in text) == (0, True)


def test_an_exchange_distinguishes_missing_sessions_from_holidays(tmp_path: Path) -> None:
    pytest.importorskip("pandas_market_calendars")
    july = sessions("NYSE", np.datetime64("2014-06-30"), np.datetime64("2014-07-11"))
    write(tmp_path, [str(day) for day in july if str(day) != "2014-07-02"])
    code, text = check(tmp_path, "--exchange", "NYSE")
    assert code == 0
    assert "AAA: 1, 2014-07-02" in text
    assert "0 errors, 1 warning, " in text
    assert "0 warnings" in check(tmp_path)[1]


def test_a_file_with_texts_is_checked_as_events(tmp_path: Path) -> None:
    path = tmp_path / "tweets.csv"
    path.write_text("ticker,date,text\nAAA,2020-01-02,Hello\n")
    code, text = check(path)
    assert code == 2
    assert "column known_at missing" in text


def test_a_file_of_deepstock_rows_is_checked_as_prices_and_as_events(tmp_path: Path) -> None:
    panel = market(tickers=2, days=200)
    code, text = check(write_rows(tmp_path / "good.jsonl", panel))
    assert (code, "2 tickers, 200 dates" in text, "fundamentals" in text) == (0, True, True)
    panel.open_TN[60:, 1] /= 2
    panel.close_TN[60:, 1] /= 2
    path, day = write_rows(tmp_path / "split.jsonl", panel), panel.dates_T[60].astype("datetime64[D]")
    code, text = check(path)
    assert (code, f"split.jsonl, row 122, {day}" in text) == (2, True)
    assert check(path, "--accept", f"{panel.tickers[1]} {day}")[0] == 0
