"""The facts that an observation holds, in the order of the numeric vector, and the market's share of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.indicators import compute
from tradeschool.market.panel import Floats, Panel

UNKNOWN = -100.0
"""Stands in the vector for a figure that is not known; the text says "-". Known figures are at least LOWEST."""
LOWEST = -99.0
HIGHEST = 999.0
FARTHEST = 9_999.0
RICHEST = 1e6
"""Bounds of what a portfolio's figures can say."""


@dataclass(frozen=True)
class Fact:
    """One column of the vector: its label in the text's heading, the decimals that the text shows, its bounds."""

    name: str
    label: str
    decimals: int
    low: float
    high: float


MARKET: tuple[Fact, ...] = (
    Fact("traded", "", 0, 0.0, 1.0),
    Fact("change_1", "1d%", 1, UNKNOWN, HIGHEST),
    Fact("change_5", "5d%", 0, UNKNOWN, HIGHEST),
    Fact("rsi_14", "RSI", 0, UNKNOWN, 100.0),
    Fact("macd_hist", "MACD%", 2, UNKNOWN, HIGHEST),
    Fact("from_sma_50", "SMA50%", 0, UNKNOWN, HIGHEST),
    Fact("in_bands", "band%", 0, UNKNOWN, HIGHEST),
    Fact("volatility_20", "vol%", 1, UNKNOWN, HIGHEST),
    Fact("volume_ratio_20", "volume", 1, UNKNOWN, HIGHEST),
)
"""Per stock, known from bars up to today. Percent where the label says so; ``volume`` is today's over the mean of 20
days, ``band%`` the place between the Bollinger bands (0 lower, 100 upper), ``vol%`` the daily volatility."""

HOLDING: tuple[Fact, ...] = (
    Fact("share", "held%", 0, -FARTHEST, FARTHEST),
    Fact("gain", "gain%", 0, -FARTHEST, FARTHEST),
)
"""Per stock, of the portfolio: value over equity (negative: short), and gain on what was paid for it, costs included.
Both 0 where nothing is held."""

ACCOUNT: tuple[Fact, ...] = (
    Fact("cash", "cash", 0, -FARTHEST, FARTHEST),
    Fact("equity", "equity", 1, 0.0, RICHEST),
    Fact("days_left", "day", 0, 0.0, 10_000.0),
    Fact("refused", "refused", 0, 0.0, HIGHEST),
)
"""Once: cash over equity and equity over the start in percent, decisions left, orders refused since the last one."""

M, H, G = len(MARKET), len(HOLDING), len(ACCOUNT)
PER_STOCK = M + H


def names(count: int) -> list[str]:
    """The vector's columns for ``count`` stocks: stock by stock, then the account's."""
    stocks = [f"{n}:{fact.name}" for n in range(count) for fact in (*MARKET, *HOLDING)]
    return [*stocks, *(fact.name for fact in ACCOUNT)]


def bounds(count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest vector of ``count`` stocks."""
    low = [fact.low for fact in (*MARKET, *HOLDING)] * count + [fact.low for fact in ACCOUNT]
    high = [fact.high for fact in (*MARKET, *HOLDING)] * count + [fact.high for fact in ACCOUNT]
    return np.array(low, np.float32), np.array(high, np.float32)


def market_facts(panel: Panel, last_close_TN: Floats) -> NDArray[np.float32]:
    """[T, N, M], :data:`UNKNOWN` where a figure is not known, else within the bounds of :data:`MARKET`.

    ``last_close_TN`` is the close carried forward over days without a bar. Row t uses bars up to row t alone.
    Indicators start anew after a day without a bar; changes are on the last close before.
    """
    close_TN = panel.close_TN
    found = compute(
        panel, ("rsi_14", "macd_hist", "sma_50", "bb_upper", "bb_lower", "volatility_20", "volume_ratio_20")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        columns: dict[str, Any] = {
            "change_1": 100 * (close_TN / _before(last_close_TN, 1) - 1),
            "change_5": 100 * (close_TN / _before(last_close_TN, 5) - 1),
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


def _before(values_TN: Floats, rows: int) -> Floats:
    shifted_TN = np.full_like(values_TN, np.nan)
    shifted_TN[rows:] = values_TN[:-rows]
    return shifted_TN
