"""Warnings: of a training by its own figures, and of a comparison that should not be trusted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tradeschool.evaluate.comparison import MODELS
from tradeschool.evaluate.evaluation_set import EvaluationSet, Predictions
from tradeschool.evaluate.inference import FEWEST_COSINES, cosines_of
from tradeschool.train.troubles import MOST_UNREADABLE, late_troubles, passed_troubles

FEW_COSINES = 6
"""With fewer, intervals are a quarter wider than on many dates, or more: 60 dates, in 15 periods of the horizon."""
COLLAPSED = 0.95


def training_warnings(training: Mapping[str, Sequence[Mapping[str, Any]]], weights: Mapping[str, float]) -> list[str]:
    """One sentence per problem of each stage: those at its end, and those that were told while it ran.

    ``weights`` are those of the task's rewards; a component without weight may be constant.
    """
    warnings = []
    for stage, rows in training.items():
        late = late_troubles(rows, weights)
        warnings += [f"{stage}: {text}" for text in late.values()]
        for word, (step, text) in passed_troubles(rows, weights).items():
            if word not in late:
                warnings.append(f"{stage}, around step {step}, though no longer at the end: {text}")
    return warnings


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
