"""What a step of the stage grpo costs, by part: GVPO on all decisions, of the demo's model or of SmolLM2-135M.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/step.py                          # recipes/demo.yaml
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/step.py --recipe demo-smollm2    # after make smollm2
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/step.py --recipe demo-smollm2 --plain

A step is one batch without accumulation. Seconds are processor time, so that waiting for other work does not count.
``--plain`` is how it was before: adapters on all layers, computed in float32, and TRL's kernel for the output layer.
The first step is not counted.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from accelerate import Accelerator
from rich.console import Console
from ruamel.yaml import YAML

from tradeschool import pipeline
from tradeschool.config.recipe import from_mapping
from tradeschool.train import frozen_head, trainer
from tradeschool.train.decision_groups import DecisionTrainer

RECIPES = Path(__file__).parents[1] / "recipes"
PARTS: dict[str, tuple[Any, str]] = {
    "answers and rewards": (DecisionTrainer, "_generate_and_score_completions"),
    "forward": (DecisionTrainer, "_compute_loss"),
    "backward": (Accelerator, "backward"),
    "optimiser": (torch.optim.AdamW, "step"),
    "logging": (DecisionTrainer, "log"),
    "all": (DecisionTrainer, "_inner_training_loop"),
}
"""By heading: the class and the method that is timed."""
ANSWERS = 5
"""To a question: the ratings."""


def main(
    recipe: Annotated[str, typer.Option(help="demo or demo-smollm2.")] = "demo",
    steps: Annotated[int, typer.Option(help="Steps, the first of which is not counted.")] = 4,
    plain: Annotated[bool, typer.Option(help="Without what makes adapters faster.")] = False,
) -> None:
    """Train some steps and print what each part took."""
    document = YAML(typ="safe").load((RECIPES / f"{recipe}.yaml").read_text())
    stage = next(one for one in document["stages"] if one["stage"] == "grpo")
    stage["shrink"] = False
    stage["trl"] |= {"max_steps": steps, "save_strategy": "no", "gradient_accumulation_steps": 1}
    stage["trl"].pop("save_steps", None)
    document["stages"] = [stage]
    if plain:
        stage["trl"].pop("bf16", None)
        document["model"]["lora"] = {"r": 16}
        for module, name in ((frozen_head, "install"), (trainer, "_keep_half_precision")):
            setattr(module, name, lambda *given: None)
    seconds: dict[str, list[float]] = defaultdict(list)
    for name, (cls, method) in PARTS.items():
        setattr(cls, method, _timed(getattr(cls, method), seconds[name]))
    with tempfile.TemporaryDirectory() as folder:
        pipeline.run(from_mapping(document), Path(folder) / "run", Console(quiet=True))
    _print(f"recipes/{recipe}.yaml", stage["trl"]["per_device_train_batch_size"] // ANSWERS, steps, seconds)


def _timed(method: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """The method, with its processor time appended to ``seconds`` at every call."""

    def timed(*given: Any, **named: Any) -> Any:
        started = time.process_time()
        try:
            return method(*given, **named)
        finally:
            seconds.append(time.process_time() - started)

    return timed


def _print(recipe: str, questions: int, steps: int, seconds: dict[str, list[float]]) -> None:
    """Milliseconds of a question, by part, without the first step."""
    each = {name: len(found) // steps for name, found in seconds.items()}
    means = {name: sum(found[each[name] :]) / (steps - 1) for name, found in seconds.items() if name != "all"}
    first = sum(sum(found[: each[name]]) for name, found in seconds.items() if name != "all")
    whole = (seconds["all"][0] - first) / (steps - 1)
    print(f"{recipe}: {whole:.2f} s a step of {questions} questions; of a question's {1e3 * whole / questions:.1f} ms:")
    for name, mean in [*means.items(), ("the rest", whole - sum(means.values()))]:
        print(f"  {name:20} {1e3 * mean / questions:8.1f} ms  {mean / whole:4.0%}")


if __name__ == "__main__":
    typer.run(main)
