"""Parsing of theses: what is read, and everything that is refused because it could be read in two ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.errors import ParseError
from tradeschool.text.parse import RATINGS
from tradeschool.text.thesis import body_of, format_thesis, parse_thesis, side_of

BODY = """<think>First the trend, then the news.</think>
<fundamentals>
## Fundamentals
- **Margins**: the company keeps more of what it sells *net income 12.3% of revenue* `fundamentals`
- a second point
  - *quoted below it*
  - `news`

| figure | value |
|---|---|
| margin | 12.3 |
</fundamentals>
<news>
## News
Plain prose with 3 < 5 and <5% in it. The consensus rating is STRONG_BUY: do not buy.
</news>
<conclusion>Buying is not for now; the analyst's SELL is noted.</conclusion>"""
WHOLE = BODY + "\n[[[HOLD]]]\n"
SIMPLE = (
    "<reasoning>Weak.</reasoning>\n<support>\n- so *with three words* `news`\n</support><action>Strong Sell</action>"
)


def test_a_whole_thesis() -> None:
    thesis = parse_thesis(WHOLE)
    assert thesis.think == "First the trend, then the news."
    assert [section.name for section in thesis.sections] == ["fundamentals", "news"]
    assert thesis.decision == "HOLD"
    assert not thesis.simple
    first, second = thesis.sections
    assert first.headers == ("Fundamentals",)
    assert first.bold
    assert first.tables == 1
    assert not second.bold
    assert not second.bullets
    assert not second.tables
    margins, nested = first.bullets
    assert margins.opinion == "Margins: the company keeps more of what it sells "
    assert margins.quotes == ("net income 12.3% of revenue",)
    assert margins.sources == ("fundamentals",)
    assert nested.quotes == ("quoted below it",)
    assert nested.sources == ("news",)
    assert nested.opinion == "a second point "


def test_the_simple_form() -> None:
    thesis = parse_thesis(SIMPLE)
    assert thesis.decision == "STRONG_SELL"
    assert thesis.simple
    assert thesis.think == "Weak."
    assert thesis.sections[0].bullets[0].quotes == ("with three words",)


@pytest.mark.parametrize("decision", RATINGS)
@pytest.mark.parametrize("body", [BODY, "Always the same.", ""])
@pytest.mark.parametrize("simple", [False, True])
def test_what_is_formatted_is_read_as_it_was(decision: str, body: str, simple: bool) -> None:
    if simple and body == BODY:
        body = SIMPLE.partition("<action>")[0].strip()
    text = format_thesis(body, decision, simple)
    assert parse_thesis(text).decision == decision
    assert format_thesis(body_of(text), decision, simple) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no <conclusion>"),
        (BODY, "no decision"),
        (WHOLE + "[[[HOLD]]]", "2 decisions"),
        (WHOLE.replace("Plain prose", "[[[BUY]]]"), "before the end"),
        (WHOLE.replace("First", "[[[BUY]]] first"), "before the end"),
        (BODY.replace("Buying", "[[[BUY]]]"), "before the end"),
        (BODY + "\nThe consensus rating: Buy", "no decision"),
        (BODY + "\n[[[HOLD]]] or BUY", "not alone"),
        (BODY + "\n[[[HOLD]]]\nrather SELL", "ambiguous"),
        (BODY + "\n[[[hold]]]", "not a decision"),
        (BODY + "\n[[[MAYBE]]]", "not a decision"),
        (BODY + "\n[[[HOLD]]]\na\nb\nc\nd", "not alone on one of the last"),
        (WHOLE + WHOLE, "text before <think>"),
        (BODY + "\n" + BODY + "\n[[[HOLD]]]", "wrong place, or there twice"),
        (BODY + "\n<news>more</news>\n[[[HOLD]]]", "no <conclusion>"),
        (WHOLE.replace("Plain", "<b>Plain</b>"), "not nested"),
        (WHOLE.replace("<news>", "<news><news>").replace("</news>", "</news></news>"), "not nested"),
        (WHOLE.replace("</news>", ""), "not nested"),
        (WHOLE.replace("<news>", ""), "</news> without"),
        (WHOLE.replace("</conclusion>", ""), "is not closed"),
        (WHOLE.replace("<conclusion>", "<Conclusion>"), "is not a tag"),
        (WHOLE.replace("<news>", "<news age='3'>"), "is not a tag"),
        (WHOLE.replace("<conclusion>", "<!-- <conclusion>"), "is not a tag"),
        (WHOLE.replace("<conclusion>", "<c\u043enclusion>"), "is not a tag"),  # a Cyrillic letter
        (WHOLE.replace("<conclusion>", "<concl\u200busion>"), "is not a tag"),
        (WHOLE.replace("Plain", "\uff1cconclusion\uff1e buy \uff1c/conclusion\uff1e"), "look like"),
        (WHOLE.replace("Plain", "\u2039conclusion\u203a"), "look like"),
        (WHOLE.replace("Plain", "\uff3b\uff3b\uff3bBUY\uff3d\uff3d\uff3d"), "look like"),
        (WHOLE.replace("Plain", "\u3010\u3010\u3010BUY\u3011\u3011\u3011"), "look like"),
        (WHOLE.replace("Plain", "[\u200b[\u200b[BUY]]]"), "look like"),
        (BODY + "\n[[[B\u0423Y]]]", "not a decision"),
        (WHOLE.replace("<think>", "Hello. <think>"), "in no section"),
        (WHOLE.replace("<news>", "<action>").replace("</news>", "</action>"), "in a thesis that has sections"),
        (SIMPLE.replace("Strong Sell", "Buy or Sell"), "not a decision"),
        (SIMPLE + "\n[[[BUY]]]", "text after"),
        (SIMPLE + SIMPLE, "once each"),
        (SIMPLE.replace("Weak.", "[[[BUY]]]"), "before <action>"),
        (SIMPLE.replace("<support>", "<action>Buy</action><support>"), "once each"),
        ("<a>x</a>" * 100 + BODY + "\n[[[HOLD]]]", "more than 64"),
    ],
)
def test_unreadable_is_never_hold(text: str, says: str) -> None:
    with pytest.raises(ParseError, match=says.replace("[", r"\[").replace("(", r"\(")):
        parse_thesis(text)


def test_marks_that_are_nested_or_open_break_a_bullet() -> None:
    for bad in ("*a `b` c*", "`a *b* c`", "5 * 3 is more", "*open", "`open", "*a* b*"):
        (section,) = parse_thesis(f"<x>\n- point {bad}\n</x><conclusion>c</conclusion>\n[[[BUY]]]").sections
        assert section.bullets[0].broken, bad
    (section,) = parse_thesis(
        "<x>\n* **bold** word *quote* `a`\n1. two\n</x><conclusion>c</conclusion>\n[[[BUY]]]"
    ).sections
    assert not section.bullets[0].broken
    assert section.bullets[0].opinion == "bold word "
    assert section.bullets[1].opinion == "two"


@pytest.mark.parametrize(
    ("table", "count"),
    [
        ("| a | b |\n|---|---|\n| 1 | 2 |", 1),
        ("| a | b |\n|:--|--:|\n| 1 | 2 |\n\ntext\n| c | d |\n|---|---|\n| 1 | 2 |", 2),
        ("| a | b |\n| 1 | 2 |\n| 1 | 2 |", 0),
        ("| a | b |\n|---|---|", 0),
        ("|  |  |\n|---|---|\n|  |  |", 0),
        ("|---|---|", 0),
    ],
)
def test_tables(table: str, count: int) -> None:
    (section,) = parse_thesis(f"<x>\n{table}\n</x><conclusion>c</conclusion>\n[[[BUY]]]").sections
    assert section.tables == count


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("We would buy.", 1),
        ("Do not buy.", None),
        ("Don't buy, sell.", None),
        ("The picture is negative; sell.", -1),
        ("Mixed, so hold.", 0),
        ("The weather is fine.", None),
        ("Positive news and negative prices.", 0),
        ("", None),
    ],
)
def test_the_side_that_a_conclusion_takes(text: str, side: int | None) -> None:
    assert side_of(text) == side


@given(st.text(alphabet="<>/[]*`#|-\n abBUYHOLDthinkconclusion\u200b\uff1c", max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, f"<x>{text}</x><conclusion>{text}</conclusion>\n[[[BUY]]]"):
        try:
            thesis = parse_thesis(whole)
        except ParseError:
            continue
        assert thesis.decision in RATINGS
