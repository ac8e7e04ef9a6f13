"""Days that are filled with the last price, and files without a volume."""

from pathlib import Path

import numpy as np
import pytest
from price_files import BUSINESS, PRICES, bars, filled, rows, write

from tradeschool.env.market_data import MarketData
from tradeschool.evaluate.backtest import backtest
from tradeschool.evaluate.evaluation_set import Costs
from tradeschool.market.labels import forward_return_TN
from tradeschool.market.load import check_prices, load_prices


@pytest.mark.parametrize(("first", "after"), [(100, 130), (100, 101), (0, 30), (270, 300)])
@pytest.mark.parametrize("volume", [0, np.nan])
def test_padded_days_are_named_and_count_as_days_without_a_bar(
    tmp_path: Path, first: int, after: int, volume: float
) -> None:
    folder = write(tmp_path, AAA=filled(bars(), first, after, volume), BBB=bars(1))
    (found,) = [one for one in check_prices(folder) if "filled with the last price" in one.rule]
    assert (found.severity, Path(found.file).name, found.row) == ("warning", "AAA.csv", first + 2)
    assert (found.ticker, found.day) == ("AAA", str(BUSINESS[first]))
    assert after == first + 1 or f"{BUSINESS[first]} to {BUSINESS[after - 1]}, to row {after + 1}" in found.value
    panel = load_prices(folder, [])
    assert np.flatnonzero(~panel.listed_TN[:, 0]).tolist() == list(range(first, after))
    assert np.isnan(forward_return_TN(panel, 1)[first:after, 0]).all()
    assert not MarketData(panel).traded_TN[first:after, 0].any()


def test_copies_of_whole_bars_are_padding_even_with_a_volume(tmp_path: Path) -> None:
    made = bars()
    for name in (*PRICES, "Volume"):
        made[name][100:120] = made[name][99]
    folder = write(tmp_path, AAA=made, BBB=bars(1))
    assert np.flatnonzero(~load_prices(folder, []).listed_TN[:, 0]).tolist() == list(range(100, 120))


def test_a_day_without_volume_on_which_the_price_moved_stays_and_fills_no_order(tmp_path: Path) -> None:
    made = bars()
    made["Volume"][100:103] = 0
    folder = write(tmp_path, AAA=made)
    (found,) = check_prices(folder)
    assert (found.severity, found.row) == ("warning", 102)
    panel = load_prices(folder, [])
    assert panel.shape == (300, 1)
    assert MarketData(panel).volume_TN[100:103].tolist() == [[0.0]] * 3
    # Decided after bar 98, due at the open of 99 and traded there; decided after 99, due in 100, traded at 103.
    position = np.full((20, 1), 1.0)
    position[:2] = 0.0
    rows_T, free = np.arange(97, 117), Costs(commission_bps=0, slippage_bps=0)
    done = backtest(panel, rows_T, position, np.ones((20, 1), bool), free)
    assert np.flatnonzero(done.turnover_T).tolist() == [103 - 98]


def test_a_file_without_any_volume_is_told_once_and_its_volume_limits_no_order(tmp_path: Path) -> None:
    made = bars()
    made["Volume"][:] = 0
    folder = write(tmp_path, AAA=made)
    (found,) = check_prices(folder)
    assert (found.severity, found.count) == ("info", 1)
    assert "the volume is 0 on every day" in found.rule
    assert np.isinf(MarketData(load_prices(folder, [])).volume_TN).all()


def test_a_weekend_filled_with_the_close_of_friday_is_no_trading(tmp_path: Path) -> None:
    days = np.arange(np.datetime64("2015-01-01"), np.datetime64("2016-01-01"))
    made = bars(days=days)
    made["Volume"][:] = 0
    for i in np.flatnonzero(~np.is_busday(days)).tolist():
        for name in PRICES:
            made[name][i] = made["Close"][i - 1]
    panel = load_prices(write(tmp_path, EURUSD=made), [])
    assert panel.bars_per_year == 252
    assert np.is_busday(panel.dates_T).all()


def test_a_quiet_stock_is_not_padded(tmp_path: Path) -> None:
    made = bars()
    made["Close"][100] = made["Close"][99]
    made["Low"][100], made["High"][100] = made["Close"][100] - 1, made["Close"][100] + 1
    made["Open"][100] = made["Close"][100]
    for name in PRICES:
        made[name][200] = made["Close"][199]  # one price all day, and another volume
    assert check_prices(write(tmp_path, AAA=rows(made, slice(None)))) == []
