"""A prompt with data, and theses about it that are written by hand for the tests of rewards."""

from collections.abc import Sequence

from tradeschool.text.citations import PromptIndex

TOPICS = ("margins", "orders", "prices", "insiders", "rates", "brands")
_FACTS = ("grew", "fell", "rested", "jumped", "slid", "turned")
LINES = {
    topic: [f"{topic} item {chr(97 + i)} {_FACTS[i]} to {10 * k + i}.5 lately" for i in range(6)]
    for k, topic in enumerate(TOPICS)
}
"""Six lines of data for each section of the prompt."""
DATA = "\n\n".join(f"## {topic.capitalize()}\n" + "\n".join(lines) for topic, lines in LINES.items())
INSTRUCTIONS = (
    "Write an investment thesis in five to seven sections. Quote the data between asterisks and name the source "
    "between backticks. End with a conclusion and one decision on a line of its own."
)
INDEX = PromptIndex(DATA, INSTRUCTIONS)
_SUBJECTS = ["management", "customers", "suppliers", "analysts", "rivals", "lenders"]
_VERBS = ["expect", "welcome", "doubt", "dislike", "repeat", "ignore"]
_OBJECTS = ["margins", "volumes", "dividends", "contracts", "inventories", "prices"]
_WHEN = [
    "this quarter",
    "for some years",
    "after the merger",
    "despite weak demand",
    "before any recession",
    "in most regions",
]
_WHY = [
    "because costs fall",
    "while taxes rise",
    "since orders doubled",
    "although wages climb",
    "as rates ease",
    "if trade holds",
]


def opinion(k: int, i: int, words: int = 18) -> str:
    """An opinion of that many words that no other has; the same for the same numbers."""
    parts = [_SUBJECTS[(k + i) % 6], _VERBS[(2 * k + i) % 6], _OBJECTS[(3 * k + 2 * i) % 6], _WHEN[(k + 3 * i) % 6]]
    parts += [_WHY[(5 * k + i) % 6], f"so point{chr(97 + k)}{chr(97 + i)} deserves weight{chr(97 + i)}{chr(97 + k)}"]
    parts += [f"reason{chr(97 + j)}{chr(97 + i)}{chr(97 + k)}" for j in range(26)] * 5
    return " ".join(" ".join(parts).split()[:words])


def point(k: int, i: int, words: int = 18) -> str:
    """A point with a true quotation and its source."""
    return f"- {opinion(k, i, words)} *{LINES[TOPICS[k]][i]}* `{TOPICS[k]}`"


def section(k: int, points: int = 5, words: int = 18) -> str:
    """A complete section."""
    lines = [f"<{TOPICS[k]}>", f"## On {TOPICS[k]} **now**", *(point(k, i, words) for i in range(points))]
    return "\n".join([*lines, "", "| item | size |", "|---|---|", "| one | two |", f"</{TOPICS[k]}>"])


def whole(sections: Sequence[str], end: str = "[[[BUY]]]", conclusion: str = "We would buy.") -> str:
    """A thesis with these sections."""
    return "\n".join(["<think>Weighing it.</think>", *sections, f"<conclusion>{conclusion}</conclusion>", end])


def filled(body: str, count: int = 5, names: Sequence[str] = TOPICS) -> str:
    """A thesis whose sections all have the same body; ``{k}`` in it is the number of the section."""
    return whole(
        [f"<{names[k % len(names)]}>\n{body.replace('{k}', str(k))}\n</{names[k % len(names)]}>" for k in range(count)]
    )


GOOD = whole([section(k) for k in range(5)])
