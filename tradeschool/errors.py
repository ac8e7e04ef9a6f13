"""One base error for everything a person can mend, and the did-you-mean that goes into its text."""

import difflib
from collections.abc import Iterable


class TradeschoolError(Exception):
    """A problem that a person can mend. Its text names the value, the rule and the cure."""


class DataError(TradeschoolError):
    """Market data that breaks a rule; the text names file and row."""


class RecipeError(TradeschoolError):
    """A recipe, or a ``--set`` option, that cannot be run as it is written."""


class RunError(TradeschoolError):
    """A run folder that cannot be read, resumed or compared."""


class ParseError(TradeschoolError):
    """A model's answer that cannot be read as an action. Data for the trace, not a crash."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the nearest option, or an empty string when nothing is near."""
    by_folded = {option.casefold(): option for option in options}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean '{by_folded[near[0]]}'?" if near else ""
