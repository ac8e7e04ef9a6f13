"""Dates and years in a text, in the spellings of news and tweets."""

import re

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)(?![A-Za-z])\.?"
)
_YEAR = r"(?:19|20)\d{2}"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:\s?(?:st|nd|rd|th))?(?!\w|[.,]\d|\s?(?:%|percent|pct))"
_GAP = r"[\s\-/.,]{0,3}"
_IN_NUMBERS = (
    rf"(?<![\d/-]){_YEAR}\s?[-/.]\s?\d{{1,2}}\s?[-/.]\s?\d{{1,2}}(?:[T ]\d{{2}}:\d{{2}}(?::\d{{2}}(?:\.\d+)?)?"
    r"(?:Z|[+-]\d{2}:?\d{2})?)?(?![\d/-])"
    rf"|(?<![\d/.])\d{{1,2}}\s?/\s?\d{{1,2}}\s?/\s?(?:{_YEAR}|\d{{2}})(?![\d/])"
    rf"|(?<![\d.-])\d{{1,2}}\s?([.-])\s?\d{{1,2}}\s?\1\s?{_YEAR}(?![\d.-]\d)"
    rf"|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)"
    # A month and a day alone: not 1/2, 3/4 or 5/16, which are fractions.
    r"|(?<![\d/.$£€])(?:(?:0?[1-9]|1[0-2])/(?:1[3-57-9]|2\d|3[01])|0[1-9]/\d{2}|1[0-2]/0[1-9])(?![\d/.%])"
)
_IN_WORDS = (
    rf"{_MONTH}{_GAP}{_DAY}(?:{_GAP}(?:'\s?\d{{2}}|{_YEAR})(?!\d))?"
    rf"|{_MONTH}{_GAP}'?\s?{_YEAR}(?!\d)"
    rf"|{_MONTH}\s?['’]\s?\d{{2}}(?!\w)"
    rf"|(?<![\d.,])(?:0?[1-9]|[12]\d|3[01])(?:\s?(?:st|nd|rd|th))?(?:\s+of\s+|{_GAP}){_MONTH}"
    rf"(?:{_GAP}(?:'\s?\d{{2}}|{_YEAR})(?!\d))?"
)
_OF_A_QUARTER = (
    rf"(?:FY|CY|Q[1-4]|[1-4]Q|H[12]|[12]H)[\s\-/]?(?:['’]\s?\d{{2}}|{_YEAR}|\d{{2}})(?!\w|[.,]\d|\s?%)"
    rf"|{_YEAR}[\s\-/]?(?:Q[1-4]|H[12])(?!\w)"
)
_DATE = re.compile(f"{_OF_A_QUARTER}|{_IN_NUMBERS}|{_IN_WORDS}", re.IGNORECASE)
_YEAR_ALONE = re.compile(rf"(?<![\d.,$£€])(?<![$£€]\s){_YEAR}(?!\d|[.,]\d)|(?<=['’])\d{{2}}(?!\w|[.,]\d|\s?%)")
_HEADS = frozenset({"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"})
_QUARTERS = frozenset({"fy", "cy", "q1", "q2", "q3", "q4", "h1", "h2"})


def dated(text: str, start: int, word: str) -> tuple[int, str] | None:
    """Where a date or a year that begins with the ``word`` at ``start`` ends, and ``[date]`` or ``[year]`` for it."""
    if not (word[0].isdigit() or word[:3].casefold() in _HEADS or word[:2].casefold() in _QUARTERS):
        return None
    if found := _DATE.match(text, start):
        return found.end(), "[date]"
    if found := _YEAR_ALONE.match(text, start):
        return found.end(), "[year]"
    return None
