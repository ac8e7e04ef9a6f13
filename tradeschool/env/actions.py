"""Actions to what the broker is asked: a fraction in [-1, 1] by stock, and why the rest was refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.config import EnvError
from tradeschool.text.orders import read_orders

HOLD_BELOW = 0.05
"""A number nearer to 0 than this gives no order, so that a policy of continuous numbers can hold."""


def read_text(action: Any, names: Sequence[str]) -> tuple[list[float], list[str]]:
    """What a text orders, by stock, and a sentence for every order refused at once."""
    if not isinstance(action, str):
        raise EnvError(f"a text environment takes text, not {type(action).__name__}. Write BUY, SELL or HOLD.")
    orders, told = read_orders(action, names)
    wanted = dict.fromkeys(names, 0.0)
    for side, ticker, fraction in orders:
        if side != "HOLD" and ticker is not None:
            wanted[ticker] = fraction if side == "BUY" else -fraction
    return list(wanted.values()), [f"refused: {reason}" for reason in told] if told else told


def read_numbers(action: Any, names: Sequence[str]) -> tuple[list[float], list[str]]:
    """What numbers order, by stock; those that are no number or outside [-1, 1] are refused."""
    wanted: list[float] = checked(action, len(names)).tolist()
    told: list[str] = []
    for n, want in enumerate(wanted):
        if -HOLD_BELOW < want < HOLD_BELOW:
            wanted[n] = 0.0
        elif not -1.0 <= want <= 1.0:
            told.append(f"refused: {want:g} for {names[n]} is not within -1 and 1")
            wanted[n] = 0.0
    return wanted, told


def checked(action: Any, stocks: int) -> NDArray[Any]:
    """An action as an array [N].

    Raises:
        EnvError: it is no array of numbers, or has another shape.
    """
    if not isinstance(action, np.ndarray):
        try:
            action = np.asarray(action, np.float32)
        except (TypeError, ValueError) as error:
            raise EnvError(f"the action {action!r} is no array of numbers. Give one number a stock.") from error
    if action.shape != (stocks,) or action.dtype.kind not in "fiu":
        raise EnvError(
            f"the action has shape {action.shape} of {action.dtype}; give one number a stock, shape ({stocks},)."
        )
    return action
