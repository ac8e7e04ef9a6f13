"""Text to actions: what counts as an answer, and what is refused as ambiguous."""

import re
from collections.abc import Sequence

from tradeschool.errors import ParseError, did_you_mean

RATINGS = {"STRONG_SELL": -2, "SELL": -1, "HOLD": 0, "BUY": 1, "STRONG_BUY": 2}
RATING_NAMES = {value: name for name, value in RATINGS.items()}
LAST_LINES = 3
_DECISION = re.compile(r"\[\[\[(.*?)\]\]\]", re.DOTALL)


def after_thinking(text: str) -> str:
    """What follows the ``<think>`` block; all of the text when there is none.

    Raises:
        ParseError: the block is not closed, closed twice or opened after it was closed.
    """
    if "think>" not in text:  # most answers of those that do not think
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
    """The one decision ``[[[CHOICE]]]``: alone on one of the last three lines after the reasoning.

    Raises:
        ParseError: there is none, more than one, an unknown one, it stands too early or not alone on
            its line, or another choice is named beside it.
    """
    answer = after_thinking(text).strip()
    found = _DECISION.findall(answer)
    if not found:
        raise ParseError(f"no decision: end with one of {', '.join(f'[[[{choice}]]]' for choice in choices)}")
    if len(found) > 1:
        raise ParseError(f"{len(found)} decisions ({', '.join(found[:3])}): exactly one is allowed")
    if answer.count("[[[") > 1:
        raise ParseError("a second [[[ is opened: exactly one decision is allowed")
    choice = found[0].strip()
    if choice not in choices:
        raise ParseError(
            f"'{choice[:40]}' is no decision.{did_you_mean(choice, choices)} Choose from {', '.join(choices)}"
        )
    if not any(_DECISION.fullmatch(line.strip()) for line in answer.splitlines()[-LAST_LINES:]):
        raise ParseError(f"the decision does not stand alone on one of the last {LAST_LINES} lines")
    named = set(re.findall(r"[A-Z_]+", _DECISION.sub("", answer))) & set(choices) - {choice}
    if named:
        raise ParseError(f"{', '.join(sorted(named))} is named beside {choice}: which one is meant?")
    return choice


def compose_decision(choice: str, reasoning: str) -> str:
    """The answer that states ``choice``: the inverse of :func:`parse_decision`."""
    return f"<think>{reasoning}</think>\n[[[{choice}]]]"


def has_reasoning(text: str) -> bool:
    """True when the answer starts with a closed ``<think>`` block that says something."""
    found = re.match(r"\s*<think>(.*?)</think>", text, re.DOTALL)
    return bool(found and found[1].strip())
