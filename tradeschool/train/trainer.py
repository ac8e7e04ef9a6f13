"""What the stages on TRL trainers share: the model to start from, checkpoints, weights to hand on."""

import shutil
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.trainer_utils import get_last_checkpoint

from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.models.load import base_source, load, peft_config
from tradeschool.train.logging import METRICS, progress, read_metrics, step_callback
from tradeschool.train.stage import Context, Result

WEIGHTS = "weights"


def start(model_name: str | None, context: Context) -> tuple[Any, Any, Any]:
    """Model, tokenizer and peft configuration of the stage ``model_name``, by default the latest."""
    if model_name == "base" or (model_name is None and not context.models):
        source = base_source(context.model, context.task, context.run_folder, context.seed)
    elif model_name is None:
        source = str(list(context.models.values())[-1])
    elif model_name in context.models:
        source = str(context.models[model_name])
    else:
        known = ["base", *context.models]
        raise RecipeError(
            f"model: '{model_name}' is no stage before this one.{did_you_mean(model_name, known)} "
            f"Choose from: {', '.join(known)}."
        )
    model, tokenizer = load(source, context.model, trainable=True)
    return model, tokenizer, peft_config(context.model, model)


def train(trainer: Trainer, context: Context, *, title: str, shown: tuple[str, ...]) -> None:
    """Train with a progress bar, from the last complete checkpoint of an interrupted attempt if there is one."""
    checkpoint = _last_checkpoint(Path(str(trainer.args.output_dir)))
    if checkpoint:
        context.console.print(f"Goes on from {Path(checkpoint).name}")
    with progress(context.console) as bar:
        trainer.add_callback(step_callback(bar, title, context.folder / METRICS, shown))
        trainer.train(resume_from_checkpoint=checkpoint)


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; the state file is what is written last."""
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))):
        if (Path(found) / "trainer_state.json").exists():
            return found
        shutil.rmtree(found)
    return None


def finish(trainer: Trainer, tokenizer: Any, context: Context, *, summary: tuple[str, ...]) -> Result:
    """Save the weights (safetensors), drop the checkpoints, and report the last value of each figure."""
    weights = context.folder / WEIGHTS
    trainer.save_model(str(weights))
    tokenizer.save_pretrained(str(weights))
    shutil.rmtree(str(trainer.args.output_dir), ignore_errors=True)
    last: dict[str, float] = {}
    for row in read_metrics(context.folder / METRICS):
        last.update({key: row[key] for key in summary if isinstance(row.get(key), int | float)})
    return Result(weights=weights, summary=last)
