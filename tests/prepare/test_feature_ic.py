"""Features against the outcome: the IC itself, that nothing after train enters, and what chance alone shows."""

from dataclasses import replace

import numpy as np
import pytest
from markets import market, ragged, scrambled_after
from scipy.stats import spearmanr

from tradeschool.evaluate.comparison import Interval
from tradeschool.market import features, labels
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.prepare.feature_ic import IN_PRICE, FeatureIC, FeatureICs, feature_ics, feature_values
from tradeschool.prepare.overview import significance_summary


def columns(panel: Panel, *tickers: int) -> Panel:
    """Some of its tickers alone."""
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN")[:, tickers] for name in FIELDS}
    return replace(panel, tickers=tuple(panel.tickers[n] for n in tickers), events=(), true_alpha_TN=None, **bars)


def related(panel: Panel, first: int = 40, last: int = 250, horizons: tuple[int, ...] = (5,)) -> FeatureICs:
    return feature_ics(panel, first, last, horizons)


def test_the_ic_is_the_mean_of_the_rank_correlations_of_the_dates() -> None:
    panel = market(tickers=8)
    found = {row.feature: row for row in related(panel).rows}
    forward_TN = labels.excess_TN(panel, [5])
    for name, values_TN in (("rsi_14", features.compute(panel)["rsi_14"]), ("strength_10", None)):
        if values_TN is None:
            values_TN = feature_values(panel)[name]
        # The last day whose outcome lies on or before row 250 is row 244: filled at 245, sold at 250.
        by_date = [spearmanr(values_TN[t], forward_TN[t]).statistic for t in range(40, 245)]
        assert found[name].ic.value == pytest.approx(np.mean(by_date))
        assert found[name].dates == 205


def test_of_a_single_ticker_ranks_are_taken_among_its_dates() -> None:
    panel = columns(market(), 0)
    found = related(panel)
    assert not found.by_date
    expected = spearmanr(feature_values(panel)["rsi_14"][40:245], labels.excess_TN(panel, [5])[40:245]).statistic
    (row,) = [row for row in found.rows if row.feature == "rsi_14"]
    assert row.ic.value == pytest.approx(expected)
    assert row.ic.low < row.ic.value < row.ic.high


@pytest.mark.parametrize("tickers", [(0,), (0, 1, 2, 3, 4, 5)])
def test_no_bar_after_train_enters(tickers: tuple[int, ...]) -> None:
    panel = columns(ragged(), *tickers)
    after = scrambled_after(panel, 250)
    assert not np.array_equal(after.close_TN[251:], panel.close_TN[251:], equal_nan=True)
    assert related(after) == related(panel)
    earlier = scrambled_after(panel, 235)
    assert related(earlier) != related(panel)


def test_no_feature_is_in_units_of_the_price() -> None:
    panel = market()
    doubled = replace(panel, **{f"{name}_TN": 2 * getattr(panel, f"{name}_TN") for name in FIELDS[:4]})
    assert {name.removesuffix(" / close") for name in feature_values(panel)} >= {
        *features.NAMES,
        *IN_PRICE,
        "strength_10",
    }
    for name, values_TN in feature_values(doubled).items():
        np.testing.assert_allclose(values_TN, feature_values(panel)[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_an_edge_is_found_and_without_one_nothing_is_significant_after_holm() -> None:
    found = related(market(edge=0.5, tickers=12, days=900), last=800)
    assert {"strength_10", "mom_10 / close"} <= {row.feature for row in found.after_holm}
    for seed in range(4):
        assert not related(market(edge=0.0, tickers=12, days=600, seed=seed), last=500).after_holm


def test_a_constant_feature_has_no_interval_and_is_not_counted() -> None:
    panel = replace(market(), volume_TN=np.full(market().shape, 1e6))
    found = related(panel)
    (constant,) = [row for row in found.rows if row.feature == "volume_ratio_20"]
    assert np.isnan(constant.ic.low)
    assert np.isnan(constant.p_value)
    assert constant is found.rows[-1]
    assert len(found.known) == len(found.rows) - 1


def made_up(*rows: tuple[float, float, float, float]) -> FeatureICs:
    """Rows of (IC, low, high, adjusted p)."""
    listed = [FeatureIC(f"f{k}", Interval(value=v, low=low, high=h), p, 500) for k, (v, low, h, p) in enumerate(rows)]
    return FeatureICs(listed, (5,), True, 500, 15)


def test_the_summary_compares_the_significant_features_with_chance() -> None:
    rows = [(0.05, 0.02, 0.08, 0.01), (-0.03, -0.05, -0.01, 0.3), *[(0.0, -0.1, 0.1, 1.0)] * 38]
    summary = significance_summary(made_up(*rows))
    assert "2 of 40" in summary
    assert "about 2 would by chance" in summary
    assert summary.endswith("correction: 1.")
    assert significance_summary(made_up(*rows[1:])).endswith("correction: none.")
