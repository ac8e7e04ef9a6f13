"""Made-up exams for the tests: a random market, and policies that know a dialled share of tomorrow."""

import numpy as np

from tradeschool.evaluate.answers import RATINGS, Answers, Costs, Exam
from tradeschool.market.panel import Floats, Panel
from tradeschool.policies.base import Kind


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


def exam(dates: int = 120, tickers: int = 10, seed: int = 0, costs: Costs | None = None, drift: float = 0.0) -> Exam:
    market = panel(dates + 3, tickers, seed, drift)
    rows = np.arange(dates)
    forward = np.log(market.open_TN[rows + 2] / market.open_TN[rows + 1])
    return Exam(market, rows, forward, costs or Costs(1.0, 1.0, True))


def answers(exam: Exam, policy: str, kind: Kind, rating_TN: Floats, expected_TN: Floats | None = None) -> Answers:
    """Score = rating / 2 * forward return / volatility; the label is the side of the forward return."""
    label_TN = np.sign(exam.forward_TN)
    return Answers(
        policy=policy,
        kind=kind,
        rating_TN=rating_TN,
        asked_TN=np.ones(exam.shape, bool),
        score_TN=rating_TN / 2 * exam.forward_TN / 0.01,
        decision_TN=np.where(np.isfinite(rating_TN), (np.sign(rating_TN) == label_TN) * 2.0 - 1.0, -1.5),
        correct_TN=(np.sign(rating_TN) == label_TN).astype(float),
        expected_TN=expected_TN,
        rewards={"decision": 0.1},
    )


def constant(exam: Exam, policy: str, rating: int, kind: Kind = "naive") -> Answers:
    return answers(exam, policy, kind, np.full(exam.shape, float(rating)))


def drawn(exam: Exam, policy: str, seed: int, kind: Kind = "naive", knows: float = 0.0) -> Answers:
    """Random ratings; with probability ``knows`` the right side instead. Expected score: what it knows."""
    rng = np.random.default_rng([seed, 7])
    rating = rng.choice(RATINGS, exam.shape).astype(float)
    told = rng.random(exam.shape) < knows
    rating = np.where(told, 2 * np.sign(exam.forward_TN), rating)
    return answers(exam, policy, kind, rating, np.where(told, 1.0, 0.0))


def field(exam: Exam, seed: int = 0, sft: float = 0.1, grpo: float = 0.4) -> list[Answers]:
    """A whole table: naive rows, three models, the best possible."""
    best = answers(exam, "best possible", "best", 2 * np.sign(exam.forward_TN), np.ones(exam.shape))
    return [
        constant(exam, "hold", 0),
        constant(exam, "buy and hold", 2),
        drawn(exam, "random", seed + 1),
        drawn(exam, "rsi rules", seed + 2, "rule"),
        drawn(exam, "untrained", seed + 3, "untrained"),
        drawn(exam, "sft", seed + 4, "trained", sft),
        drawn(exam, "grpo", seed + 5, "trained", grpo),
        best,
    ]
