"""The numeric observation: its columns, their bounds and the market's facts. Spaces of observations and actions.

Dimensions: T rows, N stocks, M facts of a stock in the market, H figures of its holding, G figures of the account.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tradeschool.env.config import EnvConfig
from tradeschool.market.features import compute
from tradeschool.market.panel import Floats, Panel

UNKNOWN = -100.0
"""The number for a figure that is not known; text says "-". Known facts are at least :data:`LOWEST`."""
LOWEST = -99.0
MAX_FACT = 999.0
MAX_REFUSED = 999.0
MAX_PERCENT = 9_999.0
MAX_EQUITY = 1e6
"""Bounds of the figures. Equity is in percent of the start."""
LONGEST_ACTION = 20_000
"""Characters of a text action, reasoning included."""
MAX_MESSAGES = 8
"""Messages about orders in a text. An answer with a thousand faulty orders must not fill the next observation."""
MAX_LINE, MAX_MESSAGE = 160, 200
"""Characters of a stock's line, and of a message about an order."""
PRINTABLE = frozenset(string.printable)


@dataclass(frozen=True)
class Fact:
    """A column of the vector: its label in text, the decimals that text shows, its bounds."""

    name: str
    label: str
    decimals: int
    low: float
    high: float


MARKET: tuple[Fact, ...] = (
    Fact("traded", "", 0, 0.0, 1.0),
    Fact("change_1", "1d%", 1, UNKNOWN, MAX_FACT),
    Fact("change_5", "5d%", 0, UNKNOWN, MAX_FACT),
    Fact("rsi_14", "RSI", 0, UNKNOWN, 100.0),
    Fact("macd_hist", "MACD%", 2, UNKNOWN, MAX_FACT),
    Fact("from_sma_50", "SMA50%", 0, UNKNOWN, MAX_FACT),
    Fact("in_bands", "band%", 0, UNKNOWN, MAX_FACT),
    Fact("volatility_20", "vol%", 1, UNKNOWN, MAX_FACT),
    Fact("volume_ratio_20", "volume", 1, UNKNOWN, MAX_FACT),
)
"""Per stock, from bars up to today. In percent where the label says so. ``volume`` is today's over the mean of 20 days,
``band%`` the position between the Bollinger bands (0 lower, 100 upper), ``vol%`` the daily volatility."""

HOLDING: tuple[Fact, ...] = (
    Fact("share", "held%", 0, -MAX_PERCENT, MAX_PERCENT),
    Fact("gain", "gain%", 0, -MAX_PERCENT, MAX_PERCENT),
)
"""Per stock: value of the holding over equity (negative: short), and gain on what it cost, costs included. Both 0 where
nothing is held."""

ACCOUNT: tuple[Fact, ...] = (
    Fact("cash", "cash", 0, -MAX_PERCENT, MAX_PERCENT),
    Fact("equity", "equity", 1, 0.0, MAX_EQUITY),
    Fact("days_left", "day", 0, 0.0, 10_000.0),
    Fact("refused", "refused", 0, 0.0, MAX_REFUSED),
)
"""Once: cash over equity and equity over the start in percent, decisions left, orders refused on the last day."""

M, H, G = len(MARKET), len(HOLDING), len(ACCOUNT)
PER_STOCK = M + H
LINE = np.dtype(
    [("open", "f8"), ("close", "f8"), ("volume", "f8"), ("listed", "?"), ("ended", "?"), ("facts", "f4", (M,))],
    align=True,
)
"""What settlement reads of one stock on one day, in 64 bytes: one cache line, because days are read at random.
``listed``: its bars had not ended before. ``ended``: this is its first day without a bar after its last one."""


def names(count: int) -> list[str]:
    """The vector's columns for ``count`` stocks: stock by stock, then the account."""
    stocks = [f"{n}:{fact.name}" for n in range(count) for fact in (*MARKET, *HOLDING)]
    return [*stocks, *(fact.name for fact in ACCOUNT)]


def action_space(config: EnvConfig) -> spaces.Space[Any]:
    """Text with orders, or one number in [-1, 1] per stock."""
    if config.observation == "text":
        return spaces.Text(LONGEST_ACTION, min_length=0, charset=PRINTABLE)
    return spaces.Box(-1.0, 1.0, (config.tickers,), np.float32)


def observation_space(config: EnvConfig, tickers: Sequence[str]) -> spaces.Space[Any]:
    """Printable text, plus the letters of the tickers where they are shown; or the bounds of the figures."""
    if config.observation == "text":
        letters = PRINTABLE if config.mask else PRINTABLE.union(*tickers)
        longest = 300 + config.tickers * MAX_LINE + MAX_MESSAGES * MAX_MESSAGE
        return spaces.Text(longest, min_length=1, charset=letters)
    columns = [*(MARKET + HOLDING) * config.tickers, *ACCOUNT]
    low, high = (np.array([getattr(fact, side) for fact in columns], np.float32) for side in ("low", "high"))
    return spaces.Box(low, high, dtype=np.float32)


def market_facts(panel: Panel) -> NDArray[np.float32]:
    """The facts of the market. Row t uses bars up to row t alone.

    Indicators and changes count the stock's own bars. On a day without one nothing is known.

    Returns:
        [T, N, M] :data:`UNKNOWN` where a figure is not known, else within the bounds of :data:`MARKET`.
    """
    close_TN = panel.close_TN
    found = compute(
        panel, ("rsi_14", "macd_hist", "sma_50", "bb_upper", "bb_lower", "volatility_20", "volume_ratio_20")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        columns: dict[str, Any] = {
            "change_1": 100 * (close_TN / _close_before(panel, 1) - 1),
            "change_5": 100 * (close_TN / _close_before(panel, 5) - 1),
            "rsi_14": found["rsi_14"],
            "macd_hist": 100 * found["macd_hist"] / close_TN,
            "from_sma_50": 100 * (close_TN / found["sma_50"] - 1),
            "in_bands": 100 * (close_TN - found["bb_lower"]) / (found["bb_upper"] - found["bb_lower"]),
            "volatility_20": 100 * found["volatility_20"],
            "volume_ratio_20": found["volume_ratio_20"],
        }
    facts_TNM = np.empty((*panel.shape, M), np.float32)
    facts_TNM[..., 0] = panel.listed_TN
    for m, fact in enumerate(MARKET[1:], 1):
        values_TN = columns[fact.name]
        facts_TNM[..., m] = np.where(np.isfinite(values_TN), np.clip(values_TN, LOWEST, fact.high), UNKNOWN)
    return facts_TNM


def _close_before(panel: Panel, bars: int) -> Floats:
    close_BN = panel.own_bars.take(panel.close_TN)
    before_BN = np.full_like(close_BN, np.nan)
    before_BN[bars:] = close_BN[:-bars]
    return panel.own_bars.put(before_BN)
