"""The primary metric on questions drawn at random, as if they were independent: how most evaluations are published.

Beside the figure over all consecutive dates it shows what shuffling hides. The mean is about the same, but questions of
one date share its luck, and outcomes of neighbouring dates overlap, so the interval of independent draws is too narrow.
"""

from collections.abc import Sequence

import numpy as np

from tradeschool.evaluate.comparison import Interval
from tradeschool.evaluate.evaluation_set import EvaluationSet, Predictions


def shuffled_means(
    questions: EvaluationSet, predictions: Sequence[Predictions], count: int, seed: int, confidence: float
) -> dict[str, Interval]:
    """By policy, the mean of the primary metric over ``count`` questions, the same for all, and its naive interval.

    Empty where the primary metric is no mean.
    """
    from scipy.stats import norm

    if questions.primary.aggregate != "mean":
        return {}
    asked = np.flatnonzero(questions.asked_TQ)
    drawn = np.random.default_rng([seed, 23]).permutation(asked)[:count]
    found = {}
    for p in predictions:
        values = p.value(questions.primary.values[0]).ravel()[drawn]
        values = values[np.isfinite(values)]
        if len(values) > 1:
            mean = float(values.mean())
            reach = float(norm.ppf((1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
            found[p.policy] = Interval(value=mean, low=mean - reach, high=mean + reach)
    return found
