"""The command signal: table, CSV and JSON."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tradeschool as ts
from tradeschool.cli.main import app

Write = Callable[..., Path]
SIGNAL = ("signal", "mine", "--model", "base")


@pytest.fixture
def run(fake_recipe: Write) -> ts.Run:
    return ts.run(fake_recipe(), out="mine", quiet=True)


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    return result.exit_code, result.stdout


def test_csv_and_json_hold_a_row_for_each_ticker(run: ts.Run) -> None:
    code, text = call(*SIGNAL, "--csv")
    assert code == 0
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == ["date", "ticker", "rating", "model", "reasoning", "error"]
    assert [row["ticker"] for row in rows] == list(run.panel.tickers)
    code, text = call(*SIGNAL, "--json", "--date", "2010-06-05", "--tickers", run.panel.tickers[1])
    assert code == 0
    (decision,) = json.loads(text)
    assert "rating" in decision
    assert (decision["ticker"], decision["date"]) == (run.panel.tickers[1], "2010-06-04")


def test_the_table_names_the_date(run: ts.Run) -> None:
    code, text = call(*SIGNAL, "--date", "2010-06-05")
    assert code == 0
    assert "2010-06-04" in text
    assert "rating" in text
    assert all(ticker in text for ticker in run.panel.tickers)


def test_a_date_of_training_is_noted(run: ts.Run) -> None:
    result = CliRunner().invoke(app, [*SIGNAL, "--csv", "--date", "2010-06-05"])
    assert f"ends on {run.last_training_date}" in result.stderr
    assert "training" not in CliRunner().invoke(app, [*SIGNAL, "--csv"]).stderr


def test_csv_and_json_at_once_are_refused(run: ts.Run) -> None:
    assert call(*SIGNAL, "--csv", "--json")[0] == 2


def test_an_unfinished_stage_is_warned_of(run: ts.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.folder / "2-second" / "done.json").unlink()
    (run.folder / "1-first" / "done.json").unlink()
    result = CliRunner().invoke(app, ["signal", "mine", "--csv"])
    assert f"stage first has not finished; using base. Continue with: tradeschool resume {run.folder}" in (
        result.stderr
    )
    assert "has not finished" not in CliRunner().invoke(app, [*SIGNAL, "--csv"]).stderr


EXAM = """\
name: exam
market: {source: synthetic, tickers: 4, days: 300, edge: 0.1}
split: {train: 0.5, validation: 0.1, test: 0.4, warmup: 30}
task: {name: rating, facts: [market, rsi]}
model: {base: tiny, tiny: {hidden_size: 32, layers: 1, heads: 2, intermediate_size: 32}}
stages: [{stage: evaluate, tickers: 2, max_new_tokens: 4, batch_size: 40}]
"""


def test_output_to_a_pipe_is_plain_lines_that_name_each_phase(tmp_path: Path) -> None:
    (tmp_path / "exam.yaml").write_text(EXAM, encoding="utf-8")
    command = [sys.executable, "-m", "tradeschool.cli", "run", "exam.yaml", "--out", "exam"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "FORCE_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert not any(mark in done.stdout for mark in ("\r", "━", "\x1b[?25l", "%|"))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in done.stdout.splitlines()]
    phases = ["Reading the market ...", "Checking every stage ...", "Asking the baselines ..."]
    assert [line for line in lines if line in phases] == phases
    assert "Loading the model (base model (tiny)) ..." in lines
    assert any(
        re.fullmatch(r"asking base model \(tiny\): (\d+) of \1 questions \(100%\), took \d+ s", x) for x in lines
    )
    assert any(line.startswith("Evaluated as given: base model (tiny)") for line in lines)
    assert not any("trained model" in line for line in lines)
