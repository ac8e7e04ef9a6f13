"""Splits: in time, no row lost or shared, embargo kept, empty parts refused; the same for every fold."""

import datetime
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tradeschool import pipeline
from tradeschool.config.recipe import read
from tradeschool.errors import DataError, RecipeError
from tradeschool.market.panel import Panel
from tradeschool.market.splits import Split, split_rows, walk_forward


def panel(days: int = 1000) -> Panel:
    ones = np.ones((days, 1))
    dates = np.arange("2010-01-01", "2040-01-01", dtype="datetime64[D]")[:days]
    return Panel(dates, ("A",), ones, ones, ones, ones, ones)


@given(
    days=st.integers(300, 2000),
    embargo=st.integers(0, 20),
    warmup=st.integers(0, 100),
    cuts=st.tuples(st.floats(0.2, 0.4), st.floats(0.6, 0.8)),
)
def test_parts_cover_all_but_warm_up_and_embargo(
    days: int, embargo: int, warmup: int, cuts: tuple[float, float]
) -> None:
    shares = (cuts[0], cuts[1] - cuts[0], 1 - cuts[1])
    split = split_rows(panel(days), shares, embargo=embargo, warmup=warmup)
    parts = (split.train_T, split.validation_T, split.test_T)
    assert parts[0][0] == warmup
    assert parts[2][-1] == days - 1
    for part, share in zip(parts, shares, strict=True):
        np.testing.assert_array_equal(np.diff(part), 1)
        assert abs(len(part) - share * (days - warmup - 2 * embargo)) <= 1
    for earlier, later in itertools.pairwise(parts):
        assert later[0] - earlier[-1] == embargo + 1


@pytest.mark.parametrize("kind", [str, datetime.date.fromisoformat, np.datetime64])
def test_dates_start_their_parts_and_the_embargo_lies_before_them(kind: type) -> None:
    market = panel()
    split = split_rows(market, dates=(kind("2011-06-01"), kind("2012-01-01")), embargo=16, warmup=50)
    assert str(market.dates_T[split.validation_T[0]]) == "2011-06-01"
    assert str(market.dates_T[split.test_T[0]]) == "2012-01-01"
    assert split.train_T[0] == 50
    assert split.validation_T[0] - split.train_T[-1] == 17
    assert split.test_T[0] - split.validation_T[-1] == 17


@pytest.mark.parametrize(
    ("dates", "part"),
    [
        (("2009-01-01", "2011-01-01"), "train"),
        (("2011-01-01", "2011-01-05"), "validation"),
        (("2012-01-01", "2011-01-01"), "validation"),
        (("2011-01-01", "2039-01-01"), "test"),
    ],
)
def test_an_empty_part_is_refused_by_name(dates: tuple[str, str], part: str) -> None:
    with pytest.raises(DataError, match=f"the {part} part would be empty"):
        split_rows(panel(), dates=dates, embargo=15, warmup=10)


def test_a_history_shorter_than_warm_up_and_embargo_is_refused() -> None:
    with pytest.raises(DataError, match="30 dates"):
        split_rows(panel(30), embargo=15, warmup=20)


# walking forward ---------------------------------------------------------------------------------

WALKS = {
    "days": st.integers(300, 1500),
    "count": st.integers(1, 12),
    "embargo": st.integers(0, 20),
    "warmup": st.integers(0, 60),
    "cuts": st.tuples(st.floats(0.2, 0.5), st.floats(0.55, 0.8)),
}


def walked(
    days: int, count: int, embargo: int, warmup: int, cuts: tuple[float, float]
) -> tuple[Panel, Split, list[Split]]:
    """The panel, its plain split, and its folds."""
    market, shares = panel(days), (cuts[0], cuts[1] - cuts[0], 1 - cuts[1])
    plain = split_rows(market, shares, embargo=embargo, warmup=warmup)
    return market, plain, walk_forward(market, count, shares, embargo=embargo, warmup=warmup)


def parts(split: Split) -> tuple[np.ndarray, ...]:
    return split.train_T, split.validation_T, split.test_T


@given(**WALKS)
def test_every_fold_is_in_time_without_holes_and_keeps_the_embargo_between_every_two_parts(
    days: int, count: int, embargo: int, warmup: int, cuts: tuple[float, float]
) -> None:
    _, _, folds = walked(days, count, embargo, warmup, cuts)
    assert len(folds) == count
    for fold in folds:
        assert fold.train_T[0] == warmup
        for part in parts(fold):
            assert len(part)
            np.testing.assert_array_equal(np.diff(part), 1)
        for earlier, later in itertools.pairwise(parts(fold)):
            assert later[0] - earlier[-1] == embargo + 1


@given(**WALKS)
def test_the_tests_of_the_folds_tile_the_test_part_in_nearly_equal_pieces(
    days: int, count: int, embargo: int, warmup: int, cuts: tuple[float, float]
) -> None:
    _, plain, folds = walked(days, count, embargo, warmup, cuts)
    np.testing.assert_array_equal(np.concatenate([fold.test_T for fold in folds]), plain.test_T)
    lengths = [len(fold.test_T) for fold in folds]
    assert max(lengths) - min(lengths) <= 1


@given(**WALKS)
def test_the_training_part_grows_by_the_earlier_test_parts_and_validation_keeps_its_length(
    days: int, count: int, embargo: int, warmup: int, cuts: tuple[float, float]
) -> None:
    _, plain, folds = walked(days, count, embargo, warmup, cuts)
    np.testing.assert_array_equal(folds[0].train_T, plain.train_T)
    np.testing.assert_array_equal(folds[0].validation_T, plain.validation_T)
    for earlier, later in itertools.pairwise(folds):
        np.testing.assert_array_equal(later.train_T[: len(earlier.train_T)], earlier.train_T)
        assert len(later.train_T) - len(earlier.train_T) == len(earlier.test_T)
        assert len(later.validation_T) == len(earlier.validation_T)


@given(**WALKS)
def test_one_fold_is_the_plain_split_and_the_last_fold_a_plain_split_by_its_own_dates(
    days: int, count: int, embargo: int, warmup: int, cuts: tuple[float, float]
) -> None:
    market, plain, folds = walked(days, count, embargo, warmup, cuts)
    (single,) = walked(days, 1, embargo, warmup, cuts)[2]
    last = folds[-1]
    begin = (market.dates_T[last.validation_T[0]], market.dates_T[last.test_T[0]])
    by_dates = split_rows(market, dates=begin, embargo=embargo, warmup=warmup)
    for one, other in ((single, plain), (last, by_dates)):
        for part, same in zip(parts(one), parts(other), strict=True):
            np.testing.assert_array_equal(part, same)


def test_folds_begin_at_the_dates_that_are_given() -> None:
    market = panel()
    first, second = walk_forward(market, 2, dates=("2011-06-01", "2012-01-01"), embargo=16, warmup=50)
    assert str(market.dates_T[first.validation_T[0]]) == "2011-06-01"
    assert str(market.dates_T[first.test_T[0]]) == "2012-01-01"
    assert second.test_T[0] == first.test_T[-1] + 1
    assert second.test_T[-1] == 999


def test_more_folds_than_test_dates_are_refused() -> None:
    with pytest.raises(DataError, match="31 folds need at least as many test dates, and the test part has 30"):
        walk_forward(panel(100), 31, embargo=0, warmup=0)
    assert len(walk_forward(panel(100), 30, embargo=0, warmup=0)) == 30


# in a recipe -------------------------------------------------------------------------------------


def test_a_recipe_runs_its_fold(fake_recipe: Callable[..., Path]) -> None:
    path = fake_recipe()
    tasks: list[Any] = []
    for option in ("split.fold=0", "split.fold=2"):
        recipe = read(path, ["split.folds=4", option])
        tasks.append(pipeline.make_task(recipe, pipeline.load_panel(recipe, Console(quiet=True))))
    plain: Any = pipeline.make_task(read(path), tasks[0].panel)
    np.testing.assert_array_equal(tasks[0].split.train_T, plain.split.train_T)
    np.testing.assert_array_equal(tasks[1].split.test_T, np.array_split(plain.split.test_T, 4)[2])
    assert len(tasks[1].split.train_T) > len(tasks[0].split.train_T)


def test_a_recipe_without_a_fold_is_split_once(fake_recipe: Callable[..., Path]) -> None:
    split = read(fake_recipe()).split
    assert (split.folds, split.fold) == (1, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["split.folds=4", "split.fold=4"], ["split.fold is 4, but split.folds is 4", "the folds are 0 to 3"]),
        (["split.fold=1"], ["--set split.fold=1", "there is one fold, number 0"]),
        (["split.folds=0"], ["split.folds is 0, but must be at least 1"]),
        (["split.fold=-1"], ["split.fold is -1, but must be at least 0"]),
        (["split.folds=2.5"], ["must be a whole number"]),
        (["split.flod=1"], ["Did you mean 'fold'?"]),
    ],
)
def test_a_fold_that_does_not_exist_is_refused(
    fake_recipe: Callable[..., Path], options: list[str], words: list[str]
) -> None:
    with pytest.raises(RecipeError) as refused:
        read(fake_recipe(), options)
    for word in words:
        assert word in str(refused.value)
