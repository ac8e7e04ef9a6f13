"""One company under two tickers, and share classes, which are two."""

from pathlib import Path

import numpy as np
import pytest
from price_files import BUSINESS, Bars, bars, rows, times, write

from tradeschool.market.findings import Finding
from tradeschool.market.load import check_prices


def doubles(folder: Path) -> list[Finding]:
    return [one for one in check_prices(folder) if one.rule.startswith("two tickers")]


@pytest.mark.parametrize("kind", ["same", "in pence", "in cents", "a part", "a few other days"])
def test_the_same_prices_under_two_names_are_refused(tmp_path: Path, kind: str) -> None:
    made, digits = bars(), 2 if kind == "in cents" else 6
    other = times(made, slice(None), 100) if kind == "in pence" else made
    if kind == "a part":
        other = rows(made, slice(100, 200))
    if kind == "a few other days":
        other = times(made, slice(None, None, 25), 1.01)
    write(tmp_path, AAA=made, CCC=bars(3))
    (found,) = doubles(write(tmp_path, digits, BBB=other))
    assert (found.severity, Path(found.file).name, found.row) == ("error", "BBB.csv", 2)
    assert found.day == str(other["Date"][0])
    assert "AAA and BBB" in found.value
    accepted = check_prices(tmp_path, accept=[f"BBB {other['Date'][0]}"])
    assert not [one for one in accepted if one.severity == "error"]


@pytest.mark.parametrize("days", [1, -1])
@pytest.mark.parametrize("kind", ["days of the calendar", "business days"])
def test_the_same_prices_a_day_apart_are_refused(tmp_path: Path, kind: str, days: int) -> None:
    made = bars()
    business = np.busday_offset(made["Date"], days)
    dates = business if kind == "business days" else made["Date"] + np.timedelta64(days, "D")
    write(tmp_path, AAA=made, CCC=bars(3))
    (found,) = doubles(write(tmp_path, BBB=made | {"Date": dates}))
    assert (found.severity, Path(found.file).name, found.ticker) == ("error", "BBB.csv", "BBB")
    assert "AAA and BBB" in found.value
    assert "a day apart" in found.value


def share_class(made: Bars, spread: float) -> Bars:
    """Prices that differ by a spread that comes and goes, as those of two classes of a company's shares."""
    noise_T = np.random.default_rng(5).normal(0, spread, len(made["Date"]))
    return times(made, slice(None), np.exp(noise_T))  # type: ignore[arg-type]


@pytest.mark.parametrize(("spread", "price"), [(0.0006, 600.0), (0.0006, 50.0), (0.003, 50.0), (0.004, 7.0)])
def test_share_classes_and_unlike_stocks_pass(tmp_path: Path, spread: float, price: float) -> None:
    made = bars(price=price)
    write(tmp_path, 2, GOOG=made, GOOGL=share_class(made, spread), IBM=bars(3), MSFT=bars(4))
    assert check_prices(tmp_path) == []


def test_a_symbol_that_continues_another_is_warned_of(tmp_path: Path) -> None:
    made = bars()
    write(tmp_path, FB=rows(made, slice(150)), META=rows(made, slice(150, None)), IBM=bars(3))
    (found,) = [one for one in check_prices(tmp_path) if one.rule.startswith("a ticker begins")]
    assert (found.severity, Path(found.file).name, found.day) == ("warning", "META.csv", str(BUSINESS[150]))
    write(tmp_path, META=rows(bars(9, price=20), slice(150, None)))
    assert not [one for one in check_prices(tmp_path) if one.rule.startswith("a ticker begins")]
