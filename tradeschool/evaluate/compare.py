"""Compare policies on the same dates: metrics with intervals, paired differences, verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tradeschool import metrics
from tradeschool.errors import RunError
from tradeschool.evaluate import inference
from tradeschool.evaluate.backtest import BACKTEST_METRICS, Backtest, backtest
from tradeschool.evaluate.comparison import (
    BUY_AND_HOLD,
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
from tradeschool.evaluate.diagnostics import comparison_warnings, cosines, too_few_dates
from tradeschool.evaluate.evaluation_set import EvaluationSet, Predictions, daily_sums
from tradeschool.evaluate.inference import Estimate, holm
from tradeschool.evaluate.verdicts import Judgement, best_baseline, judge
from tradeschool.policies.base import YARDSTICKS
from tradeschool.tasks.base import Metric

PERIODS = 40
"""The dates are cut into this many periods to show how answers change over them."""

Figures = dict[str, Estimate]
"""By the metric's key."""
Pair = tuple[str, str, str]
"""Policy, the policy that it is compared with, key of the metric."""


def compare(
    evaluation_set: EvaluationSet, predictions: Sequence[Predictions], *, confidence: float = 0.95
) -> Comparison:
    """Compare policies that answered the same questions.

    Differences are paired by date. An unreadable answer without a value in the primary metric gets the worst value of
    any policy on that question: leaving hard questions unanswered must not pay. On too few dates
    (:func:`~tradeschool.evaluate.diagnostics.too_few_dates`) nothing is judged.

    Args:
        evaluation_set: the questions.
        predictions: the policies in the order of the table. Models are in the order of training, since each is
            compared with the one before it.
        confidence: of the intervals and of the verdicts.

    Raises:
        RunError: fewer than two policies, two of the same name, no baseline, or no value of the primary metric.
    """
    primary = evaluation_set.primary
    _check(primary, predictions, confidence)
    filled = _fill_unreadable(primary, predictions)
    tests = _backtests(evaluation_set, predictions)
    figures = figures_of(evaluation_set, filled, tests)
    reference = best_baseline(primary, predictions, figures)
    market = next((p.policy for p in predictions if p.policy == BUY_AND_HOLD and p.kind in NAIVE), reference)
    pairs = _earlier_models(evaluation_set, predictions, figures)
    if too_few_dates(evaluation_set):
        scores = {p.policy: Judgement("too few dates", math.nan, reference, {}) for p in predictions}
        money, steps = scores, dict.fromkeys(pairs, math.nan)
    else:
        scores = judge(primary, predictions, figures, confidence)
        money = judge(MEAN_RETURN, predictions, figures, confidence, (market,)) if tests else {}
        steps = _steps(evaluation_set, pairs, figures, scores)
    writer = _RowWriter(evaluation_set, tests, figures, scores, money, steps, reference, market, confidence)
    tried = [figures[p.policy]["sharpe"].value for p in predictions if tests and p.kind not in YARDSTICKS]
    return Comparison(
        evaluation=evaluation_set.facts(bool(tests)),
        metrics=[*evaluation_set.metrics, *(BACKTEST_METRICS if tests else ()), PARSE_ERRORS],
        primary=primary.key,
        rows=[writer.row(p, whole, tried) for p, whole in zip(predictions, filled, strict=True)],
        best_baseline=reference,
        confidence=confidence,
        cosines=cosines(evaluation_set),
        warnings=comparison_warnings(evaluation_set, predictions),
    )


def check_confidence(confidence: float) -> None:
    """Refuse a confidence level that is not between 0.5 and 1."""
    if not 0.5 < confidence < 1:
        raise RunError(f"The confidence level is {confidence}. Give one above 0.5 and below 1.")


def _check(primary: Metric, predictions: Sequence[Predictions], confidence: float) -> None:
    names = [p.policy for p in predictions]
    if len(names) < 2:
        raise RunError(f"{len(names)} policy answered, so there is nothing to compare. Give at least two.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise RunError(f"Two policies are called '{twice[0]}'. Rename one.")
    if not any(p.kind in NAIVE for p in predictions):
        raise RunError("No baseline answered, so there is nothing to beat. Give the task baselines.")
    check_confidence(confidence)
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
    """By policy; empty where the task's answers imply no positions. Several questions about a ticker are averaged."""
    if not evaluation_set.per_ticker or all(p.position_TQ is None for p in predictions):
        return {}
    none_TQ, questions = np.full(evaluation_set.shape, np.nan), evaluation_set
    positions = {p.policy: none_TQ if p.position_TQ is None else p.position_TQ for p in predictions}
    return {
        policy: backtest(
            questions.panel, questions.rows_T, questions.by_ticker(position_TQ), questions.asked_TN, questions.costs
        )
        for policy, position_TQ in positions.items()
    }


def _earlier_models(
    evaluation_set: EvaluationSet, predictions: Sequence[Predictions], figures: Mapping[str, Figures]
) -> list[Pair]:
    """Each model against the one before it in the primary metric, and against all before it in shares of the edge."""
    models = [p.policy for p in predictions if p.kind in MODELS]
    pairs: list[Pair] = []
    for place, policy in enumerate(models):
        pairs += [(policy, before, evaluation_set.primary.key) for before in models[max(0, place - 1) : place]]
        for metric in evaluation_set.metrics:
            if metric.aggregate == "share_of_oracle" and metric.key in figures[policy] and not metric.primary:
                pairs += [(policy, before, metric.key) for before in models[:place] if metric.key in figures[before]]
    return pairs


def _steps(
    evaluation_set: EvaluationSet,
    pairs: Sequence[Pair],
    figures: Mapping[str, Figures],
    scores: Mapping[str, Judgement],
) -> dict[Pair, float]:
    """Two-sided p of every difference between models, adjusted by Holm's method for all of the report together.

    A model that has become the same as a baseline has learned nothing, so its p is 1 where it gained.
    """
    lower = {metric.key for metric in evaluation_set.metrics if metric.better == "lower"}
    gaps = {(policy, other, key): figures[policy][key] - figures[other][key] for policy, other, key in pairs}
    found = holm({pair: gap.p_value() for pair, gap in gaps.items()})
    for (policy, other, key), gap in gaps.items():
        if scores[policy].verdict == "same" and (gap.value > 0) is (key not in lower):
            found[policy, other, key] = 1.0
    return found


# rows --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RowWriter:
    """Writes the row of one policy from the figures and judgements of all of them."""

    evaluation_set: EvaluationSet
    tests: Mapping[str, Backtest]
    figures: Mapping[str, Figures]
    scores: Mapping[str, Judgement]
    money: Mapping[str, Judgement]
    steps: Mapping[Pair, float]
    reference: str
    market: str
    confidence: float

    def row(self, p: Predictions, filled: Predictions, tried: Sequence[float]) -> Row:
        """The row; ``filled`` has a value for unreadable answers too, ``tried`` are the Sharpe ratios of all."""
        test = self.tests.get(p.policy)
        verdict: Verdict = "ceiling" if p.kind == "best" else "bound" if p.kind == "bound" else "best baseline"
        p_value = math.nan
        if p.kind not in YARDSTICKS and p.policy != self.reference:
            verdict, p_value = self.scores[p.policy].verdict, self.scores[p.policy].p_value
        differences = [] if p.kind in YARDSTICKS else self._differences(p)
        figures = {
            key: e.interval(self.confidence) for key, e in self.figures[p.policy].items() if key != MEAN_RETURN.key
        }
        if test:
            deflated = metrics.deflated_sharpe(test.returns_T, tried, test.bars_per_year)
            figures["psr"] = Interval(value=metrics.probabilistic_sharpe(test.returns_T))
            figures["dsr"] = Interval(value=deflated)
        shares: dict[str, float] = {}
        over_time: list[dict[str, float]] = []
        if p.action_TQ is not None:
            names, asked_TQ = self.evaluation_set.action_names, self.evaluation_set.asked_TQ
            periods = np.array_split(np.arange(len(asked_TQ)), min(PERIODS, len(asked_TQ)))
            shares = _shares(p.action_TQ, asked_TQ, names)
            over_time = [_shares(p.action_TQ[part], asked_TQ[part], names) for part in periods]
        return Row(
            policy=p.policy,
            kind=p.kind,
            verdict=verdict,
            sentence=sentence(verdict, self.evaluation_set.primary, p.kind, differences, self.market),
            p_value=p_value,
            metrics=figures,
            differences=differences,
            answer_shares=shares,
            shares_over_time=over_time,
            rewards=p.rewards,
            equity_T=test.equity_T.tolist() if test else [],
            daily=daily_sums(self.evaluation_set.metrics, filled),
        )

    def _differences(self, p: Predictions) -> list[Difference]:
        """From the baselines that decide in the primary metric and in returns, and from the models before it."""
        found = []
        if p.policy != self.reference:
            found += self._from_baselines(
                p.policy, self.evaluation_set.primary.key, self.scores[p.policy], self.reference
            )
        if self.tests and p.policy != self.market:
            found += self._from_baselines(p.policy, MEAN_RETURN.key, self.money[p.policy], self.market)
        return found + [self._difference(*pair, p_value) for pair, p_value in self.steps.items() if pair[0] == p.policy]

    def _from_baselines(self, policy: str, key: str, judged: Judgement, also: str) -> list[Difference]:
        # Where every baseline is beaten, the closest one says most.
        names = dict.fromkeys([also, judged.against] if judged.verdict == "better" else [judged.against, also])
        return [self._difference(policy, name, key, judged.pairs.get(name, math.nan)) for name in names if name]

    def _difference(self, policy: str, against: str, key: str, p_value: float) -> Difference:
        known = (*self.evaluation_set.metrics, MEAN_RETURN)
        return Difference(
            policy=policy,
            against=against,
            metric=key,
            interval=(self.figures[policy][key] - self.figures[against][key]).interval(self.confidence),
            p_value=p_value,
            better=next(metric.better for metric in known if metric.key == key),
            confidence=self.confidence,
        )


def _shares(action_TQ: NDArray[np.int64], asked_TQ: NDArray[np.bool_], names: Sequence[str]) -> dict[str, float]:
    """Share of the questions answered with each class, and of unreadable answers; NaN where none was asked."""
    asked = int(asked_TQ.sum())
    counts = {name: int((action_TQ == number).sum()) for number, name in enumerate(names)}
    counts[UNREADABLE] = asked - sum(counts.values())
    return {name: count / asked if asked else math.nan for name, count in counts.items()}


# every policy's figures over the dates ------------------------------------------------------------


def figures_of(
    evaluation_set: EvaluationSet, predictions: Sequence[Predictions], tests: Mapping[str, Backtest]
) -> dict[str, Figures]:
    """Every figure of every policy; a RunError if a metric has an aggregate that a task cannot use."""
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
        case "calibration_error":
            error = metrics.calibration_error(values[0], values[1])
            return inference.without_interval(error, len(values[0]))
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
