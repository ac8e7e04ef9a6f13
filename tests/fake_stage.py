"""A stage without a model, for tests of recipe, pipeline and commands."""

import json
import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from tradeschool.train.answers import write_dataset
from tradeschool.train.stage import Context, Result, StageConfig

TRL, MAKES, WRITES_DATA = "fake_stage:FakeTrlConfig", "language", True
BLOCK = "FAKE_STAGE_BLOCKS"


class Inner(BaseModel):
    depth: int = 1


class Config(StageConfig):
    steps: int = Field(default=3, ge=1)
    rate: float = 0.1
    speed: Literal["fast", "slow"] = "fast"
    inner: Inner = Inner()
    makes_weights: bool = True
    model: str | None = None
    models: list[str] | None = None
    writes: int = 0


@dataclass
class FakeTrlConfig:
    """Stands for TRL's configuration class."""

    learning_rate: float = 1e-3
    beta: float = 0.0
    shuffle: bool = True


def set_seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)


def run(config: Config, context: Context) -> Result:
    """Note the attempt, wait to be killed where the environment says so, then write figures that the seed fixes."""
    with (context.folder / "attempts.txt").open("a", encoding="utf-8") as file:
        file.write("attempt\n")
    drawn, models = random.random(), sorted(context.models)
    figure = {"random": drawn, "numpy": float(np.random.random()), "models": models}
    if os.environ.get(BLOCK) == config.name:
        (context.folder / "checkpoint").write_text("half way", encoding="utf-8")
        time.sleep(120)
    (context.folder / "metrics.jsonl").write_text(json.dumps(figure) + "\n", encoding="utf-8")
    weights = context.folder / "weights"
    if config.makes_weights:
        weights.mkdir(exist_ok=True)
    return Result(weights if config.makes_weights else None, {"random": drawn}, datasets=written(config, context))


def written(config: Config, context: Context) -> dict[str, Path]:
    """A data set of ``writes`` answers of the task's expert."""
    if not config.writes:
        return {}
    pairs = context.task.sft_examples("train", config.writes, context.seed)
    rows = [{"messages": context.task.messages(example), "completion": text} for example, text in pairs]
    write_dataset(context.folder / "data.jsonl", rows)
    return {config.name: context.folder / "data.jsonl"}


def main() -> None:
    """The command line with this stage registered: what a subprocess runs."""
    from tradeschool import cli, pipeline
    from tradeschool.config.recipe import STAGES

    STAGES["fake"] = "fake_stage"
    pipeline.set_seed = set_seed
    cli.main()


if __name__ == "__main__":
    sys.modules["fake_stage"] = sys.modules["__main__"]
    main()
