"""The synthetic market: lifelike, seeded, and predictable by exactly what its dial says."""

import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import market, task_of
from pydantic import ValidationError
from scipy.stats import kurtosis

from tradeschool.market import synthetic as synthetic_market
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.synthetic import SyntheticConfig, simulate
from tradeschool.text.describe import tone


@pytest.fixture(scope="module")
def calm() -> Panel:
    """Without an edge; opens, closes and events over ten years."""
    return market(edge=0.0, tickers=12, days=2500)


def returns(panel: Panel) -> Floats:
    return np.asarray(np.diff(np.log(panel.close_TN), axis=0), dtype=np.float64)


def correlation(x: Floats, y: Floats) -> float:
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1])


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    tickers=st.integers(2, 8),
    days=st.integers(200, 400),
    edge=st.floats(0, 0.6),
    start=st.dates(datetime.date(1900, 1, 1), datetime.date(2200, 1, 1)).map(str),
)
def test_every_setting_makes_a_sound_market(seed: int, tickers: int, days: int, edge: float, start: str) -> None:
    """Panel checks the bars; here: nothing missing, trading days only, events on trading days about listed tickers."""
    panel = simulate(SyntheticConfig(seed=seed, tickers=tickers, days=days, edge=edge, start=start))
    assert panel.shape == (days, tickers)
    assert panel.listed_TN.all()
    assert np.is_busday(panel.dates_T).all()
    assert str(panel.dates_T[0]) >= start
    assert {event.ticker for event in panel.events} <= {None, *panel.tickers}
    assert np.isin([event.known_at for event in panel.events], panel.dates_T).all()
    assert panel.true_alpha_TN is not None
    assert np.isnan(panel.true_alpha_TN[:20]).all()
    assert np.isfinite(panel.true_alpha_TN[20:]).all()


def test_fundamentals_are_made_up_and_change_nothing_else() -> None:
    plain, more = (simulate(SyntheticConfig(tickers=4, days=400, fundamentals=added)) for added in (False, True))
    assert np.array_equal(plain.close_TN, more.close_TN)
    rows = [event for event in more.events if event.kind == "fundamentals"]
    assert [event for event in more.events if event.kind != "fundamentals"] == list(plain.events)
    assert {event.ticker for event in rows} == set(more.tickers)
    assert 4 * 6 <= len(rows) <= 4 * 7
    # Prices of another seed's edge have the same figures: these are drawn from the seed alone.
    other = simulate(SyntheticConfig(tickers=4, days=400, edge=0.0, fundamentals=True))
    assert [event for event in other.events if event.kind == "fundamentals"] == rows


@pytest.mark.parametrize(
    ("dial", "value"),
    [("edge", 0.7), ("edge", -0.1), ("edge", float("nan")), ("tickers", 1), ("days", 199), ("seed", -1), ("egde", 0.1)],
)
def test_wrong_settings_are_refused(dial: str, value: float) -> None:
    with pytest.raises(ValidationError, match=dial):
        SyntheticConfig(**{dial: value})


@pytest.mark.parametrize("start", ["soon", "", "2010-02-31", "NaT"])
def test_a_start_that_is_not_a_date_is_refused(start: str) -> None:
    with pytest.raises(ValidationError, match="valid date"):
        SyntheticConfig(start=start)


def test_returns_have_fat_tails_and_clustered_volatility(calm: Panel) -> None:
    daily = returns(calm)
    assert kurtosis(daily / daily.std(axis=0), axis=None) > 1.5  # a normal distribution has 0
    size = np.abs(daily)
    assert correlation(size[:-1] - size.mean(0), size[1:] - size.mean(0)) > 0.1
    assert correlation(size[:-20] - size.mean(0), size[20:] - size.mean(0)) > 0.05
    assert 0.008 < np.median(daily.std(axis=0)) < 0.03


def test_a_common_factor_moves_all_stocks(calm: Panel) -> None:
    pairs = np.asarray(np.corrcoef(returns(calm).T))[np.triu_indices(12, 1)]
    assert 0.15 < pairs.mean() < 0.4
    assert pairs.min() > 0.05


def test_overnight_moves_are_smaller_than_intraday_ones(calm: Panel) -> None:
    night = np.log(calm.open_TN[1:] / calm.close_TN[:-1]).var()
    day = np.log(calm.close_TN / calm.open_TN).var()
    assert night / (night + day) == pytest.approx(0.3, abs=0.03)


def test_market_headlines_tell_the_state_within_ten_days(calm: Panel) -> None:
    shown = [event for event in calm.events if event.ticker is None]
    rows = np.searchsorted(calm.dates_T, [event.known_at for event in shown])
    assert rows[0] == 0
    assert np.diff(rows).max() <= 10
    assert {event.text for event in shown} == {*synthetic_market.TRENDING, *synthetic_market.CHOPPY}


def test_company_headlines_come_at_the_stated_rate_with_both_tones(calm: Panel) -> None:
    shown = [event for event in calm.events if event.ticker is not None]
    assert len(shown) / calm.listed_TN.size == pytest.approx(0.12, abs=0.01)
    assert np.mean([tone(event.text) for event in shown]) == pytest.approx(0, abs=0.05)
    assert {event.text for event in shown} == {*synthetic_market.GOOD_NEWS, *synthetic_market.BAD_NEWS}


@pytest.mark.parametrize("edge", [0.1, 0.3, 0.5])
def test_the_dial_is_the_correlation_of_the_forecast_with_the_return(edge: float) -> None:
    """Within a fifth: trends feed the strength that is forecast from, so the scatter is not quite the dial."""
    panel = market(edge=edge, tickers=20, days=2500)
    assert panel.true_alpha_TN is not None
    assert np.nanstd(panel.true_alpha_TN) == pytest.approx(edge, rel=0.2)
    forecast, excess = panel.true_alpha_TN[20:-2], task_of(panel).excess_TN[20:-2]
    assert correlation(forecast, excess) == pytest.approx(edge, rel=0.2)


def test_an_edge_changes_prices_and_nothing_else_that_is_told() -> None:
    """The same seed gives the same headlines and shocks, so that markets of two edges can be compared."""
    without, with_edge = market(edge=0.0), market(edge=0.3)
    assert without.events == with_edge.events
    assert correlation(returns(without), returns(with_edge)) > 0.9
    assert not np.array_equal(without.close_TN[30:], with_edge.close_TN[30:])


def test_without_an_edge_nothing_is_predictable() -> None:
    true_alpha_TN = market(edge=0.0).true_alpha_TN
    assert true_alpha_TN is not None
    assert (true_alpha_TN[20:] == 0).all()


def test_the_forecast_follows_strength_regime_and_news() -> None:
    """Recomputed from the panel alone, by the rule in the module's docstring."""
    panel = market(edge=0.3)
    assert panel.true_alpha_TN is not None
    closes, dates = np.log(panel.close_TN), list(panel.dates_T)
    for t in range(30, 400, 23):
        volatility = np.diff(closes[t - 20 : t + 1], axis=0).std(axis=0, ddof=1)
        gained = closes[t] - closes[t - 10]
        strength = np.clip((gained - gained.mean()) / volatility / np.sqrt(10), -2, 2)
        state = next(n for n in reversed(panel.events) if n.ticker is None and n.known_at <= dates[t])
        side = 1 if state.text in synthetic_market.TRENDING else -1
        news = np.zeros(6)
        for event in panel.events:
            if event.ticker is not None and dates[t - 4] <= event.known_at <= dates[t]:
                news[panel.tickers.index(event.ticker)] = tone(event.text)
        np.testing.assert_allclose(panel.true_alpha_TN[t], 0.3 * (0.78 * side * strength + 0.65 * news), atol=1e-12)


def test_a_drift_is_common_to_all_stocks_and_no_edge() -> None:
    calm, rising = (simulate(SyntheticConfig(edge=0.0, drift=drift, tickers=20, days=2000)) for drift in (0.0, 0.3))
    gains = [np.log(panel.open_TN[-1] / panel.open_TN[0]).mean() / 2000 * 252 for panel in (calm, rising)]
    assert gains[1] - gains[0] == pytest.approx(0.3, abs=0.03)
    assert rising.true_alpha_TN is not None
    assert not np.nan_to_num(rising.true_alpha_TN).any()
    assert rising.name != calm.name
