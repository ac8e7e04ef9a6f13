"""Window statistics: equal to a plain reading of their formulas, causal, safe against gaps and flat windows."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market, ragged, scrambled_after

from tradeschool.market.features import STATISTICS_LENGTH as LENGTH
from tradeschool.market.features import panel_statistics, statistic_names, window_statistics
from tradeschool.market.panel import FIELDS, Floats, Panel


def plain(window: list[float], lags: int) -> dict[str, float]:
    """The formulas of the docstring in exact fractions, one value at a time."""
    count, x = len(window), [Fraction(value) for value in window]
    mean, steps = sum(x) / count, [Fraction(2 * i - count + 1, 2) for i in range(count)]
    middle = sorted(x)[(count - 1) // 2 : count // 2 + 1]
    spread = sum((value - mean) ** 2 for value in x)
    found: dict[str, float | Fraction] = {
        "min": min(x),
        "min_timestep": x.index(min(x)),
        "max": max(x),
        "max_timestep": x.index(max(x)),
        "mean": mean,
        "median": sum(middle) / len(middle),
        "median_timestep": next(i for i, value in enumerate(x) if value in middle),
        "trend": sum(i * value for i, value in zip(steps, x, strict=True)) / sum(i * i for i in steps),
    }
    for lag in range(1, lags + 1):
        pairs = zip(x[:-lag], x[lag:], strict=True)
        found[f"lag_{lag}"] = sum((a - mean) * (b - mean) for a, b in pairs) / spread if spread else np.nan
    return {name: float(value) for name, value in found.items()}


prices = st.one_of(st.integers(1, 8).map(float), st.floats(0.5, 2000, allow_subnormal=False))


@settings(max_examples=100)
@given(data=st.data(), count=st.integers(2, 15))
def test_each_statistic_is_its_formula(data: st.DataObject, count: int) -> None:
    window = data.draw(st.lists(prices, min_size=count, max_size=count))
    lags = data.draw(st.integers(0, count - 1))
    found = window_statistics(np.array([window, window[::-1]]), lags)
    assert tuple(found) == statistic_names(lags)
    for row, values in enumerate((window, window[::-1])):
        for name, expected in plain(values, lags).items():
            size = 1 if name.startswith("lag") else max(window)
            np.testing.assert_allclose(found[name][row], expected, rtol=1e-9, atol=1e-9 * size, err_msg=name)


def test_ties_count_for_the_first_and_flat_windows_have_no_correlation() -> None:
    tied, flat = [3.0, 1.0, 4.0, 1.0, 4.0, 2.0], [0.1] * 6
    found = window_statistics(np.array([tied, flat]), 2)
    steps = {name: found[f"{name}_timestep"].tolist() for name in ("min", "max", "median")}
    # The middle values are 2 (step 5) and 3 (step 0); both are .5 from the median.
    assert steps == {"min": [1, 0], "max": [2, 0], "median": [0, 0]}
    assert found["median"].tolist() == [2.5, 0.1]
    assert found["mean"][1] == 0.1
    assert found["trend"][1] == 0
    assert np.isnan([found["lag_1"][1], found["lag_2"][1]]).all()
    assert window_statistics(np.array([[5.0, 6.0, 7.5, 1.0, 2.0]]))["median_timestep"] == [0]


def test_a_straight_line_has_its_slope_and_textbook_correlations() -> None:
    line = 50 - 0.25 * np.arange(10.0)
    found = window_statistics(line[None])
    np.testing.assert_allclose(found["trend"], -0.25, rtol=1e-12)
    # Lag 1 of a line of ten: (sum i=0..8 of (i-4.5)(i-3.5)) / 82.5 = 57.75 / 82.5.
    np.testing.assert_allclose(found["lag_1"], 0.7, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_missing_value_makes_its_window_nan_and_no_other(bad: float) -> None:
    windows: Floats = np.random.default_rng(0).uniform(1, 2, (5, 10))
    whole = window_statistics(windows)
    windows[2, 4] = bad
    for name, values in window_statistics(windows).items():
        assert np.isnan(values[2]), name
        np.testing.assert_array_equal(np.delete(values, 2), np.delete(whole[name], 2), err_msg=name)


def test_the_panel_has_the_windows_that_end_at_its_rows() -> None:
    panel = ragged()
    values = panel_statistics(panel)
    assert tuple(values) == tuple(f"stat_{name}" for name in statistic_names())
    for t in range(0, panel.shape[0], 7):
        for n in range(panel.shape[1]):
            listed_T = panel.listed_TN[: t + 1, n]
            window = panel.close_TN[: t + 1, n][listed_T][-LENGTH:]
            known = len(window) == LENGTH and bool(listed_T[t])
            expected = window_statistics(window[None]) if known else {}
            for name, value_TN in values.items():
                np.testing.assert_array_equal(value_TN[t, n], expected.get(name[5:], [np.nan])[0], err_msg=name)
    assert np.isfinite(values["stat_trend"]).any(axis=0).all()


def cut(panel: Panel, stop: int) -> dict[str, Floats]:
    bars = (getattr(panel, f"{name}_TN")[:stop] for name in FIELDS)
    return panel_statistics(Panel(panel.dates_T[:stop], panel.tickers, *bars))


@settings(max_examples=10)
@given(stop=st.integers(1, 399), seed=st.integers(0, 5))
def test_a_cut_history_and_a_scrambled_future_give_the_same_floats(stop: int, seed: int) -> None:
    panel = ragged(seed)
    whole, scrambled = panel_statistics(panel), panel_statistics(scrambled_after(panel, stop - 1))
    for name, value_TN in cut(panel, stop).items():
        np.testing.assert_array_equal(value_TN, whole[name][:stop], err_msg=name)
        np.testing.assert_array_equal(scrambled[name][:stop], whole[name][:stop], err_msg=name)


def test_a_history_shorter_than_the_window_is_nan() -> None:
    panel = market()
    for stop in (1, LENGTH - 1):
        assert all(np.isnan(value_TN).all() and value_TN.shape == (stop, 6) for value_TN in cut(panel, stop).values())
    assert np.isfinite(cut(panel, LENGTH)["stat_min"][-1]).all()
