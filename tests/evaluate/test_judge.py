"""Decisions from a table: compared like those of our own models; errors name file and line."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import price_files
import pytest
from markets import market, task_of
from typer.testing import CliRunner

from tradeschool.cli.main import app
from tradeschool.errors import DataError, RunError
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import Comparison
from tradeschool.evaluate.evaluation_set import evaluation_set_of, traces_to_predictions
from tradeschool.evaluate.judge import evaluate_decisions
from tradeschool.market.panel import Panel
from tradeschool.policies import rules
from tradeschool.rollout import rollout
from tradeschool.tasks.rating import RatingTask
from tradeschool.text.parse import RATING_NAMES

Rows = list[list[Any]]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return replace(market(edge=0.0, days=400), true_alpha_TN=None)


@pytest.fixture(scope="module")
def task(panel: Panel) -> RatingTask:
    return task_of(panel)


@pytest.fixture(scope="module")
def momentum(task: RatingTask) -> Rows:
    """Momentum's ratings of every ticker on every test date, also the last ones, whose outcome is not known."""
    panel, rows = task.panel, []
    for t in task.split.test_T.tolist():
        for n in np.flatnonzero(panel.listed_TN[t]).tolist():
            example = task.example_at(t, n)
            rating = task.parse(rules.momentum().answer(task, [example])[0])
            rows.append([str(panel.dates_T[t].astype("datetime64[D]")), panel.tickers[n], RATING_NAMES[rating]])
    return rows


def written(folder: Path, rows: Rows, header: tuple[str, ...] = ("date", "ticker", "rating")) -> Path:
    path = folder / "decisions.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def judged(folder: Path, panel: Panel, rows: Rows, **options: Any) -> Comparison:
    return evaluate_decisions(written(folder, rows), panel, **options)


@pytest.mark.parametrize(("aversion", "horizon"), [(0.2, 1), (0.02, 3)])
def test_momentums_ratings_give_momentums_row_to_the_digit(
    aversion: float, horizon: int, tmp_path: Path, panel: Panel, momentum: Rows
) -> None:
    task = task_of(panel, risk_aversion=aversion, horizons=[horizon])
    found = judged(tmp_path, panel, momentum, risk_aversion=aversion, horizon=horizon)
    assert f"(aversion {aversion}) over {horizon} day" in found.evaluation.score
    examples = task.examples("test")
    questions = evaluation_set_of(task, task.panel, examples, "test")
    answers = [
        traces_to_predictions(questions, p.name, p.kind, examples, rollout(p, task, examples, {}))
        for p in task.baselines(0)
    ]
    row = compare(questions, answers).row("momentum 10d")
    ours = found.row("decisions")
    labels = {"decision", "accuracy"}
    assert {k: v.value for k, v in ours.metrics.items() if k != "dsr"} == pytest.approx(
        {k: v.value for k, v in row.metrics.items() if k != "dsr" and k not in labels}, rel=0, abs=0, nan_ok=True
    )
    assert ours.metrics == found.row("momentum 10d").metrics
    assert ours.equity_T == row.equity_T
    assert ours.answer_shares == row.answer_shares
    assert ours.kind == "decisions"
    assert any(f"such as the last {horizon + 1} days" in warning for warning in found.warnings)


def test_an_unknown_row_is_an_error_that_names_the_rows(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    with pytest.raises(RunError, match="Did you mean 'decisions'.*hold, buy and hold"):
        judged(tmp_path, panel, momentum).row("decision")


def test_the_command_prints_risk_aversion_and_horizon(
    tmp_path: Path, panel: Panel, momentum: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradeschool.evaluate.judge.load_prices", lambda path, **options: panel)
    path, options = written(tmp_path, momentum), ["--prices", "prices"]
    shown = CliRunner().invoke(app, ["judge", str(path), *options, "--confidence", "0.9"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "(aversion 0.02) over 1 day" in shown.output
    page = path.with_suffix(".html").read_text()
    assert "(aversion 0.02) over 1 day" in page
    assert "90 % interval" in page
    assert "trained</span>" not in page
    shown = CliRunner().invoke(
        app, ["judge", str(path), *options, "--risk-aversion", "0.1", "--horizon", "3"], env={"COLUMNS": "200"}
    )
    assert "(aversion 0.1) over 3 days" in shown.output


def test_prices_that_were_looked_at_can_be_accepted(tmp_path: Path) -> None:
    good, day = price_files.bars(), str(price_files.BUSINESS[200])
    prices = price_files.write(tmp_path / "prices", AAA=price_files.times(good, slice(200, None), 100))
    rows = "".join(f"{date},AAA,HOLD\n" for date in price_files.BUSINESS[210:240])
    (tmp_path / "mine.csv").write_text("date,ticker,rating\n" + rows)
    command = ["judge", str(tmp_path / "mine.csv"), "--prices", str(prices)]
    assert CliRunner().invoke(app, command).exit_code != 0
    shown = CliRunner().invoke(app, [*command, "--accept", f"AAA {day}"])
    assert shown.exit_code == 0, shown.output


def test_random_ratings_are_not_shown(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    drawn = np.random.default_rng(1).choice(list(RATING_NAMES.values()), len(momentum))
    found = judged(tmp_path, panel, [[*row[:2], rating] for row, rating in zip(momentum, drawn, strict=True)])
    assert found.row("decisions").verdict in ("not shown", "worse")
    assert {row.policy for row in found.rows} >= {"hold", "buy and hold", "best constant", "random", "momentum 10d"}


def test_positions_are_judged_as_the_ratings_that_they_equal(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    value = {name: rating / 2 for rating, name in RATING_NAMES.items()}
    frame = pd.DataFrame(
        {
            "Date": pd.to_datetime([row[0] for row in momentum]),
            "Ticker": [row[1] for row in momentum],
            "Position": [value[row[2]] for row in momentum],
        }
    )
    by_position = evaluate_decisions(frame, panel, report=tmp_path / "out.html")
    by_rating = judged(tmp_path, panel, momentum)
    assert by_position.row("decisions").metrics == by_rating.row("decisions").metrics
    assert by_position.row("decisions").answer_shares == {}
    assert Comparison.from_json((tmp_path / "out.json").read_text()).to_json() == by_position.to_json()
    assert "decisions" in (tmp_path / "out.html").read_text()


def test_an_unreadable_answer_of_signal_counts_as_unreadable(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    table = [[*row, ""] for row in momentum]
    table[0][2:] = ["", "no decision"]
    path = written(tmp_path, table, ("date", "ticker", "rating", "error"))
    row = evaluate_decisions(path, panel).row("decisions")
    answers = evaluate_decisions(path, panel).evaluation.questions
    assert row.metrics["parse_errors"].value == pytest.approx(1 / answers)
    assert row.answer_shares["unreadable"] == pytest.approx(1 / answers)


def edited(rows: Rows, at: int, column: int, value: Any) -> Rows:
    return [[value if (n, c) == (at, column) else old for c, old in enumerate(row)] for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [*rows[:40], *rows[41:]], r"decisions\.csv: no decision for PRAC\d+ on \d{4}"),
        (lambda rows: [*rows[:41], rows[40], *rows[41:]], r"decisions\.csv, line 43: a second decision .* line 42"),
        (lambda rows: edited(rows, 40, 1, "PRAC9"), r"line 42: ticker 'PRAC9' is not in the prices\. Did you mean"),
        (lambda rows: edited(rows, 40, 2, "BYU"), r"line 42: rating 'BYU' cannot be read\. Did you mean 'BUY'"),
        (lambda rows: edited(rows, 40, 1, "ZZZZZZZZ"), r"line 42: ticker 'Z+' .* or add ZZZZZZZZ\.csv to the prices"),
        (lambda rows: edited(rows, 40, 2, ""), r"line 42: rating: the cell is empty\. Fill it.*HOLD"),
        (lambda rows: edited(rows, 40, 1, " "), r"line 42: ticker: the cell is empty"),
        (lambda rows: [*rows[:40], [*rows[40], "x"], *rows[41:]], r"line 42 has 4 cells, the header has 3"),
        (lambda rows: [[*rows[0], "x"], *rows[1:]], r"line 2 has 4 cells, the header has 3"),
        (lambda rows: [*rows[:41], rows[40], *rows[41:]], r"the first is in line 42"),
        (lambda rows: edited(rows, 40, 2, "3"), r"line 42: rating '3' cannot be read"),
        (lambda rows: edited(rows, 40, 0, "04/05/2012"), r"line 42: '04/05/2012' is not a date"),
        (lambda rows: edited(rows, 40, 0, "1970-01-05"), r"line 42: 1970-01-05 is outside the prices"),
        (lambda rows: [], "no decision"),
    ],
    ids=[
        "missing",
        "doubled",
        "ticker",
        "rating",
        "unlike",
        "empty",
        "no ticker",
        "a cell too many",
        "first",
        "where",
        "number",
        "date",
        "outside",
        "none",
    ],
)
def test_broken_rows_are_named(change: Any, words: str, tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    with pytest.raises(DataError, match=words):
        judged(tmp_path, panel, change(momentum))


def test_a_row_missing_on_the_last_date_of_the_prices_is_named(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    """It would not be scored, since its outcome is not known yet; but nobody leaves it out on purpose."""
    days = panel.dates_T.astype("datetime64[D]")
    given = [row for row in momentum if row[0] < str(days[-3])]
    given += [[str(day), ticker, "HOLD"] for day in days[-3:] for ticker in panel.tickers]
    judged(tmp_path, panel, given)
    with pytest.raises(DataError, match=rf"no decision for {panel.tickers[-1]} on {days[-1]}\. "):
        judged(tmp_path, panel, given[:-1])


def test_only_an_earlier_report_is_replaced(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    path = written(tmp_path, momentum)
    report, figures = tmp_path / "decisions.html", tmp_path / "decisions.json"
    for content, name in (("[1, 2]", figures), ("<html>mine", report)):
        name.write_text(content, encoding="utf-8")
        with pytest.raises(RunError, match=r"exists already and is not an earlier report .*--report"):
            evaluate_decisions(path, panel, report=report)
        assert name.read_text(encoding="utf-8") == content
        name.unlink()
    for _ in range(2):
        evaluate_decisions(path, panel, report=report)
    assert "decisions" in report.read_text(encoding="utf-8")


def test_a_report_never_replaces_what_is_read(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    path = written(tmp_path, momentum)
    evaluate_decisions(path, panel, report=tmp_path / "decisions.html")
    before = path.read_bytes()
    for report in (path, tmp_path / "decisions.json"):
        with pytest.raises(RunError, match=r"does not end in \.html"):
            evaluate_decisions(path, panel, report=report)
    for name in ("decisions.html", "decisions.json"):
        with pytest.raises(RunError, match="would replace .*, which is read here"):
            evaluate_decisions(tmp_path / name, panel, report=tmp_path / "decisions.html")
        with pytest.raises(RunError, match="would replace .*, which is read here"):
            evaluate_decisions(path, tmp_path / name, report=tmp_path / "decisions.html")
    assert path.read_bytes() == before


def test_tables_as_other_programs_write_them(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    plain = judged(tmp_path, panel, momentum).to_json()
    for time in (" 00:00:00", "T00:00:00"):
        assert judged(tmp_path, panel, [[day + time, *rest] for day, *rest in momentum]).to_json() == plain
    trailing = written(tmp_path, [[*row, "", ""] for row in momentum], ("date", "ticker", "rating", "", ""))
    assert evaluate_decisions(trailing, panel).to_json() == plain
    for separator, name in ((";", "';'"), ("\t", "tabs")):
        trailing.write_text("\n".join(separator.join(row) for row in [["date", "ticker", "rating"], *momentum]))
        with pytest.raises(DataError, match=f"separated by {name}.*commas"):
            evaluate_decisions(trailing, panel)
    with pytest.raises(DataError, match="two columns are called 'rating'"):
        evaluate_decisions(written(tmp_path, momentum, ("date", "Rating", "rating")), panel)


def test_an_empty_cell_of_a_data_frame_is_called_empty(panel: Panel, momentum: Rows) -> None:
    frame = pd.DataFrame(momentum, columns=["date", "ticker", "rating"])
    frame.loc[3, "rating"] = None
    with pytest.raises(DataError, match="decisions, row 3: rating: the cell is empty"):
        evaluate_decisions(frame, panel)


def test_a_day_without_trading_is_named_as_possible_look_ahead(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    day = np.datetime64(momentum[40][0])
    weekend = next(str(day + n) for n in range(1, 9) if day + n not in panel.dates_T.astype("datetime64[D]"))
    with pytest.raises(DataError, match=rf"line 42: {weekend} has no bar.*look-ahead"):
        judged(tmp_path, panel, edited(momentum, 40, 0, weekend))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (("day", "ticker", "rating"), "no column 'date'"),
        (("date", "ticker", "score"), "has only date, ticker, score"),
        (("date", "symbol", "rating"), "no column 'ticker'"),
    ],
)
def test_missing_columns_are_named(
    header: tuple[str, ...], words: str, tmp_path: Path, panel: Panel, momentum: Rows
) -> None:
    with pytest.raises(DataError, match=words):
        evaluate_decisions(written(tmp_path, momentum, header), panel)


@pytest.mark.parametrize("value", ["1.2", "-2", "nan", "all in"])
def test_positions_out_of_range_are_refused(value: str, tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    rows = [[*row[:2], "0.5"] for row in momentum]
    path = written(tmp_path, edited(rows, 40, 2, value), ("date", "ticker", "position"))
    with pytest.raises(DataError, match="line 42: position"):
        evaluate_decisions(path, panel)


def test_fills_at_the_close_are_warned_of(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    rows = {str(day): t for t, day in enumerate(panel.dates_T.astype("datetime64[D]"))}
    close = [panel.close_TN[rows[day], panel.tickers.index(ticker)] for day, ticker, _ in momentum]
    table = [[*row, price, price * 2] for row, price in zip(momentum, close, strict=True)]
    path = written(tmp_path, table, ("date", "ticker", "rating", "price", "fill_price"))
    warnings = evaluate_decisions(path, panel).warnings
    assert "'price' equals the day's close in 100%" in warnings[0]
    assert "'fill_price' suggests execution" in warnings[1]


def test_dates_of_training_are_warned_of(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    last, first = momentum[-1][0], momentum[0][0]
    before = str(np.datetime64(first) - 1)
    assert not any(
        "end of training" in text for text in judged(tmp_path, panel, momentum, trained_until=before).warnings
    )
    days = len({row[0] for row in momentum})
    warnings = judged(tmp_path, panel, momentum, trained_until=last).warnings
    assert any(f"{days} of the {days} decision dates" in text for text in warnings)
    with pytest.raises(RunError, match="not a date"):
        judged(tmp_path, panel, momentum, trained_until="soon")


def test_settings_out_of_range_are_refused(tmp_path: Path, panel: Panel, momentum: Rows) -> None:
    for settings, words in (
        ({"name": "momentum 10d"}, "name is 'momentum 10d'"),
        ({"commission_bps": 2000}, "commission_bps is 2000"),
        ({"slippage_bps": -1}, "slippage_bps is -1"),
        ({"risk_aversion": -1}, "risk_aversion is -1"),
        ({"horizon": 0}, "horizon is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"name": " "}, "name is empty"),
        ({"confidence": 0.5}, r"confidence level is 0\.5\. Give one above 0\.5"),
    ):
        with pytest.raises(RunError, match=words):
            judged(tmp_path, panel, momentum, **settings)


def test_decisions_from_the_first_date_on_have_no_best_constant(tmp_path: Path, panel: Panel) -> None:
    days = panel.dates_T.astype("datetime64[D]")
    rows = [[str(day), ticker, "BUY"] for day in days[:90] for ticker in panel.tickers[:2]]
    found = judged(tmp_path, panel, rows)
    assert not found.has("best constant")
    assert found.evaluation.tickers == 2
