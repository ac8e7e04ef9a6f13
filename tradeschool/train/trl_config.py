"""TRL's configuration: our defaults, and everything that can be refused before training."""

import importlib.util
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from transformers import AutoModelForCausalLM, Trainer, get_scheduler
from transformers.integrations.integration_utils import get_reporting_integration_callbacks

from tradeschool.errors import RecipeError
from tradeschool.models.load import ModelConfig, preview
from tradeschool.tasks.base import Task
from tradeschool.train.options import check_options
from tradeschool.train.stage import StageConfig

CHECKPOINTS = "checkpoints"


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
    check_options(cls, config.trl, where)
    own = {"output_dir": str(folder / CHECKPOINTS)}
    values = {**_all_stages(seed), **defaults, **config.trl, **(fixed or {}), **own}
    try:
        with warnings.catch_warnings():
            # TRL still uses transformers' old name of gradient_checkpointing.
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
            args = cls(**values)
    except Exception as error:  # whatever the class refuses
        raise RecipeError(
            f"{where}: {cls.__name__} refuses it: {_line(error)} Correct the values in the recipe."
        ) from error
    _check_installed(where, args)
    return args


def _check_installed(where: str, args: Any) -> None:
    """Refuse what TRL notices only when it makes the trainer or trains, and half precision that it would leave out."""
    for field in ("fp16", "activation_offloading"):
        if getattr(args, field, False) and args.device.type == "cpu":
            raise RecipeError(f"{where}.{field} needs a GPU, and this machine has none. Remove it.")
    for field, module in (("use_vllm", "vllm"), ("use_liger_kernel", "liger_kernel")):
        if getattr(args, field, False) and importlib.util.find_spec(module) is None:
            raise RecipeError(f"{where}.{field}: {module} is not installed. Install it, or remove {field}.")
    if args.push_to_hub:
        _check_hub(where, args)
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
    weights = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    try:
        get_scheduler(args.lr_scheduler_type, weights, args.get_warmup_steps(9), 9, args.lr_scheduler_kwargs)
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"{where}.lr_scheduler_type: {args.lr_scheduler_type.value} with lr_scheduler_kwargs "
            f"{args.lr_scheduler_kwargs} cannot be used: {_line(error)} Correct one of them."
        ) from error


def _check_hub(where: str, args: Any) -> None:
    """Refuse to train what could not be uploaded, or would replace another run's upload."""
    if not args.hub_model_id:
        raise RecipeError(f"{where}.push_to_hub needs hub_model_id: USER/NAME, the repository to upload to.")
    try:
        HfApi().whoami(token=args.hub_token)
    except Exception as error:  # whatever it is that fails between here and the Hub
        raise RecipeError(
            f"{where}.push_to_hub: the Hub cannot be used: {_line(error)[:300]} Connect to the network and log in (hf "
            "auth login), or remove push_to_hub."
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") + "."


def _all_stages(seed: int) -> dict[str, Any]:
    """Our settings for every TRL trainer."""
    machine = {} if torch.cuda.is_available() else {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    return machine | {
        "seed": seed,
        "data_seed": seed,
        "disable_tqdm": True,
        "report_to": "none",
        # By default a loss of NaN is logged as the mean of those before it.
        "logging_nan_inf_filter": False,
        "save_total_limit": 1,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


# what can be refused before training --------------------------------------------------------------


def check_memory(model: ModelConfig, task: Task, args: Any) -> None:
    """Refuse, before any weights are loaded, a model beyond the machine's memory.

    Without a GPU the system kills a process that takes more memory than there is, and nobody learns why.

    Raises:
        RecipeError: this is the case.
    """
    if (found := preview(model, task, ())) is None:
        return
    with torch.device("meta"):  # shapes without memory
        made = AutoModelForCausalLM.from_config(found[1].config)
    weights = sum(weight.numel() * weight.element_size() for weight in made.parameters())
    adam = args.optim.value in ("adamw_torch", "adamw_torch_fused")
    needed = weights * (1 if model.lora else 4 if adam else 2)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory and not torch.cuda.is_available():
        raise RecipeError(
            f"model.base: to train {model.base} takes at least {needed / 1e9:,.0f} GB for weights, gradients and the "
            f"optimizer's state, but this machine has {memory / 1e9:,.0f} GB. Use a smaller model, model.lora, or a "
            "machine with a GPU."
        )


def refuse_no_steps(name: str, rows: int, args: Any) -> None:
    """Refuse data that do not fill one batch: TRL would leave them out, and the weights would stay as they are.

    Args:
        name: of the stage.
        rows: answers to imitate, or questions.
        args: TRL's configuration.

    Raises:
        RecipeError: this is the case.
    """
    batch, of = 1, "at least one"
    if hasattr(args, "num_generations"):
        batch = args.generation_batch_size // args.num_generations
        of = "trl.per_device_train_batch_size x steps_per_generation / num_generations"
    elif args.dataloader_drop_last:
        batch = args.train_batch_size * args.world_size
        of = "trl.per_device_train_batch_size, as trl.dataloader_drop_last leaves out smaller ones"
    if rows < batch:
        raise RecipeError(
            f"stages.{name}: no step would be trained: there are {rows} training examples, but a batch takes {batch} "
            f"({of}). Use more examples or questions, a longer training part or another curriculum, or lower "
            "trl.per_device_train_batch_size."
        )


@contextmanager
def refused(where: str) -> Iterator[None]:
    """Report what a library refuses, while it makes adapters or a trainer, as a fault of the recipe at ``where``."""
    try:
        yield
    except (ImportError, TypeError, ValueError) as error:
        raise RecipeError(f"{where}: this cannot be trained: {_line(error)} Correct the recipe.") from error
