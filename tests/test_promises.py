"""The README's guarantees, as far as no training is needed; the rest: train/test_training.py, test_demo.py."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markets import every_fact, listed, market, ragged, scrambled_after, task_of
from rich.console import Console

from tradeschool.config.recipe import read
from tradeschool.evaluate.backtest import backtest
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import Comparison
from tradeschool.evaluate.console import summary
from tradeschool.evaluate.diagnostics import training_warnings
from tradeschool.evaluate.evaluation_set import (
    Costs,
    EvaluationSet,
    Predictions,
    evaluation_set_of,
    traces_to_predictions,
)
from tradeschool.evaluate.report import COMPARISON
from tradeschool.evaluate.stage import Config, run
from tradeschool.manifest import Manifest
from tradeschool.market import labels
from tradeschool.market.features import volatility_TN
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.snapshot import Snapshot
from tradeschool.pipeline import make_task
from tradeschool.policies import rules
from tradeschool.policies.base import Answerer, Kind
from tradeschool.rollout import rollout
from tradeschool.run_folder import REPORT
from tradeschool.tasks.base import Example, SplitName
from tradeschool.tasks.rating import RatingTask
from tradeschool.text.describe import FACTS, facts
from tradeschool.trace import write_traces
from tradeschool.train.stage import Context

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "recipes" / "demo.yaml"
RATINGS = (-2, -1, 0, 1, 2)


def evaluate(
    task: RatingTask, policies: list[Answerer], tickers: int | None = None
) -> tuple[EvaluationSet, list[Predictions]]:
    """Every policy's answers to the test questions about the first tickers."""
    asked = [example for example in task.examples("test") if tickers is None or example.n < tickers]
    questions = evaluation_set_of(task, task.panel, asked, "test")
    traces = {p: rollout(p, task, asked, {}) for p in policies}
    return questions, [traces_to_predictions(questions, p.name, p.kind, asked, traces[p]) for p in policies]


def baselines(task: RatingTask) -> list[Answerer]:
    return [rules.constant("hold", 0), rules.constant("buy and hold", 2), rules.random(RATINGS, 0)]


# 1. No look-ahead --------------------------------------------------------------------------------


def shown_at(task: RatingTask, t: int) -> list[object]:
    """Everything that is shown, known or answered at the close of row t."""
    shown: list[object] = []
    policies = [rules.rsi_rules(), rules.momentum(), rules.random(RATINGS, 3), rules.constant("hold", 0)]
    for example in listed(task.panel, t):
        snapshot = task.snapshot(example)
        shown += [
            task.messages(example),
            snapshot.ticker,
            snapshot.date,
            snapshot.news,
            snapshot.market_news,
        ]
        shown += [{name: np.float64(value).tobytes() for name, value in snapshot.values.items()}]
        shown += [task.expert(example), task.reasoning(example), *(one.answer(task, [example]) for one in policies)]
    return shown


@pytest.mark.parametrize("make", [market, ragged])
@pytest.mark.parametrize("mask", [True, False])
def test_promise_1_no_look_ahead(make: Any, mask: bool) -> None:
    """Whatever comes after the close of t, nothing that is shown at t changes by a byte."""
    panel = make()
    before = every_fact(panel, mask)
    for t in (25, 150, 204, 205, 263, 331, 390, 398):
        after = every_fact(scrambled_after(panel, t), mask)
        if after.panel.listed_TN[t + 1 :].any():
            assert after.panel.data_hash() != panel.data_hash()
        shown = shown_at(before, t)
        assert shown
        assert shown_at(after, t) == shown


def test_promise_1_the_close_of_the_day_itself_is_known() -> None:
    """The test above proves something only if prompts depend on the bars and events that it scrambles."""
    panel = market()
    before = every_fact(panel)
    for t in (150, 263):
        after = every_fact(scrambled_after(panel, t - 1))
        both = [example for example in listed(panel, t) if example in listed(after.panel, t)]
        assert both
        assert all(before.messages(example) != after.messages(example) for example in both)


@pytest.mark.parametrize("horizons", [[1], [3, 30]])
def test_promise_1_no_outcome_of_a_part_reaches_into_the_next(horizons: list[int]) -> None:
    """With the pipeline's embargo, the later part's bars move no score, label or target of the earlier."""
    listed_horizons = ",".join(map(str, horizons))
    recipe = read(DEMO, [f"task.horizons=[{listed_horizons}]", "market.tickers=5", "market.days=600"])
    panel = market(tickers=5, days=600)
    before = make_task(recipe, panel)
    assert isinstance(before, RatingTask)
    parts = (before.split.train_T, before.split.validation_T, before.split.test_T)
    for rows_T, next_T in itertools.pairwise(parts):
        assert next_T[0] - rows_T[-1] > max(15, *horizons) + 1
        after = make_task(recipe, scrambled_after(panel, int(next_T[0]) - 1))
        assert isinstance(after, RatingTask)
        assert np.isfinite(before.excess_TN[rows_T]).all()
        assert np.isfinite(before.label_TN[rows_T[:-15]]).all()
        assert np.isnan(before.label_TN[rows_T[-15:]]).all()
        np.testing.assert_array_equal(after.excess_TN[rows_T], before.excess_TN[rows_T])
        np.testing.assert_array_equal(after.label_TN[rows_T], before.label_TN[rows_T])
        assert after.sft_examples("train", 200, 0) == before.sft_examples("train", 200, 0)


def test_promise_1_label_cuts_are_fitted_on_train_only() -> None:
    """Validation and test made ten times wilder: the labels of train stay, cut at the same places."""
    panel = market(days=600)
    train_T = np.zeros(600, dtype=bool)
    train_T[task_of(panel).split.train_T] = True
    scrambled = scrambled_after(panel, int(np.flatnonzero(train_T)[-1]))
    assert labels.rating_labels(scrambled, train_T).cuts == labels.rating_labels(panel, train_T).cuts
    everything = np.ones(600, dtype=bool)
    assert labels.rating_labels(scrambled, everything).cuts != labels.rating_labels(panel, everything).cuts


def test_promise_1_decisions_are_filled_at_the_next_open() -> None:
    """The score of t is made of the opens of t+1 and t+2 and the volatility of t: no close after t, nothing later."""
    panel = market()
    t, n = 200, 2
    example = listed(panel, t)[n]

    def profit(changed: Panel) -> float:
        value = task_of(changed).rewards(example, "", 2)["profit"]
        assert value is not None
        return value

    def moved(name: str, row: int, factor: float) -> Panel:
        bar_TN = getattr(panel, f"{name}_TN").copy()
        bar_TN[row, n] *= factor
        span = {"high_TN": panel.high_TN * 1.2, "low_TN": panel.low_TN / 1.2}
        return replace(panel, **{**span, f"{name}_TN": bar_TN})

    same = profit(panel)
    volatility = volatility_TN(panel)[t, n]
    assert profit(scrambled_after(panel, t + 2)) == same
    for row in (t + 1, t + 2):
        assert profit(moved("close", row, 1.05)) == same
    others = 5 / 6  # the stock itself is a sixth of the market that it is compared with
    assert profit(moved("open", t + 1, 1.001)) - same == pytest.approx(-np.log(1.001) * others / volatility)
    assert profit(moved("open", t + 2, 1.001)) - same == pytest.approx(np.log(1.001) * others / volatility)


def test_promise_1_an_overnight_jump_is_not_earned_and_trading_costs() -> None:
    """A price that rises only between the close of t and the open of t+1 pays nobody who decides at t."""
    days = 30
    level = np.full((days, 1), 100.0)
    level[15:] = 150.0  # jumps overnight after row 14
    panel = Panel(np.datetime64("2020-01-01") + np.arange(days), ("A",), level, level, level, level, level)
    rows = np.arange(days - 2)
    rating = np.zeros((days - 2, 1))
    rating[14] = 2.0  # decided after the close of row 14, filled at the open of row 15
    asked = np.ones(rating.shape, dtype=bool)
    free = backtest(panel, rows, rating / 2, asked, Costs(commission_bps=0, slippage_bps=0))
    np.testing.assert_allclose(free.equity_T, 1.0)
    paid = backtest(panel, rows, rating / 2, asked, Costs(commission_bps=1, slippage_bps=5))
    assert paid.equity_T[-1] == pytest.approx(1 - 2 * 6e-4, abs=1e-6)
    early = np.zeros((days - 2, 1))
    early[13] = 2.0
    assert backtest(panel, rows, early / 2, asked, Costs(commission_bps=0, slippage_bps=0)).equity_T[
        -1
    ] == pytest.approx(1.5)


# 2. No edge, no claim ----------------------------------------------------------------------------


def as_expert(task: RatingTask, example: Example, snapshot: Snapshot | None) -> tuple[int, str]:
    return task.expert(example)


@pytest.mark.parametrize(
    ("markets", "most"), [(5, 0), pytest.param(20, 1, marks=pytest.mark.slow)], ids=["five", "twenty"]
)
def test_promise_2_no_edge_no_claim(markets: int, most: int) -> None:
    """Twenty markets without an edge, three policies posing as trained in each: at most one market with a claim.

    Nothing is charged for risk, so that every policy is truly worth what HOLD is worth.
    """
    claims = []
    for seed in range(markets):
        task = task_of(market(edge=0.0, tickers=12, days=500, seed=seed), eval_score=["profit"])
        posing = [rules.random(RATINGS, 100 + i, name=f"trained {i}", kind="trained") for i in range(2)]
        expert = rules.Rule("expert", "trained", partial(as_expert, task))
        questions, answers = evaluate(task, [*baselines(task), *posing, expert], tickers=4)
        table = compare(questions, answers)
        claims += [seed] if any(row.verdict == "better" for row in table.rows) else []
    assert len(claims) <= most


@pytest.mark.parametrize("drift", [0.002, -0.002])
def test_promise_2_drift_is_no_skill(drift: float) -> None:
    """In a market that only rises or falls, what is always long is buy and hold, and nothing is said to earn more."""
    panel = market(edge=0.0, tickers=4, days=400, seed=3)
    growth_T1 = np.exp(drift * np.arange(panel.shape[0]))[:, None]
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN") * growth_T1 for name in ("open", "high", "low", "close")}
    task = task_of(replace(panel, **bars), eval_score=["profit"])
    models: list[Answerer] = [rules.random(RATINGS, 7, name="untrained", kind="base")]
    models += [rules.Rule("out", "trained", lambda example, snapshot: (0, ""))]
    models += [rules.Rule("always long", "trained", lambda example, snapshot: (2, ""))]
    questions, answers = evaluate(task, [*baselines(task), rules.rsi_rules(), rules.momentum(), *models])
    table = compare(questions, answers)
    assert "earned the same as buy and hold" in table.row("always long").sentence
    assert any(line.startswith("always long: return") and line.endswith("the same.") for line in summary(table))
    for row in table.rows:
        assert row.verdict != "better"
        assert "earned more" not in row.sentence
        assert not any(one.improved for one in row.differences if row.kind == "trained")


@pytest.fixture(scope="module")
def no_edge() -> RatingTask:
    return every_fact(market(edge=0.0, tickers=20, days=3000, seed=2))


def unpredicted(task: RatingTask) -> Floats:
    """Simple open-to-open returns over the market's, in volatilities known before: no drift of logs, no clipping."""
    open_TN = task.panel.open_TN
    simple_TN = np.full(task.panel.shape, np.nan)
    simple_TN[:-2] = open_TN[2:] / open_TN[1:-1] - 1
    return np.asarray((simple_TN - simple_TN.mean(axis=1, keepdims=True)) / volatility_TN(task.panel))


def test_promise_2_without_an_edge_opens_are_a_martingale(no_edge: RatingTask) -> None:
    open_TN = no_edge.panel.open_TN
    daily_T = (open_TN[1:] / open_TN[:-1] - 1).mean(axis=1)
    assert abs(daily_T.mean()) < 3.5 * daily_T.std() / np.sqrt(len(daily_T))
    for lag in (1, 2, 5, 10):
        together = np.mean(daily_T[lag:] * daily_T[:-lag]) / daily_T.var()
        assert abs(together) < 3.5 / np.sqrt(len(daily_T))


def test_promise_2_without_an_edge_no_fact_predicts_returns(no_edge: RatingTask) -> None:
    """For every word of every fact that a prompt can state: the mean of what follows it is zero within its error.

    The strength in a trending market, which an edge combines, is tested as one.
    """
    assert worst_of_words(no_edge) < 4


def test_promise_2_with_an_edge_facts_predict_returns() -> None:
    """The test above detects half of the demo's edge, so it does not pass for lack of power."""
    assert worst_of_words(every_fact(market(edge=0.15, tickers=20, days=3000, seed=2))) > 4


def worst_of_words(task: RatingTask) -> float:
    """The largest |mean / standard error| of the coming return after any word; every sixth day is looked at."""
    unpredicted_TN = unpredicted(task)
    after: dict[str, list[float]] = {}
    names = [name for name in FACTS if name not in ("stock", "date")]
    for t in range(60, task.panel.shape[0] - 2, 6):
        for n in range(task.panel.shape[1]):
            words = {fact.name: fact.word for fact in facts(task.snapshots.at(t, n), names)}
            both = f"{words['market']} {words['strength']}"
            for word in (*(f"{name} {word}" for name, word in words.items()), both):
                after.setdefault(word, []).append(float(unpredicted_TN[t, n]))
    means = [abs(np.mean(x)) / np.std(x) * np.sqrt(len(x)) for x in after.values() if len(x) > 100]
    assert len(means) > 40
    return float(max(means))


# 3. An edge is found -----------------------------------------------------------------------------

STRENGTH = {"very strong": 1.6, "strong": 0.8, "even": 0.0, "weak": -0.8, "very weak": -1.6, "unknown": 0.0}


def reads_the_prompt(edge: float) -> Answerer:
    """Forecasts from the words of three facts alone, as a model could that has learned the rule."""

    def decide(example: Example, snapshot: Snapshot | None) -> tuple[int, str]:
        assert snapshot is not None
        words = {fact.name: fact.word for fact in facts(snapshot, ["market", "strength", "news"])}
        side = {"trending": 1, "choppy": -1}[words["market"]]
        tone = {"good": 1, "bad": -1, "none": 0}[words["news"]]
        forecast = edge * (0.78 * side * STRENGTH[words["strength"]] + 0.65 * tone)
        return max(RATINGS, key=lambda rating: rating / 2 * forecast - 0.1 * (rating / 2) ** 2), "As learned."

    return rules.Rule("reader", "trained", decide)


@pytest.fixture(scope="module")
def with_edge() -> tuple[RatingTask, Comparison]:
    task = task_of(market(edge=0.3, tickers=16, days=900, seed=1))
    policies = [*baselines(task), rules.rsi_rules(), rules.momentum(), reads_the_prompt(0.3)]
    questions, answers = evaluate(task, [*policies, rules.oracle(task)], tickers=8)
    return task, compare(questions, answers)


def test_promise_3_an_edge_is_found(with_edge: tuple[RatingTask, Comparison]) -> None:
    _, table = with_edge
    best, reader = table.row("best possible"), table.row("reader")
    share = best.metrics["share"]
    assert (share.low, share.value, share.high) == pytest.approx((1, 1, 1))
    assert best.verdict == "ceiling"
    others = [row for row in table.rows if row.kind in ("naive", "rule")]
    assert len(others) == 5
    assert best.metrics["score"].low > max(row.metrics["score"].value for row in others)
    assert reader.metrics["share"].high < 1
    assert 0.2 < best.metrics["ic"].value < 0.35
    assert reader.verdict == "better"


def test_promise_3_the_prompt_shows_what_can_be_predicted(with_edge: tuple[RatingTask, Comparison]) -> None:
    """The words of three facts are enough for nine tenths of the edge; momentum alone finds less than half."""
    _, table = with_edge
    share = table.row("reader").metrics["share"]
    assert share.low > 0.9
    assert table.row("momentum 10d").metrics["share"].high < 0.5
    assert table.row("hold").metrics["share"].value == 0


def test_promise_3_true_alpha_is_the_conditional_mean() -> None:
    """Realised excess on true alpha: slope one (the stock is part of its own market), nothing left over."""
    tickers = 30
    task = task_of(market(edge=0.3, tickers=tickers, days=3000))
    assert task.true_alpha_TN is not None
    x, y = task.true_alpha_TN[20:-2], task.excess_TN[20:-2]
    slope = float((x * y).sum() / (x * x).sum())
    left = y - slope * x
    error = np.sqrt(((left * x).sum(axis=1) ** 2).sum()) / (x * x).sum()
    assert abs(slope - (1 - 1 / tickers)) < 3.5 * error + 0.01  # the clip at 4 volatilities takes a little
    assert error < 0.02
    daily_T = left.mean(axis=1)
    assert abs(daily_T.mean()) < 3.5 * daily_T.std() / np.sqrt(len(daily_T)) + 0.01
    for part in (x > 0.3, x < -0.3, np.abs(x) < 0.1):
        assert abs(left[part].mean()) < 4 * left[part].std() / np.sqrt(part.sum()) + 0.01


def test_promise_3_the_expected_share_agrees_with_what_is_earned() -> None:
    """Over many questions the realised scores, in shares of the best, are near the expected ones."""
    task = task_of(market(edge=0.3, tickers=20, days=3000))
    examples = task.examples("train")
    assert len(examples) > 30_000
    earned: dict[str, list[float]] = {"expected": [], "realised": []}
    for example in examples:
        rating = task.oracle_action(example)
        score = task.eval_score(example, rating)
        assert score is not None
        earned["expected"].append(task.expected(example, rating))
        earned["realised"].append(score)
    assert np.mean(earned["realised"]) == pytest.approx(np.mean(earned["expected"]), rel=0.15)


# 4. Every claim has an interval -------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, str, str]:
    """The evaluate stage on a run with one trained model, whose answers (drawn at random) are already there."""
    run_folder = tmp_path_factory.mktemp("run")
    folder = run_folder / "2-evaluate"
    folder.mkdir()
    panel = market(tickers=5, days=500)
    task = task_of(panel, eval_score=["profit"])
    Manifest(
        {"name": "promise", "task": {"weights": task.weights}}, "0", panel.name, "0", task.version, {"run": 0}
    ).write(run_folder)
    answers = rollout(rules.random(RATINGS, 9, "sft", "trained"), task, task.examples("test"), {})
    write_traces(folder / "traces-sft.jsonl", answers)
    text = StringIO()
    context = Context(
        folder=folder, run_folder=run_folder, panel=panel, task=task, model=None,
        models={"sft": run_folder / "no weights are needed"}, seed=0, console=Console(file=text, width=200),
    )  # fmt: skip
    run(Config(stage="evaluate", base=False), context)
    comparison = Comparison.from_json((folder / COMPARISON).read_text(encoding="utf-8"))
    return comparison, text.getvalue(), (run_folder / REPORT).read_text(encoding="utf-8")


def test_promise_4_every_claim_has_an_interval(evaluated: tuple[Comparison, str, str]) -> None:
    """The baselines are always there, and every figure that is defined has an interval."""
    table, _, _ = evaluated
    kinds: dict[str, Kind] = {row.policy: row.kind for row in table.rows}
    assert {name for name, kind in kinds.items() if kind == "naive"} == {
        "hold",
        "buy and hold",
        "best constant",
        "random",
    }
    assert {name for name, kind in kinds.items() if kind == "rule"} == {"rsi rules", "momentum 10d"}
    assert (kinds["best possible"], kinds["sft"]) == ("best", "trained")
    for row in table.rows:
        for name, figure in row.metrics.items():
            # Probabilities themselves; a fall that happened, of which no interval that holds is known.
            if np.isfinite(figure.value) and name not in ("psr", "dsr", "max_drawdown"):
                assert np.isfinite([figure.low, figure.high]).all(), (row.policy, name)
                assert figure.low <= figure.high
        assert row.metrics["score"].low <= row.metrics["score"].value <= row.metrics["score"].high
    varied = table.row("sft").metrics
    for name in ("score", "share", "decision", "accuracy", "ic", "rank_ic", "cumulative_return", "sharpe", "sortino"):
        assert varied[name].low < varied[name].value < varied[name].high, name


def test_promise_4_differences_are_paired_with_intervals(evaluated: tuple[Comparison, str, str]) -> None:
    table, _, _ = evaluated
    reference = table.row(table.best_baseline)
    assert reference.kind in ("naive", "rule")
    assert reference.metrics["score"].value == max(
        row.metrics["score"].value for row in table.rows if row.kind in ("naive", "rule")
    )
    for row in table.rows:
        if row.kind == "best" or row is reference:
            continue
        gap = row.difference("score", table.best_baseline)
        assert gap is not None
        assert gap.interval.value == pytest.approx(row.metrics["score"].value - reference.metrics["score"].value)
        assert gap.interval.low < gap.interval.value < gap.interval.high


def test_promise_4_a_result_that_is_not_shown_is_reported_as_such(evaluated: tuple[Comparison, str, str]) -> None:
    """In the result, in the terminal and in the report."""
    table, terminal, report = evaluated
    assert table.row("sft").verdict in ("not shown", "worse")
    for text in (terminal, report):
        words = " ".join(text.split())
        assert "Not shown to be better than the baselines" in words
        assert "sft did not beat" in words
        for name in ("hold", "buy and hold", "best constant", "random", "rsi rules", "momentum 10d", "best possible"):
            assert name in words
    assert table.row("sft").sentence in " ".join(report.split())
    assert table.row("sft").sentence.startswith(("Not shown to be better than every baseline", "Worse than "))


def test_promise_4_the_best_constant_is_chosen_on_train(evaluated: tuple[Comparison, str, str]) -> None:
    """In this market the best constant answer differs between train and test."""
    table, _, _ = evaluated
    task = task_of(market(tickers=5, days=500), eval_score=["profit"])

    def best(split: SplitName) -> str:
        means = {rating: np.mean([task.eval_score(e, rating) for e in task.examples(split)]) for rating in RATINGS}
        return task.action_name(max(means, key=lambda rating: means[rating]))

    assert best("train") != best("test")
    assert table.row("best constant").answer_shares[best("train")] == 1


# 5. Same seed, same result -----------------------------------------------------------------------


def fingerprint(seed: int) -> dict[str, str]:
    """Digests of a market, its forecasts, questions, prompts, labels, targets and random answers."""
    panel = market(seed=seed)
    task = task_of(panel)
    asked = task.examples("test")
    assert panel.true_alpha_TN is not None
    parts = {
        "bars and events": panel.data_hash(),
        "forecasts": panel.true_alpha_TN.tobytes().hex(),
        "questions": repr(asked),
        "prompts": repr([task.messages(example) for example in asked]),
        "labels": task.label_TN.tobytes().hex(),
        "targets": repr(task.sft_examples("train", 300, seed)),
        "random answers": repr(rules.random(RATINGS, seed).answer(task, asked)),
    }
    return {name: hashlib.sha256(part.encode()).hexdigest() for name, part in parts.items()}


def test_promise_5_same_seed_same_result() -> None:
    """Also in another process, where Python's own hashes differ."""
    here = fingerprint(3)
    assert fingerprint(3) == here
    code = "import json, test_promises; print(json.dumps(test_promises.fingerprint(3)))"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": path}
    there = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(there.stdout) == here


def test_promise_5_another_seed_another_result() -> None:
    one, other = fingerprint(3), fingerprint(4)
    assert [name for name in one if one[name] == other[name]] == ["questions"]  # the same dates and tickers


def test_promise_5_examples_and_random_answers_depend_on_the_seed() -> None:
    task = task_of(market())
    asked = task.examples("test")
    assert task.sft_examples("train", 300, 0) != task.sft_examples("train", 300, 1)
    drawn = [rules.random(RATINGS, seed).answer(task, asked) for seed in (0, 1)]
    assert drawn[0] != drawn[1]


# 6. Rewards differ within a group ----------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> RatingTask:
    """The demo's task on a small market."""
    task = make_task(read(DEMO), market(edge=0.3, tickers=10, days=800))
    assert isinstance(task, RatingTask)
    return task


def totals(task: RatingTask, example: Example) -> dict[int, float]:
    texts = {rating: task.format_answer(rating, "Facts.") for rating in RATINGS}
    return {rating: task.total(task.rewards(example, text, rating)) for rating, text in texts.items()}


def test_promise_6_rewards_differ_within_a_group(demo: RatingTask) -> None:
    """For every question, hold, a buy and a sell are worth three different totals with the demo's weights."""
    for example in demo.examples("train"):
        worth = totals(demo, example)
        assert len({round(worth[rating], 12) for rating in (-2, 0, 2)}) == 3
        assert max(worth.values()) - min(worth.values()) > 1e-4


def test_promise_6_a_component_constant_in_its_groups_is_reported(demo: RatingTask) -> None:
    """A defect: profit does not depend on the answer. It is logged, and the report warns of it by name."""
    from tradeschool.train.rewards import reward_functions

    class Constant(RatingTask):
        def rewards(self, example: Example, text: str, action: int | None) -> dict[str, float | None]:
            return {**super().rewards(example, text, action), "profit": float(example.t)}

    broken = Constant(demo.config, demo.panel, demo.split)
    for task, expected in ((demo, 0.0), (broken, 1.0)):
        logged: dict[str, float] = {}
        groups = [example for example in task.examples("train")[:40] for _ in range(4)]
        completions = [task.format_answer((-2, 0, 1, 2)[i % 4], "Facts.") for i in range(len(groups))]
        columns: dict[str, Any] = {"example": list(range(len(groups)))}
        functions = reward_functions(task, 4, groups)
        assert [function.__name__ for function in functions] == list(task.weights)
        values = {f.__name__: f(completions=completions, log_metric=logged.__setitem__, **columns) for f in functions}
        assert logged["constant_in_group/profit"] == expected
        assert logged["constant_in_group/risk"] == 0
        assert logged["constant_in_group/format"] == 1
        assert logged["parse_errors"] == 0
        assert logged["answers/HOLD"] == 0.25
        assert values["profit"][5] == task.rewards(groups[5], completions[5], 0)["profit"]
        warnings = training_warnings({"grpo": [{"reward": 0.1, **logged}] * 4}, task.weights)
        assert any("reward 'profit' was constant within 100% of the groups" in text for text in warnings) == bool(
            expected
        )


def test_promise_6_rewards_need_no_torch() -> None:
    code = "import sys, tradeschool.train.rewards as r; print('torch' in sys.modules or 'trl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# 7. The format reward is small --------------------------------------------------------------------


def test_promise_7_format_earns_little(demo: RatingTask) -> None:
    """Format is at most a tenth of what the best rating of each question is worth with the demo's weights."""
    best = [max(totals(demo, example).values()) for example in demo.examples("train")]
    without_format = np.mean(best) - demo.weights["format"]
    assert 0 < demo.weights["format"] <= 0.1 * without_format


def test_promise_7_format_earns_little_beside_what_can_be_known(demo: RatingTask) -> None:
    """The same against the best possible: the ratings that are best given everything that was knowable."""
    worth = [demo.expected(example, demo.oracle_action(example)) for example in demo.examples("train")]
    assert 0 < demo.weights["format"] <= 0.1 * np.mean(worth)


def test_promise_7_form_cannot_turn_a_loss_into_a_gain(demo: RatingTask) -> None:
    """An unreadable answer is worth less than a well-formed HOLD, and form alone cannot turn a loss into a gain."""
    losses = [min(totals(demo, example).values()) for example in demo.examples("train")]
    assert np.mean(losses) < -5 * demo.weights["format"]
    for example in demo.examples("train")[::50]:
        assert demo.total(demo.rewards(example, "hm", None)) < totals(demo, example)[0] - 0.5
