"""Facts: numbers with a word for each, one line per fact in a prompt.

Prompts show both number and word ("RSI 28.4 (oversold)"); reasoning repeats the word. A number that is not known is
shown as "unknown" instead of leaving a gap.
"""

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tradeschool.market.snapshot import Snapshot

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Fact:
    """``name`` is the key in a recipe, ``text`` is the line in a prompt, ``word`` is what reasoning repeats."""

    name: str
    label: str
    text: str
    word: str


class _Number(NamedTuple):
    """A fact about a number: ``cuts`` split its range into ``words``, lowest first."""

    label: str
    value: Callable[[Mapping[str, float]], float]
    form: str
    cuts: tuple[float, ...]
    words: tuple[str, ...]


def _ratio(top: str, bottom: str) -> Callable[[Mapping[str, float]], float]:
    """By how many percent one price-like value exceeds another."""

    def value(values: Mapping[str, float]) -> float:
        return 100 * (values[top] / values[bottom] - 1) if values[bottom] else math.nan

    return value


def _of_close(name: str) -> Callable[[Mapping[str, float]], float]:
    """A value in price units as a percentage of the close."""
    return lambda values: 100 * values[name] / values["close"]


def _in_bands(values: Mapping[str, float]) -> float:
    width = values["bb_upper"] - values["bb_lower"]
    return 100 * (values["close"] - values["bb_lower"]) / width if width else math.nan


_ABOVE, _BELOW = _ratio("bb_upper", "bb_middle"), _ratio("bb_lower", "bb_middle")
_FIVE = ("very weak", "weak", "even", "strong", "very strong")
_RSI = ("oversold", "low", "neutral", "high", "overbought")
_THREE = ("oversold", "neutral", "overbought")
_MOMENTUM = ("falling fast", "falling", "flat", "rising", "rising fast")
_BANDS = ("below the bands", "low", "middle", "high", "above the bands")
_DIRECTION = ("down", "unclear", "up")
_CALM = ("calm", "normal", "wild")
_SIGN = ("below zero", "above zero")
_NUMBERS: dict[str, _Number] = {
    "strength": _Number("Strength", lambda v: v["strength_10"], "{:+.1f}", (-1.2, -0.4, 0.4, 1.2), _FIVE),
    "rsi": _Number("RSI", lambda v: v["rsi_14"], "{:.1f}", (30, 45, 55, 70), _RSI),
    "trend": _Number("Trend", _ratio("close", "sma_50"), "{:+.1f}%", (-2, 2), ("down", "flat", "up")),
    "momentum": _Number("Momentum", lambda v: v["roc_10"], "{:+.1f}%", (-5, -1, 1, 5), _MOMENTUM),
    "macd": _Number("MACD", _of_close("macd_hist"), "{:+.2f}%", (0.0,), ("below signal", "above signal")),
    "stochastic": _Number("Stochastic", lambda v: v["stoch_k"], "{:.0f}", (20, 80), _THREE),
    "williams": _Number("Williams", lambda v: v["willr_14"], "{:.0f}", (-80, -20), _THREE),
    "cci": _Number("CCI", lambda v: v["cci_20"], "{:+.0f}", (-100, 100), _THREE),
    "adx": _Number("ADX", lambda v: v["adx_14"], "{:.0f}", (20, 40), ("no trend", "trending", "strong trend")),
    "bollinger": _Number("Bollinger", _in_bands, "{:.0f}%", (0, 30, 70, 100), _BANDS),
    "atr": _Number("ATR", _of_close("atr_14"), "{:.1f}%", (1, 3), _CALM),
    "volatility": _Number("Volatility", lambda v: 100 * v["volatility_20"], "{:.1f}%", (1, 3), _CALM),
    "sma": _Number("SMA20", _ratio("close", "sma_20"), "{:+.1f}%", (-2, 2), ("below", "near", "above")),
    "ema": _Number("EMA20", _ratio("close", "ema_20"), "{:+.1f}%", (-2, 2), ("below", "near", "above")),
    "mom": _Number("MOM", _of_close("mom_10"), "{:+.1f}%", (-1, 1), ("falling", "flat", "rising")),
    "stochastic_d": _Number("StochasticD", lambda v: v["stoch_d"], "{:.0f}", (20, 80), _THREE),
    "macd_line": _Number("MACDline", _of_close("macd"), "{:+.2f}%", (0.0,), _SIGN),
    "macd_signal": _Number("MACDsignal", _of_close("macd_signal"), "{:+.2f}%", (0.0,), _SIGN),
    "direction": _Number("Direction", lambda v: v["plus_di"] - v["minus_di"], "{:+.0f}", (-10, 10), _DIRECTION),
    "bands": _Number("Bandwidth", lambda v: _ABOVE(v) - _BELOW(v), "{:.1f}%", (5, 15), ("narrow", "usual", "wide")),
    "volume": _Number("Volume", lambda v: v["volume_ratio_20"], "{:.1f}x", (0.7, 1.5), ("thin", "usual", "heavy")),
}  # fmt: skip

# A small finance lexicon in the style of Loughran and McDonald (2011): tone by counting words.
# "Profit" is in neither list, because its verb decides: "Profit beats", "Profit misses".
_GOOD = """beats beat wins won raises raised upgraded upgrade record buyback growth strong surges gains rally approval
tops"""
GOOD_WORDS = frozenset(_GOOD.split())
_BAD = """misses missed loses lost cuts cut downgraded downgrade weak lawsuit falls fell loss probe recall warns warning
slump"""
BAD_WORDS = frozenset(_BAD.split())
_REGIME_WORDS = dict.fromkeys(("trend", "trends", "trending"), "trending") | dict.fromkeys(
    ("choppy", "reverse"), "choppy"
)


def tone(text: str) -> int:
    """+1, 0 or -1: more good words than bad ones, equally many, fewer."""
    words = [word.strip(".,;:!?()'\"").lower() for word in text.split()]
    score = sum(word in GOOD_WORDS for word in words) - sum(word in BAD_WORDS for word in words)
    return (score > 0) - (score < 0)


def ago(days: int) -> str:
    """``today``, or ``3d ago``."""
    return "today" if days == 0 else f"{days}d ago"


def _news(snapshot: Snapshot) -> tuple[str, str]:
    if not snapshot.news:
        return " none", "none"
    newest = snapshot.news[0]
    return f" {ago(newest.age)}: {newest.text}", {1: "good", 0: "mixed", -1: "bad"}[tone(newest.text)]


def _market(snapshot: Snapshot) -> tuple[str, str]:
    if not snapshot.market_news:
        return " no report", "unclear"
    text = snapshot.market_news[0].text
    words = (_REGIME_WORDS.get(word.strip(".,").lower()) for word in text.split())
    return f": {text}", next((word for word in words if word), "unclear")


_TEXTS: dict[str, Callable[[Snapshot], tuple[str, str]]] = {
    "stock": lambda snapshot: (f": {snapshot.ticker}", snapshot.ticker),
    "date": lambda snapshot: (f": {snapshot.date}", snapshot.date),
    "market": _market,
    "news": _news,
}
"""What follows the label, and the word."""
FACTS: tuple[str, ...] = (*_TEXTS, *_NUMBERS)


def fact(name: str, snapshot: Snapshot) -> Fact:
    """One fact of a snapshot by its name in :data:`FACTS`."""
    if name in _TEXTS:
        label, (text, word) = name.capitalize(), _TEXTS[name](snapshot)
        return Fact(name, label, f"{label}{text}", word)
    label, value_of, form, cuts, words = _NUMBERS[name]
    value = value_of(snapshot.values)
    if not math.isfinite(value):
        return Fact(name, label, f"{label} {UNKNOWN}", UNKNOWN)
    word = words[bisect.bisect_right(cuts, value)]
    return Fact(name, label, f"{label} {form.format(value)} ({word})", word)


def facts(snapshot: Snapshot, names: Sequence[str]) -> list[Fact]:
    """The facts of a snapshot, in the order of ``names``."""
    return [fact(name, snapshot) for name in names]
