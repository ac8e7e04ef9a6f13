"""How calls of the direction task are measured: the columns of the evaluation, and the calibration curve."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tradeschool.tasks.base import CORRECT, Figure, Metric, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10
FEWEST = 10
"""Answers of a bin from which it is drawn."""
METRICS = (
    Metric(
        "brier", "Brier", "mean squared error of the probability of UP", 4, better="lower", primary=True
    ),
    Metric(
        "gain",
        "gain x1000",
        "Brier score of the training dates' base rate, less its own",
        2,
        1000,
        terminal="interval",
    ),
    Metric(
        "share",
        "edge %",
        "expected gain over the base rate / that of the best possible answers",
        digits=0,
        scale=100,
        unit="% of the best possible gain",
        aggregate="share_of_oracle",
        inputs=("expected",),
        terminal="interval",
    ),
    Metric("log", "log score", "mean logarithm of the probability of what happened", terminal="no"),
    Metric("accuracy", "right %", "directions that came true", 1, 100, inputs=(CORRECT,)),
    Metric("up_accuracy", "right when up %", "of what went up, the share called UP", 1, 100, inputs=("up_right",)),
    Metric(
        "down_accuracy", "right when down %", "of what went down, the share called DOWN", 1, 100, inputs=("down_right",)
    ),
    Metric(
        "ece",
        "ECE %",
        "expected calibration error: how far confidence and the share that came true are apart, in ten bins",
        1,
        100,
        better="lower",
        aggregate="calibration_error",
        inputs=("sure", CORRECT),
    ),
    Metric("sure", "sure %", "mean confidence", 1, 100, terminal="no"),
    Metric(
        "up_excess",
        "UP excess, pts",
        "share called UP, less the share that went up, in percentage points",
        1,
        100,
        terminal="no",
    ),
    Metric(
        "probability_bias", "bias, pts", "mean probability of UP, less the share that went up, in percentage points",
        1, 100,
    ),
    Metric(
        "magnitude_error", "size error %", "mean absolute error of the size of the move", 2, 1, "%", "lower",
        terminal="no",
    ),
)  # fmt: skip


def metrics(horizons: Sequence[int]) -> Sequence[Metric]:
    """The columns; with several horizons also the Brier score of each."""
    if len(horizons) == 1:
        return METRICS
    by_days = (
        Metric(f"brier_{days}d", f"Brier {days}d", f"Brier score of moves over {days} days", 4, better="lower")
        for days in horizons
    )
    return (*METRICS, *by_days)


def calibration_curve() -> Figure:
    """How often what was forecast with a probability came true, by ten bins of the probability."""

    def paint(axes: "Axes", values: Mapping[str, Values]) -> None:
        axes.plot([0, 100], [0, 100], color="#a3abb3", linewidth=1, linestyle="--")
        for policy, own in values.items():
            if (found := curve(own)) is not None and len(found[0]) > 1:
                axes.plot(100 * found[0], 100 * found[1], marker="o", markersize=3, linewidth=1.3, label=policy)
        axes.set_xlabel("probability of UP, %")
        axes.set_ylabel("went up, %")
        axes.legend()

    return Figure("Calibration: how often what was called with a probability went up", paint)


def curve(values: Values) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean probability and share that went up, of each bin with at least ten answers; None without probabilities."""
    if "probability" not in values or "up" not in values:
        return None
    known = np.isfinite(values["probability"]) & np.isfinite(values["up"])
    p, up = values["probability"][known], values["up"][known]
    number = np.minimum((p * BINS + 1e-9).astype(int), BINS - 1)
    bins = [number == i for i in range(BINS) if (number == i).sum() >= FEWEST]
    return np.array([p[own].mean() for own in bins]), np.array([up[own].mean() for own in bins])
