"""The leaderboard stage: which agents play, what is compared, and what is written."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tiny_models
from boards import Scripted
from markets import market, task_of
from pydantic import ValidationError
from rich.console import Console

from tradeschool.errors import RecipeError
from tradeschool.evaluate.leaderboard import stage
from tradeschool.evaluate.leaderboard.agents import AgentSpec
from tradeschool.evaluate.leaderboard.ranking import adjusted, difference, verdict_of
from tradeschool.evaluate.leaderboard.results import ResultsStore, traces_path
from tradeschool.evaluate.leaderboard.stage import Config, run
from tradeschool.market.splits import Part, Split, split_rows
from tradeschool.models.load import ModelConfig
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.trace import read_traces
from tradeschool.train.stage import CheckContext, Context


@pytest.fixture(scope="module")
def task() -> TradeTask:
    panel = market(tickers=4, days=400)
    config = TradeConfig(level="Easy", env={"days": 4})
    return TradeTask(config, panel, split_rows(panel, (0.6, 0.1, 0.3), embargo=16, warmup=60))


@pytest.fixture
def context(task: TradeTask, tmp_path: Path) -> Context:
    folder = tmp_path / "1-leaderboard"
    folder.mkdir()
    versions = {"task": task.version, "data": "d", "tradeschool": "0"}
    console = Console(record=True, width=160, quiet=False, file=(tmp_path / "out.txt").open("w"))
    return Context(folder, tmp_path, task.panel, task, ModelConfig(), {}, 3, console, versions)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Language models that answer with their folder's name; the list holds those that were built."""
    made: list[str] = []

    def agent(name: str, source: str, config: Any, *, batch: int, **options: Any) -> AgentSpec:
        def build(envs: Any, on_progress: Any) -> Scripted:
            made.append(name)
            return Scripted(name, Path(source).name)

        return AgentSpec(name, {"agent": "model", "source": source, **options}, build, "text", batch=batch)

    monkeypatch.setattr(stage, "model_agent", agent)
    monkeypatch.setattr(stage, "base_source", lambda *args: "gibberish")
    return made


def config(**settings: Any) -> Config:
    return Config.model_validate(
        {"stage": "leaderboard", "name": "leaderboard", "episodes": 8, "seed": 3, "rules": ["hold", "momentum 5d"]}
        | settings
    )


def with_weights(context: Context, **models: str) -> Context:
    return replace(context, models={name: Path(text) for name, text in models.items()})


def written(context: Context) -> Any:
    return json.loads((context.folder / "leaderboard.json").read_text(encoding="utf-8"))


def rows(context: Context) -> dict[str, Any]:
    return {row["policy"]: row for row in written(context)["rows"]}


def test_rules_and_every_model_of_the_run_play_the_same_episodes(context: Context, models: list[str]) -> None:
    result = run(config(), with_weights(context, sft="HOLD", grpo="BUY 1"))
    assert models == ["base model (tiny)", "sft", "grpo"]
    found = rows(context)
    assert set(found) == {"buy and hold", "hold", "momentum 5d", "base model (tiny)", "sft", "grpo"}
    assert {row["metrics"]["episodes"]["value"] for row in found.values()} == {8}
    grades = {name: row["metrics"]["grade"] for name, row in found.items()}
    # An unreadable answer does nothing; buying all at once is the market.
    assert grades["base model (tiny)"] == grades["sft"] == grades["hold"]
    assert grades["grpo"] == grades["buy and hold"]
    assert found["base model (tiny)"]["metrics"]["refused"]["value"] == 4
    assert result.summary["grade/grpo"] == pytest.approx(0.575)
    assert written(context)["benchmark"]["level"] == "custom"
    assert written(context)["benchmark"]["seed"] == 3


def test_every_model_is_compared_with_the_one_before_and_with_the_best_rule(
    context: Context, models: list[str]
) -> None:
    run(config(), with_weights(context, sft="HOLD", grpo="BUY 1"))
    content = written(context)
    pairs = [(one["policy"], one["against"]) for one in content["differences"]]
    best = content["best_rule"]["agent"]
    assert best in ("buy and hold", "hold", "momentum 5d")
    assert pairs == [("sft", "base model (tiny)"), ("grpo", "sft")] + [
        (name, best) for name in ("base model (tiny)", "sft", "grpo")
    ]
    assert content["differences"][0]["verdict"] == "same"
    gain = content["differences"][1]
    means = {name: row["metrics"]["grade"]["value"] for name, row in rows(context).items()}
    assert gain["interval"]["value"] == pytest.approx(means["grpo"] - means["sft"])
    assert gain["episodes"] == 8


def turning(context: Context, **parts: float) -> Context:
    """The same market, in which prices change by so much a day in these parts of the dates."""
    assert isinstance(context.task, TradeTask)
    split, panel = context.task.split, context.task.panel
    drift_T = np.zeros(panel.shape[0])
    for name, change in parts.items():
        first, last = split.ends(cast("Part", name))
        drift_T[first : last + 1] = change
    scale_T1 = np.exp(np.cumsum(drift_T))[:, None]
    bars = {f"{name}_TN": getattr(panel, f"{name}_TN") * scale_T1 for name in ("open", "high", "low", "close")}
    turned = replace(panel, **bars)
    return replace(context, task=TradeTask(context.task.config, turned, split), panel=turned)


@pytest.mark.parametrize(("validation", "best"), [(0.05, "buy and hold"), (-0.05, "hold")])
def test_the_best_rule_is_chosen_on_earlier_dates(
    context: Context, models: list[str], validation: float, best: str
) -> None:
    """Prices fall on the test dates: holding nothing is best there, whatever was best before."""
    turned = turning(with_weights(context, grpo="BUY 1"), validation=validation, test=-0.05)
    run(config(rules=["hold"], base=False), turned)
    content = written(turned)
    assert content["rows"][0]["policy"] == "hold"
    assert (content["best_rule"]["agent"], content["best_rule"]["split"]) == (best, "validation")
    assert [one["against"] for one in content["differences"]] == [best]
    assert isinstance(turned.task, TradeTask)
    last = turned.panel.dates_T[turned.task.split.ends("validation")[1]].astype("datetime64[D]")
    chosen = json.loads((turned.folder / "results-validation.json").read_text(encoding="utf-8"))["results"]
    assert {one["benchmark"]["last"] for one in chosen} == {str(last)}
    assert str(last) < content["benchmark"]["first"]
    mean = next(np.mean(one["grades"]) for one in chosen if one["agent"] == best)
    assert content["best_rule"]["grade"]["value"] == pytest.approx(mean)


def test_the_best_rule_is_chosen_on_training_dates_if_no_others_are_earlier(
    context: Context, models: list[str]
) -> None:
    turned = turning(with_weights(context, grpo="BUY 1"), train=0.05, validation=-0.05)
    run(config(rules=["hold"], base=False, split="validation"), turned)
    assert (written(turned)["best_rule"]["split"], written(turned)["best_rule"]["agent"]) == ("train", "buy and hold")
    assert isinstance(context.task, TradeTask)
    short = replace(context.task.split, validation_T=context.task.split.validation_T[:3])
    task = TradeTask(context.task.config, context.task.panel, short)
    run(config(rules=["hold"], base=False), replace(with_weights(context, grpo="BUY 1"), task=task))
    assert written(context)["best_rule"]["split"] == "train"


def test_differences_are_judged_together(context: Context, models: list[str]) -> None:
    run(config(rules=["hold"], base=False), with_weights(context, a="HOLD", b="BUY 0.5", c="BUY 1"))
    results = {one.agent: one for one in ResultsStore(context.folder / "results.json").results}
    found = written(context)["differences"]
    alone = [difference(results[one["policy"]], results[one["against"]]) for one in found]
    assert len(alone) == 5
    together = adjusted(alone)
    only_here = [number for number, one in enumerate(found) if one["against"] != "buy and hold"]
    assert [found[at]["p_value"] for at in only_here] == [together[at].p_value for at in only_here]
    assert [found[at]["verdict"] for at in only_here] == [verdict_of(together[at]) for at in only_here]
    assert [one.p_value for one in together] != [one.p_value for one in alone]
    # A pair that is also in the table has the same verdict there.
    both = [one for one in found if one["against"] == "buy and hold"]
    assert both
    assert all(one["verdict"] == rows(context)[one["policy"]]["verdict"] for one in both)


def test_unusable_answers_are_reported(context: Context, models: list[str]) -> None:
    result = run(config(base=False), with_weights(context, sft="gibberish"))
    assert (result.summary["unread/sft"], result.summary["out_of_room/sft"]) == (1.0, 0.0)
    assert not any("hold" in name for name in result.summary if not name.startswith("grade/"))
    found = {name: row["metrics"] for name, row in rows(context).items()}
    assert (found["sft"]["unread"]["value"], found["sft"]["out_of_room"]["value"]) == (1.0, 0.0)
    assert "unread" not in found["hold"]
    text = context.console.export_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("sft "))
    assert "100.0" in line


def test_traces_hold_whole_conversations_and_all_versions(context: Context, models: list[str]) -> None:
    run(config(base=False), with_weights(context, grpo="BUY 1"))
    traces = list(read_traces(traces_path(context.folder, "grpo")))
    assert [trace.key for trace in traces] == [f"custom#{seed}" for seed in range(3, 11)]
    assert [message["role"] for message in traces[0].messages] == ["system"] + ["user", "assistant"] * 4
    assert set(traces[0].versions) >= {"task", "data", "tradeschool", "agent_hash", "env_version", "level"}
    assert set(traces[0].rewards) == {"risk", "pnl", "drawdown", "activity"}


def test_a_resumed_stage_asks_no_model_twice(
    context: Context, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = with_weights(context, sft="HOLD", grpo="BUY 1")

    def cut(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_outcome", cut)
        with pytest.raises(KeyboardInterrupt):
            run(config(), both)
    assert not (context.folder / "leaderboard.json").exists()
    run(config(), both)
    assert models == ["base model (tiny)", "sft", "grpo"]
    assert len(rows(context)) == 6


def test_a_model_that_is_interrupted_in_its_episodes_plays_them_again(
    context: Context, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, generate = with_weights(context, sft="HOLD"), Scripted.generate

    def cut(self: Scripted, conversations: Any, n: int = 1) -> Any:
        if len(conversations[0]) > 4:
            raise KeyboardInterrupt
        return generate(self, conversations, n)

    with monkeypatch.context() as patch:
        patch.setattr(Scripted, "generate", cut)
        with pytest.raises(KeyboardInterrupt):
            run(config(base=False), one)
    assert not list(context.folder.glob("traces-*"))
    run(config(base=False), one)
    assert models == ["sft", "sft"]
    assert len(list(read_traces(traces_path(context.folder, "sft")))) == 8


def test_models_are_chosen_by_name(context: Context, models: list[str]) -> None:
    run(config(models=["grpo"], base=False), with_weights(context, sft="HOLD", grpo="BUY 1"))
    assert models == ["grpo"]


def test_without_models_the_rules_play_alone(context: Context, models: list[str]) -> None:
    run(config(base=False), context)
    assert set(rows(context)) == {"buy and hold", "hold", "momentum 5d"}
    assert written(context)["differences"] == []
    assert not list(context.folder.glob("traces-*"))


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError, match="Did you mean 'momentum 5d'"):
        config(rules=["momentun"])
    assert config(rules=[]).rules == ["buy and hold"]
    panel = market(tickers=3, days=300)
    with pytest.raises(RecipeError, match="stages.leaderboard: .* trading episodes"):
        stage.check(config(), checked(task_of(panel), panel))


def checked(task: Any, panel: Any) -> CheckContext:
    return CheckContext(task, panel, cast("Split", None), ModelConfig(), seed=0)


def test_dates_that_hold_no_episode_are_refused_before_training(task: TradeTask) -> None:
    stage.check(config(), checked(task, task.panel))
    split = replace(task.split, validation_T=task.split.validation_T[:3])
    short = TradeTask(task.config, task.panel, split)
    stage.check(config(), checked(short, task.panel))  # the best rule can be chosen on the training dates
    with pytest.raises(RecipeError, match="stages.leaderboard.split"):
        stage.check(config(split="validation"), checked(short, task.panel))
    split = replace(split, train_T=split.train_T[:3])
    with pytest.raises(RecipeError, match="stages.leaderboard.split"):
        stage.check(config(), checked(TradeTask(task.config, task.panel, split), task.panel))


def test_a_real_language_model_plays(context: Context, tmp_path: Path) -> None:
    """A model of random weights: its answers are nonsense, and all of it is recorded."""
    folder = tiny_models.folder(tmp_path / "tiny", max_position_embeddings=2048)
    real = replace(context, models={"sft": folder}, model=ModelConfig(base=str(folder)))
    run(config(rules=["hold"], episodes=3, max_new_tokens=5, batch_size=2), real)
    assert set(rows(real)) == {"buy and hold", "hold", "base model (tiny)", "sft"}
    traces = list(read_traces(real.folder / "traces-sft.jsonl"))
    assert [len(trace.messages) for trace in traces] == [9, 9, 9]
    assert next(one["verdict"] for one in written(real)["differences"] if one["policy"] == "sft") == "same"


def test_unreadable_answers_and_exceeded_contexts_are_recorded(context: Context, tmp_path: Path) -> None:
    narrow = tiny_models.folder(tmp_path / "narrow", max_position_embeddings=500)
    wide = tiny_models.folder(tmp_path / "wide", max_position_embeddings=2048)
    models = replace(context, models={"narrow": narrow, "wide": wide}, model=ModelConfig(base=str(wide)))
    run(config(rules=["hold"], episodes=2, max_new_tokens=5, base=False), models)
    figures = {one.agent: one.figures for one in ResultsStore(context.folder / "results.json").results}
    assert figures["narrow"] == {"unread": 1.0, "out_of_room": 1.0}
    assert figures["wide"] == {"unread": 1.0, "out_of_room": 0.0}
    assert figures["hold"] == {}
    for name, stop in (("narrow", "max_tokens"), ("wide", "answered")):
        traces = list(read_traces(context.folder / f"traces-{name}.jsonl"))
        assert {trace.stop for trace in traces} == {stop}
        for trace in traces:
            assert trace.metrics["unread"] == [message["role"] for message in trace.messages].count("assistant")
