"""Compare policies on the same dates: metrics with intervals, paired differences, verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tradeschool import metrics
from tradeschool.errors import RunError
from tradeschool.evaluate.backtest import BACKTEST_METRICS, PATHS, Backtest, backtest
from tradeschool.evaluate.comparison import (
    MEAN_RETURN,
    MODELS,
    NAIVE,
    PARSE_ERRORS,
    UNREADABLE,
    Comparison,
    Difference,
    Interval,
    Row,
    Verdict,
    sentence,
)
from tradeschool.evaluate.diagnostics import comparison_warnings, too_few_dates
from tradeschool.evaluate.evaluation_set import EvaluationSet
from tradeschool.evaluate.inference import BootstrapEstimate, DateBootstrap, bootstrap_dates, holm
from tradeschool.evaluate.predictions import Predictions
from tradeschool.market.panel import Floats
from tradeschool.tasks.base import Metric

PERIODS = 40
"""The dates are cut into this many periods to show how answers change over them."""

Estimates = dict[str, BootstrapEstimate]


def compare(
    evaluation_set: EvaluationSet,
    predictions: Sequence[Predictions],
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> Comparison:
    """Compare policies that answered the same questions.

    All intervals come from the same ``draws`` resamplings of the dates, so differences are paired. An unreadable answer
    without a value in the primary metric gets the worst value of any policy on that question: leaving hard questions
    unanswered must not pay.

    On too few dates (:func:`~tradeschool.evaluate.diagnostics.too_few_dates`) nothing is judged, and no figure has an
    interval: resampling one date gives an interval of no width.

    Args:
        evaluation_set: the questions.
        predictions: the policies in the order of the table. Models are in the order of training, since each is
            compared with the one before it.
        seed: of the resamplings.
        draws: how many.
        level: of the intervals and of the verdicts.

    Raises:
        RunError: fewer than two policies, two of the same name, no baseline, too few draws, or no value of the
            primary metric.
    """
    _check(evaluation_set.primary, predictions, draws, level)
    filled = _fill_unreadable(evaluation_set.primary, predictions)
    tests = _backtests(evaluation_set, predictions)
    series_TK = _series(evaluation_set, filled, tests)
    dates = bootstrap_dates(series_TK, draws=draws, seed=seed, shortest=evaluation_set.horizon)
    estimates = {p.policy: _estimates(evaluation_set, p, tests.get(p.policy), dates) for p in filled}
    _add_shares_of_oracle(evaluation_set.metrics, filled, estimates, dates)
    verdicts, reference = judge(evaluation_set.primary, predictions, estimates, level)
    few = too_few_dates(evaluation_set)
    if few:
        judged = ("better", "worse", "not shown")
        verdicts = {p: ("too few dates", math.nan) if v in judged else (v, math.nan) for p, (v, _) in verdicts.items()}
    writer = _RowWriter(evaluation_set, predictions, tests, estimates, verdicts, reference, None if few else level)
    return Comparison(
        evaluation=evaluation_set.facts(bool(tests)),
        metrics=[*evaluation_set.metrics, *(BACKTEST_METRICS if tests else ()), PARSE_ERRORS],
        primary=evaluation_set.primary.key,
        rows=[writer.row(p) for p in predictions],
        reference=reference,
        level=level,
        draws=draws,
        seed=seed,
        block_length=dates.block,
        warnings=comparison_warnings(evaluation_set, predictions),
    )


def _check(primary: Metric, predictions: Sequence[Predictions], draws: int, level: float) -> None:
    names = [p.policy for p in predictions]
    if len(names) < 2:
        raise RunError(f"{len(names)} policy answered, so there is nothing to compare. Give at least two.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise RunError(f"Two policies are called '{twice[0]}'. Rename one.")
    if not any(p.kind in NAIVE for p in predictions):
        raise RunError("No baseline answered, so there is nothing to beat. Give the task baselines.")
    if not 0.5 <= level < 1:
        raise RunError(f"The confidence level is {level}. Give one from 0.5 to below 1.")
    models = sum(p.kind in MODELS for p in predictions)
    least = max(100, math.floor(2 * models / (1 - level)))  # the first for which smallest_p_value < 1 - level
    if draws < least:
        raise RunError(
            f"draws is {draws}: it must be at least {least} for this confidence level ({level:g}) and number of "
            f"policies ({models} besides the baselines)."
        )
    if not any(p.defines(name) for p in predictions for name in primary.values):
        raise RunError(f"No answer has a value of the primary metric '{primary.key}', so nothing can be compared.")


def _fill_unreadable(primary: Metric, predictions: Sequence[Predictions]) -> list[Predictions]:
    """Give unreadable answers the worst value of any policy on the same question."""
    name = primary.values[0]
    stack_PTQ = np.stack([p.value(name) for p in predictions])
    unknown, worst = (np.inf, np.min) if primary.better == "higher" else (-np.inf, np.max)
    worst_TQ = worst(np.where(np.isfinite(stack_PTQ), stack_PTQ, unknown), axis=0)
    filled = []
    for p, value_TQ in zip(predictions, stack_PTQ, strict=True):
        missing_TQ = ~p.read_TQ & ~np.isfinite(value_TQ) & np.isfinite(worst_TQ)
        filled.append(replace(p, values={**p.values, name: np.where(missing_TQ, worst_TQ, value_TQ)}))
    return filled


def _backtests(evaluation_set: EvaluationSet, predictions: Sequence[Predictions]) -> dict[str, Backtest]:
    """By policy; empty where the task's answers imply no positions."""
    if not evaluation_set.per_ticker or all(p.position_TQ is None for p in predictions):
        return {}
    none_TQ = np.full(evaluation_set.shape, np.nan)
    panel, rows_T, asked_TQ = evaluation_set.panel, evaluation_set.rows_T, evaluation_set.asked_TQ
    positions = {p.policy: none_TQ if p.position_TQ is None else p.position_TQ for p in predictions}
    return {
        policy: backtest(panel, rows_T, position_TQ, asked_TQ, evaluation_set.costs)
        for policy, position_TQ in positions.items()
    }


# figures -----------------------------------------------------------------------------------------


def _series(evaluation_set: EvaluationSet, predictions: Sequence[Predictions], tests: Mapping[str, Backtest]) -> Floats:
    """[T, K] the daily series behind the figures: the most dependent one sets the block length."""
    series: list[Floats] = []
    for p in predictions:
        for metric in evaluation_set.metrics:
            value_TQ = p.value(metric.values[0])
            if metric.aggregate in ("mean", "root_mean"):
                series.append(_daily_mean(value_TQ))
            elif metric.aggregate == "share_of_oracle" and p.defines(metric.values[0]):
                series.append(np.nansum(value_TQ, axis=1))
        if p.policy in tests:
            series.append(tests[p.policy].returns_T)
    return np.stack(series, axis=1) if series else np.zeros((evaluation_set.shape[0], 1))


def _daily_mean(value_TQ: Floats) -> Floats:
    """The mean of each date's finite values, NaN on dates without any."""
    count_T = np.isfinite(value_TQ).sum(1)
    mean_T = np.full(len(value_TQ), np.nan)
    np.divide(np.nansum(value_TQ, axis=1), count_T, out=mean_T, where=count_T > 0)
    return mean_T


def _estimates(evaluation_set: EvaluationSet, p: Predictions, test: Backtest | None, dates: DateBootstrap) -> Estimates:
    """Every figure of one policy by the metric's key, except shares of the oracle."""
    found = {
        metric.key: _aggregate(metric, [p.value(name) for name in metric.values], dates)
        for metric in evaluation_set.metrics
        if metric.aggregate != "share_of_oracle"
    }
    found[PARSE_ERRORS.key] = dates.mean(np.where(evaluation_set.asked_TQ, ~p.read_TQ, np.nan))
    if test is not None:
        found |= {key: dates.path(function, test.returns_T) for key, function in PATHS.items()}
        found["turnover"] = dates.path(metrics.mean, test.turnover_T)
    return found


def _aggregate(metric: Metric, values: list[Floats], dates: DateBootstrap) -> BootstrapEstimate:
    match metric.aggregate:
        case "mean":
            return dates.mean(values[0])
        case "root_mean":
            return dates.root_mean(values[0])
        case "correlation":
            return dates.correlation(values[0], values[1])
        case "rank_correlation":
            return dates.rank_correlation(values[0], values[1])
        case "sign_agreement":
            first, second = np.sign(values[0]), np.sign(values[1])
            sided_TQ = np.isfinite(first) & (first != 0) & np.isfinite(second) & (second != 0)
            return dates.mean(np.where(sided_TQ, first == second, np.nan))
        case _:
            raise RunError(f"metrics: '{metric.key}' has aggregate '{metric.aggregate}', which a task cannot use.")


def _add_shares_of_oracle(
    task_metrics: Sequence[Metric],
    predictions: Sequence[Predictions],
    estimates: Mapping[str, Estimates],
    dates: DateBootstrap,
) -> None:
    for metric in task_metrics:
        if metric.aggregate != "share_of_oracle":
            continue
        name = metric.values[0]
        sums = {p.policy: np.nansum(p.value(name), axis=1) for p in predictions if p.defines(name)}
        best = next((p.policy for p in predictions if p.kind == "best" and p.policy in sums), None)
        if best is not None:
            for policy, sum_T in sums.items():
                estimates[policy][metric.key] = dates.ratio(sum_T, sums[best])


# verdicts ----------------------------------------------------------------------------------------


def judge(
    primary: Metric,
    predictions: Sequence[Predictions],
    estimates: Mapping[str, Mapping[str, BootstrapEstimate]],
    level: float,
) -> tuple[dict[str, tuple[Verdict, float]], str]:
    """Test the primary metric of every policy against the best baseline.

    Better: the paired difference from the reference lies on the better side of zero. The reference is the best of
    several noisy means, so it stands above its true value and the test errs towards "not shown". Worse: the same
    choice would make an equal policy look worse, so that side is tested as in White's Reality Check
    (``BootstrapEstimate.p_below_best``). Tests are two-sided at 1 - level: "better" without an edge comes up in half
    of that at most. Holm's method keeps this for all models together.

    Returns:
        By policy the verdict and its two-sided p, adjusted for the number of models judged; and the best baseline.

    Raises:
        RunError: no baseline has a value of the metric.
    """
    raw = {p.policy: estimates[p.policy][primary.key] for p in predictions}
    scores = {policy: one if primary.better == "higher" else -one for policy, one in raw.items()}
    baselines = [p.policy for p in predictions if p.kind in NAIVE and math.isfinite(scores[p.policy].value)]
    if not baselines:
        raise RunError(f"No baseline has a value of '{primary.key}', so there is nothing to beat.")
    reference = max(baselines, key=lambda policy: scores[policy].value)
    sides = {policy: _p_values(policy, scores, reference, baselines) for policy in scores}
    two_sided = {policy: min(1.0, 2 * min(ps)) for policy, ps in sides.items()}
    two_sided |= holm({p.policy: two_sided[p.policy] for p in predictions if p.kind in MODELS})
    verdicts: dict[str, tuple[Verdict, float]] = {}
    for p in predictions:
        above, below = sides[p.policy]
        if p.kind == "best" or p.policy == reference:
            verdicts[p.policy] = "ceiling" if p.kind == "best" else "reference", math.nan
        elif two_sided[p.policy] < 1 - level:
            verdicts[p.policy] = "better" if above < below else "worse", two_sided[p.policy]
        else:
            verdicts[p.policy] = "not shown", two_sided[p.policy]
    return verdicts, reference


def smallest_p_value(models: int, draws: int) -> float:
    """The smallest adjusted p that ``draws`` can give for this number of models."""
    return 2 * models / (1 + draws)


def _p_values(
    policy: str, scores: Mapping[str, BootstrapEstimate], reference: str, baselines: Sequence[str]
) -> tuple[float, float]:
    """One-sided p of (better, worse) than the reference; 1 where a score is not defined."""
    own = scores[policy]
    if not math.isfinite(own.value):
        return 1.0, 1.0
    difference = own - scores[reference]
    return difference.p_above(), difference.p_below_best([scores[name] for name in baselines], own)


# rows --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RowWriter:
    """Writes the row of one policy from the estimates of all of them; without a level there are no intervals."""

    evaluation_set: EvaluationSet
    predictions: Sequence[Predictions]
    tests: Mapping[str, Backtest]
    estimates: Mapping[str, Estimates]
    verdicts: Mapping[str, tuple[Verdict, float]]
    reference: str
    level: float | None

    def row(self, p: Predictions) -> Row:
        test = self.tests.get(p.policy)
        verdict, p_value = self.verdicts[p.policy]
        differences = [] if p.kind == "best" else self._differences(p)
        figures = {k: self._interval(e) for k, e in self.estimates[p.policy].items() if k != MEAN_RETURN.key}
        shares, over_time = self._answer_shares(p)
        return Row(
            policy=p.policy,
            kind=p.kind,
            verdict=verdict,
            sentence=sentence(verdict, self.evaluation_set.primary, differences, self.reference),
            p_value=p_value,
            metrics=figures | (self._sharpe_probabilities(test) if test else {}),
            differences=differences,
            answer_shares=shares,
            shares_over_time=over_time,
            rewards=p.rewards,
            equity_T=test.equity_T.tolist() if test else [],
        )

    def _interval(self, estimate: BootstrapEstimate) -> Interval:
        return Interval(value=estimate.value) if self.level is None else estimate.interval(self.level)

    def _sharpe_probabilities(self, test: Backtest) -> dict[str, Interval]:
        tried = [self.estimates[p.policy]["sharpe"].value for p in self.predictions if p.kind != "best"]
        return {
            "psr": Interval(value=metrics.probabilistic_sharpe(test.returns_T)),
            "dsr": Interval(value=metrics.deflated_sharpe(test.returns_T, tried)),
        }

    def _differences(self, p: Predictions) -> list[Difference]:
        """From the reference in the primary metric and in returns, and from the other models."""
        primary = self.evaluation_set.primary
        found = []
        if p.policy != self.reference:
            found.append(self._difference(p, self.reference, primary, self.verdicts[p.policy][1]))
            if self.tests:
                found.append(self._difference(p, self.reference, MEAN_RETURN))
        models = [other.policy for other in self.predictions if other.kind in MODELS]
        if p.policy not in models:
            return found
        if (place := models.index(p.policy)) > 0:
            found.append(self._difference(p, models[place - 1], primary))
        for metric in self.evaluation_set.metrics:
            if metric.aggregate == "share_of_oracle" and metric.key in self.estimates[p.policy]:
                others = [o for o in models if o != p.policy and metric.key in self.estimates[o]]
                found += [self._difference(p, other, metric) for other in others]
        return found

    def _difference(self, p: Predictions, against: str, metric: Metric, p_value: float = math.nan) -> Difference:
        gap = self.estimates[p.policy][metric.key] - self.estimates[against][metric.key]
        return Difference(
            policy=p.policy,
            against=against,
            metric=metric.key,
            interval=self._interval(gap),
            p_value=p_value,
            better=metric.better,
        )

    def _answer_shares(self, p: Predictions) -> tuple[dict[str, float], list[dict[str, float]]]:
        """Of all dates, and of consecutive periods."""
        if p.action_TQ is None:
            return {}, []
        names, asked_TQ = self.evaluation_set.action_names, self.evaluation_set.asked_TQ
        periods = np.array_split(np.arange(len(asked_TQ)), min(PERIODS, len(asked_TQ)))
        over_time = [_shares(p.action_TQ[part], asked_TQ[part], names) for part in periods]
        return _shares(p.action_TQ, asked_TQ, names), over_time


def _shares(action_TQ: NDArray[np.int64], asked_TQ: NDArray[np.bool_], names: Sequence[str]) -> dict[str, float]:
    """Share of the questions answered with each class, and of unreadable answers; NaN where none was asked."""
    asked = int(asked_TQ.sum())
    counts = {name: int((action_TQ == number).sum()) for number, name in enumerate(names)}
    counts[UNREADABLE] = asked - sum(counts.values())
    return {name: count / asked if asked else math.nan for name, count in counts.items()}
