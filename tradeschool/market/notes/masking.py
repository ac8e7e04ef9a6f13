"""Hides in a text what would let a model recite history: symbols, company names, dates."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tradeschool.market.notes.aliases import COMMON, LITTLE_WORDS, aliases, heads, key, spelling
from tradeschool.market.notes.dated_words import dated

_WORD = re.compile(r"\w+")
_TAG = re.compile(r"(?:\$\s?|(?i:\b(?:nasdaq|nyse|nse|lse|otc)\s?:\s?))$")
_LONGEST_TAG = 10
_CLASS = re.compile(r"(\w+)[-./][A-K]", re.ASCII)
_LISTED = re.compile(r"(.*[A-Z].*)\.[A-Z]{1,3}", re.ASCII)
"""A symbol with the exchange it is listed at, as Yahoo writes it: RELIANCE.NS, VOD.L."""
_LETTER_OF = re.compile(r"(?:\w[-&'’.]|(?i:\b(?:class|series|plan|type|tier|phase|grade|part|group|vitamin))\s)$")
_LETTER_FOR = re.compile(r"[-&.]\w|['’](?!s\b)\w")


@dataclass(frozen=True)
class _Entry:
    """One symbol or alias: how it is spelt, whose it is, and when it counts."""

    pattern: str
    owners: tuple[str, ...]
    weight: int
    cased: str = ""
    """What it must read, case and all, to count where no dollar sign or exchange stands before it; if anything."""
    symbol: bool = False
    own: bool = False
    """Whether it counts in any case in the notes of its owner."""

    @cached_property
    def regex(self) -> re.Pattern[str]:
        return re.compile(rf"(?:{self.pattern})(?!\w)", re.IGNORECASE)


class Masker:
    """Replaces symbols and names of companies by their masked names, and dates by ``[date]`` and ``[year]``.

    A symbol counts in its own spelling (``BRK.B``, ``BRK-B``, ``BRKB``), and in any case where it is no English word
    and has four letters or more or is the note's own, or where it stands behind a dollar sign or an exchange, as tweets
    write it (``$aapl``, ``$ aapl``, ``nasdaq: aapl``). Of a share class the other classes count too. A symbol of one
    letter does not count inside "S&P" or after "class", nor A before a word in lower case.

    Of a company's name ("Exxon Mobil Corporation") what :func:`aliases` gives counts, in any case; a common word that
    is a whole name ("Target") with its capital only, and one of two letters ("BP") in its own spelling, but in any case
    in the company's own notes.

    Args:
        masked: ticker to masked name, such as "Stock 7".
        names: ticker to the company's names; may miss tickers.
    """

    def __init__(self, masked: Mapping[str, str], names: Mapping[str, Sequence[str]]) -> None:
        self._masked = dict(masked)
        self._entries: dict[str, list[_Entry]] = {}
        for ticker in masked:
            for entry, first in _symbol_entries(ticker):
                self._entries.setdefault(first, []).append(entry)
        for alias, owners in _owners(masked, names).items():
            short = len(_bare(alias)) <= 2
            cased = _bare(alias) if short or alias.casefold() in COMMON else ""
            entry = _Entry(spelling(alias), owners, 2 * len(alias), cased, own=short)
            for first in heads(alias):
                self._entries.setdefault(first, []).append(entry)
        # The longest first, so that BRK.B is not read as BRK.
        for entries in self._entries.values():
            entries.sort(key=lambda entry: -entry.weight)

    def __call__(self, text: str, ticker: str | None = None) -> str:
        """``text`` with everything hidden; a name that several tickers share is the note's own ``ticker``'s."""
        parts: list[str] = []
        end = 0
        for word in _WORD.finditer(text):
            if word.start() < end:
                continue
            hit = self._company(text, word, ticker, end) or _date(text, word)
            if hit is not None:
                start, stop, said = hit
                parts += (text[end:start], said)
                end = stop
        return "".join((*parts, text[end:])) if parts else text

    def _company(self, text: str, word: re.Match[str], ticker: str | None, end: int) -> tuple[int, int, str] | None:
        for entry in self._entries.get(word[0].casefold(), ()):
            start = word.start()
            if (found := entry.regex.match(text, start)) is None:
                continue
            tag = _TAG.search(text[max(end, start - _LONGEST_TAG) : start]) if entry.symbol else None
            owned = ticker in entry.owners
            if tag is None and entry.cased and not (entry.own and owned) and not _counts(entry.cased, found):
                continue
            if tag is not None:
                start -= len(tag[0])
            elif entry.symbol and start > end and text[start - 1] == "^":
                start -= 1
            owner = ticker if ticker is not None and owned else entry.owners[0]
            return start, found.end(), self._masked[owner]
        return None


def _counts(cased: str, found: re.Match[str]) -> bool:
    """Whether a symbol or a common word stands as it is written, and a single letter is not part of something else."""
    text, start, stop = found.string, found.start(), found.end()
    if _bare(found[0]) != cased:
        return False
    if len(cased) > 1:
        return True
    article = cased == "A" and re.match(r"\s+[a-z]", text[stop : stop + 9])
    return not (article or _LETTER_OF.search(text[max(0, start - 9) : start]) or _LETTER_FOR.match(text, stop))


def _date(text: str, word: re.Match[str]) -> tuple[int, int, str] | None:
    found = dated(text, word.start(), word[0])
    return None if found is None else (word.start(), *found)


def _symbol_entries(ticker: str) -> Iterator[tuple[_Entry, str]]:
    """A ticker, its root where it names an exchange, and the other share classes, each with the word it begins with."""
    bare = _bare(ticker)
    if not bare:
        return
    entry = _symbol(ticker, ticker)
    first = _WORD.findall(ticker)[0].casefold()
    for head in {first, bare.casefold()}:
        yield entry, head
    if share := _CLASS.fullmatch(ticker):
        root = re.escape(share[1])
        yield _Entry(rf"{root}\s?[-./]\s?[A-K]", (ticker,), 2 * len(share[1]) + 2, symbol=True), first
        yield _symbol(share[1], ticker), first
    elif listed := _LISTED.fullmatch(ticker):
        yield _symbol(listed[1], ticker), first


def _symbol(symbol: str, ticker: str) -> _Entry:
    bare = _bare(symbol)
    any_case = len(bare) >= 4 and bare.casefold() not in COMMON
    # A share class is written with a dot, a dash or a slash, or joined. What stands before a symbol (^) is not its own.
    inside = re.sub(r"^\W+|\W+$", "", symbol)
    parts = (r"\s?[-./]?\s?" if part in "-./" else re.escape(part) for part in re.split(r"([-./])", inside) if part)
    own = len(bare) > 1 and bare.casefold() not in COMMON | LITTLE_WORDS
    return _Entry("".join(parts), (ticker,), 2 * len(bare) + 1, "" if any_case else bare, symbol=True, own=own)


def _owners(masked: Mapping[str, str], names: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The tickers that every alias may mean; of two spellings of one alias the first stands for both."""
    alias_of: dict[str, str] = {}
    found: dict[str, tuple[str, ...]] = {}
    for ticker in (ticker for ticker in names if ticker in masked):
        for alias in (alias for name in names[ticker] for alias in aliases(name)):
            spelt = alias_of.setdefault(key(alias), alias)
            found[spelt] = tuple(dict.fromkeys((*found.get(spelt, ()), ticker)))
    return found


def _bare(symbol: str) -> str:
    return re.sub(r"\W", "", symbol)
