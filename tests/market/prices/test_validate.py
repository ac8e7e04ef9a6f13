"""Jumps of the close: likely splits are named by their ratio, other jumps reported, ordinary days not."""

from pathlib import Path

import numpy as np
import pytest

from tradeschool.errors import DataError
from tradeschool.market.load import check_prices, load_prices
from tradeschool.market.prices.validate import SPLIT_TOLERANCE

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


def test_a_jump_is_not_a_split_if_volume_stays_or_the_ratio_is_odd(tmp_path: Path) -> None:
    plain = [(AT + 2, "the close changes by more than 1.9 times in one day")]
    assert warnings(tmp_path, 2, volume=1.0) == plain
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
    assert warnings(tmp_path, 1.5, volume=1.0) == []
    assert warnings(tmp_path, 1.2) == []
