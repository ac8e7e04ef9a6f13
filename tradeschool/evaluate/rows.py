"""One policy's row of a comparison, from the estimates of all of them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradeschool import metrics
from tradeschool.evaluate.answers import RATING_NAMES, RATINGS, Answers
from tradeschool.evaluate.backtest import Backtest
from tradeschool.evaluate.certainty import Estimate
from tradeschool.evaluate.result import Difference, Row
from tradeschool.evaluate.verdict import MODELS, Judgement, sentence
from tradeschool.market.panel import Floats

# The exam is cut into this many spans to show how answers change over it.
PERIODS = 40


@dataclass(frozen=True)
class Rows:
    """All estimates of a comparison; writes the row of one policy."""

    answers: list[Answers]
    tests: dict[str, Backtest]
    figures: dict[str, dict[str, Estimate]]
    judgements: dict[str, Judgement]
    reference: str
    level: float

    def row(self, a: Answers) -> Row:
        own, returns_T = self.figures[a.policy], self.tests[a.policy].returns_T
        tried = [self.figures[other.policy]["sharpe"].value for other in self.answers if other.kind != "best"]
        against = None if a.policy == self.reference else self.reference
        score, returns = self._difference(a, against, "score"), self._difference(a, against, "mean_return")
        previous = self._difference(a, self._previous(a), "score")
        return Row(
            policy=a.policy,
            kind=a.kind,
            verdict=self.judgements[a.policy].verdict,
            sentence=sentence(self.judgements[a.policy], score, returns, previous),
            p_value=self.judgements[a.policy].p_value,
            metrics={key: estimate.interval(self.level) for key, estimate in own.items() if key != "mean_return"},
            probabilistic_sharpe=metrics.probabilistic_sharpe(returns_T),
            deflated_sharpe=metrics.deflated_sharpe(returns_T, tried),
            score_against_naive=score,
            return_against_naive=returns,
            score_against_previous=previous,
            share_against=self._share_differences(a),
            answer_shares=answer_shares(a.rating_TN, a.asked_TN),
            rewards=a.rewards,
            equity_T=self.tests[a.policy].equity_T.tolist(),
            shares_over_time=[
                answer_shares(a.rating_TN[part], a.asked_TN[part])
                for part in np.array_split(np.arange(len(a.asked_TN)), min(PERIODS, len(a.asked_TN)))
            ],
        )

    def _difference(self, a: Answers, against: str | None, key: str) -> Difference | None:
        if against is None or a.kind == "best":
            return None
        interval = (self.figures[a.policy][key] - self.figures[against][key]).interval(self.level)
        return Difference(against=against, interval=interval)

    def _previous(self, a: Answers) -> str | None:
        """The model before this one in the order of training."""
        models = [other.policy for other in self.answers if other.kind in MODELS]
        at = models.index(a.policy) if a.policy in models else 0
        return models[at - 1] if at > 0 else None

    def _share_differences(self, a: Answers) -> list[Difference]:
        if a.kind not in MODELS or "share" not in self.figures[a.policy]:
            return []
        others = [b for b in self.answers if b.kind in MODELS and b is not a and "share" in self.figures[b.policy]]
        found = [self._difference(a, other.policy, "share") for other in others]
        return [difference for difference in found if difference is not None]


def answer_shares(rating_TN: Floats, asked_TN: NDArray[np.bool_]) -> dict[str, float]:
    """Share of the questions answered with each rating, and of unreadable answers; NaN where none was asked."""
    asked = int(asked_TN.sum())
    counts = {name: int((rating_TN == rating).sum()) for name, rating in zip(RATING_NAMES, RATINGS, strict=True)}
    counts["unreadable"] = asked - sum(counts.values())
    return {name: count / asked if asked else math.nan for name, count in counts.items()}
