"""The leaderboard stage: who plays, what is compared with what, and what is written."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from boards import Says
from markets import market, task_of
from pydantic import ValidationError
from rich.console import Console

from tradeschool.errors import RecipeError
from tradeschool.evaluate.leaderboard import stage
from tradeschool.evaluate.leaderboard.rivals import Rival
from tradeschool.evaluate.leaderboard.stage import Config, run
from tradeschool.market.splits import split_rows
from tradeschool.models.load import ModelConfig
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.trace import read_traces
from tradeschool.train.stage import Context


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
def talkers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Language models that say what their folder's name is; the list holds who was made."""
    made: list[str] = []

    def rival(name: str, source: str, config: Any, *, batch: int, **options: Any) -> Rival:
        def make(arena: Any, tell: Any) -> Says:
            made.append(name)
            return Says(name, Path(source).name)

        return Rival(name, {"agent": "model", "source": source, **options}, make, "text", batch=batch)

    monkeypatch.setattr(stage, "model_rival", rival)
    monkeypatch.setattr(stage, "_base", lambda context: "gibberish")
    return made


def config(**settings: Any) -> Config:
    return Config.model_validate(
        {"stage": "leaderboard", "name": "leaderboard", "episodes": 8, "rules": ["hold", "momentum"]} | settings
    )


def with_models(context: Context, **models: str) -> Context:
    from dataclasses import replace

    return replace(context, models={name: Path(text) for name, text in models.items()})


def written(context: Context) -> Any:
    return json.loads((context.folder / "leaderboard.json").read_text(encoding="utf-8"))


def test_rules_and_every_model_of_the_run_play_the_same_episodes(context: Context, talkers: list[str]) -> None:
    result = run(config(), with_models(context, sft="HOLD", grpo="BUY 1"))
    assert talkers == ["untrained", "sft", "grpo"]
    found = {row["agent"]: row for row in written(context)["standings"]}
    assert set(found) == {"buy and hold", "hold", "momentum", "untrained", "sft", "grpo"}
    assert {row["episodes"] for row in found.values()} == {8}
    # Who says nothing that can be read does nothing; who buys all at once is the market.
    assert found["untrained"]["grade"] == found["sft"]["grade"] == found["hold"]["grade"]
    assert found["grpo"]["grade"] == found["buy and hold"]["grade"]
    assert found["untrained"]["refused"] == 4
    assert result.summary["grade/grpo"] == pytest.approx(0.575)
    assert written(context)["edition"]["level"] == "custom"
    assert written(context)["edition"]["seed"] == 3


def test_every_model_is_compared_with_the_one_before_and_with_the_best_rule(
    context: Context, talkers: list[str]
) -> None:
    run(config(), with_models(context, sft="HOLD", grpo="BUY 1"))
    content = written(context)
    pairs = [(one["first"], one["second"]) for one in content["differences"]]
    order = [row["agent"] for row in content["standings"]]
    best = next(name for name in order if name in ("buy and hold", "hold", "momentum"))
    assert pairs == [("sft", "untrained"), ("grpo", "sft")] + [(name, best) for name in ("untrained", "sft", "grpo")]
    assert content["differences"][0]["verdict"] == "same"
    gain = content["differences"][1]
    means = {row["agent"]: row["grade"]["mean"] for row in content["standings"]}
    assert gain["mean"] == pytest.approx(means["grpo"] - means["sft"])
    assert "grpo less sft" in context.console.export_text()


def test_traces_hold_whole_conversations_and_all_versions(context: Context, talkers: list[str]) -> None:
    run(config(untrained=False), with_models(context, grpo="BUY 1"))
    traces = list(read_traces(context.folder / "traces-grpo.jsonl"))
    assert [trace.key for trace in traces] == [f"custom#{seed}" for seed in range(3, 11)]
    assert [message["role"] for message in traces[0].messages] == ["system"] + ["user", "assistant"] * 4
    assert set(traces[0].versions) >= {"task", "data", "tradeschool", "env_version", "level_version", "data_hash"}
    assert set(traces[0].rewards) == {"risk", "pnl", "drawdown", "activity"}


def test_a_stage_that_was_cut_off_asks_nobody_twice(
    context: Context, talkers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = with_models(context, sft="HOLD", grpo="BUY 1")

    def cut(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "_write", cut)
        with pytest.raises(KeyboardInterrupt):
            run(config(), both)
    assert not (context.folder / "leaderboard.json").exists()
    run(config(), both)
    assert talkers == ["untrained", "sft", "grpo"]
    assert len(written(context)["standings"]) == 6


def test_models_are_chosen_by_name(context: Context, talkers: list[str]) -> None:
    run(config(models=["grpo"], untrained=False), with_models(context, sft="HOLD", grpo="BUY 1"))
    assert talkers == ["grpo"]
    with pytest.raises(RecipeError, match="Did you mean 'grpo'"):
        run(config(models=["gpro"]), with_models(context, grpo="HOLD"))


def test_without_models_the_rules_play_alone(context: Context, talkers: list[str]) -> None:
    run(config(untrained=False), context)
    assert [row["agent"] for row in written(context)["standings"]] != []
    assert written(context)["differences"] == []
    assert not list(context.folder.glob("traces-*"))


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError, match="Did you mean 'momentum'"):
        config(rules=["momentun"])
    assert config(rules=[]).rules == ["buy and hold"]
    panel = market(tickers=3, days=300)
    with pytest.raises(RecipeError, match="stages.leaderboard: a leaderboard plays trading episodes"):
        stage.check_task(config(), task_of(panel))


def test_a_real_language_model_plays(context: Context, tmp_path: Path) -> None:
    """A model of random weights: what it says is nonsense, and all of it is recorded."""
    from dataclasses import replace

    folder = tiny_models.folder(tmp_path / "tiny", max_position_embeddings=2048)
    real = replace(context, models={"sft": folder}, model=ModelConfig(base=str(folder)))
    run(config(rules=["hold"], episodes=3, max_new_tokens=5, batch_size=2), real)
    content = written(real)
    assert {row["agent"] for row in content["standings"]} == {"buy and hold", "hold", "untrained", "sft"}
    traces = list(read_traces(real.folder / "traces-sft.jsonl"))
    assert [len(trace.messages) for trace in traces] == [9, 9, 9]
    assert next(one["verdict"] for one in content["differences"] if one["first"] == "sft") == "same"
