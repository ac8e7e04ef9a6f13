"""Building a recipe's market: a file of DeepStock rows, what a command says about the data before it goes on."""

import json
from pathlib import Path

import numpy as np
import price_files
import pytest
from deepstock_rows import write_rows
from markets import market
from rich.console import Console
from typer.testing import CliRunner

from tradeschool.cli.main import app
from tradeschool.config.recipe import load_panel, make_task, recipe_from_source
from tradeschool.errors import DataError, RecipeError


def rows(folder: Path, days: int = 330) -> Path:
    return write_rows(folder / "rows.jsonl", market(tickers=3, days=days))


def loaded(source: Path, *sets: str) -> tuple[object, str]:
    console = Console(record=True, width=1000, quiet=False, file=(source.parent / "printed.txt").open("w"))
    panel = load_panel(recipe_from_source(str(source), sets), console)
    return panel, console.export_text()


def prices(folder: Path, *tickers: str) -> Path:
    (folder / "prices").mkdir()
    for ticker in tickers:
        lines = [f"2014-03-{day:02},5,6,4,5,100" for day in (3, 4, 5, 6, 7)]
        (folder / "prices" / f"{ticker}.csv").write_text("\n".join(["Date,Open,High,Low,Close,Volume", *lines]))
    return folder / "prices"


# DeepStock rows


def test_a_file_of_deepstock_rows_is_a_market_with_its_events_and_names(tmp_path: Path) -> None:
    path, whole = rows(tmp_path), market(tickers=3, days=330)
    recipe = recipe_from_source(str(path), ["split.warmup=40"])
    assert recipe.source == "deepstock"
    assert recipe.resolved["market"]["path"] == str(path)
    panel = load_panel(recipe, Console(quiet=True))
    assert panel.shape == (330, 3)
    assert np.allclose(panel.close_TN, whole.close_TN)
    assert panel.names["PRAC00"] == ("Prac00 Motor Company",)
    assert {event.kind for event in panel.events} == {"news", "company", "fundamentals"}
    task = make_task(recipe, panel)
    example = next(iter(task.examples("train")))
    assert task.messages(example)


def test_the_markets_own_keys_reach_the_reader(tmp_path: Path) -> None:
    path = rows(tmp_path, days=200)
    panels = [
        load_panel(recipe_from_source(str(path), [f"market.dated_events={when}"]), Console(quiet=True))
        for when in ("next_day", "same_day")
    ]
    first = [min(event.known_at for event in panel.events if event.kind == "news") for panel in panels]
    assert first[0] - first[1] == 1
    with pytest.raises(RecipeError, match="'adjust' is not a key here"):
        recipe_from_source(str(path), ["market.adjust=false"])


def test_events_as_the_path_of_a_market_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for text in (json.dumps({"ticker": "A", "known_at": "2014-03-04", "text": "up"}), "", "no json", "[1]"):
        path.write_text(text)
        with pytest.raises(RecipeError, match=r"holds no prices: its rows have no company_info.*market\.events"):
            recipe_from_source(str(path))


def test_describe_and_prepare_take_the_rows(tmp_path: Path) -> None:
    path = rows(tmp_path)
    sets = ["--set", "split.warmup=40"]
    described = CliRunner().invoke(app, ["data", "describe", str(path), "--out", str(tmp_path / "page.html"), *sets])
    assert described.exit_code == 0, described.output
    assert "3 tickers on 330 dates" in described.output
    out = tmp_path / "prompts"
    prepared = CliRunner().invoke(app, ["prepare", str(path), "--out", str(out), "--workers", "1", *sets])
    assert prepared.exit_code == 0, prepared.output
    assert any(out.iterdir())


def test_too_few_dates_are_reported(tmp_path: Path) -> None:
    path = rows(tmp_path, days=200)
    described = CliRunner().invoke(app, ["data", "describe", str(path), "--out", str(tmp_path / "page.html")])
    assert described.exit_code == 0, described.output
    assert "No parts, labels or features" in " ".join(described.output.split())


# Masking without names


def test_masked_texts_without_names_are_warned_of_first(tmp_path: Path) -> None:
    folder = prices(tmp_path, "AAA", "BBB", "CCC")
    events, names = tmp_path / "events.jsonl", tmp_path / "names.csv"
    texts: list[dict[str, object]] = [
        {"ticker": ticker, "known_at": "2014-03-04", "text": "up"} for ticker in ("AAA", "AAA", "BBB")
    ]
    texts += [{"ticker": "CCC", "known_at": "2014-03-04", "kind": "analyst", "target": 5}, {**texts[0], "ticker": ""}]
    texts += [{**texts[0], "ticker": f"X{n}", "known_at": "2014-03-05"} for n in range(3)]
    events.write_text("\n".join(map(json.dumps, texts)))
    names.write_text("Ticker,Company\nAAA,Alpha Inc.\nCCC,Gamma Inc.\n")
    given = [f"market.events={events}", "task.mask=true"]
    warning = "have no company name, so masking hides their symbols only: give market.names"
    _, shown = loaded(folder, *given)
    assert shown.startswith(f"Note: 2 of 2 tickers with texts {warning}")
    assert shown.count(warning) == 1
    assert f"Note: 1 of 2 tickers with texts {warning}" in loaded(folder, *given, f"market.names={names}")[1]
    names.write_text("Ticker,Company\nAAA,Alpha Inc.\nBBB,Beta Inc.\n")
    assert warning not in loaded(folder, *given, f"market.names={names}")[1]
    assert warning not in loaded(folder, given[0], "task.mask=false")[1]
    assert warning not in loaded(folder, "task.mask=true")[1]


# what a command says before it goes on


def notes(folder: Path, *sets: str) -> list[str]:
    console = Console(record=True, width=1000)
    load_panel(recipe_from_source(str(folder), [f"market.{one}" for one in sets]), console)
    return console.export_text().splitlines()


def test_one_line_tells_of_warnings_and_one_of_the_bars_a_year(tmp_path: Path) -> None:
    good = price_files.bars()
    assert notes(price_files.write(tmp_path / "good", AAA=good)) == []
    padded = price_files.filled(price_files.filled(good, 50, 55), 100, 105)
    folder = price_files.write(tmp_path / "padded", AAA=padded, BBB=price_files.bars(1))
    assert notes(folder) == [f"Note: 2 warnings about the data. See them: tradeschool data check {folder}"]
    weeks = price_files.bars(days=price_files.BUSINESS[0] + 7 * np.arange(300))
    weekly = price_files.write(tmp_path / "weekly", AAA=price_files.times(weeks, slice(9, 10), 100))
    with pytest.raises(DataError, match="leave_out"):
        notes(weekly)
    a_year = "Note: 52 bars a year, by which figures are annualised. Horizons count bars"
    assert notes(weekly, "spikes=leave_out") == [
        f"Note: 1 warning about the data. See them: tradeschool data check {weekly}",
        a_year,
    ]
    assert notes(weekly, f"accept=['AAA {weeks['Date'][9]}']") == [a_year]
    with pytest.raises(RecipeError, match="Write it like 'ABC 2016-01-04'"):
        notes(weekly, "accept=[AAA]")
