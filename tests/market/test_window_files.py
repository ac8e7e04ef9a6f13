"""Windows read from files in VTA's layout, as other code writes them."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markets import market
from rich.console import Console

from tradeschool.config.recipe import from_mapping, load_panel, make_task
from tradeschool.errors import DataError, RecipeError
from tradeschool.market.load import load_prices
from tradeschool.market.panel import Panel
from tradeschool.market.splits import given_split
from tradeschool.market.window_files import read_windows
from tradeschool.market.windows import WindowConfig, make_windows
from tradeschool.prepare.export import write_windows
from tradeschool.tasks.forecast import ForecastTask
from tradeschool.tasks.forecast_config import ForecastConfig

QUIET = Console(quiet=True)
LISTS = ["sequence", "sma", "ema", "mom", "rsi", "macd", "willr", "cci", "adx", "bbands_upper", "bbands_middle",
         "bbands_lower", "stoch_k", "stoch_d"]  # fmt: skip
NUMBERS = ["min", "min_timestep", "max", "max_timestep", "mean", "median", "median_timestep"]


def task_of(panel: Panel, **config: Any) -> ForecastTask:
    return ForecastTask(ForecastConfig(statistical=False, **config), panel, given_split(panel))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("series") / "csv"
    write_windows(market(tickers=3, days=500), WindowConfig(), {"kind": "csv"}, out, QUIET)
    return out


def by_hand(folder: Path, stock: str, series: list[float], train: int, test: int) -> None:
    """Files as a script writes them that knows the columns of VTA's files and nothing of this package."""
    windows = [(series[i : i + 10], series[i + 10 : i + 20]) for i in range(len(series) - 19)]
    parts = {"train": windows[:train], "test": windows[test:], "full": windows}
    for part, chosen in parts.items():
        with (folder / f"{stock}_{part}_x.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, LISTS + NUMBERS)
            writer.writeheader()
            for x, _ in chosen:
                lists = {name: [value + place for value in x] for place, name in enumerate(LISTS)}
                numbers = {
                    "min": min(x),
                    "min_timestep": x.index(min(x)),
                    "max": max(x),
                    "max_timestep": x.index(max(x)),
                }
                numbers |= {"mean": sum(x) / 10, "median": sorted(x)[4], "median_timestep": x.index(sorted(x)[4])}
                writer.writerow(lists | numbers)
        with (folder / f"{stock}_{part}_y.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["sequence"])
            writer.writeheader()
            writer.writerows({"sequence": y} for _, y in chosen)


def test_files_that_another_script_has_written_give_their_own_windows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    series = {stock: np.cumsum(rng.normal(0, 0.1, bars)).tolist() for stock, bars in (("AAA", 160), ("BBB", 140))}
    for stock, values in series.items():
        by_hand(tmp_path, stock, values, train=80, test=len(values) - 19 - 30)
    task = task_of(read_windows(tmp_path))
    assert task.panel.tickers == ("AAA", "BBB")
    for n, values in enumerate(series.values()):
        examples = [example for example in task.examples("test") if example.n == n]
        assert len(examples) == 30
        for w, example in enumerate(examples, start=len(values) - 19 - 30):
            x, y = values[w : w + 10], values[w + 10 : w + 20]
            np.testing.assert_allclose(task.windows.closes(example.t, n, 10), x, atol=1e-9)
            np.testing.assert_allclose(task.windows.outcome(example.t, n), y, atol=1e-9)
            assert task.metric_values(example, tuple(y))["mse"] == pytest.approx(0, abs=1e-12)
            error = np.mean((np.array(y) - x[-1]) ** 2)
            assert task.metric_values(example, (x[-1],) * 10)["mse"] == pytest.approx(error)
            text = task.messages(example)[0]["content"]
            assert f"median {sorted(x)[4]:.4g} on day {x.index(sorted(x)[4]) + 1}" in text  # the file's own
            assert "Stochastic %D: " + ", ".join(f"{value + 13:.4g}" for value in x) in text
    first = {n: min(e.t for e in task.examples("test") if e.n == n) for n in (0, 1)}
    assert first[0] == first[1]  # test windows of all stocks begin together
    # The volatility needs 20 changes, so the first windows of a stock are not asked about.
    assert len([e for e in task.examples("train") if e.n == 0]) == 80 - 11
    assert task.positions(task.examples("test")[0], (0.0,) * 10) is None


def test_the_files_of_a_price_folder_give_the_windows_they_were_made_of(folder: Path) -> None:
    task, panel = task_of(read_windows(folder)), market(tickers=3, days=500)
    for n in range(3):
        written = make_windows(panel, n).only("test")
        examples = [example for example in task.examples("test") if example.n == n]
        assert len(examples) == len(written)
        for w, example in enumerate(examples):
            np.testing.assert_allclose(task.windows.closes(example.t, n, 10), written.columns["sequence"][w], atol=1e-7)
            np.testing.assert_allclose(task.windows.outcome(example.t, n), written.y_WH[w], atol=1e-7)
            for name, values_L in task.windows.indicators(example.t, n).items():
                np.testing.assert_allclose(values_L, written.columns[name][w], rtol=1e-8, atol=1e-9)
    assert task.examples("validation")


def test_a_recipe_reads_them_by_their_path(folder: Path) -> None:
    recipe = from_mapping(
        {
            "name": "files",
            "market": {"path": str(folder)},
            "task": {"name": "forecast", "statistical": False},
            "model": {"base": "tiny"},
            "stages": [{"stage": "sft"}],
        }
    )
    assert recipe.source == "windows"
    panel = load_panel(recipe, QUIET)
    assert make_task(recipe, panel).examples("train")
    document = {**recipe.resolved, "task": {"name": "rating"}}
    with pytest.raises(RecipeError, match="Only the task 'forecast' reads"):
        make_task(from_mapping(document), panel)


def test_windows_that_do_not_overlap_are_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    by_hand(tmp_path, "AAA", rng.normal(0, 1, 140).tolist(), train=60, test=90)
    for side in "xy":
        path = tmp_path / f"AAA_full_{side}.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[:65] + lines[95:]) + "\n")  # 30 windows are missing
    for part, first in (("test", 31), ("train", 0)):
        for side in "xy":
            lines = (tmp_path / f"AAA_{part}_{side}.csv").read_text().splitlines()
            rows = lines[1:61] if part == "train" else lines[1 + 4 :]
            assert first >= 0
            (tmp_path / f"AAA_{part}_{side}.csv").write_text("\n".join([lines[0], *rows]) + "\n")
    panel = read_windows(tmp_path)
    assert np.isnan(panel.close_TN).sum() == 30
    task = task_of(panel)
    for split in ("train", "test"):
        for example in task.examples(split):
            assert np.isfinite(task.windows.closes(example.t, 0, 30)).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("sequence,sma", "sequenc,sma"), "no column 'sequence'.*Needed"),
        (lambda text: text.replace("[", "", 1), "line 2: sequence is .* must be a list of numbers"),
        (lambda text: text.replace("[", "[0.5, ", 1), "line 3: sequence has 10 values, but the rows before have 11"),
        (lambda text: text.replace("[", "[inf, ", 1).replace("inf", "Infinity"), "not a finite number"),
        (lambda text: text.splitlines()[0] + "\n", "no windows"),
        (lambda text: "\n".join(text.splitlines()[:-1]) + "\n", "windows, but"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, change: Any, reason: str) -> None:
    by_hand(tmp_path, "AAA", np.random.default_rng(2).normal(0, 1, 80).tolist(), train=30, test=45)
    path = tmp_path / "AAA_full_x.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=reason):
        read_windows(tmp_path)


def test_missing_files_and_foreign_windows_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file is called"):
        read_windows(tmp_path)
    for stock, seed in (("AAA", 3), ("BBB", 4)):
        by_hand(tmp_path, stock, np.random.default_rng(seed).normal(0, 1, 80).tolist(), train=30, test=45)
    (tmp_path / "AAA_train_y.csv").rename(tmp_path / "kept")
    with pytest.raises(DataError, match="AAA_train_y.csv is missing"):
        read_windows(tmp_path)
    (tmp_path / "kept").rename(tmp_path / "AAA_train_y.csv")
    for side in "xy":
        (tmp_path / f"AAA_test_{side}.csv").write_text((tmp_path / f"BBB_test_{side}.csv").read_text())
    with pytest.raises(DataError, match="has windows that AAA_full_x.csv has not"):
        read_windows(tmp_path)


def test_settings_that_files_do_not_allow_are_refused(folder: Path) -> None:
    panel = read_windows(folder)
    with pytest.raises(RecipeError, match=r"task\.inputs is 12, but the windows in the files have 10"):
        task_of(panel, inputs=12)
    with pytest.raises(RecipeError, match=r"task\.facts"):
        task_of(panel, facts=["market"])


@pytest.mark.slow
def test_repeating_the_last_value_in_the_files_of_stocknet_is_as_good_as_published(
    stocknet: Path, tmp_path: Path
) -> None:
    prices = load_prices(stocknet / "price", messages=[])
    write_windows(prices, WindowConfig(incomplete="keep"), {"kind": "csv"}, tmp_path / "csv", QUIET)
    task = task_of(read_windows(tmp_path / "csv"))
    errors: dict[int, list[float]] = {}
    for example in task.examples("test"):
        errors.setdefault(example.n, []).append(task.metric_values(example, None)["persistence_mse"])
    assert np.mean([np.mean(found) for found in errors.values()]) == pytest.approx(0.0631, rel=0.03)
