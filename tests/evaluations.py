"""Evaluations for the tests: a random market, and policies that know a given share of tomorrow's returns."""

import numpy as np

from tradeschool.evaluate.evaluation_set import Costs, EvaluationSet, Predictions
from tradeschool.market.panel import Floats, Panel
from tradeschool.policies.base import Kind
from tradeschool.tasks.rating import METRICS, RATING_VALUES
from tradeschool.text.parse import RATINGS


def panel(days: int, tickers: int, seed: int, drift: float = 0.0) -> Panel:
    """Log-normal random walks with 1 % daily volatility; opens gap from the close before."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(drift, 0.01, (days, tickers)), axis=0))
    open_ = np.vstack([np.full(tickers, 100.0), close[:-1]]) * np.exp(rng.normal(0, 0.003, (days, tickers)))
    return Panel(
        dates_T=np.datetime64("2020-01-01") + np.arange(days),
        tickers=tuple(f"T{n}" for n in range(tickers)),
        open_TN=open_,
        high_TN=np.maximum(open_, close) * 1.001,
        low_TN=np.minimum(open_, close) * 0.999,
        close_TN=close,
        volume_TN=np.full((days, tickers), 1e6),
        name="made-up",
    )


def evaluation_set(
    dates: int = 120, tickers: int = 10, seed: int = 0, costs: Costs | None = None, drift: float = 0.0
) -> EvaluationSet:
    market = panel(dates + 3, tickers, seed, drift)
    asked = np.ones((dates, tickers), bool)
    return EvaluationSet(
        market, np.arange(dates), asked, METRICS, tuple(RATINGS), costs or Costs(commission_bps=1.0, slippage_bps=1.0)
    )


def forward(questions: EvaluationSet) -> Floats:
    """Log returns from the next open to the one after."""
    opens, rows = questions.panel.open_TN, questions.rows_T
    found: Floats = np.log(opens[rows + 2] / opens[rows + 1])
    return found


def answers(
    questions: EvaluationSet, policy: str, kind: Kind, rating_TN: Floats, expected_TN: Floats | None = None
) -> Predictions:
    """Score = rating / 2 * forward return / volatility; the label is the side of the forward return."""
    forward_TN = forward(questions)
    label_TN, read_TN = np.sign(forward_TN), np.isfinite(rating_TN)
    values = {
        "score": rating_TN / 2 * forward_TN / 0.01,
        "decision": np.where(read_TN, (np.sign(rating_TN) == label_TN) * 2.0 - 1.0, -1.5),
        "correct": (np.sign(rating_TN) == label_TN).astype(float),
        "rating": rating_TN,
        "forward_return": forward_TN,
    }
    if expected_TN is not None:
        values["expected"] = expected_TN
    action_TN = np.where(read_TN, np.nan_to_num(rating_TN) + 2, -1).astype(np.int64)
    return Predictions(policy, kind, read_TN, values, rating_TN / 2, action_TN, {"decision": 0.1})


def constant(questions: EvaluationSet, policy: str, rating: int, kind: Kind = "naive") -> Predictions:
    return answers(questions, policy, kind, np.full(questions.shape, float(rating)))


def drawn(questions: EvaluationSet, policy: str, seed: int, kind: Kind = "naive", knows: float = 0.0) -> Predictions:
    """Random ratings; with probability ``knows`` the right side instead. Expected score: what it knows."""
    rng = np.random.default_rng([seed, 7])
    rating = rng.choice(RATING_VALUES, questions.shape).astype(float)
    knowing = rng.random(questions.shape) < knows
    rating = np.where(knowing, 2 * np.sign(forward(questions)), rating)
    return answers(questions, policy, kind, rating, np.where(knowing, 1.0, 0.0))


def field(questions: EvaluationSet, seed: int = 0, sft: float = 0.1, grpo: float = 0.4) -> list[Predictions]:
    """A whole table: baselines, three models, the best possible."""
    best = answers(questions, "best possible", "best", 2 * np.sign(forward(questions)), np.ones(questions.shape))
    return [
        constant(questions, "hold", 0),
        constant(questions, "buy and hold", 2),
        drawn(questions, "random", seed + 1),
        drawn(questions, "rsi rules", seed + 2, "rule"),
        drawn(questions, "untrained", seed + 3, "base"),
        drawn(questions, "sft", seed + 4, "trained", sft),
        drawn(questions, "grpo", seed + 5, "trained", grpo),
        best,
    ]
