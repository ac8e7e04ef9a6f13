"""Tomorrow: hand-computed cases, and proof that label scales and cuts use no price from beyond their part."""

import numpy as np
import pandas as pd
import pytest

from tradeschool.errors import DataError
from tradeschool.market import labels
from tradeschool.market.panel import Floats, Panel


def panel_of(opens: Floats, closes: Floats | None = None) -> Panel:
    """Bars around the given opens and closes, [T, N]."""
    closes = opens if closes is None else closes
    high, low = np.fmax(opens, closes), np.fmin(opens, closes)
    dates = np.arange("2020-01-01", "2040-01-01", dtype="datetime64[D]")[: len(opens)]
    names = tuple(f"S{n}" for n in range(opens.shape[1]))
    return Panel(dates, names, opens, high, low, closes, np.where(np.isfinite(closes), 1000.0, np.nan))


def walk(days: int = 400, tickers: int = 3, seed: int = 0) -> Floats:
    steps = np.random.default_rng(seed).normal(0, 0.02, (days, tickers))
    return np.asarray(100 * np.exp(np.cumsum(steps, axis=0)), dtype=np.float64)


def test_forward_return_runs_from_the_next_open() -> None:
    opens = np.array([[10.0], [11.0], [12.0], [18.0], [9.0]])
    forward = labels.forward_return_TN(panel_of(opens, opens * 1.01), 2)[:, 0]
    np.testing.assert_allclose(forward[:2], [np.log(18 / 11), np.log(9 / 12)])
    assert np.isnan(forward[2:]).all()


def test_forward_return_counts_own_bars_and_is_nan_after_delisting() -> None:
    opens = walk(10, 2)
    opens[4, 0] = np.nan  # one day without trading
    opens[7:, 1] = np.nan  # delisted
    forward = labels.forward_return_TN(panel_of(opens), 2)
    # The day itself (4) has no decision. That of the day before it (3) is filled at the next open (5).
    assert np.isfinite(forward[:, 0]).tolist() == [True] * 4 + [False, True, True, False, False, False]
    assert np.isfinite(forward[:, 1]).tolist() == [True] * 4 + [False] * 6
    exits = {0: (1, 3), 1: (2, 5), 2: (3, 6), 3: (5, 7), 5: (6, 8), 6: (7, 9)}
    for t, (fill, exit_) in exits.items():
        assert forward[t, 0] == np.log(opens[exit_, 0] / opens[fill, 0])


def test_no_forward_return_spans_a_suspension() -> None:
    opens = walk(100, 2)
    opens[40:70, 0] = np.nan
    finite = np.isfinite(labels.forward_return_TN(panel_of(opens), 2)[:, 0])
    # The decision of row 36 exits at the open of row 39, the last before the suspension.
    assert np.flatnonzero(~finite).tolist() == [*range(37, 70), 97, 98, 99]


def test_a_horizon_longer_than_the_panel_gives_nan() -> None:
    assert np.isnan(labels.forward_return_TN(panel_of(walk(5)), 9)).all()
    assert np.isfinite(labels.forward_return_TN(panel_of(walk(5)), 3)[:, 0]).tolist() == [True] + [False] * 4


def test_excess_is_the_return_above_the_market_in_volatilities() -> None:
    opens = walk(60)
    panel = panel_of(opens)
    t, h = 40, 5
    forward = np.log(opens[t + 1 + h] / opens[t + 1])
    volatility = np.diff(np.log(opens[t - 20 : t + 1]), axis=0).std(axis=0, ddof=1)
    one = (forward - forward.mean()) / (volatility * np.sqrt(h))
    np.testing.assert_allclose(labels.excess_TN(panel, [h])[t], one, rtol=1e-9)
    day = np.log(opens[t + 2] / opens[t + 1])
    both = (one + (day - day.mean()) / volatility) / 2
    np.testing.assert_allclose(labels.excess_TN(panel, [h, 1])[t], both, rtol=1e-9)


def test_excess_is_clipped_per_horizon_and_needs_every_horizon() -> None:
    opens = walk(60)
    opens[42:, 0] *= 3.0
    excess = labels.excess_TN(panel_of(opens), [1, 5])
    assert labels.excess_TN(panel_of(opens), [1])[40, 0] == 4.0
    assert excess[40, 0] == 4.0
    assert np.isfinite(excess[20:54]).all()
    assert np.isnan(excess[54:]).all()


def test_excess_scale_is_known_at_t() -> None:
    opens = walk(80)
    later = opens.copy()
    # From row 47 on the prices differ; the outcome of row 40 at horizon 5 ends with the open of row 46.
    later[47:] *= np.random.default_rng(1).uniform(0.5, 2, later[47:].shape)
    before = labels.excess_TN(panel_of(opens), [5])
    np.testing.assert_array_equal(before[:41], labels.excess_TN(panel_of(later), [5])[:41])


def test_one_ticker_has_no_market_to_subtract() -> None:
    opens = walk(60, 1)
    panel = panel_of(opens)
    t = 30
    volatility = np.diff(np.log(opens[t - 20 : t + 1, 0])).std(ddof=1)
    np.testing.assert_allclose(
        labels.excess_TN(panel, [1])[t, 0], np.log(opens[t + 2, 0] / opens[t + 1, 0]) / volatility
    )


def test_a_date_with_one_ticker_listed_has_no_excess() -> None:
    opens = walk(60, 2)
    opens[:45, 1] = np.nan
    assert np.isnan(labels.excess_TN(panel_of(opens), [1])[:45]).all()


def test_two_tickers_are_a_market_and_missing_ones_do_not_count() -> None:
    opens = walk(60, 3)
    opens[:, 2] = np.nan
    two = labels.excess_TN(panel_of(opens), [1])
    np.testing.assert_array_equal(two[:, :2], labels.excess_TN(panel_of(opens[:, :2]), [1]))
    assert np.isfinite(two[20:58, :2]).all()


def test_no_volatility_means_no_excess() -> None:
    opens = walk(60)
    opens[:, 0] = 5.0
    excess = labels.excess_TN(panel_of(opens), [1])
    assert np.isnan(excess[:, 0]).all()
    assert np.isfinite(excess[20:58, 1:]).all()


def label_reference(close: Floats, forward: bool) -> Floats:
    """FORMULAS section 1 in pandas, with V over forward returns fully realised by t."""
    signal = pd.Series(0.0, index=range(len(close)))
    ema = pd.Series(close).ewm(span=3).mean()
    for tau, weight in ((3, 0.3), (7, 0.5), (15, 0.2)):
        ahead = ema.shift(-tau) / ema - 1
        realised = ahead.shift(tau)
        signal += weight * (ahead if forward else realised) / realised.rolling(20).std()
    return np.asarray(signal, dtype=np.float64)


@pytest.mark.parametrize("mode", ["forward", "paper"])
def test_labels_follow_the_formula(mode: labels.LabelMode) -> None:
    close = walk()
    train = np.arange(400) < 250
    found = labels.rating_labels(panel_of(close), train, mode)
    signal = np.column_stack([label_reference(close[:, n], mode == "forward") for n in range(3)])
    np.testing.assert_allclose(found.signal_TN, signal, rtol=1e-8)
    fitted = signal[: 250 - 15 if mode == "forward" else 250]
    np.testing.assert_allclose(found.cuts, np.nanquantile(fitted, [0.03, 0.15, 0.53, 0.85]), rtol=1e-8)
    expected = np.select([found.signal_TN >= cut for cut in found.cuts[::-1]], [2.0, 1.0, 0.0, -1.0], -2.0)
    np.testing.assert_array_equal(found.label_TN, np.where(np.isfinite(signal), expected, np.nan))


def test_training_labels_have_the_papers_shares() -> None:
    found = labels.rating_labels(panel_of(walk(2000)), np.arange(2000) < 1500).label_TN[:1485]
    found = found[np.isfinite(found)]
    shares = [float((found == label).mean()) for label in (-2, -1, 0, 1, 2)]
    np.testing.assert_allclose(shares, [0.03, 0.12, 0.38, 0.32, 0.15], atol=0.001)


def test_a_signal_equal_to_a_cut_belongs_to_the_class_above() -> None:
    # With 101 signals the quantiles fall exactly on the 4th, 16th, 54th and 86th smallest.
    found = labels.rating_labels(panel_of(walk(180, 1)), np.arange(180) < 150)
    fitted = found.label_TN[34:135, 0]
    assert [int((fitted == label).sum()) for label in (-2, -1, 0, 1, 2)] == [3, 12, 38, 32, 16]


def test_prices_after_training_move_no_cut_and_no_training_label() -> None:
    close, train = walk(), np.arange(400) < 250
    later = close.copy()
    later[250:] *= np.random.default_rng(5).uniform(0.5, 2.0, later[250:].shape)
    before = labels.rating_labels(panel_of(close), train)
    after = labels.rating_labels(panel_of(later), train)
    assert before.cuts == after.cuts
    np.testing.assert_array_equal(before.label_TN[:235], after.label_TN[:235])
    assert not np.array_equal(before.label_TN[250:350], after.label_TN[250:350])


def test_training_prices_do_move_the_cuts() -> None:
    close, train = walk(), np.arange(400) < 250
    assert labels.rating_labels(panel_of(close), train).cuts != labels.rating_labels(panel_of(walk(seed=9)), train).cuts


def test_the_scale_of_a_label_is_known_at_its_date() -> None:
    """Forward and trailing signal of a date share V: it cannot hold a return realised after the date."""
    close, train = walk(), np.ones(400, dtype=bool)
    later = close.copy()
    later[301:] *= np.random.default_rng(2).uniform(0.5, 2.0, later[301:].shape)
    paper = labels.rating_labels(panel_of(close), train, "paper").signal_TN
    np.testing.assert_array_equal(paper[:301], labels.rating_labels(panel_of(later), train, "paper").signal_TN[:301])


def test_a_suspension_costs_labels_around_it_and_no_others() -> None:
    close, train = walk(), np.arange(400) < 250
    gap = close.copy()
    gap[300:325, 0] = np.nan
    whole, holed = (labels.rating_labels(panel_of(prices), train) for prices in (close, gap))
    assert np.isnan(holed.label_TN[[285, 293, 297, 300, 325, 340, 358], 0]).all()
    assert np.isfinite(holed.label_TN[365:385, 0]).all()
    np.testing.assert_array_equal(whole.label_TN[:285], holed.label_TN[:285])
    np.testing.assert_array_equal(whole.label_TN[:, 1:], holed.label_TN[:, 1:])


def test_labels_end_fifteen_days_before_the_panel() -> None:
    label_TN = labels.rating_labels(panel_of(walk()), np.arange(400) < 250).label_TN
    assert np.isfinite(label_TN[-16]).all()
    assert np.isnan(label_TN[-15:]).all()
    assert max(labels.LABEL_WEIGHTS) == labels.LONGEST_LABEL_HORIZON


@pytest.mark.parametrize("rows", [0, 10, 49])
def test_too_little_training_data_is_refused(rows: int) -> None:
    with pytest.raises(DataError, match=f"none of the {rows} training rows"):
        labels.rating_labels(panel_of(walk()), np.arange(400) < rows)


def test_true_alpha_is_read_through_labels() -> None:
    panel = panel_of(walk(5))
    assert labels.true_alpha_TN(panel) is None
    alpha_TN = np.zeros((5, 3))
    fields = (panel.open_TN, panel.high_TN, panel.low_TN, panel.close_TN, panel.volume_TN)
    assert labels.true_alpha_TN(Panel(panel.dates_T, panel.tickers, *fields, true_alpha_TN=alpha_TN)) is alpha_TN
