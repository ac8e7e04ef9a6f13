"""Parses model answers into ratings and orders, refuses ambiguous ones, and formats actions as answers."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import numpy as np

from tradeschool.errors import ParseError, did_you_mean

RATINGS = {"STRONG_SELL": -2, "SELL": -1, "HOLD": 0, "BUY": 1, "STRONG_BUY": 2}
RATING_NAMES = {value: name for name, value in RATINGS.items()}
LAST_LINES = 3
"""A decision must be on one of this many last lines."""
_DECISION = re.compile(r"\[\[\[(.*?)\]\]\]", re.DOTALL)
Side = Literal["BUY", "SELL", "HOLD"]
SIDES = ("BUY", "SELL", "HOLD")
GRAMMAR = "BUY|SELL|HOLD [TICKER] [fraction], one order a line"
LONGEST_QUOTE = 30
_ORDER = re.compile(r"(BUY|SELL|HOLD)(?:[ \t]+(\S+))?(?:[ \t]+(\S+))?", re.IGNORECASE)
_FRACTION = re.compile(r"(\d+\.?\d*|\.\d+)(%?)", re.ASCII)


class Order(NamedTuple):
    """Buy or sell a fraction of the buying power or of the position; HOLD leaves a stock (None: all) unchanged."""

    side: Side
    ticker: str | None
    fraction: float = 1.0


def after_thinking(text: str) -> str:
    """The text after the ``<think>`` block; all of it if there is no block.

    A ParseError if the block is not closed, closed twice, or text stands before it.
    """
    if "think>" not in text:  # the common case for models that do not reason
        return text
    opened, closed = text.count("<think>"), text.count("</think>")
    if opened != closed or opened > 1:
        raise ParseError(f"{opened} <think> and {closed} </think>: reasoning must be one closed <think>...</think>")
    if not opened:
        return text
    before, _, rest = text.partition("<think>")
    if "</think>" in before:
        raise ParseError("</think> comes before <think>")
    if before.strip():
        raise ParseError("text before <think>: an answer starts with its reasoning")
    return rest.partition("</think>")[2]


def parse_decision(text: str, choices: Sequence[str] = tuple(RATINGS)) -> str:
    """The one decision ``[[[CHOICE]]]``, alone on one of the last three lines after the reasoning.

    A ParseError if there is no decision or more than one, it is unknown, too early or not alone on its line, or the
    answer names another choice as well.
    """
    answer = after_thinking(text).strip()
    found = _DECISION.findall(answer)
    if not found:
        raise ParseError(f"no decision: end with one of {', '.join(f'[[[{choice}]]]' for choice in choices)}")
    if len(found) > 1:
        raise ParseError(f"{len(found)} decisions ({', '.join(found[:3])}): exactly one is allowed")
    if answer.count("[[[") > 1:
        raise ParseError("a second [[[: exactly one decision is allowed")
    choice: str = found[0].strip()
    if choice not in choices:
        raise ParseError(
            f"'{choice[:40]}' is not a decision.{did_you_mean(choice, choices)} Choose from {', '.join(choices)}"
        )
    if not any(_DECISION.fullmatch(line.strip()) for line in answer.splitlines()[-LAST_LINES:]):
        raise ParseError(f"the decision is not alone on one of the last {LAST_LINES} lines")
    named = set(re.findall(r"[A-Z_]+", _DECISION.sub("", answer))) & set(choices) - {choice}
    if named:
        raise ParseError(f"{', '.join(sorted(named))} named in addition to {choice}: the decision is ambiguous")
    return choice


def format_decision(choice: str, reasoning: str) -> str:
    """The answer that decides ``choice``: the inverse of :func:`parse_decision`."""
    return f"<think>{reasoning}</think>\n[[[{choice}]]]"


def reasoning_of(text: str) -> str:
    """The text of the ``<think>`` block; where it is not closed, all text before a decision."""
    opened = text.partition("<think>")[2] if "<think>" in text else text
    return opened.partition("</think>")[0].partition("[[[")[0].strip()


def has_reasoning(text: str) -> bool:
    """Whether the answer starts with a closed ``<think>`` block that is not empty."""
    found = re.match(r"\s*<think>(.*?)</think>", text, re.DOTALL)
    return bool(found and found[1].strip())


def parse_orders(text: str, tickers: Sequence[str]) -> list[Order]:
    """The orders in an answer: ``BUY|SELL|HOLD [TICKER] [fraction]``, one per line or separated by semicolons.

    The ticker may be omitted if there is one stock. A fraction is in (0, 1], as ``0.25`` or ``25%``, and 1 if omitted.
    Case does not matter. A ``<think>`` block before the orders is skipped.

    Raises:
        ParseError: the first error: an unreadable line, an unknown ticker, a fraction outside (0, 1], a ticker twice.
    """
    orders, refused = read_orders(text, tickers)
    if refused:
        raise ParseError(refused[0])
    return orders


def read_orders(text: str, tickers: Sequence[str]) -> tuple[list[Order], list[str]]:
    """The valid orders, and a sentence for each invalid one; two orders for the same ticker are both invalid.

    The sentences are shown to the model in the next prompt, so changing one changes the version of the environment.
    """
    try:
        answer = after_thinking(text)
    except ParseError as error:
        return [], [str(error)]
    orders: list[Order] = []
    refused: list[str] = []
    for piece in filter(None, map(str.strip, answer.replace(";", "\n").split("\n"))):
        try:
            orders.append(_parse_order(piece, tickers))
        except ParseError as error:
            refused.append(str(error))
    if not orders and not refused:
        refused.append(f"no order: write {GRAMMAR}; HOLD to do nothing")
    count = Counter(order.ticker for order in orders if order.ticker is not None)
    for ticker, times in count.items():
        if times > 1:
            refused += [f"{times} orders in {ticker}: give one"] * times
    return [order for order in orders if order.ticker is None or count[order.ticker] == 1], refused


def format_orders(orders: Sequence[Order], reasoning: str = "") -> str:
    """The answer that places ``orders``: the inverse of :func:`parse_orders`."""
    lines = []
    for side, ticker, fraction in orders:
        amount = None if side == "HOLD" else np.format_float_positional(fraction, trim="-")
        lines.append(" ".join(filter(None, (side, ticker, amount))))
    lines = lines or ["HOLD"]
    return "\n".join([f"<think>{reasoning}</think>", *lines] if reasoning else lines)


def _parse_order(piece: str, tickers: Sequence[str]) -> Order:
    found = _ORDER.fullmatch(piece)
    if not found:
        raise ParseError(f"'{_quoted(piece)}' is no order: write {GRAMMAR}")
    side, first, second = cast(Side, found[1].upper()), found[2], found[3]
    ticker: str | None = None
    # A first word that is no fraction must be a stock.
    if first and (second or first in tickers or not _FRACTION.fullmatch(first.lstrip("+-"))):
        ticker = first if first in tickers else next((t for t in tickers if t.casefold() == first.casefold()), None)
        if ticker is None:
            raise ParseError(f"there is no stock '{_quoted(first)}'.{did_you_mean(first, tickers)}")
        first = second
    fraction = 1.0 if first is None else _fraction(first, piece)
    if ticker is None and len(tickers) == 1:
        ticker = tickers[0]
    if ticker is None and side != "HOLD":
        raise ParseError(f"'{_quoted(piece)}' names no stock: with several, write which")
    return Order(side, ticker, fraction)


def _fraction(word: str, piece: str) -> float:
    found = _FRACTION.fullmatch(word)
    if not found:
        raise ParseError(f"'{_quoted(word)}' in '{_quoted(piece)}' is no fraction: write 0.25 or 25%")
    fraction = float(found[1]) / 100 if found[2] else float(found[1])
    if not 0 < fraction <= 1:
        raise ParseError(
            f"a fraction of {_quoted(word)} in '{_quoted(piece)}': it must be above 0 and at most 1, or 100%"
        )
    return fraction


def _quoted(text: str) -> str:
    """At most 30 characters, in printable ASCII."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return plain if len(plain) <= LONGEST_QUOTE else plain[:LONGEST_QUOTE] + "..."
