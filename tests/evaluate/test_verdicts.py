"""Verdicts and claims hold their level: what is true of all baselines, of money, of steps, and nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import evaluations as fake
import numpy as np
import pytest
from scipy.stats import binom

from tradeschool.evaluate import inference
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import MEAN_RETURN, Comparison
from tradeschool.evaluate.console import summary
from tradeschool.evaluate.evaluation_set import Costs, Predictions
from tradeschool.evaluate.inference import Estimate
from tradeschool.evaluate.verdicts import Judgement, judge
from tradeschool.policies.base import Kind
from tradeschool.tasks.base import Metric

SCORE = Metric("score", "score", "made up", primary=True)
HOLD = (0.0, 0.0)
DENIED = (
    "not shown to be above every baseline",
    "ot shown to be better than every other",
    "not shown to earn more than every other",
    "ot shown to be better than every",
    "not shown to earn more than every",
    "did not beat every",
)
CLAIMS = ("etter than every", "more than every", "above every", "earned more", "beat every", "Learned something")
"""What only skill may be called, once the denials are taken out."""


def judged(scores_T: dict[str, Any], horizon: int = 1, metric: Metric = SCORE) -> dict[str, Judgement]:
    """Judge daily scores; names that begin with "model" are models, the others baselines."""
    estimates: dict[str, dict[str, Estimate]] = {
        name: {"score": inference.mean(np.asarray(score_T)[:, None], horizon)} for name, score_T in scores_T.items()
    }
    return judge(metric, [stub(name) for name in scores_T], estimates, 0.95)


def stub(name: str) -> Predictions:
    kind: Kind = "trained" if name.startswith("model") else "naive"
    return Predictions(name, kind, np.ones((1, 1), bool), {})


def drawn(
    baselines: list[tuple[float, float]], models: list[tuple[float, float]], dates: int, horizon: int, repeats: int
) -> Iterator[dict[str, Any]]:
    """Fat-tailed, overlapping daily scores with these means and spreads, independent of each other."""
    rng = np.random.default_rng([dates, horizon, len(baselines)])
    names = [f"baseline {n}" for n in range(len(baselines))] + [f"model {n}" for n in range(len(models))]
    for _ in range(repeats):
        noise = np.cumsum(rng.standard_t(4, (len(names), dates + horizon)) / 2**0.5, axis=1)
        noise = (noise[:, horizon:] - noise[:, :-horizon]) / horizon**0.5
        given = zip([*baselines, *models], noise, strict=True)
        yield dict(zip(names, (mean + spread * noise_T for (mean, spread), noise_T in given), strict=True))


def most(repeats: int, share: float) -> int:
    """So many happen in one of two thousand correct tests."""
    return int(binom.ppf(0.9995, repeats, share))


LEVELS: list[tuple[list[tuple[float, float]], list[tuple[float, float]], int, int]] = [
    ([HOLD, (0.05, 1.0)], [(0.05, 0.2)], 250, 1),
    ([HOLD, (0.02, 1.0)], [(0.02, 0.1)], 250, 1),
    ([HOLD, (0.02, 1.0)], [(0.02, 0.1)], 250, 5),
    ([HOLD, *[(0.05, 1.0)] * 3], [(0.05, 0.2)] * 2, 250, 1),
    ([HOLD], [(0.0, 0.5)] * 3, 80, 5),
    ([HOLD], [(0.0, 0.5)] * 3, 250, 5),
    ([HOLD, (0.0, 0.5)], [(0.0, 0.5)] * 2, 12, 1),
]


@pytest.mark.parametrize(("baselines", "models", "dates", "horizon"), LEVELS)
@pytest.mark.parametrize("repeats", [250, pytest.param(4000, marks=pytest.mark.slow)], ids=["fast", "full"])
def test_a_model_as_good_as_a_baseline_is_seldom_called_better(
    baselines: list[tuple[float, float]], models: list[tuple[float, float]], dates: int, horizon: int, repeats: int
) -> None:
    """Also where that baseline is noisy, and so often not the best of the sample: at most half of 5 %."""
    better = 0
    for scores in drawn(baselines, models, dates, horizon, repeats):
        better += "better" in [one.verdict for name, one in judged(scores, horizon).items() if "model" in name]
    assert better <= most(repeats, 0.025)


@pytest.mark.parametrize("repeats", [250, pytest.param(4000, marks=pytest.mark.slow)], ids=["fast", "full"])
def test_a_model_as_good_as_the_baselines_is_seldom_called_worse(repeats: int) -> None:
    worse = 0
    for scores in drawn([HOLD, *[(0.0, 0.5)] * 4], [(0.0, 0.5)] * 3, 250, 1, repeats):
        worse += "worse" in [one.verdict for name, one in judged(scores).items() if "model" in name]
    assert worse <= most(repeats, 0.025)


def test_an_edge_is_found_as_often_as_the_docs_say() -> None:
    """.2 a day at a spread of .5 over 250 days is found nine times in ten, although four noisy baselines are beaten."""
    found = [
        judged(scores)["model 0"].verdict == "better"
        for scores in drawn([HOLD, *[(0.0, 0.5)] * 4], [(0.2, 0.5)], 250, 1, 100)
    ]
    assert sum(found) >= 85
    lost = [
        judged(scores)["model 0"].verdict == "worse"
        for scores in drawn([HOLD, *[(0.0, 0.5)] * 4], [(-0.2, 0.5)], 250, 1, 100)
    ]
    assert sum(lost) >= 95


def test_the_baseline_that_decides_need_not_be_the_best_of_the_sample() -> None:
    """A noisy baseline whose mean is low by chance is as hard to beat as its noise allows."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, 250))
    noise -= noise.mean(1, keepdims=True)
    scores = {
        "calm": 0.01 + 0.01 * noise[0],
        "noisy": -0.02 + 3 * noise[1],
        "model": 0.05 + 0.01 * noise[2],
    }
    found = judged(scores)["model"]
    assert (found.verdict, found.against) == ("not shown", "noisy")
    assert found.pairs["noisy"] == found.p_value > 0.05
    better = judged({name: score for name, score in scores.items() if name != "noisy"})["model"]
    assert (better.verdict, better.against) == ("better", "calm")


def test_lower_is_better_where_the_metric_says_so() -> None:
    low = Metric("score", "error", "made up", better="lower", primary=True)
    scores = next(drawn([(1.0, 0.1)], [(0.5, 0.1)], 100, 1, 1))
    assert judged(scores, metric=low)["model 0"].verdict == "better"
    assert judged(scores)["model 0"].verdict == "worse"


def test_a_policy_that_equals_a_baseline_is_the_same() -> None:
    scores = next(drawn([(0.1, 1.0), (0.0, 1.0)], [(0.3, 1.0)], 250, 1, 1))
    found = judged({**scores, "model 1": scores["baseline 0"]})["model 1"]
    assert (found.verdict, found.p_value, found.against) == ("same", 1.0, "baseline 0")


# all claims of a report --------------------------------------------------------------------------


def words(table: Comparison) -> str:
    """Every sentence of the terminal and of the page."""
    return " ".join([*summary(table), *(row.sentence for row in table.rows)])


def overlapping(questions: Any, horizon: int, rng: np.random.Generator) -> list[Predictions]:
    """Baselines and three models whose scores overlap and have no edge."""

    def policy(name: str, kind: Kind) -> Predictions:
        days = np.cumsum(rng.standard_t(4, (questions.shape[0] + horizon, questions.shape[1])), axis=0)
        answers = fake.constant(questions, name, 0, kind)
        return Predictions(
            name, kind, answers.read_TQ, {**answers.values, "score": days[horizon:] - days[:-horizon]}, None
        )

    return [
        fake.constant(questions, "hold", 0),
        policy("untrained", "base"),
        policy("sft", "trained"),
        policy("grpo", "trained"),
    ]


@pytest.mark.parametrize(("dates", "horizon"), [(80, 1), (80, 5), (250, 5)])
@pytest.mark.parametrize("repeats", [60, pytest.param(1000, marks=pytest.mark.slow)], ids=["fast", "full"])
def test_steps_of_training_without_an_edge_are_seldom_called_improvements_or_losses(
    dates: int, horizon: int, repeats: int
) -> None:
    rng = np.random.default_rng([dates, horizon])
    wrong = 0
    for seed in range(repeats):
        questions = replace(fake.evaluation_set(dates=dates, tickers=2, seed=seed % 7), horizon=horizon)
        table = compare(questions, overlapping(questions, horizon, rng))
        text = words(table)
        shown = [one for row in table.rows for one in row.differences if one.shown and row.kind != "naive"]
        said = "an improvement" in text or "a loss" in text
        assert said <= bool(shown)
        wrong += said
    assert wrong <= most(repeats, 0.05)


def test_a_step_is_claimed_by_its_adjusted_p_and_not_by_its_interval() -> None:
    table = compare(questions := fake.evaluation_set(), fake.field(questions, sft=0.1, grpo=0.4))
    steps = [one for row in table.rows for one in row.differences if one.against in ("untrained", "sft")]
    assert {(one.policy, one.against, one.metric) for one in steps} == {
        ("sft", "untrained", "score"),
        ("sft", "untrained", "share"),
        ("grpo", "sft", "score"),
        ("grpo", "sft", "share"),
        ("grpo", "untrained", "share"),
    }
    assert all(np.isfinite(one.p_value) for one in steps)
    unsure = [one.model_copy(update={"p_value": 0.06}) for one in steps if one.interval.excludes_zero]
    assert unsure
    assert not any(one.shown or one.improved or one.worsened for one in unsure)


def test_more_models_in_a_report_make_every_step_harder_to_claim() -> None:
    """Holm's method over all steps of the report: the smallest p counts as often as there are steps."""
    questions = fake.evaluation_set(dates=80, tickers=2)
    compared = 0
    for seed in range(20):
        few = overlapping(questions, 1, np.random.default_rng(seed))
        one_step = step_p(compare(questions, few[:3]))
        two_steps = step_p(compare(questions, few))
        assert two_steps >= one_step
        compared += two_steps > one_step
    assert compared >= 10


def step_p(table: Comparison) -> float:
    row = next(row for row in table.rows if row.policy == "sft")
    return next(one.p_value for one in row.differences if one.against == "untrained" and one.metric == "score")


# money, and markets with drift alone ---------------------------------------------------------------


def drifting(seed: int, drift: float) -> Comparison:
    """A market with drift alone; the models are always long, nearly always long, out of the market, and at random."""
    questions = fake.evaluation_set(dates=150, tickers=4, seed=seed, drift=drift)
    rng = np.random.default_rng([seed, 5])
    often = np.where(rng.random(questions.shape) < 0.9, 2.0, 0.0)
    return compare(
        questions,
        [
            fake.constant(questions, "hold", 0),
            fake.constant(questions, "buy and hold", 2),
            fake.drawn(questions, "rsi", 9 * seed, "rule"),
            fake.drawn(questions, "momentum", 9 * seed + 1, "rule"),
            fake.drawn(questions, "untrained", 9 * seed + 2, "base"),
            fake.answers(questions, "often", "trained", often),
            fake.constant(questions, "never", 0, "trained"),
            fake.constant(questions, "always", 2, "trained"),
        ],
    )


@pytest.mark.parametrize("drift", [0.003, -0.003])
@pytest.mark.parametrize("repeats", [15, pytest.param(200, marks=pytest.mark.slow)], ids=["fast", "full"])
def test_a_market_with_drift_alone_shows_no_skill_anywhere(drift: float, repeats: int) -> None:
    """Being long in a rising market, or out of a falling one, beats rules at random and is no skill."""
    claimed = 0
    for seed in range(repeats):
        table = drifting(seed, drift)
        always = table.row("always")
        assert always.verdict in ("same", "best baseline")
        assert "earned the same as buy and hold" in always.sentence
        assert not any(one.improved for one in always.differences)
        (money_line,) = (line for line in summary(table) if line.startswith("always: return"))
        assert "buy and hold" in money_line
        assert money_line.endswith("the same.")
        money = [one for row in table.rows for one in row.differences if one.metric == MEAN_RETURN.key and one.improved]
        better = [row for row in table.rows if row.verdict == "better"]
        text = words(table)
        for denied in DENIED:
            text = text.replace(denied, "")
        said = [claim for claim in CLAIMS if claim in text]
        assert bool(said) <= bool(better or money)
        claimed += bool(better or money)
    assert claimed <= most(repeats, 0.025)


def test_money_is_compared_with_buy_and_hold_first_and_named_apart_from_the_score() -> None:
    """Best by score is a rule that earns little; the summary names it and buy and hold, with their figures."""
    table = drifting(3, 0.003)
    first = summary(table)[0]
    assert f"best by score: {table.best_baseline} " in first
    assert "by return %: buy and hold " in first
    row = table.row("often")
    assert row.difference(MEAN_RETURN.key, "buy and hold") is not None
    assert "against buy and hold" in row.sentence


def test_a_better_score_says_nothing_about_money() -> None:
    """Costs that take the whole gain leave a better score, which is before costs, and no claim about the return."""
    free = fake.evaluation_set(dates=250, costs=Costs(commission_bps=0.0, slippage_bps=0.0))
    row = compare(free, fake.field(free, grpo=0.6)).row("grpo")
    gain = row.difference(MEAN_RETURN.key, "buy and hold")
    assert gain is not None
    assert gain.improved
    bps = 1e4 * gain.interval.value / row.metrics["turnover"].value
    costly = fake.evaluation_set(dates=250, costs=Costs(commission_bps=bps, slippage_bps=0.0))
    row = compare(costly, fake.field(costly, grpo=0.6)).row("grpo")
    assert row.verdict == "better"
    money = row.difference(MEAN_RETURN.key, "buy and hold")
    assert money is not None
    assert not money.shown
    assert "After costs it is not shown to earn more than every baseline" in row.sentence


def test_more_money_than_every_baseline_is_said() -> None:
    questions = fake.evaluation_set(dates=250)
    table = compare(questions, fake.field(questions, grpo=0.6))
    row = table.row("grpo")
    money = row.difference(MEAN_RETURN.key, "buy and hold")
    assert money is not None
    assert money.improved
    assert "After costs it earned more than every baseline: +" in row.sentence
    assert any(line.endswith(": above every baseline.") for line in summary(table))
