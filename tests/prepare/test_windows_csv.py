"""CSV windows: accepted by code that is written for the column list of VTA's files."""

import ast
import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markets import market, ragged
from rich.console import Console

from tradeschool.config.sections import SplitConfig
from tradeschool.errors import DataError, RecipeError
from tradeschool.market.load import load_prices
from tradeschool.market.panel import FIELDS
from tradeschool.market.windows import WindowConfig, make_windows
from tradeschool.prepare.export import window_config, write_windows

SEQUENCES = ["sequence", "sma", "ema", "mom", "rsi", "macd", "willr", "cci", "adx", "bbands_upper", "bbands_middle",
             "bbands_lower", "stoch_k", "stoch_d"]  # fmt: skip
NUMBERS = ["min", "min_timestep", "max", "max_timestep", "mean", "median", "median_timestep"]
MADE = {"kind": "csv"}
QUIET = Console(quiet=True)


def read(path: Path) -> list[dict[str, Any]]:
    """As a script for VTA's files reads them: every cell is a Python literal under the name it expects."""
    with path.open(newline="") as file:
        return [{name: ast.literal_eval(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("series") / "csv"
    write_windows(market(tickers=3, days=500), WindowConfig(), MADE, out, QUIET)
    return out


def test_every_stock_has_its_six_files_with_the_seeds_columns(folder: Path) -> None:
    names = {path.name for path in folder.glob("*.csv")}
    assert names == {
        f"PRAC0{n}_{part}_{side}.csv" for n in range(3) for part in ("train", "test", "full") for side in "xy"
    }
    for path in folder.glob("*_x.csv"):
        assert path.read_text().splitlines()[0].split(",") == SEQUENCES + NUMBERS
    for path in folder.glob("*_y.csv"):
        assert path.read_text().splitlines()[0] == "sequence"


def test_windows_hold_ten_values_in_and_ten_out_and_their_own_statistics(folder: Path) -> None:
    x, y = read(folder / "PRAC01_test_x.csv"), read(folder / "PRAC01_test_y.csv")
    assert len(x) == len(y) > 50
    for row, answer in zip(x, y, strict=True):
        assert all(len(row[name]) == 10 for name in SEQUENCES)
        assert len(answer["sequence"]) == 10
        assert row["min"] == min(row["sequence"]) == row["sequence"][int(row["min_timestep"])]
        assert row["max"] == max(row["sequence"]) == row["sequence"][int(row["max_timestep"])]
        np.testing.assert_allclose(row["mean"], np.mean(row["sequence"]), atol=1e-8)
        np.testing.assert_allclose(row["median"], np.median(row["sequence"]), atol=1e-8)


def test_the_outputs_of_a_window_are_the_inputs_of_the_tenth_after_it(folder: Path) -> None:
    x, y = read(folder / "PRAC00_full_x.csv"), read(folder / "PRAC00_full_y.csv")
    assert y[20]["sequence"] == x[30]["sequence"]


def test_the_files_hold_the_windows_to_ten_digits(folder: Path) -> None:
    found = make_windows(market(tickers=3, days=500), 2).only("train")
    rows = read(folder / "PRAC02_train_x.csv")
    for name in SEQUENCES + NUMBERS:
        np.testing.assert_allclose([row[name] for row in rows], found.columns[name], rtol=1e-9, atol=1e-12)


def test_a_ticker_with_too_few_bars_is_left_out_and_named(tmp_path: Path) -> None:
    panel = ragged()
    panel.close_TN[60:, 1] = np.nan
    for name in ("open_TN", "high_TN", "low_TN", "volume_TN"):
        getattr(panel, name)[60:, 1] = np.nan
    written = write_windows(panel, WindowConfig(), MADE, tmp_path / "out", QUIET)
    assert "PRAC01" in written.left_out
    assert "no window" in written.left_out["PRAC01"]
    assert not list((tmp_path / "out").glob("PRAC01*"))
    assert set(written.windows) | set(written.left_out) == set(panel.tickers)


def test_when_no_ticker_has_enough_bars_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No ticker has enough bars"):
        write_windows(market(tickers=2, days=210), WindowConfig(inputs=100, outputs=100), MADE, tmp_path / "out", QUIET)
    assert not (tmp_path / "out").exists()


def test_stocknet_gives_its_eighty_stocks(stocknet: Path, tmp_path: Path) -> None:
    panel = load_prices(stocknet / "price", messages=[])
    few = [0, panel.tickers.index("AMZN"), panel.tickers.index("GMRE")]
    bars: dict[str, Any] = {f"{name}_TN": getattr(panel, f"{name}_TN")[:, few] for name in FIELDS}
    tickers = tuple(panel.tickers[n] for n in few)
    written = write_windows(
        replace(panel, tickers=tickers, factor_TN=None, **bars), WindowConfig(), MADE, tmp_path / "out", QUIET
    )
    assert set(written.windows) == set(tickers)
    assert len(read(tmp_path / "out/AMZN_full_x.csv")) == written.windows["AMZN"] > 1100


def test_a_recipes_split_is_that_of_the_windows(tmp_path: Path) -> None:
    config = window_config(SplitConfig(train=0.3, validation=0.3, test=0.4))
    assert config.shares == (0.3, 0.3, 0.4)
    panel = market(tickers=2, days=500)
    write_windows(panel, config, MADE, tmp_path / "out", QUIET)
    counts = {part: len(read(tmp_path / f"out/PRAC00_{part}_x.csv")) for part in ("train", "test")}
    assert counts["train"] < counts["test"]
    days = SplitConfig.model_validate({"validation_from": "2011-01-03", "test_from": "2011-06-01"})
    assert window_config(days).test_from == days.test_from
    with pytest.raises(RecipeError, match="split.folds is 3"):
        window_config(SplitConfig(folds=3))


def test_a_late_listing_trains_in_the_test_time_of_others_unless_days_are_given(tmp_path: Path) -> None:
    panel = market(tickers=2, days=900)
    bars: dict[str, Any] = {f"{name}_TN": getattr(panel, f"{name}_TN").copy() for name in FIELDS}
    for bar_TN in bars.values():
        bar_TN[:500, 1] = np.nan
    late = replace(panel, **bars)
    assert write_windows(late, WindowConfig(), MADE, tmp_path / "shares", QUIET).overlap
    first, second = (late.dates_T[row].astype("datetime64[D]").item() for row in (700, 780))
    config = WindowConfig(validation_from=first, test_from=second)
    assert not write_windows(late, config, MADE, tmp_path / "days", QUIET).overlap
