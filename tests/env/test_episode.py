"""Which stocks and rows an episode has: drawn, requested, named and refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from env_markets import hostile, scrambled
from markets import market

from tradeschool.env.config import EnvError
from tradeschool.env.market_data import MarketData
from tradeschool.env.trading_env import TradingEnv
from tradeschool.market.panel import FIELDS

DATA = MarketData(hostile(0))
SYNTHETIC = MarketData(market(tickers=30, days=300))


def env_of(data: Any = DATA, **settings: Any) -> TradingEnv:
    return TradingEnv(data, **{"tickers": 3, "days": 12, "observation": "numeric", **settings})


def test_seeds_draw_different_episodes_over_the_whole_market() -> None:
    env, seen = env_of(SYNTHETIC), set()
    starts = []
    for seed in range(60):
        _, info = env.reset(seed=seed)
        seen.add((info["start"], env.episode.tickers))
        starts.append(info["start"])
    assert len(seen) > 55
    assert min(starts) < 100
    assert max(starts) > 220


@pytest.mark.parametrize("tickers", [1, 3])
def test_every_eligible_stock_is_drawn(tickers: int) -> None:
    env = env_of(SYNTHETIC, tickers=tickers)
    drawn = set()
    for seed in range(300):
        env.reset(seed=seed)
        drawn |= set(env.episode.tickers)
    assert drawn == set(SYNTHETIC.panel.tickers)


def test_an_episode_has_its_rows_of_the_market_from_the_first_decision_to_the_last_close() -> None:
    env = env_of(SYNTHETIC)
    env.reset(seed=3)
    own_DN = env.episode.of(SYNTHETIC.close_TN)
    rows = range(env.episode.start, env.episode.start + 13)
    stocks = [SYNTHETIC.panel.tickers.index(ticker) for ticker in env.episode.tickers]
    assert own_DN.tolist() == [[SYNTHETIC.close_TN[t, n] for n in stocks] for t in rows]


def test_the_draw_does_not_depend_on_later_rows() -> None:
    panel = hostile(1)
    cut = 90
    other = MarketData(scrambled(panel, cut))
    np.testing.assert_array_equal(MarketData(panel).eligible_TN[: cut + 1], other.eligible_TN[: cut + 1])


def test_masked_stocks_are_shuffled_and_unmasked_ones_named_and_dated() -> None:
    orders, env = set(), env_of(SYNTHETIC, observation="text")
    for seed in range(30):
        text, _ = env.reset(seed=seed)
        orders.add(tuple(np.argsort(env.episode.columns)))
        assert env.names == ("S1", "S2", "S3")
        assert not any(ticker in text for ticker in SYNTHETIC.panel.tickers)
        assert "20" not in text.split(",")[0].replace("of 20", "")
    assert len(orders) == 6
    plain = env_of(SYNTHETIC, observation="text", mask=False)
    text, _ = plain.reset(seed=0)
    assert plain.names == plain.episode.tickers
    assert list(plain.episode.columns) == sorted(plain.episode.columns)
    assert text.startswith(str(SYNTHETIC.panel.dates_T[plain.episode.start]))
    requested = ["PRAC09", "PRAC02", "PRAC11"]
    plain.reset(seed=0, options={"tickers": requested})
    assert plain.names == tuple(requested)
    orders = set()
    for seed in range(30):
        env.reset(seed=seed, options={"tickers": requested})
        orders.add(env.episode.tickers)
    assert len(orders) == 6
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(requested))}


def test_the_rows_bound_all_that_an_episode_touches() -> None:
    env = env_of(SYNTHETIC, rows=(100, 130))
    starts = {env.reset(seed=seed)[1]["start"] for seed in range(100)}
    assert min(starts) == 100
    assert max(starts) + env.config.days == 130


def test_a_start_with_tickers_alone_has_them_all_eligible() -> None:
    env = env_of(DATA)
    for seed in range(20):
        env.reset(seed=seed, options={"tickers": ["TICK0", "TICK3", "TICK4"]})
        assert DATA.eligible_TN[env.episode.start, env.episode.columns].all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"strat": 3}, "Did you mean 'start'"),
        ({"start": 128}, "from 0 to 127"),
        ({"start": "60"}, "start '60'"),
        ({"start": True}, "start True"),
        ({"start": 3, "tickers": ["TICK0", "TICK3", "TICK4"]}, "TICK0 has no bar in row 3"),
        ({"start": 3}, "row 3 has 0 eligible stocks"),
        ({"tickers": ["TICK1"]}, "list of 3"),
        ({"tickers": "ABC"}, "list of 3"),
        ({"tickers": ["TICK1", "TICK1", "TICK2"]}, "different"),
        ({"tickers": ["TICK1", "TICK2", "TICK33"]}, "no ticker 'TICK33'.* Did you mean 'TICK3'"),
    ],
)
def test_a_wrong_option_is_refused(options: Any, match: str) -> None:
    with pytest.raises(EnvError, match=match):
        env_of().reset(seed=0, options=options)


def test_tickers_that_are_never_eligible_together_are_refused() -> None:
    panel = hostile(0)
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN").copy() for name in FIELDS}
    for values in bars.values():
        values[80:, 3], values[:80, 4] = np.nan, np.nan
    with pytest.raises(EnvError, match="no row at which all requested tickers"):
        env_of(replace(panel, **bars)).reset(options={"tickers": ["TICK3", "TICK4", "TICK5"]})
