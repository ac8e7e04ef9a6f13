"""The law of ``broker.settle`` over arrays, compiled by numba where it is installed: B portfolios, or one.

Without numba the same functions run as they stand, with the same results, a hundred times slower. What is compiled is
kept on disk until this file changes; numbers of other files therefore come in as arguments, never as globals.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.actions import HOLD_BELOW
from tradeschool.env.broker import Terms
from tradeschool.env.facts import FARTHEST, HIGHEST, RICHEST
from tradeschool.market.panel import Floats

Function = TypeVar("Function", bound=Callable[..., Any])
Ints = NDArray[np.int64]

CASH, EQUITY, TURNOVER, COSTS, REFUSED, REWARD = range(6)
FACTS, WIDTH = 9, 11
"""``facts.M`` and ``facts.PER_STOCK``, as constants so that loops over them are unrolled; a test compares them."""
OPEN, CLOSE, VOLUME, KNOWN, ENDED = range(5)
"""Columns of ``MarketData.bars_TN5``."""
ACCOUNT = 6
"""Columns of an account, as in :class:`~tradeschool.env.broker.Book`; orders refused and log return of the last day."""
SHARES, BASIS, FILL = range(3)
HELD = 3
"""Columns of a stock held."""
ROW, LEFT, TRADES = range(3)
"""Columns of a clock: today's row in the market, decisions left, and 1 where the day's orders are still to fill."""
BUY, SELL, SLIPPED_BUY, SLIPPED_SELL, VOLUME_SHARE, LEVERAGE, SHORT, PLAIN, GROWTH, DELISTED, LEAST = range(11)
"""The fields of :class:`~tradeschool.env.broker.Terms`, which the compiled functions read as an array."""
LEAST_EQUITY = 1e-6
"""Of the start: what a smaller equity counts as in the reward, which so stays finite."""
START_CASH, FLOOR, LEAST_ORDER, MOST_SHARE, MOST_EQUITY, MOST_REFUSED = range(11, 17)
"""After them: the cash at the start, the least equity that a log return is taken of, the least number that is an order,
and the bounds of what is observed."""


def terms_array(terms: Terms, start_cash: float) -> Floats:
    """The terms as the compiled functions read them."""
    return np.array([*terms, start_cash, LEAST_EQUITY * start_cash, HOLD_BELOW, FARTHEST, RICHEST, HIGHEST], np.float64)


def _compiled(function: Function, **options: Any) -> Function:
    try:
        import numba
    except ImportError:
        return function
    compiled: Function = numba.njit(error_model="numpy", **options)(function)
    return compiled


def _inlined(function: Function) -> Function:
    return _compiled(function, inline="always")


# Orders change from stock to stock without a pattern, so what stands here computes both sides and chooses:
# a branch that is mispredicted costs more than a fill.
@_inlined
def _reduce(
    b: int,
    row: int,
    wanted_BN: Floats,
    terms: Floats,
    bars_TN5: Floats,
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_B6: Floats,
) -> tuple[float, float, float]:
    """As ``broker._reduce``; what is left in ``wanted_BN`` are the orders that open a position.

    Returns:
        Their number, the sum of their fractions, and the buying power.
    """
    cash, turnover, costs, refused = accounts_B6[b, CASH], 0.0, 0.0, 0.0
    orders, asked, net, gross = 0.0, 0.0, 0.0, 0.0
    short, least, share = terms[SHORT] != 0.0, terms[LEAST_ORDER], terms[VOLUME_SHARE]
    buy, sell, slipped_buy, slipped_sell = terms[BUY], terms[SELL], terms[SLIPPED_BUY], terms[SLIPPED_SELL]
    for n in range(columns_BN.shape[1]):
        want, column, shares = wanted_BN[b, n], columns_BN[b, n], stocks_BN3[b, n, SHARES]
        price, known = bars_TN5[row, column, OPEN], bars_TN5[row, column, KNOWN] != 0.0
        most = bars_TN5[row, column, VOLUME] * share
        size = abs(want)
        given, whole = not size < least, size <= 1.0
        want = want if whole else 0.0
        against = want * shares < 0.0
        fits = whole & known & (against | (want > 0.0) | short)
        refused += 1.0 if given & (not fits) else 0.0
        size = size if given & fits else 0.0
        traded = min(max(-shares * (size if against else 0.0), -most), most)
        opening = 0.0 if against else size
        wanted_BN[b, n] = opening if want > 0.0 else -opening
        left = shares + traded
        paid = price * (buy if traded > 0.0 else sell)
        cash -= traded * paid
        turnover += abs(traded) * (price * (slipped_buy if traded > 0.0 else slipped_sell))
        costs += traded * (paid - price)
        stocks_BN3[b, n, SHARES] = left
        stocks_BN3[b, n, BASIS] *= left / (shares if shares != 0.0 else 1.0)
        stocks_BN3[b, n, FILL] = traded
        orders += 1.0 if opening > 0.0 else 0.0
        asked += opening
        net += left * price
        gross += abs(left) * price
    accounts_B6[b, CASH], accounts_B6[b, TURNOVER], accounts_B6[b, COSTS] = cash, turnover, costs
    accounts_B6[b, REFUSED] = refused
    return orders, asked, cash if terms[PLAIN] != 0.0 else terms[LEVERAGE] * (cash + net) - gross


@_inlined
def _open(
    b: int,
    row: int,
    unit: float,
    wanted_BN: Floats,
    terms: Floats,
    bars_TN5: Floats,
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_B6: Floats,
) -> None:
    """As ``broker._open``, with ``unit`` of money for a fraction of 1."""
    cash, turnover, costs = accounts_B6[b, CASH], accounts_B6[b, TURNOVER], accounts_B6[b, COSTS]
    buy, sell, slipped_buy, slipped_sell = terms[BUY], terms[SELL], terms[SLIPPED_BUY], terms[SLIPPED_SELL]
    share = terms[VOLUME_SHARE]
    for n in range(columns_BN.shape[1]):
        want, column = wanted_BN[b, n], columns_BN[b, n]
        price = bars_TN5[row, column, OPEN]
        most = bars_TN5[row, column, VOLUME] * share
        filled = price * (slipped_buy if want > 0.0 else slipped_sell)
        paid = price * (buy if want > 0.0 else sell)
        traded = min(max(unit * want / (paid if want > 0.0 else filled), -most), most)
        spent = traded * paid
        cash -= spent
        turnover += abs(traded) * filled
        costs += traded * (paid - price)
        stocks_BN3[b, n, SHARES] += traded
        stocks_BN3[b, n, BASIS] += abs(spent)
        stocks_BN3[b, n, FILL] += traded
    if terms[PLAIN] != 0.0:
        cash = max(cash, 0.0)
    accounts_B6[b, CASH], accounts_B6[b, TURNOVER], accounts_B6[b, COSTS] = cash, turnover, costs


@_inlined
def _value(
    b: int, row: int, terms: Floats, bars_TN5: Floats, columns_BN: Ints, stocks_BN3: Floats, accounts_B6: Floats
) -> None:
    """Close what is delisted, pay interest, value the holdings."""
    value, cash = 0.0, accounts_B6[b, CASH]
    for n in range(columns_BN.shape[1]):
        column = columns_BN[b, n]
        price = bars_TN5[row, column, CLOSE]
        if bars_TN5[row, column, ENDED] != 0.0:
            cash += stocks_BN3[b, n, SHARES] * (price * terms[DELISTED])
            stocks_BN3[b, n, SHARES] = stocks_BN3[b, n, BASIS] = 0.0
        value += stocks_BN3[b, n, SHARES] * price
    accounts_B6[b, CASH] = cash * terms[GROWTH]
    accounts_B6[b, EQUITY] = accounts_B6[b, CASH] + value


@_inlined
def _observe(
    b: int,
    row: int,
    left: int,
    terms: Floats,
    bars_TN5: Floats,
    template_TNK: NDArray[np.float32],
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_B6: Floats,
    vectors_BK: NDArray[np.float32],
) -> None:
    """As ``observation.holding_figures`` and ``account_figures``, into the vector."""
    equity = accounts_B6[b, EQUITY]
    over = 100.0 / equity if equity > 0.0 else 0.0
    at = 0
    for n in range(columns_BN.shape[1]):
        column, shares, basis = columns_BN[b, n], stocks_BN3[b, n, SHARES], stocks_BN3[b, n, BASIS]
        for m in range(FACTS):
            vectors_BK[b, at + m] = template_TNK[row, column, m]
        value = shares * bars_TN5[row, column, CLOSE]
        gain = 100.0 * (value - (basis if shares > 0.0 else -basis)) / (basis if basis > 0.0 else 1.0)
        vectors_BK[b, at + FACTS] = min(max(value * over, -terms[MOST_SHARE]), terms[MOST_SHARE])
        vectors_BK[b, at + FACTS + 1] = min(max(gain, -terms[MOST_SHARE]), terms[MOST_SHARE])
        at += WIDTH
    vectors_BK[b, at] = min(max(accounts_B6[b, CASH] * over, -terms[MOST_SHARE]), terms[MOST_SHARE])
    vectors_BK[b, at + 1] = min(max(100.0 * equity / terms[START_CASH], 0.0), terms[MOST_EQUITY])
    vectors_BK[b, at + 2] = left
    vectors_BK[b, at + 3] = min(accounts_B6[b, REFUSED], terms[MOST_REFUSED])


@functools.partial(_compiled, cache=True)
def days(
    wanted_BN: Floats,
    clocks_B3: Ints,
    terms: Floats,
    bars_TN5: Floats,
    template_TNK: NDArray[np.float32],
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_B6: Floats,
    vectors_BK: NDArray[np.float32],
) -> None:
    """Settle the portfolios whose clock says so, after ``broker.settle``, and write the observations of all, in place.

    ``wanted_BN`` is as an action gives it and used up: numbers outside [-1, 1] are refused, those nearer to 0 than
    ``HOLD_BELOW`` no orders. The row of a clock is that of the fills.
    """
    for b in range(columns_BN.shape[0]):
        row = clocks_B3[b, ROW]
        accounts_B6[b, REWARD] = 0.0
        if clocks_B3[b, TRADES]:
            before = accounts_B6[b, EQUITY]
            orders, asked, power = _reduce(b, row, wanted_BN, terms, bars_TN5, columns_BN, stocks_BN3, accounts_B6)
            if power <= terms[LEAST]:
                accounts_B6[b, REFUSED] += orders
            elif orders > 0.0:
                unit = power / max(1.0, asked)
                _open(b, row, unit, wanted_BN, terms, bars_TN5, columns_BN, stocks_BN3, accounts_B6)
            _value(b, row, terms, bars_TN5, columns_BN, stocks_BN3, accounts_B6)
            accounts_B6[b, REWARD] = math.log(max(accounts_B6[b, EQUITY], terms[FLOOR]) / before)
        _observe(
            b, row, clocks_B3[b, LEFT], terms, bars_TN5, template_TNK, columns_BN, stocks_BN3, accounts_B6, vectors_BK
        )
