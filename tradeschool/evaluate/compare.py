"""Every policy on the same dates: metrics with intervals, paired differences, a verdict."""

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from tradeschool import metrics
from tradeschool.errors import RunError
from tradeschool.evaluate.answers import Answers, Exam
from tradeschool.evaluate.backtest import Backtest, backtest
from tradeschool.evaluate.certainty import Draws, Estimate, draw_dates
from tradeschool.evaluate.result import Comparison, ExamFacts
from tradeschool.evaluate.rows import Rows
from tradeschool.evaluate.verdict import NAIVE, judge, smallest_p_value
from tradeschool.evaluate.warn import comparison_warnings
from tradeschool.market.panel import Floats


def compare(exam: Exam, answers: list[Answers], *, seed: int, draws: int = 2000, level: float = 0.95) -> Comparison:
    """Compare policies that answered the same exam.

    ``answers`` stand in the order in which they are to be shown; untrained and trained ones in the
    order of training, since each is compared with the one before it. All intervals come from the
    same ``draws`` resamplings of the dates, so differences are paired.

    An unreadable answer without a score counts 0 where others were scored: it keeps no position.

    Raises:
        RunError: fewer than two policies, a name twice, no naive or rule row, other questions
            for one policy than for another, a shape that is not the exam's, nothing scored.
    """
    _check(exam, answers, draws, level)
    filled = _fill_unreadable(answers)
    tests = {a.policy: backtest(exam.panel, exam.rows_T, a.rating_TN, a.asked_TN, exam.costs) for a in answers}
    series_TK = np.stack([s_T for a in answers for s_T in _series(filled[a.policy], tests[a.policy])], axis=1)
    dates = draw_dates(series_TK, draws=draws, seed=seed, shortest=exam.horizon)
    figures = {a.policy: _figures(exam, filled[a.policy], tests[a.policy], dates) for a in answers}
    _add_share(figures, filled, dates)
    scores = {policy: estimates["score"] for policy, estimates in figures.items()}
    reference = _best_naive(answers, scores)
    judgements = judge(answers, scores, reference, level)
    rows = Rows(answers, tests, figures, judgements, reference, level)
    return Comparison(
        exam=_facts(exam, answers[0].asked_TN),
        rows=[rows.row(a) for a in answers],
        reference=reference,
        level=level,
        draws=draws,
        seed=seed,
        block_length=dates.block,
        warnings=comparison_warnings(exam, answers),
    )


def _check(exam: Exam, answers: list[Answers], draws: int, level: float) -> None:
    names = [a.policy for a in answers]
    if len(answers) < 2:
        raise RunError(f"Nothing to compare: {len(answers)} policy answered. Give at least two.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise RunError(f"Two policies are called '{twice[0]}'. Rename one.")
    if not any(a.kind in NAIVE for a in answers):
        raise RunError("No naive or rule policy answered, so there is nothing to beat. Add 'hold' at least.")
    if draws < 100 or not 0.5 <= level < 1:
        raise RunError(f"draws is {draws} and level {level}: use 100 draws or more, and a level from 0.5 to below 1.")
    least = smallest_p_value(answers, draws)
    if least >= 1 - level:
        raise RunError(
            f"{draws} draws are too few for the models judged: the smallest p that can come out is {least:.3f}, "
            f"so nothing could be called better at level {level}. Use more draws."
        )
    for a in answers:
        if a.asked_TN.shape != exam.shape:
            raise RunError(f"{a.policy}: answers have shape {a.asked_TN.shape}, the exam {exam.shape}. Align them.")
        if (a.asked_TN != answers[0].asked_TN).any():
            raise RunError(f"{a.policy} was asked other questions than {names[0]}. Ask every policy the same ones.")
    if not any(np.isfinite(a.score_TN).any() for a in answers):
        raise RunError("No answer has a score, so nothing can be compared. Score the answers first.")


def _fill_unreadable(answers: list[Answers]) -> dict[str, Answers]:
    """Leaving hard questions unread must not raise a mean."""
    scored_TN = np.any([np.isfinite(a.score_TN) for a in answers], axis=0)
    expected_TN = np.any([np.isfinite(a.expected_TN) for a in answers if a.expected_TN is not None], axis=0)

    def fill(a: Answers, value_TN: Floats, known_TN: NDArray[np.bool_]) -> Floats:
        return np.where(a.unreadable_TN & known_TN & ~np.isfinite(value_TN), 0.0, value_TN)

    return {
        a.policy: Answers(
            policy=a.policy,
            kind=a.kind,
            rating_TN=a.rating_TN,
            asked_TN=a.asked_TN,
            score_TN=fill(a, a.score_TN, scored_TN),
            decision_TN=a.decision_TN,
            correct_TN=a.correct_TN,
            expected_TN=None if a.expected_TN is None else fill(a, a.expected_TN, expected_TN),
            rewards=a.rewards,
        )
        for a in answers
    }


def _series(a: Answers, test: Backtest) -> list[Floats]:
    """The daily series behind the figures of one policy: the most dependent one sets the block length."""
    series = [_daily(a.score_TN), _daily(a.decision_TN), _daily(a.correct_TN), test.returns_T]
    return series if a.expected_TN is None else [*series, np.nansum(a.expected_TN, axis=1)]


def _daily(value_TN: Floats) -> Floats:
    """The mean of each date's finite cells, NaN on dates without any."""
    count_T = np.isfinite(value_TN).sum(1)
    total_T = np.nansum(value_TN, axis=1)
    mean_T = np.full(len(value_TN), np.nan)
    np.divide(total_T, count_T, out=mean_T, where=count_T > 0)
    return mean_T


def _figures(exam: Exam, a: Answers, test: Backtest, dates: Draws) -> dict[str, Estimate]:
    """Every metric of one policy with its bootstrap draws; keys as in ``result.METRICS``."""
    sided_TN = np.isfinite(a.rating_TN) & (a.rating_TN != 0) & np.isfinite(exam.forward_TN) & (exam.forward_TN != 0)
    right_TN = np.where(sided_TN, np.sign(a.rating_TN) == np.sign(exam.forward_TN), np.nan)
    return {
        "score": dates.mean(a.score_TN),
        "decision": dates.mean(a.decision_TN),
        "accuracy": dates.mean(a.correct_TN),
        "ic": dates.correlation(a.rating_TN, exam.forward_TN),
        "rank_ic": dates.rank_correlation(a.rating_TN, exam.forward_TN),
        "hit_rate": dates.mean(right_TN),
        "parse_errors": dates.mean(np.where(a.asked_TN, a.unreadable_TN, np.nan)),
        "cumulative_return": dates.path(metrics.cumulative_return, test.returns_T),
        "sharpe": dates.path(metrics.sharpe, test.returns_T),
        "sortino": dates.path(metrics.sortino, test.returns_T),
        "max_drawdown": dates.path(metrics.max_drawdown, test.returns_T),
        "turnover": dates.path(metrics.turnover, test.turnover_T),
        "mean_return": dates.path(metrics.mean_return, test.returns_T),
    }


def _add_share(figures: dict[str, dict[str, Estimate]], filled: dict[str, Answers], dates: Draws) -> None:
    """Share of the edge: sum of expected scores / that of the best possible answers (practice market only)."""
    best = next((a.expected_TN for a in filled.values() if a.kind == "best" and a.expected_TN is not None), None)
    if best is None:
        return
    best_T = np.nansum(best, axis=1)
    for policy, a in filled.items():
        if a.expected_TN is not None:
            figures[policy]["share"] = dates.ratio(np.nansum(a.expected_TN, axis=1), best_T)


def _best_naive(answers: list[Answers], scores: dict[str, Estimate]) -> str:
    naive = [a.policy for a in answers if a.kind in NAIVE and math.isfinite(scores[a.policy].value)]
    if not naive:
        raise RunError("No naive or rule policy has a score, so there is nothing to beat. Score 'hold' at least.")
    return max(naive, key=lambda policy: scores[policy].value)


def _facts(exam: Exam, asked_TN: NDArray[np.bool_]) -> ExamFacts:
    return ExamFacts(
        market=exam.panel.name,
        data_hash=exam.panel.data_hash(),
        tickers=int(asked_TN.any(0).sum()),
        dates=[str(date) for date in exam.dates_T.astype("datetime64[D]")],
        questions=int(asked_TN.sum()),
        questions_hash=_questions_hash(exam, asked_TN),
        score=exam.score,
        horizon=exam.horizon,
        commission_bps=exam.costs.commission_bps,
        slippage_bps=exam.costs.slippage_bps,
        allow_short=exam.costs.allow_short,
    )


def _questions_hash(exam: Exam, asked_TN: NDArray[np.bool_]) -> str:
    """16 hex digits over the asked (date, ticker) pairs, whatever the order of the tickers."""
    dates_T = exam.dates_T.astype("datetime64[D]")
    cells = sorted(f"{dates_T[t]} {exam.panel.tickers[n]}" for t, n in np.argwhere(asked_TN))
    return hashlib.sha256("\n".join(cells).encode()).hexdigest()[:16]
