"""Hides in a text what would let a model recite history: symbols, company names and dates."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_WORD = re.compile(r"\w+")

# Company names -----------------------------------------------------------------------------------------

_LEGAL_FORM = re.compile(
    r"(?:\b(?:incorporated|inc|corporation|corp|company|co|limited|ltd|plc|llc|lp|sa|nv|ag|se|spa|group|holdings?|trust"
    r"|stores?)|\b(?:p\.l\.c|s\.a|n\.v|l\.p|s\.p\.a|a\.g)|sa/nv|&)\.?\s*$",
    re.IGNORECASE,
)
COMMON_WORDS = frozenset(Path(__file__).with_name("common_words.txt").read_text("utf-8").split())
"""Words in company names that do not identify a company on their own: everyday words, places, industries."""
_NOT_SECOND = COMMON_WORDS | {"of", "de", "and", "&"}
SHORT_WORDS = frozenset(Path(__file__).with_name("short_words.txt").read_text("utf-8").split())
"""Short English words that are also symbols."""
# First names at the start of a company name: the company is known by the surname, too.
_FIRST_NAMES = frozenset(
    {"charles", "eli", "estee", "henry", "jack", "mary", "philip", "ralph", "robert", "walt", "william"}
)
_AND = r"\s*(?:&(?:\s?amp\s?;)?|and)\s*"
_APOSTROPHE = r"\s?['’`´]?\s?"
_GAP = r"[\s.,\-–]{0,3}"


def name_variants(name: str) -> list[str]:
    """The ways to refer to a company: the full name, without article and legal form, and its distinctive first words.

    The first word alone is distinctive unless it is a common word. If it is, the first two words of a longer name are
    used ("Taiwan Semiconductor"). After a first name the surname is used as well ("Disney").
    """
    full = re.sub(r"\s+", " ", name).strip(" ,")
    short = re.sub(r"^the\s+", "", full, flags=re.IGNORECASE)
    found = [full, short]
    while (shorter := _LEGAL_FORM.sub("", short).rstrip(" ,&")) != short and shorter:
        short = shorter
        found.append(short)
    words = re.split(r"[\s,]+", short)
    first = words[0].removesuffix(".com")
    surname = words[1:2] if first.casefold() in _FIRST_NAMES else []
    candidates = [first, re.sub("['’`´]s$", "", first), *surname]
    found += [word for word in candidates if len(_folded(word)) >= 4 and _folded(word) not in COMMON_WORDS]
    if len(words) > 2 and _folded(words[0]) in COMMON_WORDS and _folded(words[1]) not in _NOT_SECOND:
        found.append(" ".join(words[:2]))
    return [variant for variant in dict.fromkeys(found) if len(_folded(variant)) > 1]


def variant_pattern(variant: str) -> str:
    """A regular expression for a name as articles and tweets write it.

    Spaces, dashes and dots inside it may be missing or different; so may an apostrophe ("Walmart", "mcdonald ’ s").
    "&" may be "and". The letters of an acronym may be separated ("J.P. Morgan" for "JPMorgan").
    """
    pattern = ""
    for i, (gap, word) in enumerate(_parts(variant)):
        joint = _AND if "&" in gap else _APOSTROPHE if re.search("['’`´]", gap) else _GAP
        pattern += ("" if not i else joint if re.fullmatch(joint, gap) else re.escape(gap)) + re.escape(word)
    return pattern


def first_words(variant: str) -> set[str]:
    """The lower-case words with which a match of :func:`variant_pattern` can begin."""
    found, joined = set(), ""
    for i, (gap, word) in enumerate(_parts(variant)):
        if i and "&" in gap:
            break
        joined += word.casefold()
        found.add(joined)
    return found


def normalized(variant: str) -> str:
    """The same text for every spelling of a name."""
    return re.sub(r"[\W_]+", "", re.sub(r"&(?:\s?amp\s?;)?|\band\b", "", variant.casefold()))


def _parts(variant: str) -> list[tuple[str, str]]:
    """The words of a name, each with what precedes it; an acronym at the start of a word is split into letters."""
    found: list[tuple[str, str]] = []
    for gap, word in re.findall(r"(\W*)(\w+)", variant):
        if (acronym := re.match(r"([A-Z]{2,3})(?=[A-Z][a-z]{2})", word)) is None:
            found.append((gap, word))
        else:
            letters = [(gap if i == 0 else "", letter) for i, letter in enumerate(acronym[1])]
            found += [*letters, ("", word[acronym.end() :])]
    return found


def _bare(text: str) -> str:
    return re.sub(r"\W", "", text)


def _folded(text: str) -> str:
    return _bare(text.casefold())


# Dates -------------------------------------------------------------------------------------------------

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)(?![A-Za-z])\.?"
)
_YEAR = r"(?:19|20)\d{2}"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:\s?(?:st|nd|rd|th))?(?!\w|[.,]\d|\s?(?:%|percent|pct))"
_DATE_GAP = r"[\s\-/.,]{0,3}"
_NUMERIC_DATE = (
    rf"(?<![\d/-]){_YEAR}\s?[-/.]\s?\d{{1,2}}\s?[-/.]\s?\d{{1,2}}(?:[T ]\d{{2}}:\d{{2}}(?::\d{{2}}(?:\.\d+)?)?"
    r"(?:Z|[+-]\d{2}:?\d{2})?)?(?![\d/-])"
    rf"|(?<![\d/.])\d{{1,2}}\s?/\s?\d{{1,2}}\s?/\s?(?:{_YEAR}|\d{{2}})(?![\d/])"
    rf"|(?<![\d.-])\d{{1,2}}\s?([.-])\s?\d{{1,2}}\s?\1\s?{_YEAR}(?![\d.-]\d)"
    rf"|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)"
    # A month and a day: not 1/2, 3/4 or 5/16, which are fractions.
    r"|(?<![\d/.$£€])(?:(?:0?[1-9]|1[0-2])/(?:1[3-57-9]|2\d|3[01])|0[1-9]/\d{2}|1[0-2]/0[1-9])(?![\d/.%])"
)
_WORDED_DATE = (
    rf"{_MONTH}{_DATE_GAP}{_DAY}(?:{_DATE_GAP}(?:'\s?\d{{2}}|{_YEAR})(?!\d))?"
    rf"|{_MONTH}{_DATE_GAP}'?\s?{_YEAR}(?!\d)"
    rf"|{_MONTH}\s?['’]\s?\d{{2}}(?!\w)"
    rf"|(?<![\d.,])(?:0?[1-9]|[12]\d|3[01])(?:\s?(?:st|nd|rd|th))?(?:\s+of\s+|{_DATE_GAP}){_MONTH}"
    rf"(?:{_DATE_GAP}(?:'\s?\d{{2}}|{_YEAR})(?!\d))?"
)
_QUARTER = (
    rf"(?:FY|CY|Q[1-4]|[1-4]Q|H[12]|[12]H)[\s\-/]?(?:['’]\s?\d{{2}}|{_YEAR}|\d{{2}})(?!\w|[.,]\d|\s?%)"
    rf"|{_YEAR}[\s\-/]?(?:Q[1-4]|H[12])(?!\w)"
)
_DATE = re.compile(f"{_QUARTER}|{_NUMERIC_DATE}|{_WORDED_DATE}", re.IGNORECASE)
_YEAR_ALONE = re.compile(rf"(?<![\d.,$£€])(?<![$£€]\s){_YEAR}(?!\d|[.,]\d)|(?<=['’])\d{{2}}(?!\w|[.,]\d|\s?%)")
_DATE_STARTS = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    "fy", "cy", "q1", "q2", "q3", "q4", "h1", "h2",
)  # fmt: skip


# Masking -----------------------------------------------------------------------------------------------

_PREFIX = re.compile(r"(?:\$\s?|(?i:\b(?:nasdaq|nyse|nse|lse|otc)\s?:\s?))$")
"""A dollar sign or an exchange before a symbol."""
_LONGEST_PREFIX = 10
_SHARE_CLASS = re.compile(r"(\w+)[-./][A-K]", re.ASCII)
_WITH_EXCHANGE = re.compile(r"(.*[A-Z].*)\.[A-Z]{1,3}", re.ASCII)
"""A symbol with its exchange, as Yahoo writes it: RELIANCE.NS, VOD.L."""
_BEFORE_LETTER = re.compile(r"(?:\w[-&'’.]|(?i:\b(?:class|series|plan|type|tier|phase|grade|part|group|vitamin))\s)$")
_AFTER_LETTER = re.compile(r"[-&.]\w|['’](?!s\b)\w")


@dataclass(frozen=True)
class _Entry:
    """One symbol or name: its pattern, the tickers it may refer to, and when it counts as a match."""

    pattern: str
    owners: tuple[str, ...]
    weight: int
    cased: str = ""
    """If not empty, the match must have exactly this spelling, unless a prefix precedes it."""
    symbol: bool = False
    own: bool = False
    """Whether it matches in any case in events of its owner."""

    @cached_property
    def regex(self) -> re.Pattern[str]:
        return re.compile(rf"(?:{self.pattern})(?!\w)", re.IGNORECASE)


class Masker:
    """Replaces symbols and company names by masked names, and dates by ``[date]`` and ``[year]``.

    - A symbol matches in its own spelling (``BRK.B``, ``BRK-B``, ``BRKB``). It matches in any case after a dollar sign
      or an exchange (``$aapl``, ``$ aapl``, ``nasdaq: aapl``), and also without one if it is not an English word and
      has at least four letters or is the event's own. Other share classes of a company match, too.
    - A symbol of one letter does not match inside "S&P" or after "class", nor does A before a word in lower case.
    - The variants of a company's name (see :func:`name_variants`) match in any case. A common word that is a whole name
      ("Target") matches only with its capital. A name of two letters ("BP") matches in its own spelling, and in any
      case in the company's own events.

    Args:
        masked: masked name by ticker, such as "Stock 7".
        names: company names by ticker; tickers may be missing.
    """

    def __init__(self, masked: Mapping[str, str], names: Mapping[str, Sequence[str]]) -> None:
        self._masked = dict(masked)
        self._entries: dict[str, list[_Entry]] = {}
        for ticker in masked:
            for entry, first in _symbol_entries(ticker):
                self._entries.setdefault(first, []).append(entry)
        # The tickers that each name may refer to; the first of several spellings of a name stands for all of them.
        spellings: dict[str, str] = {}
        owners_of: dict[str, tuple[str, ...]] = {}
        for ticker in filter(masked.__contains__, names):
            for variant in (variant for name in names[ticker] for variant in name_variants(name)):
                spelling = spellings.setdefault(normalized(variant), variant)
                owners_of[spelling] = tuple(dict.fromkeys((*owners_of.get(spelling, ()), ticker)))
        for variant, owners in owners_of.items():
            short = len(_bare(variant)) <= 2
            cased = _bare(variant) if short or variant.casefold() in COMMON_WORDS else ""
            entry = _Entry(variant_pattern(variant), owners, 2 * len(variant), cased, own=short)
            for first in first_words(variant):
                self._entries.setdefault(first, []).append(entry)
        # The longest first, so that BRK.B is not read as BRK.
        for entries in self._entries.values():
            entries.sort(key=lambda entry: -entry.weight)

    def __call__(self, text: str, ticker: str | None = None) -> str:
        """``text`` with everything hidden; a name that several companies share is taken as that of ``ticker``."""
        parts: list[str] = []
        end = 0
        for word in _WORD.finditer(text):
            if word.start() < end:
                continue
            hit, start = self._company(text, word, ticker, end), word.start()
            if hit is None and (word[0][0].isdigit() or word[0].casefold().startswith(_DATE_STARTS)):
                if found := _DATE.match(text, start):
                    hit = start, found.end(), "[date]"
                elif found := _YEAR_ALONE.match(text, start):
                    hit = start, found.end(), "[year]"
            if hit is not None:
                start, stop, replacement = hit
                parts += (text[end:start], replacement)
                end = stop
        return "".join((*parts, text[end:])) if parts else text

    def _company(self, text: str, word: re.Match[str], ticker: str | None, end: int) -> tuple[int, int, str] | None:
        """Start, end and masked name of a company that ``word`` begins; text before ``end`` is already replaced."""
        for entry in self._entries.get(word[0].casefold(), ()):
            start = word.start()
            if (found := entry.regex.match(text, start)) is None:
                continue
            prefix = _PREFIX.search(text[max(end, start - _LONGEST_PREFIX) : start]) if entry.symbol else None
            owned = ticker in entry.owners
            if prefix is None and entry.cased and not (entry.own and owned) and not _has_case(entry.cased, found):
                continue
            if prefix is not None:
                start -= len(prefix[0])
            elif entry.symbol and start > end and text[start - 1] == "^":
                start -= 1
            owner = ticker if ticker is not None and owned else entry.owners[0]
            return start, found.end(), self._masked[owner]
        return None


def _has_case(cased: str, found: re.Match[str]) -> bool:
    """Whether a match has exactly the spelling ``cased`` and, if that is one letter, is not part of something else."""
    text, start, stop = found.string, found.start(), found.end()
    if _bare(found[0]) != cased:
        return False
    if len(cased) > 1:
        return True
    article = cased == "A" and re.match(r"\s+[a-z]", text[stop : stop + 9])
    return not (article or _BEFORE_LETTER.search(text[max(0, start - 9) : start]) or _AFTER_LETTER.match(text, stop))


def _symbol_entries(ticker: str) -> Iterator[tuple[_Entry, str]]:
    """A ticker, its form without the exchange, and its other share classes, each with the word it begins with."""
    bare = _bare(ticker)
    if not bare:
        return
    entry = _symbol(ticker, ticker)
    first = _WORD.findall(ticker)[0].casefold()
    for head in {first, bare.casefold()}:
        yield entry, head
    if share := _SHARE_CLASS.fullmatch(ticker):
        root = re.escape(share[1])
        yield _Entry(rf"{root}\s?[-./]\s?[A-K]", (ticker,), 2 * len(share[1]) + 2, symbol=True), first
        yield _symbol(share[1], ticker), first
    elif listed := _WITH_EXCHANGE.fullmatch(ticker):
        yield _symbol(listed[1], ticker), first


def _symbol(symbol: str, ticker: str) -> _Entry:
    bare = _bare(symbol)
    any_case = len(bare) >= 4 and bare.casefold() not in COMMON_WORDS
    # A share class follows a dot, a dash, a slash, or nothing. A sign at either end (^) is not part of the symbol.
    inside = re.sub(r"^\W+|\W+$", "", symbol)
    parts = (r"\s?[-./]?\s?" if part in "-./" else re.escape(part) for part in re.split(r"([-./])", inside) if part)
    own = len(bare) > 1 and bare.casefold() not in COMMON_WORDS | SHORT_WORDS
    return _Entry("".join(parts), (ticker,), 2 * len(bare) + 1, "" if any_case else bare, symbol=True, own=own)
