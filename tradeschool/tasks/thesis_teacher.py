"""The offline teacher: from the facts of a prompt and a rating to a thesis that argues for it (reverse reasoning).

Every quotation is a line of the prompt, word by word, and no text holds a figure that is not quoted. Given a rating,
the points that support it come first and the others are named as risks. Without one, both sides are stated.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, cycle
from typing import NamedTuple

import numpy as np

from tradeschool.policies.rules import EXPERT_POINTS
from tradeschool.tasks import thesis_phrases as phrases
from tradeschool.tasks.thesis_phrases import Relation
from tradeschool.tasks.thesis_structure import Form
from tradeschool.text.citations import SHORTEST_QUOTE, PromptIndex, words_of
from tradeschool.text.describe import UNKNOWN, Fact, tone
from tradeschool.text.thesis import RESERVED, is_plain

FACTS = "facts"
"""The name of the prompt's first section."""
LONGEST_QUOTE = 14
"""Words of a quotation."""
TEXT_SOURCES = ("news", "market", FACTS)
"""Their lines are named after their words, others after their place."""
LABEL_WORDS = 2
"""Words of a line that a point is named after."""
_TOPICS = {
    "trend": ("strength", "trend", "momentum", "sma", "ema", "mom", "direction", "adx"),
    "oscillators": ("rsi", "stochastic", "stochastic_d", "williams", "cci"),
    "signals": ("macd", "macd_line", "macd_signal"),
    "volatility": ("atr", "volatility", "bollinger", "bands", "volume"),
    "reports": ("market", "news", "stock", "date"),
}
_TOPIC = {name: topic for topic, names in _TOPICS.items() for name in names}
_OVER = {"oversold": 1, "overbought": -1}
_ABOVE = {"above": 1, "below": -1, "above zero": 1, "below zero": -1}
_MOVES = {"rising": 1, "falling": -1, "up": 1, "down": -1}
_MORE = dict.fromkeys(("stochastic_d", "williams", "cci"), _OVER) | dict.fromkeys(
    ("sma", "ema", "macd_line", "macd_signal"), _ABOVE
)
_WORDS = {**EXPERT_POINTS, **_MORE, "mom": _MOVES, "direction": _MOVES}
_BUYS, _SALES = frozenset(("buy", "bought", "purchase", "buys")), frozenset(("sell", "sold", "sale", "sells"))
_UNQUOTABLE = re.compile(r"[*`<>\[\]\n]")
_FIRST_WORDS = re.compile(rf"\s*(?:\S+\s+){{0,{LONGEST_QUOTE - 1}}}\S+")
_LEADING = re.compile(r"(?:- )?(?:today|\d+d ago): ")
_NAMES = re.compile(r"[A-Za-z]{3,}")
_NO_TAG = re.compile(r"[^a-z0-9]+")
LONGEST_TAG = 16
_ROW = re.compile(r"([+-]\d+): ")
MIDDLE, AROUND = 50, 5
"""An RSI this far from the middle is on a side."""
_MOVED = {"prices": {1: "rising", -1: "falling", 0: "even"}, "indicators": {1: "firm", -1: "weak", 0: "even"}}
_READS = {1: "good", -1: "bad", 0: "unclear"}


class Item(NamedTuple):
    """Something that a thesis can quote.

    Attributes:
        topic: the section that it belongs to.
        source: of the quotation.
        quote: stands in the prompt.
        label, word: what a point says about it.
        side: 1 if it speaks for the stock, -1 against it, 0 neither.
    """

    topic: str
    source: str
    quote: str
    label: str
    word: str
    side: int


def write(
    index: PromptIndex, facts: Sequence[Fact], form: Form, rating: int | None, rng: np.random.Generator, simple: bool
) -> str:
    """A thesis without its decision.

    Args:
        index: the prompt.
        facts: those that it states.
        form: how long the thesis is to be.
        rating: what it argues for; None states both sides.
        rng: draws the templates.
        simple: writes the tags ``reasoning`` and ``support``.
    """
    sections = _sections(items_of(index, facts), form, rating, rng)
    writer = _Writer(form, rating, rng)
    topics = ", ".join(name.replace("_", " ") for name, _ in sections) or "what is known"
    plan = str(rng.choice(phrases.PLANS)).format(topics=topics)
    written = [(name, writer.section(name, items)) for name, items in sections]
    if simple:
        return f"<reasoning>{plan}</reasoning>\n<support>\n{''.join(text for _, text in written)}</support>"
    ends = phrases.WEIGHED if rating is None else phrases.CONCLUSIONS[rating]
    bodies = "".join(f"<{name}>\n{text}</{name}>\n" for name, text in written)
    return f"<think>{plan}</think>\n{bodies}<conclusion>{rng.choice(ends)}</conclusion>"


def items_of(index: PromptIndex, facts: Sequence[Fact]) -> list[Item]:
    """All that can be quoted: facts first, then the lines of the sections."""
    by_text = {fact.text: fact for fact in facts}
    found: list[Item] = []
    labels: set[str] = set()
    seen: Counter[str] = Counter()
    for source, line in index.lines:
        quote = _quotable(line)
        if not quote:
            continue
        fact = by_text.get(line) if source == FACTS else None
        item = _line_item(source, line, quote, seen[source]) if fact is None else _fact_item(fact, quote)
        seen[source] += 1
        if item is not None and item.label.lower() not in labels:
            labels.add(item.label.lower())
            found.append(item)
    return found


def _quotable(line: str) -> str:
    """The longest part of a line without marks and tags, cut to a length; empty if it is too short to be quoted."""
    pieces = (_FIRST_WORDS.match(piece) for piece in _UNQUOTABLE.split(line.removeprefix("- ")))
    best = max((piece[0].strip() for piece in pieces if piece), key=len, default="")
    return best if len(words_of(best)) >= SHORTEST_QUOTE and is_plain(best) else ""


def _fact_item(fact: Fact, quote: str) -> Item | None:
    if fact.word in (UNKNOWN, "none"):
        return None
    points = _WORDS.get(fact.name, {}).get(fact.word, 0)
    side = (points > 0) - (points < 0)
    return Item(_TOPIC.get(fact.name, FACTS), FACTS, quote, fact.label, fact.word, side)


def _line_item(source: str, line: str, quote: str, place: int) -> Item | None:
    """What a line of a section says; ``place`` is its number among them."""
    topic = _topic(source)
    if source in _MOVED and (row := _ROW.match(line)):
        called = phrases.ROWS.get(-int(row[1]))
        side = _row_side(source, line[row.end() :])
        return Item(topic, source, quote, f"{called} {source}", _MOVED[source][side], side) if called else None
    text = _LEADING.sub("", line, count=1)
    words = set(words_of(text))
    side = tone(text) or bool(words & _BUYS) - bool(words & _SALES)
    if source not in TEXT_SOURCES:
        named = place < len(phrases.ORDER)
        return Item(topic, source, quote, f"{phrases.ORDER[place]} {source}", _READS[side], side) if named else None
    names = _NAMES.findall(text)[:LABEL_WORDS]
    return Item(topic, source, quote, " ".join(names), _READS[side], side) if len(names) == LABEL_WORDS else None


def _topic(source: str) -> str:
    """A source as the name of a tag: a heading in a text of the news can be any."""
    name = _NO_TAG.sub("_", source.lower()).strip("_-0123456789")[:LONGEST_TAG]
    return name if name and name not in RESERVED else "data"


def _row_side(source: str, cells: str) -> int:
    """Prices: whether the close is above the open. Indicators: whether the first of them, RSI, is off the middle."""
    try:
        values = [float(cell) for cell in cells.split(", ", 4)[:4]]
    except ValueError:  # a value that is not known, or thousands with a suffix
        return 0
    if source == "prices":
        return (values[3] > values[0]) - (values[3] < values[0])
    return (values[0] > MIDDLE + AROUND) - (values[0] < MIDDLE - AROUND)


def _sections(
    items: Sequence[Item], form: Form, rating: int | None, rng: np.random.Generator
) -> list[tuple[str, list[Item]]]:
    """The items of each section with its name: as many sections as the form asks for, where there are enough items."""
    least = form.bullets[0]
    most = int(rng.integers(*form.sections, endpoint=True)) if form.tables else form.sections[0]
    wanted = min(most, len(items) // least)
    if not wanted:
        return [(items[0].topic, list(items))] if items else []
    by_topic: dict[str, list[Item]] = {}
    for item in items:
        by_topic.setdefault(item.topic, []).append(item)
    # One item of every topic in turn, until there are enough: a section is about one topic where it has enough items.
    queues = [_ranked(group, rating, rng) for group in by_topic.values()]
    turns = chain.from_iterable(zip(*(_padded(queue, len(items)) for queue in queues), strict=True))
    chosen = [item for item in turns if item is not None][: wanted * least]
    order = {topic: place for place, topic in enumerate(by_topic)}
    chosen.sort(key=lambda item: order[item.topic])
    sections: list[tuple[str, list[Item]]] = []
    for place in range(wanted):
        part = chosen[place * least : (place + 1) * least]
        sections.append((_name(part, {name for name, _ in sections}), part))
    return sections


def _ranked(group: Sequence[Item], rating: int | None, rng: np.random.Generator) -> list[Item]:
    """The items of a topic: those on the side that is argued for first, in random order among equals."""
    side = 0 if rating is None else (rating > 0) - (rating < 0)
    drawn = [group[i] for i in rng.permutation(len(group))]
    clear = 1 if rating == 0 else -1  # HOLD is argued for from what is unclear
    return sorted(drawn, key=lambda item: -item.side * side if side else clear * abs(item.side))


def _padded(queue: Sequence[Item], length: int) -> Iterable[Item | None]:
    return [*queue, *[None] * (length - len(queue))]


def _name(items: Sequence[Item], taken: set[str]) -> str:
    topics = [topic for topic, _ in Counter(item.topic for item in items).most_common()]
    names = [*topics, "_and_".join(topics)]
    names += [f"{prefix}_{topics[0]}" for prefix in ("more", "other", "further", "last", "remaining", "all")]
    return next(name for name in names if name not in taken)


class _Writer:
    """Writes points, each time with the next template."""

    def __init__(self, form: Form, rating: int | None, rng: np.random.Generator) -> None:
        self._form = form
        self._side = 1 if rating is None else (rating > 0) - (rating < 0)
        self._long = form.opinion[0] > max(len(one.split()) for one in phrases.SHORT["for"])
        self._templates = {
            (kind, relation): cycle([texts[i] for i in rng.permutation(len(texts))])
            for kind, table in (("reading", phrases.READINGS), ("weight", phrases.WEIGHTS), ("short", phrases.SHORT))
            for relation, texts in table.items()
        }

    def section(self, name: str, items: Sequence[Item]) -> str:
        """Heading, points and, where the form asks for one, a table."""
        lines = [f"## {name.replace('_', ' ').capitalize()}", *(self._point(item) for item in items)]
        if self._form.tables:
            rows = (f"| {item.label} | {item.word} |" for item in items)
            lines += ["", "| point | reading |", "|---|---|", *rows]
        return "\n".join(lines) + "\n"

    def _point(self, item: Item) -> str:
        relation: Relation = "open" if not item.side or not self._side else "for"
        if relation == "for" and item.side != self._side:
            relation = "against"
        filled = {"label": item.label, "word": item.word}
        if self._long:
            halves = (next(self._templates[kind, relation]).format(**filled) for kind in ("reading", "weight"))
            said = f"**{item.label}**: " + ", ".join(halves)
        else:
            said = f"**{item.label}** " + next(self._templates["short", relation]).format(**filled)
        return f"- {said} *{item.quote}* `{item.source}`"
