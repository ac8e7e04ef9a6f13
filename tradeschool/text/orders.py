"""Orders in words: ``BUY|SELL|HOLD [TICKER] [fraction]``, one a line or several parted by semicolons."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import numpy as np

from tradeschool.errors import ParseError, did_you_mean
from tradeschool.text.grammar import after_thinking

Side = Literal["BUY", "SELL", "HOLD"]
SIDES = ("BUY", "SELL", "HOLD")
GRAMMAR = "BUY|SELL|HOLD [TICKER] [fraction], one order a line"
_ORDER = re.compile(r"(BUY|SELL|HOLD)(?:[ \t]+(\S+))?(?:[ \t]+(\S+))?", re.IGNORECASE)
_USUAL = re.compile(r"(BUY|SELL|HOLD) (\S+) (\d+\.?\d*|\.\d+)", re.ASCII)
"""An order as :func:`compose_orders` writes it, which nothing else has to be asked about."""
_FRACTION = re.compile(r"(\d+\.?\d*|\.\d+)(%?)", re.ASCII)
LONGEST_QUOTE = 30


class Order(NamedTuple):
    """Buy or sell a fraction: of the buying power, or of what is held. HOLD leaves a stock (None: all) as it is."""

    side: Side
    ticker: str | None
    fraction: float = 1.0


def parse_orders(text: str, tickers: Sequence[str]) -> list[Order]:
    """The orders that an answer gives, after its ``<think>`` block where it has one.

    The ticker may be left out where there is one stock. A fraction is in (0, 1], as ``0.25`` or ``25%``, 1 where it is
    left out. Case does not matter.

    Raises:
        ParseError: the first fault: an unreadable line, an unknown ticker, a fraction outside (0, 1], a ticker twice.
    """
    orders, refused = read_orders(text, tickers)
    if refused:
        raise ParseError(refused[0])
    return orders


def read_orders(text: str, tickers: Sequence[str]) -> tuple[list[Order], list[str]]:
    """The orders that can be taken and, for each that cannot, a sentence that says why.

    Of two orders in one ticker both are refused: which one was meant cannot be known.
    """
    try:
        answer = after_thinking(text)
    except ParseError as error:
        return [], [str(error)]
    orders: list[Order] = []
    refused: list[str] = []
    known = frozenset(tickers)
    for line in answer.replace(";", "\n").split("\n"):
        piece = line.strip()
        if not piece:
            continue
        try:
            orders.append(_usual(piece, known) or _order(piece, tickers))
        except ParseError as error:
            refused.append(str(error))
    if not orders and not refused:
        refused.append(f"no order: write {GRAMMAR}; HOLD to do nothing")
    return _once(orders, refused), refused


def compose_orders(orders: Sequence[Order], reasoning: str = "") -> str:
    """The answer that gives ``orders``: the inverse of :func:`parse_orders`."""
    lines = [_words(order) for order in orders] or ["HOLD"]
    return "\n".join([f"<think>{reasoning}</think>", *lines] if reasoning else lines)


def _words(order: Order) -> str:
    if order.side == "HOLD":
        return " ".join(filter(None, ("HOLD", order.ticker)))
    fraction = np.format_float_positional(order.fraction, trim="-")
    return " ".join(filter(None, (order.side, order.ticker, fraction)))


def _usual(piece: str, known: frozenset[str]) -> Order | None:
    """What :func:`_order` makes of a piece, sooner; None where it must be read with more care."""
    found = _USUAL.fullmatch(piece)
    if not found:
        return None
    side, ticker, digits = found.groups()
    fraction = float(digits)
    return Order(side, ticker, fraction) if ticker in known and 0 < fraction <= 1 else None  # type: ignore[arg-type]


def _order(piece: str, tickers: Sequence[str]) -> Order:
    found = _ORDER.fullmatch(piece)
    if not found:
        raise ParseError(f"'{_quoted(piece)}' is no order: write {GRAMMAR}")
    side, first, second = cast(Side, found[1].upper()), found[2], found[3]
    ticker: str | None = None
    if first is not None and (second is not None or _is_ticker(first, tickers)):
        ticker, first = _ticker(first, tickers), second
    fraction = 1.0 if first is None else _fraction(first, piece, tickers)
    if ticker is None and len(tickers) == 1:
        ticker = tickers[0]
    if ticker is None and side != "HOLD":
        raise ParseError(f"'{_quoted(piece)}' names no stock: with several, write which")
    return Order(side, ticker, fraction)


def _is_ticker(word: str, tickers: Sequence[str]) -> bool:
    return word in tickers or not _FRACTION.fullmatch(word.lstrip("+-"))


def _ticker(word: str, tickers: Sequence[str]) -> str:
    if word in tickers:
        return word
    for ticker in tickers:
        if ticker.casefold() == word.casefold():
            return ticker
    raise ParseError(f"there is no stock '{_quoted(word)}'.{did_you_mean(word, tickers)}")


def _fraction(word: str, piece: str, tickers: Sequence[str]) -> float:
    found = _FRACTION.fullmatch(word)
    if not found:
        raise ParseError(f"'{_quoted(word)}' in '{_quoted(piece)}' is no fraction: write 0.25 or 25%")
    fraction = float(found[1]) / 100 if found[2] else float(found[1])
    if not 0 < fraction <= 1:
        raise ParseError(
            f"a fraction of {_quoted(word)} in '{_quoted(piece)}': it must be above 0 and at most 1, or 100%"
        )
    return fraction


def _once(orders: list[Order], refused: list[str]) -> list[Order]:
    if len(orders) < 2:
        return orders
    named = [order.ticker for order in orders if order.ticker is not None]
    if len(set(named)) == len(named):
        return orders
    count = Counter(named)
    for ticker, times in count.items():
        refused.extend([f"{times} orders in {ticker}: give one"] * (times if times > 1 else 0))
    return [order for order in orders if order.ticker is None or count[order.ticker] == 1]


def _quoted(text: str) -> str:
    """At most 30 characters, printable ASCII alone."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return plain if len(plain) <= LONGEST_QUOTE else plain[:LONGEST_QUOTE] + "..."
