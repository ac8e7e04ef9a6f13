"""A market as the environment reads it: what is carried forward, what has ended, what is known."""

import numpy as np
import pytest
from env_markets import NAN, by_hand, hostile
from markets import market, ragged

from tradeschool.env.config import EnvError, env_config
from tradeschool.env.features import LOWEST, MARKET, UNKNOWN, market_facts
from tradeschool.env.market_data import ENDED, WARM_UP, MarketData
from tradeschool.env.render import market_words
from tradeschool.market.features import compute


def test_closes_are_carried_over_days_without_a_bar_and_nothing_trades_on_them() -> None:
    data = MarketData(by_hand([NAN, 10.0, NAN, 12, NAN], [NAN, 11.0, NAN, 13, NAN]))
    np.testing.assert_array_equal(data.close_TN[:, 0], [NAN, 11, 11, 13, 13])
    np.testing.assert_array_equal(data.open_TN[:, 0], [NAN, 10, 11, 12, 13])
    np.testing.assert_array_equal(data.volume_TN[:, 0], [0, 1e9, 0, 1e9, 0])
    np.testing.assert_array_equal(data.traded_TN[:, 0], [False, True, False, True, False])
    assert not data.gone_TN.any()


def test_a_stock_has_ended_if_it_has_no_later_bar() -> None:
    closes = [[1, 1, 1, NAN], [1, 1, NAN, NAN], *[[1, NAN, 1, NAN]] * ENDED]
    gone = MarketData(by_hand(closes, closes)).gone_TN
    assert [tuple(map(int, cell)) for cell in np.argwhere(gone)] == [(2, 1)]


@pytest.mark.parametrize(("missing", "ended"), [(1, False), (ENDED - 1, False), (ENDED, True)])
def test_a_file_that_ends_a_few_days_early_is_not_a_delisting(missing: int, ended: bool) -> None:
    closes = [[1.0, 1.0]] * 4 + [[1.0, NAN]] * missing
    assert MarketData(by_hand(closes, closes)).gone_TN.any() == ended


def test_an_unknown_volume_is_no_limit() -> None:
    data = MarketData(by_hand([1.0, 1], [1.0, 1], volume=[NAN, 0]))
    assert data.volume_TN[:, 0].tolist() == [np.inf, 0]
    # Nothing can be filled on a day without volume, but its bar is one.
    assert data.traded_TN.all()


def test_settlement_reads_the_same_arrays() -> None:
    data = MarketData(hostile(0))
    lines = data.lines_TN
    np.testing.assert_array_equal(lines["open"], data.open_TN)
    np.testing.assert_array_equal(lines["close"], data.close_TN)
    np.testing.assert_array_equal(lines["volume"], data.volume_TN)
    later_TN = np.cumsum(data.traded_TN[::-1], axis=0)[::-1] > 0
    np.testing.assert_array_equal(lines["listed"][1:-ENDED], (later_TN[:-1] | data.gone_TN[1:])[:-ENDED])
    np.testing.assert_array_equal(lines["ended"], data.gone_TN)
    np.testing.assert_array_equal(lines["facts"], data.facts_TNM)


@pytest.mark.parametrize("rows", [140, 141, 143])
def test_every_day_of_a_stock_is_one_line_of_a_cache(rows: int) -> None:
    lines = MarketData(hostile(0, rows=rows)).lines_TN
    assert lines.shape == (rows, 6)
    assert lines.strides == (6 * 64, 64)
    assert lines.ctypes.data % 64 == 0


def test_facts_are_the_indicators_in_the_units_stated() -> None:
    panel = market(tickers=3, days=200)
    facts = MarketData(panel).facts_TNM.astype(float)
    found, close = compute(panel), panel.close_TN
    names = [fact.name for fact in MARKET]

    def fact(name: str) -> np.ndarray:
        return np.where(facts[60:, :, names.index(name)] == UNKNOWN, NAN, facts[60:, :, names.index(name)])

    expected = {
        "change_1": 100 * (close[60:] / close[59:-1] - 1),
        "change_5": 100 * (close[60:] / close[55:-5] - 1),
        "rsi_14": found["rsi_14"][60:],
        "macd_hist": 100 * found["macd_hist"][60:] / close[60:],
        "from_sma_50": 100 * (close[60:] - found["sma_50"][60:]) / found["sma_50"][60:],
        "in_bands": 50 * (1 + (close[60:] - found["bb_middle"][60:]) / (found["bb_upper"] - found["bb_middle"])[60:]),
        "volatility_20": 100 * found["volatility_20"][60:],
        "volume_ratio_20": found["volume_ratio_20"][60:],
    }
    assert set(expected) == set(names[1:])
    for name, values in expected.items():
        np.testing.assert_allclose(fact(name), values, rtol=2e-5, atol=2e-5, err_msg=name)


def test_a_change_over_days_without_a_bar_is_on_the_last_close() -> None:
    data = MarketData(by_hand([10.0, NAN, 12], [10.0, NAN, 12]))
    assert data.facts_TNM[:, 0, 1].tolist() == [UNKNOWN, UNKNOWN, 20.0]


def test_a_known_fact_never_equals_the_mark_for_unknown() -> None:
    closes = np.r_[np.full(70, 1e6), np.full(70, 1e-3)]
    facts = MarketData(by_hand(closes, closes)).facts_TNM
    known = facts[facts != UNKNOWN]
    assert known.min() >= LOWEST
    panel = ragged()
    facts = market_facts(panel)
    assert (facts[~panel.listed_TN][:, 1:] == UNKNOWN).all()
    assert np.isfinite(facts).all()


def test_words_are_cached_by_stock_and_row() -> None:
    data = MarketData(hostile(0))
    for n in (4, 2):
        words = data.words(n, market_words)
        assert words == [market_words(facts) for facts in data.facts_TNM[:, n].tolist()]
        assert data.words(n, market_words) is words


def test_start_rows_have_enough_stocks_bars_and_days() -> None:
    data = MarketData(hostile(0))
    rows = data.start_rows(env_config(tickers=5, days=20))
    assert rows.max() <= 140 - 1 - 20
    assert (data.eligible_TN[rows].sum(axis=1) >= 5).all()
    assert (data.traded_TN[: rows.max() + 1].cumsum(axis=0)[data.eligible_TN[: rows.max() + 1]] >= WARM_UP).all()
    within = data.start_rows(env_config(tickers=2, days=20), (70, 100))
    assert within.min() >= 70
    assert within.max() <= 80
    with pytest.raises(EnvError, match="no row from 0 to 40"):
        data.start_rows(env_config(tickers=2, days=20), (0, 40))
    with pytest.raises(EnvError, match="rows 0 to 139"):
        data.start_rows(env_config(), (90, 80))
