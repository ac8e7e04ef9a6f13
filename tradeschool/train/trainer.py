"""What the stages on TRL trainers share: TRL's configuration, the first weights, checkpoints, divergence, results."""

import ctypes
import json
import math
import shutil
import sys
import typing
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal

import datasets
import torch
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, set_seed
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils.logging import disable_progress_bar

from tradeschool.config.check import plain
from tradeschool.errors import RecipeError, RunError, did_you_mean
from tradeschool.models.load import base_source, load, peft_config
from tradeschool.train.logging import METRICS, progress, read_metrics, step_callback
from tradeschool.train.stage import Context, Result, StageConfig

WEIGHTS = "weights"
STATE = "trainer_state.json"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h

# configuration ------------------------------------------------------------------------------------

_TOKENIZER = (
    "answers are written with the tokenizer's own template and end token. Change the tokenizer, save it beside the "
    "weights and name the folder in model.base"
)
UNUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "assistant_only_loss": ((False, None), "the loss is always on the answers alone. Remove it"),
    "chat_template_kwargs": ((None, {}), "SFT and evaluation would not use them. Write them as model.template"),
    "chat_template_path": ((None,), _TOKENIZER),
    "eos_token": ((None,), _TOKENIZER),
    "eval_strategy": (("no", None), "training has no evaluation data. Add a stage evaluate or leaderboard"),
    "model_init_kwargs": ((None, {}), "the model is loaded before. Write its options in the section model"),
}
"""Fields that have no effect here: the values that they may have, why others are refused, and the cure."""


def _counted_steps(value: int) -> int:
    if value < 1 and value != -1:
        raise ValueError(f"is {value}, but must be at least 1. Remove it, or give -1, to train num_train_epochs")
    return value


COUNTS = ("gradient_accumulation_steps", "max_completion_length", "num_iterations", "per_device_train_batch_size")
LIMITS = {
    **dict.fromkeys(COUNTS, Field(ge=1)),
    **dict.fromkeys(("beta", "learning_rate", "max_grad_norm", "save_steps", "weight_decay"), Field(ge=0)),
    **dict.fromkeys(("num_train_epochs", "temperature"), Field(gt=0)),
    "max_steps": AfterValidator(_counted_steps),
    "min_p": Field(ge=0, le=1),
    "num_generations": Field(ge=2),
    "top_p": Field(gt=0, le=1),
}
"""Of fields that TRL and transformers do not check before training."""
CHOICES: dict[tuple[str, str], Any] = {
    ("SFTConfig", "loss_type"): Literal["nll", "dft"],
    ("GRPOConfig", "loss_type"): Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"],
    ("GRPOConfig", "scale_rewards"): Literal["group", "batch", "none", True, False],
}
"""Values that TRL looks at only when it computes the first loss."""


def trl_config(
    cls: type[Any],
    config: StageConfig,
    folder: Path,
    seed: int,
    *,
    defaults: Mapping[str, Any],
    fixed: Mapping[str, Any] | None = None,
) -> Any:
    """Construct TRL's configuration.

    Args:
        cls: the class.
        config: the stage; its ``trl`` overrides the defaults.
        folder: of the stage.
        seed: of the run.
        defaults: the stage's own, besides those of all stages.
        fixed: values that ``trl`` cannot override.

    Raises:
        RecipeError: a value has no effect, is of the wrong type or out of range, or TRL refuses it.
    """
    where = f"stages.{config.name}.trl"
    hints = typing.get_type_hints(cls)
    for key, value in config.trl.items():
        allowed, why = UNUSED.get(key, ((value,), ""))
        if value not in allowed:
            raise RecipeError(f"{where}.{key}: {why}.")
        hint = CHOICES.get((cls.__name__, key), hints.get(key, Any))
        if fault := _fault(value, hint, LIMITS.get(key)):
            raise RecipeError(f"{where}.{key} {fault}.")
    values = {**_all_stages(folder, seed), **defaults, **config.trl, **(fixed or {})}
    try:
        with warnings.catch_warnings():
            # TRL still uses transformers' old name of gradient_checkpointing.
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
            args = cls(**values)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{where}: {cls.__name__} refuses it: {error} Correct the values in the recipe.") from error
    _check_installed(where, args)
    return args


def _check_installed(where: str, args: Any) -> None:
    """Refuse what TRL notices only when it makes the trainer, and half precision that it would leave out."""
    if args.fp16 and args.device.type == "cpu":
        raise RecipeError(
            f"{where}.fp16 needs a GPU: on this machine's CPU the training would run in full precision. Remove it."
        )
    try:
        for callback in get_reporting_integration_callbacks(args.report_to):
            callback()
    except (ImportError, RuntimeError, ValueError) as error:
        raise RecipeError(
            f"{where}.report_to: {', '.join(args.report_to)} cannot be used: {_line(error)} Install it, choose another "
            "one, or remove report_to: the figures are in metrics.jsonl too."
        ) from error
    try:
        Trainer.get_optimizer_cls_and_kwargs(args, torch.nn.Module())
    except (ImportError, ValueError) as error:
        # Some optimizers look for optim_target_modules in the model, which there is not yet.
        if isinstance(error, ImportError) or not args.optim_target_modules:
            raise RecipeError(
                f"{where}.optim: {args.optim.value} cannot be used: {_line(error)} Install what it needs, or use "
                "adamw_torch."
            ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") + "."


def _fault(value: Any, hint: Any, limit: Any) -> str:
    """Why a field of numbers or choices cannot have ``value``; fields of other types are left to the library."""
    numbers = set(typing.get_args(hint) or (hint,)) <= {int, float, NoneType}
    if not numbers and typing.get_origin(hint) is not Literal:
        return ""
    strict = isinstance(value, bool | str)  # else pydantic takes "1" and true for numbers
    try:
        TypeAdapter(Annotated[hint, limit] if limit else hint).validate_python(value, strict=strict)
    except ValidationError as error:
        return plain(error.errors(include_url=False)[-1])
    return ""


def _all_stages(folder: Path, seed: int) -> dict[str, Any]:
    """Our settings for every TRL trainer."""
    machine = {} if torch.cuda.is_available() else {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    return machine | {
        "output_dir": str(folder / "checkpoints"),
        "seed": seed,
        "data_seed": seed,
        "disable_tqdm": True,
        "report_to": "none",
        # By default a loss of NaN is logged as the mean of those before it.
        "logging_nan_inf_filter": False,
        "save_total_limit": 1,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


# first weights and checkpoints --------------------------------------------------------------------


def _keep_freed_memory() -> None:
    """Let glibc reuse freed blocks of many megabytes, which makes a step on a CPU a sixth faster."""
    if sys.platform == "linux" and not torch.cuda.is_available() and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def start(model_name: str | None, context: Context) -> tuple[Any, Any, Any]:
    """Model, tokenizer and peft configuration to start from.

    Args:
        model_name: the stage whose weights to take, or "base"; by default the last stage that trained a language model.
        context: of the stage.

    Raises:
        RecipeError: no earlier stage trained a language model under that name.
    """
    _keep_freed_memory()
    # TRL still names gradient_checkpointing by its old name, and transformers says so at every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    datasets.disable_progress_bars()
    disable_progress_bar()  # of loading and saving: one bar at a time
    known = ["base", *context.models]
    name = known[-1] if model_name is None else model_name
    if name not in known:
        why = "trains an agent on numbers" if name in context.agents else "is not an earlier stage"
        raise RecipeError(f"model: '{name}' {why}.{did_you_mean(name, known)} Choose from: {', '.join(known)}.")
    if name == "base":
        source = base_source(context.model, context.task, context.run_folder, context.seed)
    else:
        source = str(context.models[name])
    model, tokenizer = load(source, context.model, trainable=True)
    # Fresh adapters must not depend on whether the base was built just now or before the run was cut off.
    set_seed(context.seed)
    return model, tokenizer, peft_config(context.model, model)


def train(trainer: Trainer, context: Context, *, title: str, shown: tuple[str, ...]) -> None:
    """Train with a progress bar, from the last complete checkpoint of an interrupted attempt if there is one.

    Args:
        trainer: a trainer of TRL.
        context: of the stage.
        title: the stage's name.
        shown: figures beside the progress bar.

    Raises:
        RunError: the training has diverged. Its checkpoints stay.
    """
    checkpoint = _last_checkpoint(Path(str(trainer.args.output_dir)))
    if checkpoint:
        context.console.print(f"Resuming from {Path(checkpoint).name}")
        state = TrainerState.load_from_json(str(Path(checkpoint) / STATE))
        if state.global_step >= state.max_steps:
            # transformers would train one step more, though only the weights are left to hand on.
            trainer._load_from_checkpoint(checkpoint)
            check_weights(trainer.model, title, state.global_step, trainer.args)
            return
    trainer.remove_callback(PrinterCallback)  # the progress bar and metrics.jsonl have the figures
    with progress(context.console) as bar:
        trainer.add_callback(step_callback(bar, title, context.folder / METRICS, shown))
        trainer.add_callback(StopDiverged(title))  # after the other: metrics.jsonl has the value that it stops at
        trainer.train(resume_from_checkpoint=checkpoint)


def _last_checkpoint(folder: Path) -> str | None:
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
    """Save the weights (safetensors), drop the checkpoints, and report the last value of each figure."""
    weights = context.folder / WEIGHTS
    trainer.save_model(str(weights))
    tokenizer.save_pretrained(str(weights))
    # A pickle of the training arguments: loading it could run code, and the run's recipe holds the same.
    (weights / "training_args.bin").unlink(missing_ok=True)
    # Renamed first: a resume would take a half-deleted folder for a checkpoint.
    checkpoints = Path(str(trainer.args.output_dir))
    if checkpoints.exists():
        shutil.rmtree(checkpoints.replace(checkpoints.with_suffix(".old")))
    last: dict[str, float] = {}
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
    """Refuse weights that are not finite.

    Raises:
        RunError: a trained weight is NaN or infinite.
    """
    for name, weights in model.named_parameters():
        if weights.requires_grad and not bool(torch.isfinite(weights.detach()).all()):
            raise _diverged(title, step, f"{name} holds values that are not finite", args)


def _diverged(title: str, step: int, what: str, args: Any) -> RunError:
    return RunError(
        f"stages.{title}: the training has diverged: at step {step} {what}. Only earlier checkpoints are kept. "
        f"Lower trl.learning_rate ({args.learning_rate:g}) or trl.max_grad_norm ({args.max_grad_norm:g}), and start a "
        "new run."
    )
