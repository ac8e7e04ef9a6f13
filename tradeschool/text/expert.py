"""Plain indicator rules on the words of facts: what SFT imitates in the rating task and in episodes."""

from collections.abc import Sequence

from tradeschool.text.describe import Fact

EXPERT_POINTS: dict[str, dict[str, int]] = {
    "strength": {"very strong": 2, "strong": 1, "weak": -1, "very weak": -2},
    "momentum": {"rising fast": 2, "rising": 1, "falling": -1, "falling fast": -2},
    "rsi": {"oversold": 1, "overbought": -1},
    "trend": {"up": 1, "down": -1},
    "macd": {"above signal": 1, "below signal": -1},
    "stochastic": {"oversold": 1, "overbought": -1},
    "bollinger": {"below the bands": 1, "above the bands": -1},
    "news": {"good": 1, "bad": -1},
}  # fmt: skip
"""Points per fact word, summed; the rating task clips them to the five ratings."""


def expert_points(stated: Sequence[Fact]) -> int:
    """The sum of the points of the facts' words; above 0 speaks for buying."""
    return sum(EXPERT_POINTS.get(fact.name, {}).get(fact.word, 0) for fact in stated)
