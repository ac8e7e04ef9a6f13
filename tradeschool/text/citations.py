"""Looks up in a prompt what a text cites from it: quotations, sources, and passages copied without marks.

All comparisons are of words: lower case, without punctuation, with the signs and decimals of numbers.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tradeschool.text.sections import BUCKETS

SHORTEST_QUOTE = 3
"""Words of the shortest quotation that counts. ``RSI 28.4 (oversold)`` has as many."""
NOTHING_KNOWN = "nothing known"
_BLANK = '!"#$&()*,/:;<=>?@[\\]^`{|}~\n\t\r–—•“”„«»…'
_TABLE = str.maketrans({**dict.fromkeys(_BLANK, " "), "'": None, "’": None, "‘": None, "−": "-"})
_PUBLISHER = re.compile(r"\[([^\[\]]+)\]$")
_TITLES = frozenset(title for title, *_ in BUCKETS)
Gram = tuple[str, str, str]


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case; numbers keep their sign and decimals."""
    plain = text.lower().translate(_TABLE)
    if "." in plain:
        plain = f"{plain} ".replace("...", " ").replace(". ", " ")
    if " -" in plain or plain.startswith("-"):
        plain = f" {plain} ".replace(" - ", " ").replace(" -- ", " ")
    return plain.split()


def grams_of(words: Sequence[str]) -> set[Gram]:
    """All runs of three words."""
    return set(zip(words, words[1:], words[2:], strict=False))


def steps_of(words: Sequence[str]) -> set[Gram]:
    """Every third run of three words: enough to see what is copied from a prompt, whose runs are all known."""
    return set(zip(words[::3], words[1::3], words[2::3], strict=False))


class Found(NamedTuple):
    """Where a quotation stands: the numbers of its words, and the sources that they come from."""

    span: range
    sources: frozenset[str]


class PromptIndex:
    """The data of a prompt by its words.

    A quotation stands in one line of a section; headings, names of columns and the instructions are not data. A source
    is the name of a section in which something is known, or the publisher of a line, in brackets at its end.

    Args:
        data: the sections, each a heading ``## Name`` and lines.
        instructions: other text of the prompt, which counts as copied where it is repeated.
    """

    def __init__(self, data: str, instructions: str = "") -> None:
        self._words: list[str] = []
        self._sources: list[frozenset[str]] = []
        self._places: dict[Gram, list[int]] = {}
        self.grams = grams_of(words_of(instructions)) | grams_of(words_of(data))
        self.lines: list[tuple[str, str]] = []
        name = ""
        for line in data.split("\n"):
            if line.startswith("## "):
                name = line[3:].strip().lower()
            elif line and line != NOTHING_KNOWN and not line.startswith("day: ") and not _is_title(line):
                self._add(name, line)
        self.sources = frozenset(source for sources in self._sources for source in sources)

    def _add(self, name: str, line: str) -> None:
        publisher = _PUBLISHER.search(line)
        sources = frozenset((name, publisher[1].strip().lower()) if publisher else (name,))
        words, first = words_of(line), len(self._words)
        self.lines.append((name, line))
        self._words += [*words, ""]  # so that no quotation spans two lines
        self._sources += [sources] * (len(words) + 1)
        for i, gram in enumerate(zip(words, words[1:], words[2:], strict=False)):
            self._places.setdefault(gram, []).append(first + i)

    def find(self, quote: str) -> list[Found]:
        """The places where a quotation stands word by word; none for fewer than :data:`SHORTEST_QUOTE` words."""
        words = words_of(quote)
        if len(words) < SHORTEST_QUOTE:
            return []
        count = len(words)
        places = self._places.get((words[0], words[1], words[2]), ())
        return [
            Found(range(at, at + count), self._sources[at])
            for at in places
            if count == SHORTEST_QUOTE or self._words[at : at + count] == words
        ]

    def copied(self, grams: set[Gram]) -> float:
        """The share of runs of three words that stand in the prompt; 0 without any."""
        return len(grams & self.grams) / len(grams) if grams else 0.0


def _is_title(line: str) -> bool:
    """Whether a line is the heading of news of one age, ``0-3 days old (10 of 14):``."""
    return line.endswith(":") and line.partition(" (")[0].rstrip(":") in _TITLES
