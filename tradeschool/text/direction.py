"""Answers of the direction task: UP or DOWN, by how much, and how sure. Ambiguous ones are refused."""

import re
from decimal import Decimal
from typing import Literal, NamedTuple

from tradeschool.errors import ParseError
from tradeschool.text.parse import LONGEST_QUOTE, after_thinking

Direction = Literal["UP", "DOWN"]
DIRECTIONS: tuple[Direction, ...] = ("UP", "DOWN")
LABELS = ("magnitude", "direction", "confidence")
FORM = "Direction: UP or DOWN, Magnitude: 1.5%, Confidence: 65%, one a line"
MOST_PERCENT = 1000
_LINE = re.compile(r"[ \t>*_#-]*(direction|magnitude|confidence)[ \t*_]*:[ \t*_]*(.*?)[ \t*_]*", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+(?:\.\d+)?|\.\d+)[ \t]*(%?)\.?", re.ASCII)


class Call(NamedTuple):
    """A forecast of a move.

    Attributes:
        direction: UP or DOWN.
        magnitude: size of the move in percent, 0 or more.
        confidence: probability that the direction is right, 0 to 1.
    """

    direction: Direction
    magnitude: float
    confidence: float

    @property
    def probability(self) -> float:
        """The probability of UP."""
        return self.confidence if self.direction == "UP" else 1 - self.confidence


def parse_call(text: str) -> Call:
    """The forecast on three lines after the reasoning, in any order: ``Direction:``, ``Magnitude:``, ``Confidence:``.

    A magnitude is in percent, with or without the sign. ``85%``, ``.85`` and ``85`` are the same confidence. From 1 to
    below 2 a number without a percent sign may be either a share or a percentage, so it is refused.

    Raises:
        ParseError: a line is missing, repeated or unreadable, or the answer names the other direction too.
    """
    answer = after_thinking(text)
    found: dict[str, str] = {}
    rest = []
    for line in answer.splitlines():
        if not (match := _LINE.fullmatch(line)):
            rest.append(line)
            continue
        label = match[1].lower()
        if label in found:
            raise ParseError(f"two lines '{label.capitalize()}:': exactly one is allowed")
        found[label] = match[2].strip()
    if missing := [label.capitalize() for label in LABELS if label not in found]:
        raise ParseError(f"no line '{missing[0]}:'. Write {FORM}")
    direction = found["direction"].rstrip(".").upper()
    if direction not in DIRECTIONS:
        raise ParseError(f"'{_quoted(found['direction'])}' is not a direction: write UP or DOWN")
    other = DIRECTIONS[1 - DIRECTIONS.index(direction)]
    if re.search(rf"\b{other}\b", "\n".join(rest)):
        raise ParseError(f"{other} named in addition to {direction}: the direction is ambiguous")
    magnitude = _magnitude(found["magnitude"], direction)
    return Call(direction, magnitude, _confidence(found["confidence"]))


def format_call(call: Call, reasoning: str) -> str:
    """The answer that states a forecast: the inverse of :func:`parse_call`.

    The magnitude comes first, so that what states the decision, direction and confidence, is the end of the answer.
    """
    magnitude, confidence = (_decimal(value) for value in (abs(call.magnitude), call.confidence))
    return (
        f"<think>{reasoning}</think>\nMagnitude: {_plain(magnitude)}%\nDirection: {call.direction}\n"
        f"Confidence: {_plain(100 * confidence)}%"
    )


def justification_of(text: str) -> str:
    """The answer without the three lines of the forecast."""
    return "\n".join(line for line in text.splitlines() if not _LINE.fullmatch(line))


def _magnitude(text: str, direction: str) -> float:
    sign, number = (text[0], text[1:].lstrip()) if text[:1] in ("+", "-") else ("", text)
    match = _NUMBER.fullmatch(number)
    if not match:
        raise ParseError(f"'{_quoted(text)}' is not a magnitude: write percent, such as 1.5%")
    if sign and (sign == "+") is not (direction == "UP"):
        raise ParseError(f"the magnitude '{_quoted(text)}' contradicts {direction}")
    if (value := Decimal(match[1])) > MOST_PERCENT:
        raise ParseError(f"the magnitude '{_quoted(text)}' is above {MOST_PERCENT}%")
    return float(value)


def _confidence(text: str) -> float:
    match = _NUMBER.fullmatch(text)
    if not match:
        raise ParseError(f"'{_quoted(text)}' is not a confidence: write 0% to 100%")
    value = Decimal(match[1])
    if not match[2] and 1 <= value < 2:
        raise ParseError(f"the confidence '{_quoted(text)}' may be a share or a percentage: write it with %")
    share = value / 100 if match[2] or value >= 2 else value
    if share > 1:
        raise ParseError(f"the confidence '{_quoted(text)}' is above 100%")
    return float(share)


def _decimal(value: float) -> Decimal:
    """Exactly the shortest decimal number that is read as ``value``."""
    return Decimal(repr(float(value)))


def _plain(value: Decimal) -> str:
    """Without an exponent and without zeros at the end."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _quoted(text: str) -> str:
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "..."
