"""The parts of a split: their questions, and the shares of their labels."""

import numpy as np
import pytest
from markets import market, ragged, task_of

from tradeschool.prepare.parts import parts


def test_labels_are_those_of_the_questions_of_each_part() -> None:
    task = task_of(ragged())
    for part in parts(task.panel, task):
        examples = task.examples(part.name)  # type: ignore[arg-type]
        values = np.array([task.label_TN[e.t, e.n] for e in examples])
        assert part.questions == len(examples)
        assert part.unlabelled == np.isnan(values).sum()
        assert list(part.labels.values()) == [int((values == rating).sum()) for rating in (-2, -1, 0, 1, 2)]
        assert list(part.labels) == list(task.action_names)
        assert part.rows == (task.rows(part.name)[0], task.rows(part.name)[-1])  # type: ignore[arg-type]
        assert part.first == str(task.panel.dates_T[part.rows[0]])


def test_train_has_the_shares_that_the_cuts_were_fitted_to() -> None:
    task = task_of(market(tickers=12))
    train = parts(task.panel, task)[0]
    assert [train.share(label) for label in train.labels] == pytest.approx([0.03, 0.12, 0.38, 0.32, 0.15], abs=0.005)
