"""The forecast task: windows, prompts, answers, rewards, SFT examples, baselines and the evaluation."""

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import EMBARGO, Says, market, ragged, repriced_after, scrambled_after
from pydantic import ValidationError

from tradeschool.errors import DataError, ParseError, RecipeError
from tradeschool.evaluate.compare import compare
from tradeschool.evaluate.comparison import Comparison
from tradeschool.evaluate.evaluation_set import Predictions, evaluation_set_of, traces_to_predictions
from tradeschool.market.features import window_statistics
from tradeschool.market.panel import FIELDS, Panel
from tradeschool.market.splits import split_rows
from tradeschool.market.windows import INDICATORS, WindowConfig, make_windows
from tradeschool.policies import forecasters, table
from tradeschool.policies.base import Answerer
from tradeschool.rollout import rollout
from tradeschool.tasks.base import Example
from tradeschool.tasks.forecast import ForecastTask
from tradeschool.tasks.forecast_config import ForecastConfig
from tradeschool.tasks.forecast_metrics import figures
from tradeschool.tasks.forecast_rewards import COMPONENTS

TINY: dict[str, Any] = {
    "facts": ["market", "strength", "news"], "sections": ["closes"], "unit": "volatility", "decimals": 1
}  # fmt: skip


def task_of(panel: Panel, embargo: int = EMBARGO, **config: Any) -> ForecastTask:
    return ForecastTask(ForecastConfig(**config), panel, split_rows(panel, (0.6, 0.1, 0.3), embargo=embargo, warmup=40))


@pytest.fixture(scope="module")
def task() -> ForecastTask:
    return task_of(market(tickers=4, days=500))


@pytest.fixture(scope="module")
def tiny() -> ForecastTask:
    return task_of(market(tickers=4, days=500, edge=0.4), **TINY)


def persistence(task: ForecastTask, example: Example) -> tuple[float, ...]:
    return task.path(example, [0.0] * len(task.horizons))


# windows ------------------------------------------------------------------------------------------


def test_windows_are_scaled_by_the_training_closes_of_their_ticker(task: ForecastTask) -> None:
    example = task.examples("test")[5]
    stop = task.split.train_T[-1] + 1
    closes_T = task.panel.close_TN[:, example.n]
    mean, std = closes_T[:stop].mean(), closes_T[:stop].std()
    scaled_T = (closes_T - mean) / std
    np.testing.assert_allclose(task.windows.closes(example.t, example.n, 10), scaled_T[example.t - 9 : example.t + 1])
    np.testing.assert_allclose(task.windows.outcome(example.t, example.n), scaled_T[example.t + 1 : example.t + 11])
    step = np.diff(scaled_T[example.t - 20 : example.t + 1]).std(ddof=1)
    assert task.windows.step_TN[example.t, example.n] == pytest.approx(step)
    assert task.windows.naive_N[example.n] == pytest.approx(np.abs(np.diff(scaled_T[:stop])).mean())


def test_windows_are_those_of_the_seeds_files() -> None:
    panel = market(tickers=2, days=500)
    task = task_of(panel)
    stop = int(task.split.train_T[-1]) + 1
    config = WindowConfig(
        validation_from=panel.dates_T[stop].item(), test_from=panel.dates_T[task.split.test_T[0]].item()
    )
    written = make_windows(panel, 1, config).only("test")
    rows = {int(row): w for w, row in enumerate(written.end_rows_W)}
    compared = 0
    for example in task.examples("test"):
        if example.n == 1 and (w := rows.get(example.t)) is not None:
            np.testing.assert_allclose(task.windows.closes(example.t, 1, 10), written.columns["sequence"][w])
            np.testing.assert_allclose(task.windows.outcome(example.t, 1), written.y_WH[w])
            for name, values_L in task.windows.indicators(example.t, 1).items():
                np.testing.assert_allclose(values_L, written.columns[name][w], rtol=1e-6, atol=1e-9, err_msg=name)
            compared += 1
    assert compared > 100
    assert set(task.windows.indicators(200, 1)) == set(INDICATORS)


def test_questions_have_a_window_and_a_known_outcome() -> None:
    task = task_of(ragged())
    asked = {(e.t, e.n) for split in ("train", "validation", "test") for e in task.examples(split)}
    assert asked
    for t, n in asked:
        assert np.isfinite(task.windows.closes(t, n, 10)).all()
        assert len(task.windows.closes(t, n, 10)) == 10
        assert np.isfinite(task.windows.outcome(t, n)).all()
        assert task.windows.step_TN[t, n] > 0
    assert not any(n == 1 and t >= 320 for t, n in asked)
    last = {split: max(e.t for e in task.examples(split)) for split in ("train", "validation")}
    assert last["train"] + task.horizon < task.split.validation_T[0]
    assert last["validation"] + task.horizon < task.split.test_T[0]


def test_a_ticker_that_cannot_be_scaled_is_not_asked_about_and_a_market_of_them_is_refused() -> None:
    panel = market(tickers=2, days=500)
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN").copy() for name in FIELDS}
    for bar_TN in bars.values():
        bar_TN[:350, 0] = np.nan
    late = replace(panel, **bars)
    assert {e.n for e in task_of(late).examples("test")} == {1}
    for bar_TN in bars.values():
        bar_TN[:350, 1] = np.nan
    with pytest.raises(DataError, match="Give a longer history"):
        task_of(replace(panel, **bars))


@settings(max_examples=10)
@given(t=st.integers(180, 380))
def test_prompts_and_baselines_know_nothing_later(t: int) -> None:
    panel = market(tickers=3, days=400)
    kwargs: dict[str, Any] = {"facts": ["market", "strength", "news"], "statistical": False}
    one, other = task_of(panel, **kwargs), task_of(scrambled_after(panel, max(t, 250)), **kwargs)
    for n in range(3):
        example = one.example_at(t, n)
        assert one.messages(example) == other.messages(example)
        assert one.decisions(example) == other.decisions(example)
        for mine, theirs in zip(one.baselines(), other.baselines(), strict=True):
            assert mine.answer(one, [example]) == theirs.answer(other, [example])


def test_statistical_models_know_nothing_later() -> None:
    panel = market(tickers=2, days=400)
    one, other = task_of(panel), task_of(repriced_after(panel, 300))
    for mine, theirs in zip(one.baselines()[-2:], other.baselines()[-2:], strict=True):
        for t in (250, 300):
            example = one.example_at(t, 1)
            assert mine.answer(one, [example]) == theirs.answer(other, [example])


# prompts and answers ------------------------------------------------------------------------------


def test_the_prompt_holds_all_indicators_and_statistics_of_the_seed(task: ForecastTask) -> None:
    example = task.examples("test")[3]
    (message,) = task.messages(example)
    text = message["content"]
    closes_L = task.windows.closes(example.t, example.n, 10)
    assert "Closes: " + ", ".join(f"{value:.3f}" for value in closes_L) in text
    for name, values_L in task.windows.indicators(example.t, example.n).items():
        assert ", ".join(f"{value:.4g}" for value in values_L) in text, name
    found = {name: float(value[0]) for name, value in window_statistics(closes_L[None, :]).items()}
    for name in ("min", "max", "median"):
        assert f"{name} {found[name]:.4g} on day {found[f'{name}_timestep'] + 1:.0f}" in text
    assert f"mean {found['mean']:.4g}" in text
    assert f"trend {found['trend']:.4g} a day" in text
    assert f"lag 1 {found['lag_1']:.4g}" in text


def test_a_short_prompt_holds_facts_and_closes_in_volatilities(tiny: ForecastTask) -> None:
    example = tiny.examples("test")[3]
    lines = tiny.messages(example)[0]["content"].splitlines()
    assert [line.split()[0].rstrip(":") for line in lines] == ["Market", "Strength", "News", "Closes"]
    assert lines[-1].endswith(" 0.0")
    assert tiny.reasoning(example).split()[0] == "Market"
    assert tiny.reasoning(example) == " ".join(
        f"{line.split()[0].rstrip(':')} {word}." for line, word in zip(lines, tiny.facts(example) or (), strict=False)
    )


def test_instructions_name_days_and_format() -> None:
    task = task_of(market(), embargo=21, horizons=[1, 5, 20], instructions=True)
    system, user = task.messages(task.examples("test")[0])
    assert (system["role"], user["role"]) == ("system", "user")
    assert "after 1, 5, 20 trading days" in system["content"]
    assert "3 plain numbers" in system["content"]
    own = task_of(market(), instructions="Forecast.")
    assert own.messages(own.examples("test")[0])[0]["content"] == "Forecast."


@pytest.mark.parametrize("config", [{}, TINY, {"horizons": [1, 5, 20]}, {"horizons": [1]}])
def test_decisions_are_formatted_and_parsed_back(config: dict[str, Any]) -> None:
    task = task_of(market(tickers=3), embargo=21, **config)
    for example in task.examples("train")[::97]:
        decisions = task.decisions(example)
        assert len(set(decisions)) == len(decisions) == 5
        assert persistence(task, example) in decisions
        for decision in decisions:
            assert len(decision) == len(task.horizons)
            assert task.parse(task.format_answer(decision, task.reasoning(example))) == decision
            if task.action_names:
                assert task.action_name(decision) in task.action_names
            change_H = task.changes(example, decision)
            assert task.path(example, change_H) == decision


def test_both_units_mean_the_same_forecast() -> None:
    panel = market(tickers=3)
    scaled, relative = task_of(panel, decimals=6), task_of(panel, unit="volatility", decimals=6)
    example = scaled.examples("test")[40]
    for one, other in zip(scaled.decisions(example), relative.decisions(example), strict=True):
        mine, theirs = scaled.metric_values(example, one), relative.metric_values(example, other)
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-3)
        assert scaled.rewards(example, "", one)["agreement"] == pytest.approx(
            relative.rewards(example, "", other)["agreement"], abs=1e-3
        )


def test_the_tiny_tokenizer_keeps_a_number_whole(tiny: ForecastTask) -> None:
    from tradeschool.models.load import TinyConfig, build_tokenizer

    tokenizer = build_tokenizer(tiny.tokenizer_texts(200, 0), tiny.special_tokens, TinyConfig(vocabulary=900))
    text = tiny.format_answer(tiny.decisions(tiny.examples("train")[0])[0], "Market trending.")
    tokens = tokenizer(text)["input_ids"]
    assert tokenizer.decode(tokens) == text
    assert len(tokens) < 35


# rewards ------------------------------------------------------------------------------------------


def test_every_component_is_scored_by_hand(task: ForecastTask) -> None:
    example = task.examples("train")[100]
    decision = task.decisions(example)[-1]
    text = task.format_answer(decision, "Trend up.")
    rewards = task.rewards(example, text, decision)
    assert tuple(rewards) == COMPONENTS == tuple(task.weights)
    step, last = task.windows.step_TN[example.t, example.n], task.windows.scaled_TN[example.t, example.n]
    p_H = (np.array(decision) - last) / step
    o_H = (np.array(task.windows.outcome(example.t, example.n)) - last) / step
    h_H = np.arange(1, 11)
    assert np.all(np.abs(o_H) < 4 * np.sqrt(h_H))
    assert rewards["agreement"] == pytest.approx((2 * p_H * o_H / h_H).mean())
    assert rewards["size"] == pytest.approx(-(p_H**2 / h_H).mean())
    mse = ((np.array(decision) - task.windows.outcome(example.t, example.n)) ** 2).mean()
    assert rewards["accuracy"] == pytest.approx(5 / (1 + 10 * mse))
    assert (rewards["format"], rewards["think"], rewards["count"], rewards["tags"]) == (1.0, 0.5, 1.0, 0.5)
    assert task.metric_values(example, decision)["mse"] == pytest.approx(mse)


def test_the_default_reward_is_the_skill_and_the_seeds_is_a_choice(task: ForecastTask) -> None:
    example = task.examples("train")[100]
    still = persistence(task, example)
    text = task.format_answer(still, "Trend flat.")
    assert task.total(task.rewards(example, text, still)) == pytest.approx(
        0.01, abs=2e-3
    )  # the format alone; closes are rounded
    seed = task_of(task.panel, weights={"accuracy": 1, "think": 1, "count": 1, "tags": 1})
    rewards = seed.rewards(example, text, still)
    error = seed.metric_values(example, still)["mse"]
    assert seed.total(rewards) == pytest.approx(5 / (1 + 10 * error) + 0.5 + 1.0 + 0.5)


def test_the_mean_of_the_true_paths_has_the_highest_mean_reward(tiny: ForecastTask) -> None:
    examples = tiny.examples("train")[::11]
    outcome_QH = np.array([tiny.outcome(example) for example in examples])
    mean = tuple(outcome_QH.mean(axis=0))

    def reward(path: tuple[float, ...]) -> float:
        return float(np.mean([tiny.total(tiny.rewards(example, "", path)) for example in examples]))

    for change in (0.3, -0.3):
        assert reward(mean) > reward(tuple(value + change for value in mean))


def test_unreadable_answers_are_worth_less_than_persistence_and_components_without_an_outcome_stay() -> None:
    task = task_of(market(tickers=3))
    for example in task.examples("train")[::97]:
        unreadable = task.rewards(example, "?", None)
        assert unreadable["accuracy"] == unreadable["agreement"] == 0
        assert task.total(unreadable) < 0
    late = task.example_at(399, 0)
    rewards = task.rewards(late, "?", persistence(task, late))
    assert rewards["agreement"] is None
    assert rewards["accuracy"] is None
    assert rewards["size"] == pytest.approx(0.0, abs=1e-4)  # of the rounded close
    assert set(task.known_components) == set(COMPONENTS) - {"agreement", "accuracy"}


@settings(max_examples=200)
@given(st.text(alphabet="0123456789.,-+eEnaif[]<>/ \nswerthk%$", max_size=100))
def test_fuzzed_completions_never_raise(tiny: ForecastTask, noise: str) -> None:
    example = tiny.examples("train")[0]
    for text in (noise, f"<think>x</think><answer>{noise}</answer>", tiny.format_answer([0.0] * 10, noise)):
        try:
            action = tiny.parse(text)
        except ParseError:
            action = None
        rewards = tiny.rewards(example, text, action)
        assert all(value is not None and math.isfinite(value) for value in rewards.values())
        assert all(map(math.isfinite, tiny.trace_metrics(example, action).values()))


# what is imitated ---------------------------------------------------------------------------------


def test_sft_answers_are_decisions_of_the_expert_and_of_hindsight(tiny: ForecastTask) -> None:
    pairs = tiny.sft_examples("train", 400, seed=0)
    assert len(pairs) == 400
    assert pairs == tiny.sft_examples("train", 400, seed=0) != tiny.sft_examples("train", 400, seed=1)
    decisions = [tiny.parse(text) for _, text in pairs]
    assert all(action in tiny.decisions(example) for (example, _), action in zip(pairs, decisions, strict=True))
    hindsight = [
        action == tiny.hindsight_decision(example) for (example, _), action in zip(pairs, decisions, strict=True)
    ]
    assert sum(hindsight) >= 200
    places = Counter(tiny.decisions(e).index(tiny.parse(text)) for e, text in pairs)
    assert min(places.values()) >= 40  # each decision by hindsight, and one of them the expert's as well
    alone = task_of(tiny.panel, hindsight_share=0.0, **TINY)
    assert {text for _, text in alone.sft_examples("train", 50, 0)} <= {
        alone.expert_answer(example) for example in alone.examples("train")
    }


def test_hindsight_is_the_decision_nearest_to_the_true_path(tiny: ForecastTask) -> None:
    for example in tiny.examples("train")[::53]:
        outcome_H = np.array(tiny.outcome(example))
        errors = [(((np.array(one) - outcome_H) ** 2) / np.arange(1, 11)).sum() for one in tiny.decisions(example)]
        assert tiny.hindsight_decision(example) == tiny.decisions(example)[int(np.argmin(errors))]
        assert tiny.label(example) in tiny.action_names
    assert tiny.hindsight_answer(tiny.example_at(499, 0)) is None
    assert tiny.label(tiny.example_at(499, 0)) is None


def test_the_expert_is_the_simple_forecast_that_was_best_in_training(tiny: ForecastTask) -> None:
    some = tiny.examples("train")
    errors = {
        name: np.mean([tiny.metric_values(e, forecast(e))["mse"] for e in some])
        for name, forecast in forecasters.simple(tiny).items()
    }
    mine = np.mean([tiny.metric_values(e, tiny.expert(e))["mse"] for e in some])
    assert mine == pytest.approx(min(errors.values()))


# baselines ----------------------------------------------------------------------------------------


def test_simple_forecasts_by_hand() -> None:
    task = task_of(market(tickers=2), embargo=21, horizons=[1, 5, 20], decimals=6, statistical=False)
    example = task.examples("test")[30]
    closes_L = task.windows.closes(example.t, example.n, 10)
    history_L = task.windows.closes(example.t, example.n, forecasters.HISTORY)
    paths = {name: np.array(forecast(example)) for name, forecast in forecasters.simple(task).items()}
    h_H = np.array([1, 5, 20])
    drift = (history_L[-1] - history_L[0]) / (len(history_L) - 1)
    np.testing.assert_allclose(paths["persistence"], closes_L[-1], atol=1e-6)
    np.testing.assert_allclose(paths["drift"], closes_L[-1] + drift * h_H, atol=1e-6)
    np.testing.assert_allclose(paths["moving average"], closes_L.mean(), atol=1e-6)
    slope, level = np.polyfit(range(10), closes_L, 1)
    np.testing.assert_allclose(paths["linear extrapolation"], level + slope * (9 + h_H), atol=1e-6)
    for baseline in task.baselines():
        if baseline.name == "buy and hold":
            assert task.positions(example, task.parse(baseline.answer(task, [example])[0])) == 1.0


@pytest.mark.filterwarnings("ignore")  # of statsmodels, about starting values
def test_statistical_forecasts_are_those_of_statsmodels() -> None:
    task = task_of(market(tickers=2, days=600), embargo=21, horizons=[1, 5, 20], decimals=6)
    example = task.examples("test")[60]
    rows_B, training = task.windows.own_closes(example.n)
    closes_B = task.windows.scaled_TN[rows_B, example.n]
    for baseline in task.baselines()[-2:]:
        assert isinstance(baseline, forecasters.Forecaster)
        forecast = baseline._forecast
        assert isinstance(forecast, forecasters.FittedForecast)
        params = forecast._model(closes_B[:training]).fit(disp=0, maxiter=forecasters.FIT_STEPS).params
        expected_H = forecast._model(closes_B[: example.t + 1]).filter(params).forecast(20)[[0, 4, 19]]
        np.testing.assert_allclose(forecast(example), expected_H, atol=2e-6)


def test_statistical_baselines_without_statsmodels_are_refused(
    task: ForecastTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"tradeschool\[forecast\]"):
        task.baselines()


# evaluation ---------------------------------------------------------------------------------------


def predictions_of(task: ForecastTask, policies: list[Answerer]) -> tuple[Any, list[Predictions]]:
    examples = task.examples("test")
    questions = evaluation_set_of(task, task.panel, examples, "test")
    return questions, [
        traces_to_predictions(questions, policy.name, policy.kind, examples, rollout(policy, task, examples, {}))
        for policy in policies
    ]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    tiny = task_of(market(tickers=4, days=500, edge=0.4), **TINY, horizons=[1, 2, 3])

    def hindsight(example: Example) -> tuple[float, ...]:
        return tiny.hindsight_decision(example) or ()

    knows = forecasters.Forecaster("knows", "trained", hindsight)
    silent = Says("no idea", name="silent")
    half = Says("no idea", tiny.format_answer([0.0] * 3, "x"), name="half")
    return compare(*predictions_of(tiny, [*tiny.baselines(), knows, half, silent]))


def test_persistence_has_no_skill_and_hindsight_beats_every_baseline(comparison: Comparison) -> None:
    skill = comparison.row("persistence").metrics["skill"]
    assert (skill.value, skill.low, skill.high) == (0.0, 0.0, 0.0)
    knows = comparison.row("knows")
    assert knows.verdict == "better"
    assert knows.metrics["skill"].low > 0.3
    assert knows.metrics["dm"].value > 3
    assert knows.metrics["dm_p"].value < 0.01
    assert knows.metrics["ic"].value > 0.7
    assert knows.metrics["direction"].value > 0.9
    assert knows.metrics["mse"].value < comparison.row("persistence").metrics["mse"].value
    assert math.isnan(knows.metrics["mse"].low)  # the level of an error depends on how volatile the dates were
    for day in (1, 2, 3):
        assert knows.metrics[f"skill_{day}"].value > 0
    naive = {"persistence", "drift", "moving average", "linear extrapolation", "buy and hold"}
    assert {row.policy for row in comparison.rows} >= naive | {"ARIMA", "exponential smoothing"}


def test_skill_in_mse_is_one_less_the_ratio_of_errors(comparison: Comparison) -> None:
    naive = comparison.row("persistence").metrics["mse"].value
    for name in ("drift", "moving average", "knows", "ARIMA"):
        row = comparison.row(name)
        assert row.metrics["mse_skill"].value == pytest.approx(1 - row.metrics["mse"].value / naive)


def test_the_skill_is_the_mean_default_reward_over_the_error_of_persistence(tiny: ForecastTask) -> None:
    for example in tiny.examples("test")[::101]:
        decision = tiny.decisions(example)[1]
        values, rewards = tiny.metric_values(example, decision), tiny.rewards(example, "", decision)
        outcome_H = np.array(tiny.outcome(example))
        assert values["persistence_error"] == pytest.approx((outcome_H**2 / np.arange(1, 11)).mean())
        if np.all(np.abs(outcome_H) < 4 * np.sqrt(np.arange(1, 11))):
            assert rewards["agreement"] is not None
            assert rewards["size"] is not None
            assert values["gain"] == pytest.approx(rewards["agreement"] + rewards["size"])


def test_the_diebold_mariano_test_agrees_with_the_interval_of_the_skill(comparison: Comparison) -> None:
    for row in comparison.rows:
        if row.policy not in ("persistence", "silent"):
            assert row.metrics["skill"].excludes_zero == (row.metrics["dm_p"].value < 0.05), row.policy


def test_leaving_questions_unanswered_does_not_pay(comparison: Comparison) -> None:
    half, silent = comparison.row("half"), comparison.row("silent")
    assert silent.metrics["skill"].value < half.metrics["skill"].value < 0
    assert half.metrics["parse_errors"].value == pytest.approx(0.5, abs=0.01)
    assert silent.verdict == "worse"


def test_a_comparison_is_written_and_read_back(comparison: Comparison) -> None:
    again = Comparison.from_json(comparison.to_json())
    assert again.row("knows").daily["skill"].sum_T == pytest.approx(comparison.row("knows").daily["skill"].sum_T)
    total = again.row("knows").daily["skill"]
    assert sum(total.sum_T) / sum(total.count_T) == pytest.approx(again.row("knows").metrics["skill"].value)


def test_positions_follow_sign_and_size(tiny: ForecastTask) -> None:
    example = tiny.examples("test")[0]
    full = tiny.config.full_position * math.sqrt(10)
    assert tiny.positions(example, (0.0,) * 10) == 0
    assert tiny.positions(example, (0.0,) * 9 + (full / 2,)) == pytest.approx(0.5)
    assert tiny.positions(example, (0.0,) * 9 + (-9 * full,)) == -1
    assert tiny.positions(example, None) is None


def test_figures_are_drawn(tiny: ForecastTask) -> None:
    from tradeschool.evaluate.charts import task_figure

    _, predictions = predictions_of(tiny, [*tiny.baselines()[:2], Says("no idea", name="silent")])
    values = {p.policy: p.values for p in predictions}
    drawn = [task_figure(figure, values) for figure in tiny.figures()]
    assert len(drawn) == 4
    assert all("drift" in svg for svg in drawn)
    assert any("true path" in svg for svg in drawn)
    assert len(figures([5])) == 1


def test_a_table_learns_the_edge_from_the_same_facts() -> None:
    task = task_of(market(tickers=6, days=700, edge=0.5), **TINY, horizons=[1, 3], statistical=False)
    learned = table.learn(task, task.examples("train")[::4], task.examples("validation")[::4])
    found = compare(*predictions_of(task, [*task.baselines(), learned]))
    assert found.row(table.NAME).metrics["skill"].low > 0


# settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"horizons": [5, 1]}, "ascending"),
        ({"horizons": []}, "at least 1"),
        ({"grid": [0.1, 0.2]}, "with 0 among them"),
        ({"sections": []}, "at least 1"),
        ({"inputs": 2}, "greater than or equal to 4"),
        ({"weights": {"agreement": -1}}, "greater than or equal to 0"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ForecastConfig(**config)


@pytest.mark.parametrize(
    ("config", "cure"),
    [
        ({"facts": ["strenght"]}, "facts are .*strength"),
        ({"sections": ["statistic"]}, "'statistics'"),
        ({"weights": {"agreemnt": 1}}, "'agreement'"),
    ],
)
def test_misspelt_names_are_corrected(config: dict[str, Any], cure: str) -> None:
    with pytest.raises(ValidationError, match=cure):
        ForecastConfig(**config)
