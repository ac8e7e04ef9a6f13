"""StandardNorm: the training rows' mean and population std, and nothing else ever moves it."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool.errors import DataError
from tradeschool.market.scaling import StandardNorm

closes = st.lists(st.floats(1, 5000), min_size=2, max_size=50).filter(lambda x: max(x) - min(x) > 1e-6 * max(x))


@given(train=closes, later=closes, shift=st.floats(-0.9, 9))
def test_values_after_the_training_rows_never_move_it(train: list[float], later: list[float], shift: float) -> None:
    series = np.array([*train, *later])
    norm = StandardNorm.fit(series[: len(train)])
    scaled = norm.transform(series)
    series[len(train) :] *= 1 + shift
    series[-1] = np.nan
    assert StandardNorm.fit(series[: len(train)]) == norm
    np.testing.assert_array_equal(norm.transform(series)[: len(train)], scaled[: len(train)])


@given(train=closes, other=closes)
def test_mean_and_population_std_of_the_training_values_and_back(train: list[float], other: list[float]) -> None:
    norm = StandardNorm.fit(train)
    mean = sum(train) / len(train)
    np.testing.assert_allclose(norm.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(norm.std, (sum((x - mean) ** 2 for x in train) / len(train)) ** 0.5, rtol=1e-6)
    scaled = norm.transform(train)
    assert abs(scaled.mean()) < 1e-6
    assert scaled.std() == pytest.approx(1)
    np.testing.assert_allclose(norm.inverse(norm.transform(other)), other, rtol=1e-9)


def test_shapes_are_kept_and_missing_values_stay_missing() -> None:
    train = np.array([[1.0, np.nan], [3.0, 5.0]])
    norm = StandardNorm.fit(train)
    assert (norm.mean, norm.std) == (3.0, float(np.std([1.0, 3.0, 5.0])))
    scaled = norm.transform(train)
    assert scaled.shape == (2, 2)
    assert np.isnan(scaled[0, 1])
    np.testing.assert_allclose(norm.inverse(scaled), train)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "no known value"),
        ([np.nan, np.nan], "no known value \\(of 2\\)"),
        ([7.3], "all 7.3"),
        ([0.1] * 30, "all 0.1 \\(30 of them\\)"),
        ([0.0, 0.0], "all 0 "),
        ([1.0, np.inf, 2.0], "infinite"),
        (1e6 * (1 + 1e-15 * np.arange(9)), "no spread"),
    ],
)
def test_what_cannot_be_scaled_by_is_refused(values: list[float], words: str) -> None:
    with pytest.raises(DataError, match=f"AAPL: the training closes.*{words}"):
        StandardNorm.fit(values, "AAPL: the training closes")


def test_it_cannot_be_changed() -> None:
    norm = StandardNorm(1.0, 2.0)
    with pytest.raises(FrozenInstanceError):
        norm.mean = 0.0  # type: ignore[misc]
