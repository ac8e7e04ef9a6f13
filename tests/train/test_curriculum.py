"""Curricula: what each selects, that only training days decide it, and what is refused."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markets import market, ragged, repriced_after, scrambled_after, task_of

from tradeschool.errors import DataError, RecipeError
from tradeschool.market.events.event import Event
from tradeschool.market.panel import Panel
from tradeschool.tasks.base import Example
from tradeschool.tasks.rating import RatingTask
from tradeschool.train.curriculum import (
    CurriculumConfig,
    balanced,
    event_index_T,
    index_volatility_T,
    select_examples,
    volatile_rows,
)


def quiet(text: str) -> None:
    """Ignore the message."""


def take(task: RatingTask, **config: Any) -> list[Example]:
    return select_examples(task, CurriculumConfig(**config), task.panel, seed=0, log=quiet)


@pytest.fixture(scope="module")
def task() -> RatingTask:
    return task_of(market())


# natural -----------------------------------------------------------------------------------------


def test_natural_is_every_training_question_in_its_order(task: RatingTask) -> None:
    assert take(task) == take(task, curriculum="natural") == task.examples("train")


# balanced ----------------------------------------------------------------------------------------


def pool(*sizes: int) -> list[Example]:
    """``sizes`` questions of class 0, 1, ...; the class is the ticker."""
    return [Example(f"{n}@{t}", t, n) for n, size in enumerate(sizes) for t in range(size)]


def by_ticker(example: Example) -> str:
    return f"class {example.n}"


@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    count=st.one_of(st.none(), st.integers(1, 300)),
    seed=st.integers(0, 5),
)
def test_classes_come_equally_often_and_none_twice_before_all_came_once(
    sizes: list[int], count: int | None, seed: int
) -> None:
    questions = pool(*sizes)
    drawn = balanced(questions, by_ticker, count=count, seed=seed, log=quiet)
    assert len(drawn) == min(count or sum(sizes), sum(sizes))
    assert set(drawn) <= set(questions)
    taken = [sum(example.n == n for example in drawn) for n in range(len(sizes))]
    assert max(taken) - min(taken) <= 1
    times = Counter(drawn)
    for n in range(len(sizes)):
        of_class = [times[example] for example in questions if example.n == n]
        assert max(of_class) - min(of_class) <= 1


def test_the_draw_is_fixed_by_the_seed_and_mixes_the_classes() -> None:
    questions = pool(200, 10)
    first = balanced(questions, by_ticker, seed=0, log=quiet)
    assert first == balanced(questions, by_ticker, seed=0, log=quiet)
    assert first != balanced(questions, by_ticker, seed=1, log=quiet)
    assert 5 < sum(example.n for example in first[:30]) < 25


def test_ratings_of_hindsight_are_balanced_and_questions_without_one_left_out(task: RatingTask) -> None:
    drawn = take(task, curriculum="balanced")
    shares = Counter(task.label(example) for example in drawn)
    assert set(shares) == set(task.action_names)
    assert max(shares.values()) - min(shares.values()) <= 1
    assert {example.t for example in drawn} <= set(task.split.train_T.tolist())
    natural = Counter(task.label(example) for example in task.examples("train"))
    assert natural[None] > 0
    assert natural["HOLD"] > 8 * natural["STRONG_SELL"]


def test_the_log_counts_what_was_drawn_and_names_classes_that_do_not_occur() -> None:
    log: list[str] = []
    balanced(pool(2, 100), by_ticker, ("class 0", "class 1", "class 7"), count=20, seed=0, log=log.append)
    for part in ("class 0 10 of 2", "class 1 10 of 100", "class 7"):
        assert part in log[0]


def test_fewer_than_two_classes_are_refused() -> None:
    with pytest.raises(RecipeError, match="only the class class 0 occurs"):
        balanced(pool(5), by_ticker, seed=0, log=quiet)
    with pytest.raises(RecipeError, match="no training example has a class among 5"):
        balanced(pool(5), lambda example: None, seed=0, log=quiet)


# volatile ----------------------------------------------------------------------------------------


@given(days=st.integers(1, 300), share=st.floats(0.01, 1), seed=st.integers(0, 100), unknown=st.floats(0, 0.5))
def test_the_most_volatile_share_of_the_train_days_is_taken(days: int, share: float, seed: int, unknown: float) -> None:
    rng = np.random.default_rng(seed)
    index_T = rng.permutation(days + 50).astype(float)
    index_T[rng.random(days + 50) < unknown] = np.nan
    train_T = np.arange(20, 20 + days)
    rows = volatile_rows(index_T, train_T, share)
    known = train_T[np.isfinite(index_T[train_T])]
    assert set(rows) <= set(known)
    assert abs(len(rows) - share * len(known)) <= 1
    left = np.setdiff1d(known, rows)
    assert not len(left) or index_T[left].max() < index_T[rows].min()
    # Days outside the training part decide nothing, however volatile.
    index_T[:20], index_T[20 + days :] = 1e9, 1e9
    np.testing.assert_array_equal(volatile_rows(index_T, train_T, share), rows)


def test_volatile_questions_are_those_of_volatile_train_days(task: RatingTask) -> None:
    drawn = take(task, curriculum="volatile", volatile_share=0.25)
    days = sorted({example.t for example in drawn})
    assert len(days) == pytest.approx(0.25 * len(task.split.train_T), abs=1)
    calm = set(task.split.train_T.tolist()) - set(days)
    index_T = index_volatility_T(task.panel)
    assert min(index_T[days]) > max(index_T[sorted(calm)])
    assert drawn == [example for example in task.examples("train") if example.t in set(days)]


@pytest.mark.parametrize("config", [{"curriculum": "volatile"}, {"curriculum": "balanced"}])
def test_no_day_after_train_moves_the_selection(config: dict[str, str]) -> None:
    before = task_of(ragged())
    # The days on which each stock trades stay: the embargo counts its bars.
    after = task_of(repriced_after(before.panel, int(before.split.train_T[-1])))
    # The last questions reach beyond the training part: whether they exist depends on what follows.
    reach = int(before.split.train_T[-1]) - 25

    def early(task: RatingTask) -> list[Example]:
        if config["curriculum"] == "volatile":
            return [example for example in take(task, **config) if example.t <= reach]
        questions = [example for example in task.examples("train") if example.t <= reach]
        return balanced(questions, task.label, seed=0, log=quiet)

    assert early(before) == early(after)
    assert early(before)


def test_index_volatility_is_that_of_the_mean_return_and_known_at_the_day() -> None:
    panel = market(days=200)
    index_T = index_volatility_T(panel)
    returns_TN = np.diff(np.log(panel.close_TN), axis=0)
    assert index_T[57] == pytest.approx(returns_TN[37:57].mean(axis=1).std(ddof=1))
    assert np.isnan(index_T[:20]).all()
    assert np.isfinite(index_T[20:]).all()
    np.testing.assert_array_equal(index_volatility_T(scrambled_after(panel, 150))[:151], index_T[:151])


def test_the_index_leaves_out_tickers_without_a_bar() -> None:
    panel = ragged()
    index_T = index_volatility_T(panel)
    assert np.isfinite(index_T[20:]).all()
    returns_TN = pd.DataFrame(np.log(panel.close_TN)).ffill().diff().where(panel.listed_TN).to_numpy()[1:]
    assert index_T[200] == pytest.approx(np.nanmean(returns_TN[180:200], axis=1).std(ddof=1))


def test_rows_without_a_return_are_skipped() -> None:
    panel = market(days=200)
    bars = {name: getattr(panel, name).copy() for name in ("open_TN", "high_TN", "low_TN", "close_TN", "volume_TN")}
    for bar_TN in bars.values():
        bar_TN[100, 1:] = np.nan  # row 100 is a holiday of all but one, which is listed on it
        bar_TN[:100, 0] = np.nan
    index_T = index_volatility_T(replace(panel, **bars))
    assert np.isnan(index_T[100])
    assert np.isfinite(index_T[101:]).all()


# a supplied index --------------------------------------------------------------------------------


def with_index(panel: Panel, values: dict[np.datetime64, float], **more: Any) -> Panel:
    events = [Event(day, None, "volatility_index", fields={"VIX": value}, **more) for day, value in values.items()]
    return replace(panel, events=(*panel.events, *events))


def test_a_supplied_index_is_the_latest_value_known_at_the_close() -> None:
    panel = market(days=200)
    day = panel.dates_T[50].astype("datetime64[D]")
    saturday = panel.dates_T[panel.dates_T.astype("datetime64[D]").astype(int) % 7 == 1][5].astype("datetime64[D]") + 1
    row = int(np.searchsorted(panel.dates_T, saturday))
    assert panel.dates_T[row - 1] < saturday < panel.dates_T[row]
    evening = (panel.dates_T[60].astype("datetime64[D]") + 1).astype("datetime64[s]")
    index_T = event_index_T(with_index(panel, {evening: 30.0, day: 10.0, saturday: 20.0}))
    for value, at in zip((10.0, 30.0, 20.0), (50, 61, row), strict=True):
        assert index_T[at] == value
        assert index_T[at - 1] != value
    first = min(50, 61, row)
    assert np.isnan(index_T[:first]).all()
    assert np.isfinite(index_T[first:]).all()


def test_the_days_of_a_high_index_are_taken_by_events(task: RatingTask) -> None:
    days = task.panel.dates_T.astype("datetime64[D]")
    chosen = task.split.train_T[10:40]
    panel = with_index(task.panel, {day: 40.0 if t in set(chosen) else 12.0 for t, day in enumerate(days)})
    config = CurriculumConfig(curriculum="volatile", volatile_by="index", volatile_share=0.1)
    drawn = select_examples(task, config, panel, seed=0, log=quiet)
    assert {example.t for example in drawn} <= set(chosen.tolist())
    assert len({example.t for example in drawn}) == 30


def test_no_index_and_several_indices_are_refused(task: RatingTask) -> None:
    with pytest.raises(RecipeError, match="volatility_index, but .* has none"):
        take(task, curriculum="volatile", volatile_by="index")
    days = task.panel.dates_T.astype("datetime64[D]")
    twice = with_index(with_index(task.panel, {days[3]: 1.0}, source="VIX"), {days[4]: 2.0}, source="VXN")
    with pytest.raises(RecipeError, match="VIX, VXN"):
        event_index_T(twice)
    silent = replace(task.panel, events=(Event(days[3], None, "volatility_index", text="up"),))
    with pytest.raises(DataError, match="none"):
        event_index_T(silent)


def test_an_empty_selection_says_why(task: RatingTask) -> None:
    late = with_index(task.panel, {task.panel.dates_T[-1].astype("datetime64[D]"): 20.0})
    config = CurriculumConfig(curriculum="volatile", volatile_by="index")
    with pytest.raises(RecipeError, match="known on 0 of 197"):
        select_examples(task, config, late, seed=0, log=quiet)


def test_the_log_says_how_much_was_selected(task: RatingTask) -> None:
    log: list[str] = []
    drawn = select_examples(task, CurriculumConfig(curriculum="volatile"), task.panel, seed=0, log=log.append)
    assert f"{len(drawn)} of {len(task.examples('train'))}" in log[0]
