"""What a reader of a comparison should be warned of before believing it."""

import numpy as np

from tradeschool.evaluate.answers import RATING_NAMES, RATINGS, Answers, Exam
from tradeschool.evaluate.verdict import MODELS

FEWEST_DATES = 60
MOST_UNREADABLE = 0.01
COLLAPSED = 0.95


def comparison_warnings(exam: Exam, answers: list[Answers]) -> list[str]:
    """Too short an exam, unreadable answers, one answer to everything, dates that outcomes barely cover."""
    warnings = []
    if exam.shape[0] < FEWEST_DATES:
        warnings.append(
            f"The exam has {exam.shape[0]} dates; below {FEWEST_DATES} the intervals are rough and too narrow."
        )
    if exam.horizon * 10 > exam.shape[0]:
        warnings.append(
            f"Outcomes reach {exam.horizon} days ahead and overlap: {exam.shape[0]} dates hold fewer than "
            "ten independent ones, so the intervals are too narrow."
        )
    for a in answers:
        if a.kind in MODELS:
            warnings += _about_answers(a)
    return warnings


def _about_answers(a: Answers) -> list[str]:
    warnings = []
    unreadable = float(a.unreadable_TN.sum() / max(int(a.asked_TN.sum()), 1))
    if unreadable > MOST_UNREADABLE:
        warnings.append(f"{a.policy}: {unreadable:.1%} of the answers could not be read; they keep no position.")
    read = a.rating_TN[np.isfinite(a.rating_TN)]
    if read.size:
        counts = [int((read == rating).sum()) for rating in RATINGS]
        most = int(np.argmax(counts))
        if counts[most] > COLLAPSED * read.size:
            warnings.append(
                f"{a.policy}: {counts[most] / read.size:.1%} of its answers are {RATING_NAMES[most]}. "
                "It answers the same whatever is asked: it has collapsed."
            )
    return warnings
