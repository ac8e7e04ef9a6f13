"""Observations: the numeric vector of a portfolio in a market, the text that says it, and the way back."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.facts import FARTHEST, HIGHEST, HOLDING, MARKET, PER_STOCK, RICHEST, UNKNOWN, G, M
from tradeschool.errors import ParseError

OVERSOLD, OVERBOUGHT = 30.0, 70.0
HEADING = " ".join(["stock", *(fact.label for fact in (*MARKET[1:], *HOLDING))])
MOST_TOLD = 8
"""Sentences of what the broker told; an answer of a thousand faulty orders must not fill the next observation."""
NOT_TRADED = "not traded"
_FORMATS = tuple(f"%.{fact.decimals}f" for fact in MARKET)
_RSI = next(m for m, fact in enumerate(MARKET) if fact.name == "rsi_14")
_LINE = " ".join(_FORMATS[1:])
_MINUS_ZERO = re.compile(r"-(?=0(?:\.0+)?(?: |$))")
"""The sign of a zero, which would be read as another vector."""
_ACCOUNT = re.compile(
    r"(?:\S+, )?day (\d+) of (\d+), cash (-?\d+)%, equity (-?[\d.]+)% of the start(?:, (\d+) refused)?$"
)


def account_figures(cash: float, equity: float, start: float, days_left: float, refused: int) -> list[float]:
    """The account's columns of the vector, within their bounds. An equity of 0 or less has a cash share of 0."""
    share = 100.0 * cash / equity if equity > 0.0 else 0.0
    whole = 100.0 * equity / start
    return [
        min(max(share, -FARTHEST), FARTHEST),
        min(max(whole, 0.0), RICHEST),
        days_left,
        min(refused, HIGHEST),
    ]


def holding_figures(shares: float, basis: float, close: float, equity: float) -> tuple[float, float]:
    """Share of the equity, and gain on ``basis``, in percent, within their bounds; the gain of a short is its fall."""
    if shares == 0.0:
        return 0.0, 0.0
    value = shares * close
    share = 100.0 * value / equity if equity > 0.0 else 0.0
    gain = 100.0 * (value - basis) / basis if shares > 0.0 else 100.0 * (value + basis) / basis
    if -FARTHEST <= share <= FARTHEST and -FARTHEST <= gain <= FARTHEST:  # nearly all
        return share, gain
    return min(max(share, -FARTHEST), FARTHEST), min(max(gain, -FARTHEST), FARTHEST)


def market_words(facts: Sequence[float]) -> str:
    """The market's figures of one stock, as its line says them."""
    if not facts[0]:
        return NOT_TRADED
    if UNKNOWN in facts:
        line = " ".join(["-" if facts[m] == UNKNOWN else _FORMATS[m] % facts[m] for m in range(1, M)])
    else:
        line = _LINE % tuple(facts[1:])
    if "-0" in line:
        line = _MINUS_ZERO.sub("", line)
    rsi = facts[_RSI]
    if OVERSOLD <= rsi <= OVERBOUGHT or rsi == UNKNOWN:
        return line
    words = line.split(" ")
    words[_RSI - 1] += "(oversold)" if rsi < OVERSOLD else "(overbought)"
    return " ".join(words)


def holding_words(share: float, gain: float) -> str:
    """The holding's figures with the blank before them; nothing where nothing is held."""
    return f" {round(share)} {round(gain)}" if share or gain else ""


def account_words(figures: Sequence[float], days: int, date: str = "") -> str:
    """The line about the account. ``date`` stands before it where dates are shown."""
    cash, equity, left, refused = figures
    text = f"day {days - int(left)} of {days}, cash {round(cash)}%, equity {equity:.1f}% of the start"
    text = f"{date}, {text}" if date else text
    return f"{text}, {int(refused)} refused" if refused else text


def say(
    vector: NDArray[np.float32],
    names: Sequence[str],
    days: int,
    date: str = "",
    told: Sequence[str] = (),
) -> str:
    """The text of a numeric observation: the account, what the broker told, a heading, a line per stock.

    A figure stands at the decimals of its :class:`~tradeschool.env.facts.Fact`, "-" where it is not known. A stock
    without a bar today is "not traded". A line ends before ``held%`` where nothing is held.

    Args:
        vector: float32, as ``facts.names(len(names))`` lists it.
        names: the stocks, tickers or masked.
        days: the decisions of the whole episode.
        date: today, where dates are shown.
        told: sentences about refused orders and the like, of which the first are said; the vector counts refusals.
    """
    values = vector.tolist()
    stocks = [values[at : at + PER_STOCK] for at in range(0, len(values) - G, PER_STOCK)]
    said = [(name, market_words(stock[:M]), *stock[M:]) for name, stock in zip(names, stocks, strict=True)]
    return page(account_words(values[-G:], days, date), told, said)


def page(account: str, told: Sequence[str], stocks: Iterable[tuple[str, str, float, float]]) -> str:
    """The text of parts said before: ``stocks`` are name, :func:`market_words`, share and gain of each."""
    lines = [account, *_told(told), HEADING] if told else [account, HEADING]
    lines += [f"{name} {words}{holding_words(share, gain)}" for name, words, share, gain in stocks]
    return "\n".join(lines)


def _told(sentences: Sequence[str]) -> list[str]:
    lines = [f"! {sentence}" for sentence in sentences[:MOST_TOLD]]
    more = len(sentences) - MOST_TOLD
    return [*lines, f"! and {more} more"] if more > 0 else lines


def read(text: str) -> tuple[NDArray[np.float32], list[str]]:
    """The vector and the names that a text says: :func:`say` the other way, up to the decimals shown.

    Raises:
        ParseError: the text is no observation; the message names the line.
    """
    lines = text.split("\n")
    account = _ACCOUNT.match(lines[0])
    if not account or HEADING not in lines:
        raise ParseError(f"not an observation: {lines[0][:80]!r}")
    day, days, cash, equity, refused = account.groups()
    vector: list[float] = []
    names: list[str] = []
    for line in lines[lines.index(HEADING) + 1 :]:
        name, _, rest = line.partition(" ")
        names.append(name)
        vector += _stock(rest, line)
    vector += [float(cash), float(equity), float(int(days) - int(day)), float(refused or 0)]
    return np.array(vector, np.float32), names


def _stock(rest: str, line: str) -> list[float]:
    figures = [0.0] + [UNKNOWN] * (M - 1)
    if rest.startswith(NOT_TRADED):
        words = rest[len(NOT_TRADED) :].split()
    else:
        words = re.sub(r"\(\w+\)", "", rest).split()
        figures = [1.0, *(UNKNOWN if word == "-" else _number(word, line) for word in words[: M - 1])]
        words = words[M - 1 :]
    if len(figures) != M or len(words) not in (0, len(HOLDING)):
        raise ParseError(f"a stock's line has {len(HEADING.split())} words at most: {line[:80]!r}")
    return [*figures, *((_number(word, line) for word in words) if words else (0.0, 0.0))]


def _number(word: str, line: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise ParseError(f"'{word}' is no figure in {line[:80]!r}") from error
