"""The reward components of the direction task. A call is UP or DOWN with magnitude and confidence; None is unreadable.

``signal`` + ``charge`` is the Brier score as a gain over the base rate, cut into what depends on the outcome and what
does not, so that ``shrink`` (``train/shrinking.py``) can shrink forecasts towards the base rate. ``direction``,
``magnitude``, ``confidence``, ``data_use`` and ``format`` are the reward of Stonk-V2's second stage, 11 points in all.
"""

import math
import re
from collections.abc import Iterator, Sequence

from tradeschool.text.describe import UNKNOWN, Fact
from tradeschool.text.direction import Call

WORST_BRIER = 1.0
"""Of an unreadable answer, as of a certain one that is wrong."""
SMALLEST = 0.01
"""The log score takes no probability as smaller, since that of an impossible event would be infinite."""
MAGNITUDE_STEPS = ((0.2, 2.0), (0.5, 1.5), (1.0, 1.0))
"""Relative errors below the first number earn the second; others earn ``MAGNITUDE_ELSE``."""
MAGNITUDE_ELSE = 0.5
DATA_STEPS = ((5, 3.0), (3, 2.0), (1, 1.0))
"""This many data points of the prompt earn this much."""
QUOTE_WORDS = 3
"""The shortest quotation of a prompt that counts as a data point."""
CLOSE = 60
"""A fact is cited where its number or word follows its label within this many characters."""


def brier(call: Call | None, up: bool) -> float:
    """The squared error of the probability of UP."""
    return WORST_BRIER if call is None else (call.probability - up) ** 2


def signal(call: Call | None, up: bool, base: float) -> float:
    """2 (p - b) (y - b): right and wrong by how far the probability is from the base rate.

    Of an unreadable answer, with its charge of 0, the gain of the worst Brier score.
    """
    return (base - up) ** 2 - WORST_BRIER if call is None else 2 * (call.probability - base) * (up - base)


def charge(call: Call | None, base: float) -> float:
    """- (p - b)^2: what it costs to be sure."""
    return 0.0 if call is None else -((call.probability - base) ** 2)


def log_score(call: Call | None, up: bool) -> float:
    """The logarithm of the probability of what happened, at least that of ``SMALLEST``."""
    if call is None:
        return math.log(SMALLEST)
    return math.log(max(call.probability if up else 1 - call.probability, SMALLEST))


def direction(call: Call | None, up: bool) -> float:
    """2.5 for the right direction."""
    return 2.5 * (call is not None and is_right(call, up))


def magnitude(call: Call | None, move: float) -> float:
    """By the relative error of the size: 2 below .2, 1.5 below .5, 1 below 1, otherwise .5."""
    if call is None:
        return 0.0
    error = abs(call.magnitude - abs(move))
    # Rounded, so that an error of exactly .2 is not taken for less.
    relative = round(error / abs(move), 9) if move else (0.0 if error == 0 else math.inf)
    return next((points for below, points in MAGNITUDE_STEPS if relative < below), MAGNITUDE_ELSE)


def confidence(call: Call | None, up: bool) -> float:
    """1 to 2.5 when right, -.2 to -1.5 when wrong, both growing with the confidence.

    Not a proper score: the larger prize makes it pay to be sure.
    """
    if call is None:
        return 0.0
    return 1 + 1.5 * call.confidence if is_right(call, up) else -(0.2 + 1.3 * call.confidence)


def data_use(call: Call | None, points: int) -> float:
    """3, 2 or 1 for at least 5, 3 or 1 data points of the prompt."""
    if call is None:
        return 0.0
    return next((reward for least, reward in DATA_STEPS if points >= least), 0.0)


def is_right(call: Call, up: bool) -> bool:
    """Whether the direction came true."""
    return (call.direction == "UP") is bool(up)


# data points --------------------------------------------------------------------------------------

_DIGITS = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?=(?:k|m|bn|x)?(?!\w))", re.ASCII)
_QUOTE = re.compile(r"[\"“*]([^\"”*\n]+)[\"”*]")


def cited_points(text: str, facts: Sequence[Fact], sections: str) -> int:
    """How many distinct data points of the prompt a text really cites.

    A data point is a fact, cited by its label followed by its number or its word; a number of at least two digits in
    the sections; or a quotation of at least three words from the prompt. What does not stand in the prompt counts
    nothing, and neither does "unknown" or "none".
    """
    cited = sum(_cites(text, fact) for fact in facts)
    if sections:
        cited += len(set(_numbers(text)) & set(_numbers(sections)))
    quotes = {words for match in _QUOTE.finditer(text) if len((words := _words(match[1])).split()) >= QUOTE_WORDS}
    if quotes:
        prompt = _words("\n".join([*(fact.text for fact in facts), sections]))
        cited += sum(f" {quote} " in f" {prompt} " for quote in quotes)
    return cited


def _cites(text: str, fact: Fact) -> bool:
    if fact.word in (UNKNOWN, "none", "unclear"):
        return False
    numbers = set(_DIGITS.findall(fact.text.removeprefix(fact.label)))
    for match in re.finditer(rf"(?<!\w){re.escape(fact.label)}(?!\w)", text, re.IGNORECASE):
        near = re.split(r"\n|[.;](?:\s|$)", text[match.end() : match.end() + CLOSE], maxsplit=1)[0]
        if numbers & set(_DIGITS.findall(near)) or re.search(rf"(?<!\w){re.escape(fact.word)}(?!\w)", near):
            return True
    return False


def _numbers(text: str) -> Iterator[str]:
    """The numbers of a text that have at least two digits, without their plus."""
    return (found.lstrip("+") for found in _DIGITS.findall(text) if sum(map(str.isdigit, found)) > 1)


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
