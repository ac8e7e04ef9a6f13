"""TRL's configuration: our defaults, what the machine lacks, and a trial step with a very small model."""

import copy
import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from huggingface_hub import HfApi
from transformers import PrinterCallback, Trainer
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.utils.logging import disable_progress_bar
from trl import GRPOConfig, GRPOTrainer, SFTTrainer

from tradeschool.errors import RecipeError, one_line
from tradeschool.models.load import TinyConfig, build_model, build_tokenizer
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
    """Construct TRL's class of configuration for a stage; a RecipeError if TRL refuses a value or it has no effect.

    ``config.trl`` overrides ``defaults``, the stage's own besides those of all stages, but not the values ``fixed``.
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
            f"{where}: {cls.__name__} refuses it: {one_line(error)}. Correct the values in the recipe."
        ) from error
    _check_installed(where, args)
    return args


def _check_installed(where: str, args: Any) -> None:
    """Refuse what the trial step cannot judge, and half precision that TRL would leave out."""
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
            f"{where}.report_to: {', '.join(args.report_to)} cannot be used: {one_line(error)}. Install it, choose "
            "another one, or remove report_to: the figures are in metrics.jsonl too."
        ) from error
    _check_effect(where, args)


def _check_effect(where: str, args: Any) -> None:
    """Refuse arguments that the optimizer does not read."""
    plain = copy.copy(args)
    plain.optim_args = None
    try:
        made = [Trainer.get_optimizer_cls_and_kwargs(one, torch.nn.Module()) for one in (args, plain)]
    except (ImportError, ValueError):  # the trial step will say so, or the optimizer needs the model
        return
    if args.optim_args and made[0] == made[1]:
        raise RecipeError(f"{where}.optim_args has no effect with optim {args.optim.value}. Remove it.")


def _check_hub(where: str, args: Any) -> None:
    """Refuse to train what could not be uploaded, or would replace another run's upload."""
    if not args.hub_model_id:
        raise RecipeError(f"{where}.push_to_hub needs hub_model_id: USER/NAME, the repository to upload to.")
    try:
        HfApi().whoami(token=args.hub_token)
    except Exception as error:  # whatever it is that fails between here and the Hub
        raise RecipeError(
            f"{where}.push_to_hub: the Hub cannot be used: {one_line(error, 300)}. Connect to the network and log in "
            "(hf auth login), or remove push_to_hub."
        ) from error


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


def refuse_no_steps(name: str, rows: int, args: Any) -> None:
    """Refuse answers or questions that do not fill one batch: TRL would leave them out, and no weight would change."""
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
        raise RecipeError(f"{where}: this cannot be trained: {one_line(error)}. Correct the recipe.") from error


# a trial step -------------------------------------------------------------------------------------

_SHAPE = TinyConfig(vocabulary=300, hidden_size=16, layers=1, heads=1, intermediate_size=16, positions=64)
_ANSWER = {"input_ids": [5, 6, 7, 8], "completion_mask": [0, 0, 1, 1], "assistant_masks": [0, 0, 1, 1]}
_QUESTION = {"prompt": [{"role": "user", "content": "?"}]}
_SMALL: dict[str, Any] = {
    "max_steps": 1,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "dataloader_num_workers": 0,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "push_to_hub": False,
    "torch_compile": False,
}
_SMALL_GROUPS = {"num_generations": 2, "max_completion_length": 2, "use_vllm": False, "log_completions": False}
_LEFT_OUT = (
    "cache_implementation", "generation_batch_size", "max_length", "num_train_epochs", "optim_target_modules",
    "packing", "steps_per_generation", "use_transformers_continuous_batching", "use_transformers_paged", "warmup_steps",
)  # fmt: skip
"""Options that one small step cannot judge: they depend on the recipe's sizes or on its model's layers."""


def trial_step(stage: StageConfig, arguments: Callable[[StageConfig, Path], Any]) -> None:
    """Train a very small model for one step with the options of an ``sft`` or ``grpo`` stage; RecipeError if it fails.

    ``arguments`` makes TRL's configuration of a stage, with files in a folder.
    """
    of_layers = {"optim", "optim_args"} if stage.trl.get("optim_target_modules") else set()
    given = {key: value for key, value in stage.trl.items() if key not in _LEFT_OUT and key not in of_layers}
    groups = {key: value for key, value in _SMALL_GROUPS.items() if stage.stage == "grpo"}
    small = stage.model_copy(update={"trl": given | _SMALL | groups})
    disable_progress_bars()
    disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _train(arguments(small, Path(folder)))
        except RecipeError:
            raise
        except Exception as error:
            values = ", ".join(f"{key}: {value!r}" for key, value in given.items())
            raise RecipeError(
                f"stages.{stage.name}.trl: a trial step fails with these values ({type(error).__name__}: "
                f"{one_line(error, 300)}). Correct them: {values}."
            ) from error


def _train(args: Any) -> None:
    tokenizer = build_tokenizer(["?"], [], _SHAPE)
    model, common = build_model(tokenizer, _SHAPE, 0), {"args": args, "processing_class": tokenizer}
    if isinstance(args, GRPOConfig):
        if args.beta:
            model.save_pretrained(args.output_dir)  # from where TRL loads the reference model
            model.config._name_or_path = args.output_dir
        args.reward_weights = None
        rows = Dataset.from_list([_QUESTION] * 2)
        trainer: Any = GRPOTrainer(model=model, reward_funcs=_reward, train_dataset=rows, **common)
    else:
        trainer = SFTTrainer(model=model, train_dataset=Dataset.from_list([_ANSWER] * 2), **common)
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _reward(completions: list[Any], **columns: Any) -> list[float]:
    return [float(place) for place in range(len(completions))]
