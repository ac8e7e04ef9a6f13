"""Adjusted prices know later splits and dividends: prompts of a day show that day's own prices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markets import listed, market

from tradeschool.errors import DataError
from tradeschool.market.events.event import Event
from tradeschool.market.load import load_prices
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.market.snapshot import Snapshots
from tradeschool.market.splits import split_rows
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.rating_config import RatingConfig
from tradeschool.text.describe import FACTS
from tradeschool.text.sections import SECTIONS

DAY = 200


def folder(path: Path, later: float) -> Path:
    """Four stocks whose prices are worth ``later`` of themselves after a dividend or split in row DAY + 50."""
    path.mkdir()
    panel = market(tickers=4, days=300)
    for n, ticker in enumerate(panel.tickers):
        columns = {name.title(): np.round(getattr(panel, f"{name}_TN")[:, n], 4) for name in FIELDS}
        frame = pd.DataFrame({"Date": panel.dates_T.astype(str), **columns})
        known = np.where(np.arange(300) < 120, 0.9, 1.0)  # a dividend that was known long before DAY
        frame["Adj Close"] = frame["Close"] * known * np.where(np.arange(300) < DAY + 50, later, 1.0)
        frame.to_csv(path / f"{ticker}.csv", index=False)
    return path


def noted(panel: Panel) -> Panel:
    """An insider and an analyst event that name the raw close of DAY, and a sale of a thousandth of its volume."""
    raw, day = 1 / panel.factor_TN[DAY, 0], panel.dates_T[DAY]  # type: ignore[index]
    price = float(panel.close_TN[DAY, 0] * raw)
    volume = float(panel.volume_TN[DAY, 0] / raw)
    events = [
        Event(day, panel.tickers[0], "analyst", fields={"target": price}),
        Event(day, panel.tickers[0], "insider", fields={"price": price, "shares": round(volume / 1000)}),
    ]
    return replace(panel, events=tuple(events))


def prompts(panel: Panel, mask: bool) -> list[str]:
    config = RatingConfig(facts=list(FACTS), sections=list(SECTIONS), mask=mask)
    task = RatingTask(config, panel, split_rows(panel, (0.6, 0.1, 0.3), embargo=16, warmup=40))
    return [task.messages(example)[0]["content"] for t in (150, DAY) for example in listed(panel, t)]


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("later", [0.5, 1 / 7, 0.98])
def test_a_later_split_or_dividend_changes_no_prompt(tmp_path: Path, mask: bool, later: float) -> None:
    before = noted(load_prices(folder(tmp_path / "before", 1.0), messages=[]))
    after = noted(load_prices(folder(tmp_path / "after", later), messages=[]))
    assert before.data_hash() != after.data_hash()
    assert prompts(after, mask) == prompts(before, mask)


def test_an_unmasked_window_shows_the_prices_that_were_traded(tmp_path: Path) -> None:
    panel = load_prices(folder(tmp_path / "prices", 0.5), messages=[])
    raw = load_prices(tmp_path / "prices", messages=[], adjust=False)
    assert raw.factor_TN is None
    snapshot = Snapshots(panel, mask=False).at(DAY, 1)
    np.testing.assert_allclose(snapshot.recent["close"], raw.close_TN[DAY - 14 : DAY + 1, 1])
    np.testing.assert_allclose(snapshot.recent["volume"], raw.volume_TN[DAY - 14 : DAY + 1, 1])


def test_a_dividend_inside_the_window_is_known_and_adjusted_for(tmp_path: Path) -> None:
    panel = load_prices(folder(tmp_path / "prices", 1.0), messages=[])
    raw = load_prices(tmp_path / "prices", messages=[], adjust=False)
    closes = Snapshots(panel, mask=False).at(125, 0).recent["close"]
    np.testing.assert_allclose(closes[-6:], raw.close_TN[120:126, 0])
    np.testing.assert_allclose(closes[:-6], 0.9 * raw.close_TN[111:120, 0])


def test_a_masked_note_names_the_price_in_the_units_of_the_closes_beside_it(tmp_path: Path) -> None:
    panel = noted(load_prices(folder(tmp_path / "prices", 0.5), messages=[]))
    snapshot = Snapshots(panel).at(DAY, 0)
    target = dict(snapshot.events["analyst"][0].fields)["target"]
    assert isinstance(target, float)
    np.testing.assert_allclose(target * snapshot.scale, snapshot.recent["close"][-1], rtol=1e-3)


def test_factors_must_have_the_shape_of_the_bars() -> None:
    with pytest.raises(DataError, match="factor_TN has shape"):
        replace(market(), factor_TN=np.ones((2, 2)))
