"""The backtest of a policy's positions: fills at the next open, costs, one sleeve of capital per ticker."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.evaluate.evaluation_set import Costs
from tradeschool.market.panel import Floats, Panel
from tradeschool.metrics import DAYS_A_YEAR
from tradeschool.tasks.base import Metric


def _metric(key: str, label: str, meaning: str, digits: int = 1, scale: float = 100, **more: Any) -> Metric:
    return Metric(key, label, meaning, digits, scale, aggregate="backtest", **more)


BACKTEST_METRICS = (
    _metric("cumulative_return", "return %", "compounded, after costs"),
    _metric(
        "sharpe", "Sharpe", "annualised by the bars a year, after costs, no risk-free rate", 2, 1, terminal="interval"
    ),
    _metric("sortino", "Sortino", "the same with losses only in the risk", 2, 1, terminal="no"),
    _metric("max_drawdown", "drawdown %", "largest fall from a peak"),
    _metric("turnover", "turnover %", "traded a day, of the capital", better="lower", terminal="no"),
    _metric("psr", "PSR", "probability that the true Sharpe ratio is above 0", 2, 1, terminal="no"),
    _metric("dsr", "DSR", "the same, above the best of as many policies without skill", 2, 1, terminal="no"),
)


@dataclass(frozen=True)
class Backtest:
    """Entry t belongs to the day on which the decision of date t is filled, from the close before it.

    Attributes:
        returns_T: simple daily returns of all sleeves together, marked at the close.
        equity_T: the capital after each day, from 1.
        turnover_T: traded notional / capital at the close before.
        positions_TN: the position after the close, as a fraction of the sleeve's equity, negative = short.
        bars_per_year: by which figures of the returns are annualised.
    """

    returns_T: Floats
    equity_T: Floats
    turnover_T: Floats
    positions_TN: Floats
    bars_per_year: int = DAYS_A_YEAR


def backtest(
    panel: Panel, rows_T: NDArray[np.int64], position_TN: Floats, asked_TN: NDArray[np.bool_], costs: Costs
) -> Backtest:
    """Trade to ``position`` of each sleeve's equity at the open after the decision, when the position changes.

    A sleeve gets an equal share of the capital for every ticker that is asked about at all, and keeps it: nothing
    moves between sleeves, so a position of always 1 is buy and hold. Between changes a position drifts with its price.
    An unreadable answer keeps no position; a date without a question changes nothing. A ticker without a bar keeps
    position and price, and the order waits for its next open with a volume other than 0; after its last bar in the
    panel it is sold at its last price. A sleeve whose equity is used up stays at zero. Borrowing shares costs nothing.

    Args:
        panel: the market.
        rows_T: consecutive rows of the panel. Where the panel ends with the last of them, its decision is not filled
            and its return is 0.
        position_TN: wanted positions in [-1, 1], NaN where unreadable.
        asked_TN: where a question was asked.
        costs: of every trade.
    """
    dates, tickers = position_TN.shape
    sleeves = _Sleeves(np.any(asked_TN, axis=0), costs.fraction)
    capital = sleeves.equity_N.sum()
    last_row_N = np.where(panel.listed_TN.any(0), panel.shape[0] - 1 - panel.listed_TN[::-1].argmax(0), -1)
    equity_T, turnover_T = np.ones(dates), np.zeros(dates)
    positions_TN = np.zeros((dates, tickers))
    target_TN = np.nan_to_num(position_TN) if costs.allow_short else np.fmax(position_TN, 0.0)
    before = 1.0
    for t, row in enumerate(rows_T + 1):
        sleeves.wanted_N = np.where(asked_TN[t], target_TN[t], sleeves.wanted_N)
        traded_N = np.zeros(tickers)
        if row < panel.shape[0]:
            open_N = np.where(panel.volume_TN[row] == 0, np.nan, panel.open_TN[row])
            traded_N = sleeves.fill(open_N) + sleeves.delist(row > last_row_N)
            sleeves.mark(panel.close_TN[row])
        equity_T[t] = sleeves.equity_N.sum() / capital
        turnover_T[t] = traded_N.sum() / capital / before if before > 0 else 0.0
        positions_TN[t] = sleeves.positions_N
        before = equity_T[t]
    start_T = np.concatenate([[1.0], equity_T[:-1]])
    returns_T = np.divide(equity_T, start_T, out=np.ones(dates), where=start_T > 0) - 1
    return Backtest(returns_T, equity_T, turnover_T, positions_TN, panel.bars_per_year)


class _Sleeves:
    """Cash, shares and orders of N sleeves between two closes."""

    def __init__(self, used_N: NDArray[np.bool_], cost: float) -> None:
        self.cost = cost
        self.cash_N: Floats = used_N.astype(float)
        self.shares_N = np.zeros(len(used_N))
        self.price_N = np.ones(len(used_N))
        self.wanted_N = np.zeros(len(used_N))
        self.held_N = np.zeros(len(used_N))

    @property
    def equity_N(self) -> Floats:
        return self.cash_N + self.shares_N * self.price_N

    @property
    def positions_N(self) -> Floats:
        equity_N = self.equity_N
        return np.divide(self.shares_N * self.price_N, equity_N, out=np.zeros_like(equity_N), where=equity_N > 0)

    def fill(self, open_N: Floats) -> Floats:
        """Trade the sleeves whose target has changed; return the traded notionals."""
        self.mark(open_N)
        due_N = np.isfinite(open_N) & (self.wanted_N != self.held_N) & (self.equity_N > 0)
        self.held_N = np.where(due_N, self.wanted_N, self.held_N)
        return self._trade(due_N, self.wanted_N)

    def delist(self, gone_N: NDArray[np.bool_]) -> Floats:
        """Close what is left of tickers that will not trade again, at their last price."""
        return self._trade(gone_N & (self.shares_N != 0), np.zeros_like(self.held_N))

    def mark(self, price_N: Floats) -> None:
        """Move to new prices where there are any; a sleeve that is used up loses its position."""
        self.price_N = np.where(np.isfinite(price_N), price_N, self.price_N)
        ruined_N = (self.equity_N <= 0) & (self.shares_N != 0)
        self.shares_N = np.where(ruined_N, 0.0, self.shares_N)
        self.cash_N = np.where(ruined_N, 0.0, self.cash_N)

    def _trade(self, due_N: NDArray[np.bool_], fraction_N: Floats) -> Floats:
        value_N = self.shares_N * self.price_N
        gap_N = fraction_N * self.equity_N - value_N
        # The fraction is of the equity that is left after the trade's own cost c:
        # value + x = f * (equity - c|x|), so that a full position needs no borrowed cash.
        trade_N = np.where(due_N, gap_N / (1 + np.sign(gap_N) * fraction_N * self.cost), 0.0)
        self.shares_N = np.where(due_N, (value_N + trade_N) / self.price_N, self.shares_N)
        self.shares_N = np.where(due_N & (fraction_N == 0), 0.0, self.shares_N)
        traded_N: Floats = np.abs(trade_N)
        self.cash_N = self.cash_N - trade_N - self.cost * traded_N
        return traded_N
