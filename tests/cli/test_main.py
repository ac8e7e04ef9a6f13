"""The command line: exit codes, output, and a fast start."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fake_stage
import pytest
import typer
from typer.testing import CliRunner

import tradeschool
from tradeschool.cli.data import data
from tradeschool.cli.main import app
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
        "import sys\nfrom typer.testing import CliRunner\nfrom tradeschool.cli.main import app\n"
        "result = CliRunner().invoke(app, ['--help'])\nassert result.exit_code == 0, result.output\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


COMMANDS = (
    "run", "resume", "compare", "report", "signal", "judge", "prepare", "leaderboard", "play", "serve", "data",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_command_and_shows_examples(command: str) -> None:
    assert command in call("--help")[1]
    code, output = call(command, *(["check"] if command == "data" else []), "--help")
    assert code == 0
    assert f"tradeschool {command}" in output


@pytest.mark.parametrize("words", [("judge",), ("data", "describe")])
def test_a_paragraph_of_help_is_one_line_where_it_fits(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    lines = [line.strip() for line in call(*words, "--help")[1].splitlines()]
    end = next(n for n, line in enumerate(lines) if line.startswith("Example"))
    paragraphs = [line for line in lines[2:end] if line]
    assert len(paragraphs) == 2
    assert all(line.endswith(".") for line in paragraphs)


def test_examples_in_help_keep_their_square_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich's markup would swallow them."""
    monkeypatch.setenv("COLUMNS", "300")
    commands: list[tuple[tuple[str, ...], typer.Typer]] = [
        ((command,), app) for command in COMMANDS if command != "data"
    ]
    commands += [
        (("data", one.name or one.callback.__name__), data) for one in data.registered_commands if one.callback
    ]
    seen = 0
    for words, group in commands:
        callbacks = [one.callback for one in group.registered_commands if one.callback]
        (text,) = [one.__doc__ or "" for one in callbacks if one.__name__ == words[-1]]
        output = call(*words, "--help")[1]
        for example in re.findall(r"\\?(\[[^]]+\])", text):
            assert example in output, words
            seen += 1
    assert seen >= 3


@pytest.mark.parametrize(
    ("command", "sections"),
    [("run", "agents: [hold]\nmarkets: {}"), ("prepare", "agents: [hold]"), ("leaderboard", "task: {name: trade}")],
)
def test_a_recipe_of_the_other_kind_names_its_command(command: str, sections: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"name: a\n{sections}\n", encoding="utf-8")
    code, output = call(command, str(path), *(["--out", "out"] if command == "prepare" else []))
    kind, right = ("training", "run") if command == "leaderboard" else ("leaderboard", "leaderboard")
    assert (code, output) == (2, f"{path} is a {kind} recipe. Use: tradeschool {right} {path}\n")


def test_prepare_refuses_a_file_that_holds_no_prices(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("Hello\n", encoding="utf-8")
    code, output = call("prepare", str(path), "--out", "out")
    assert (code, output) == (2, f"{path} is not a recipe, .csv or .parquet file.\n")


def test_a_leaderboard_asks_for_the_sample_prices_before_it_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bokeh_sampledata", None)
    path = tmp_path / "a.yaml"
    path.write_text("name: a\nmarkets: {one: {source: synthetic}, two: {source: sample}}\nagents: [hold]\n")
    code, output = call("leaderboard", str(path))
    assert code == 2
    assert "pip install 'tradeschool[sample]'" in output
    assert not Path("leaderboards").exists()


def test_version() -> None:
    assert call("--version") == (0, f"tradeschool {tradeschool.__version__}\n")


def test_run_and_resume(fake_recipe: Write, tmp_path: Path) -> None:
    code, output = call("run", str(fake_recipe()), "--set", "seed=9", "--set", "stages.first.steps=2", "--out", "mine")
    assert code == 0
    assert str(tmp_path / "mine") in output
    resolved = json.loads((tmp_path / "mine" / "manifest.json").read_text(encoding="utf-8"))["recipe"]
    assert (resolved["seed"], resolved["stages"][0]["steps"]) == (9, 2)
    assert call("resume", "mine")[0] == 0
    code, output = call("resume", "mine", "--recipe", str(fake_recipe()))
    assert code == 2
    assert "seed: 9 -> 5" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "fake.yaml", "--set", "seeed=3"), "Did you mean 'seed'?"),
        (("run", "fake.yaml", "--set", "seed"), "not key=value"),
        (("run", "fkae.yaml"), "There is no recipe"),
        (("run", "fake.yaml", "--set", "market.path=nowhere"), "does not exist"),
        (("resume", "nowhere"), "No run 'nowhere' in ./runs. Start one with: tradeschool run recipes/demo.yaml"),
        (("report", "nowhere"), "No run 'nowhere' in ./runs. Start one with: tradeschool run recipes/demo.yaml"),
        (("compare", "nowhere"), "No run 'nowhere' in ./runs. Start one with: tradeschool run recipes/demo.yaml"),
        (("data", "check", "nowhere"), "nowhere"),
    ],
)
def test_a_problem_is_one_message_without_traceback(fake_recipe: Write, arguments: tuple[str, ...], words: str) -> None:
    fake_recipe()
    code, output = call(*arguments)
    assert code == 2
    assert words in output
    assert "Traceback" not in output


def test_square_brackets_in_a_message_are_kept(fake_recipe: Write) -> None:
    assert "--set market.edge=[red]" in call("run", str(fake_recipe()), "--set", "market.edge=[red]")[1]


def test_a_bug_keeps_its_traceback(fake_recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(config: fake_stage.Config, context: Context) -> Result:
        raise ZeroDivisionError

    monkeypatch.setattr(fake_stage, "run", run)
    with pytest.raises(ZeroDivisionError) as raised:
        call("run", str(fake_recipe()))
    notes = "\n".join(raised.value.__notes__)
    assert "bug in tradeschool" in notes
    assert "tradeschool resume" in notes


def test_a_missing_optional_library_names_its_extra(fake_recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(config: fake_stage.Config, context: Context) -> Result:
        raise ModuleNotFoundError("No module named 'openai'", name="openai")

    monkeypatch.setattr(fake_stage, "run", run)
    code, output = call("run", str(fake_recipe()))
    assert code == 2
    assert "pip install 'tradeschool[remote]'" in output
    assert "Traceback" not in output


def test_data_check_counts_what_is_there(tmp_path: Path) -> None:
    rows = "".join(f"2020-01-{day:02d},10,11,9,10,100\n" for day in (2, 3, 6, 7))
    (tmp_path / "ABC.csv").write_text("Date,Open,High,Low,Close,Volume\n" + rows, encoding="utf-8")
    code, output = call("data", "check", str(tmp_path))
    assert code == 0
    assert "ABC" in output
    assert "1 tickers, 4 dates" in output


def test_data_check_names_file_and_row(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Volume\n2020-01-02,10,11,9,10,100\n2020-01-03,10,8,9,10,100\n"
    (tmp_path / "ABC.csv").write_text(text, encoding="utf-8")
    code, output = call("data", "check", str(tmp_path))
    assert code == 2
    assert "ABC" in output
    assert "Traceback" not in output


def test_a_full_disk_or_too_little_memory_is_no_bug_in_any_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, words in [
        (OSError(28, "No space left on device", "/data"), "/data: the disk is full"),
        (PermissionError(13, "Permission denied", "/data"), "/data: permission denied"),
        (MemoryError("Unable to allocate 9 TiB"), "The memory is not enough"),
    ]:

        def fail(*given: object, error: Exception = error, **options: object) -> None:
            raise error

        monkeypatch.setattr("tradeschool.run_folder.find", fail)
        code, output = call("compare", "a")
        assert code == 2
        assert words in output
        assert "bug" not in output
