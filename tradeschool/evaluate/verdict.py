"""Better, not shown or worse: the test against the naive rows, and the sentence that says it."""

import math
from dataclasses import dataclass

import numpy as np

from tradeschool.evaluate.answers import Answers
from tradeschool.evaluate.certainty import Estimate
from tradeschool.evaluate.result import Difference, Interval, Verdict
from tradeschool.policies.base import Kind

NAIVE: tuple[Kind, ...] = ("naive", "rule")
MODELS: tuple[Kind, ...] = ("untrained", "trained")


@dataclass(frozen=True)
class Judgement:
    """``p_value`` is two-sided and, for models, adjusted for the number of models judged."""

    verdict: Verdict
    p_value: float


def judge(answers: list[Answers], scores: dict[str, Estimate], reference: str, level: float) -> dict[str, Judgement]:
    """Test the mean score of every policy against ``reference``, the naive or rule row with the highest one.

    Better: the paired difference from the reference lies above zero. The reference is the highest
    of several noisy means, so it stands above its true value and the test errs on the side of
    silence. Worse: the same choice would make an equal policy look worse, so there the difference
    is held against the distribution of (its own error - the largest error of all naive rows), as
    in White's Reality Check (2000). Tests are two-sided at 1 - level: "better" without an edge
    comes up in half of that at most, Holm's method keeping this for all models together.
    """
    p_values = {a.policy: _p_values(a.policy, answers, scores, reference) for a in answers}
    two_sided = {policy: min(1.0, 2 * min(sides)) for policy, sides in p_values.items()}
    two_sided |= holm({a.policy: two_sided[a.policy] for a in answers if a.kind in MODELS})
    judgements = {}
    for a in answers:
        above, below = p_values[a.policy]
        side: Verdict = "better" if above < below else "worse"
        verdict: Verdict = side if two_sided[a.policy] < 1 - level else "not shown"
        judgements[a.policy] = Judgement(verdict, two_sided[a.policy])
        if a.kind == "best" or a.policy == reference:
            judgements[a.policy] = Judgement("ceiling" if a.kind == "best" else "reference", math.nan)
    return judgements


def smallest_p_value(answers: list[Answers], draws: int) -> float:
    """The smallest adjusted p that so many draws can give."""
    return 2 * sum(a.kind in MODELS for a in answers) / (1 + draws)


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment (1979): controls the chance of any false claim among all."""
    adjusted, largest = {}, 0.0
    for rank, (policy, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_value))
        adjusted[policy] = largest
    return adjusted


def _p_values(policy: str, answers: list[Answers], scores: dict[str, Estimate], reference: str) -> tuple[float, float]:
    """One-sided p of (better, worse) than the reference; 1 where a score is not defined."""
    own = scores[policy]
    if not (math.isfinite(own.value) and math.isfinite(scores[reference].value)):
        return 1.0, 1.0
    difference = own - scores[reference]
    draws = difference.draws_B.size
    above = (1 + np.count_nonzero(difference.draws_B <= 0)) / (1 + draws)
    rivals = [scores[a.policy] for a in answers if a.kind in NAIVE and math.isfinite(scores[a.policy].value)]
    luckiest_B = np.max([rival.draws_B - rival.value for rival in rivals], axis=0)
    chance_B = own.draws_B - own.value - luckiest_B
    below = (1 + np.count_nonzero(chance_B <= difference.value)) / (1 + draws)
    return above, below


def sentence(
    judgement: Judgement, score: Difference | None, returns: Difference | None, previous: Difference | None
) -> str:
    """What a person should take home about one policy, in plain words."""
    if judgement.verdict == "ceiling":
        return "The best possible answers given all that was knowable: a ceiling, not a rival."
    if judgement.verdict == "reference" or score is None or returns is None:
        return "The best of the naive rows: the one to beat."
    parts = [_against_naive(judgement, score), _after_costs(returns)]
    if previous is not None:
        shown = "shown" if previous.shown else "not shown"
        parts.append(f"Against {previous.against}: {signed(previous.interval, 3)} in score, {shown}.")
    return " ".join(parts)


def _against_naive(judgement: Judgement, score: Difference) -> str:
    gap = f"{signed(score.interval, 3)} in mean score"
    if judgement.verdict == "better":
        return f"Better than the best naive row, {score.against}: {gap}."
    if judgement.verdict == "worse":
        return f"Worse than the best naive row, {score.against}: {gap}."
    text = f"Not shown to differ from the best naive row, {score.against}: {gap}."
    if score.interval.low > 0:
        text += " The interval leaves zero out, but not once the number of models judged is allowed for."
    elif score.interval.high < 0:
        text += " The interval leaves zero out, but that naive row is the luckiest of several."
    return text


def _after_costs(returns: Difference) -> str:
    if not math.isfinite(returns.interval.low):
        return "After costs the daily returns cannot be compared."
    if returns.interval.value == returns.interval.low == returns.interval.high == 0:
        return "After costs it earned the same."
    shown = "shown" if returns.shown else "not shown"
    return f"After costs its return differed by {signed(returns.interval, 3, 100)} % a day: {shown}."


def signed(interval: Interval, digits: int, scale: float = 1.0) -> str:
    """``+0.043 [+0.021, +0.066]``, every figure times ``scale``."""
    if not math.isfinite(interval.value):
        return "undefined"
    text = f"{scale * interval.value:+.{digits}f}"
    if not math.isfinite(interval.low):
        return text
    return f"{text} [{scale * interval.low:+.{digits}f}, {scale * interval.high:+.{digits}f}]"
