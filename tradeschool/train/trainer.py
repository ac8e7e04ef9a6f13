"""What the stages on TRL trainers share: the model to start from, checkpoints, weights to hand on."""

import ctypes
import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PrinterCallback, Trainer, TrainerState, set_seed
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils.logging import disable_progress_bar

from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.models.load import base_source, load, peft_config
from tradeschool.train.divergence import StopDiverged, check_weights
from tradeschool.train.logging import METRICS, progress, read_metrics, step_callback
from tradeschool.train.stage import Context, Result

WEIGHTS = "weights"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
STATE = "trainer_state.json"


def _keep_freed_memory() -> None:
    """Let glibc reuse freed blocks instead of returning them: a sixth off a step on a CPU.

    A step allocates and frees blocks of many megabytes; by default each is mapped anew and its pages
    are cleared by the kernel again. Other C libraries have no mallopt and are left as they are.
    """
    if sys.platform != "linux" or torch.cuda.is_available():
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def start(model_name: str | None, context: Context) -> tuple[Any, Any, Any]:
    """Model, tokenizer and peft configuration of the stage ``model_name``, by default the latest."""
    _keep_freed_memory()
    # TRL still names gradient_checkpointing by its old name, and transformers says so at every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    datasets.disable_progress_bars()
    disable_progress_bar()  # of loading and saving: one bar at a time
    if model_name == "base" or (model_name is None and not context.models):
        source = base_source(context.model, context.task, context.run_folder, context.seed)
    elif model_name is None:
        source = str(list(context.models.values())[-1])
    elif model_name in context.models:
        source = str(context.models[model_name])
    else:
        known = ["base", *context.models]
        if model_name in context.agents:
            raise RecipeError(
                f"model: the stage '{model_name}' trains an agent on numbers, not a language model. "
                f"Choose from: {', '.join(known)}."
            )
        raise RecipeError(
            f"model: '{model_name}' is no stage before this one.{did_you_mean(model_name, known)} "
            f"Choose from: {', '.join(known)}."
        )
    model, tokenizer = load(source, context.model, trainable=True)
    # Fresh adapters must not depend on whether the base was built just now or before the run was cut off.
    set_seed(context.seed)
    return model, tokenizer, peft_config(context.model, model)


def train(trainer: Trainer, context: Context, *, title: str, shown: tuple[str, ...]) -> None:
    """Train with a progress bar, from the last complete checkpoint of an interrupted attempt if there is one.

    Raises:
        RunError: the training has diverged; checkpoints of before stay.
    """
    checkpoint = _last_checkpoint(Path(str(trainer.args.output_dir)))
    if checkpoint:
        context.console.print(f"Goes on from {Path(checkpoint).name}")
        state = TrainerState.load_from_json(str(Path(checkpoint) / STATE))
        if state.global_step >= state.max_steps:
            # transformers would train one step more; there is nothing left but to hand the weights on.
            trainer._load_from_checkpoint(checkpoint)
            check_weights(trainer.model, title, state.global_step, trainer.args)
            return
    trainer.remove_callback(PrinterCallback)  # the progress bar shows the figures, metrics.jsonl keeps them
    with progress(context.console) as bar:
        trainer.add_callback(step_callback(bar, title, context.folder / METRICS, shown))
        trainer.add_callback(StopDiverged(title))  # after the other: what it stops at stands in metrics.jsonl
        trainer.train(resume_from_checkpoint=checkpoint)


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; the state file is what is written last."""
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))):
        if _is_whole(Path(found) / STATE):
            return found
        shutil.rmtree(found)
    return None


def _is_whole(state: Path) -> bool:
    if not state.exists():
        return False
    try:
        json.loads(state.read_text(encoding="utf-8"))
    except json.JSONDecodeError:  # the process was killed while it wrote this file
        return False
    return True


def finish(trainer: Trainer, tokenizer: Any, context: Context, *, summary: tuple[str, ...]) -> Result:
    """Save the weights (safetensors), drop the checkpoints, and report the last value of each figure."""
    weights = context.folder / WEIGHTS
    trainer.save_model(str(weights))
    tokenizer.save_pretrained(str(weights))
    # A pickle of the training arguments: loading it could run code, and the run's recipe says the same.
    (weights / "training_args.bin").unlink(missing_ok=True)
    # In one step out of sight of a resume: one without its optimizer would be taken for a checkpoint.
    checkpoints = Path(str(trainer.args.output_dir))
    if checkpoints.exists():
        shutil.rmtree(checkpoints.replace(checkpoints.with_suffix(".old")))
    last: dict[str, float] = {}
    for row in read_metrics(context.folder / METRICS):
        last.update({key: row[key] for key in summary if isinstance(row.get(key), int | float)})
    return Result(weights=weights, summary=last)
