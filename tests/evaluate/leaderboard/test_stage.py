"""The leaderboard stage: who plays, what is compared with what, and what is written."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tiny_models
from boards import Says
from markets import market, task_of
from pydantic import ValidationError
from rich.console import Console

from tradeschool.env.versions import KEYS
from tradeschool.errors import RecipeError
from tradeschool.evaluate.leaderboard import stage
from tradeschool.evaluate.leaderboard.book import Book
from tradeschool.evaluate.leaderboard.rivals import Rival
from tradeschool.evaluate.leaderboard.stage import Config, run
from tradeschool.evaluate.leaderboard.standing import agreed, difference, judged, standings
from tradeschool.market.splits import Part, split_rows
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
    best = content["best_rule"]["agent"]
    assert best in ("buy and hold", "hold", "momentum")
    assert pairs == [("sft", "untrained"), ("grpo", "sft")] + [(name, best) for name in ("untrained", "sft", "grpo")]
    assert content["differences"][0]["verdict"] == "same"
    gain = content["differences"][1]
    means = {row["agent"]: row["grade"]["mean"] for row in content["standings"]}
    assert gain["mean"] == pytest.approx(means["grpo"] - means["sft"])
    assert "grpo less sft" in context.console.export_text()


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
def test_the_best_rule_is_chosen_on_days_before_those_that_are_compared(
    context: Context, talkers: list[str], validation: float, best: str
) -> None:
    """Prices fall in the test rows: who holds nothing has the higher grade there, whatever was best before."""
    turned = turning(with_models(context, grpo="BUY 1"), validation=validation, test=-0.05)
    run(config(rules=["hold"], untrained=False), turned)
    content = written(turned)
    assert next(row["agent"] for row in content["standings"]) == "hold"
    assert (content["best_rule"]["agent"], content["best_rule"]["split"]) == (best, "validation")
    assert [one["second"] for one in content["differences"]] == [best]
    assert f"Best of 2 rules, chosen on the validation rows: {best}, grade" in turned.console.export_text()
    assert isinstance(turned.task, TradeTask)
    last = turned.panel.dates_T[turned.task.split.ends("validation")[1]].astype("datetime64[D]")
    chosen = json.loads((turned.folder / "rows-validation.json").read_text(encoding="utf-8"))["rows"]
    assert {row["edition"]["last"] for row in chosen} == {str(last)}
    assert str(last) < content["edition"]["first"]
    mean = next(np.mean(row["grades"]) for row in chosen if row["agent"] == best)
    assert content["best_rule"]["grade"]["mean"] == pytest.approx(mean)


def test_the_best_rule_is_chosen_on_training_rows_where_no_others_are_before(
    context: Context, talkers: list[str]
) -> None:
    turned = turning(with_models(context, grpo="BUY 1"), train=0.05, validation=-0.05)
    run(config(rules=["hold"], untrained=False, split="validation"), turned)
    assert (written(turned)["best_rule"]["split"], written(turned)["best_rule"]["agent"]) == ("train", "buy and hold")
    assert isinstance(context.task, TradeTask)
    short = replace(context.task.split, validation_T=context.task.split.validation_T[:3])
    task = TradeTask(context.task.config, context.task.panel, short)
    run(config(rules=["hold"], untrained=False), replace(with_models(context, grpo="BUY 1"), task=task))
    assert written(context)["best_rule"]["split"] == "train"


def test_differences_are_judged_together(context: Context, talkers: list[str]) -> None:
    run(config(rules=["hold"], untrained=False), with_models(context, a="HOLD", b="BUY 0.5", c="BUY 1"))
    rows = {row.agent: row for row in Book(context.folder / "rows.json").rows}
    found = written(context)["differences"]
    alone = [difference(rows[one["first"]], rows[one["second"]]) for one in found]
    assert len(alone) == 5
    _, together = agreed(standings(list(rows.values())), judged(alone))
    assert [one["p_value"] for one in found] == [None if math.isnan(one.p_value) else one.p_value for one in together]
    assert [one["verdict"] for one in found] == [one.verdict for one in together]
    assert [one.p_value for one in together] != [one.p_value for one in alone]
    # Of a pair that stands in the table, too, the table says the same.
    of_table = {one["agent"]: one["verdict"] for one in written(context)["standings"]}
    both = [one for one in found if one["second"] == "buy and hold"]
    assert both
    assert [one["verdict"] for one in both] == [of_table[one["first"]] for one in both]


def test_what_could_not_be_read_and_who_had_no_room_is_told(
    context: Context, talkers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Says, "figures", {"unread": 0.25, "out_of_room": 0.125}, raising=False)
    result = run(config(untrained=False), with_models(context, sft="HOLD"))
    assert (result.summary["unread/sft"], result.summary["out_of_room/sft"]) == (0.25, 0.125)
    assert not any("hold" in name for name in result.summary if not name.startswith("grade/"))
    found = {row["agent"]: row for row in written(context)["standings"]}
    assert (found["sft"]["unread"], found["sft"]["out_of_room"]) == (0.25, 0.125)
    assert "unread" not in found["hold"]
    text = context.console.export_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("sft"))
    assert "25.0%" in line
    assert "12.5%" in line
    assert "unread: answers that could not be read" in text
    assert "cut short: episodes that a model had no room for" in text


def test_traces_hold_whole_conversations_and_all_versions(context: Context, talkers: list[str]) -> None:
    run(config(untrained=False), with_models(context, grpo="BUY 1"))
    traces = list(read_traces(context.folder / "traces-grpo.jsonl"))
    assert [trace.key for trace in traces] == [f"custom#{seed}" for seed in range(3, 11)]
    assert [message["role"] for message in traces[0].messages] == ["system"] + ["user", "assistant"] * 4
    assert set(traces[0].versions) == {"task", "data", "tradeschool", "agent_hash", *KEYS}
    assert set(traces[0].rewards) == {"risk", "pnl", "drawdown", "activity"}


def test_a_stage_that_was_cut_off_asks_nobody_twice(
    context: Context, talkers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = with_models(context, sft="HOLD", grpo="BUY 1")

    def cut(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_outcome", cut)
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
    folder = tiny_models.folder(tmp_path / "tiny", max_position_embeddings=2048)
    real = replace(context, models={"sft": folder}, model=ModelConfig(base=str(folder)))
    run(config(rules=["hold"], episodes=3, max_new_tokens=5, batch_size=2), real)
    content = written(real)
    assert {row["agent"] for row in content["standings"]} == {"buy and hold", "hold", "untrained", "sft"}
    traces = list(read_traces(real.folder / "traces-sft.jsonl"))
    assert [len(trace.messages) for trace in traces] == [9, 9, 9]
    assert next(one["verdict"] for one in content["differences"] if one["first"] == "sft") == "same"


def test_what_could_not_be_read_and_who_ran_out_of_room_is_kept(context: Context, tmp_path: Path) -> None:
    narrow = tiny_models.folder(tmp_path / "narrow", max_position_embeddings=500)
    wide = tiny_models.folder(tmp_path / "wide", max_position_embeddings=2048)
    models = replace(context, models={"narrow": narrow, "wide": wide}, model=ModelConfig(base=str(wide)))
    run(config(rules=["hold"], episodes=2, max_new_tokens=5, untrained=False), models)
    rows = json.loads((context.folder / "rows.json").read_text(encoding="utf-8"))["rows"]
    figures = {row["agent"]: row["figures"] for row in rows}
    assert figures["narrow"] == {"unread": 1.0, "out_of_room": 1.0}
    assert figures["wide"] == {"unread": 1.0, "out_of_room": 0.0}
    assert figures["hold"] == {}
    for name, stop in (("narrow", "max_tokens"), ("wide", "answered")):
        traces = list(read_traces(context.folder / f"traces-{name}.jsonl"))
        assert {trace.stop for trace in traces} == {stop}
        for trace in traces:
            assert trace.metrics["unread"] == [message["role"] for message in trace.messages].count("assistant")
