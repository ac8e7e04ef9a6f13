"""Texts that try to earn rewards without an analysis: none earns more than an empty answer. No text raises."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theses import DATA, GOOD, INDEX, INSTRUCTIONS, LINES, TOPICS, filled, opinion, point, section, whole

from tradeschool.errors import ParseError
from tradeschool.tasks.rating_rewards import INVALID_DECISION, decision
from tradeschool.tasks.thesis_rewards import text_rewards
from tradeschool.tasks.thesis_structure import FORMS
from tradeschool.text.parse import RATINGS
from tradeschool.text.thesis import Thesis, parse_thesis

FLOOR = {"structure": 0.0, "evidence": 0.01}
"""The scores of an empty answer."""
FACT, SOURCE = LINES["margins"][0], "margins"
LONG = "\n".join(opinion(9, i, 30) for i in range(2))
BODY = GOOD.rpartition("\n")[0]
FILLER = "\n".join(f"own words number {chr(97 + i)} on one matter {chr(105 - i)}" for i in range(9))


def read(text: str) -> Thesis | None:
    try:
        return parse_thesis(text)
    except ParseError:
        return None


def scores(text: str, form: str = "full") -> dict[str, float | None]:
    return text_rewards(read(text), FORMS[form], INDEX)


def many(line: str, count: int) -> str:
    return "\n".join(line.replace("{i}", str(i)).replace("{c}", chr(97 + i % 26)) for i in range(count))


UNREADABLE = {
    "nothing": "",
    "a decision alone": "[[[BUY]]]",
    "no decision": BODY,
    "two decisions": GOOD + "\n[[[SELL]]]",
    "every decision": BODY + "\n" + "\n".join(f"[[[{name}]]]" for name in RATINGS),
    "the same decision twice": GOOD + "\n[[[BUY]]]",
    "two ratings in one decision": BODY + "\n[[[BUY|SELL]]]",
    "a decision in prose": BODY + "\nThe consensus rating: Buy.",
    "a negated decision": BODY + "\nDo not [[[BUY]]] this.",
    "a decision in the reasoning too": GOOD.replace("Weighing it.", "Perhaps [[[SELL]]]."),
    "a decision in a section too": GOOD.replace("## On margins", "## [[[SELL]]] On margins"),
    "a decision in the conclusion too": GOOD.replace("We would buy.", "[[[BUY]]]"),
    "a rating behind the decision": GOOD + "\nor rather SELL",
    "a decision long before the end": GOOD + "\na\nb\nc\nd",
    "a second thesis": GOOD + "\n" + GOOD.replace("BUY", "SELL"),
    "a second thesis in a comment": GOOD.replace("## On margins", f"<!-- {BODY} --> ## On margins"),
    "a second thesis in a section": GOOD.replace("## On margins", section(1)),
    "a second conclusion": GOOD.replace("<conclusion>", "<conclusion>Sell.</conclusion>\n<conclusion>"),
    "a second reasoning": GOOD.replace("<conclusion>", "<think>x</think><conclusion>"),
    "nested tags": filled("<a><b><c>" + LONG + "</c></b></a>"),
    "tags never closed": GOOD.replace("</orders>", ""),
    "tags in capitals": GOOD.replace("<conclusion>", "<CONCLUSION>"),
    "tags with attributes": GOOD.replace("<orders>", '<orders class="x">'),
    "tags of Cyrillic letters": GOOD.replace("conclusion", "c\u043enclusi\u043en"),
    "full-width tags": GOOD.replace("<orders>", "\uff1corders\uff1e"),
    "a hidden thesis in other brackets": GOOD.replace(
        "Weighing it.", "\u2039conclusion\u203aSell\u2039/conclusion\u203a"
    ),
    "a decision in other brackets": GOOD.replace("Weighing it.", "\u3010\u3010\u3010SELL\u3011\u3011\u3011"),
    "a decision with hidden characters": GOOD.replace("Weighing it.", "[\u200b[\u200b[SELL]]]"),
    "a decision of look-alike letters": BODY + "\n[[[B\u0423\u03a5]]]",
    "text outside the sections": GOOD.replace("</orders>", "</orders>\n" + LONG),
    "both forms": GOOD.replace("<conclusion>", "<action>Buy</action>\n<conclusion>"),
    "a thousand sections": whole([f"<s{i}>{opinion(i % 6, i % 7, 20)}</s{i}>" for i in range(1000)]),
}
"""They have no decision either: the decision's reward is that of an unreadable answer."""
READABLE = {
    "no section": whole([]),
    "empty sections": filled(""),
    "sections of one word": filled("buy"),
    "sections of punctuation": filled("... --- ### *** ||| " * 20),
    "the same word again and again": filled("profit " * 80),
    "the same sentence again and again": filled("this stock is a clear winner for all investors. " * 10),
    "the same section again and again": whole([section(0).replace("margins>", f"s{i}>") for i in range(6)]),
    "the same section under one name": whole([section(0)] * 6),
    "headings alone": filled("# a\n# b\n## c"),
    "heading spam": filled(many("## heading", 60)),
    "bold spam": filled("**bold** " * 60),
    "table spam": filled("| a | b |\n|---|---|\n| 1 | 2 |\n" * 20),
    "empty points": filled(many("- ", 20) + "\n" + "x " * 60),
    "points of one word": filled(many("- good", 30)),
    "the same point again and again": filled(many(point(0, 0), 30)),
    "the same point with a number": filled(many(point(0, 0).replace("- ", "- {i} "), 30)),
    "the prompt as sections": whole([f"<s{k}>\n{DATA}\n</s{k}>" for k in range(5)]),
    "a part of the prompt in each section": whole(
        [f"<s{k}>\n" + "\n".join(LINES[topic]) + f"\n</s{k}>" for k, topic in enumerate(TOPICS)]
    ),
    "the prompt as points": whole(
        [f"<s{k}>\n" + "\n".join(f"- {x} {x}" for x in LINES[topic]) + f"\n</s{k}>" for k, topic in enumerate(TOPICS)]
    ),
    "the prompt as points with citations": whole(
        [
            f"<s{k}>\n"
            + "\n".join(f"- {LINES[t][i]} and {LINES[t][i - 1]} *{LINES[t][i]}* `{t}`" for i in range(5))
            + f"\n</s{k}>"
            for k, t in enumerate(TOPICS)
        ]
    ),
    "the instructions as sections": filled(INSTRUCTIONS),
    "the instructions as points": filled("\n".join(f"- {INSTRUCTIONS} *{INSTRUCTIONS[:60]}* `{t}`" for t in TOPICS)),
}
"""Structure and evidence are worth nothing."""
NO_EVIDENCE = {
    "quotations of the instructions": [f"*Quote the data between asterisks* `{SOURCE}`"] * 5,
    "invented quotations": [f"*margins rose to 9{i}.9 lately* `{SOURCE}`" for i in range(5)],
    "one quotation in every point": [f"*{FACT}* `{SOURCE}`"] * 5,
    "parts of one quotation": [f"*{' '.join(FACT.split()[i % 4 :][:3])}* `{SOURCE}`" for i in range(5)],
    "quotations of one word": [f"*item* `{SOURCE}`"] * 5,
    "quotations of nothing": [f"* * `{SOURCE}`"] * 5,
    "quotations across lines": [
        f"*{LINES['margins'][i][-12:]} {LINES['margins'][i + 1][:12]}* `{SOURCE}`" for i in range(5)
    ],
    "quotations of headings": [f"*{a} {b} {c}* `{SOURCE}`" for a, b, c in [TOPICS[:3]] * 5],
    "one word changed in a quotation": [
        f"*{LINES['margins'][i].replace('item', 'figure')}* `{SOURCE}`" for i in range(5)
    ],
    "a digit changed in a quotation": [f"*{LINES['margins'][i].replace('.5', '.6')}* `{SOURCE}`" for i in range(5)],
    "invented sources": [f"*{LINES['margins'][i]}* `Bloomberg`" for i in range(5)],
    "the wrong source": [f"*{LINES['margins'][i]}* `rates`" for i in range(5)],
    "source spam": [" ".join(f"`{topic}`" for topic in [*TOPICS, "wire"])] * 5,
    "nested marks": [f"*{LINES['margins'][i]} `{SOURCE}`*" for i in range(5)],
    "open marks": [f"*{LINES['margins'][i]} `{SOURCE}`" for i in range(5)],
    "quotation spam": [" ".join(f"*{FACT}*" for _ in range(30)) + f" `{SOURCE}`"] * 5,
}
"""Citations, by point, behind honest opinions: the structure is real, the evidence is worth nothing."""


def cited(citations: list[str]) -> str:
    return whole(
        [
            f"<s{k}>\n" + "\n".join(f"- {opinion(k, i)} {one}" for i, one in enumerate(citations)) + f"\n</s{k}>"
            for k in range(5)
        ]
    )


def test_there_are_at_least_forty() -> None:
    assert len(UNREADABLE) + len(READABLE) + len(NO_EVIDENCE) >= 70
    assert scores("") == {"structure": 0.0, "evidence": 0.01, "verified": None, "agreement": None, "format": 0.0}
    good = scores(GOOD)
    assert good["structure"] == good["evidence"] == pytest.approx(1.0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_earns_nothing(name: str, form: str) -> None:
    text = UNREADABLE[name]
    assert read(text) is None
    assert {key: scores(text, form)[key] for key in FLOOR} == FLOOR
    assert all(decision(None, float(label)) == INVALID_DECISION for label in RATINGS.values())


@pytest.mark.parametrize("form", ["full", "short"])
@pytest.mark.parametrize("name", READABLE)
def test_what_says_nothing_earns_nothing(name: str, form: str) -> None:
    found = scores(READABLE[name], form)
    assert found["format"] == 1.0
    assert found["structure"] == 0.0
    assert found["evidence"] == pytest.approx(FLOOR["evidence"])


@pytest.mark.parametrize("form", ["full", "short"])
@pytest.mark.parametrize("name", NO_EVIDENCE)
def test_false_citations_earn_nothing(name: str, form: str) -> None:
    found = scores(cited(NO_EVIDENCE[name]), form)
    assert found["structure"]
    assert found["evidence"] == pytest.approx(FLOOR["evidence"])


# no text raises -----------------------------------------------------------------------------------

PIECES = sorted(
    {*re.findall(r"\w+|\W", GOOD + DATA), "[[[", "]]]", "</think>", "<a>", "</a>", "\u200b", "\uff1c", "\ud800"}
)


def mutated(rng: random.Random, text: str) -> str:
    """A thesis with pieces cut out, doubled, moved, or replaced by others."""
    for _ in range(rng.randint(1, 8)):
        i, j = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        j = min(j, i + rng.choice((1, 10, 200)))
        part = text[i:j]
        text = rng.choice(
            (
                text[:i] + text[j:],
                text[:j] + part + text[j:],
                text[:i] + "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 9))) + text[j:],
                text[:i] + part[::-1] + text[j:],
                text[:j],
            )
        )[:20_000]
    return text


def check(text: str) -> bool:
    """Score a text; whether it could be read."""
    thesis = read(text)
    rewards = text_rewards(thesis, FORMS["full"], INDEX)
    assert 0 <= (rewards["structure"] or 0) <= 1 + 1e-9
    assert 0.01 - 1e-9 <= (rewards["evidence"] or 0) <= 1 + 1e-9
    return thesis is not None


def fuzz(count: int, seed: int) -> int:
    rng = random.Random(seed)
    start = [GOOD, *UNREADABLE.values(), *READABLE.values(), *(cited(one) for one in NO_EVIDENCE.values())]
    start = [text for text in start if len(text) < 20_000]
    return sum(check(mutated(rng, GOOD if rng.random() < 0.5 else rng.choice(start))) for _ in range(count))


def test_mutated_theses_are_scored_or_refused() -> None:
    readable = fuzz(500, seed=1)
    assert 20 < readable < 480


@pytest.mark.slow
def test_ten_thousand_mutated_theses_are_scored_or_refused() -> None:
    assert 400 < fuzz(10_000, seed=2) < 9_600


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=400), st.text(max_size=200), st.text(max_size=60))
def test_any_characters_are_scored_or_refused(body: str, quoted: str, name: str) -> None:
    check(body)
    check(whole([f"<a>\n{body}\n- {body} *{quoted}* `{name}`\n</a>"]))


def test_hidden_thesis_is_not_read_as_the_first_or_the_last() -> None:
    for text in (UNREADABLE["a second thesis"], UNREADABLE["every decision"]):
        with pytest.raises(ParseError):
            parse_thesis(text)
