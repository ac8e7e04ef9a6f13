"""Metrics and figures of the forecast task."""

from collections.abc import Sequence

from tradeschool.tasks.base import Figure, Metric


def metrics(horizons: Sequence[int]) -> list[Metric]:
    """The columns of the evaluation."""
    last = horizons[-1]
    pair = (f"forecast_{last}", f"outcome_{last}")
    return [
        Metric(
            "skill",
            "skill",
            "1 - squared error / that of persistence, which repeats the last close",
            primary=True,
            aggregate="ratio",
            inputs=("gain", "persistence_error"),
        ),
        Metric("mse", "MSE", "mean squared error of scaled closes", 4, better="lower"),
        Metric("mae", "MAE", "mean absolute error of scaled closes", 4, better="lower", terminal="no"),
        Metric("mase", "MASE", "mean absolute error / that of a day's change in training", 2, better="lower"),
        Metric("direction", "direction %", "forecasts on the right side of the last close", 1, 100,
               aggregate="sign_agreement", inputs=pair, terminal="no"),
        Metric("ic", "IC", "correlation of forecast and outcome", aggregate="correlation", inputs=pair, terminal="no"),
        Metric("rank_ic", "rank IC", "their rank correlation", aggregate="rank_correlation", inputs=pair),
    ]  # fmt: skip


def figures(horizons: Sequence[int]) -> list[Figure]:
    """Plots for the report."""
    return []
