"""Opening a recipe: a file of DeepStock rows as a market, and the warning where masking lacks companies' names."""

import json
from pathlib import Path

import numpy as np
import pytest
from deepstock_rows import write_rows
from markets import market
from rich.console import Console
from typer.testing import CliRunner

from tradeschool.cli import app
from tradeschool.errors import RecipeError
from tradeschool.opening import load_panel, make_task
from tradeschool.prepare.overview import recipe_of


def rows(folder: Path, days: int = 330) -> Path:
    return write_rows(folder / "rows.jsonl", market(tickers=3, days=days))


def opened(source: Path, *sets: str) -> tuple[object, str]:
    console = Console(record=True, width=1000, quiet=False, file=(source.parent / "printed.txt").open("w"))
    panel = load_panel(recipe_of(str(source), sets), console)
    return panel, console.export_text()


def prices(folder: Path, *tickers: str) -> Path:
    (folder / "prices").mkdir()
    for ticker in tickers:
        lines = [f"2014-03-{day:02},5,6,4,5,100" for day in (3, 4, 5, 6, 7)]
        (folder / "prices" / f"{ticker}.csv").write_text("\n".join(["Date,Open,High,Low,Close,Volume", *lines]))
    return folder / "prices"


# DeepStock rows


def test_a_file_of_deepstock_rows_is_a_market_with_its_notes_and_names(tmp_path: Path) -> None:
    path, whole = rows(tmp_path), market(tickers=3, days=330)
    recipe = recipe_of(str(path), ["split.warmup=40"])
    assert recipe.source == "deepstock"
    assert recipe.resolved["market"]["path"] == str(path)
    panel = load_panel(recipe, Console(quiet=True))
    assert panel.shape == (330, 3)
    assert np.allclose(panel.close_TN, whole.close_TN)
    assert panel.names["PRAC00"] == ("Prac00 Motor Company",)
    assert {note.kind for note in panel.notes} == {"news", "company", "fundamentals"}
    task = make_task(recipe, panel)
    example = next(iter(task.examples("train")))
    assert task.prompt(example).messages


def test_the_markets_own_keys_reach_the_reader(tmp_path: Path) -> None:
    path = rows(tmp_path, days=200)
    panels = [
        load_panel(recipe_of(str(path), [f"market.dated_notes={when}"]), Console(quiet=True))
        for when in ("next_day", "same_day")
    ]
    first = [min(note.known_at for note in panel.notes if note.kind == "news") for panel in panels]
    assert first[0] - first[1] == 1
    with pytest.raises(RecipeError, match="'adjust' is not a key here"):
        recipe_of(str(path), ["market.adjust=false"])


def test_notes_as_the_path_of_a_market_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    for text in (json.dumps({"ticker": "A", "known_at": "2014-03-04", "text": "up"}), "", "no json", "[1]"):
        path.write_text(text)
        with pytest.raises(RecipeError, match=r"holds no prices: its rows have no company_info.*market\.notes"):
            recipe_of(str(path))


def test_describe_and_prepare_take_the_rows(tmp_path: Path) -> None:
    path = rows(tmp_path)
    sets = ["--set", "split.warmup=40"]
    described = CliRunner().invoke(app, ["data", "describe", str(path), "--out", str(tmp_path / "page.html"), *sets])
    assert described.exit_code == 0, described.output
    assert "PRAC01" in described.output
    out = tmp_path / "prompts"
    prepared = CliRunner().invoke(app, ["prepare", str(path), "--out", str(out), "--workers", "1", *sets])
    assert prepared.exit_code == 0, prepared.output
    assert any(out.iterdir())


def test_too_few_days_are_said_plainly(tmp_path: Path) -> None:
    path = rows(tmp_path, days=200)
    described = CliRunner().invoke(app, ["data", "describe", str(path), "--out", str(tmp_path / "page.html")])
    assert described.exit_code == 0, described.output
    assert "No parts, labels or features" in " ".join(described.output.split())


# Masking without names


def test_masked_texts_without_names_are_warned_of_first(tmp_path: Path) -> None:
    folder = prices(tmp_path, "AAA", "BBB", "CCC")
    notes, names = tmp_path / "notes.jsonl", tmp_path / "names.csv"
    told: list[dict[str, object]] = [
        {"ticker": ticker, "known_at": "2014-03-04", "text": "up"} for ticker in ("AAA", "AAA", "BBB")
    ]
    told += [{"ticker": "CCC", "known_at": "2014-03-04", "kind": "analyst", "target": 5}, {**told[0], "ticker": ""}]
    told += [{**told[0], "ticker": f"X{n}", "known_at": "2014-03-05"} for n in range(3)]
    notes.write_text("\n".join(map(json.dumps, told)))
    names.write_text("Ticker,Company\nAAA,Alpha Inc.\nCCC,Gamma Inc.\n")
    given = [f"market.notes={notes}", "task.mask=true"]
    said = "no company name, so masking hides their symbols only: give market.names"
    _, shown = opened(folder, *given)
    assert shown.startswith(f"Note: 2 of 2 tickers with notes have {said}")
    assert shown.count(said) == 1
    assert f"Note: 1 of 2 tickers with notes have {said}" in opened(folder, *given, f"market.names={names}")[1]
    names.write_text("Ticker,Company\nAAA,Alpha Inc.\nBBB,Beta Inc.\n")
    assert said not in opened(folder, *given, f"market.names={names}")[1]
    assert said not in opened(folder, given[0], "task.mask=false")[1]
    assert said not in opened(folder, "task.mask=true")[1]
