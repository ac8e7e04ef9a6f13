"""The structure reward of a thesis (Trading-R1, arXiv 2509.11420, appendix S4), and the thresholds of its forms."""

from collections.abc import Sequence
from typing import NamedTuple

from tradeschool.text.citations import PromptIndex, steps_of, words_of
from tradeschool.text.thesis import Section, Thesis

NO_STRUCTURE = 0.0
"""Of an unreadable thesis, and of one without a section that counts: the score of an empty answer."""
COPIED = 0.6
"""A text with at least this share of its runs of three words in the prompt is copied from it."""
REPEATED = 0.8
"""A section with at least this share of its different words in one earlier section repeats it."""
VARIED, VARIED_WORDS = 0.3, 30
"""A section has at least this share of different words, or this many."""
LEAST_SHARE = 0.2
"""A section with fewer words than this share of ``Form.words`` is not one."""


class Form(NamedTuple):
    """What a complete thesis is.

    Attributes:
        sections: least and most analysis sections.
        bullets: least and most points of a section.
        opinion: least and most words of an opinion.
        words: least words of a section.
        tables: whether a section has a table; where it need not, points weigh as much more.
    """

    sections: tuple[int, int]
    bullets: tuple[int, int]
    opinion: tuple[int, int]
    words: int
    tables: bool = True


FORMS: dict[str, Form] = {
    "full": Form((5, 7), (4, 7), (15, 90), 50),
    "short": Form((3, 4), (2, 4), (6, 40), 20, tables=False),
    "simple": Form((1, 1), (4, 7), (15, 90), 50, tables=False),
}
"""``full`` is Trading-R1's. ``short`` has the same formulas for theses of 100 to 250 words. ``simple`` is the form
``<reasoning>``, ``<support>``, ``<action>``, in which ``support`` is the only section."""


def structure(thesis: Thesis | None, form: Form, index: PromptIndex) -> float:
    """.6 x the number of sections + .4 x the mean of the sections; 0 where nothing counts.

    A section does not count where it has almost no words, says the same again and again, repeats an earlier section
    or copies the prompt. It scores 0 in the mean. Where more of them do not count than do, all of it is 0.
    """
    if thesis is None:
        return NO_STRUCTURE
    earlier: list[set[str]] = []
    scores: list[float] = []
    counted = 0
    for section in thesis.sections:
        words = words_of(section.text)
        different = set(words)
        if _counts(words, different, earlier, form, index):
            counted += 1
            scores.append(section_structure(section, len(words), form))
        else:
            scores.append(0.0)
        earlier.append(different)
    if not counted or 2 * counted < len(scores):
        return NO_STRUCTURE
    return 0.6 * count_score(counted, form.sections) + 0.4 * sum(scores) / len(scores)


def count_score(count: int, wanted: tuple[int, int]) -> float:
    """1 within the range; .7 x count / least below it and 1 - .15 for each above it, both at least .3."""
    least, most = wanted
    if count < least:
        return max(0.3, 0.7 * count / least)
    return 1.0 if count <= most else max(0.3, 1 - 0.15 * (count - most))


def section_structure(section: Section, words: int, form: Form) -> float:
    """.3 for a heading, .4 for points, .2 for bold type, .1 for a table; .2 for a section with too few words."""
    if words < form.words:
        return 0.2
    points = 0.4 if form.tables else 0.5
    parts = (bool(section.headers), bool(section.bullets), section.bold, form.tables and section.tables > 0)
    return sum(weight for weight, there in zip((0.3, points, 0.2, 0.1), parts, strict=True) if there)


def _counts(
    words: Sequence[str], different: set[str], earlier: Sequence[set[str]], form: Form, index: PromptIndex
) -> bool:
    if len(words) < max(3, LEAST_SHARE * form.words) or len(different) < min(VARIED * len(words), VARIED_WORDS):
        return False
    most = REPEATED * len(different)
    return all(len(different & other) < most for other in earlier) and index.copied(steps_of(words)) < COPIED
