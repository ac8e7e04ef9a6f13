"""What a price does from one bar to the next: splits, changes of unit, wrong bars, real crashes, another company."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from price_files import BUSINESS, PRICES, Bars, bars, rows, times, write

from tradeschool.errors import DataError
from tradeschool.market.load import check_prices, load_prices
from tradeschool.market.prices.moves import SPLIT_TOLERANCE

DAYS = np.busday_offset(np.datetime64("2020-01-01"), np.arange(50), roll="raise")
AT = 25
NEAR = "the open is within 5% of that ratio"


def warnings(
    tmp_path: Path, ratio: float, volume: float | None = None, overnight: float = 0.01, adj: bool = False
) -> list[tuple[int | None, str]]:
    """Row and rule of every warning about a quiet stock with a price change by ``1 / ratio`` on day ``AT``."""
    rng = np.random.default_rng(3)
    close_T = 100 * np.exp(np.cumsum(rng.normal(0, 0.004, len(DAYS))))
    open_T = close_T * (1 + rng.normal(0, 0.002, len(DAYS)))
    open_T[AT] = close_T[AT - 1] * (1 + overnight)
    close_T[AT] = open_T[AT] * 1.005
    volume_T = rng.integers(90_000, 110_000, len(DAYS)).astype(float)
    price_T = np.where(np.arange(len(DAYS)) >= AT, 1 / ratio, 1.0)
    volume_T[AT:] *= ratio if volume is None else volume
    lines = ["Date,Open,High,Low,Close,Volume" + (",Adj Close" if adj else "")]
    for t, day in enumerate(DAYS):
        o, c = open_T[t] * price_T[t], close_T[t] * price_T[t]
        row = [day, o, max(o, c), min(o, c), c, volume_T[t]]
        lines.append(",".join(str(cell) for cell in ([*row, c] if adj else row)))
    path = tmp_path / "AAA.csv"
    path.write_text("\n".join(lines) + "\n")
    found = check_prices(path, splits="accept")
    assert all(finding.severity == "warning" for finding in found)
    return [(finding.row, finding.rule) for finding in found]


@pytest.mark.parametrize(
    ("ratio", "name"),
    [
        *((1.5, "3:2"), (2, "2:1"), (3, "3:1"), (4, "4:1"), (5, "5:1"), (7, "7:1"), (10, "10:1"), (20, "20:1")),
        *((1 / 1.5, "2:3"), (1 / 2, "1:2"), (1 / 8, "1:8"), (1 / 10, "1:10")),
    ],
)
def test_a_split_is_named_with_its_ratio(tmp_path: Path, ratio: float, name: str) -> None:
    assert warnings(tmp_path, ratio) == [(AT + 2, f"prices are not adjusted for a split: {name}, {NEAR}")]
    path = tmp_path / "AAA.csv"
    (error,) = check_prices(path)
    assert (error.severity, error.row) == ("error", AT + 2)
    for words in ("Adj Close column", f"divide the prices before it by {ratio:g}", "accept"):
        assert words in error.cure
    with pytest.raises(DataError, match=rf"AAA.csv, row {AT + 2}: prices are not adjusted for a split: {name}, .*5%"):
        load_prices(path)
    assert load_prices(path, [], splits="accept").shape == (len(DAYS), 1)


@pytest.mark.parametrize(
    ("ratio", "name"),
    [(3, "3:1"), (1.5, "3:2"), (4 / 3, "4:3"), (1.25, "5:4"), (1 / 1.5, "2:3"), (0.75, "3:4"), (0.8, "4:5")],
)
def test_a_split_is_found_where_the_volumes_alone_are_adjusted(tmp_path: Path, ratio: float, name: str) -> None:
    assert warnings(tmp_path, ratio, volume=1.0) == [(AT + 2, f"prices are not adjusted for a split: {name}, {NEAR}")]


@pytest.mark.parametrize("ratio", [1.5, 4 / 3, 1.25])
def test_a_small_split_is_found_only_where_it_is_exact_and_nothing_else_can_explain_it(
    tmp_path: Path, ratio: float
) -> None:
    assert warnings(tmp_path, ratio, overnight=0.03, volume=1.0) == []
    # Volumes rise as on news, and stay up.
    assert not any("not adjusted" in rule for _, rule in warnings(tmp_path, ratio, volume=6.0))
    # A stock that moves by 3 % a bar: 15 of these are more than such a split.
    rough = bars(2)
    rough |= {name: rough[name] ** 2 / 50 for name in PRICES}
    assert errors(write(tmp_path / "rough", AAA=times(rough, slice(200, None), 1 / ratio))) == []


def test_small_splits_are_found_with_volumes_that_follow(tmp_path: Path) -> None:
    for ratio, name in ((4 / 3, "4:3"), (1.25, "5:4")):
        assert warnings(tmp_path, ratio) == [(AT + 2, f"prices are not adjusted for a split: {name}, {NEAR}")]


def test_a_jump_is_not_a_split_if_the_volume_falls_or_the_ratio_is_odd(tmp_path: Path) -> None:
    plain = [(AT + 2, "the close changes by more than 1.9 times from one bar to the next")]
    assert warnings(tmp_path, 2, volume=0.5) == plain
    assert warnings(tmp_path, 2, overnight=-SPLIT_TOLERANCE - 0.01) == plain
    assert warnings(tmp_path, 2.4) == plain


def test_with_an_adj_close_it_is_a_warning_that_names_the_ratio(tmp_path: Path) -> None:
    for ratio, name in ((1.5, "3:2"), (2, "2:1")):
        rule = f"the price jumps as in a split, although there is an Adj Close: {name}, {NEAR}"
        assert warnings(tmp_path, ratio, adj=True) == [(AT + 2, rule)]
        assert load_prices(tmp_path, []).shape == (len(DAYS), 1)


def test_smaller_moves_are_not_jumps(tmp_path: Path) -> None:
    assert warnings(tmp_path, 1) == []
    assert warnings(tmp_path, 1.2) == []
    assert warnings(tmp_path, 1.4) == []


# changes of unit, wrong bars, crashes, other companies: row 202 is the bar of place 200

ROW = 202
UNIT = "the price changes by a factor that the volume does not follow"
WRONG = "a price is more than 1.4 times the bars before and after it"


def errors(folder: Path, **options: Any) -> list[tuple[str, int | None, str]]:
    """File, row and rule of every error."""
    found = check_prices(folder, **options)
    return [(Path(one.file).name, one.row, one.rule) for one in found if one.severity == "error"]


def volumes(made: Bars, first: int, factor: float, bars: int = 1000) -> Bars:
    return times(made, slice(first, first + bars), factor, ("Volume",))


@pytest.mark.parametrize("factor", [100, 10, 1000, 0.01, 0.1, 0.001, 20])
@pytest.mark.parametrize("adjusted", ["", "Close", "alone"])
def test_a_change_of_unit_is_refused_by_row_with_its_factor(tmp_path: Path, factor: float, adjusted: str) -> None:
    made = bars()
    changed = times(made, slice(200, None), factor)
    if adjusted:
        changed["Adj Close"] = changed["Close"]
    if adjusted == "alone":  # the Close keeps its unit
        changed |= {name: made[name] for name in PRICES}
    ((file, row, rule),) = errors(write(tmp_path, AAA=changed, BBB=bars(1)))
    assert (file, row) == ("AAA.csv", ROW)
    assert rule.startswith(UNIT)
    with pytest.raises(DataError, match=r"AAA.csv, row 202: .*market.accept: \['AAA 2015-10-08'\]"):
        load_prices(tmp_path)


@pytest.mark.parametrize(("first", "after", "found"), [(100, 110, [102, 112]), (0, 1, [3]), (299, 300, [301])])
def test_a_unit_that_changes_for_some_bars_or_at_an_end_is_refused(
    tmp_path: Path, first: int, after: int, found: list[int]
) -> None:
    assert [row for _, row, _ in errors(write(tmp_path, AAA=times(bars(), slice(first, after), 100)))] == found


def test_a_unit_that_changes_within_a_day_is_refused(tmp_path: Path) -> None:
    made = times(bars(), slice(200, None), 0.01)
    made = times(made, slice(200, 201), 100, ("Open", "High"))
    assert [row for _, row, _ in errors(write(tmp_path, AAA=made))] == [ROW]


@pytest.mark.parametrize("factor", [100, 10, 2, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("names", [PRICES, ("Close",), ("Open",), ("High",), ("Low",)])
def test_a_single_wrong_bar_is_refused_or_left_out(tmp_path: Path, factor: float, names: tuple[str, ...]) -> None:
    if (names, factor > 1) in ((("High",), False), (("Low",), True)):
        pytest.skip("such a bar has its open outside of high and low")
    folder = write(tmp_path, AAA=times(bars(), slice(200, 201), factor, names))
    ((file, row, rule),) = errors(folder)
    assert (file, row) == ("AAA.csv", ROW)
    assert rule.startswith(WRONG)
    messages: list[str] = []
    panel = load_prices(folder, messages, spikes="leave_out")
    assert panel.shape == (299, 1)
    assert BUSINESS[200] not in panel.dates_T
    assert any("row 202" in message and "left out" in message for message in messages)
    assert errors(folder, accept=[f"AAA {BUSINESS[200]}"]) == []
    assert load_prices(folder, [], spikes="leave_out", accept=[f"AAA {BUSINESS[200]}"]).shape == (300, 1)


def test_a_wild_day_with_its_volume_and_a_stock_of_wild_days_are_not_wrong(tmp_path: Path) -> None:
    wild = times(bars(), slice(200, 201), 3, ("High", "Close"))
    assert errors(write(tmp_path, AAA=volumes(wild, 200, 8, 1))) == []
    rng = np.random.default_rng(2)
    penny = times(bars(), slice(None), np.exp(rng.normal(0, 0.4, 300)))  # type: ignore[arg-type]
    assert [rule for _, _, rule in errors(write(tmp_path, AAA=penny)) if rule.startswith(WRONG)] == []


@pytest.mark.parametrize(
    ("left", "volume", "days"),
    [(0.5, 6, 1000), (0.5, 10, 3), (0.5, 20, 1), (0.25, 15, 1000), (0.1, 50, 1), (0.1, 40, 9)],
)
def test_a_real_crash_with_its_volume_loads_with_a_warning(
    tmp_path: Path, left: float, volume: float, days: int
) -> None:
    folder = write(tmp_path, AAA=volumes(times(bars(), slice(200, None), left), 200, volume, days))
    (found,) = check_prices(folder)
    assert (found.severity, found.row, found.ticker, found.day) == ("warning", ROW, "AAA", str(BUSINESS[200]))
    assert load_prices(folder, []).close_TN[200, 0] / load_prices(folder, []).close_TN[199, 0] < 0.6


def test_one_ticker_and_day_are_accepted_and_no_other(tmp_path: Path) -> None:
    half = volumes(times(bars(), slice(200, None), 0.5), 200, 2.5)
    folder = write(tmp_path, AAA=half, BBB=volumes(times(bars(1), slice(200, None), 0.5), 200, 2))
    assert [file for file, _, _ in errors(folder)] == ["AAA.csv", "BBB.csv"]
    day = BUSINESS[200]
    assert [file for file, _, _ in errors(folder, accept=[f"AAA {day}"])] == ["BBB.csv"]
    assert len(errors(folder, accept=[f"AAA {BUSINESS[201]}"])) == 2
    assert load_prices(folder, [], accept=[f"AAA {day}", f"BBB {day}"]).shape == (300, 2)
    (unknown,) = [one for one in check_prices(folder, accept=[f"AAB {day}"]) if one.rule.startswith("accept names")]
    assert "Did you mean 'AAA'" in unknown.cure
    with pytest.raises(DataError, match="Write it like 'ABC 2016-01-04'"):
        load_prices(folder, accept=["AAA"])


@pytest.mark.parametrize(
    ("days", "price", "refused"), [(400, 200.0, True), (120, 8.0, True), (700, 44.0, True), (120, 44.0, False)]
)
def test_a_symbol_used_again_after_a_long_gap_is_refused(
    tmp_path: Path, days: int, price: float, refused: bool
) -> None:
    first = bars()
    later = bars(7, BUSINESS[300:600] + np.timedelta64(days, "D"), price)
    later["Date"] = np.busday_offset(later["Date"], 0, roll="forward")
    later = rows(later, slice(5, None))
    folder = write(tmp_path, AAA={name: np.concatenate([first[name], later[name]]) for name in first})
    found = [one for one in check_prices(folder) if one.row == 302]
    assert [one.severity for one in found] == ["error" if refused else "warning"]
    assert "no bar for more than 90 days" in found[0].rule
