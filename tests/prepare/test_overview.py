"""The overview of a market: what test outcomes stay out of, the page it writes, and the command."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markets import market, ragged, repriced_after, task_of
from rich.console import Console
from typer.testing import CliRunner

from tradeschool.cli.main import app
from tradeschool.config import recipe as recipes
from tradeschool.config.recipe import recipe_from_source
from tradeschool.errors import RecipeError
from tradeschool.market.events.event import Event
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.prepare.coverage import Overview, make_overview
from tradeschool.prepare.overview import coverage_chart, headline, print_overview, write_overview

EVIL = "<script>alert('x')</script>"


def seen_of(panel: Panel, **options: Any) -> Overview:
    return make_overview(panel, task_of(panel), horizons=[5], **options)


@pytest.fixture(scope="module")
def seen() -> Overview:
    return seen_of(ragged())


def test_nothing_after_train_enters_the_features() -> None:
    panel = ragged()
    last = int(task_of(panel).split.train_T[-1])
    before, after = seen_of(panel), seen_of(repriced_after(panel, last))
    assert before.feature_ics == after.feature_ics
    assert before.parts[2].labels != after.parts[2].labels
    assert before.feature_ics is not None
    assert before.feature_ics.dates == last - 40 + 1 - 6


# the page ----------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def written(seen: Overview, folder: Path) -> tuple[str, Page]:
    write_overview(folder / "page.html", seen)
    html = (folder / "page.html").read_text(encoding="utf-8")
    return html, Page(html)


def test_the_page_holds_all_its_parts(seen: Overview, tmp_path: Path) -> None:
    _, page = written(seen, tmp_path)
    assert seen.feature_ics is not None
    for ticker in seen.tickers:
        assert ticker.ticker in page.text
    for row in seen.feature_ics.rows:
        assert row.feature in page.text
    for words in (*seen.warnings, *headline(seen), "strong sell", "validation", seen.data_hash, "Holm"):
        assert words in page.text, words
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert {"Days with a bar", "Rank IC of every feature"} == set(labels)
    assert len(labels) == len(set(labels))


def test_the_page_needs_nothing_from_outside_and_is_the_same_every_time(seen: Overview, tmp_path: Path) -> None:
    html, page = written(seen, tmp_path)
    assert not {"script", "link", "iframe", "img"} & page.tags
    assert all((value or "").startswith("#") for name, value in page.attributes if name in ("href", "xlink:href"))
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    assert written(seen, tmp_path)[0] == html


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    panel = ragged()
    evil = replace(
        panel, name=EVIL, tickers=(EVIL, *panel.tickers[1:]), events=(Event(panel.dates_T[50], None, EVIL, "x"),)
    )
    html, page = written(seen_of(evil), tmp_path)
    assert "script" not in page.tags
    assert "<script" not in html
    assert page.text.count(EVIL) >= 3


def test_very_many_tickers_are_drawn_without_names(seen: Overview) -> None:
    assert "PRAC00" in coverage_chart(seen)
    assert "PRAC00" not in coverage_chart(replace(seen, tickers=seen.tickers * 30))


def test_the_terminal_shows_the_same_figures(seen: Overview) -> None:
    console = Console(record=True, width=80)
    print_overview(console, seen)
    output = console.export_text()
    assert "…" not in output
    assert seen.feature_ics is not None
    best = seen.feature_ics.known[0]
    assert re.search(rf"{re.escape(best.feature)} +{re.escape(f'{best.ic.value:+.3f}')}", output)
    for label in seen.classes:
        assert label.replace("_", " ").lower() in output


# the command -------------------------------------------------------------------------------------


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", "describe", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(re.sub(r"\x1b\[[0-9;]*m", "", result.output).split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with prices of two tickers over 200 days."""
    monkeypatch.chdir(tmp_path)
    panel = market(tickers=2, days=200)
    (tmp_path / "prices").mkdir()
    for n, ticker in enumerate(panel.tickers):
        rows = ["Date,Open,High,Low,Close,Volume"]
        for t in range(200):
            values = [repr(float(getattr(panel, f"{name}_TN")[t, n])) for name in FIELDS]
            rows.append(",".join([str(panel.dates_T[t]), *values]))
        (tmp_path / "prices" / f"{ticker}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def test_a_folder_too_short_to_split_is_described_all_the_same(folder: Path) -> None:
    code, output = call("prices", "--out", "new/page.html")
    assert code == 0
    assert "2 tickers on 200 dates" in output
    assert "the train part would be empty" in output
    assert "PRAC00 (200 bars), PRAC01 (200 bars)" in output
    html = (folder / "new" / "page.html").read_text(encoding="utf-8")
    assert "PRAC01" in html
    assert "Features and the outcome" not in html


def test_options_reach_the_recipe(folder: Path) -> None:
    given = ("split={train: 0.4, validation: 0.3, test: 0.3, warmup: 20, embargo: 16}", "task.horizons=[1,2]")
    code, output = call("prices", *(word for option in given for word in ("--set", option)))
    assert code == 0
    assert "return over 1 and 2 days" in output
    assert (folder / "overview.html").exists()


def test_a_recipe_and_the_word_synthetic_are_described(fake_recipe: Any, tmp_path: Path) -> None:
    path = fake_recipe()
    assert "2 tickers on 300 dates" in call(str(path))[1]
    options = ("market.tickers=4", "market.days=400")
    code, output = call("synthetic", *(word for option in options for word in ("--set", option)))
    assert code == 0
    assert "4 tickers on 400 dates" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("prcies",), "Did you mean 'prices'?"),
        (("smaple",), "Did you mean 'sample'?"),
        (("prices", "--exchange", "NYZE"), "Did you mean 'NYSE'?"),
        (("prices", "--set", "task.horizon=[1]"), "Did you mean 'horizons'?"),
        (("prices", "--set", "split.embargo=2"), "split.embargo is 2 days"),
        (("prices", "--out", "prices"), "prices cannot be written"),
        (("nowhere.yaml",), "There is no recipe nowhere.yaml"),
    ],
)
def test_wrong_arguments_end_in_one_message(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    code, output = call(*arguments)
    assert code == 2
    assert words in output
    assert "Traceback" not in output


def test_prices_without_a_recipe_are_rated_over_a_week(folder: Path) -> None:
    recipe = recipe_from_source("prices")
    assert (recipe.source, recipe.task_class.__name__) == ("folder", "RatingTask")
    assert recipe.resolved["task"]["horizons"] == [5]
    with pytest.raises(RecipeError, match="none"):
        recipe_from_source("none")


def test_stocknet_is_described(stocknet: Path, tmp_path: Path) -> None:
    code, output = call(str(stocknet / "price"), "--out", str(tmp_path / "page.html"), "--exchange", "NYSE")
    assert code == 0
    assert "80 tickers on 1,258 dates" in output
    assert "training part: GMRE" in output
    assert "sessions of NYSE are missing" not in output


@pytest.mark.parametrize(
    ("source", "name"),
    [("synthetic", "demo"), ("sample", "stocks"), ("prices", "stocks"), ("prices/AAA.csv", "stocks")],
)
def test_the_defaults_are_those_of_the_recipe_that_is_prepared_for(
    source: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``prepare prices/`` writes the prompts that ``run recipes/stocks.yaml --set market.path=prices/`` trains on."""
    monkeypatch.chdir(tmp_path)
    Path("prices").mkdir()
    Path("prices/AAA.csv").write_text("Date,Open,High,Low,Close,Volume\n2020-01-02,1,1,1,1,1\n", encoding="utf-8")
    recipe = Path(__file__).parents[2] / "recipes" / f"{name}.yaml"
    expected = recipes.read(recipe, [f"market.path={source}"] if "prices" in source else [])
    made = recipe_from_source(source)
    for key in ("seed", "market", "split", "task"):
        assert made.resolved[key] == expected.resolved[key]
