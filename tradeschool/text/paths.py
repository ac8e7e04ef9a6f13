"""Forecasts in answers: a fixed number of plain numbers between ``<answer>`` tags. Parsing refuses ambiguity."""

import math
import re
from collections.abc import Sequence

from tradeschool.errors import ParseError
from tradeschool.text.parse import after_thinking

LARGEST = 1e4
"""A number beyond this is an error of writing: closes are within a few standard deviations of their mean."""
LONGEST_QUOTE = 30
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_SEPARATOR = re.compile(r",\s+|\s+")


def format_path(values: Sequence[float], reasoning: str, decimals: int) -> str:
    """The answer that forecasts ``values``, rounded: the inverse of :func:`parse_path`."""
    numbers = ", ".join(f"{round(value, decimals) + 0.0:.{decimals}f}" for value in values)  # + 0.0: no "-0.000"
    return f"<think>\n{reasoning}\n</think>\n<answer>\n[{numbers}]\n</answer>"


def parse_path(text: str, count: int) -> tuple[float, ...]:
    """The ``count`` numbers between ``<answer>`` and ``</answer>``, after the reasoning.

    They are separated by commas or white space, in square brackets or without. A comma without a space after it is
    a separator only between numbers that have decimal points, because ``1,234`` may be one number or two.

    Raises:
        ParseError: there is no answer or more than one, another number of numbers, or anything that is not a plain
            number: a unit, a percent sign, a thousands separator, a missing or an infinite value.
    """
    answer = after_thinking(text)
    opened, closed = answer.count("<answer>"), answer.count("</answer>")
    if not opened and not closed:
        raise ParseError(f"no answer: end with <answer> and </answer> around {count} numbers")
    if opened > 1 or closed > 1:
        raise ParseError(f"{opened} <answer> and {closed} </answer>: exactly one answer is allowed")
    before, _, rest = answer.partition("<answer>")
    body, end, _ = rest.partition("</answer>")
    if not end or "</answer>" in before:
        raise ParseError("the answer must be one closed <answer>...</answer>")
    values = tuple(_number(word) for word in _words(body))
    if len(values) != count:
        raise ParseError(f"{len(values)} numbers in the answer: exactly {count} are allowed")
    return values


def _words(body: str) -> list[str]:
    inner = body.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1].strip()
    words: list[str] = []
    for word in _SEPARATOR.split(inner) if inner else []:
        pieces = word.split(",")
        if len(pieces) > 1 and not all("." in piece for piece in pieces):
            raise ParseError(
                f"'{_quoted(word)}' is ambiguous: a comma may separate numbers or thousands. Write a space after it"
            )
        words += pieces
    return words


def _number(word: str) -> float:
    if not _NUMBER.fullmatch(word):
        if "%" in word:
            raise ParseError(f"'{_quoted(word)}' has a percent sign: write plain numbers")
        raise ParseError(f"'{_quoted(word)}' is not a plain number: write digits, without units or other separators")
    value = float(word)
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise ParseError(f"{_quoted(word)} is too large: numbers lie within {LARGEST:,.0f} of 0")
    return value


def _quoted(text: str) -> str:
    """At most 30 characters, in printable ASCII."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return plain if len(plain) <= LONGEST_QUOTE else plain[:LONGEST_QUOTE] + "..."


def whole_numbers(unit: str, decimals: int) -> list[str]:
    """Changes from -9.9 to 9.9 as they follow a space or a bracket, which a tokenizer made for this task keeps whole.

    With one token a number an answer is a fifth as long. Finer numbers would be too many.
    """
    if (unit, decimals) != ("volatility", 1):
        return []
    numbers = [f"{tenths / 10:.1f}" for tenths in range(-99, 100)]
    return [f"{before}{number}" for before in " [" for number in numbers]
