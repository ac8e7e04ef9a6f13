"""Warnings: of a training by its own figures, and of a comparison that should not be trusted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tradeschool.evaluate.comparison import MODELS
from tradeschool.evaluate.evaluation_set import EvaluationSet, Predictions
from tradeschool.evaluate.inference import FEWEST_COSINES, cosines_of

# Bounds from public reproductions: beyond them the answers of a group no longer differ, or the policy has diverged.
LEAST_ENTROPY = 0.03
MOST_ZERO_VARIANCE = 0.6
MOST_KL = 4.0
MOST_CONSTANT = 0.95
MOST_OF_ONE_ANSWER = 0.9
MOST_UNREADABLE = 0.01

FEW_COSINES = 6
"""With fewer, intervals are a quarter wider than on many dates, or more: 60 dates, in 15 periods of the horizon."""
COLLAPSED = 0.95


def training_warnings(training: Mapping[str, Sequence[Mapping[str, Any]]], weights: Mapping[str, float]) -> list[str]:
    """One sentence per problem, from the last quarter of every stage's steps.

    ``weights`` are those of the task's rewards; a component without weight may be constant.
    """
    warnings = []
    for stage, rows in training.items():
        late = _late_means(rows)
        if "reward" in late:
            warnings += [f"{stage}: {text}" for text in _about(late, weights)]
    return warnings


def _late_means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    stepped = [row for row in rows if row.get("reward") is not None]
    late = stepped[-max(1, len(stepped) // 4) :]
    values: dict[str, list[float]] = {}
    for row in late:
        for key, value in row.items():
            if isinstance(value, int | float):
                values.setdefault(key, []).append(float(value))
    return {key: sum(found) / len(found) for key, found in values.items()}


def _about(late: Mapping[str, float], weights: Mapping[str, float]) -> list[str]:
    found = []
    if late.get("entropy", 1.0) < LEAST_ENTROPY:
        found.append(
            f"entropy fell to {late['entropy']:.3f} a token (below {LEAST_ENTROPY}): the policy explores little."
        )
    # TRL's own share is 0 whenever rewards are scaled by the batch; it stands in where ours was not recorded.
    share = late.get("zero_variance_groups", late.get("frac_reward_zero_std", 0.0))
    if share > MOST_ZERO_VARIANCE:
        found.append(f"in {share:.0%} of the groups all rewards were equal, so nothing was learned from them.")
    if late.get("kl", 0.0) > MOST_KL:
        found.append(f"KL to the starting policy reached {late['kl']:.1f} (above {MOST_KL:g}): it may have diverged.")
    if late.get("parse_errors", 0.0) > MOST_UNREADABLE:
        found.append(f"{late['parse_errors']:.1%} of the answers could not be read.")
    for key, share in late.items():
        kind, _, name = key.partition("/")
        if kind == "constant_in_group" and weights.get(name) and share > MOST_CONSTANT and name != "format":
            found.append(f"reward '{name}' was constant within {share:.0%} of the groups, where it cancels out.")
        if kind == "answers" and share > MOST_OF_ONE_ANSWER:
            found.append(f"{share:.0%} of the answers were {name}: the policy has collapsed to one answer.")
    return found


def cosines(evaluation_set: EvaluationSet) -> int:
    """The degrees of freedom of figures with a value for every question."""
    return cosines_of(evaluation_set.asked_TQ.sum(1).astype(float), evaluation_set.horizon)


def too_few_dates(evaluation_set: EvaluationSet) -> bool:
    """Whether the dates with a question are too few, or overlap too much, for any verdict."""
    return cosines(evaluation_set) < FEWEST_COSINES


def comparison_warnings(evaluation_set: EvaluationSet, predictions: Sequence[Predictions]) -> list[str]:
    """Too few dates, overlapping outcomes, unreadable answers, the same answer to everything."""
    warnings = []
    dates, horizon, found = evaluation_set.shape[0], evaluation_set.horizon, cosines(evaluation_set)
    days = f"{horizon} {'day' if horizon == 1 else 'days'}"
    if found < FEWEST_COSINES:
        warnings.append(
            f"Too few dates for verdicts: {dates}, with outcomes that look {days} ahead. About 12 are needed, and five "
            "periods as long as outcomes look ahead."
        )
    elif found < FEW_COSINES:
        warnings.append(
            f"Only {dates} dates, with outcomes that look {days} ahead: the intervals are wide, and only large "
            "differences can be shown."
        )
    for p in predictions:
        if p.kind in MODELS:
            warnings += _about_answers(evaluation_set, p)
    return warnings


def _about_answers(evaluation_set: EvaluationSet, p: Predictions) -> list[str]:
    warnings = []
    asked_TQ, names = evaluation_set.asked_TQ, evaluation_set.action_names
    unreadable = float((asked_TQ & ~p.read_TQ).sum() / asked_TQ.sum())
    if unreadable > MOST_UNREADABLE:
        effect = "" if p.position_TQ is None else "; they keep no position"
        warnings.append(f"{p.policy}: {unreadable:.1%} of the answers could not be read{effect}.")
    if p.action_TQ is not None and (read := p.action_TQ[p.action_TQ >= 0]).size:
        counts = np.bincount(read, minlength=len(names))
        most = int(np.argmax(counts))
        if counts[most] > COLLAPSED * read.size:
            warnings.append(
                f"{p.policy}: {counts[most] / read.size:.1%} of its answers are {names[most]}, whatever is asked: "
                "it has collapsed."
            )
    return warnings
