"""One day at the broker, order by order in plain floats: the law that ``kernel.py`` must agree with.

A day runs so: orders that reduce a position, then orders that open one from the buying power there then is, all at
the open; then holdings whose bars have ended are closed; then cash earns interest; then all is valued at the close.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tradeschool.env.config import EnvConfig
from tradeschool.metrics import DAYS_A_YEAR

NO_BAR, NO_POSITION, NO_CASH = "no bar", "no position", "no cash"
"""Why the broker refuses an order."""
LAPSED, PARTLY, DELISTED = "lapsed", "partly", "delisted"
"""What becomes of an order that was accepted but not filled, or not in full, and of a holding without a market."""
REFUSALS = frozenset({NO_BAR, NO_POSITION, NO_CASH})


class Event(NamedTuple):
    """What happened to the order in, or the holding of, stock number ``stock``; ``filled`` is the part filled."""

    kind: str
    stock: int
    filled: float = 0.0


class Day(NamedTuple):
    """What the broker needs of one day, by stock: the episode's slice of :class:`~tradeschool.env.data.MarketData`.

    ``known`` is whether a bar existed on the day before, when the orders were given. ``most`` is the largest number
    of shares that one order may fill. ``gone`` lists the stocks whose bars have ended on this day.
    """

    known: Sequence[bool]
    open: Sequence[float]
    close: Sequence[float]
    most: Sequence[float]
    gone: Sequence[int]


class Terms(NamedTuple):
    """The broker's terms, worked out of an :class:`EnvConfig` once.

    A share bought costs open * ``buy``, slippage and commission included, a share sold brings open * ``sell``;
    the ``slipped_`` ones are with slippage alone.
    Buying power of at most ``least`` is none.
    """

    buy: float
    sell: float
    slipped_buy: float
    slipped_sell: float
    volume_share: float
    leverage: float
    short: bool
    plain: bool
    growth: float
    delisted: float
    least: float

    @classmethod
    def of(cls, config: EnvConfig) -> "Terms":
        up, down = 1.0 + config.slippage, 1.0 - config.slippage
        return cls(
            buy=up * (1.0 + config.commission),
            sell=down * (1.0 - config.commission),
            slipped_buy=up,
            slipped_sell=down,
            volume_share=config.volume_share,
            leverage=config.leverage,
            short=config.short,
            plain=not config.short and config.leverage == 1.0,
            growth=1.0 + config.interest / DAYS_A_YEAR,
            delisted=1.0 + config.delisting_return,
            least=1e-6 * config.cash,
        )


@dataclass(slots=True)
class Book:
    """An account. ``shares`` (negative: short) and ``basis``, what was paid or got for them, costs included, by stock.

    ``equity`` is cash and holdings at the last close. ``turnover`` is the value traded, ``costs`` what commission and
    slippage took of it, both on the last day. ``fills`` are the shares traded on it (negative: sold).
    """

    cash: float
    shares: list[float]
    basis: list[float]
    equity: float
    fills: list[float] = field(default_factory=list)
    turnover: float = 0.0
    costs: float = 0.0

    @classmethod
    def opened(cls, cash: float, stocks: int) -> "Book":
        return cls(cash, [0.0] * stocks, [0.0] * stocks, cash, [0.0] * stocks)


def settle(book: Book, wanted: Sequence[float], day: Day, terms: Terms) -> list[Event]:
    """Fill a day's orders, close what is delisted, pay interest and value the book at the close, in place.

    Args:
        book: the account, changed in place.
        wanted: by stock, in [-1, 1]: 0 is no order, positive BUY, negative SELL that fraction.
        day: the day after the decision.
        terms: costs and limits.

    Returns:
        What was refused, lapsed, partly filled or delisted, in the order in which it happened.
    """
    events: list[Event] = []
    shares = book.shares
    book.fills = [0.0] * len(shares)
    book.turnover = book.costs = 0.0
    opening = _reduce(book, wanted, day, terms, events)
    if opening:
        _open(book, opening, day, terms, events)
    for n in day.gone:
        if shares[n] != 0.0:
            book.cash += shares[n] * (day.close[n] * terms.delisted)
            shares[n] = book.basis[n] = 0.0
            events.append(Event(DELISTED, n))
    book.cash *= terms.growth
    held = 0.0
    for quantity, price in zip(shares, day.close, strict=True):
        held += quantity * price
    book.equity = book.cash + held
    return events


def _reduce(
    book: Book, wanted: Sequence[float], day: Day, terms: Terms, events: list[Event]
) -> list[tuple[int, float]]:
    """Fill the orders against a position (SELL of a long, BUY of a short); return those that open one."""
    opening: list[tuple[int, float]] = []
    for n, want in enumerate(wanted):
        if want == 0.0:
            continue
        held = book.shares[n]
        if not day.known[n]:
            events.append(Event(NO_BAR, n))
        elif want * held < 0.0:
            traded = -held * abs(want)
            most = day.most[n]
            if abs(traded) > most:
                events.append(Event(PARTLY if most else LAPSED, n, most / abs(traded)))
                traded = most if traded > 0.0 else -most
            if traded:
                _trade(book, n, traded, day.open[n], terms)
        elif want < 0.0 and not terms.short:
            events.append(Event(NO_POSITION, n))
        else:
            opening.append((n, want))
    return opening


def _open(book: Book, opening: list[tuple[int, float]], day: Day, terms: Terms, events: list[Event]) -> None:
    """Fill the orders that open or add to a position, scaled down where their fractions sum to more than 1."""
    power = book.cash if terms.plain else _buying_power(book, day, terms)
    if power <= terms.least:
        events.extend(Event(NO_CASH, n) for n, _ in opening)
        return
    unit = power / max(1.0, sum([abs(want) for _, want in opening]))
    for n, want in opening:
        price = day.open[n] * (terms.buy if want > 0.0 else terms.slipped_sell)
        traded, most = unit * want / price, day.most[n]
        if abs(traded) > most:
            events.append(Event(PARTLY if most else LAPSED, n, most / abs(traded)))
            traded = most if traded > 0.0 else -most
        if traded:
            _trade(book, n, traded, day.open[n], terms)
    if terms.plain and book.cash < 0.0:
        book.cash = 0.0  # the last bits of spending all of it


def _buying_power(book: Book, day: Day, terms: Terms) -> float:
    """leverage * equity - gross exposure, both at the open; a stock without a bar counts at its last close."""
    net = gross = 0.0
    for quantity, price in zip(book.shares, day.open, strict=True):
        net += quantity * price
        gross += abs(quantity) * price
    return terms.leverage * (book.cash + net) - gross


def _trade(book: Book, n: int, traded: float, price: float, terms: Terms) -> None:
    """Move shares and cash; what is held keeps what was paid for it."""
    held = book.shares[n]
    paid = price * (terms.buy if traded > 0.0 else terms.sell)
    left = held + traded
    if held * traded >= 0.0:
        book.basis[n] += abs(traded) * paid
    else:
        book.basis[n] *= left / held
    book.cash -= traded * paid
    book.shares[n] = left
    book.fills[n] = traded
    book.turnover += abs(traded) * (price * (terms.slipped_buy if traded > 0.0 else terms.slipped_sell))
    book.costs += traded * (paid - price)
