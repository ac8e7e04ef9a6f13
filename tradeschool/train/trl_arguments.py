"""TRL's configurations: what the house sets, what the recipe says over it, and what would come to nothing."""

from pathlib import Path
from typing import Any

from tradeschool.errors import RecipeError
from tradeschool.train.stage import StageConfig

UNREAD: dict[str, tuple[tuple[Any, ...], str]] = {
    "eval_strategy": (("no", None), "training has no questions to examine on. Add a stage evaluate or leaderboard"),
    "model_init_kwargs": ((None, {}), "the model is loaded before. Write what it is loaded with in the section model"),
}
"""Fields that TRL's trainers could not use here: what they may be, and why not else, with the cure."""


def configured(cls: type[Any], stage: str, values: dict[str, Any]) -> Any:
    """TRL's configuration; what it refuses is told as a problem of the recipe.

    Raises:
        RecipeError: TRL refuses a value, or two that do not go together.
    """
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise RecipeError(
            f"stages.{stage}.trl: {cls.__name__} refuses it: {error} Correct the values in the recipe."
        ) from error


def arguments(config: StageConfig, folder: Path, seed: int) -> dict[str, Any]:
    """What the house sets for every TRL trainer; the recipe's ``trl:`` mapping has the last word."""
    import torch

    machine = {} if torch.cuda.is_available() else {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    ours = {
        "output_dir": str(folder / "checkpoints"),
        "seed": seed,
        "data_seed": seed,
        "disable_tqdm": True,
        "report_to": "none",
        # By default a loss that is no number is logged as the mean of those before it.
        "logging_nan_inf_filter": False,
        "save_total_limit": 1,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    return {**ours, **machine, **config.trl}


def refuse_unread(config: StageConfig) -> None:
    """Refuse keys that no trainer here can do anything with.

    Raises:
        RecipeError: ``trl`` has one of them.
    """
    for key, (usual, why) in UNREAD.items():
        if config.trl.get(key) not in usual:
            raise RecipeError(f"stages.{config.name}.trl.{key}: {why}.")
