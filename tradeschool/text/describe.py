"""Numbers to English: one row per fact that a prompt can state.

A fact is a number and a word for it: "RSI 28.4 (oversold)". Prompts show both; reasoning repeats
the word. Where a number is not known the fact says so instead of leaving a gap.
"""

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.market.window import DatedNote, Window

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Fact:
    """``name`` is the key in a recipe, ``text`` what the prompt says, ``word`` what reasoning repeats."""

    name: str
    label: str
    text: str
    word: str


@dataclass(frozen=True)
class _Number:
    """A fact read from a number: ``cuts`` split its range into ``words``, lowest first."""

    label: str
    value: Callable[[Mapping[str, float]], float]
    form: str
    cuts: tuple[float, ...]
    words: tuple[str, ...]

    def say(self, name: str, window: Window) -> Fact:
        value = self.value(window.values)
        if not math.isfinite(value):
            return Fact(name, self.label, f"{self.label} {UNKNOWN}", UNKNOWN)
        word = self.words[bisect.bisect_right(self.cuts, value)]
        return Fact(name, self.label, f"{self.label} {self.form.format(value)} ({word})", word)


def _ratio(top: str, bottom: str) -> Callable[[Mapping[str, float]], float]:
    """Percent by which one price-like value lies above another."""

    def value(values: Mapping[str, float]) -> float:
        return 100 * (values[top] / values[bottom] - 1) if values[bottom] else math.nan

    return value


def _in_bands(values: Mapping[str, float]) -> float:
    width = values["bb_upper"] - values["bb_lower"]
    return 100 * (values["close"] - values["bb_lower"]) / width if width else math.nan


_FIVE = ("very weak", "weak", "even", "strong", "very strong")
_NUMBERS: dict[str, _Number] = {
    "strength": _Number("Strength", lambda v: v["strength_10"], "{:+.1f}", (-1.2, -0.4, 0.4, 1.2), _FIVE),
    "rsi": _Number(
        "RSI", lambda v: v["rsi_14"], "{:.1f}", (30, 45, 55, 70), ("oversold", "low", "neutral", "high", "overbought")
    ),
    "trend": _Number("Trend", _ratio("close", "sma_50"), "{:+.1f}%", (-2, 2), ("down", "flat", "up")),
    "momentum": _Number(
        "Momentum",
        lambda v: v["roc_10"],
        "{:+.1f}%",
        (-5, -1, 1, 5),
        ("falling fast", "falling", "flat", "rising", "rising fast"),
    ),
    "macd": _Number(
        "MACD", lambda v: 100 * v["macd_hist"] / v["close"], "{:+.2f}%", (0.0,), ("below signal", "above signal")
    ),
    "stochastic": _Number(
        "Stochastic", lambda v: v["stoch_k"], "{:.0f}", (20, 80), ("oversold", "neutral", "overbought")
    ),
    "williams": _Number(
        "Williams", lambda v: v["willr_14"], "{:.0f}", (-80, -20), ("oversold", "neutral", "overbought")
    ),
    "cci": _Number("CCI", lambda v: v["cci_20"], "{:+.0f}", (-100, 100), ("oversold", "neutral", "overbought")),
    "adx": _Number("ADX", lambda v: v["adx_14"], "{:.0f}", (20, 40), ("no trend", "trending", "strong trend")),
    "bollinger": _Number(
        "Bollinger",
        _in_bands,
        "{:.0f}%",
        (0, 30, 70, 100),
        ("below the bands", "low", "middle", "high", "above the bands"),
    ),
    "atr": _Number("ATR", lambda v: 100 * v["atr_14"] / v["close"], "{:.1f}%", (1, 3), ("calm", "normal", "wild")),
    "volatility": _Number(
        "Volatility", lambda v: 100 * v["volatility_20"], "{:.1f}%", (1, 3), ("calm", "normal", "wild")
    ),
    "sma": _Number("SMA20", _ratio("close", "sma_20"), "{:+.1f}%", (-2, 2), ("below", "near", "above")),
    "ema": _Number("EMA20", _ratio("close", "ema_20"), "{:+.1f}%", (-2, 2), ("below", "near", "above")),
    "mom": _Number("MOM", lambda v: 100 * v["mom_10"] / v["close"], "{:+.1f}%", (-1, 1), ("falling", "flat", "rising")),
    "stochastic_d": _Number(
        "StochasticD", lambda v: v["stoch_d"], "{:.0f}", (20, 80), ("oversold", "neutral", "overbought")
    ),
    "macd_line": _Number(
        "MACDline", lambda v: 100 * v["macd"] / v["close"], "{:+.2f}%", (0.0,), ("below zero", "above zero")
    ),
    "macd_signal": _Number(
        "MACDsignal", lambda v: 100 * v["macd_signal"] / v["close"], "{:+.2f}%", (0.0,), ("below zero", "above zero")
    ),
    "direction": _Number(
        "Direction", lambda v: v["plus_di"] - v["minus_di"], "{:+.0f}", (-10, 10), ("down", "unclear", "up")
    ),
    "bands": _Number(
        "Bandwidth",
        lambda v: _ratio("bb_upper", "bb_middle")(v) - _ratio("bb_lower", "bb_middle")(v),
        "{:.1f}%",
        (5, 15),
        ("narrow", "usual", "wide"),
    ),
    "volume": _Number("Volume", lambda v: v["volume_ratio_20"], "{:.1f}x", (0.7, 1.5), ("thin", "usual", "heavy")),
}

# A small finance lexicon in the manner of Loughran and McDonald (2011): tone by counting words.
# "Profit" is in neither list, because its verb decides: "Profit beats", "Profit misses".
GOOD_WORDS = frozenset(
    {
        "beats",
        "beat",
        "wins",
        "won",
        "raises",
        "raised",
        "upgraded",
        "upgrade",
        "record",
        "buyback",
        "growth",
        "strong",
        "surges",
        "gains",
        "rally",
        "approval",
        "tops",
    }
)
BAD_WORDS = frozenset(
    {
        "misses",
        "missed",
        "loses",
        "lost",
        "cuts",
        "cut",
        "downgraded",
        "downgrade",
        "weak",
        "lawsuit",
        "falls",
        "fell",
        "loss",
        "probe",
        "recall",
        "warns",
        "warning",
        "slump",
    }
)
_REGIME_WORDS = {
    "trend": "trending",
    "trends": "trending",
    "trending": "trending",
    "choppy": "choppy",
    "reverse": "choppy",
}


def tone(text: str) -> int:
    """+1, 0 or -1: more good words than bad, as many, fewer."""
    words = [word.strip(".,;:!?()'\"").lower() for word in text.split()]
    score = sum(word in GOOD_WORDS for word in words) - sum(word in BAD_WORDS for word in words)
    return (score > 0) - (score < 0)


def _age(note: DatedNote) -> str:
    return "today" if note.age == 0 else f"{note.age}d ago"


def _news(window: Window) -> Fact:
    if not window.news:
        return Fact("news", "News", "News none", "none")
    newest = window.news[0]
    word = {1: "good", 0: "mixed", -1: "bad"}[tone(newest.text)]
    return Fact("news", "News", f"News {_age(newest)}: {newest.text}", word)


def _market(window: Window) -> Fact:
    if not window.market_news:
        return Fact("market", "Market", "Market no report", "unclear")
    text = window.market_news[0].text
    words = (_REGIME_WORDS.get(word.strip(".,").lower()) for word in text.split())
    return Fact("market", "Market", f"Market: {text}", next((word for word in words if word), "unclear"))


def _stock(window: Window) -> Fact:
    return Fact("stock", "Stock", f"Stock: {window.ticker}", window.ticker)


def _date(window: Window) -> Fact:
    return Fact("date", "Date", f"Date: {window.date}", window.date)


_TEXTS: dict[str, Callable[[Window], Fact]] = {"stock": _stock, "date": _date, "market": _market, "news": _news}
FACTS: tuple[str, ...] = (*_TEXTS, *_NUMBERS)


def check_facts(names: Sequence[str]) -> None:
    """Raise RecipeError for a fact that does not exist, with the nearest one that does."""
    for name in names:
        if name not in FACTS:
            raise RecipeError(f"'{name}' is no fact.{did_you_mean(name, FACTS)} Choose from: {', '.join(FACTS)}.")


def fact(name: str, window: Window) -> Fact:
    """One fact of a Window by its name in :data:`FACTS`."""
    return _TEXTS[name](window) if name in _TEXTS else _NUMBERS[name].say(name, window)


def facts(window: Window, names: Sequence[str]) -> list[Fact]:
    """The facts of a Window, in the order of ``names``."""
    return [fact(name, window) for name in names]


def describe(window: Window, names: Sequence[str]) -> str:
    """The Window in words and numbers, a line per fact."""
    return "\n".join(fact.text for fact in facts(window, names))
