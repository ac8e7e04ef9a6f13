"""Indicators: equal to TA-Lib, causal to the last bit, safe against gaps and late listing."""

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeschool.market import indicators
from tradeschool.market.panel import FIELDS, Panel

T = 120


def market(seed: int = 0, days: int = T, tickers: int = 2) -> Panel:
    """A random walk with valid bars."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (days, tickers)), axis=0))
    start = close * np.exp(rng.normal(0, 0.005, close.shape))
    high, low = np.maximum(start, close) * 1.004, np.minimum(start, close) * 0.997
    dates = np.arange("2020-01-01", "2040-01-01", dtype="datetime64[D]")[:days]
    names = tuple(f"S{n}" for n in range(tickers))
    return Panel(dates, names, start, high, low, close, rng.lognormal(12, 0.5, close.shape))


def changed(panel: Panel, rows: slice, value: float | None = None, column: int | slice = slice(None)) -> Panel:
    """A copy with the bars of ``rows`` multiplied by ``value``, or removed when it is None."""
    fields = {name: getattr(panel, f"{name}_TN").copy() for name in FIELDS}
    for array in fields.values():
        array[rows, column] = np.nan if value is None else array[rows, column] * value
    return Panel(panel.dates_T, panel.tickers, *(fields[name] for name in FIELDS))


def cut(panel: Panel, stop: int) -> Panel:
    return Panel(panel.dates_T[:stop], panel.tickers, *(getattr(panel, f"{name}_TN")[:stop] for name in FIELDS))


def test_every_indicator_equals_talib_on_unbroken_bars() -> None:
    panel = market()
    _, h, low, c, v = (np.ascontiguousarray(getattr(panel, f"{name}_TN")[:, 1]) for name in FIELDS)
    stoch_k, stoch_d = talib.STOCH(h, low, c, 14, 3, 0, 3, 0)
    macd, signal, histogram = talib.MACD(c, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(c, 20, 2, 2, 0)
    expected = {
        "sma_20": talib.SMA(c, 20),
        "sma_50": talib.SMA(c, 50),
        "ema_20": talib.EMA(c, 20),
        "mom_10": talib.MOM(c, 10),
        "roc_10": talib.ROC(c, 10),
        "stoch_k": stoch_k,
        "stoch_d": stoch_d,
        "rsi_14": talib.RSI(c, 14),
        "macd": macd,
        "macd_signal": signal,
        "macd_hist": histogram,
        "willr_14": talib.WILLR(h, low, c, 14),
        "cci_20": talib.CCI(h, low, c, 20),
        "adx_14": talib.ADX(h, low, c, 14),
        "plus_di": talib.PLUS_DI(h, low, c, 14),
        "minus_di": talib.MINUS_DI(h, low, c, 14),
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "atr_14": talib.ATR(h, low, c, 14),
        "volume_ratio_20": v / talib.SMA(v, 20),
    }
    values = indicators.compute(panel)
    assert set(values) == set(expected) | {indicators.VOLATILITY} == set(indicators.NAMES)
    for name, expected_T in expected.items():
        np.testing.assert_array_equal(values[name][:, 1], expected_T, err_msg=name)


def test_volatility_is_the_sample_std_of_the_last_twenty_log_returns() -> None:
    panel = market()
    returns = np.diff(np.log(panel.close_TN[:, 0]))
    values = indicators.compute(panel)[indicators.VOLATILITY][:, 0]
    assert np.isnan(values[:20]).all()
    np.testing.assert_allclose(values[20], returns[:20].std(ddof=1), rtol=1e-12)
    np.testing.assert_allclose(values[-1], returns[-20:].std(ddof=1), rtol=1e-12)
    np.testing.assert_allclose(indicators.volatility_TN(panel, span=5)[50, 0], returns[45:50].std(ddof=1), rtol=1e-12)


def test_the_table_states_the_warm_up() -> None:
    values = indicators.compute(market())
    for row in indicators.TABLE:
        known_T = np.isfinite(values[row.name][:, 0])
        assert int(known_T.argmax()) == row.warm_up, row.name
        assert known_T[row.warm_up :].all(), row.name


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), stop=st.integers(1, T - 1), gap=st.integers(0, T - 1))
def test_a_cut_history_gives_the_same_floats(seed: int, stop: int, gap: int) -> None:
    panel = changed(market(seed), slice(gap, gap + 2), column=0)
    whole, part = indicators.compute(panel), indicators.compute(cut(panel, stop))
    for name in indicators.NAMES:
        np.testing.assert_array_equal(part[name], whole[name][:stop], err_msg=name)


@settings(max_examples=15, deadline=None)
@given(t=st.integers(0, T - 2), factor=st.floats(0.01, 100))
def test_later_bars_change_nothing(t: int, factor: float) -> None:
    panel = market(7)
    before, after = indicators.compute(panel), indicators.compute(changed(panel, slice(t + 1, None), factor))
    removed = indicators.compute(changed(panel, slice(t + 1, None)))
    for name in indicators.NAMES:
        np.testing.assert_array_equal(before[name][: t + 1], after[name][: t + 1], err_msg=name)
        np.testing.assert_array_equal(before[name][: t + 1], removed[name][: t + 1], err_msg=name)


def test_a_gap_starts_a_new_warm_up_and_spoils_nothing_after_it() -> None:
    panel = changed(market(days=200), slice(70, 71), column=0)
    values, unbroken = indicators.compute(panel), indicators.compute(market(days=200))
    after = indicators.compute(cut_front(panel, 71))
    for name in indicators.NAMES:
        assert np.isnan(values[name][70, 0]), name
        np.testing.assert_array_equal(values[name][:70], unbroken[name][:70], err_msg=name)
        np.testing.assert_array_equal(values[name][71:, 0], after[name][:, 0], err_msg=name)
        np.testing.assert_array_equal(values[name][:, 1], unbroken[name][:, 1], err_msg=name)
        assert np.isfinite(values[name][-1, 0]), name


def cut_front(panel: Panel, start: int) -> Panel:
    return Panel(panel.dates_T[start:], panel.tickers, *(getattr(panel, f"{name}_TN")[start:] for name in FIELDS))


def test_a_late_listing_warms_up_from_its_own_first_bar() -> None:
    late = indicators.compute(changed(market(), slice(0, 40), column=1))
    for row in indicators.TABLE:
        known_T = np.isfinite(late[row.name][:, 1])
        assert not known_T[: 40 + row.warm_up].any(), row.name
        assert known_T[40 + row.warm_up :].all(), row.name


def test_a_missing_volume_leaves_price_indicators_alone() -> None:
    panel = market()
    volume = panel.volume_TN.copy()
    volume[60, 0] = np.nan
    values = indicators.compute(
        Panel(panel.dates_T, panel.tickers, panel.open_TN, panel.high_TN, panel.low_TN, panel.close_TN, volume)
    )
    assert np.isnan(values["volume_ratio_20"][60:80, 0]).all()
    assert np.isfinite(values["volume_ratio_20"][80:, 0]).all()
    assert np.isfinite(values["rsi_14"][14:, 0]).all()


def test_a_price_that_stands_still_is_not_called_oversold() -> None:
    flat = np.full((60, 1), 5.0)
    dates = market(days=60).dates_T
    values = indicators.compute(Panel(dates, ("FLAT",), flat, flat, flat, flat, np.zeros((60, 1))))
    for name in ("rsi_14", "stoch_k", "stoch_d", "willr_14", "volume_ratio_20"):
        assert np.isnan(values[name]).all(), name
    assert (values[indicators.VOLATILITY][20:] == 0).all()


@pytest.mark.parametrize("days", [1, 2, 13])
def test_very_short_histories_give_nan(days: int) -> None:
    values = indicators.compute(market(days=days))
    assert all(np.isnan(values[row.name]).all() for row in indicators.TABLE if row.warm_up >= days)
