"""Every policy's figures over the evaluated dates, as estimates that can be subtracted from each other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tradeschool import metrics
from tradeschool.errors import RunError
from tradeschool.evaluate import inference
from tradeschool.evaluate.backtest import Backtest
from tradeschool.evaluate.comparison import PARSE_ERRORS
from tradeschool.evaluate.evaluation_set import EvaluationSet
from tradeschool.evaluate.inference import Estimate
from tradeschool.evaluate.predictions import Predictions
from tradeschool.tasks.base import Metric

Figures = dict[str, Estimate]
"""By the metric's key."""


def figures_of(
    evaluation_set: EvaluationSet, predictions: Sequence[Predictions], tests: Mapping[str, Backtest]
) -> dict[str, Figures]:
    """Every figure of every policy.

    Raises:
        RunError: a metric has an aggregate that a task cannot use.
    """
    found: dict[str, Figures] = {}
    for p in predictions:
        unread_TQ = np.where(evaluation_set.asked_TQ, ~p.read_TQ, np.nan)
        found[p.policy] = {PARSE_ERRORS.key: inference.mean(unread_TQ)}
        if p.policy in tests:
            found[p.policy] |= _of_backtest(tests[p.policy])
    for metric in evaluation_set.metrics:
        if metric.aggregate == "share_of_oracle":
            of_all = _shares_of_oracle(metric, predictions)
        else:
            of_all = {p.policy: _aggregate(metric, p, evaluation_set.horizon) for p in predictions}
        for policy, estimate in of_all.items():
            found[policy][metric.key] = estimate
    return found


def _aggregate(metric: Metric, p: Predictions, horizon: int) -> Estimate:
    values = [p.value(name) for name in metric.values]
    match metric.aggregate:
        case "mean":
            return inference.mean(values[0], horizon)
        case "root_mean":
            return inference.root_mean(values[0], horizon)
        case "mean_error":
            return replace(inference.mean(values[0], horizon), only_paired=True)
        case "ratio":
            return inference.ratio(*p.ratio_T(metric), horizon)
        case "statistic":
            return inference.without_interval(inference.mean(values[0], horizon).statistic(), len(values[0]))
        case "p_value":
            return inference.without_interval(inference.mean(values[0], horizon).p_value(), len(values[0]))
        case "correlation":
            return inference.correlation(values[0], values[1], horizon)
        case "rank_correlation":
            return inference.rank_correlation(values[0], values[1], horizon)
        case "sign_agreement":
            first, second = np.sign(values[0]), np.sign(values[1])
            sided_TQ = np.isfinite(first) & (first != 0) & np.isfinite(second) & (second != 0)
            return inference.mean(np.where(sided_TQ, first == second, np.nan), horizon)
        case _:
            raise RunError(f"metrics: '{metric.key}' has aggregate '{metric.aggregate}', which a task cannot use.")


def _of_backtest(test: Backtest) -> Figures:
    """Daily returns are marked every day, so they do not overlap, whatever the horizon.

    The largest fall of one path has no interval: those that we tried held the typical fall of such returns in 83 to
    86 % of simulations, because they depend on how volatile the coming days are (docs/evaluation.md).
    """
    return {
        "cumulative_return": inference.cumulative_return(test.returns_T),
        "sharpe": inference.sharpe(test.returns_T, test.bars_per_year),
        "sortino": inference.sortino(test.returns_T, test.bars_per_year),
        "max_drawdown": inference.without_interval(float(metrics.max_drawdown(test.returns_T)), len(test.returns_T)),
        "mean_return": inference.mean(test.returns_T[:, None]),
        "turnover": inference.mean(test.turnover_T[:, None]),
    }


def _shares_of_oracle(metric: Metric, predictions: Sequence[Predictions]) -> Figures:
    """By policy; empty where there are no best possible answers."""
    name = metric.values[0]
    sums = {p.policy: np.nansum(p.value(name), axis=1) for p in predictions if p.defines(name)}
    best = next((p.policy for p in predictions if p.kind == "best" and p.policy in sums), None)
    return {} if best is None else {policy: inference.ratio(sum_T, sums[best]) for policy, sum_T in sums.items()}
