"""Verdicts: a policy against all baselines at once.

Better than every baseline is an intersection of claims, so its p-value is the largest over the baselines (Berger 1982):
none may be left out because its sample mean happens to be low. Holm's method keeps the level for all models together.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from tradeschool.errors import RunError
from tradeschool.evaluate.comparison import MODELS, NAIVE, Verdict
from tradeschool.evaluate.evaluation_set import Predictions
from tradeschool.evaluate.inference import Estimate, holm
from tradeschool.policies.base import YARDSTICKS
from tradeschool.tasks.base import Metric

Estimates = Mapping[str, Mapping[str, Estimate]]
"""By policy and key of the metric."""


@dataclass(frozen=True)
class Judgement:
    """One policy against the baselines in one metric.

    Attributes:
        verdict: better than every baseline, worse than ``against``, the same as ``against``, or not shown.
        p_value: two-sided, adjusted by Holm's method over the policies judged together.
        against: the baseline that decides: the hardest to beat by its p-value, or that which the policy is worse than.
        pairs: adjusted p of the difference from each baseline; below 1 - confidence only where the verdict says so, or
            where it holds after Holm's correction for all pairs.
    """

    verdict: Verdict
    p_value: float
    against: str
    pairs: Mapping[str, float]


def judge(
    metric: Metric,
    predictions: Sequence[Predictions],
    estimates: Estimates,
    confidence: float,
    worse_than: Collection[str] = (),
) -> dict[str, Judgement]:
    """Test a metric of every competitor against all baselines. Models are judged together, baselines too.

    Each one-sided test has half of 1 - confidence: "better" of a policy that is not comes up in half of that at most.

    Args:
        metric: what is compared.
        predictions: all policies.
        estimates: of all policies.
        confidence: of the verdicts.
        worse_than: the baselines that a policy can be worse than, by default all.
    """
    figures = {p.policy: estimates[p.policy][metric.key] for p in predictions if p.kind not in YARDSTICKS}
    baselines = [p.policy for p in predictions if p.kind in NAIVE and math.isfinite(figures[p.policy].value)]
    found: dict[str, Judgement] = {}
    for group in (MODELS, NAIVE):
        members = [p.policy for p in predictions if p.kind in group]
        raw = {}
        for policy in members:
            others = [name for name in baselines if name != policy]
            gaps = {name: _gain(figures[policy], figures[name], metric) for name in others}
            raw[policy] = _judged(gaps, [name for name in others if name in worse_than] or others)
        found |= _together(raw, confidence)
    return found


def _gain(policy: Estimate, baseline: Estimate, metric: Metric) -> Estimate:
    """The difference, positive where the policy is better."""
    return policy - baseline if metric.better == "higher" else baseline - policy


def _judged(gaps: Mapping[str, Estimate], worse_than: Sequence[str]) -> Judgement:
    """Before any correction for the number of policies; the gaps are positive where the policy is better."""
    if not gaps:
        return Judgement("not shown", math.nan, "", {})
    if same := [name for name, gap in gaps.items() if gap.is_zero]:
        return Judgement("same", 1.0, same[0], {name: gap.p_value() for name, gap in gaps.items()})
    above = {name: gap.p_above() for name, gap in gaps.items()}
    if any(math.isnan(p) for p in above.values()):
        known = all(math.isfinite(gap.value) for gap in gaps.values())
        return Judgement("too few dates" if known else "not shown", math.nan, next(iter(gaps)), {})
    hardest, worst = max(above, key=lambda name: above[name]), max(worse_than, key=lambda name: above[name])
    p_better, p_worse = above[hardest], min(1.0, len(worse_than) * (1 - above[worst]))
    is_better = p_better <= p_worse
    p_value = min(1.0, 2 * min(p_better, p_worse))
    return Judgement(
        "better" if is_better else "worse",
        p_value,
        hardest if is_better else worst,
        {name: gap.p_value() for name, gap in gaps.items()},
    )


def _together(raw: Mapping[str, Judgement], confidence: float) -> dict[str, Judgement]:
    """Holm's correction over policies, and over all pairs of a policy and a baseline."""
    adjusted = holm({policy: one.p_value for policy, one in raw.items()})
    pairs = holm({(policy, name): p for policy, one in raw.items() for name, p in one.pairs.items()})
    found = {}
    for policy, one in raw.items():
        p_value = adjusted[policy]
        verdict = "not shown" if one.verdict in ("better", "worse") and p_value >= 1 - confidence else one.verdict
        # "Better" holds for every baseline, "worse" for the one named; other pairs need their own proof.
        own = {
            name: p_value if verdict == "better" or name == one.against else max(p_value, pairs[policy, name])
            for name in one.pairs
        }
        found[policy] = replace(one, verdict=verdict, p_value=p_value, pairs=own)
    return found


def best_baseline(metric: Metric, predictions: Sequence[Predictions], estimates: Estimates) -> str:
    """The baseline with the best figure in this sample; a RunError if no baseline has a value of the metric."""
    sign = 1 if metric.better == "higher" else -1
    values = {p.policy: sign * estimates[p.policy][metric.key].value for p in predictions if p.kind in NAIVE}
    values = {policy: value for policy, value in values.items() if math.isfinite(value)}
    if not values:
        raise RunError(f"No baseline has a value of '{metric.key}', so there is nothing to beat.")
    return max(values, key=lambda policy: values[policy])
