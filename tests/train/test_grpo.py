"""Which questions GRPO trains on, and in which order."""

import pytest

from tradeschool.tasks.base import Example
from tradeschool.train.grpo import Config, draw

POOL = [Example(f"T{n}@{t}", t, n) for t in range(30) for n in range(6)]


def order(seed: int = 0, **options: bool | int) -> list[Example]:
    return draw(POOL, Config.model_validate({"stage": "grpo", **options}), seed)


@pytest.mark.parametrize("by_date", [True, False])
def test_the_draw_is_fixed_by_the_seed_and_takes_no_question_twice(by_date: bool) -> None:
    drawn = order(by_date=by_date, questions=100)
    assert drawn == order(by_date=by_date, questions=100)
    assert drawn != order(1, by_date=by_date, questions=100)
    assert len(drawn) == len(set(drawn)) == 100
    assert set(order(by_date=by_date)) == set(POOL)


def test_by_date_whole_dates_come_one_after_the_other_in_random_order() -> None:
    drawn = order(by_date=True)
    dates = [example.t for example in drawn[::6]]
    assert [example.t for example in drawn] == [t for t in dates for _ in range(6)]
    assert sorted(dates) == list(range(30))
    assert dates != sorted(dates)
    # Inside a date the tickers take turns, so that no ticker is always the one left out.
    assert len({tuple(e.n for e in drawn[6 * i : 6 * i + 6]) for i in range(30)}) > 10


def test_without_it_questions_of_all_dates_are_mixed() -> None:
    first = order(by_date=False)[:30]
    assert len({example.t for example in first}) > 12
