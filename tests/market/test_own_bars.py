"""Calendars that differ: every ticker's figures are those of its own bars, whoever else trades on other days."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import listed, market
from numpy.typing import NDArray
from typer.testing import CliRunner

from tradeschool.cli.main import app
from tradeschool.env.market_data import MarketData
from tradeschool.evaluate.backtest import backtest
from tradeschool.evaluate.evaluation_set import Costs
from tradeschool.market import features, labels
from tradeschool.market.load import load_prices
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.market.snapshot import Snapshots
from tradeschool.market.splits import split_rows, walk_forward
from tradeschool.market.windows import make_windows
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.rating_config import RatingConfig
from tradeschool.text.describe import FACTS
from tradeschool.text.sections import SECTIONS

DAYS = 500
WEEKDAYS = {
    "NYSE": lambda days: np.is_busday(days) & ~np.isin(np.arange(len(days)) % 91, [40]),
    "LSE": lambda days: np.is_busday(days) & ~np.isin(np.arange(len(days)) % 73, [11, 12, 50]),
    "COIN": lambda days: np.ones(len(days), dtype=bool),
}
"""Holidays of their own on two exchanges, and a coin that trades on every day."""


def write(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    days = np.datetime64("2015-01-01") + np.arange(int(DAYS * 1.4))
    bars = market(tickers=3, days=len(days))
    for n, (name, trades) in enumerate(WEEKDAYS.items()):
        if name in names:
            open_T = trades(days)
            columns = {field.title(): getattr(bars, f"{field}_TN")[open_T, n] for field in FIELDS}
            pd.DataFrame({"Date": days[open_T].astype(str), **columns}).to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Panel]:
    """All three in one folder, and each alone."""
    path = tmp_path_factory.mktemp("calendars")
    panels = {name: load_prices(write(path / name, name), []) for name in WEEKDAYS}
    return {**panels, "all": load_prices(write(path / "all", *WEEKDAYS), [])}


def own(panel: Panel, values_TN: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    n = panel.tickers.index(name)
    assert np.isnan(values_TN[~panel.listed_TN[:, n], n]).all(), "a value on a day without a bar"
    return values_TN[panel.listed_TN[:, n], n]


@pytest.mark.parametrize("name", WEEKDAYS)
def test_every_feature_is_that_of_the_ticker_alone(folders: dict[str, Panel], name: str) -> None:
    together, alone = folders["all"], folders[name]
    assert together.shape[0] > 1.2 * alone.shape[0] or name == "COIN"
    both = [features.compute(panel) | features.panel_statistics(panel) for panel in (together, alone)]
    for feature, values_TN in both[0].items():
        expected = both[1][feature][:, 0]
        assert np.isfinite(expected[-1]), feature
        np.testing.assert_allclose(own(together, values_TN, name), expected, rtol=1e-12, atol=1e-12, err_msg=feature)


@pytest.mark.parametrize("name", WEEKDAYS)
def test_outcomes_and_windows_are_those_of_the_ticker_alone(folders: dict[str, Panel], name: str) -> None:
    together, alone = folders["all"], folders[name]
    n, train_T = together.tickers.index(name), np.ones(together.shape[0], dtype=bool)
    for horizon in (1, 5, 15):
        values_TN = labels.forward_return_TN(together, horizon)
        np.testing.assert_array_equal(own(together, values_TN, name), labels.forward_return_TN(alone, horizon)[:, 0])
    signals = [labels.rating_labels(panel, train_T[: panel.shape[0]]).signal_TN for panel in (together, alone)]
    np.testing.assert_allclose(own(together, signals[0], name), signals[1][:, 0], rtol=1e-9)
    windows, expected = make_windows(together, n), make_windows(alone, 0)
    assert windows.left_out == expected.left_out
    np.testing.assert_array_equal(windows.dates_W, expected.dates_W)
    np.testing.assert_allclose(windows.y_WH, expected.y_WH)
    for column, values in windows.columns.items():
        np.testing.assert_allclose(values, expected.columns[column], atol=1e-9, err_msg=column)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("name", WEEKDAYS)
def test_prompts_are_those_of_the_ticker_alone(folders: dict[str, Panel], name: str, mask: bool) -> None:
    """But for the strength, which is against the market, and for names and dates that are hidden."""
    facts = [fact for fact in FACTS if fact not in ("strength", "stock", "date")]
    config = RatingConfig(facts=facts, sections=list(SECTIONS), mask=mask)
    prompts = []
    for panel in (folders["all"], folders[name]):
        task = RatingTask(config, panel, split_rows(panel, embargo=16, warmup=60))
        days = [int(np.searchsorted(panel.dates_T, np.datetime64(day))) for day in ("2015-11-02", "2016-03-17")]
        found = [example for t in days for example in listed(panel, t) if example.key.startswith(name)]
        assert len(found) == 2
        prompts.append([task.messages(example)[0]["content"] for example in found])
    assert prompts[0] == prompts[1]
    assert "unknown" not in prompts[0][0].partition("##")[0]


def test_the_environment_shows_what_it_shows_of_the_ticker_alone(folders: dict[str, Panel]) -> None:
    together = folders["all"]
    facts_TNM = MarketData(together).facts_TNM
    for n, name in enumerate(together.tickers):
        alone = MarketData(folders[name]).facts_TNM[:, 0]
        np.testing.assert_array_equal(facts_TNM[together.listed_TN[:, n], n], alone)


def test_no_question_is_asked_on_a_day_without_a_bar_and_the_embargo_counts_bars(folders: dict[str, Panel]) -> None:
    panel = folders["all"]
    split = split_rows(panel, embargo=6, warmup=60)
    task = RatingTask(RatingConfig(horizons=[5]), panel, split)
    for example in (*task.examples("train"), *task.examples("test")):
        assert panel.listed_TN[example.t, example.n]
    for one in (split, *walk_forward(panel, 4, embargo=6, warmup=60)):
        for before, after in ((one.train_T, one.validation_T), (one.validation_T, one.test_T)):
            assert (panel.listed_TN[before[-1] + 1 : after[0]].sum(axis=0) >= 6).all()
            changed = {f"{name}_TN": getattr(panel, f"{name}_TN").copy() for name in FIELDS}
            for bar_TN in changed.values():
                bar_TN[after[0] :] *= 2.0
            forward, later = (labels.forward_return_TN(one, 5) for one in (panel, replace(panel, **changed)))
            np.testing.assert_array_equal(forward[: before[-1] + 1], later[: before[-1] + 1])


def test_orders_fill_at_the_tickers_own_next_open(folders: dict[str, Panel]) -> None:
    panel = folders["all"]
    n = panel.tickers.index("LSE")
    listed_T = panel.listed_TN[:, n]
    t = int(np.flatnonzero(listed_T[:-1] & ~listed_T[1:])[20])
    fill = t + 1 + int(np.argmax(listed_T[t + 1 :]))
    rows_T = np.arange(t, fill + 2)
    position_TN, asked_TN = np.full((len(rows_T), 3), np.nan), np.zeros((len(rows_T), 3), dtype=bool)
    position_TN[0, n], asked_TN[0, n] = 1.0, True
    found = backtest(panel, rows_T, position_TN, asked_TN, Costs(commission_bps=0, slippage_bps=0))
    assert (found.equity_T[: fill - t - 1] == 1.0).all()
    assert found.equity_T[fill - t - 1] == pytest.approx(panel.close_TN[fill, n] / panel.open_TN[fill, n])


def test_a_prompt_after_a_suspension_shows_no_bar_from_before_it() -> None:
    panel = market(days=200)
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN").copy() for name in FIELDS}
    for bar_TN in bars.values():
        bar_TN[100:125, 0] = np.nan
    snapshot = Snapshots(replace(panel, **bars), mask=False).at(127, 0)
    np.testing.assert_array_equal(snapshot.recent["close"], panel.close_TN[125:128, 0])


def test_prepare_asks_about_every_ticker_of_a_mixed_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "prices", *WEEKDAYS)
    result = CliRunner().invoke(app, ["prepare", str(folder), "--format", "csv", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    alone = CliRunner().invoke(
        app, ["prepare", str(write(tmp_path / "lse", "LSE")), "--format", "csv", "--out", str(tmp_path / "one")]
    )
    assert alone.exit_code == 0, alone.output
    for part in ("train_x", "test_x", "full_y"):
        together, expected = (pd.read_csv(tmp_path / name / f"LSE_{part}.csv") for name in ("out", "one"))
        pd.testing.assert_frame_equal(together, expected, rtol=1e-9)
