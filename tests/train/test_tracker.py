"""The tracker of biases, the divergence of decisions, and a second stage with adapters of its own."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from markets import market
from rich.console import Console
from torch import tensor

from tradeschool import pipeline
from tradeschool.config.recipe import read
from tradeschool.errors import RecipeError
from tradeschool.market.splits import split_rows
from tradeschool.tasks.direction import DirectionTask
from tradeschool.tasks.direction_config import DirectionConfig
from tradeschool.text.direction import Call
from tradeschool.trace import read_traces
from tradeschool.train.decision_groups import decision_kl
from tradeschool.train.logging import read_metrics
from tradeschool.train.tracker import Tracker, statistics

RECIPE = Path(__file__).parents[2] / "recipes" / "direction-tiny.yaml"


def test_the_divergence_is_that_of_the_decisions_alone() -> None:
    now, start = tensor([[0.5, 0.3, 0.1]]), tensor([[0.2, 0.2, 0.2]])
    p, q = now / now.sum(), start / start.sum()
    assert decision_kl(now.log(), start.log()).item() == pytest.approx((p * (p / q).log()).sum().item())
    assert decision_kl(now.log(), (0.1 * now).log()).item() == pytest.approx(0, abs=1e-6)


def rows(*answers: tuple[str | None, str]) -> list[dict[str, Any]]:
    return [{"step": 1, "prediction": p, "truth": t, "reward": 1.0, "rewards": {"data_use": 2.0}} for p, t in answers]


def test_market_and_prediction_bias_and_both_accuracies() -> None:
    found = statistics(rows(("UP", "UP"), ("UP", "UP"), ("UP", "DOWN"), ("DOWN", "UP"), (None, "UP")), ("UP", "DOWN"))
    assert found["classes"]["UP"] == pytest.approx({"market": 0.75, "predicted": 0.75, "accuracy": 2 / 3}, abs=1e-5)
    assert found["classes"]["DOWN"] == {"market": 0.25, "predicted": 0.25, "accuracy": 0.0}
    assert found["unreadable"] == 0.2
    assert found["rewards"] == {"data_use": 2.0}


def test_a_resumed_training_keeps_the_lines_before_its_checkpoint(tmp_path: Path) -> None:
    panel = market()
    task = DirectionTask(DirectionConfig(), panel, split_rows(panel, embargo=16, warmup=40))
    example = task.examples("train")[0]

    def train(start: int, stop: int) -> None:
        tracker, state = Tracker(task, tmp_path, "stage2"), SimpleNamespace(global_step=start, max_steps=6)
        tracker.on_train_begin(None, state, None)
        for _ in range(start, stop):
            call = Call("UP", 1.0, 0.6)
            tracker.add([example], [call], [task.rewards(example, "<think>x</think>", call)])
            state.global_step += 1
            tracker.on_step_end(None, state, None)
            tracker.on_log(None, state, None, {"loss": 0.5})
        if stop == 6:
            tracker.on_train_end(None, state, None)

    train(0, 5)
    train(3, 6)
    found = read_metrics(tmp_path / "stage2_training_log.jsonl")
    assert [row["step"] for row in found] == [1, 2, 3, 4, 5, 6]
    assert found[0]["question"] == example.key
    assert found[0]["truth"] == task.label(example)
    stats = json.loads((tmp_path / "market_stats.json").read_text())
    assert (stats["answers"], stats["classes"]["UP"]["predicted"]) == (6, 1.0)
    assert sum(part["answers"] for part in stats["quarters"]) == 6
    assert "step 6: loss 0.5" in (tmp_path / "training.log").read_text()


SMALL = [
    "market={source: synthetic, tickers: 4, days: 300, edge: 0.6, drift: 0.8}",
    "split.warmup=30",
    "model.tiny={vocabulary: 400, hidden_size: 32, layers: 2, heads: 4, intermediate_size: 64}",
    "stages.sft.examples=320",
    "stages.sft.trl={max_steps: 20, per_device_train_batch_size: 16, learning_rate: 1.0e-2}",
    "stages.stage1.trl={max_steps: 2, per_device_train_batch_size: 80, learning_rate: 2.0e-3, logging_steps: 1}",
    "stages.stage2.trl={max_steps: 2, per_device_train_batch_size: 80, learning_rate: 2.0e-3, logging_steps: 1, "
    "beta: 0.05}",
    "stages.evaluate.tickers=2",
    "stages.evaluate.shuffled=20",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.run(read(RECIPE, SMALL), tmp_path_factory.mktemp("runs") / "run", Console(quiet=True))


def test_the_second_stage_trains_small_adapters_on_the_first(run: Path) -> None:
    adapters = json.loads((run / "3-stage2" / "weights" / "adapter_config.json").read_text())
    assert (adapters["r"], adapters["base_model_name_or_path"]) == (8, str(run / "2-stage1" / "weights"))
    first = [row for row in read_metrics(run / "2-stage1" / "metrics.jsonl") if "reward" in row]
    second = [row for row in read_metrics(run / "3-stage2" / "metrics.jsonl") if "reward" in row]
    assert "kl" not in first[0]
    assert second[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert second[1]["kl"] > 0
    for row in (*first, *second):
        assert row["labels/UP"] + row["labels/DOWN"] == pytest.approx(1)
        assert row["answers/UP"] + row["answers/DOWN"] == pytest.approx(1, abs=1e-4)


def test_answers_are_logged_where_the_recipe_says_so(run: Path) -> None:
    found = read_metrics(run / "3-stage2" / "stage2_training_log.jsonl")
    assert [row["step"] for row in found] == [1] * 8 + [2] * 8
    assert {row["prediction"] for row in found} <= {"UP", "DOWN"}
    assert (run / "3-stage2" / "market_stats.json").exists()
    assert not (run / "2-stage1" / "market_stats.json").exists()


def test_ensembles_are_rows_and_shuffled_samples_a_table(run: Path) -> None:
    found = json.loads((run / "4-evaluate" / "comparison.json").read_text())
    names = [row["policy"] for row in found["rows"]]
    assert names[names.index("stage2") + 1 :] == ["both stages", "stage2 x3", "same facts, table"]
    assert set(found["shuffled"]) == set(names)
    traces = {
        name: list(read_traces(run / "4-evaluate" / f"traces-{name}.jsonl"))
        for name in ("stage1", "stage2", "both stages")
    }
    for one, two, both in zip(*traces.values(), strict=True):
        known = [trace.metrics["probability"] for trace in (one, two) if trace.action is not None]
        if known:
            assert both.metrics["probability"] == pytest.approx(sum(known) / len(known))
        else:
            assert both.action is None
    assert "a shuffled sample" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("[{name: x, models: [stage3]}]", "stage1"),
        ("[{name: x, models: [stage1]}]", "samples"),
        ("[{name: stage1, models: [stage1, stage2]}]", "another row"),
        ("[{name: x, models: [stage1, stage2], by: mode}]", "median"),
    ],
)
def test_ensembles_that_cannot_be_made_are_refused(given: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=words):
        pipeline.run(read(RECIPE, [*SMALL, f"stages.evaluate.ensembles={given}"]), tmp_path / "x", Console(quiet=True))
    assert not (tmp_path / "x").exists()


def test_adapters_of_wrong_keys_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"stages\.stage2\.lora\.lora_alfa"):
        pipeline.run(
            read(RECIPE, [*SMALL, "stages.stage2.lora={r: 8, lora_alfa: 2}"]), tmp_path / "x", Console(quiet=True)
        )
