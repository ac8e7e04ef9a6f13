"""The reward components of the forecast task, one function each. A forecast is None where it is unreadable.

Shapes: H horizons. Changes are from the last known close, in daily volatilities.
"""

import math
import re
from collections.abc import Sequence

COMPONENTS = ("agreement", "size", "format", "accuracy", "think", "count", "tags")
LARGEST_OUTCOME, LARGEST_FORECAST = 4.0, 2.0
"""Bounds of a change over h days in volatilities of h days, so that a single jump or number does not dominate."""
THINK, TAG = 0.5, 0.125
TAGS = ("<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>")
_THINK = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)
_LIST = re.compile(r"\[(.*?)\]", re.DOTALL)


def agreement(change_H: Sequence[float] | None, outcome_H: Sequence[float], horizons: Sequence[int]) -> float | None:
    """The mean over horizons of 2 x forecast change x true change / h; 0 for an unreadable answer.

    With :func:`size` it is how much smaller than persistence's the squared error is, in variances over h days. None
    where the outcome is not known.
    """
    if not all(map(math.isfinite, outcome_H)):
        return None
    if change_H is None:
        return 0.0
    return sum(
        2 * _bounded(change, h, LARGEST_FORECAST) * _bounded(outcome, h, LARGEST_OUTCOME) / h
        for change, outcome, h in zip(change_H, outcome_H, horizons, strict=True)
    ) / len(horizons)


def size(change_H: Sequence[float] | None, horizons: Sequence[int]) -> float:
    """The negative mean over horizons of forecast change^2 / h: what a forecast that knows nothing loses.

    An unreadable answer is charged as much as the largest forecast.
    """
    if change_H is None:
        return -(LARGEST_FORECAST**2)
    return -sum(
        _bounded(change, h, LARGEST_FORECAST) ** 2 / h for change, h in zip(change_H, horizons, strict=True)
    ) / len(horizons)


def _bounded(change: float, days: int, largest: float) -> float:
    bound = largest * math.sqrt(days)
    return max(-bound, min(bound, change))


# the reward of VTA's public code (arXiv 2511.08616) ------------------------------------------------


def accuracy(squared_error: float | None) -> float | None:
    """5 / (1 + 10 MSE) of scaled closes; 0 for an unreadable answer, for which the error is None; None if NaN."""
    if squared_error is None:
        return 0.0
    return None if math.isnan(squared_error) else 5 / (1 + 10 * squared_error)


def think(completion: str) -> float:
    """0.5 for ``<think>...</think><answer>...</answer>`` in this order."""
    return THINK if _THINK.search(completion) else 0.0


def count(completion: str, wanted: int) -> float:
    """1 for a list of exactly ``wanted`` numbers in the answer; 1 - |n - wanted| / wanted, at least 0, for n of them.

    0 without both answer tags, without square brackets, or with anything in the list that Python's ``float`` refuses.
    """
    if "<answer>" not in completion or "</answer>" not in completion:
        return 0.0
    found = _LIST.search(completion.split("<answer>")[-1].split("</answer>")[0])
    if not found:
        return 0.0
    try:
        numbers = [float(word) for word in found[1].split(",")]
    except ValueError:
        return 0.0
    return max(0.0, 1 - abs(len(numbers) - wanted) / wanted)


def tags(completion: str) -> float:
    """0.125 for each of the four tags that occurs exactly once, on a line of its own."""
    return TAG * sum(completion.count(tag) == 1 for tag in TAGS)
