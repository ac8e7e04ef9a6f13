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
from tradeschool.errors import RunError
from tradeschool.recipe import of
from tradeschool.train import playing
from tradeschool.train.divergence import StopDiverged, check_weights

ARGS = SimpleNamespace(learning_rate=0.1, max_grad_norm=1.0, fp16=False)
STATE = SimpleNamespace(global_step=7)
STEPS: dict[str, Any] = {"max_steps": 6, "logging_steps": 3, "save_steps": 2, "learning_rate": 1e-3}
SFT = {"stage": "sft", "examples": 60, "trl": {**STEPS, "per_device_train_batch_size": 4}}
GROUPS = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 12}
GRPO = {"stage": "grpo", "questions": 40, "trl": {**STEPS, **GROUPS, "logging_steps": 1}}
RECIPE: dict[str, Any] = {
    "name": "small",
    "market": {"source": "practice", "tickers": 4, "days": 300},
    "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 60},
    "task": {"name": "trade", "env": {"days": 3}, "facts": ["macd_hist"], "figures": False, "experts": ["macd"]},
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
    with pytest.raises(
        RunError, match=rf"stages\.sft: .*at step 7 {name} is (nan|inf)\..*learning_rate, which is 0\.1"
    ):
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


def test_weights_of_nans_are_not_handed_on_and_the_checkpoint_of_before_stays(
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
        pipeline.run(of(RECIPE), tmp_path / "run", console())
    stage = tmp_path / "run" / "1-sft"
    assert not (stage / "weights").exists()
    assert [path.name for path in (stage / "checkpoints").glob("checkpoint-*")] == ["checkpoint-2"]
    kept = load_file(stage / "checkpoints" / "checkpoint-2" / "model.safetensors")
    assert all(bool(torch.isfinite(weights).all()) for weights in kept.values())


def test_a_loss_of_nan_is_not_taken_for_the_mean_of_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import SFTTrainer

    theirs = SFTTrainer.compute_loss

    def wrong(self: Any, *given: Any, **options: Any) -> Any:
        loss = theirs(self, *given, **options)
        return loss * 0 + float("nan") if self.state.global_step == 1 and not isinstance(loss, tuple) else loss

    def no_gradient(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """So that the loss alone tells."""

    monkeypatch.setattr(SFTTrainer, "compute_loss", wrong)
    monkeypatch.setattr(StopDiverged, "on_step_end", no_gradient)
    recipe = of({**RECIPE, "stages": [{**SFT, "trl": {**SFT["trl"], "save_steps": 100}}]})  # type: ignore[dict-item]
    with pytest.raises(RunError, match="at step 3 (loss|grad_norm) is nan"):
        pipeline.run(recipe, tmp_path / "run", console())


@pytest.mark.parametrize("credit", ["day", "episode"])
def test_episodes_whose_rewards_are_no_numbers_teach_nothing(
    credit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = playing.day_rewards

    def wrong(played: Any) -> Any:
        found = theirs(played)
        found["profit"][0, 0] = np.nan
        return found

    monkeypatch.setattr(playing, "day_rewards", wrong)
    recipe = of({**RECIPE, "task": {**RECIPE["task"], "credit": credit}, "stages": [GRPO]})
    with pytest.raises(RunError, match="At step 1 of GRPO the profit of an episode is no finite number"):
        pipeline.run(recipe, tmp_path / "run", console())
    assert not list((tmp_path / "run").glob("*/weights"))


def test_what_was_trained_to_its_end_before_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run cut off between its last checkpoint and the handing on of weights, by a version without the check."""
    from tradeschool.train import trainer

    def cut_off(*given: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "finish", cut_off)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(of(RECIPE), tmp_path / "run", console())
    (path,) = (tmp_path / "run" / "1-sft" / "checkpoints").glob("checkpoint-6/model.safetensors")
    from safetensors.torch import save_file

    save_file({name: weights * float("nan") for name, weights in load_file(path).items()}, path, {"format": "pt"})
    with pytest.raises(RunError, match="at step 6"):
        pipeline.resume(tmp_path / "run", None, console())
    assert not (tmp_path / "run" / "1-sft" / "weights").exists()
