"""What the stages on TRL trainers share: the first weights, checkpoints, divergence, results."""

import ctypes
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl.kernels.chunked_logprob import _use_triton
from trl.trainer import utils

from tradeschool.errors import RunError
from tradeschool.models.load import base_source, load, peft_config
from tradeschool.progress import progress, status
from tradeschool.train import frozen_head
from tradeschool.train.logging import METRICS, read_metrics, step_callback, write_end
from tradeschool.train.stage import BASE, Context, Result
from tradeschool.train.trl_config import CHECKPOINTS, refuse_no_steps, refused

WEIGHTS = "weights"
STATE = "trainer_state.json"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h

# first weights and checkpoints --------------------------------------------------------------------


def _keep_freed_memory() -> None:
    """Let glibc reuse freed blocks of many megabytes, which makes a step on a CPU a sixth faster."""
    if sys.platform == "linux" and not torch.cuda.is_available() and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _project_answers_alone() -> None:
    """Have TRL project the tokens that bear loss onto the vocabulary, and no prompts, on a CPU too.

    It does so where it has Triton. With 49,000 tokens and a prompt of 60 a step on a CPU takes a fifth less.
    """
    utils._use_triton = lambda device: device.type == "cpu" or _use_triton(device)


def _keep_half_precision(trainer: Trainer) -> None:
    """Leave inputs of adapters in half precision where autocast computes in it; peft casts them to float32 and back."""
    if trainer.args.bf16 or trainer.args.fp16:
        for module in trainer.model.modules():
            if hasattr(module, "cast_input_dtype_enabled"):
                module.cast_input_dtype_enabled = False


def start(model_name: str | None, context: Context) -> tuple[Any, Any, Any]:
    """Model, tokenizer and peft configuration to start from.

    ``model_name`` is the stage whose weights to take, or "base"; by default the last one with a language model. The
    recipe's check has made sure that there is one.
    """
    _keep_freed_memory()
    _project_answers_alone()
    datasets.disable_progress_bars()
    name = model_name or next(reversed(context.models), BASE)
    with status(context.console, f"Loading the model ({name})"):
        if name == BASE:
            source = base_source(context.model, context.task, context.run_folder, context.seed)
        else:
            source = str(context.models[name])
        model, tokenizer = load(source, context.model, trainable=True)
    # Fresh adapters must not depend on whether the base was built just now or before the run was cut off.
    set_seed(context.seed)
    with refused("model.lora"):
        return model, tokenizer, peft_config(context.model, model)


def train(trainer: Trainer, context: Context, *, title: str, shown: tuple[str, ...]) -> None:
    """Train with a progress bar, from the last complete checkpoint of an interrupted attempt if there is one.

    ``title`` is the stage's name, ``shown`` the figures beside the bar.

    Raises:
        RecipeError: the data do not fill one batch.
        RunError: the training took no step, or has diverged. Its checkpoints stay.
    """
    rows, metrics = len(trainer.train_dataset), context.folder / METRICS
    refuse_no_steps(title, rows, trainer.args)
    checkpoint = last_checkpoint(context.folder / CHECKPOINTS)
    if checkpoint:
        context.console.print(f"Resuming from {Path(checkpoint).name}")
        state = TrainerState.load_from_json(str(Path(checkpoint) / STATE))
        # TRL's SFTTrainer counts the tokens of its own process.
        counted = [row["num_tokens"] for row in state.log_history if "num_tokens" in row]
        trainer._total_train_tokens = int(counted[-1]) if counted else 0
        if state.global_step >= state.max_steps:
            # transformers would train one step more, though only the weights are left to hand on.
            trainer._load_from_checkpoint(checkpoint)
            trainer.state = state
            check_weights(trainer.model, title, state.global_step, trainer.args)
            write_end(metrics, state)
            return
    frozen_head.install(trainer.args)
    _keep_half_precision(trainer)
    before = _fingerprint(trainer.model)
    trainer.remove_callback(PrinterCallback)  # the progress bar and metrics.jsonl have the figures
    with progress(context.console) as bar:
        trainer.add_callback(step_callback(bar, title, metrics, shown))
        trainer.add_callback(StopDiverged(title))  # after the other: metrics.jsonl has the value that it stops at
        trainer.train(resume_from_checkpoint=checkpoint)
    if not trainer.state.global_step:
        raise RunError(
            f"stages.{title}: no step was trained on {rows} training examples in batches of "
            f"{trainer.args.per_device_train_batch_size}. Use more examples, or lower trl.per_device_train_batch_size."
        )
    if not checkpoint and _fingerprint(trainer.model) == before:
        raise RunError(
            f"stages.{title}: {trainer.state.global_step} steps changed no weight. Raise trl.learning_rate "
            f"({trainer.args.learning_rate:g}), or lower trl.warmup_steps ({trainer.args.warmup_steps:g}). In grpo, "
            "look at zero_variance_groups in metrics.jsonl too: where all answers of a group earn the same, it teaches "
            "nothing."
        )


def _fingerprint(model: Any) -> list[float]:
    """A sum for each trained weight, to see whether any has changed."""
    return [float(weight.detach().double().sum()) for weight in model.parameters() if weight.requires_grad]


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; the state file is written last."""
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))):
        try:
            json.loads((Path(found) / STATE).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):  # the process was killed while it wrote the checkpoint
            shutil.rmtree(found)
        else:
            return str(found)
    return None


def finish(trainer: Trainer, tokenizer: Any, context: Context, *, summary: tuple[str, ...]) -> Result:
    """Save the weights (safetensors), drop the checkpoints, and report steps and the last value of each figure."""
    weights = context.folder / WEIGHTS
    trainer.save_model(str(weights))
    tokenizer.save_pretrained(str(weights))
    # A pickle of the training arguments: loading it could run code, and the run's recipe holds the same.
    (weights / "training_args.bin").unlink(missing_ok=True)
    # Renamed first: a resume would take a half-deleted folder for a checkpoint.
    checkpoints = context.folder / CHECKPOINTS
    if checkpoints.exists():
        if (logs := checkpoints / "runs").exists():  # where transformers has TensorBoard write
            logs.replace(context.folder / "tensorboard")
        shutil.rmtree(checkpoints.replace(checkpoints.with_suffix(".old")))
    last: dict[str, float] = {"steps": trainer.state.global_step}
    for row in read_metrics(context.folder / METRICS):
        last.update({key: row[key] for key in summary if isinstance(row.get(key), int | float)})
    return Result(weights=weights, summary=last)


# divergence ---------------------------------------------------------------------------------------

FIGURES = ("loss", "grad_norm")
"""Figures of a log entry that must be finite. Others may be undefined at some steps."""


class StopDiverged(TrainerCallback):
    """Ends a training as soon as it has diverged: weights are checked at every step, figures when they are logged."""

    def __init__(self, title: str) -> None:
        self._title = title

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        check_weights(model, self._title, state.global_step, args)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        for name in FIGURES:
            # In half precision a gradient overflow is usual: that step is skipped and the loss scale lowered.
            if name in (logs or {}) and not (name == "grad_norm" and args.fp16):
                value = float(logs[name])
                if not math.isfinite(value):
                    raise _diverged(self._title, state.global_step, f"{name} is {value}", args)


def check_weights(model: Any, title: str, step: int, args: Any) -> None:
    """Refuse weights that are not finite."""
    for name, weights in model.named_parameters():
        if weights.requires_grad and not bool(torch.isfinite(weights.detach()).all()):
            raise _diverged(title, step, f"{name} holds values that are not finite", args)


def _diverged(title: str, step: int, what: str, args: Any) -> RunError:
    return RunError(
        f"stages.{title}: the training has diverged: at step {step} {what}. Only earlier checkpoints are kept. "
        f"Lower trl.learning_rate ({args.learning_rate:g}) or trl.max_grad_norm ({args.max_grad_norm:g}), and start a "
        "new run."
    )
