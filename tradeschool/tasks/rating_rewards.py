"""The reward components of the rating task, one function each. Ratings are -2..2; None is an unreadable answer."""

import math

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

INVALID_DECISION = -1.5
INVALID_PROFIT = -1.0

# Trading-R1 (arXiv 2509.11420), appendix S4: rows are predictions, columns truths, STRONG_SELL first.
DECISION_MATRIX = np.array(
    [
        [1.00, 0.75, -1.25, -2.00, -2.25],
        [0.75, 1.00, -0.75, -1.50, -2.00],
        [-1.50, -1.00, 1.00, -1.00, -1.50],
        [-1.75, -1.25, -0.75, 1.00, 0.75],
        [-2.00, -1.50, -1.25, 0.75, 1.00],
    ]
)


class OutcomeConfig(BaseModel):
    """Market outcome reward, Trading-R1 S5.2. Returns are in volatilities.

    ``bound`` b, ``loss_weight`` g, ``dead_zone`` d, ``unit`` u, ``steps`` t1 and t2, ``cost`` k.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    bound: float = Field(default=1.0, gt=0)
    loss_weight: float = Field(default=1.0, gt=0)
    dead_zone: float = Field(default=0.25, gt=0)
    unit: float = Field(default=1.5, gt=0)
    steps: tuple[float, float] = (0.5, 1.0)
    cost: float = Field(default=0.05, ge=0)

    @model_validator(mode="after")
    def _unit_beyond_dead_zone(self) -> "OutcomeConfig":
        # HOLD's loss grows over u - d: at u <= d it would divide by zero, or reward holding through a large move.
        if self.unit <= self.dead_zone:
            raise ValueError(f"has unit {self.unit:g}, but it must be greater than dead_zone {self.dead_zone:g}")
        return self


def profit(rating: float | None, excess: float) -> float | None:
    """Position (rating / 2) times the excess return in volatilities; None when the return is not known."""
    if not math.isfinite(excess):
        return None
    return INVALID_PROFIT if rating is None else rating / 2 * excess


def risk(rating: float | None, aversion: float) -> float:
    """The variance charge of a mean-variance investor (Markowitz 1952): - aversion / 2 * position^2."""
    return 0.0 if rating is None else -aversion / 2 * (rating / 2) ** 2


def decision(rating: int | None, label: float) -> float | None:
    """The matrix of Trading-R1, S4; -1.5 for an unreadable answer; None without a label."""
    if not math.isfinite(label):
        return None
    return INVALID_DECISION if rating is None else float(DECISION_MATRIX[rating + 2, int(label) + 2])


def outcome(rating: int | None, excess: float, config: OutcomeConfig) -> float | None:
    """Trading-R1, S5.2: right side pays by size and by fit of the rating's strength, wrong side costs.

    ``excess`` is the asset's log return less the benchmark's; None when it is not known.
    """
    if not math.isfinite(excess):
        return None
    b, g, d, u, k = config.bound, config.loss_weight, config.dead_zone, config.unit, config.cost
    size = abs(excess)
    if rating is None:
        return -g * b
    if rating == 0:
        value = b * (1 - size / d) if size <= d else -b * g * (size - d) / (u - d)
    else:
        m = min(1.0, size / u)
        strength = int(size > config.steps[0]) + int(size > config.steps[1])
        right = np.sign(rating) == np.sign(excess)
        value = b * (1 - abs(abs(rating) - strength) / 2) * m - k if right else -b * g * m - k
    return float(np.clip(value, -g * b, b))
