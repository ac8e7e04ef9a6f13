"""Comparisons: an edge is found, luck is not called skill, and nothing undefined reaches the JSON."""

import json
from dataclasses import replace
from typing import Any

import evaluations as fake
import numpy as np
import pytest
from scipy.stats import spearmanr

from tradeschool import metrics
from tradeschool.errors import RunError
from tradeschool.evaluate import inference
from tradeschool.evaluate.backtest import backtest
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import Comparison
from tradeschool.evaluate.evaluation_set import EvaluationSet, Predictions
from tradeschool.tasks.base import Metric


@pytest.fixture(scope="module")
def questions() -> EvaluationSet:
    return fake.evaluation_set()


@pytest.fixture(scope="module")
def comparison(questions: EvaluationSet) -> Comparison:
    return compare(questions, fake.field(questions))


def test_an_edge_is_found(comparison: Comparison) -> None:
    grpo = comparison.row("grpo")
    assert grpo.verdict == "better"
    gap = grpo.difference("score", comparison.best_baseline)
    assert gap is not None
    assert gap.improved
    assert gap.p_value == grpo.p_value < 0.05
    assert grpo.sentence.startswith("Better than every baseline in score; the closest is ")
    assert comparison.row("best possible").verdict == "ceiling"
    assert comparison.row(comparison.best_baseline).verdict == "best baseline"
    assert comparison.row(comparison.best_baseline).kind in ("naive", "rule")


def test_a_bound_is_shown_and_changes_no_verdict(questions: EvaluationSet, comparison: Comparison) -> None:
    strong = fake.drawn(questions, "same facts, table", 9, "bound", 0.9)
    found = compare(questions, [*fake.field(questions), strong])
    row = found.row("same facts, table")
    assert (row.verdict, row.differences) == ("bound", [])
    assert "bound" in row.sentence
    assert row.metrics["share"].value == pytest.approx(0.9, abs=0.05)
    assert found.best_baseline == comparison.best_baseline
    for before in comparison.rows:
        assert found.row(before.policy).verdict == before.verdict
        assert found.row(before.policy).differences == before.differences


def test_the_share_of_the_edge_is_the_share_of_questions_known(comparison: Comparison) -> None:
    assert comparison.row("best possible").metrics["share"].value == pytest.approx(1.0)
    share = comparison.row("grpo").metrics["share"]
    assert share.value == pytest.approx(0.4, abs=0.05)
    assert share.low < share.value < share.high
    differences = {d.against: d for d in comparison.row("grpo").differences if d.metric == "share"}
    assert set(differences) == {"untrained", "sft"}
    assert differences["sft"].shown
    assert differences["sft"].interval.value == pytest.approx(
        share.value - comparison.row("sft").metrics["share"].value
    )
    assert "share" not in comparison.row("hold").metrics


def test_stages_are_compared_with_the_one_before(comparison: Comparison) -> None:
    against = {
        row.policy: [
            d.against for d in row.differences if d.metric == "score" and d.against != comparison.best_baseline
        ]
        for row in comparison.rows
    }
    assert {policy: others for policy, others in against.items() if others} == {"sft": ["untrained"], "grpo": ["sft"]}


def test_figures_are_those_of_the_metrics(questions: EvaluationSet, comparison: Comparison) -> None:
    a = fake.field(questions)[6]
    row, rating, forward = comparison.row("grpo"), a.value("rating"), fake.forward(questions)
    test = backtest(questions.panel, questions.rows_T, a.value("rating") / 2, questions.asked_TQ, questions.costs)
    known = np.isfinite(rating) & np.isfinite(forward)
    expected = {
        "score": a.value("score").mean(),
        "decision": a.value("decision").mean(),
        "accuracy": a.value("correct").mean(),
        "ic": np.corrcoef(rating[known], forward[known])[0, 1],
        "rank_ic": spearmanr(rating[known], forward[known]).statistic,
        "hit_rate": np.mean(np.sign(rating[known]) == np.sign(forward[known]), where=rating[known] != 0),
        "cumulative_return": metrics.cumulative_return(test.returns_T),
        "sharpe": metrics.sharpe(test.returns_T, questions.panel.bars_per_year),
        "max_drawdown": metrics.max_drawdown(test.returns_T),
        "turnover": test.turnover_T.mean(),
        "parse_errors": 0.0,
        "psr": metrics.probabilistic_sharpe(test.returns_T),
    }
    for key, value in expected.items():
        assert row.metrics[key].value == pytest.approx(value), key
    assert set(row.metrics) == {metric.key for metric in comparison.metrics}
    assert row.equity_T == pytest.approx(test.equity_T)
    assert sum(row.answer_shares.values()) == pytest.approx(1)


def test_intervals_know_how_far_outcomes_look_ahead() -> None:
    """Outcomes of 20 days overlap on neighbouring dates, so 250 dates of them are few. Daily returns do not overlap."""
    questions = replace(fake.evaluation_set(dates=250, tickers=3), horizon=20)
    field = fake.field(questions)
    found, grpo = compare(questions, field), field[6]
    score, rating, forward = (grpo.value(name) for name in ("score", "rating", "forward_return"))
    test = backtest(questions.panel, questions.rows_T, rating / 2, questions.asked_TQ, questions.costs)
    side = np.where((rating != 0) & np.isfinite(rating), np.sign(rating) == np.sign(forward), np.nan)
    expected = {
        "score": inference.mean(score, 20),
        "hit_rate": inference.mean(side, 20),
        "ic": inference.correlation(rating, forward, 20),
        "rank_ic": inference.rank_correlation(rating, forward, 20),
        "sharpe": inference.sharpe(test.returns_T, questions.panel.bars_per_year),
        "cumulative_return": inference.cumulative_return(test.returns_T),
    }
    row = found.row("grpo")
    for key, estimate in expected.items():
        assert row.metrics[key] == estimate.interval(0.95), key
    step = row.difference("score", "sft")
    assert step is not None
    assert step.interval == (inference.mean(score, 20) - inference.mean(field[5].value("score"), 20)).interval(0.95)
    as_if_apart = inference.mean(score).interval(0.95)
    interval = row.metrics["score"]
    assert interval.high - interval.low > 1.1 * (as_if_apart.high - as_if_apart.low)


def test_a_very_high_confidence_has_intervals(questions: EvaluationSet, comparison: Comparison) -> None:
    found = compare(questions, fake.field(questions), confidence=0.9999)
    for row in found.rows:
        usual, wide = comparison.row(row.policy).metrics["score"], row.metrics["score"]
        assert (wide.low < usual.low) == (usual.high < wide.high) == (usual.low < usual.high)
    assert found.row("grpo").verdict == "better"


@pytest.mark.parametrize("key", ["max_drawdown", "psr", "dsr"])
def test_what_describes_one_path_has_no_interval(comparison: Comparison, key: str) -> None:
    """No interval of the largest fall held the true one: docs/evaluation.md."""
    for row in comparison.rows:
        if key in row.metrics:
            assert np.isnan(row.metrics[key].low)
            assert np.isnan(row.metrics[key].high)


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


def test_the_same_answers_give_the_same_comparison(questions: EvaluationSet, comparison: Comparison) -> None:
    assert compare(questions, fake.field(questions)).to_json() == comparison.to_json()


def test_a_policy_that_is_wrong_on_purpose_is_worse(questions: EvaluationSet) -> None:
    wrong = fake.answers(questions, "wrong", "trained", -2 * np.sign(fake.forward(questions)))
    table = compare(questions, [*fake.field(questions)[:3], wrong])
    assert table.row("wrong").verdict == "worse"


def test_gaining_with_the_market_is_not_skill() -> None:
    """In a rising market half a position gains for sure, but buy and hold gains more."""
    questions = fake.evaluation_set(drift=0.004)
    naive = [fake.constant(questions, "hold", 0), fake.constant(questions, "buy and hold", 2)]
    row = compare(questions, [*naive, fake.constant(questions, "sft", 1, "trained")]).row("sft")
    assert row.metrics["score"].low > 0
    assert row.verdict == "worse"
    assert row.difference("score", "buy and hold") is not None


def unreadable_at(a: Predictions, where: Any) -> Predictions:
    read_TQ, score_TQ = a.read_TQ.copy(), a.value("score").copy()
    assert a.position_TQ is not None
    assert a.action_TQ is not None
    read_TQ[where], score_TQ[where] = False, np.nan
    position_TQ = np.where(read_TQ, a.position_TQ, np.nan)
    values = {**a.values, "score": score_TQ, "rating": 2 * position_TQ}
    action_TQ = np.where(read_TQ, a.action_TQ, -1)
    return replace(a, read_TQ=read_TQ, values=values, position_TQ=position_TQ, action_TQ=action_TQ)


def test_leaving_losing_questions_unreadable_does_not_raise_the_mean(questions: EvaluationSet) -> None:
    """Dropping the losers would score the mean of the winners; an unreadable answer gets the worst of any policy."""
    hold, always = fake.constant(questions, "hold", 0), fake.constant(questions, "sly", 2, "trained")
    loses = always.value("score") < 0
    short = fake.constant(questions, "short", -2)
    sly = unreadable_at(always, loses)
    table = compare(questions, [hold, short, sly])
    row = table.row("sly")
    worst = np.minimum(0, short.value("score"))
    assert row.metrics["score"].value == pytest.approx(np.where(loses, worst, always.value("score")).mean())
    assert row.metrics["parse_errors"].value == pytest.approx(loses.mean())
    assert row.answer_shares["unreadable"] == pytest.approx(loses.mean())
    assert any("sly" in warning and "could not be read" in warning for warning in table.warnings)


def test_collapse_is_warned_of(questions: EvaluationSet) -> None:
    table = compare(
        questions,
        [fake.constant(questions, "hold", 0), fake.constant(questions, "grpo", 1, "trained")],
    )
    assert any("grpo" in warning and "collapsed" in warning for warning in table.warnings)


def test_overlapping_outcomes_leave_fewer_cosines(questions: EvaluationSet) -> None:
    answers = fake.field(questions)
    near, far = compare(questions, answers), compare(replace(questions, horizon=9), answers)
    assert (near.cosines, far.cosines) == (9, 5)
    widths = [one.row("sft").metrics["sharpe"] for one in (near, far)]
    assert widths[0] == widths[1], "daily returns do not overlap"


def test_few_dates_are_warned_of() -> None:
    questions = fake.evaluation_set(dates=30, tickers=3)
    assert any("30 dates" in warning for warning in compare(questions, fake.field(questions)).warnings)


@pytest.mark.parametrize(("dates", "horizon"), [(1, 1), (5, 1), (11, 1), (30, 8), (60, 20)])
def test_too_few_dates_are_not_judged(dates: int, horizon: int) -> None:
    """However wide the gap, nothing is claimed; from ten dates on there are intervals, which are very wide."""
    questions = replace(fake.evaluation_set(dates=dates), horizon=horizon)
    table = compare(questions, fake.field(questions))
    for row in table.rows:
        assert not any(one.shown or one.improved or one.worsened for one in row.differences)
        assert np.isnan([row.p_value, *(one.p_value for one in row.differences)]).all()
        assert np.isfinite(row.metrics["score"].low) == (dates >= 10)
        if row.policy != table.best_baseline and row.kind != "best":
            assert row.verdict == "too few dates"
            assert row.sentence == "Not judged: the dates are too few."
    assert table.warnings[0].startswith("Too few dates for verdicts")
    assert Comparison.from_json(table.to_json()).to_json() == table.to_json()


@pytest.mark.parametrize(("dates", "horizon"), [(12, 1), (30, 6), (100, 20)])
def test_just_enough_dates_are_judged(dates: int, horizon: int) -> None:
    questions = replace(fake.evaluation_set(dates=dates), horizon=horizon)
    row = compare(questions, fake.field(questions)).row("grpo")
    assert row.verdict in ("better", "not shown", "worse")
    assert np.isfinite(row.metrics["score"].low)


def test_wrong_input_is_refused(questions: EvaluationSet) -> None:
    hold, sft = fake.constant(questions, "hold", 0), fake.constant(questions, "sft", 1, "trained")
    with pytest.raises(RunError, match="at least two"):
        compare(questions, [hold])
    with pytest.raises(RunError, match="called 'hold'"):
        compare(questions, [hold, hold])
    with pytest.raises(RunError, match="nothing to beat"):
        compare(questions, [sft, replace(sft, policy="grpo")])
    with pytest.raises(RunError, match="position is 1.5"):
        fake.constant(questions, "odd", 3)
    with pytest.raises(RunError, match="not consecutive"):
        replace(questions, rows_T=np.array([0, 2]), asked_TQ=questions.asked_TQ[:2])
    with pytest.raises(RunError, match="No metric of the task is primary"):
        replace(questions, metrics=questions.metrics[1:])


# tasks of other kinds ----------------------------------------------------------------------------


def errors(questions: EvaluationSet, policy: str, kind: Any, size: float, seed: int) -> Predictions:
    error_TQ = size * np.random.default_rng(seed).normal(size=questions.shape) ** 2
    return Predictions(policy, kind, np.ones(questions.shape, bool), {"error": error_TQ})


@pytest.fixture(scope="module")
def forecasts() -> tuple[EvaluationSet, Comparison]:
    """A task about dates alone, with squared errors and no positions."""
    rmse = Metric(
        "rmse",
        "RMSE",
        "root mean squared error",
        better="lower",
        primary=True,
        aggregate="root_mean",
        inputs=("error",),
    )
    questions = fake.evaluation_set()
    questions = replace(questions, asked_TQ=np.ones((120, 2), bool), metrics=(rmse,), action_names=(), per_ticker=False)
    answers = [
        errors(questions, "last value", "naive", 1.0, 0),
        errors(questions, "zero", "naive", 3.0, 1),
        errors(questions, "good", "trained", 0.4, 2),
        errors(questions, "bad", "trained", 4.0, 3),
    ]
    return questions, compare(questions, answers)


def test_lower_is_better_where_the_metric_says_so(forecasts: tuple[EvaluationSet, Comparison]) -> None:
    _, table = forecasts
    assert table.best_baseline == "last value"
    assert (table.row("good").verdict, table.row("bad").verdict) == ("better", "worse")
    gap = table.row("good").difference("rmse", "last value")
    assert gap is not None
    assert gap.interval.high < 0
    assert gap.improved
    assert not gap.worsened


def test_a_task_without_positions_has_no_backtest(forecasts: tuple[EvaluationSet, Comparison]) -> None:
    _, table = forecasts
    assert [metric.key for metric in table.metrics] == ["rmse", "parse_errors"]
    assert table.evaluation.commission_bps is None
    assert table.evaluation.tickers == 0
    assert table.row("good").equity_T == []
    assert table.row("good").answer_shares == {}


def test_an_unreadable_forecast_has_the_largest_error(forecasts: tuple[EvaluationSet, Comparison]) -> None:
    questions, _ = forecasts
    naive, good = errors(questions, "last value", "naive", 1.0, 0), errors(questions, "good", "trained", 0.4, 2)
    silent = replace(good, policy="silent", read_TQ=np.zeros(questions.shape, bool), values={})
    table = compare(questions, [naive, good, silent])
    worst = np.maximum(naive.value("error"), good.value("error"))
    assert table.row("silent").metrics["rmse"].value == pytest.approx(np.sqrt(worst.mean()))
