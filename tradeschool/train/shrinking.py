"""Shrinks what a policy learns from outcomes to what it turns out to be worth on the validation dates.

A decision's reward has a part that depends on the outcome and a part that is known, such as a charge for risk. Training
learns the known part from few questions, while forecasts of the outcome part hold the luck of the training dates. Too
large forecasts make a policy trade too much. Multiplying the outcome part by a factor below 1 moves the optimum towards
the decision that is best without any forecast (HOLD), as far as the forecasts deserve. Rewards are divided by their
spread, so the policy stays as sure of itself, and what it has to learn anew is mostly that the known part counts more.

Shapes: Q validation questions, A decisions.
"""

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from tradeschool.manifest import replace_text
from tradeschool.market.panel import Floats
from tradeschool.metrics import shrinkage
from tradeschool.policies.table import blocks, known_rewards, outcomes, scores
from tradeschool.tasks.base import Example, Task

MOST_QUESTIONS = 2500
"""Of the validation dates, drawn evenly over them."""
WHEN = (0.5, 0.7)
"""Shares of the steps after which the factor is estimated."""
SMALLEST = 0.05
"""Of the factor before the last estimate, so that forecasts which came late can still be found."""


class Shrinkage:
    """The factor of the rewards' outcome part: 1 at first, then what ``metrics.shrinkage`` finds at each estimate.

    Estimates are kept in a file, from which a resumed run reads them.

    Args:
        task: with finite decisions, and ``known_components`` of which one has a weight.
        file: of the estimates.
        trained: questions that the stage trains on. A quarter as many are enough, so that an estimate takes a small
            part of the time.
    """

    def __init__(self, task: Task, file: Path, trained: int = 4 * MOST_QUESTIONS) -> None:
        examples, most = task.examples("validation"), min(MOST_QUESTIONS, max(trained // 4, 1))
        self.questions: list[Example] = examples[:: -(-len(examples) // most)] if examples else []
        self._task, self._file = task, file
        self._found: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}

    def factor(self, step: int, steps: int, forecast: Callable[[Sequence[Example], float], Floats]) -> float:
        """The factor at a step.

        Args:
            step: steps trained so far.
            steps: of the whole training.
            forecast: [Q, A] the rewards that the policy's probabilities imply, up to a constant for each question,
                from the questions and the spread of rewards that training divides by.
        """
        factor = 1.0
        for number, due in enumerate(round(share * steps) for share in WHEN):
            if due > step or not self.questions:
                break
            if str(due) not in self._found:
                found = factor * self._worth(forecast, factor)
                self._found[str(due)] = found if number == len(WHEN) - 1 else max(found, SMALLEST)
                replace_text(self._file, json.dumps(self._found))
            factor = self._found[str(due)]
        return factor

    def _worth(self, forecast: Callable[[Sequence[Example], float], Floats], factor: float) -> float:
        """What the forecasts are worth of a policy that was trained with a factor."""
        outcome_QA, known_QA, score_QA = self._values
        spread = float((factor * outcome_QA + known_QA).std())
        forecast_QA = forecast(self.questions, spread) - known_QA
        return shrinkage(forecast_QA, score_QA, blocks(self._task, self.questions), most=1 / factor)

    @cached_property
    def _values(self) -> tuple[Floats, Floats, Floats]:
        """Each [Q, A]: the part of the rewards that depends on the outcome, the known part, the score."""
        task, questions = self._task, self.questions
        known = [[task.total(known_rewards(task, one, a)) for a in task.decisions(one) or ()] for one in questions]
        return outcomes(task, questions), np.array(known), scores(task, questions)
