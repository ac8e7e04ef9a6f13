"""A trial step: TRL's trainer trains a tiny model for one step, so that options which fail do so before the run."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars
from transformers import PrinterCallback
from transformers.utils.logging import disable_progress_bar
from trl import GRPOConfig, GRPOTrainer, SFTTrainer

from tradeschool.errors import RecipeError
from tradeschool.models.load import TinyConfig, build_model, build_tokenizer
from tradeschool.train.stage import StageConfig

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
    "packing", "steps_per_generation", "use_transformers_continuous_batching", "use_transformers_paged",
)  # fmt: skip
"""Options that one small step cannot judge: they depend on the recipe's sizes or on its model's layers."""


def trial_step(stage: StageConfig, arguments: Callable[[StageConfig, Path], Any]) -> None:
    """Train a very small model for one step with the stage's options, in a temporary folder.

    Args:
        stage: an ``sft`` or ``grpo`` stage.
        arguments: TRL's configuration of a stage, with files in a folder.

    Raises:
        RecipeError: the step fails.
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
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            values = ", ".join(f"{key}: {value!r}" for key, value in given.items())
            raise RecipeError(
                f"stages.{stage.name}.trl: a trial step fails with these values ({why}). Correct them: {values}."
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
