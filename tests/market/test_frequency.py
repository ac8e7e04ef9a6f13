"""How often a bar comes, found from the dates, and what follows from it."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tradeschool import metrics
from tradeschool.env.config import EnvConfig, ExecutionParams
from tradeschool.evaluate.backtest import backtest
from tradeschool.evaluate.evaluation_set import Costs
from tradeschool.market.calendar import bars_per_year, find_frequency
from tradeschool.market.load import check_prices, load_prices

Dates = NDArray[np.datetime64]
EVERY_DAY: Dates = np.arange(np.datetime64("2015-01-02"), np.datetime64("2019-01-01"))  # from a Friday on
BUSINESS: Dates = EVERY_DAY[np.is_busday(EVERY_DAY)]
MONTHS: Dates = np.arange("2005-01", "2015-01", dtype="datetime64[M]").astype("datetime64[D]")
WEEKDAY: NDArray[np.int64] = (EVERY_DAY.astype(np.int64) + 3) % 7


def moved(dates: Dates, places: list[int]) -> Dates:
    dates = dates.copy()
    dates[places] -= np.timedelta64(1, "D")
    return dates


REGULAR = {
    "business days": (BUSINESS, 252),
    "business days with holidays": (np.delete(BUSINESS, np.arange(0, 900, 30)), 252),
    "business days, many missing": (np.sort(np.random.default_rng(0).choice(BUSINESS, 700, replace=False)), 252),
    "a few days": (BUSINESS[:3], 252),
    "one day": (BUSINESS[:1], 252),
    "seven days": (EVERY_DAY, 365),
    "Sunday to Thursday": (EVERY_DAY[np.isin(WEEKDAY, [6, 0, 1, 2, 3])], 252),
    "Sunday to Friday": (EVERY_DAY[WEEKDAY != 5], 313),
    "Fridays": (EVERY_DAY[::7], 52),
    "Mondays": (EVERY_DAY[3::7], 52),
    "Fridays or the day before": (moved(EVERY_DAY[::7], [5, 60, 100]), 52),
    "twenty weeks": (EVERY_DAY[:140:7], 52),
    "every two weeks": (EVERY_DAY[::14], 26),
    "first days of months": (MONTHS, 12),
    "last business days of months": (np.busday_offset(MONTHS - 1, 0, roll="backward"), 12),
    "quarters": (MONTHS[::3], 4),
    "years": (MONTHS[::12], 1),
    "every two days": (EVERY_DAY[::2], 183),
    "every two business days": (BUSINESS[::2], 126),
    "every three business days": (BUSINESS[::3], 84),
}


@pytest.mark.parametrize("kind", REGULAR)
def test_the_bars_a_year_are_found_from_the_dates(kind: str) -> None:
    dates, expected = REGULAR[kind]
    found = find_frequency(dates)
    assert found is not None
    assert found == bars_per_year(dates) == expected


def test_irregular_dates_have_no_frequency() -> None:
    dates = np.sort(np.random.default_rng(1).choice(EVERY_DAY, 300, replace=False))
    assert find_frequency(dates) is None
    assert bars_per_year(dates) == pytest.approx(300 / 4, rel=0.02)


def write(folder: Path, **tickers: Dates) -> Path:
    folder.mkdir(exist_ok=True)
    for seed, (ticker, dates) in enumerate(tickers.items()):
        close_T = 50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, len(dates))))
        lines = [f"{day},{c:.4f},{c * 1.01:.4f},{c * 0.99:.4f},{c:.4f},{1000 + i}" for i, (day, c) in
                 enumerate(zip(dates, close_T, strict=True))]  # fmt: skip
        (folder / f"{ticker}.csv").write_text("\n".join(["Date,Open,High,Low,Close,Volume", *lines]) + "\n")
    return folder


@pytest.mark.parametrize(("kind", "name"), [("Fridays", "weekly: 52"), ("seven days", "seven days a week: 365")])
def test_an_unusual_frequency_is_stated_once_and_is_no_warning(tmp_path: Path, kind: str, name: str) -> None:
    dates, _ = REGULAR[kind]
    (found,) = check_prices(write(tmp_path, AAA=dates, BBB=dates))
    assert found.severity == "info"
    assert f"{name} a year" in found.rule


def test_frequencies_that_do_not_fit_are_refused_by_file_and_row(tmp_path: Path) -> None:
    folder = write(tmp_path / "mixed", AAA=BUSINESS, BBB=BUSINESS, WEEK=EVERY_DAY[::7])
    (error,) = [one for one in check_prices(folder) if one.severity == "error"]
    assert (Path(error.file).name, error.row, error.ticker) == ("WEEK.csv", 2, "WEEK")
    assert "the bars are weekly, but those of most tickers are daily" in error.rule
    folder = write(tmp_path / "apart", AAA=EVERY_DAY[::7], BBB=EVERY_DAY[3::7])
    assert [one.rule for one in check_prices(folder) if one.severity == "error"] == [
        "the bars are weekly, but on different days"
    ]
    irregular = np.sort(np.random.default_rng(1).choice(EVERY_DAY, 300, replace=False))
    (error,) = check_prices(write(tmp_path / "irregular", AAA=irregular))
    assert (error.severity, error.rule) == ("error", "the bars have no regular step")
    # Beside daily tickers it is one that is rarely traded.
    folder = write(tmp_path / "rare", AAA=EVERY_DAY, BBB=irregular)
    assert not [one for one in check_prices(folder) if one.severity == "error"]


@pytest.mark.parametrize("weeks_first", [True, False])
def test_a_file_that_changes_its_frequency_is_refused_at_the_change(tmp_path: Path, weeks_first: bool) -> None:
    weeks = EVERY_DAY[:210:7]
    dates = (
        np.concatenate([weeks, BUSINESS[200:600]])
        if weeks_first
        else np.concatenate([BUSINESS[:400], EVERY_DAY[560:770:7]])
    )
    errors = [one for one in check_prices(write(tmp_path, AAA=dates)) if one.severity == "error"]
    assert [one.rule for one in errors] == ["the frequency of the bars changes"]
    assert errors[0].row == (32 if weeks_first else 403)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (BUSINESS[:100], EVERY_DAY[150:][3::7][:100]),
        (BUSINESS[:90], EVERY_DAY[150:][3::7][:120]),
        (EVERY_DAY[:700:7], BUSINESS[500:590]),
        (MONTHS[:120], EVERY_DAY[::7]),
        (BUSINESS[:300], BUSINESS[310::21]),
    ],
)
def test_the_row_of_a_change_of_frequency_is_where_it_changes(tmp_path: Path, first: Dates, then: Dates) -> None:
    errors = [one for one in check_prices(write(tmp_path, AAA=np.concatenate([first, then]))) if one.row]
    assert [one.rule for one in errors] == ["the frequency of the bars changes"]
    assert errors[0].row is not None
    assert abs(errors[0].row - 2 - len(first)) <= 1


@pytest.mark.parametrize("kind", ["business days", "seven days", "Fridays", "first days of months"])
def test_sharpe_and_sortino_and_interest_follow_the_bars_a_year(tmp_path: Path, kind: str) -> None:
    dates, a_year = REGULAR[kind]
    dates = dates[:120]
    panel = load_prices(write(tmp_path, AAA=dates), [])
    assert panel.bars_per_year == a_year
    free = Costs(commission_bps=0, slippage_bps=0)
    test = backtest(panel, np.arange(119), np.ones((119, 1)), np.ones((119, 1), bool), free)
    returns_T = test.returns_T
    expected = returns_T.mean() / returns_T.std(ddof=1) * math.sqrt(a_year)
    assert metrics.sharpe(returns_T, test.bars_per_year) == pytest.approx(expected)
    risk = math.sqrt(np.mean(np.minimum(returns_T, 0) ** 2))
    assert metrics.sortino(returns_T, test.bars_per_year) == pytest.approx(returns_T.mean() / risk * math.sqrt(a_year))
    params = ExecutionParams.of(EnvConfig(interest=0.05), panel.bars_per_year)
    assert params.interest == pytest.approx(1 + 0.05 / a_year)


def test_the_deflated_sharpe_does_not_depend_on_the_bars_a_year() -> None:
    returns_T = np.random.default_rng(0).normal(0.001, 0.01, 200)
    tried = [0.5, 1.0, 1.5]
    scaled = [one * math.sqrt(52 / 252) for one in tried]
    assert metrics.deflated_sharpe(returns_T, scaled, 52) == pytest.approx(metrics.deflated_sharpe(returns_T, tried))
