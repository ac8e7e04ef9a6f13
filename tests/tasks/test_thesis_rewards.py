"""Structure, evidence and their joining with the market: values computed by hand from the published formulas."""

import pytest
from theses import GOOD, INDEX, LINES, TOPICS, opinion, point, section, whole

from tradeschool.tasks.base import Rewards
from tradeschool.tasks.thesis_evidence import (
    FLOOR,
    bullet_score,
    bullets_score,
    evidence,
    harmonic_mean,
    opinion_score,
)
from tradeschool.tasks.thesis_rewards import (
    COMPONENTS,
    MARKET,
    joined,
    joint_reward,
    text_rewards,
    trained_weights,
)
from tradeschool.tasks.thesis_structure import FORMS, count_score, section_structure, structure
from tradeschool.text.thesis import parse_thesis, read_section

FULL, SHORT, ONE = FORMS["full"], FORMS["short"], FORMS["simple"]
PLAIN = " ".join(f"word{i}" for i in range(60))


def score(text: str, form: str = "full") -> tuple[float, float]:
    thesis = parse_thesis(text)
    return structure(thesis, FORMS[form], INDEX), evidence(thesis, FORMS[form], INDEX).score


# structure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, 0.3), (1, 0.3), (2, 0.3), (3, 0.42), (4, 0.56), (5, 1), (7, 1), (8, 0.85), (11, 0.4), (12, 0.3), (40, 0.3)],
)
def test_the_number_of_sections(count: int, expected: float) -> None:
    assert count_score(count, (5, 7)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        (f"## A heading\n- a point\n**bold**\n| a | b |\n|---|---|\n| 1 | 2 |\n{PLAIN}", 70, 1.0),
        (f"## A heading\n{PLAIN}", 62, 0.3),
        (f"- a point\n{PLAIN}", 62, 0.4),
        (f"**bold** {PLAIN}", 61, 0.2),
        (f"| a | b |\n|---|---|\n| 1 | 2 |\n{PLAIN}", 64, 0.1),
        (PLAIN, 60, 0.0),
        ("## A heading\n- a point\n**bold**", 49, 0.2),
    ],
)
def test_the_parts_of_a_section(text: str, words: int, expected: float) -> None:
    assert section_structure(read_section("x", text), words, FULL) == pytest.approx(expected)


def test_a_section_without_a_table_is_complete_in_the_short_form() -> None:
    short = read_section("x", "## A heading\n- a point\n**bold**")
    assert section_structure(short, 20, SHORT) == 1.0
    assert section_structure(short, 19, SHORT) == 0.2


def test_structure_is_the_weighted_sum_of_both() -> None:
    assert score(GOOD)[0] == pytest.approx(1.0)
    # Three sections, one of them without a heading and without bold type.
    bare = section(2).replace("## On prices **now**\n", "")
    assert score(whole([section(0), section(1), bare]))[0] == pytest.approx(0.6 * 0.42 + 0.4 * (1 + 1 + 0.5) / 3)


def test_sections_that_do_not_count_lower_the_mean() -> None:
    assert score(whole([*(section(k) for k in range(5)), "<x>nothing</x>"]))[0] == pytest.approx(0.6 + 0.4 * 5 / 6)


# evidence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "cited", "expected"),
    [
        (15, True, 1.0),
        (90, True, 1.0),
        (12, True, 0.8),
        (100, True, 0.8),
        (115, True, 0.5),
        (500, True, 0.5),
        (0, True, 0.0),
        (5, False, 0.1),
        (15, False, 0.3),
        (200, False, 0.3),
    ],
)
def test_an_opinion_by_its_words(words: int, cited: bool, expected: float) -> None:
    assert opinion_score(words, cited, (15, 90)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("words", "quoted", "sourced", "expected"),
    [
        (20, True, True, 1.0),
        (12, True, True, 0.4 * 0.8 + 0.6),
        (20, True, False, 0.4 * 0.3 + 0.35),
        (20, False, True, 0.4 * 0.3 + 0.25),
        (20, False, False, 0.12),
    ],
)
def test_a_point(words: int, quoted: bool, sourced: bool, expected: float) -> None:
    assert bullet_score(words, quoted, sourced, (15, 90)) == pytest.approx(expected)


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 0.25), (4, 1), (7, 1), (9, 0.8), (14, 0.3), (50, 0.3)])
def test_the_number_of_points(count: int, expected: float) -> None:
    assert bullets_score(count, (4, 7)) == pytest.approx(expected)


def test_harmonic_means_are_dragged_down_by_the_smallest() -> None:
    assert harmonic_mean([1.0, 0.5]) == pytest.approx(2 / 3)
    assert harmonic_mean([1.0, 0.0]) == pytest.approx(2 / 101)
    assert harmonic_mean([]) == 0.0


def test_evidence_by_hand() -> None:
    assert score(GOOD)[1] == pytest.approx(1.0)
    # One section with three points: a complete one, one without a source, and one without a citation.
    lines = [point(0, 0), f"- {opinion(0, 1)} *{LINES[TOPICS[0]][1]}*", f"- {opinion(0, 2)}"]
    one = 0.3 * 0.75 + 0.7 * 3 / (1 / 1.0 + 1 / 0.47 + 1 / 0.12)
    text = whole(["<a>\n" + "\n".join(lines) + "\n</a>"])
    assert score(text)[1] == pytest.approx(one)
    both = whole(["<a>\n" + "\n".join(lines) + "\n</a>", section(1)])
    assert score(both)[1] == pytest.approx(2 / (1 / one + 1))


def test_a_false_quotation_costs_its_point() -> None:
    wrong = point(0, 0).replace("grew to 0.5", "grew to 0.6")
    found = evidence(parse_thesis(whole([section(0).replace(point(0, 0), wrong)])), FULL, INDEX)
    assert found.score == pytest.approx(0.3 + 0.7 * 5 / (4 + 100))
    assert (found.quotes, found.verified) == (5, 4)


@pytest.mark.parametrize(
    "bad",
    [
        point(0, 4).replace("`margins`", "`orders`"),  # not where the quotation stands
        point(0, 4).replace("`margins`", "`Bloomberg`"),
        point(0, 4).replace("*margins item e", "*margins"),
        f"- {opinion(0, 4)} *{LINES['margins'][0]}* `margins`",  # quoted before
        f"- {opinion(0, 4)} *margins item a grew to* `margins`",  # a part of it
        f"- {opinion(0, 0)} *{LINES['margins'][4]}* `margins`",  # the opinion was stated before
        f"- {'good ' * 18}*{LINES['margins'][4]}* `margins`",
        f"- *{LINES['margins'][4]}* `margins`",
        f"- {LINES['orders'][0]} {LINES['orders'][1]} *{LINES['margins'][4]}* `margins`",  # copied
        f"- {opinion(0, 4)} *{LINES['margins'][4]} `margins`*",
        f"- {opinion(0, 4)} *Quote the data between asterisks* `margins`",
    ],
)
def test_what_a_point_is_refused_for(bad: str) -> None:
    text = whole([section(0).replace(point(0, 4), bad)])
    assert score(text)[1] == pytest.approx(0.3 + 0.7 * 5 / (4 + 100))


def test_two_quotations_of_one_point_and_sub_points() -> None:
    two = f"- {opinion(0, 0)} *{LINES['margins'][0]}* and *{LINES['orders'][1]}* `margins` `orders`"
    below = f"- {opinion(0, 0)}\n  - *{LINES['margins'][0]}*\n  - `margins`"
    for first in (two, below):
        assert score(whole([section(0).replace(point(0, 0), first)]))[1] == pytest.approx(1.0)


def test_the_simple_form() -> None:
    points = "\n".join(["## Why **now**", *(point(0, i) for i in range(5))])
    text = f"<reasoning>Weighing it.</reasoning>\n<support>\n{points}\n</support>\n<action>Buy</action>"
    assert score(text, "simple") == pytest.approx((1.0, 1.0))


def test_the_short_form_asks_for_less() -> None:
    text = whole([section(k, points=3, words=8) for k in range(3)])
    assert score(text, "short") == pytest.approx((1.0, 1.0))
    assert score(text)[0] < 0.7
    assert score(text)[1] < 0.9


# all components -----------------------------------------------------------------------------------


def test_the_components_of_the_text() -> None:
    rewards = text_rewards(parse_thesis(GOOD), FULL, INDEX)
    assert rewards == {
        "structure": pytest.approx(1.0),
        "evidence": pytest.approx(1.0),
        "verified": 1.0,
        "agreement": 1.0,
        "format": 1.0,
    }
    unreadable = {"structure": 0.0, "evidence": FLOOR, "verified": None, "agreement": None, "format": 0.0}
    assert text_rewards(None, FULL, INDEX) == unreadable
    against = parse_thesis(whole([section(0)], conclusion="The picture is negative: sell."))
    assert text_rewards(against, FULL, INDEX)["agreement"] == 0.0
    silent = parse_thesis(whole([section(0)], conclusion="It is what it is."))
    assert text_rewards(silent, FULL, INDEX)["agreement"] is None


@pytest.mark.parametrize(
    ("market", "found", "how", "expected"),
    [
        (0.8, 0.6, "sum", 0.8),
        (0.8, 0.6, "gate", 0.8),
        (0.8, 0.4, "gate", 0.0),
        (-0.8, 0.4, "gate", -0.8),
        (0.8, 0.25, "product", 0.2),
        (-0.8, 0.25, "product", -1.4),
        (-0.8, 1.0, "product", -0.8),
        (0.0, 0.3, "product", 0.0),
    ],
)
def test_joining_by_hand(market: float, found: float, how: str, expected: float) -> None:
    assert joined(market, found, how, 0.5) == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["sum", "gate", "product"])
@pytest.mark.parametrize("market", [-2.0, -0.1, 0.0, 0.4, 3.0])
def test_more_evidence_never_costs(how: str, market: float) -> None:
    values = [joined(market, found / 20, how, 0.5) for found in range(21)]  # type: ignore[arg-type]
    assert values == sorted(values)


def test_joint_replaces_the_market_in_training() -> None:
    weights = {"profit": 1.0, "decision": 0.5, "evidence": 0.2}
    assert trained_weights(weights, "sum") == {**dict.fromkeys(COMPONENTS, 0.0), **weights}
    gated = trained_weights(weights, "gate")
    assert gated == {**dict.fromkeys(COMPONENTS, 0.0), "evidence": 0.2, "joint": 1.0}
    rewards: Rewards = {**dict.fromkeys(MARKET, 9.0), "profit": 0.6, "decision": 1.0}
    assert joint_reward(rewards, weights, 0.9, "gate", 0.5) == pytest.approx(1.1)
    assert joint_reward(rewards, weights, 0.1, "gate", 0.5) == 0.0
    assert joint_reward({**rewards, "profit": None}, weights, 0.9, "gate", 0.5) is None
