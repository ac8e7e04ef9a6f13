"""The backtest against fills worked out by hand, and what must hold on any market."""

from dataclasses import replace

import evaluations as fake
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeschool.evaluate.backtest import Backtest, backtest
from tradeschool.evaluate.evaluation_set import Costs
from tradeschool.market.panel import Floats, Panel
from tradeschool.tasks.rating import RATING_VALUES

FREE = Costs(commission_bps=0, slippage_bps=0)
ratings = st.lists(st.sampled_from([*map(float, RATING_VALUES), np.nan]), min_size=12, max_size=12)


def market(open_: list[list[float]], close: list[list[float]]) -> Panel:
    o, c = np.array(open_, float), np.array(close, float)
    return Panel(
        dates_T=np.datetime64("2020-01-01") + np.arange(len(o)),
        tickers=tuple("ABCDEF"[: o.shape[1]]),
        open_TN=o,
        high_TN=np.fmax(o, c),
        low_TN=np.fmin(o, c),
        close_TN=c,
        volume_TN=np.where(np.isfinite(c), 1.0, np.nan),
    )


def trade(panel: Panel, rating: list[list[float]], costs: Costs = FREE) -> Backtest:
    rating_TN = np.array(rating, float)
    return backtest(panel, np.arange(len(rating)), rating_TN / 2, np.ones(rating_TN.shape, bool), costs)


def test_a_strong_buy_is_filled_at_the_next_open() -> None:
    panel = market([[100], [110], [120], [130]], [[100], [121], [125], [130]])
    result = trade(panel, [[2], [2], [2]])
    np.testing.assert_allclose(result.equity_T, [1.1, 125 / 110, 130 / 110])
    np.testing.assert_allclose(result.turnover_T, [1, 0, 0])


def test_costs_are_paid_on_the_traded_notional() -> None:
    panel = market([[100], [100], [100], [100]], [[100], [100], [100], [100]])
    result = trade(panel, [[2], [-2], [0]], Costs(commission_bps=20, slippage_bps=80))
    bought = 1 / 1.01
    equity = [bought]
    # From +x shares' worth to a short of all the equity left after the cost of 1 %.
    sold = 2 * bought / 1.01
    equity.append(bought - 0.01 * sold)
    covered = equity[-1]
    equity.append(equity[-1] - 0.01 * covered)
    np.testing.assert_allclose(result.equity_T, equity)
    np.testing.assert_allclose(result.turnover_T, [bought, sold / bought, 1.0])
    np.testing.assert_allclose(result.positions_TN.ravel(), [1, -1, 0], atol=1e-12)


def test_a_position_drifts_until_the_rating_changes() -> None:
    panel = market([[100], [100], [200], [200]], [[100], [200], [200], [200]])
    result = trade(panel, [[1], [1], [1]])
    np.testing.assert_allclose(result.equity_T, [1.5, 1.5, 1.5])
    np.testing.assert_allclose(result.positions_TN.ravel(), [2 / 3] * 3)
    np.testing.assert_allclose(result.turnover_T, [0.5, 0, 0])


def test_an_unreadable_answer_closes_and_a_date_without_question_does_not() -> None:
    panel = market([[100]] * 4, [[100]] * 4)
    rating = np.array([[2.0], [np.nan], [np.nan]])
    unreadable = backtest(panel, np.arange(3), rating / 2, np.ones((3, 1), bool), FREE)
    unasked = backtest(panel, np.arange(3), rating / 2, np.array([[True], [False], [False]]), FREE)
    np.testing.assert_allclose(unreadable.positions_TN.ravel(), [1, 0, 0])
    np.testing.assert_allclose(unasked.positions_TN.ravel(), [1, 1, 1])


def test_without_shorts_a_sell_means_no_position() -> None:
    panel = market([[100]] * 3, [[100], [100], [50]])
    assert trade(panel, [[-2], [-2]], Costs(commission_bps=0, slippage_bps=0, allow_short=False)).equity_T[-1] == 1.0
    assert trade(panel, [[-2], [-2]], FREE).equity_T[-1] == pytest.approx(1.5)


def test_a_suspended_ticker_keeps_its_position_and_the_order_waits() -> None:
    nan = np.nan
    panel = market([[100], [100], [nan], [80], [80]], [[100], [100], [nan], [80], [80]])
    result = trade(panel, [[2], [0], [0], [0]])
    np.testing.assert_allclose(result.positions_TN.ravel(), [1, 1, 0, 0])
    np.testing.assert_allclose(result.equity_T, [1, 1, 0.8, 0.8])


def test_a_delisted_ticker_is_sold_at_its_last_price() -> None:
    nan = np.nan
    panel = market([[100, 9], [100, 9], [nan, 9], [nan, 9]], [[100, 9], [90, 9], [nan, 9], [nan, 9]])
    result = trade(panel, [[2, 0], [2, 0], [2, 0]], Costs(commission_bps=0, slippage_bps=100))
    np.testing.assert_allclose(result.positions_TN[:, 0], [1, 0, 0])
    sleeve = 0.9 / 1.01
    np.testing.assert_allclose(2 * result.equity_T - 1, [sleeve, sleeve * 0.99, sleeve * 0.99])


def test_a_used_up_sleeve_stays_at_zero() -> None:
    panel = market([[100], [100], [250], [50], [50]], [[100], [100], [250], [50], [50]])
    result = trade(panel, [[-2], [-2], [2], [2]])
    np.testing.assert_allclose(result.equity_T, [1, 0, 0, 0])
    np.testing.assert_allclose(result.returns_T, [0, -1, 0, 0])


def test_a_late_listing_waits_as_cash_and_unasked_tickers_get_no_sleeve() -> None:
    nan = np.nan
    panel = market([[nan, 10], [nan, 10], [100, 10]], [[nan, 10], [nan, 10], [110, 10]])
    asked = np.array([[False, False], [True, False]])
    result = backtest(panel, np.arange(2), np.array([[nan, nan], [1, nan]]), asked, FREE)
    np.testing.assert_allclose(result.equity_T, [1, 1.1])


def test_the_last_row_of_the_panel_fills_nothing() -> None:
    panel = market([[100], [100]], [[100], [100]])
    result = trade(panel, [[2], [-2]])
    np.testing.assert_allclose(result.returns_T, [0, 0])
    np.testing.assert_allclose(result.turnover_T, [1, 0])


def as_ratings(drawn: list[float]) -> Floats:
    return np.array(drawn).reshape(6, 2)


@given(seed=st.integers(0, 99))
def test_hold_earns_exactly_nothing(seed: int) -> None:
    result = trade(fake.panel(8, 3, seed), [[0, 0, 0]] * 7, Costs(commission_bps=10, slippage_bps=50))
    assert (result.returns_T == 0).all()
    assert (result.turnover_T == 0).all()


@settings(deadline=None)
@given(seed=st.integers(0, 99), drawn=ratings, low=st.floats(0, 50), more=st.floats(0, 50))
def test_costs_only_lower_the_equity(seed: int, drawn: list[float], low: float, more: float) -> None:
    panel, rating = fake.panel(8, 2, seed), as_ratings(drawn).tolist()
    cheap, dear = (trade(panel, rating, Costs(commission_bps=0, slippage_bps=cost)) for cost in (low, low + more))
    assert (dear.equity_T <= cheap.equity_T + 1e-12).all()


@settings(deadline=None)
@given(seed=st.integers(0, 99), drawn=ratings, t=st.integers(1, 6))
def test_prices_after_a_day_do_not_reach_it(seed: int, drawn: list[float], t: int) -> None:
    panel = fake.panel(8, 2, seed)
    factor = np.random.default_rng(seed).uniform(0.5, 2, (8, 2))
    factor[: t + 1] = 1.0
    prices = ("open_TN", "high_TN", "low_TN", "close_TN")
    scrambled = replace(panel, **{name: getattr(panel, name) * factor for name in prices})
    rating = as_ratings(drawn).tolist()
    before, after = trade(panel, rating), trade(scrambled, rating)
    np.testing.assert_array_equal(before.equity_T[:t], after.equity_T[:t])


@given(drawn=ratings)
def test_only_prices_from_the_fill_on_matter(drawn: list[float]) -> None:
    """The decision of date 0 is filled at the open of row 1: nothing before that open moves the result."""
    panel = fake.panel(8, 2, 5)
    moved = replace(
        panel, **{name: getattr(panel, name).copy() for name in ("open_TN", "high_TN", "low_TN", "close_TN")}
    )
    for name in ("open_TN", "high_TN", "low_TN", "close_TN"):
        getattr(moved, name)[0] *= 3
    rating = as_ratings(drawn).tolist()
    np.testing.assert_array_equal(trade(panel, rating).equity_T, trade(moved, rating).equity_T)
