"""Errors that the user can fix, all with one base class, and the did-you-mean of their texts."""

import difflib
from collections.abc import Iterable


class TradeschoolError(Exception):
    """A problem that the user can fix. Its text names the value, the rule and the cure."""


class DataError(TradeschoolError):
    """Market data that breaks a rule. The text names file and row."""


class RecipeError(TradeschoolError):
    """A recipe or ``--set`` option that cannot be run as written."""


class RunError(TradeschoolError):
    """A run folder that cannot be read, resumed or compared."""


class ParseError(TradeschoolError):
    """A model's answer that cannot be read as an action. It is recorded in the trace, and nothing stops."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` with the nearest option, or an empty string if none is near."""
    by_folded = {option.casefold(): option for option in options}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean '{by_folded[near[0]]}'?" if near else ""
