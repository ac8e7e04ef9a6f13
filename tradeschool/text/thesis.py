"""Investment theses: reasoning, analysis sections in XML tags, a conclusion, and one decision behind it.

Two forms can be read. The long one is Trading-R1's (arXiv 2509.11420)::

    <think>...</think>
    <fundamentals>
    ## Fundamentals
    - **Margins**: an opinion in some words *a quotation of the prompt* `its source`
    </fundamentals>
    ...
    <conclusion>...</conclusion>
    [[[BUY]]]

and the short one ``<reasoning>...</reasoning><support>...</support><action>BUY</action>``. The decision is read from
one place only: a rating in the reasoning, in a quotation or in the conclusion is text. What could be read in two ways
(a second decision, nested tags, characters that look like those of a tag) cannot be read at all.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from tradeschool.errors import ParseError, did_you_mean
from tradeschool.text.parse import RATINGS, parse_decision

THINK, CONCLUSION = "think", "conclusion"
SIMPLE = ("reasoning", "support", "action")
"""The tags of the simple form, in this order."""
RESERVED = (THINK, CONCLUSION, *SIMPLE)
"""Names that no analysis section has."""
MOST_ELEMENTS = 64
_TAG = re.compile(r"<(?:(/?)([a-z][a-z0-9_-]{0,39})>|(?=[^\W\d]|[/!?]))")
"""A tag, or what looks like the beginning of one: ``x < 5`` and ``<5%`` do not."""
_LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("‹⟨〈❮❬˂ᐸ", "<"),
        **dict.fromkeys("›⟩〉❯❭˃ᐳ", ">"),
        **dict.fromkeys("【⟦〔❲", "["),
        **dict.fromkeys("】⟧〕❳", "]"),
    }
)
_HEADER = re.compile(r"#{1,6}\s+(\S.*)")
_BULLET = re.compile(r"(?:[-*•+]|\d{1,2}[.)])[ \t]+(?=\S)")
_BOLD = re.compile(r"\*\*(?=\w)[^*\n]+\*\*")
_MARK = re.compile(r"\*([^*`]+)\*|`([^`*]+)`")
_RULE = re.compile(r"\|(?:\s*:?-{2,}:?\s*\|){2,}")
_WORDY = re.compile(r"[^\W_]")


class Bullet(NamedTuple):
    """One point of a section.

    Attributes:
        opinion: the text before the first citation mark, without marks of bold type.
        quotes: between single asterisks.
        sources: between backticks.
        broken: whether marks are nested or not closed.
    """

    opinion: str
    quotes: tuple[str, ...]
    sources: tuple[str, ...]
    broken: bool = False


class Section(NamedTuple):
    """One analysis section.

    Attributes:
        name: of its tag.
        text: all of it.
        headers: its Markdown headings.
        bullets: its points; those that are indented below another belong to it.
        bold: whether something in it is in bold type.
        tables: number of tables, each with a heading, a rule and at least one row.
    """

    name: str
    text: str
    headers: tuple[str, ...]
    bullets: tuple[Bullet, ...]
    bold: bool
    tables: int


class Thesis(NamedTuple):
    """A thesis that can be read.

    Attributes:
        think: the reasoning before the analysis; empty where there is none.
        sections: the analysis sections, in order.
        conclusion: the text of the conclusion; empty in the simple form.
        decision: one of ``RATINGS``.
        simple: whether it has the tags ``reasoning``, ``support`` and ``action``.
    """

    think: str
    sections: tuple[Section, ...]
    conclusion: str
    decision: str
    simple: bool = False


def parse_thesis(text: str) -> Thesis:
    """Read a thesis.

    Raises:
        ParseError: it has no decision or more than one, no conclusion, nested or unclosed tags, text outside the tags,
            or characters that look like those of a tag.
    """
    _refuse_lookalikes(text)
    elements, tail = _elements(text)
    names = [name for name, _ in elements]
    if names and names[0] == SIMPLE[0]:
        return _simple(elements, tail)
    if any(name in SIMPLE for name in names):
        raise ParseError(f"<{next(name for name in names if name in SIMPLE)}> in a thesis that has sections")
    think = elements.pop(0)[1] if names[:1] == [THINK] else ""
    if not elements or elements[-1][0] != CONCLUSION:
        raise ParseError("no <conclusion> before the decision: it is the last section")
    conclusion = elements.pop()[1]
    for name, _ in elements:
        if name in (THINK, CONCLUSION):
            raise ParseError(f"<{name}> is at the wrong place, or there twice")
    if any("[[[" in body for body in (think, conclusion, *(body for _, body in elements))):
        raise ParseError("a decision [[[...]]] before the end: exactly one is allowed, after the conclusion")
    decision = parse_decision(tail)
    return Thesis(think.strip(), tuple(read_section(*element) for element in elements), conclusion.strip(), decision)


def format_thesis(body: str, decision: str, simple: bool = False) -> str:
    """The thesis with this body and decision. ``body`` is all of it but the decision, or plain reasoning.

    Of plain reasoning it makes the shortest thesis: the reasoning, and a conclusion that refers to it.
    """
    if simple:
        if "<support>" not in body:
            body = f"<reasoning>{body}</reasoning>\n<support></support>"
        return f"{body}\n<action>{decision}</action>"
    if f"<{CONCLUSION}>" not in body:
        body = f"<think>{body}</think>\n<conclusion>The reasoning above decides.</conclusion>"
    return f"{body}\n[[[{decision}]]]"


def body_of(text: str) -> str:
    """All of a thesis before its decision, which ``format_thesis`` joins with another; the text without a decision."""
    for end, kept in ((f"</{CONCLUSION}>", True), ("<action>", False), ("[[[", False)):
        if (place := text.rfind(end)) >= 0:
            return text[: place + len(end) * kept].strip()
    return text.strip()


def is_plain(text: str) -> bool:
    """Whether no character of a text looks like one of a tag or a decision and is another."""
    return text.isascii() or not _lookalikes(text)


def _refuse_lookalikes(text: str) -> None:
    """Refuse what a reader takes for a tag or a decision and a parser does not."""
    if not text.isascii() and (marks := _lookalikes(text)):
        raise ParseError(f"characters that look like {marks[0]} but are others: write the tags in plain ASCII")


def _lookalikes(text: str) -> list[str]:
    """The marks that a text has more often for a reader than for a parser."""
    plain = unicodedata.normalize("NFKC", text.translate(_LOOKALIKES))
    plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")
    return [mark for mark in ("<", ">", "[[", "]]") if plain.count(mark) != text.count(mark)]


def _elements(text: str) -> tuple[list[tuple[str, str]], str]:
    """The elements in order, each with its text, and what follows the last."""
    found: list[tuple[str, str]] = []
    name, begin, behind = "", 0, 0
    for tag in _TAG.finditer(text):
        closing, this = tag[1], tag[2]
        if this is None:
            raise ParseError(f"'{_printable(text[tag.start() : tag.start() + 20])}' is not a tag: write <name>")
        if closing:
            if this != name:
                raise ParseError(f"</{this}> without <{this}>" if not name else f"<{name}> is not closed")
            found.append((name, text[begin : tag.start()]))
            name, behind = "", tag.end()
        elif name:
            raise ParseError(f"<{this}> inside <{name}>: tags are not nested")
        else:
            if text[behind : tag.start()].strip():
                raise ParseError(f"text before <{this}> that is in no section")
            name, begin = this, tag.end()
        if len(found) > MOST_ELEMENTS:
            raise ParseError(f"more than {MOST_ELEMENTS} sections")
    if name:
        raise ParseError(f"<{name}> is not closed")
    return found, text[behind:]


def _simple(elements: Sequence[tuple[str, str]], tail: str) -> Thesis:
    names = tuple(name for name, _ in elements)
    if names != SIMPLE:
        raise ParseError(f"tags {', '.join(names)}: this form has {', '.join(SIMPLE)}, once each and in this order")
    reasoning, support, action = (body.strip() for _, body in elements)
    if tail.strip():
        raise ParseError("text after </action>")
    if "[[[" in reasoning or "[[[" in support:
        raise ParseError("a decision [[[...]]] before <action>: exactly one is allowed")
    decision = action.upper().replace(" ", "_")
    if decision not in RATINGS:
        shown = _printable(action[:40])
        raise ParseError(f"'{shown}' is not a decision.{did_you_mean(shown, RATINGS)} Choose from {', '.join(RATINGS)}")
    return Thesis(reasoning, (read_section(SIMPLE[1], support),), "", decision, simple=True)


def read_section(name: str, text: str) -> Section:
    """The parts of one section."""
    headers: list[str] = []
    points: list[list[str]] = []
    rows: list[str] = []
    tables = 0
    open_point = False
    for line in text.split("\n"):
        stripped = line.strip()
        first = stripped[:1]
        if first == "|":
            rows.append(stripped)
            open_point = False
            continue
        if rows:
            tables += _is_table(rows)
            rows = []
        if not stripped:
            open_point = False
        elif first == "#":
            open_point = False
            if (found := _HEADER.match(stripped)) and _WORDY.search(found[1]):
                headers.append(found[1])
        elif marker := _BULLET.match(stripped):
            if open_point and line[:1].isspace():
                points[-1].append(stripped[marker.end() :])
            else:
                points.append([stripped[marker.end() :]])
                open_point = True
        elif open_point:
            points[-1].append(stripped)
    tables += _is_table(rows)
    bullets = tuple(_bullet(" ".join(lines)) for lines in points)
    return Section(name, text, tuple(headers), bullets, _BOLD.search(text) is not None, tables)


def _bullet(text: str) -> Bullet:
    plain = text.replace("**", "")
    quotes, sources = [], []
    end = len(plain)
    for mark in _MARK.finditer(plain):
        if mark[1] is not None:
            quotes.append(mark[1])
        else:
            sources.append(mark[2])
        end = min(end, mark.start())
    broken = plain.count("*") != 2 * len(quotes) or plain.count("`") != 2 * len(sources)
    return Bullet(plain[:end], tuple(quotes), tuple(sources), broken)


def _is_table(rows: Sequence[str]) -> bool:
    """Whether lines are a heading, a rule, and at least one row with words in two cells."""
    if len(rows) < 3 or not _RULE.fullmatch(rows[1]):
        return False
    return all(sum(_WORDY.search(cell) is not None for cell in row.split("|")) >= 2 for row in (rows[0], rows[2]))


def _printable(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


# the conclusion's side ----------------------------------------------------------------------------

_SIDES = {
    **dict.fromkeys(("buy", "buying", "bullish", "positive", "accumulate", "outperform", "upside"), 1),
    **dict.fromkeys(("sell", "selling", "bearish", "negative", "avoid", "underperform", "downside"), -1),
    **dict.fromkeys(("hold", "holding", "neutral", "mixed", "balanced"), 0),
}
_NEGATIONS = frozenset(("not", "no", "never", "nor", "without", "against", "cannot"))
_LETTERS = re.compile(r"[a-z]+")
NEAR = 3
"""A negation counts up to this many words before."""


def side_of(conclusion: str) -> int | None:
    """The side that a conclusion takes: 1, -1, or 0 for neither; None where it names no side.

    The majority of the words for either side; words behind a negation do not count.
    """
    words = _LETTERS.findall(conclusion.lower().replace("n't", " not"))
    found = [
        _SIDES[word]
        for i, word in enumerate(words)
        if word in _SIDES and not _NEGATIONS & set(words[max(0, i - NEAR) : i])
    ]
    if not found:
        return None
    total = sum(found)
    return (total > 0) - (total < 0)
