"""The evidence reward of a thesis (Trading-R1, arXiv 2509.11420, appendix S4), verified against the prompt."""

from collections.abc import Iterable
from typing import NamedTuple

from tradeschool.tasks.thesis_structure import COPIED, Form
from tradeschool.text.citations import Found, Gram, PromptIndex, grams_of, words_of
from tradeschool.text.thesis import Bullet, Section, Thesis

FLOOR = 0.01
"""The least that a point and a section count in the harmonic means: the score of an empty answer."""
REPEATED = 0.7
"""An opinion with at least this share of its runs of three words in earlier ones repeats them."""
VARIED = 0.5
"""An opinion has at least this share of different words."""
LEAST_SHARE = 0.3
"""A point with fewer words than this share of the least of an opinion states none."""


class Evidence(NamedTuple):
    """What the evidence of a thesis is worth.

    Attributes:
        score: the reward.
        quotes: quotations in points.
        verified: those that stand in the prompt and were not given before.
    """

    score: float
    quotes: int = 0
    verified: int = 0


NO_EVIDENCE = Evidence(FLOOR)


def evidence(thesis: Thesis | None, form: Form, index: PromptIndex) -> Evidence:
    """The harmonic mean over the sections, and the number of quotations with those that could be verified.

    A point is refused, and earns nothing, if one of its quotations does not stand in the data of the prompt or was
    given before, if one of its sources is not in the prompt or not that of its quotation, if its marks are nested, or
    if its opinion is empty, repeats itself or an earlier one, or copies the prompt. Where more points are refused than
    not, all of it is worth no more than an empty answer.
    """
    if thesis is None or not thesis.sections:
        return NO_EVIDENCE
    reader = _Reader(form, index)
    sections = [reader.section(one) for one in thesis.sections]
    if 2 * reader.refused > reader.points:
        return Evidence(FLOOR, reader.quotes, reader.verified)
    return Evidence(harmonic_mean(sections), reader.quotes, reader.verified)


def harmonic_mean(values: Iterable[float]) -> float:
    """Of values of at least :data:`FLOOR`; smaller ones count as that. 0 without values."""
    inverse = [1 / max(value, FLOOR) for value in values]
    return len(inverse) / sum(inverse) if inverse else 0.0


def opinion_score(words: int, cited: bool, wanted: tuple[int, int]) -> float:
    """1 within the range of words, less below and above it; at most .3 without both a quotation and a source."""
    least, most = wanted
    if not cited:
        return min(0.3, 0.3 * words / least)
    if words < least:
        return words / least
    return 1.0 if words <= most else max(0.5, 1 - 0.02 * (words - most))


def bullet_score(words: int, quoted: bool, sourced: bool, wanted: tuple[int, int]) -> float:
    """.4 x opinion + .35 for a quotation + .25 for a source."""
    return 0.4 * opinion_score(words, quoted and sourced, wanted) + 0.35 * quoted + 0.25 * sourced


def bullets_score(count: int, wanted: tuple[int, int]) -> float:
    """1 within the range; in proportion below it, .1 less for each point above it and at least .3."""
    least, most = wanted
    if count < least:
        return count / least
    return 1.0 if count <= most else max(0.3, 1 - 0.1 * (count - most))


class _Reader:
    """Reads the points of a thesis in order and remembers what has been said and quoted."""

    def __init__(self, form: Form, index: PromptIndex) -> None:
        self._form, self._index = form, index
        self._said: set[Gram] = set()
        self._used: set[int] = set()
        self.points = self.refused = self.quotes = self.verified = 0

    def section(self, section: Section) -> float:
        scores = [self._bullet(bullet) for bullet in section.bullets]
        counted = sum(score is not None for score in scores)
        # Points beyond those that count do not lower the number's part twice.
        number = bullets_score(counted, self._form.bullets)
        return 0.3 * number + 0.7 * harmonic_mean(score or 0.0 for score in scores)

    def _bullet(self, bullet: Bullet) -> float | None:
        """The score of a point; None where it is refused."""
        self.points += 1
        words = words_of(bullet.opinion)
        # Both are read in any case, so that later points are compared with what refused ones have said and quoted.
        cited, stated = self._citations(bullet), self._opinion(words)
        if not (cited and stated):
            self.refused += 1
            return None
        return bullet_score(len(words), bool(bullet.quotes), bool(bullet.sources), self._form.opinion)

    def _opinion(self, words: list[str]) -> bool:
        """Whether an opinion is one, and new."""
        grams = grams_of(words)
        fresh = len(grams & self._said) < REPEATED * len(grams) if grams else False
        self._said |= grams
        if len(words) < LEAST_SHARE * self._form.opinion[0] or len(set(words)) < VARIED * len(words):
            return False
        return fresh and self._index.copied(grams) < COPIED

    def _citations(self, bullet: Bullet) -> bool:
        """Whether no citation is false."""
        self.quotes += len(bullet.quotes)
        if bullet.broken:
            return False
        named = {source.strip().lower() for source in bullet.sources}
        stands_in: set[str] = set()
        for quote in bullet.quotes:
            place = self._new_place(quote, named)
            if place is None:
                return False
            self._used.update(place.span)
            self.verified += 1
            stands_in |= place.sources
        return named <= (stands_in or self._index.sources)

    def _new_place(self, quote: str, named: set[str]) -> Found | None:
        """A place of a quotation that no earlier one has touched; where there are several, one in a named source."""
        free = [found for found in self._index.find(quote) if self._used.isdisjoint(found.span)]
        return next((found for found in free if not named.isdisjoint(found.sources)), free[0] if free else None)
