"""Sections of a prompt about one window of closes: the closes, their indicators and their statistics."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tradeschool.market.panel import Floats
from tradeschool.text.sections import trend_word

INDICATOR_TITLES: Mapping[str, str] = {
    "sma": "Simple moving average",
    "ema": "Exponential moving average",
    "mom": "Momentum",
    "rsi": "Relative strength index",
    "macd": "MACD line",
    "willr": "Williams %R",
    "cci": "Commodity channel index",
    "adx": "Average directional index",
    "bbands_upper": "Bollinger band, upper",
    "bbands_middle": "Bollinger band, middle",
    "bbands_lower": "Bollinger band, lower",
    "stoch_k": "Stochastic %K",
    "stoch_d": "Stochastic %D",
}
DIGITS = 4
"""Significant digits of indicators and statistics."""


@dataclass(frozen=True)
class Window:
    """What is known of a window of L closes.

    Attributes:
        closes_L: in the unit of the prompt, oldest first.
        indicators: by name in :data:`INDICATOR_TITLES`, [L] each, NaN where unknown.
        statistics: by name (``market/features.py: statistic_names``); time steps count from 0, the oldest.
        decimals: with which closes are written.
    """

    closes_L: Floats
    indicators: Mapping[str, Floats]
    statistics: Mapping[str, float]
    decimals: int


def window_sections(window: Window, names: Sequence[str]) -> str:
    """Sections of :data:`SECTIONS`, separated by empty lines."""
    return "\n\n".join(SECTIONS[name](window) for name in names)


def _closes(window: Window) -> str:
    written = (f"{value + 0.0:.{window.decimals}f}" for value in window.closes_L.round(window.decimals).tolist())
    return "Closes: " + ", ".join("-" if value == "nan" else value for value in written)


def _indicators(window: Window) -> str:
    lines = [f"{title}: {_list(window.indicators[name])}" for name, title in INDICATOR_TITLES.items()]
    return "\n".join(["## Indicators", *lines])


def _statistics(window: Window) -> str:
    found = window.statistics
    lags = ", ".join(f"lag {name[4:]} {_short(found[name])}" for name in found if name.startswith("lag_"))
    lines = [
        f"{name} {_short(found[name])} on day {_day(found[f'{name}_timestep'])}" for name in ("min", "max", "median")
    ]
    lines.append(f"mean {_short(found['mean'])}")
    lines.append(f"trend {_short(found['trend'])} a day ({trend(window)})")
    return "\n".join(["## Statistics", *lines, *([f"correlation of the closes at {lags}"] if lags else [])])


def trend(window: Window) -> str:
    """``up``, ``down`` or ``flat``: the slope of the closes against their spread."""
    slope, spread = window.statistics["trend"], float(np.std(window.closes_L))
    # Closes around 0 have no level to compare with, so the slope over the window is compared with the spread.
    return trend_word(1e-3 * slope * len(window.closes_L) / spread, 1.0) if spread > 0 else "flat"


def _list(values_L: Floats) -> str:
    return ", ".join(_short(value) for value in values_L.tolist())


def _short(value: float) -> str:
    return f"{value:.{DIGITS}g}" if math.isfinite(value) else "-"


def _day(step: float) -> str:
    return str(round(step) + 1) if math.isfinite(step) else "-"


SECTIONS: dict[str, Callable[[Window], str]] = {
    "closes": _closes,
    "indicators": _indicators,
    "statistics": _statistics,
}
