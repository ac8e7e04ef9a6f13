"""Adjusted prices know later splits and dividends: prompts of a day show that day's own prices."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markets import listed, market
from numpy.typing import NDArray

from tradeschool.env.trading_env import TradingEnv
from tradeschool.errors import DataError
from tradeschool.market import features
from tradeschool.market.events.event import Event
from tradeschool.market.load import load_prices
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.market.prices.histories import adjustment_factor_T
from tradeschool.market.snapshot import Snapshots
from tradeschool.market.splits import split_rows
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.rating_config import RatingConfig
from tradeschool.text.describe import FACTS
from tradeschool.text.sections import SECTIONS

DAY = 200
Floats = NDArray[np.float64]


def folder(path: Path, later: Callable[[Floats, np.random.Generator], Floats], decimals: int | None = None) -> Path:
    """Four stocks whose Adj Close is ``later`` of what it was, for what was only known after DAY.

    Until then there were dividends in cents and tenths of them, one of no round amount, and a split of two for one. The
    Adj Close is Yahoo's: computed in single precision, with six decimals.
    """
    path.mkdir()
    panel = market(tickers=4, days=300)
    rng = np.random.default_rng(0)
    for n, ticker in enumerate(panel.tickers):
        split = np.where(np.arange(300) < 90, 2.0, 1.0)
        columns = {name.title(): np.round(getattr(panel, f"{name}_TN")[:, n] * split, 2) for name in FIELDS}
        frame = pd.DataFrame({"Date": panel.dates_T.astype(str), **columns})
        close = frame["Close"].to_numpy()
        factor = 1 / split
        for row, amount in ((40, 0.47), (103, 0.565), (149, 0.38), (151, 1.234567)):
            factor[:row] *= 1 - amount / close[row - 1]
        yahoo = np.asarray((close * factor).astype(np.float32), dtype=np.float64).round(6)
        changed = later(yahoo, rng)
        frame["Adj Close"] = changed if decimals is None else np.round(changed, decimals)
        frame.to_csv(path / f"{ticker}.csv", index=False)
    return path


def times(factor: float) -> Callable[[Floats, np.random.Generator], Floats]:
    """A dividend or split long after the last row of the file, or in row DAY + 50."""
    return lambda adj, rng: adj * np.where(np.arange(len(adj)) < DAY + 50, factor, 1.0)


def many_events(adj: Floats, rng: np.random.Generator) -> Floats:
    factor = rng.choice([0.3, 0.9, 2.0]) * np.ones(len(adj))
    for row in rng.integers(DAY + 1, len(adj), 6):
        factor[:row] *= rng.choice([1 - rng.uniform(0.001, 0.03), 0.5, 1.5], p=[0.8, 0.1, 0.1])
    return factor * adj


LATER: dict[str, tuple[Callable[[Floats, np.random.Generator], Floats], int | None]] = {
    "all times .9": (lambda adj, rng: 0.9 * adj, None),
    "all times .9, six decimals": (lambda adj, rng: 0.9 * adj, 6),
    "single precision": (lambda adj, rng: (0.77 * adj).astype(np.float32).astype(np.float64), None),
    "seven for one": (times(1 / 7), None),
    "a dividend": (times(0.98), 6),
    "dividends and splits": (many_events, None),
    "dividends and splits, six decimals": (many_events, 6),
}


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


def prompts(panel: Panel, mask: bool, rows: Sequence[int] = (60, 150, 155, DAY)) -> list[str]:
    config = RatingConfig(facts=list(FACTS), sections=list(SECTIONS), mask=mask)
    task = RatingTask(config, panel, split_rows(panel, (0.6, 0.1, 0.3), embargo=16, warmup=40))
    return [task.messages(example)[0]["content"] for t in rows for example in listed(panel, t)]


def observations(panel: Panel, mask: bool, observation: str) -> list[Any]:
    """Every observation and reward of an episode until DAY, with orders that fill."""
    env = TradingEnv(panel, tickers=2, days=20, observation=observation, mask=mask)
    rng = np.random.default_rng(3)
    first, _ = env.reset(seed=1, options={"start": DAY - 20, "tickers": panel.tickers[:2]})
    found = [first]
    for _ in range(20):
        wanted = rng.uniform(-1, 1, 2).astype(np.float32)
        names = ("S1", "S2") if mask else panel.tickers[:2]
        words = [f"{'BUY' if w > 0 else 'SELL'} {name} {abs(w):.2f}" for name, w in zip(names, wanted, strict=True)]
        observed, reward, *_ = env.step("\n".join(words) if observation == "text" else wanted)
        found += [observed, reward]
    return [one.tobytes() if isinstance(one, np.ndarray) else one for one in found]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    path = tmp_path_factory.mktemp("adjustment") / "before"
    return noted(load_prices(folder(path, lambda adj, rng: adj), messages=[]))


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("later", LATER)
def test_later_splits_and_dividends_change_no_prompt_and_no_observation(
    tmp_path: Path, before: Panel, mask: bool, later: str
) -> None:
    after = noted(load_prices(folder(tmp_path / "after", *LATER[later]), messages=[]))
    assert prompts(after, mask) == prompts(before, mask)
    for observation in ("text", "numeric"):
        assert observations(after, mask, observation) == observations(before, mask, observation)
    until = slice(0, DAY + 1)
    changed = features.compute(after)
    for name, values_TN in features.compute(before).items():
        assert changed[name][until].tobytes() == values_TN[until].tobytes(), name


def test_later_events_on_stocknet_change_no_prompt(tmp_path: Path, stocknet: Path) -> None:
    """Real files of Yahoo, all of whose Adj Close is changed as a later dividend does, with its six decimals."""
    files = sorted((stocknet / "price").glob("*.csv"))[:8]
    panels = []
    for name, factor in (("as it is", None), (".9", 0.9), (".913", 0.913)):
        path = tmp_path / name
        path.mkdir()
        for file in files:
            frame = pd.read_csv(file)
            if factor is not None:
                frame["Adj Close"] = np.round(factor * frame["Adj Close"], 6)
            frame.to_csv(path / file.name, index=False)
        panels.append(load_prices(path, messages=[]))
    rows = range(60, panels[0].shape[0], 230)
    for mask in (True, False):
        first, *others = (prompts(panel, mask, rows) for panel in panels)
        assert others == [first, first]


def test_returns_are_what_a_holder_earned(before: Panel, tmp_path: Path) -> None:
    """To the rounding of the files; and to 1e-9 in files without rounding."""
    exact = folder(tmp_path / "exact", lambda adj, rng: adj)
    for ticker in before.tickers:
        frame = pd.read_csv(exact / f"{ticker}.csv")
        yahoo = np.diff(np.log(frame["Adj Close"]))
        close = before.close_TN[:, before.tickers.index(ticker)]
        np.testing.assert_allclose(np.diff(np.log(close)), yahoo, atol=6e-6)
        rounding = np.abs(np.diff(np.log(close)) - yahoo)
        assert np.sort(rounding)[:-1].max() < 1e-6  # all but the dividend of no round amount
        factor = np.where(np.arange(300) < 150, 0.98765432101, 1.0) * np.where(np.arange(300) < 60, 1 / 3, 1.0)
        close_T = frame["Close"].to_numpy()
        np.testing.assert_allclose(
            np.diff(np.log(adjustment_factor_T(close_T * factor, close_T))), np.diff(np.log(factor)), atol=1e-9
        )


def test_one_wrong_adj_close_changes_the_returns_of_two_days_alone() -> None:
    close_T = np.round(50 + np.arange(100) % 7 + np.arange(100) / 10, 2)
    adj_T = np.round(close_T * np.where(np.arange(100) < 40, 0.99, 1.0), 6)
    wrong_T = np.where(np.arange(100) == 60, 3 * adj_T, adj_T)
    steps = [np.diff(np.log(adjustment_factor_T(one_T, close_T))) for one_T in (adj_T, wrong_T)]
    assert np.flatnonzero(np.abs(steps[0] - steps[1]) > 1e-9).tolist() == [59, 60]
    np.testing.assert_allclose(steps[1][59:61], [np.log(3), -np.log(3)], atol=1e-9)


@pytest.mark.parametrize("rows", [1, 2])
def test_a_file_of_one_or_two_rows_has_a_factor(rows: int) -> None:
    close_T = np.array([10.0, 11.0])[:rows]
    np.testing.assert_array_equal(adjustment_factor_T(0.5 * close_T, close_T), np.ones(rows))


def test_an_unmasked_window_shows_the_prices_that_were_traded(tmp_path: Path) -> None:
    panel = load_prices(folder(tmp_path / "prices", times(0.5)), messages=[])
    raw = load_prices(tmp_path / "prices", messages=[], adjust=False)
    assert raw.factor_TN is None
    snapshot = Snapshots(panel, mask=False).at(DAY, 1)
    np.testing.assert_allclose(snapshot.recent["close"], raw.close_TN[DAY - 14 : DAY + 1, 1])
    np.testing.assert_allclose(snapshot.recent["volume"], raw.volume_TN[DAY - 14 : DAY + 1, 1])


def test_a_dividend_inside_the_window_is_known_and_adjusted_for(tmp_path: Path) -> None:
    panel = load_prices(folder(tmp_path / "prices", times(1.0)), messages=[])
    raw = load_prices(tmp_path / "prices", messages=[], adjust=False)
    closes, traded = Snapshots(panel, mask=False).at(155, 0).recent["close"], raw.close_TN[141:156, 0]
    np.testing.assert_array_equal(closes[10:], traded[10:])
    np.testing.assert_allclose(closes[8:10], (1 - 1.234567 / traded[9]) * traded[8:10], rtol=1e-5)


def test_a_masked_note_names_the_price_in_the_units_of_the_closes_beside_it(tmp_path: Path) -> None:
    panel = noted(load_prices(folder(tmp_path / "prices", times(0.5)), messages=[]))
    snapshot = Snapshots(panel).at(DAY, 0)
    target = dict(snapshot.events["analyst"][0].fields)["target"]
    assert isinstance(target, float)
    np.testing.assert_allclose(target * snapshot.scale, snapshot.recent["close"][-1], rtol=1e-3)


def test_factors_must_have_the_shape_of_the_bars() -> None:
    with pytest.raises(DataError, match="factor_TN has shape"):
        replace(market(), factor_TN=np.ones((2, 2)))
