"""Forecasting windows: the published cut, nothing of the test part in training, never across a gap."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market, ragged, scrambled_after
from numpy.typing import NDArray
from pydantic import ValidationError

from tradeschool.errors import DataError
from tradeschool.market import features
from tradeschool.market.load import load_prices
from tradeschool.market.panel import FIELDS, Floats, Panel
from tradeschool.market.windows import COLUMNS, PARTS, Part, TickerWindows, WindowConfig, make_windows

PUBLISHED = WindowConfig(incomplete="keep")


def without(panel: Panel, rows: slice | list[int], n: int) -> Panel:
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN").copy() for name in FIELDS}
    for bar_TN in bars.values():
        bar_TN[rows, n] = np.nan
    return replace(panel, **bars)


def published(close_T: Floats, part: Part) -> list[tuple[Floats, Floats]]:
    """The borders and items of the published loader (Autoformer's), written from its description."""
    total = len(close_T)
    train, test = int(total * 0.7), int(total * 0.2)
    begin, end = {
        "train": (0, train),
        "validation": (train - 10, total - test),
        "test": (total - test - 10, total),
    }[part]
    scaled = ((close_T - close_T[:train].mean()) / close_T[:train].std())[begin:end]
    return [(scaled[i : i + 10], scaled[i + 10 : i + 20]) for i in range(len(scaled) - 20 + 1)]


def test_the_columns_are_those_of_the_files() -> None:
    found = make_windows(market(), 2)
    text = (
        "sequence, sma, ema, mom, rsi, macd, willr, cci, adx, bbands_upper, bbands_middle, bbands_lower, stoch_k, "
        "stoch_d, min, min_timestep, max, max_timestep, mean, median, median_timestep"
    )
    assert text == ", ".join(COLUMNS) == ", ".join(found.columns)
    for name, values in found.columns.items():
        series = COLUMNS.index(name) <= COLUMNS.index("stoch_d")
        assert values.shape == ((len(found), 10) if series else (len(found),)), name
        assert np.isfinite(values).all(), name
    assert found.y_WH.shape == (len(found), 10)
    assert found.ticker == market().tickers[2]


@pytest.mark.parametrize("days", [400, 401, 397, 403])
def test_kept_whole_they_are_the_published_windows(days: int) -> None:
    panel = market(days=days)
    found = make_windows(panel, 1, PUBLISHED)
    for part in PARTS:
        expected = published(panel.close_TN[:, 1], part)
        mine = found.only(part)
        assert len(mine) == len(expected) > 0
        np.testing.assert_allclose(mine.columns["sequence"], [x for x, _ in expected], atol=1e-12)
        np.testing.assert_allclose(mine.y_WH, [y for _, y in expected], atol=1e-12)
    assert len(found) + found.left_out["border"] == days - 19
    assert len(found.only("train", "validation")) == len(found) - len(found.only("test"))


def test_rows_dates_and_outputs_belong_together() -> None:
    panel = ragged()
    for n in range(panel.shape[1]):
        found = make_windows(panel, n, PUBLISHED)
        assert len(found) > 100
        np.testing.assert_array_equal(found.dates_W, panel.dates_T[found.end_rows_W])
        for w in range(0, len(found), 11):
            end = found.end_rows_W[w]
            close_T, listed_T = panel.close_TN[:, n], panel.listed_TN[:, n]
            inputs = close_T[: end + 1][listed_T[: end + 1]][-10:]
            outputs = close_T[end + 1 :][listed_T[end + 1 :]][:10]
            np.testing.assert_allclose(found.columns["sequence"][w], found.scaler.transform(inputs))
            np.testing.assert_allclose(found.y_WH[w], found.scaler.transform(outputs))


def test_indicators_are_those_of_the_scaled_history_and_statistics_those_of_the_window() -> None:
    panel = market(days=500)
    found = make_windows(panel, 3)
    high, low, close = (found.scaler.transform(getattr(panel, f"{name}_TN")[:, 3]) for name in ("high", "low", "close"))
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2)
    slow_k, slow_d = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    expected = {
        "sma": talib.SMA(close, 20),
        "ema": talib.EMA(close, 20),
        "mom": talib.MOM(close, 10),
        "rsi": talib.RSI(close, 14),
        "macd": talib.MACD(close, 12, 26, 9)[0],
        "willr": talib.WILLR(high, low, close, 14),
        "cci": talib.CCI(high, low, close, 20),
        "adx": talib.ADX(high, low, close, 14),
        "bbands_upper": upper,
        "bbands_middle": middle,
        "bbands_lower": lower,
        "stoch_k": slow_k,
        "stoch_d": slow_d,
    }
    rows_WL = found.end_rows_W[:, None] + np.arange(-9, 1)
    for name, values_T in expected.items():
        np.testing.assert_allclose(found.columns[name], values_T[rows_WL], rtol=1e-6, atol=1e-8, err_msg=name)
    for name, values_W in features.window_statistics(found.columns["sequence"]).items():
        if name in COLUMNS:
            np.testing.assert_array_equal(found.columns[name], values_W, err_msg=name)


def taken(found: TickerWindows, chosen_W: NDArray[np.bool_]) -> TickerWindows:
    return replace(
        found,
        columns={name: values[chosen_W] for name, values in found.columns.items()},
        y_WH=found.y_WH[chosen_W],
        end_rows_W=found.end_rows_W[chosen_W],
    )


def same(one: TickerWindows, other: TickerWindows, outputs: bool = False) -> None:
    assert len(one.end_rows_W) > 100
    assert one.scaler == other.scaler
    if outputs:
        np.testing.assert_array_equal(one.y_WH, other.y_WH)
    np.testing.assert_array_equal(one.end_rows_W, other.end_rows_W)
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, other.columns[name], err_msg=name)


@settings(max_examples=10)
@given(t=st.integers(310, 398), n=st.integers(2, 5))
def test_nothing_after_t_is_in_a_row_of_t_or_in_the_scaler(t: int, n: int) -> None:
    panel = ragged()
    # Days, not shares: how many bars are still to come moves the border between shares, and nothing else.
    config = WindowConfig(
        validation_from=panel.dates_T[260].item(), test_from=panel.dates_T[285].item(), incomplete="keep"
    )
    one, other = make_windows(panel, n, config), make_windows(scrambled_after(panel, t), n, config)
    # Up to t - 15 (ten bars, and days without one) everything is the same; up to t all but the outputs, where the
    # window is still there.
    same(taken(one, one.end_rows_W <= t - 15), taken(other, other.end_rows_W <= t - 15), outputs=True)
    both = np.intersect1d(one.end_rows_W, other.end_rows_W[other.end_rows_W <= t])
    same(taken(one, np.isin(one.end_rows_W, both)), taken(other, np.isin(other.end_rows_W, both)))


@settings(max_examples=25)
@given(
    inputs=st.integers(2, 15),
    outputs=st.integers(1, 15),
    gaps=st.lists(st.sampled_from(range(0, 400, 60)), max_size=2, unique=True),
)
def test_parts_share_no_output_and_no_window_bridges_a_suspension(inputs: int, outputs: int, gaps: list[int]) -> None:
    panel = without(market(), [row for gap in gaps for row in range(gap, min(gap + 16, 400))], 0)
    config = WindowConfig(inputs=inputs, outputs=outputs, incomplete="keep")
    found = make_windows(panel, 0, config)
    assert (np.diff(found.end_rows_W) > 0).all()
    rows: dict[str, NDArray[np.int64]] = {
        part: found.end_rows_W[found.part_W == part][:, None] + np.arange(1 - inputs, outputs + 1) for part in PARTS
    }
    assert np.isfinite(panel.close_TN[:, 0][np.concatenate(list(rows.values()))]).all()
    for earlier, later in (("train", "validation"), ("validation", "test")):
        assert rows[earlier].max() < rows[later][:, inputs:].min()
        assert rows[later][:, inputs - 1].min() - rows[earlier][:, inputs - 1].max() >= outputs
    possible = int(np.isfinite(panel.close_TN[:, 0]).sum()) - inputs - outputs + 1
    assert len(found) + sum(found.left_out.values()) == possible
    assert (found.left_out["gap"] > 0) <= bool(gaps)


def test_validation_and_test_never_move_the_training_rows() -> None:
    panel = market()
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN").copy() for name in FIELDS}
    for bar_TN in bars.values():
        bar_TN[280:] *= 3
    one, other = make_windows(panel, 0), make_windows(replace(panel, **bars), 0)
    same(one.only("train"), other.only("train"), outputs=True)
    assert not np.array_equal(one.only("test").y_WH, other.only("test").y_WH)


def test_warm_up_is_left_out_and_counted_or_kept_as_nan() -> None:
    panel = without(market(), slice(150, 166), 0)
    dropped, kept = make_windows(panel, 0), make_windows(panel, 0, PUBLISHED)
    whole_W = np.all([np.isfinite(values).reshape(len(kept), -1).all(axis=1) for values in kept.columns.values()], 0)
    np.testing.assert_array_equal(kept.end_rows_W[whole_W], dropped.end_rows_W)
    # MACD needs 33 bars before its first value, at the start and again after the suspension.
    assert dropped.end_rows_W[0] == 33 + 9
    assert dropped.left_out["indicator"] == 2 * 33 == len(kept) - len(dropped)
    assert kept.left_out["indicator"] == 0
    assert dropped.left_out["gap"] == 19


def test_days_cut_every_ticker_at_the_same_time() -> None:
    panel = ragged()
    days = panel.dates_T[[240, 280]]
    config = WindowConfig(validation_from=days[0].item(), test_from=days[1].item(), incomplete="keep")
    for n in range(panel.shape[1]):
        found = make_windows(panel, n, config)
        for part, start in zip(PARTS[1:], days, strict=True):
            mine = found.only(part)
            assert panel.dates_T[mine.end_rows_W.min() + 1] >= start
            assert panel.dates_T[found.end_rows_W[found.end_rows_W < mine.end_rows_W[0]].max() + 10] < start
    by_share = {make_windows(panel, n, PUBLISHED).only("test").dates_W.min() for n in (0, 1)}
    assert len(by_share) == 2


def test_repeating_the_last_value_on_stocknet_is_as_good_as_the_audit_found(stocknet: Path) -> None:
    panel = load_prices(stocknet / "price", messages=[])
    errors = []
    for n in range(len(panel.tickers)):
        test = make_windows(panel, n, PUBLISHED).only("test")
        off_WH = test.y_WH - test.columns["sequence"][:, -1:]
        errors.append(((off_WH**2).mean(), np.abs(off_WH).mean()))
    # The audit of VTA (arXiv 2511.08616) has 88 stocks, this data set 80 of them.
    mse, mae = np.mean(errors, axis=0)
    assert mse == pytest.approx(0.0631, rel=0.03)
    assert mae == pytest.approx(0.1649, rel=0.01)


def test_too_few_bars_are_refused_with_the_ticker() -> None:
    panel = market()
    with pytest.raises(DataError, match=f"{panel.tickers[0]}: no window would be left for validation.*left out were"):
        make_windows(without(panel, slice(80, None), 0), 0)
    for bars in (5, 25):
        with pytest.raises(DataError, match=rf"{panel.tickers[0]}: no window would be left for train. It has {bars} b"):
            make_windows(without(panel, slice(bars, None), 0), 0)
    with pytest.raises(DataError, match=f"{panel.tickers[0]}: the training closes are none"):
        make_windows(panel, 0, WindowConfig(validation_from="1990-01-01", test_from="1991-01-01"))


def test_a_ticker_with_a_constant_price_is_refused() -> None:
    panel = market()
    bars = {f"{name}_TN": np.ones_like(getattr(panel, f"{name}_TN")) for name in FIELDS}
    with pytest.raises(DataError, match="the training closes are all 1"):
        make_windows(replace(panel, **bars), 0)


@pytest.mark.parametrize(
    "values",
    [
        {"shares": (0.7, 0.1, 0.1)},
        {"shares": (0.9, 0.1, 0.0)},
        {"inputs": 1},
        {"outputs": 0},
        {"validation_from": "2014-01-01"},
        {"validation_from": "2014-01-01", "test_from": "2013-01-01"},
        {"horizon": 10},
    ],
)
def test_wrong_configurations_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WindowConfig.model_validate(values)
