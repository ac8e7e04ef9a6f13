"""Facts: their numbers, cuts and words, and unknown numbers shown as unknown."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from markets import market, ragged, task_of

from tradeschool.market import synthetic
from tradeschool.market.events.archive import KnownEvent
from tradeschool.market.snapshot import Snapshot, Snapshots
from tradeschool.text.describe import FACTS, fact, facts, tone

SOUND = {
    "strength_10": 0.0, "rsi_14": 50.0, "close": 100.0, "sma_50": 100.0, "roc_10": 0.0, "macd_hist": 0.5,
    "stoch_k": 50.0, "willr_14": -50.0, "cci_20": 0.0, "adx_14": 30.0, "bb_upper": 110.0, "bb_lower": 90.0,
    "atr_14": 2.0, "volatility_20": 0.02, "volume_ratio_20": 1.0, "sma_20": 100.0, "ema_20": 100.0, "mom_10": 0.0,
    "stoch_d": 50.0, "macd": 0.0, "macd_signal": 0.0, "plus_di": 20.0, "minus_di": 20.0, "bb_middle": 100.0,
}  # fmt: skip


def snapshot(
    values: Mapping[str, float] | None = None, news: str = "", age: int = 0, market_news: str = ""
) -> Snapshot:
    return Snapshot(
        key="A@2020-01-01",
        ticker="Stock 1",
        date="day 7",
        values={**SOUND, **(values or {})},
        news=(KnownEvent(news, age), KnownEvent("An older one misses", 4)) if news else (),
        market_news=(KnownEvent(market_news, 3),) if market_news else (),
    )


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("rsi", {"rsi_14": 28.4}, "RSI 28.4 (oversold)"),
        ("rsi", {"rsi_14": 30.0}, "RSI 30.0 (low)"),
        ("rsi", {"rsi_14": 45.0}, "RSI 45.0 (neutral)"),
        ("rsi", {"rsi_14": 55.0}, "RSI 55.0 (high)"),
        ("rsi", {"rsi_14": 70.0}, "RSI 70.0 (overbought)"),
        ("strength", {"strength_10": -1.3}, "Strength -1.3 (very weak)"),
        ("strength", {"strength_10": -0.5}, "Strength -0.5 (weak)"),
        ("strength", {"strength_10": 0.3}, "Strength +0.3 (even)"),
        ("strength", {"strength_10": 0.4}, "Strength +0.4 (strong)"),
        ("strength", {"strength_10": 1.2}, "Strength +1.2 (very strong)"),
        ("trend", {"close": 103.0}, "Trend +3.0% (up)"),
        ("trend", {"close": 97.0}, "Trend -3.0% (down)"),
        ("trend", {"sma_50": 0.0}, "Trend unknown"),
        ("momentum", {"roc_10": -6.0}, "Momentum -6.0% (falling fast)"),
        ("momentum", {"roc_10": 1.0}, "Momentum +1.0% (rising)"),
        ("macd", {"macd_hist": -0.5}, "MACD -0.50% (below signal)"),
        ("macd", {"macd_hist": 0.0}, "MACD +0.00% (above signal)"),
        ("stochastic", {"stoch_k": 80.0}, "Stochastic 80 (overbought)"),
        ("williams", {"willr_14": -90.0}, "Williams -90 (oversold)"),
        ("cci", {"cci_20": 150.0}, "CCI +150 (overbought)"),
        ("adx", {"adx_14": 45.0}, "ADX 45 (strong trend)"),
        ("bollinger", {"close": 112.0}, "Bollinger 110% (above the bands)"),
        ("bollinger", {"bb_upper": 90.0}, "Bollinger unknown"),
        ("atr", {"atr_14": 4.0}, "ATR 4.0% (wild)"),
        ("volatility", {"volatility_20": 0.005}, "Volatility 0.5% (calm)"),
        ("volume", {"volume_ratio_20": 2.0}, "Volume 2.0x (heavy)"),
        ("sma", {"sma_20": 80.0}, "SMA20 +25.0% (above)"),
        ("ema", {"ema_20": 125.0}, "EMA20 -20.0% (below)"),
        ("mom", {"mom_10": -4.0}, "MOM -4.0% (falling)"),
        ("stochastic_d", {"stoch_d": 12.0}, "StochasticD 12 (oversold)"),
        ("macd_line", {"macd": -1.5}, "MACDline -1.50% (below zero)"),
        ("macd_signal", {"macd_signal": 1.25}, "MACDsignal +1.25% (above zero)"),
        ("direction", {"plus_di": 35.0}, "Direction +15 (up)"),
        ("bands", {"bb_upper": 102.0, "bb_lower": 98.0}, "Bandwidth 4.0% (narrow)"),
    ],
)
def test_numbers_are_shown_with_their_word(name: str, values: dict[str, float], text: str) -> None:
    assert fact(name, snapshot(values)).text == text


@pytest.mark.parametrize("name", [name for name in FACTS if name not in ("stock", "date", "market", "news")])
def test_unknown_numbers_are_shown_as_unknown(name: str) -> None:
    stated = fact(name, snapshot(dict.fromkeys(SOUND, math.nan)))
    assert stated.text == f"{stated.label} unknown"
    assert stated.word == "unknown"


@given(value=st.floats(), name=st.sampled_from(sorted(SOUND)))
def test_any_number_can_be_shown(value: float, name: str) -> None:
    assume(not (name == "close" and value == 0))  # a Panel refuses such a price
    for stated in facts(snapshot({name: value}), FACTS):
        assert stated.text.startswith(stated.label)
        assert "\n" not in stated.text
        assert "nan" not in stated.text
        assert stated.word == "unknown" or stated.word in stated.text or stated.name in ("news", "market")


def test_text_facts() -> None:
    today = snapshot(news="Profit beats forecasts", market_news="Markets are choppy")
    assert fact("stock", today).text == "Stock: Stock 1"
    assert fact("date", today).text == "Date: day 7"
    assert (fact("news", today).text, fact("news", today).word) == ("News today: Profit beats forecasts", "good")
    assert (fact("market", today).text, fact("market", today).word) == ("Market: Markets are choppy", "choppy")
    assert fact("news", snapshot(news="Cuts outlook", age=3)).text == "News 3d ago: Cuts outlook"
    assert (fact("news", snapshot()).text, fact("news", snapshot()).word) == ("News none", "none")
    assert (fact("market", snapshot()).text, fact("market", snapshot()).word) == ("Market no report", "unclear")
    assert fact("market", snapshot(market_news="Nothing to say")).word == "unclear"


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        *((text, 1) for text in synthetic.GOOD_NEWS),
        *((text, -1) for text in synthetic.BAD_NEWS),
        ("Profit rises", 0),
        ("Beats on sales, misses on profit", 0),
        ('"Record" growth, says report!', 1),
        ("", 0),
    ],
)
def test_tone(text: str, sign: int) -> None:
    assert tone(text) == sign


@pytest.mark.parametrize("text", [*synthetic.TRENDING, *synthetic.CHOPPY])
def test_every_market_headline_of_a_synthetic_market_is_understood(text: str) -> None:
    expected = "trending" if text in synthetic.TRENDING else "choppy"
    assert fact("market", snapshot(market_news=text)).word == expected


def test_facts_have_the_order_of_their_names() -> None:
    lines = [fact.text for fact in facts(snapshot(), ["rsi", "stock", "adx"])]
    assert lines == ["RSI 50.0 (neutral)", "Stock: Stock 1", "ADX 30 (trending)"]
    assert [stated.name for stated in facts(snapshot(), FACTS)] == list(FACTS)


def test_real_snapshots_can_be_described_from_the_first_day_on() -> None:
    """Warm-up, gaps and unlisted tickers included, every line filled."""
    panel = ragged()
    snapshots = Snapshots(panel)
    for t in [0, 1, 15, 60, 120, 121, 261, 399]:
        for n in range(6):
            lines = [fact.text for fact in facts(snapshots.at(t, n), FACTS)]
            assert len(lines) == len(FACTS)
            assert all(len(line.split()) >= 2 for line in lines)
    assert fact("rsi", snapshots.at(100, 0)).text == "RSI unknown"


def test_words_spread_over_a_market() -> None:
    """No word of a default fact is too rare to be useful."""
    task = task_of(market(tickers=12))
    words = [fact("strength", task.snapshots.at(e.t, e.n)).word for e in task.examples("train")]
    shares = {word: words.count(word) / len(words) for word in set(words)}
    assert set(shares) == {"very weak", "weak", "even", "strong", "very strong"}
    assert min(shares.values()) > 0.05
