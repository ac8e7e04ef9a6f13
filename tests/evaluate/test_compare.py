"""Comparisons: an edge is found, luck is not called skill, and nothing undefined reaches the JSON."""

import json
import runpy
from dataclasses import replace
from typing import Any

import exams
import numpy as np
import pytest

from tradeschool import metrics
from tradeschool.errors import RunError
from tradeschool.evaluate import answers as answers_module
from tradeschool.evaluate.answers import RATING_NAMES, RATINGS, Answers, Costs, Exam
from tradeschool.evaluate.backtest import backtest
from tradeschool.evaluate.certainty import draw_dates
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.result import METRICS, Comparison
from tradeschool.evaluate.verdict import holm, judge
from tradeschool.text import grammar


@pytest.fixture(scope="module")
def exam() -> Exam:
    return exams.exam()


@pytest.fixture(scope="module")
def comparison(exam: Exam) -> Comparison:
    return compare(exam, exams.field(exam), seed=0, draws=500)


def test_an_edge_is_found(comparison: Comparison) -> None:
    grpo = comparison.row("grpo")
    assert grpo.verdict == "better"
    assert grpo.score_against_naive is not None
    assert grpo.score_against_naive.interval.low > 0
    assert "Better than the best naive row" in grpo.sentence
    assert comparison.row("best possible").verdict == "ceiling"
    assert comparison.row(comparison.reference).verdict == "reference"
    assert comparison.row(comparison.reference).kind in ("naive", "rule")


def test_the_share_of_the_edge_is_what_was_planted(comparison: Comparison) -> None:
    assert comparison.row("best possible").metrics["share"].value == pytest.approx(1.0)
    share = comparison.row("grpo").metrics["share"]
    assert share.value == pytest.approx(0.4, abs=0.05)
    assert share.low < share.value < share.high
    differences = {d.against: d for d in comparison.row("grpo").share_against}
    assert set(differences) == {"untrained", "sft"}
    assert differences["sft"].shown
    assert differences["sft"].interval.value == pytest.approx(
        share.value - comparison.row("sft").metrics["share"].value
    )
    assert "share" not in comparison.row("hold").metrics


def test_stages_are_compared_with_the_one_before(comparison: Comparison) -> None:
    against = {row.policy: row.score_against_previous for row in comparison.rows}
    assert [policy for policy, difference in against.items() if difference] == ["sft", "grpo"]
    assert against["sft"] is not None
    assert against["grpo"] is not None
    assert (against["sft"].against, against["grpo"].against) == ("untrained", "sft")


def test_figures_are_those_of_the_metrics(exam: Exam, comparison: Comparison) -> None:
    a = exams.field(exam)[6]
    row = comparison.row("grpo")
    test = backtest(exam.panel, exam.rows_T, a.rating_TN, a.asked_TN, exam.costs)
    expected = {
        "score": a.score_TN.mean(),
        "decision": a.decision_TN.mean(),
        "accuracy": a.correct_TN.mean(),
        "ic": metrics.ic(a.rating_TN, exam.forward_TN),
        "rank_ic": metrics.rank_ic(a.rating_TN, exam.forward_TN),
        "hit_rate": metrics.hit_rate(a.rating_TN, exam.forward_TN),
        "cumulative_return": metrics.cumulative_return(test.returns_T),
        "sharpe": metrics.sharpe(test.returns_T),
        "max_drawdown": metrics.max_drawdown(test.returns_T),
        "turnover": test.turnover_T.mean(),
        "parse_errors": 0.0,
    }
    for key, value in expected.items():
        assert row.metrics[key].value == pytest.approx(value), key
    assert set(row.metrics) == {metric.key for metric in METRICS}
    assert row.equity_T == pytest.approx(test.equity_T)
    assert sum(row.answer_shares.values()) == pytest.approx(1)


def test_json_round_trip_without_nan(comparison: Comparison) -> None:
    text = comparison.to_json()

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} in the JSON")

    plain = json.loads(text, parse_constant=refuse)
    assert plain["rows"][0]["metrics"]["sharpe"]["value"] is None
    back = Comparison.from_json(text)
    assert back.to_json() == text
    assert np.isnan(back.row("hold").metrics["sharpe"].value)


def test_a_broken_file_is_named() -> None:
    with pytest.raises(RunError, match=r"x\.json: not a comparison"):
        Comparison.from_json('{"rows": []}', "x.json")


def test_the_same_seed_gives_the_same_comparison(exam: Exam, comparison: Comparison) -> None:
    assert compare(exam, exams.field(exam), seed=0, draws=500).to_json() == comparison.to_json()


def test_without_an_edge_luck_is_not_called_skill() -> None:
    """Promise 2: at most 5 % of 200 exams call any of three policies drawn at random better; few call one worse."""
    better = worse = 0
    for seed in range(200):
        exam = exams.exam(dates=40, tickers=4, seed=seed)
        answers = exams.field(exam, 10 * seed, sft=0.0, grpo=0.0)
        dates = draw_dates(np.stack([a.score_TN.mean(1) for a in answers], axis=1), draws=200, seed=seed)
        scores = {a.policy: dates.mean(a.score_TN) for a in answers}
        reference = max(("hold", "buy and hold", "random", "rsi rules"), key=lambda policy: scores[policy].value)
        judged = judge(answers, scores, reference, 0.95)
        verdicts = [judged[policy].verdict for policy in ("untrained", "sft", "grpo")]
        better, worse = better + ("better" in verdicts), worse + ("worse" in verdicts)
    assert better <= 10
    assert worse <= 10


def test_a_policy_that_is_wrong_on_purpose_is_worse(exam: Exam) -> None:
    wrong = exams.answers(exam, "wrong", "trained", -2 * np.sign(exam.forward_TN))
    table = compare(exam, [*exams.field(exam)[:3], wrong], seed=0, draws=500)
    assert table.row("wrong").verdict == "worse"


def test_gaining_with_the_market_is_not_skill() -> None:
    """In a rising market half a position gains for sure, but buy and hold gains more."""
    exam = exams.exam(drift=0.004)
    naive = [exams.constant(exam, "hold", 0), exams.constant(exam, "buy and hold", 2)]
    row = compare(exam, [*naive, exams.constant(exam, "sft", 1, "trained")], seed=0, draws=500).row("sft")
    assert row.metrics["score"].low > 0
    assert row.verdict == "worse"
    assert row.score_against_naive is not None
    assert row.score_against_naive.against == "buy and hold"


def test_many_models_need_more_proof() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.7, "b": 0.9}) == pytest.approx({"a": 1.0, "b": 1.0})


def unreadable_at(a: Answers, where: Any) -> Answers:
    rating, score = a.rating_TN.copy(), a.score_TN.copy()
    rating[where] = score[where] = np.nan
    return replace(a, rating_TN=rating, score_TN=score)


def test_leaving_losing_questions_unreadable_does_not_raise_the_mean(exam: Exam) -> None:
    """Dropping the losers would score the mean of the winners; keeping no position scores 0 there."""
    always = exams.constant(exam, "sly", 2, "trained")
    sly = unreadable_at(always, always.score_TN < 0)
    table = compare(exam, [exams.constant(exam, "hold", 0), sly], seed=0, draws=200)
    row = table.row("sly")
    assert row.metrics["score"].value == pytest.approx(np.maximum(always.score_TN, 0).mean())
    assert row.metrics["parse_errors"].value == pytest.approx((always.score_TN < 0).mean())
    assert row.answer_shares["unreadable"] == pytest.approx((always.score_TN < 0).mean())
    assert any("sly" in warning and "could not be read" in warning for warning in table.warnings)


def test_collapse_is_warned_of(exam: Exam) -> None:
    table = compare(
        exam, [exams.constant(exam, "hold", 0), exams.constant(exam, "grpo", 1, "trained")], seed=0, draws=200
    )
    assert any("grpo" in warning and "collapsed" in warning for warning in table.warnings)


@pytest.mark.parametrize("name", ["expected_TN", "decision_TN", "correct_TN"])
def test_blocks_are_as_long_as_any_figures_series_needs(exam: Exam, name: str) -> None:
    """One slow series, such as the share's, lengthens the blocks; the others are independent from day to day."""
    hold, best = exams.constant(exam, "hold", 0), exams.field(exam)[-1]
    still: dict[str, Any] = {"decision_TN": np.zeros(exam.shape), "correct_TN": np.zeros(exam.shape)}
    calm = replace(exams.drawn(exam, "sft", 1, "trained"), expected_TN=np.ones(exam.shape), **still)
    slow_T1 = np.sin(np.arange(exam.shape[0]) / 15)[:, None]
    changes: dict[str, Any] = {name: np.where(np.isfinite(calm.rating_TN), slow_T1, np.nan)}
    slow = replace(calm, **changes)
    others = [replace(hold, **still), replace(best, **still)]
    blocks = [compare(exam, [*others, a], seed=0, draws=200).block_length for a in (calm, slow)]
    assert blocks[0] < 6
    assert blocks[1] == 12


def test_blocks_are_no_shorter_than_the_horizon(exam: Exam) -> None:
    answers = exams.field(exam)
    assert compare(exam, answers, seed=0, draws=200).block_length < 9
    assert compare(replace(exam, horizon=9), answers, seed=0, draws=200).block_length == 9


def test_there_is_one_list_of_ratings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exam's ratings are those that answers are read by, in their order."""
    assert dict(zip(RATING_NAMES, RATINGS, strict=True)) == grammar.RATINGS
    assert list(RATINGS) == sorted(RATINGS)
    monkeypatch.setitem(grammar.RATINGS, "ALL_IN", 3)
    anew = runpy.run_path(str(answers_module.__file__))
    assert (anew["RATINGS"][-1], anew["RATING_NAMES"][-1]) == (3, "ALL_IN")


def test_a_short_exam_is_warned_of() -> None:
    exam = exams.exam(dates=30, tickers=3)
    assert any("30 dates" in warning for warning in compare(exam, exams.field(exam), seed=0, draws=200).warnings)


def test_other_questions_are_refused(exam: Exam) -> None:
    hold, other = exams.constant(exam, "hold", 0), exams.constant(exam, "sft", 1, "trained")
    asked = other.asked_TN.copy()
    asked[0, 0] = False
    with pytest.raises(RunError, match="sft was asked other questions than hold"):
        compare(exam, [hold, replace(unreadable_at(other, (0, 0)), asked_TN=asked)], seed=0)


def test_wrong_input_is_refused(exam: Exam) -> None:
    hold, sft = exams.constant(exam, "hold", 0), exams.constant(exam, "sft", 1, "trained")
    with pytest.raises(RunError, match="at least two"):
        compare(exam, [hold], seed=0)
    with pytest.raises(RunError, match="called 'hold'"):
        compare(exam, [hold, hold], seed=0)
    with pytest.raises(RunError, match="nothing to beat"):
        compare(exam, [sft, replace(sft, policy="grpo")], seed=0)
    with pytest.raises(RunError, match="draws is 5"):
        compare(exam, [hold, sft], seed=0, draws=5)
    models = [replace(sft, policy=f"sft {i}") for i in range(3)]
    with pytest.raises(RunError, match="100 draws are too few"):
        compare(exam, [hold, *models], seed=0, draws=100)
    with pytest.raises(RunError, match="3 is no rating"):
        exams.constant(exam, "odd", 3)
    with pytest.raises(RunError, match="not consecutive"):
        Exam(exam.panel, np.array([0, 2]), np.zeros((2, 10)))
    with pytest.raises(RunError, match="basis points"):
        Costs(commission_bps=-1)
