"""The composite risk-aware reward: paths of accounts and their parts, computed by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from markets import market

from tradeschool.market.panel import FIELDS, Panel
from tradeschool.tasks.thesis_account import BOUND, UNREADABLE, AccountConfig, RatedAccounts, risk_aware

ROW = 60
FREE = {"commission": 0.0, "slippage": 0.0}


def priced(opens: list[float], closes: list[float]) -> Panel:
    """A market of which ticker 0 has these bars after row 60."""
    panel = market(tickers=2, days=250)
    bars = {name: getattr(panel, f"{name}_TN").copy() for name in FIELDS}
    rows = slice(ROW + 1, ROW + 1 + len(opens))
    bars["open"][rows, 0], bars["close"][rows, 0] = opens, closes
    bars["high"][rows, 0] = np.maximum(opens, closes)
    bars["low"][rows, 0] = np.minimum(opens, closes)
    bars["volume"][rows, 0] = 1e9
    return replace(panel, **{f"{name}_TN": bar_TN for name, bar_TN in bars.items()})


def accounts(panel: Panel, volatility: float = 0.02, **config: object) -> RatedAccounts:
    return RatedAccounts(panel, np.full(panel.shape, volatility), AccountConfig(**{"window": 3, **FREE, **config}))


PANEL = priced([100, 112, 99], [110, 100, 120])


@pytest.mark.parametrize(
    ("rating", "path"),
    [
        (2, [1, 1.1, 1.0, 1.2]),
        (1, [1, 1.05, 1.0, 1.1]),
        (0, [1, 1, 1, 1]),
        (-1, [1, 0.95, 1.0, 0.9]),
        (-2, [1, 0.9, 1.0, 0.8]),
    ],
)
def test_a_rating_is_filled_at_the_next_open_and_held(rating: int, path: list[float]) -> None:
    equity_D = accounts(PANEL).path(ROW, 0, rating)
    assert equity_D / equity_D[0] == pytest.approx(path)


def test_the_parts_by_hand() -> None:
    found = accounts(PANEL).rewards(ROW, 0, 2)
    assert found is not None
    returns = np.array([0.1, -1 / 11, 0.2])
    unit = 0.02 * math.sqrt(3)
    assert found.pnl == pytest.approx(math.log(1.2) / unit)
    assert found.risk_adjusted == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(3))
    assert found.drawdown == pytest.approx(-1 / 11 / unit)
    losses = math.sqrt((1 / 11) ** 2 / 3)
    sortino = accounts(PANEL, ratio="sortino").rewards(ROW, 0, 2)
    assert sortino is not None
    assert sortino.risk_adjusted == pytest.approx(returns.mean() / losses * math.sqrt(3))
    assert accounts(PANEL).rewards(ROW, 0, 0) == (0, 0, 0)


def test_costs_are_charged() -> None:
    paid = accounts(PANEL, commission=0.01).path(ROW, 0, 2)
    assert paid[-1] / paid[0] == pytest.approx(1.2 / 1.01)


def test_ratings_of_a_group_differ_and_begin_in_the_same_state() -> None:
    rated = accounts(PANEL)
    found = [rated.rewards(ROW, 0, rating) for rating in (-2, -1, 0, 1, 2)]
    assert len(set(found)) == 5
    assert [rated.path(ROW, 0, rating)[0] for rating in (-2, 0, 2)] == [100_000.0] * 3
    assert rated.rewards(ROW, 0, 2) == found[-1]
    assert rated.rewards(ROW, 0, None) == UNREADABLE


def test_what_is_not_known_is_none() -> None:
    rated = accounts(PANEL)
    last = PANEL.shape[0] - 1
    assert rated.rewards(last - 2, 0, 2) is None
    assert rated.rewards(last - 2, 0, None) is None
    assert rated.rewards(last - 3, 0, 2) is not None
    assert accounts(PANEL, volatility=math.nan).rewards(ROW, 0, 2) is None


def test_ratios_without_a_spread_or_a_loss_are_bounded() -> None:
    assert risk_aware(np.array([1, 1.1, 1.21]), 0.02).risk_adjusted == BOUND
    assert risk_aware(np.array([1, 1.1, 1.3]), 0.02, "sortino").risk_adjusted == BOUND
    assert risk_aware(np.array([1, 0.9, 0.81]), 0.02).risk_adjusted == -BOUND
    ruined = risk_aware(np.array([1, -0.5, -0.5]), 0.02)
    assert math.isfinite(ruined.pnl)
    assert ruined.drawdown >= -1 / (0.02 * math.sqrt(2)) - 1e-9
