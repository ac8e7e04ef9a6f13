"""The spaces of observations and actions."""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from tradeschool.env.config import EnvConfig
from tradeschool.env.facts import bounds
from tradeschool.env.observation import MOST_TOLD

LONGEST_ACTION = 20_000
"""Characters of a text action, reasoning included."""
LINE, TOLD = 160, 200
"""Bounds of a stock's line, and of a sentence about an order, in an observation."""
PRINTABLE = frozenset(string.printable)


def action_space(config: EnvConfig) -> spaces.Space[Any]:
    """Text of orders, or one number in [-1, 1] a stock."""
    if config.observation == "text":
        return spaces.Text(LONGEST_ACTION, min_length=0, charset=PRINTABLE)
    return spaces.Box(-1.0, 1.0, (config.tickers,), np.float32)


def observation_space(config: EnvConfig, tickers: Sequence[str]) -> spaces.Space[Any]:
    """Printable text, with the letters that tickers have where they are shown, or the bounds of the facts."""
    if config.observation == "text":
        letters = PRINTABLE if config.mask else PRINTABLE.union(*tickers)
        longest = 300 + config.tickers * LINE + MOST_TOLD * TOLD
        return spaces.Text(longest, min_length=1, charset=letters)
    low, high = bounds(config.tickers)
    return spaces.Box(low, high, dtype=np.float32)
