"""A learner without a language model: a ridge regression on the words of the prompt's facts.

It says what the training's outcomes can teach about the decisions: a bound from the same information, not a baseline.

Shapes: Q questions, A decisions, C combinations of facts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.market.panel import Floats
from tradeschool.market.snapshot import Snapshot
from tradeschool.metrics import shrinkage
from tradeschool.policies.rules import Rule
from tradeschool.tasks.base import Example, Task

NAME = "same facts, table"
MOST_COMBINATIONS = 4000
PENALTIES = 10.0 ** np.arange(0.0, 5.5, 0.5)
"""Of the ridge regression, in outcomes; the one with the smallest error on the validation dates is used."""


class Table:
    """Mean outcome of each decision by the facts of the prompt, shrunken towards no outcome at all.

    A ridge regression on single facts, pairs of facts and whole combinations, so that what few outcomes say about a
    combination is completed by what many say about its parts. Penalty and ``shrinkage`` are chosen on the validation
    dates.

    Args:
        task: with finite ``decisions`` and with ``facts``.
        examples: whose outcomes are learned from.
        validation: of other dates.

    Raises:
        ValueError: there are more than ``MOST_COMBINATIONS`` combinations of facts.
    """

    def __init__(self, task: Task, examples: Sequence[Example], validation: Sequence[Example]) -> None:
        self._task, self._cells = task, np.empty((0, 0), np.int64)
        self._numbers: dict[str, int] = {}
        self._cells, cell_Q = np.unique(self._words(examples), axis=0, return_inverse=True)
        if len(self._cells) > MOST_COMBINATIONS:
            raise ValueError(f"the questions have {len(self._cells)} combinations of facts")
        outcome_QA = outcomes(task, examples)
        count_C = np.bincount(cell_Q.ravel()).astype(float)
        mean_CA = np.stack([np.bincount(cell_Q.ravel(), one) for one in outcome_QA.T], axis=1) / count_C[:, None]
        similar_CC = _similar(self._cells, self._cells)
        tested_QA, similar_QC = outcomes(task, validation), _similar(self._words(validation), self._cells)
        errors = []
        for penalty in PENALTIES:
            self._weights_CA = np.linalg.solve(similar_CC + np.diag(penalty / count_C), mean_CA)
            errors.append((((similar_QC @ self._weights_CA - tested_QA) ** 2).mean(), penalty))
        self.penalty = min(errors)[1]
        self._weights_CA = np.linalg.solve(similar_CC + np.diag(self.penalty / count_C), mean_CA)
        self.shrinkage = shrinkage(similar_QC @ self._weights_CA, scores(task, validation), blocks(task, validation))

    def forecast(self, examples: Sequence[Example]) -> Floats:
        """[Q, A] the expected part of each decision's reward that depends on the outcome."""
        return self.shrinkage * (_similar(self._words(examples), self._cells) @ self._weights_CA)

    def decide(self, example: Example, snapshot: Snapshot | None = None) -> tuple[Any, str]:
        """The decision with the highest expected reward, and the facts."""
        task = self._task
        decisions = task.decisions(example) or ()
        total_A = self.forecast([example])[0] + [task.total(known_rewards(task, example, one)) for one in decisions]
        return decisions[int(np.argmax(total_A))], task.reasoning(example) or ""

    def _words(self, examples: Sequence[Example]) -> NDArray[np.int64]:
        """[Q, facts] numbers of the words, by which they are compared."""
        numbers = self._numbers
        words = [[f"{i} {word}" for i, word in enumerate(self._task.facts(one) or ())] for one in examples]
        return np.array([[numbers.setdefault(word, len(numbers)) for word in one] for one in words], np.int64)


def learn(task: Task, examples: Sequence[Example], validation: Sequence[Example]) -> Rule:
    """The policy of a :class:`Table`."""
    return Rule(NAME, "bound", Table(task, examples, validation).decide)


def _similar(one_QF: NDArray[np.int64], other_CF: NDArray[np.int64]) -> Floats:
    """[Q, C] the inner product of indicators of facts, pairs and combinations: the kernel of the ridge regression."""
    equal_QC = sum((one_QF[:, f, None] == other_CF[None, :, f]).astype(float) for f in range(other_CF.shape[1]))
    similar_QC: Floats = equal_QC + equal_QC * (equal_QC - 1) / 2 + (equal_QC == other_CF.shape[1])
    return similar_QC


# what decisions earn ------------------------------------------------------------------------------


def known_rewards(task: Task, example: Example, decision: Any) -> dict[str, float | None]:
    """The components of a decision's reward that do not depend on the outcome."""
    rewards = task.rewards(example, task.format_answer(decision, task.reasoning(example) or ""), decision)
    return {name: rewards[name] for name in task.known_components}


def outcomes(task: Task, examples: Sequence[Example]) -> Floats:
    """[Q, A] the weighted sum of those that do; 0 where the outcome is not known."""
    found = []
    for example in examples:
        rows = [task.rewards(example, task.format_answer(a, ""), a) for a in task.decisions(example) or ()]
        found.append([task.total({k: v for k, v in row.items() if k not in task.known_components}) for row in rows])
    return np.array(found)


def scores(task: Task, examples: Sequence[Example]) -> Floats:
    """[Q, A] the part of each decision's score that depends on the outcome; NaN where it is not known."""
    found = [[task.outcome_score(example, a) for a in task.decisions(example) or ()] for example in examples]
    return np.array(found, np.float64)


def blocks(task: Task, examples: Sequence[Example]) -> NDArray[np.int64]:
    """[Q] numbers that are equal for dates whose outcomes may overlap."""
    return np.array([example.t // task.horizon for example in examples], np.int64)
