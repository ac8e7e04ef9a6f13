"""Order settlement over arrays, compiled by numba where it is installed: for one account or for B of them.

A day runs as follows. Orders that reduce a position are filled at the open, then orders that open or add to one, from
the buying power that is left. Holdings whose bars have ended are closed. Cash earns interest. Holdings are valued at
the close. ``tests/plain_settlement.py`` does the same in plain floats, order by order, as a check.

Without numba the same functions run uncompiled: same results, a hundred times slower. Compiled code is cached on disk
until this file changes, so numbers from other files are arguments, never globals.

Dimensions: B accounts, N stocks of each, T rows of the market, 3 columns of a stock, 8 rows of an account, F figures.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.config import ExecutionParams
from tradeschool.env.features import MAX_EQUITY, MAX_PERCENT, MAX_REFUSED
from tradeschool.market.panel import Floats

Function = TypeVar("Function", bound=Callable[..., Any])
Ints = NDArray[np.int64]
Lines = NDArray[Any]

FACTS, WIDTH = 9, 11
"""``features.M`` and ``features.PER_STOCK`` as constants, so that the compiler unrolls loops. A test compares them."""
CASH, EQUITY, TURNOVER, COSTS, REFUSED, REWARD, UNIT, EVENTS = range(8)
ACCOUNT = 8
"""Rows of an account. Of the last day: value traded, costs, orders refused, log return of the equity, money for a
fraction of 1, and number of orders cut short and stocks delisted."""
SHARES, BASIS, FILL = range(3)
HELD = 3
"""Columns of a stock: shares held (negative: short), what they cost, shares traded on the last day."""
ROW, LEFT, TRADES = range(3)
"""Columns of a clock: today's row in the market, decisions left, and 1 where the next call is the next day, 0 where it
shows today again."""
AT_ONCE = 128
"""Stocks that are settled step by step together: 8 KB of lines, which fit into the fastest cache."""
BUY, SELL, SLIPPED_BUY, SLIPPED_SELL, VOLUME_SHARE, LEVERAGE = range(6)
SHORT, CASH_ONLY, INTEREST, DELISTING, MIN_POWER = range(6, 11)
"""The fields of :class:`~tradeschool.env.config.ExecutionParams`."""
START_CASH, EQUITY_FLOOR, MIN_ORDER, SHARE_BOUND, EQUITY_BOUND, REFUSED_BOUND, SPENT = range(11, 18)
"""After them: cash at the start, smallest equity that a log return is taken of, smallest number that is an order, the
bounds of observed figures, and the cost of opening: factors of the open for a share bought and one sold short."""
MIN_FRACTION = float(np.finfo(np.float64).tiny)
"""The smallest number that is an order where orders are text."""
MIN_EQUITY = 1e-6
"""Share of the start that a smaller equity counts as in the reward, which stays finite."""


def kernel_params(params: ExecutionParams, start_cash: float, min_order: float) -> Floats:
    """[19] the parameters as the compiled functions read them."""
    bounds = (MAX_PERCENT, MAX_EQUITY, MAX_REFUSED)
    spent = (params.buy, params.slipped_sell)
    return np.array([*params, start_cash, MIN_EQUITY * start_cash, min_order, *bounds, *spent])


def _compiled(function: Function, **options: Any) -> Function:
    try:
        import numba
    except ImportError:
        return function
    compiled: Function = numba.njit(error_model="numpy", **options)(function)
    return compiled


_inlined = functools.partial(_compiled, inline="always")


# Orders differ from stock to stock without a pattern, and a mispredicted branch costs more than a fill. So both sides
# are computed and one is chosen: a choice by one comparison compiles to no branch. Costs are selected by index.
@_inlined
def _reduce(
    b: int,
    row: int,
    wanted_BN: Floats,
    params: Floats,
    lines_TN: Lines,
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_8B: Floats,
) -> tuple[float, float, float]:
    """Fill the orders against a position (SELL of a long, BUY of a short); ``wanted_BN`` keeps those that open one.

    Returns:
        The number of opening orders, the sum of their fractions, and the buying power.
    """
    cash, turnover, costs, refused = accounts_8B[CASH, b], 0.0, 0.0, 0.0
    orders, fractions, events = 0.0, 0.0, 0.0
    min_order, share, lowest = params[MIN_ORDER], params[VOLUME_SHARE], -params[SHORT]
    for n in range(columns_BN.shape[1]):
        line, wanted, shares = lines_TN[row, np.uint64(columns_BN[b, n])], wanted_BN[b, n], stocks_BN3[b, n, SHARES]
        given = 0.0 if abs(wanted) < min_order else 1.0
        valid = wanted if abs(wanted) <= 1.0 else 0.0
        want = valid * given * line["listed"]
        direction = want * shares
        closing = abs(want) if direction < 0.0 else 0.0
        opening = max(want if direction >= 0.0 else 0.0, lowest)
        opens = 1.0 if abs(opening) > 0.0 else 0.0
        refused += given - opens - (1.0 if closing > 0.0 else 0.0)
        orders += opens
        fractions += abs(opening)
        wanted_BN[b, n] = opening
        price, most = line["open"], line["volume"] * share
        ordered = -shares * closing
        traded = min(max(ordered, -most), most)
        events += 1.0 if traded != ordered else 0.0
        side, left = int(traded <= 0.0), shares + traded
        paid = price * params[BUY + side]
        cash -= traded * paid
        turnover += abs(traded) * (price * params[SLIPPED_BUY + side])
        costs += traded * (paid - price)
        stocks_BN3[b, n, SHARES] = left
        stocks_BN3[b, n, BASIS] *= left / (shares if shares != 0.0 else 1.0)
        stocks_BN3[b, n, FILL] = traded
    accounts_8B[CASH, b], accounts_8B[TURNOVER, b], accounts_8B[COSTS, b] = cash, turnover, costs
    accounts_8B[REFUSED, b], accounts_8B[EVENTS, b] = refused, events
    if params[CASH_ONLY] != 0.0:
        return orders, fractions, cash
    net, gross = 0.0, 0.0
    for n in range(columns_BN.shape[1]):
        value = stocks_BN3[b, n, SHARES] * lines_TN[row, np.uint64(columns_BN[b, n])]["open"]
        net += value
        gross += abs(value)
    return orders, fractions, params[LEVERAGE] * (cash + net) - gross


@_inlined
def _open(
    b: int,
    row: int,
    wanted_BN: Floats,
    params: Floats,
    lines_TN: Lines,
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_8B: Floats,
) -> None:
    """Fill the orders that open or add to a position, each with its fraction of the account's ``UNIT`` of money."""
    cash, turnover, costs = accounts_8B[CASH, b], accounts_8B[TURNOVER, b], accounts_8B[COSTS, b]
    share, unit, events = params[VOLUME_SHARE], accounts_8B[UNIT, b], accounts_8B[EVENTS, b]
    for n in range(columns_BN.shape[1]):
        line, want = lines_TN[row, np.uint64(columns_BN[b, n])], wanted_BN[b, n]
        price, most, side = line["open"], line["volume"] * share, int(want <= 0.0)
        paid = price * params[BUY + side]
        ordered = unit * want / (price * params[SPENT + side])
        traded = min(max(ordered, -most), most)
        events += 1.0 if traded != ordered else 0.0
        cash -= traded * paid
        turnover += abs(traded) * (price * params[SLIPPED_BUY + side])
        costs += traded * (paid - price)
        stocks_BN3[b, n, SHARES] += traded
        stocks_BN3[b, n, BASIS] += abs(traded * paid)
        stocks_BN3[b, n, FILL] += traded
    cash = max(cash, 0.0 if params[CASH_ONLY] != 0.0 else -math.inf)
    accounts_8B[CASH, b], accounts_8B[TURNOVER, b], accounts_8B[COSTS, b] = cash, turnover, costs
    accounts_8B[EVENTS, b] = events


@_inlined
def _value(
    b: int, row: int, params: Floats, lines_TN: Lines, columns_BN: Ints, stocks_BN3: Floats, accounts_8B: Floats
) -> None:
    """Close what is delisted, pay interest, value the holdings."""
    value, cash = 0.0, accounts_8B[CASH, b]
    for n in range(columns_BN.shape[1]):
        line = lines_TN[row, np.uint64(columns_BN[b, n])]
        price = line["close"]
        if line["ended"]:
            accounts_8B[EVENTS, b] += 1.0
            cash += stocks_BN3[b, n, SHARES] * (price * params[DELISTING])
            stocks_BN3[b, n, SHARES] = stocks_BN3[b, n, BASIS] = 0.0
        value += stocks_BN3[b, n, SHARES] * price
    accounts_8B[CASH, b] = cash * params[INTEREST]
    accounts_8B[EQUITY, b] = accounts_8B[CASH, b] + value


@_inlined
def _observe(
    b: int,
    clocks_B3: Ints,
    params: Floats,
    lines_TN: Lines,
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_8B: Floats,
    vectors_BF: NDArray[np.float32],
) -> None:
    """Write the numeric observation: the facts, holdings and account of ``features.py``, within their bounds."""
    equity, bound = accounts_8B[EQUITY, b], params[SHARE_BOUND]
    scale, row = 100.0 / equity if equity > 0.0 else 0.0, clocks_B3[b, ROW]
    at = 0
    for n in range(columns_BN.shape[1]):
        line = lines_TN[row, np.uint64(columns_BN[b, n])]
        shares, basis = stocks_BN3[b, n, SHARES], stocks_BN3[b, n, BASIS]
        read = line["facts"]
        # All are read before any is written, so that the compiler can move several at once.
        facts = (read[0], read[1], read[2], read[3], read[4], read[5], read[6], read[7], read[8])
        for m in range(FACTS):
            vectors_BF[b, at + m] = facts[m]
        value = shares * line["close"]
        gain = 100.0 * (value - math.copysign(basis, shares)) / (basis if basis > 0.0 else 1.0)
        vectors_BF[b, at + FACTS] = min(max(value * scale, -bound), bound)
        vectors_BF[b, at + FACTS + 1] = min(max(gain, -bound), bound)
        at += WIDTH
    vectors_BF[b, at] = min(max(accounts_8B[CASH, b] * scale, -bound), bound)
    vectors_BF[b, at + 1] = min(max(100.0 * equity / params[START_CASH], 0.0), params[EQUITY_BOUND])
    vectors_BF[b, at + 2] = clocks_B3[b, LEFT]
    vectors_BF[b, at + 3] = min(accounts_8B[REFUSED, b], params[REFUSED_BOUND])


@_inlined
def _fetch(first: int, last: int, clocks_B3: Ints, lines_TN: Lines, columns_BN: Ints) -> float:
    """Read every line that the episodes need today, only to bring it into the processor's cache.

    Independent reads run side by side; during settlement each would be waited for.
    """
    total = 0.0
    for b in range(first, last):
        for n in range(columns_BN.shape[1]):
            total += lines_TN[clocks_B3[b, ROW] + clocks_B3[b, TRADES], np.uint64(columns_BN[b, n])]["close"]
    return total


@functools.partial(_compiled, cache=True)
def settle_days(
    wanted_BN: Floats,
    clocks_B3: Ints,
    params: Floats,
    lines_TN: Lines,
    columns_BN: Ints,
    stocks_BN3: Floats,
    accounts_8B: Floats,
    vectors_BF: NDArray[np.float32],
) -> float:
    """Settle a day in every account whose clock says so, and write the observations of all, in place.

    Afterwards every clock is set to trade on the next call.

    Args:
        wanted_BN: orders in [-1, 1], as actions have them; overwritten. Numbers outside are refused, numbers closer
            to 0 than ``MIN_ORDER`` are no orders. They fill at the row that the clock moves to.
        clocks_B3: see ``ROW, LEFT, TRADES``.
        params: [19] of :func:`kernel_params`.
        lines_TN: the market, see :data:`tradeschool.env.features.LINE`.
        columns_BN: the column in the market of each stock.
        stocks_BN3: see ``SHARES, BASIS, FILL``; in shares and currency.
        accounts_8B: see ``CASH, EQUITY, ...``; in currency.
        vectors_BF: the observations, written here.

    Returns:
        A number without meaning: without it the compiler would drop ``_fetch``.
    """
    fetched, count = 0.0, columns_BN.shape[0]
    at_once = max(1, AT_ONCE // columns_BN.shape[1])
    # Step by step for several episodes: steps of different episodes overlap in the processor, those of one must wait.
    for first in range(0, count, at_once):
        last = min(count, first + at_once)
        fetched += _fetch(first, last, clocks_B3, lines_TN, columns_BN)
        for b in range(first, last):
            trades = clocks_B3[b, TRADES]
            clocks_B3[b, ROW] += trades
            clocks_B3[b, LEFT] -= trades
            if trades:
                row = clocks_B3[b, ROW]
                orders, fractions, power = _reduce(
                    b, row, wanted_BN, params, lines_TN, columns_BN, stocks_BN3, accounts_8B
                )
                able = power > params[MIN_POWER]
                accounts_8B[UNIT, b] = power / max(1.0, fractions) if able else 0.0
                accounts_8B[REFUSED, b] += 0.0 if able else orders
        for b in range(first, last):
            if clocks_B3[b, TRADES]:
                _open(b, clocks_B3[b, ROW], wanted_BN, params, lines_TN, columns_BN, stocks_BN3, accounts_8B)
        for b in range(first, last):
            before = accounts_8B[EQUITY, b]
            accounts_8B[REWARD, b] = 0.0
            if clocks_B3[b, TRADES]:
                _value(b, clocks_B3[b, ROW], params, lines_TN, columns_BN, stocks_BN3, accounts_8B)
                floor = params[EQUITY_FLOOR]
                accounts_8B[REWARD, b] = math.log(max(accounts_8B[EQUITY, b], floor) / max(before, floor))
        for b in range(first, last):
            clocks_B3[b, TRADES] = 1
            _observe(b, clocks_B3, params, lines_TN, columns_BN, stocks_BN3, accounts_8B, vectors_BF)
    return fetched
