"""Indicators: equal to TA-Lib, causal to the last bit, safe against gaps and late listing."""

from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import talib
import talib.abstract
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeschool.errors import DataError
from tradeschool.market import features
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
    values = features.compute(panel)
    assert set(values) == set(expected) | {features.VOLATILITY} == set(features.NAMES)
    for name, expected_T in expected.items():
        np.testing.assert_array_equal(values[name][:, 1], expected_T, err_msg=name)


ABSTRACT: dict[str, tuple[str, dict[str, Any], int]] = {
    "sma_20": ("SMA", {"timeperiod": 20}, 0),
    "sma_50": ("SMA", {"timeperiod": 50}, 0),
    "ema_20": ("EMA", {"timeperiod": 20}, 0),
    "mom_10": ("MOM", {"timeperiod": 10}, 0),
    "roc_10": ("ROC", {"timeperiod": 10}, 0),
    "stoch_k": ("STOCH", {"fastk_period": 14, "slowk_period": 3, "slowd_period": 3}, 0),
    "stoch_d": ("STOCH", {"fastk_period": 14, "slowk_period": 3, "slowd_period": 3}, 1),
    "rsi_14": ("RSI", {"timeperiod": 14}, 0),
    "macd": ("MACD", {"fastperiod": 12, "slowperiod": 26, "signalperiod": 9}, 0),
    "macd_signal": ("MACD", {"fastperiod": 12, "slowperiod": 26, "signalperiod": 9}, 1),
    "macd_hist": ("MACD", {"fastperiod": 12, "slowperiod": 26, "signalperiod": 9}, 2),
    "willr_14": ("WILLR", {"timeperiod": 14}, 0),
    "cci_20": ("CCI", {"timeperiod": 20}, 0),
    "adx_14": ("ADX", {"timeperiod": 14}, 0),
    "plus_di": ("PLUS_DI", {"timeperiod": 14}, 0),
    "minus_di": ("MINUS_DI", {"timeperiod": 14}, 0),
    "bb_upper": ("BBANDS", {"timeperiod": 20, "nbdevup": 2.0, "nbdevdn": 2.0}, 0),
    "bb_middle": ("BBANDS", {"timeperiod": 20, "nbdevup": 2.0, "nbdevdn": 2.0}, 1),
    "bb_lower": ("BBANDS", {"timeperiod": 20, "nbdevup": 2.0, "nbdevdn": 2.0}, 2),
    "atr_14": ("ATR", {"timeperiod": 14}, 0),
}


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    days=st.integers(1, 300),
    daily=st.floats(1e-4, 0.2),
    gap=st.floats(0, 0.05),
    level=st.floats(1e-2, 1e4),
)
def test_any_series_without_gaps_equals_talibs_abstract_functions(
    seed: int, days: int, daily: float, gap: float, level: float
) -> None:
    rng = np.random.default_rng(seed)
    close = level * np.exp(np.clip(np.cumsum(rng.normal(0, daily, (days, 1)), axis=0), -5, 5))
    start = close * np.exp(rng.normal(0, gap, close.shape))
    high, low = (limit(start, close) * factor for limit, factor in ((np.maximum, 1.001), (np.minimum, 0.999)))
    volume = rng.integers(1, 10**7, close.shape).astype(float)
    panel = Panel(market(days=days).dates_T, ("A",), start, high, low, close, volume)
    bars = {name: getattr(panel, f"{name}_TN")[:, 0].copy() for name in FIELDS}
    values = features.compute(panel)
    assert set(ABSTRACT) | {"volume_ratio_20", features.VOLATILITY} == set(features.NAMES)
    for name, (function, parameters, output) in ABSTRACT.items():
        outputs = talib.abstract.Function(function)(bars, **parameters)
        expected_T = outputs[output] if isinstance(outputs, list) else outputs
        np.testing.assert_allclose(values[name][:, 0], expected_T, rtol=1e-9, atol=1e-9 * level, err_msg=name)
    ratio_T = bars["volume"] / talib.abstract.Function("SMA")({"close": bars["volume"]}, timeperiod=20)
    np.testing.assert_allclose(values["volume_ratio_20"][:, 0], ratio_T, rtol=1e-9)


def test_a_function_of_several_outputs_is_called_once_a_ticker(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {name: Mock(wraps=getattr(talib, name)) for name in ("MACD", "BBANDS", "STOCH")}
    for name, function in counted.items():
        monkeypatch.setattr(talib, name, function)
    features.compute(market(tickers=3))
    assert [function.call_count for function in counted.values()] == [3, 3, 3]


def test_a_subset_is_what_it_is_among_all_and_nothing_else_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = changed(market(), slice(50, 51), column=0)
    everything = features.compute(panel)
    for name in features.NAMES:
        alone = features.compute(panel, [name])
        assert list(alone) == [name]
        np.testing.assert_array_equal(alone[name], everything[name], err_msg=name)
    assert list(features.compute(panel, ("willr_14", "macd_hist", "willr_14"))) == ["willr_14", "macd_hist"]
    assert features.compute(panel, []) == {}

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed although not requested")

    monkeypatch.setattr(talib, "MACD", never)
    monkeypatch.setattr(features, "volatility_TN", never)
    features.compute(panel, ["rsi_14", "volume_ratio_20"])


def test_an_unknown_name_is_refused_with_the_near_one() -> None:
    with pytest.raises(DataError, match="'rsi_41'.*'rsi_14'.*sma_20"):
        features.compute(market(), ["macd", "rsi_41"])


def test_the_order_in_memory_does_not_matter() -> None:
    panel = market()
    fields = {name: getattr(panel, f"{name}_TN").copy(order="F") for name in FIELDS}
    turned = Panel(panel.dates_T, panel.tickers, *(fields[name] for name in FIELDS))
    values = features.compute(turned)
    for name, value_TN in features.compute(panel).items():
        assert value_TN.shape == panel.shape
        np.testing.assert_array_equal(values[name], value_TN, err_msg=name)


def test_only_the_recursive_ones_depend_on_where_the_history_starts_and_settle() -> None:
    panel = market(days=500)
    whole, late = features.compute(panel), features.compute(cut_front(panel, 100))
    settled = features.SETTLED
    for row in features.TABLE:
        size = np.nanstd(whole[row.name])
        apart = np.abs(whole[row.name][100:] - late[row.name]) / size
        assert apart[settled:].max() < 1e-6, row.name
        assert (apart[row.warm_up :].max() > 1e-6) == row.recursive, row.name


def test_rolling_std_is_numpys_in_every_column() -> None:
    values = np.random.default_rng(0).normal(size=(300, 7))
    values[150, 2] = np.nan
    std = features.rolling_std(values, 20)
    expected = np.full(values.shape, np.nan)
    for t in range(19, 300):
        expected[t] = values[t - 19 : t + 1].std(axis=0, ddof=1)
    np.testing.assert_allclose(std, expected, rtol=1e-10)
    assert (features.rolling_std(np.full((50, 3), 0.1), 20)[19:] == 0).all()
    assert np.isnan(features.rolling_std(values[:5], 20)).all()


def test_volatility_is_the_sample_std_of_the_last_twenty_log_returns() -> None:
    panel = market()
    returns = np.diff(np.log(panel.close_TN[:, 0]))
    values = features.compute(panel)[features.VOLATILITY][:, 0]
    assert np.isnan(values[:20]).all()
    np.testing.assert_allclose(values[20], returns[:20].std(ddof=1), rtol=1e-12)
    np.testing.assert_allclose(values[-1], returns[-20:].std(ddof=1), rtol=1e-12)
    np.testing.assert_allclose(features.volatility_TN(panel, span=5)[50, 0], returns[45:50].std(ddof=1), rtol=1e-12)


def test_the_table_states_the_warm_up() -> None:
    values = features.compute(market())
    for row in features.TABLE:
        known_T = np.isfinite(values[row.name][:, 0])
        assert int(known_T.argmax()) == row.warm_up, row.name
        assert known_T[row.warm_up :].all(), row.name


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), stop=st.integers(1, T - 1), gap=st.integers(0, T - 1))
def test_a_cut_history_gives_the_same_floats(seed: int, stop: int, gap: int) -> None:
    panel = changed(market(seed), slice(gap, gap + 2), column=0)
    whole, part = features.compute(panel), features.compute(cut(panel, stop))
    for name in features.NAMES:
        np.testing.assert_array_equal(part[name], whole[name][:stop], err_msg=name)


@settings(max_examples=15, deadline=None)
@given(t=st.integers(0, T - 2), factor=st.floats(0.01, 100))
def test_later_bars_change_nothing(t: int, factor: float) -> None:
    panel = market(7)
    before, after = features.compute(panel), features.compute(changed(panel, slice(t + 1, None), factor))
    removed = features.compute(changed(panel, slice(t + 1, None)))
    for name in features.NAMES:
        np.testing.assert_array_equal(before[name][: t + 1], after[name][: t + 1], err_msg=name)
        np.testing.assert_array_equal(before[name][: t + 1], removed[name][: t + 1], err_msg=name)


def test_a_suspension_starts_a_new_warm_up_and_spoils_nothing_after_it() -> None:
    panel = changed(market(days=200), slice(45, 71), column=0)
    values, unbroken = features.compute(panel), features.compute(market(days=200))
    after = features.compute(cut_front(panel, 71))
    for name in features.NAMES:
        assert np.isnan(values[name][70, 0]), name
        np.testing.assert_array_equal(values[name][:45], unbroken[name][:45], err_msg=name)
        np.testing.assert_allclose(values[name][71:, 0], after[name][:, 0], rtol=1e-10, err_msg=name)
        np.testing.assert_array_equal(values[name][:, 1], unbroken[name][:, 1], err_msg=name)
        assert np.isfinite(values[name][-1, 0]), name


def cut_front(panel: Panel, start: int) -> Panel:
    return Panel(panel.dates_T[start:], panel.tickers, *(getattr(panel, f"{name}_TN")[start:] for name in FIELDS))


def test_a_late_listing_warms_up_from_its_own_first_bar() -> None:
    late = features.compute(changed(market(), slice(0, 40), column=1))
    for row in features.TABLE:
        known_T = np.isfinite(late[row.name][:, 1])
        assert not known_T[: 40 + row.warm_up].any(), row.name
        assert known_T[40 + row.warm_up :].all(), row.name


def test_a_missing_volume_leaves_price_indicators_alone() -> None:
    panel = market()
    volume = panel.volume_TN.copy()
    volume[60, 0] = np.nan
    values = features.compute(
        Panel(panel.dates_T, panel.tickers, panel.open_TN, panel.high_TN, panel.low_TN, panel.close_TN, volume)
    )
    assert np.isnan(values["volume_ratio_20"][60:80, 0]).all()
    assert np.isfinite(values["volume_ratio_20"][80:, 0]).all()
    assert np.isfinite(values["rsi_14"][14:, 0]).all()


def test_a_price_that_stands_still_is_not_called_oversold() -> None:
    flat = np.full((60, 1), 5.0)
    dates = market(days=60).dates_T
    values = features.compute(Panel(dates, ("FLAT",), flat, flat, flat, flat, np.zeros((60, 1))))
    for name in ("rsi_14", "stoch_k", "stoch_d", "willr_14", "volume_ratio_20"):
        assert np.isnan(values[name]).all(), name
    assert (values[features.VOLATILITY][20:] == 0).all()


@pytest.mark.parametrize("days", [1, 2, 13])
def test_very_short_histories_give_nan(days: int) -> None:
    values = features.compute(market(days=days))
    assert all(np.isnan(values[row.name]).all() for row in features.TABLE if row.warm_up >= days)
