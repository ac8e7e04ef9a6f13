"""What the stages on TRL trainers share: the first weights, checkpoints, divergence, results."""

import ctypes
import json
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl.kernels.chunked_logprob import _use_triton
from trl.trainer import utils

from tradeschool.errors import RunError, is_memory_error, one_line
from tradeschool.models.load import LoraConfig, load, peft_config
from tradeschool.progress import progress, status
from tradeschool.train import frozen_head
from tradeschool.train.logging import METRICS, read_metrics, step_callback, write_end
from tradeschool.train.stage import Context, Result
from tradeschool.train.trl_config import CHECKPOINTS, refuse_no_steps, refused
from tradeschool.train.troubles import Watch

WEIGHTS = "weights"
STATE = "trainer_state.json"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h

# first weights and checkpoints --------------------------------------------------------------------


def _set_up_cpu() -> None:
    """Let glibc reuse freed blocks of many megabytes, which makes a step on a CPU a sixth faster.

    And have TRL project the tokens that bear loss onto the vocabulary, and no prompts, as it does where it has Triton.
    With 49,000 tokens and a prompt of 60 a step on a CPU takes a fifth less.
    """
    if sys.platform == "linux" and not torch.cuda.is_available() and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    utils._use_triton = lambda device: device.type == "cpu" or _use_triton(device)


def _keep_half_precision(trainer: Trainer) -> None:
    """Leave inputs of adapters in half precision where autocast computes in it; peft casts them to float32 and back."""
    if trainer.args.bf16 or trainer.args.fp16:
        for module in trainer.model.modules():
            if hasattr(module, "cast_input_dtype_enabled"):
                module.cast_input_dtype_enabled = False


def start(model_name: str | None, context: Context, lora: LoraConfig | None = None) -> tuple[Any, Any, Any]:
    """Model, tokenizer and peft configuration of the weights that ``Context.starting_weights`` names.

    ``lora`` are a stage's own adapters: new ones, on top of the weights and adapters of the stages before.
    """
    _set_up_cpu()
    datasets.disable_progress_bars()
    name, source = context.starting_weights(model_name)
    with status(context.console, f"Loading the model ({name})"):
        config = context.model if lora is None else context.model.model_copy(update={"lora": lora})
        model, tokenizer = load(source, config, trainable=True, merge=lora is not None)
    # Fresh adapters must not depend on whether the base was built just now or before the run was cut off.
    set_seed(context.seed)
    with refused("model.lora"):
        return model, tokenizer, peft_config(config, model)


def train(
    trainer: Trainer,
    context: Context,
    *,
    title: str,
    shown: tuple[str, ...],
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train with a progress bar, from the last complete checkpoint of an interrupted attempt if there is one.

    ``title`` is the stage's name, ``shown`` the figures beside the bar. A RunError if the training took no step, or has
    diverged; its checkpoints stay.
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
        for callback in callbacks:
            trainer.add_callback(callback)
        trainer.add_callback(StopDiverged(title))  # after the other: metrics.jsonl has the value that it stops at
        trainer.add_callback(TellTroubles(title, context))
        with explained_memory(title, trainer.args):
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
        f"Lower trl.learning_rate ({args.learning_rate:g}) or trl.max_grad_norm ({args.max_grad_norm:g}); the stage "
        f"begins again with: tradeschool resume RUN --set stages.{title}.trl.learning_rate={args.learning_rate / 3:.1g}"
    )


# what does not end a training -----------------------------------------------------------------------


class TellTroubles(TrainerCallback):
    """Warns of each problem once, as soon as the figures show it (``train/troubles.py``)."""

    def __init__(self, title: str, context: Context) -> None:
        self._title, self._context = title, context
        self._watch = Watch(context.task.weights)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        # In an episode most answers may be HOLD without a collapse.
        left_out = "answers/HOLD" if self._context.task.episodic else ""
        row = {key: value for key, value in (logs or {}).items() if key != left_out}
        for text in self._watch.see(row).values():
            self._context.log(f"Warning: {self._title}, step {state.global_step}: {text}")


@contextmanager
def explained_memory(title: str, args: Any) -> Iterator[None]:
    """Say which of the stage's options need less memory, where it was not enough."""
    try:
        yield
    except Exception as error:
        if not is_memory_error(error):
            raise
        where, batch, steps = f"stages.{title}.trl", args.per_device_train_batch_size, args.gradient_accumulation_steps
        group = getattr(args, "num_generations", 1)
        half = batch // 2 // group * group  # a batch holds whole groups
        cures = []
        if half:
            more = steps * -(-batch // half)
            smaller = f"--set {where}.per_device_train_batch_size={half}"
            cures.append(
                f"a smaller batch with as many answers a step ({smaller} --set {where}."
                f"gradient_accumulation_steps={more})"
            )
        if not args.gradient_checkpointing:
            cures.append(f"less kept for the backward pass (--set {where}.gradient_checkpointing=true)")
        if hasattr(args, "max_completion_length"):
            cures.append(f"shorter answers ({where}.max_completion_length, {args.max_completion_length})")
        raise RunError(
            f"stages.{title}: the memory is not enough to train ({one_line(error, 160)}). Resume with "
            f"{', or '.join([*cures, 'a smaller model or model.lora in a new run'])}."
        ) from error
