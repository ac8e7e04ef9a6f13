"""What a policy's ratings would have earned: fills at the next open, costs, one sleeve a ticker."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import RunError
from tradeschool.evaluate.answers import Costs
from tradeschool.market.panel import Floats, Panel


@dataclass(frozen=True)
class Backtest:
    """Entry t belongs to the day on which the decision of exam date t is filled, from the close before it.

    ``returns_T``: simple daily returns of all sleeves together, marked at the close. ``equity_T``: the
    capital after each, 1 at the start. ``turnover_T``: traded notional / capital at the close before.
    ``positions_TN``: the position after the close, as a fraction of the sleeve's equity, negative = short.
    """

    returns_T: Floats
    equity_T: Floats
    turnover_T: Floats
    positions_TN: Floats


def backtest(
    panel: Panel, rows_T: NDArray[np.int64], rating_TN: Floats, asked_TN: NDArray[np.bool_], costs: Costs
) -> Backtest:
    """Trade ``rating / 2`` of each sleeve's equity at the open after the decision, when the rating changes.

    A sleeve gets an equal share of the capital for every ticker that is asked about at all, and
    keeps it: nothing moves between sleeves, so always STRONG_BUY is buy and hold. Between changes of
    the rating a position drifts with its price. An unreadable answer keeps no position; a date without
    a question changes nothing. A ticker without a bar keeps position and price, and the order waits
    for its next open; after its last bar in the panel it is sold at its last price. A sleeve whose
    equity is used up stays at zero. Borrowing shares to sell short costs nothing here.

    ``rows_T`` are consecutive rows of the panel; where the panel ends with the last of them, its
    decision is not filled and its return is 0.

    Raises:
        RunError: no question was asked.
    """
    if not asked_TN.any():
        raise RunError("The exam asks nothing, so there is nothing to trade. Give at least one question.")
    dates, tickers = rating_TN.shape
    sleeves = _Sleeves(np.any(asked_TN, axis=0), costs.fraction)
    capital = sleeves.equity_N.sum()
    last_row_N = np.where(panel.listed_TN.any(0), panel.shape[0] - 1 - panel.listed_TN[::-1].argmax(0), -1)
    equity_T, turnover_T = np.ones(dates), np.zeros(dates)
    positions_TN = np.zeros((dates, tickers))
    before = 1.0
    for t, row in enumerate(rows_T + 1):
        sleeves.decide(asked_TN[t], target(rating_TN[t], costs.allow_short))
        traded_N = np.zeros(tickers)
        if row < panel.shape[0]:
            traded_N = sleeves.fill(panel.open_TN[row]) + sleeves.delist(row > last_row_N)
            sleeves.mark(panel.close_TN[row])
        equity_T[t] = sleeves.equity_N.sum() / capital
        turnover_T[t] = traded_N.sum() / capital / before if before > 0 else 0.0
        positions_TN[t] = sleeves.positions_N
        before = equity_T[t]
    start_T = np.concatenate([[1.0], equity_T[:-1]])
    returns_T = np.divide(equity_T, start_T, out=np.ones(dates), where=start_T > 0) - 1
    return Backtest(returns_T, equity_T, turnover_T, positions_TN)


def target(rating_N: Floats, allow_short: bool) -> Floats:
    """The fraction of a sleeve's equity that a rating asks to hold: rating / 2, 0 where unreadable."""
    target_N = np.nan_to_num(rating_N) / 2
    return target_N if allow_short else np.maximum(target_N, 0.0)


class _Sleeves:
    """The books of N sleeves between two closes."""

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

    def decide(self, asked_N: NDArray[np.bool_], target_N: Floats) -> None:
        self.wanted_N = np.where(asked_N, target_N, self.wanted_N)

    def fill(self, open_N: Floats) -> Floats:
        """Trade the sleeves whose wish differs from what they last traded; return the traded notionals."""
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
