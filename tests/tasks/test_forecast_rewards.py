"""The reward components of the forecast task, by hand."""

import math

import pytest

from tradeschool.tasks.forecast_rewards import accuracy, agreement, count, size, tags, think

LAYOUT = "<think>\nTrend up.\n</think>\n<answer>\n[0.1, 0.2]\n</answer>"


@pytest.mark.parametrize(
    ("change_H", "outcome_H", "expected"),
    [
        ([1.0, 1.0], [2.0, -4.0], (2 * 1 * 2 / 1 + 2 * 1 * -4 / 4) / 2),  # = 1
        ([0.0, 0.0], [2.0, -4.0], 0.0),  # persistence
        (None, [2.0, -4.0], 0.0),
        ([1.0, 1.0], [9.0, 0.0], 2 * 1 * 4 / 1 / 2),  # an outcome counts up to four volatilities
        ([9.0, 0.0], [1.0, 0.0], 2 * 2 * 1 / 1 / 2),  # a forecast up to two
        ([0.0, -9.0], [0.0, -9.0], 2 * 4 * 8 / 4 / 2),  # of four days: 2 sqrt(4) and 4 sqrt(4)
        ([1.0, 1.0], [math.nan, 1.0], None),
        (None, [math.nan, 1.0], None),
    ],
)
def test_agreement(change_H: list[float] | None, outcome_H: list[float], expected: float | None) -> None:
    found = agreement(change_H, outcome_H, [1, 4])
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("change_H", "expected"),
    [([1.0, 2.0], -(1 / 1 + 4 / 4) / 2), ([0.0, 0.0], 0.0), ([9.0, -9.0], -(4 / 1 + 16 / 4) / 2), (None, -4.0)],
)
def test_size(change_H: list[float] | None, expected: float) -> None:
    assert size(change_H, [1, 4]) == pytest.approx(expected)


def test_agreement_and_size_are_the_gain_in_squared_error_on_persistence() -> None:
    change_H, outcome_H, horizons = [0.5, -1.0], [1.5, -2.5], [1, 4]
    gain = sum((o**2 - (o - p) ** 2) / h for p, o, h in zip(change_H, outcome_H, horizons, strict=True)) / 2
    total = agreement(change_H, outcome_H, horizons)
    assert total is not None
    assert total + size(change_H, horizons) == pytest.approx(gain)


def test_an_unreadable_answer_is_never_worth_more_than_the_worst_readable_one_is_expected_to_be() -> None:
    assert size(None, [1, 5, 20]) == size([1e4, -1e4, 1e4], [1, 5, 20]) == pytest.approx(-4)


@pytest.mark.parametrize(("error", "expected"), [(0.0, 5.0), (0.1, 2.5), (0.9, 0.5), (None, 0.0), (math.nan, None)])
def test_accuracy(error: float | None, expected: float | None) -> None:
    assert accuracy(error) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LAYOUT, 0.5),
        ("<think>a</think><answer>b</answer>", 0.5),
        ("<think>a</think> so <answer>b</answer>", 0.0),
        ("<answer>b</answer><think>a</think>", 0.0),
        ("<think>a<answer>b</answer>", 0.0),
    ],
)
def test_think(text: str, expected: float) -> None:
    assert think(text) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", 1.0),
        ("[1, 2, 3, 4, 5, 6, 7, 8, 9]", 0.9),
        ("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]", 0.9),
        ("[1]", 0.1),
        (f"[{', '.join('1' * 30)}]", 0.0),
        ("1, 2, 3, 4, 5, 6, 7, 8, 9, 10", 0.0),
        ("[1, two]", 0.0),
        ("[]", 0.0),
    ],
)
def test_count(body: str, expected: float) -> None:
    assert count(f"<answer>{body}</answer>", 10) == pytest.approx(expected)
    assert count(body, 10) == count(f"<answer>{body}", 10) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LAYOUT, 0.5),
        (LAYOUT.replace("<think>\n", "<think>"), 0.375),
        (LAYOUT.replace("\n</answer>", "</answer>"), 0.375),
        (LAYOUT + LAYOUT, 0.0),
        ("<think>a</think><answer>b</answer>", 0.0),
    ],
)
def test_tags(text: str, expected: float) -> None:
    assert tags(text) == expected
