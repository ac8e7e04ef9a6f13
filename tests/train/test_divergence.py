"""A training that has diverged ends in a sentence and leaves no weights of NaNs behind."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tradeschool import pipeline
from tradeschool.config.recipe import from_mapping
from tradeschool.errors import RunError
from tradeschool.tasks.trade import TradeTask
from tradeschool.train.trainer import StopDiverged, TellTroubles, check_weights
from tradeschool.train.troubles import Watch, late_troubles

pytestmark = pytest.mark.usefixtures("few_texts")
ARGS = SimpleNamespace(learning_rate=0.1, max_grad_norm=1.0, fp16=False)
STATE = SimpleNamespace(global_step=7)
STEPS: dict[str, Any] = {"max_steps": 6, "logging_steps": 3, "save_steps": 2, "learning_rate": 1e-3}
SFT = {"stage": "sft", "examples": 60, "trl": {**STEPS, "per_device_train_batch_size": 4}}
GROUPS = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 12}
GRPO = {"stage": "grpo", "questions": 40, "trl": {**STEPS, **GROUPS, "logging_steps": 1}}
RECIPE: dict[str, Any] = {
    "name": "small",
    "market": {"source": "synthetic", "tickers": 4, "days": 300},
    "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 60},
    "task": {"name": "trade", "env": {"days": 3}, "facts": ["macd_hist"], "figures": False, "demonstrators": ["macd"]},
    "model": {
        "base": "tiny",
        "tiny": {"vocabulary": 330, "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16},
    },
    "stages": [SFT],
}


def console() -> Console:
    return Console(quiet=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan"])
@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_a_figure_that_is_not_finite_stops_the_training(name: str, value: Any) -> None:
    with pytest.raises(RunError, match=rf"stages\.sft: .*at step 7 {name} is (nan|inf)\..*learning_rate \(0\.1\)"):
        StopDiverged("sft").on_log(ARGS, STATE, None, logs={"loss": 1.0, name: value})


def test_other_figures_may_be_undefined_and_half_precision_may_overflow() -> None:
    guard, half = StopDiverged("sft"), SimpleNamespace(**{**vars(ARGS), "fp16": True})
    guard.on_log(ARGS, STATE, None, logs={"loss": 1.0, "rewards/profit/std": float("nan")})
    guard.on_log(ARGS, STATE, None)
    guard.on_log(half, STATE, None, logs={"loss": 1.0, "grad_norm": float("inf")})
    with pytest.raises(RunError, match="loss is nan"):
        guard.on_log(half, STATE, None, logs={"loss": float("nan")})


def test_one_weight_that_is_not_finite_is_found_and_frozen_ones_are_left_alone() -> None:
    model = torch.nn.Linear(3, 2)
    check_weights(model, "sft", 7, ARGS)
    with torch.no_grad():
        model.weight[1, 2] = float("inf")
    with pytest.raises(RunError, match="at step 7 weight holds values that are not finite"):
        StopDiverged("sft").on_step_end(ARGS, STATE, None, model=model)
    model.weight.requires_grad_(False)
    check_weights(model, "sft", 7, ARGS)


def test_nan_weights_are_not_saved_and_the_last_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients of step 4 are made NaN: the checkpoint of step 2 stays, the one of step 4 is never written."""
    from trl import SFTTrainer

    theirs = SFTTrainer.training_step

    def poisoned(self: Any, model: Any, *given: Any, **options: Any) -> Any:
        loss = theirs(self, model, *given, **options)
        if self.state.global_step == 3:
            next(model.parameters()).grad.fill_(float("nan"))
        return loss

    monkeypatch.setattr(SFTTrainer, "training_step", poisoned)
    with pytest.raises(RunError, match=r"stages\.sft: the training has diverged: at step 4 .* not finite"):
        pipeline.run(from_mapping(RECIPE), tmp_path / "run", console())
    stage = tmp_path / "run" / "1-sft"
    assert not (stage / "weights").exists()
    assert [path.name for path in (stage / "checkpoints").glob("checkpoint-*")] == ["checkpoint-2"]
    kept = load_file(stage / "checkpoints" / "checkpoint-2" / "model.safetensors")
    assert all(bool(torch.isfinite(weights).all()) for weights in kept.values())


def test_a_nan_loss_is_logged_as_nan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trl import SFTTrainer

    theirs = SFTTrainer.compute_loss

    def wrong(self: Any, *given: Any, **options: Any) -> Any:
        loss = theirs(self, *given, **options)
        return loss * 0 + float("nan") if self.state.global_step == 1 and not isinstance(loss, tuple) else loss

    def no_gradient(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """So that the loss alone tells."""

    monkeypatch.setattr(SFTTrainer, "compute_loss", wrong)
    monkeypatch.setattr(StopDiverged, "on_step_end", no_gradient)
    recipe = from_mapping({**RECIPE, "stages": [{**SFT, "trl": {**SFT["trl"], "save_steps": 100}}]})  # type: ignore[dict-item]
    with pytest.raises(RunError, match="at step 3 (loss|grad_norm) is nan"):
        pipeline.run(recipe, tmp_path / "run", console())


@pytest.mark.parametrize("advantage", ["turn", "episode"])
def test_rewards_that_are_not_finite_stop_the_training(
    advantage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = TradeTask.episode_rewards

    def wrong(self: Any, episodes: Any) -> Any:
        found = theirs(self, episodes)
        found["profit"][0, 0] = np.nan
        return found

    monkeypatch.setattr(TradeTask, "episode_rewards", wrong)
    recipe = from_mapping({**RECIPE, "task": {**RECIPE["task"], "advantage": advantage}, "stages": [GRPO]})
    with pytest.raises(RunError, match="At step 1 of GRPO the profit of an episode is not finite"):
        pipeline.run(recipe, tmp_path / "run", console())
    assert not list((tmp_path / "run").glob("*/weights"))


def test_too_little_memory_says_which_options_need_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trl import SFTTrainer

    def too_large(*given: Any, **options: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(SFTTrainer, "compute_loss", too_large)
    monkeypatch.setattr("tradeschool.preflight._try_training", lambda *given: None)
    with pytest.raises(RunError) as raised:
        pipeline.run(from_mapping(RECIPE), tmp_path / "run", console())
    text = str(raised.value)
    assert text.startswith("stages.sft: the memory is not enough to train")
    assert (
        "--set stages.sft.trl.per_device_train_batch_size=2 --set stages.sft.trl.gradient_accumulation_steps=2" in text
    )
    assert "stages.sft.trl.gradient_checkpointing=true" in text


def test_a_smaller_batch_holds_whole_groups() -> None:
    from tradeschool.train.trainer import explained_memory

    args = SimpleNamespace(
        per_device_train_batch_size=24,
        gradient_accumulation_steps=2,
        num_generations=8,
        gradient_checkpointing=True,
        max_completion_length=12,
    )
    with (
        pytest.raises(RunError, match=r"batch_size=8 .*steps=6\), or shorter answers \(stages\.grpo\.trl\.max_"),
        explained_memory("grpo", args),
    ):
        raise MemoryError
    with pytest.raises(ZeroDivisionError), explained_memory("grpo", args):
        raise ZeroDivisionError


def test_each_trouble_is_told_once_while_the_training_runs() -> None:
    said: list[str] = []
    context: Any = SimpleNamespace(task=SimpleNamespace(weights={"profit": 1.0}, episodic=False), log=said.append)
    guard = TellTroubles("grpo", context)
    for step, kl in enumerate([0.1, 9.0, 0.1, 0.1, 0.1, *[9.0] * 10], 1):
        logs = {"reward": 0.5, "kl": kl, "parse_errors": 1.0, "answers/BUY": 1.0}
        guard.on_log(ARGS, SimpleNamespace(global_step=step), None, logs=logs)
    assert [text.partition(": ")[2].partition(": ")[0] for text in said] == ["grpo, step 5", "grpo, step 8"]
    assert "collapsed to one answer" in said[0]
    assert "KL to the starting policy" in said[1]
    assert "Lower trl.learning_rate" in said[1]


def test_a_rising_loss_is_told() -> None:
    watch = Watch({})
    found = [watch.see({"loss": loss, "step": step}) for step, loss in enumerate([1.0] * 12 + [2.0] * 5)]
    assert [step for step, one in enumerate(found) if one] == [13]  # two of the last five losses are 2: the mean is 1.4
    assert "the loss rose from 1 to 1.4" in found[13]["loss"]
    watch = Watch({})
    assert not any(watch.see({"loss": loss}) for loss in [3.0, 2.0, 1.0, 0.5, 0.4, *[0.4] * 10])


def test_troubles_of_a_selection() -> None:
    rows: list[dict[str, Any]] = [
        {"reward": 0.1, "acceptance": 0.1, "parse_errors": 0.4, "zero_variance_groups": 0.7},
        {"kept": 10, "after/answers/BUY": 0.95, "after/parse_errors": 0.0},
    ]
    found = late_troubles(rows, {})
    assert set(found) == {"unreadable", "zero variance", "collapse"}
    assert "95% of the kept answers are BUY" in found["collapse"]
    assert not any(Watch({}).see(row) for row in rows * 10)


def test_finished_weights_are_checked_on_resume_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run cut off between its last checkpoint and the handing on of weights, by a version without the check."""
    from tradeschool.train import trainer

    def cut_off(*given: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "finish", cut_off)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(from_mapping(RECIPE), tmp_path / "run", console())
    (path,) = (tmp_path / "run" / "1-sft" / "checkpoints").glob("checkpoint-6/model.safetensors")
    from safetensors.torch import save_file

    save_file({name: weights * float("nan") for name, weights in load_file(path).items()}, path, {"format": "pt"})
    with pytest.raises(RunError, match="at step 6"):
        pipeline.resume(tmp_path / "run", None, console())
    assert not (tmp_path / "run" / "1-sft" / "weights").exists()
