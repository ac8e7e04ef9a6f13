"""The commands: exit codes, what is printed, and that help needs nothing heavy."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fake_stage
import pytest
from typer.testing import CliRunner

import tradeschool
from tradeschool.cli import app
from tradeschool.train.stage import Context, Result

Write = Callable[..., Path]
HEAVY = ("torch", "transformers", "trl", "datasets", "pandas", "numpy", "matplotlib", "scipy", "pyarrow", "gymnasium")


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom tradeschool.cli import app\n"
        "result = CliRunner().invoke(app, ['--help'])\nassert result.exit_code == 0, result.output\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("command", ["run", "resume", "compare", "report", "leaderboard", "data"])
def test_help_names_every_command_and_shows_examples(command: str) -> None:
    assert command in call("--help")[1]
    code, said = call(command, *(["check"] if command == "data" else []), "--help")
    assert code == 0
    assert f"tradeschool {command}" in said


def test_version() -> None:
    assert call("--version") == (0, f"tradeschool {tradeschool.__version__}\n")


def test_run_and_resume(fake_recipe: Write, tmp_path: Path) -> None:
    code, said = call("run", str(fake_recipe()), "--set", "seed=9", "--set", "stages.first.steps=2", "--out", "mine")
    assert code == 0
    assert str(tmp_path / "mine") in said
    resolved = json.loads((tmp_path / "mine" / "manifest.json").read_text(encoding="utf-8"))["recipe"]
    assert (resolved["seed"], resolved["stages"][0]["steps"]) == (9, 2)
    assert call("resume", "mine")[0] == 0
    code, said = call("resume", "mine", "--recipe", str(fake_recipe()))
    assert code == 2
    assert "seed: 9 -> 5" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "fake.yaml", "--set", "seeed=3"), "Did you mean 'seed'?"),
        (("run", "fake.yaml", "--set", "seed"), "not key=value"),
        (("run", "fkae.yaml"), "There is no recipe"),
        (("run", "fake.yaml", "--set", "market.path=nowhere"), "does not exist"),
        (("resume", "nowhere"), "There is no run nowhere"),
        (("report", "nowhere"), "There is no run nowhere"),
        (("compare", "nowhere"), "There is no run nowhere"),
        (("data", "check", "nowhere"), "nowhere"),
    ],
)
def test_a_problem_is_one_message_without_traceback(fake_recipe: Write, arguments: tuple[str, ...], words: str) -> None:
    fake_recipe()
    code, said = call(*arguments)
    assert code == 2
    assert words in said
    assert "Traceback" not in said


def test_square_brackets_in_a_message_are_kept(fake_recipe: Write) -> None:
    assert "--set market.edge=[red]" in call("run", str(fake_recipe()), "--set", "market.edge=[red]")[1]


def test_a_defect_keeps_its_traceback_and_says_so(fake_recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(config: fake_stage.Config, context: Context) -> Result:
        raise ZeroDivisionError

    monkeypatch.setattr(fake_stage, "run", run)
    with pytest.raises(ZeroDivisionError) as raised:
        call("run", str(fake_recipe()))
    notes = "\n".join(raised.value.__notes__)
    assert "defect in tradeschool" in notes
    assert "tradeschool resume" in notes


def test_data_check_counts_what_is_there(tmp_path: Path) -> None:
    rows = "".join(f"2020-01-{day:02d},10,11,9,10,100\n" for day in (2, 3, 6, 7))
    (tmp_path / "ABC.csv").write_text("Date,Open,High,Low,Close,Volume\n" + rows, encoding="utf-8")
    code, said = call("data", "check", str(tmp_path))
    assert code == 0
    assert "ABC" in said
    assert "1 tickers, 4 dates" in said


def test_data_check_names_file_and_row(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Volume\n2020-01-02,10,11,9,10,100\n2020-01-03,10,8,9,10,100\n"
    (tmp_path / "ABC.csv").write_text(text, encoding="utf-8")
    code, said = call("data", "check", str(tmp_path))
    assert code == 2
    assert "ABC" in said
    assert "Traceback" not in said
