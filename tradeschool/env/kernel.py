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
Lines = NDArray[Any]

FACTS, WIDTH = 9, 11
"""``facts.M`` and ``facts.PER_STOCK``, as constants so that loops over them are unrolled; a test compares them."""
LINE = np.dtype(
    [("open", "f8"), ("close", "f8"), ("volume", "f8"), ("known", "?"), ("ended", "?"), ("facts", "f4", (FACTS,))],
    align=True,
)
"""All there is to know of a stock's day, in 64 bytes: one line of the processor's cache, as days are read at random.
``known`` is whether it had a bar on the day before, ``ended`` whether this is its first day without one for good."""
CASH, EQUITY, TURNOVER, COSTS, REFUSED, REWARD, UNIT, NEWS = range(8)
ACCOUNT = 8
"""Rows of the accounts, as in :class:`~tradeschool.env.broker.Book`; of the last day the orders refused, the log
return, the money for a fraction of 1, and how often an order was cut short or a stock delisted."""
SHARES, BASIS, FILL = range(3)
HELD = 3
"""Columns of a stock held."""
ROW, LEFT, TRADES = range(3)
"""Columns of a clock: today's row in the market, decisions left, and 1 where the next call is the next day's, 0 where
it looks at today again."""
AT_ONCE = 128
"""Stocks that are settled step by step together: 8 KB of lines, which the fastest cache holds meanwhile."""
BUY, SELL, SLIPPED_BUY, SLIPPED_SELL, VOLUME_SHARE, LEVERAGE, SHORT, PLAIN, GROWTH, DELISTED, LEAST = range(11)
"""The fields of :class:`~tradeschool.env.broker.Terms`, which the compiled functions read as an array."""
START_CASH, FLOOR, LEAST_ORDER, MOST_SHARE, MOST_EQUITY, MOST_REFUSED, SPENT = range(11, 18)
"""After them: the cash at the start, the least equity that a log return is taken of, the least number that is an order,
the bounds of what is observed, and what an open is times for a share bought and, next to it, for one sold short."""
LEAST_FRACTION = float(np.finfo(np.float64).tiny)
"""The least number that is an order where orders are words."""
LEAST_EQUITY = 1e-6
"""Of the start: what a smaller equity counts as in the reward, which so stays finite."""


def terms_array(terms: Terms, start_cash: float, least_order: float = HOLD_BELOW) -> Floats:
    """The terms as the compiled functions read them."""
    bounds = (FARTHEST, RICHEST, HIGHEST)
    spent = (terms.buy, terms.slipped_sell)
    return np.array([*terms, start_cash, LEAST_EQUITY * start_cash, least_order, *bounds, *spent])


def _compiled(function: Function, **options: Any) -> Function:
    try:
        import numba
    except ImportError:
        return function
    compiled: Function = numba.njit(error_model="numpy", **options)(function)
    return compiled


def _inlined(function: Function) -> Function:
    return _compiled(function, inline="always")


# Orders change from stock to stock without a pattern, so what stands here computes both sides and chooses: a branch
# that is mispredicted costs more than a fill. A choice by one comparison compiles to no branch; a side picks its cost
# by index.
@_inlined
def _reduce(
    b: int,
    row: int,
    wanted_BN: Floats,
    terms: Floats,
    lines_TN: Lines,
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_8B: Floats,
) -> tuple[float, float, float]:
    """As ``broker._reduce``; what is left in ``wanted_BN`` are the orders that open a position.

    Returns:
        Their number, the sum of their fractions, and the buying power.
    """
    cash, turnover, costs, refused = accounts_8B[CASH, b], 0.0, 0.0, 0.0
    orders, asked, news = 0.0, 0.0, 0.0
    least, share, lowest = terms[LEAST_ORDER], terms[VOLUME_SHARE], -terms[SHORT]
    for n in range(columns_BN.shape[1]):
        line, wanted, shares = lines_TN[row, np.uint64(columns_BN[b, n])], wanted_BN[b, n], stocks_BN3[b, n, SHARES]
        given = 0.0 if abs(wanted) < least else 1.0
        legal = wanted if abs(wanted) <= 1.0 else 0.0
        want = legal * given * line["known"]
        direction = want * shares
        closing = abs(want) if direction < 0.0 else 0.0
        opening = max(want if direction >= 0.0 else 0.0, lowest)
        opens = 1.0 if abs(opening) > 0.0 else 0.0
        refused += given - opens - (1.0 if closing > 0.0 else 0.0)
        orders += opens
        asked += abs(opening)
        wanted_BN[b, n] = opening
        price, most = line["open"], line["volume"] * share
        asked_for = -shares * closing
        traded = min(max(asked_for, -most), most)
        news += 1.0 if traded != asked_for else 0.0
        side, left = int(traded <= 0.0), shares + traded
        paid = price * terms[BUY + side]
        cash -= traded * paid
        turnover += abs(traded) * (price * terms[SLIPPED_BUY + side])
        costs += traded * (paid - price)
        stocks_BN3[b, n, SHARES] = left
        stocks_BN3[b, n, BASIS] *= left / (shares if shares != 0.0 else 1.0)
        stocks_BN3[b, n, FILL] = traded
    accounts_8B[CASH, b], accounts_8B[TURNOVER, b], accounts_8B[COSTS, b] = cash, turnover, costs
    accounts_8B[REFUSED, b], accounts_8B[NEWS, b] = refused, news
    if terms[PLAIN] != 0.0:
        return orders, asked, cash
    net, gross = 0.0, 0.0
    for n in range(columns_BN.shape[1]):
        worth = stocks_BN3[b, n, SHARES] * lines_TN[row, np.uint64(columns_BN[b, n])]["open"]
        net += worth
        gross += abs(worth)
    return orders, asked, terms[LEVERAGE] * (cash + net) - gross


@_inlined
def _open(
    b: int,
    row: int,
    wanted_BN: Floats,
    terms: Floats,
    lines_TN: Lines,
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_8B: Floats,
) -> None:
    """As ``broker._open``, with the account's unit of money for a fraction of 1."""
    cash, turnover, costs = accounts_8B[CASH, b], accounts_8B[TURNOVER, b], accounts_8B[COSTS, b]
    share, unit, news = terms[VOLUME_SHARE], accounts_8B[UNIT, b], accounts_8B[NEWS, b]
    for n in range(columns_BN.shape[1]):
        line, want = lines_TN[row, np.uint64(columns_BN[b, n])], wanted_BN[b, n]
        price, most, side = line["open"], line["volume"] * share, int(want <= 0.0)
        paid = price * terms[BUY + side]
        asked_for = unit * want / (price * terms[SPENT + side])
        traded = min(max(asked_for, -most), most)
        news += 1.0 if traded != asked_for else 0.0
        cash -= traded * paid
        turnover += abs(traded) * (price * terms[SLIPPED_BUY + side])
        costs += traded * (paid - price)
        stocks_BN3[b, n, SHARES] += traded
        stocks_BN3[b, n, BASIS] += abs(traded * paid)
        stocks_BN3[b, n, FILL] += traded
    cash = max(cash, 0.0 if terms[PLAIN] != 0.0 else -math.inf)
    accounts_8B[CASH, b], accounts_8B[TURNOVER, b], accounts_8B[COSTS, b] = cash, turnover, costs
    accounts_8B[NEWS, b] = news


@_inlined
def _value(
    b: int, row: int, terms: Floats, lines_TN: Lines, columns_BN: Ints, stocks_BN3: Floats, accounts_8B: Floats
) -> None:
    """Close what is delisted, pay interest, value the holdings."""
    value, cash = 0.0, accounts_8B[CASH, b]
    for n in range(columns_BN.shape[1]):
        line = lines_TN[row, np.uint64(columns_BN[b, n])]
        price = line["close"]
        if line["ended"]:
            accounts_8B[NEWS, b] += 1.0
            cash += stocks_BN3[b, n, SHARES] * (price * terms[DELISTED])
            stocks_BN3[b, n, SHARES] = stocks_BN3[b, n, BASIS] = 0.0
        value += stocks_BN3[b, n, SHARES] * price
    accounts_8B[CASH, b] = cash * terms[GROWTH]
    accounts_8B[EQUITY, b] = accounts_8B[CASH, b] + value


@_inlined
def _observe(
    b: int,
    clocks_B3: Ints,
    terms: Floats,
    lines_TN: Lines,
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_8B: Floats,
    vectors_BK: NDArray[np.float32],
) -> None:
    """As ``observation.holding_figures`` and ``account_figures``, into the vector."""
    equity, farthest = accounts_8B[EQUITY, b], terms[MOST_SHARE]
    over, row = 100.0 / equity if equity > 0.0 else 0.0, clocks_B3[b, ROW]
    at = 0
    for n in range(columns_BN.shape[1]):
        line = lines_TN[row, np.uint64(columns_BN[b, n])]
        shares, basis = stocks_BN3[b, n, SHARES], stocks_BN3[b, n, BASIS]
        said = line["facts"]
        # All are read before any is written, which lets the compiler move several at once.
        facts = (said[0], said[1], said[2], said[3], said[4], said[5], said[6], said[7], said[8])
        for m in range(FACTS):
            vectors_BK[b, at + m] = facts[m]
        value = shares * line["close"]
        gain = 100.0 * (value - math.copysign(basis, shares)) / (basis if basis > 0.0 else 1.0)
        vectors_BK[b, at + FACTS] = min(max(value * over, -farthest), farthest)
        vectors_BK[b, at + FACTS + 1] = min(max(gain, -farthest), farthest)
        at += WIDTH
    vectors_BK[b, at] = min(max(accounts_8B[CASH, b] * over, -farthest), farthest)
    vectors_BK[b, at + 1] = min(max(100.0 * equity / terms[START_CASH], 0.0), terms[MOST_EQUITY])
    vectors_BK[b, at + 2] = clocks_B3[b, LEFT]
    vectors_BK[b, at + 3] = min(accounts_8B[REFUSED, b], terms[MOST_REFUSED])


@_inlined
def _fetch(first: int, last: int, clocks_B3: Ints, lines_TN: Lines, columns_BN: Ints) -> float:
    """Read every line that the episodes need today, for no other purpose than to have the processor's cache hold it.

    Reads that depend on nothing run side by side; within the law each would be waited for.
    """
    total = 0.0
    for b in range(first, last):
        for n in range(columns_BN.shape[1]):
            total += lines_TN[clocks_B3[b, ROW] + clocks_B3[b, TRADES], np.uint64(columns_BN[b, n])]["close"]
    return total


@functools.partial(_compiled, cache=True)
def days(
    wanted_BN: Floats,
    clocks_B3: Ints,
    terms: Floats,
    lines_TN: Lines,
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_8B: Floats,
    vectors_BK: NDArray[np.float32],
) -> float:
    """Move on the portfolios whose clock says so by a day, after ``broker.settle``; write the observations of all.

    ``wanted_BN`` is as an action gives it and used up: numbers outside [-1, 1] are refused, those nearer to 0 than
    ``HOLD_BELOW`` no orders. Orders fill at the row that the clock is moved to. Afterwards every clock says to trade.

    Returns:
        A number that means nothing: without it the compiler would leave ``_fetch`` out.
    """
    fetched, count = 0.0, columns_BN.shape[0]
    at_once = max(1, AT_ONCE // columns_BN.shape[1])
    # Step by step for some episodes at once: steps of different episodes run side by side, those of one must wait.
    for first in range(0, count, at_once):
        last = min(count, first + at_once)
        fetched += _fetch(first, last, clocks_B3, lines_TN, columns_BN)
        for b in range(first, last):
            trades = clocks_B3[b, TRADES]
            clocks_B3[b, ROW] += trades
            clocks_B3[b, LEFT] -= trades
            if trades:
                row = clocks_B3[b, ROW]
                orders, asked, power = _reduce(b, row, wanted_BN, terms, lines_TN, columns_BN, stocks_BN3, accounts_8B)
                able = power > terms[LEAST]
                accounts_8B[UNIT, b] = power / max(1.0, asked) if able else 0.0
                accounts_8B[REFUSED, b] += 0.0 if able else orders
        for b in range(first, last):
            if clocks_B3[b, TRADES]:
                _open(b, clocks_B3[b, ROW], wanted_BN, terms, lines_TN, columns_BN, stocks_BN3, accounts_8B)
        for b in range(first, last):
            before = accounts_8B[EQUITY, b]
            accounts_8B[REWARD, b] = 0.0
            if clocks_B3[b, TRADES]:
                _value(b, clocks_B3[b, ROW], terms, lines_TN, columns_BN, stocks_BN3, accounts_8B)
                accounts_8B[REWARD, b] = math.log(max(accounts_8B[EQUITY, b], terms[FLOOR]) / max(before, terms[FLOOR]))
        for b in range(first, last):
            clocks_B3[b, TRADES] = 1
            _observe(b, clocks_B3, terms, lines_TN, columns_BN, stocks_BN3, accounts_8B, vectors_BK)
    return fetched
