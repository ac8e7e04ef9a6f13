"""How much of a market's edge each learner gets from the same outcomes, and in the same seconds.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/learning.py --seeds 0-4

For each seed (of market, training and evaluation together) the demo's SFT model is trained by every row from the same
number of outcomes, then again for as many seconds as the row "GVPO, decisions" took. Prints the share of the edge on
unseen dates: the mean over the seeds with Student's t-interval. Finished runs are kept below --out and not run again.
On an otherwise idle machine only: seconds are measured.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML
from scipy import stats

from tradeschool import pipeline
from tradeschool.config.recipe import from_mapping
from tradeschool.evaluate.comparison import Comparison
from tradeschool.evaluate.report import COMPARISON
from tradeschool.policies import table
from tradeschool.seeds import parse_seeds

DEMO = Path(__file__).parents[1] / "recipes" / "demo.yaml"
QUESTIONS, ANSWERS = 240, 8
REFERENCE = "gvpo-decisions"
SAMPLED = {
    "num_generations": ANSWERS,
    "per_device_train_batch_size": QUESTIONS * ANSWERS,
    "steps_per_generation": 1,
    "max_completion_length": 24,
    "lr_scheduler_type": "cosine",
    "logging_steps": 1,
    "save_strategy": "no",
}
POLICY_GRADIENT = {"learning_rate": 5e-4, "warmup_steps": 5, "max_grad_norm": 0.1, "beta": 0.02}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "grpo-sampled": ("GRPO, 8 sampled answers", {"objective": "grpo", "trl": SAMPLED | POLICY_GRADIENT}),
    # The mean of the other answers as baseline is GRPO's times G / (G - 1), which neither Adam nor clipping notices.
    "rloo-sampled": (
        "RLOO, 8 sampled answers",
        {"objective": "grpo", "trl": SAMPLED | POLICY_GRADIENT | {"scale_rewards": "none", "loss_type": "dr_grpo"}},
    ),
    "ppo-sampled": ("PPO, 8 sampled answers", {"objective": "ppo", "trl": SAMPLED | POLICY_GRADIENT}),
    "gvpo-sampled": (
        "GVPO, 8 sampled answers",
        {
            "objective": "gvpo",
            "trl": SAMPLED | {"learning_rate": 5e-4, "warmup_steps": 5, "max_grad_norm": 0.5, "adam_beta2": 0.99},
        },
    ),
    REFERENCE: ("GVPO, all decisions", {}),
}
"""By the stage's name: the row's heading, and what its stage has beside the demo's; nothing in the reference."""
Found = dict[str, tuple[float, float]]
"""By row: share of the edge, and seconds of training."""


def main(
    seeds: Annotated[str, typer.Option(help="Such as 0-4 or 5,6.")] = "0-4",
    rows: Annotated[str, typer.Option(help="Stages of the table, by comma.")] = ",".join(ROWS),
    outcomes: Annotated[int, typer.Option(help="Questions whose outcomes are used; 0: as the demo.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/learning"),
    sets: Annotated[list[str] | None, typer.Option("--set", help="As of tradeschool run.")] = None,
) -> None:
    """Run what has not been run, and print the table."""
    console, chosen = Console(), [name for name in ROWS if name in rows.split(",")]
    demo = YAML(typ="safe").load(DEMO.read_text())
    equal: list[Found] = []
    timed: list[Found] = []
    for seed in parse_seeds(seeds):
        own = [f"seed={seed}", f"market.seed={seed}", f"stages.evaluate.seed={seed}", *(sets or [])]
        sft, learned, evaluate = demo["stages"]
        stages = [_stage(name, learned, outcomes) for name in chosen]
        folder = out / f"outcomes-{seed}"
        equal.append(_results(demo | {"stages": [sft, *stages, evaluate]}, own, folder, console))
        slower = [stage for stage in stages if stage["name"] != REFERENCE]
        if len(slower) < len(stages) > 1:
            budget = equal[-1][REFERENCE][1]
            for stage in slower:
                steps = stage["trl"]["max_steps"] * budget / equal[-1][stage["name"]][1]
                stage["trl"]["max_steps"] = max(8, round(steps))  # a few more than the warm-up
                stage["model"] = "base"
            start = {"base": str((folder / "1-sft" / "weights").absolute())}
            again = demo | {"model": start, "stages": [*slower, evaluate | {"base": False}]}
            own = [one for one in own if not one.startswith(("stages.sft.", "model"))]  # the SFT model is there
            timed.append(_results(again, own, out / f"seconds-{seed}", console))
    console.print(_table(equal, timed))


def _stage(name: str, learned: dict[str, Any], outcomes: int) -> dict[str, Any]:
    """The stage of a row, for as many outcomes."""
    questions = outcomes or learned["questions"]
    own = ROWS[name][1]
    if not own:
        steps = round(learned["trl"]["max_steps"] * questions / learned["questions"])
        own = learned | {"trl": learned["trl"] | {"max_steps": steps}}
    else:
        own = own | {"trl": own["trl"] | {"max_steps": round(questions / QUESTIONS)}}
    return {"stage": "grpo", "model": "sft", **own, "name": name, "questions": questions}


def _results(document: dict[str, Any], sets: Sequence[str], folder: Path, console: Console) -> Found:
    """Run a recipe unless that is done, and read each row's results."""
    recipe = from_mapping(json.loads(json.dumps(document)), sets)
    evaluation = folder / f"{len(recipe.stages)}-evaluate" / COMPARISON
    if not evaluation.exists():
        pipeline.run(recipe, folder, console)
    found = Comparison.from_json(evaluation.read_text())
    seconds = {one["name"]: one["seconds"] for one in json.loads((folder / "manifest.json").read_text())["stages"]}
    names = [stage.name for stage in recipe.stages if stage.stage == "grpo"]
    shares = {row.policy: row.metrics["share"].value for row in found.rows if "share" in row.metrics}
    return {name: (shares[name], seconds.get(name, 0.0)) for name in [*names, table.NAME] if name in shares}


def _table(equal: Sequence[Found], timed: Sequence[Found]) -> Table:
    made = Table(title="share of the edge on unseen dates, mean over the seeds [95 % interval]")
    for heading in ("learner", "equal outcomes", "each seed", "seconds", "equal seconds", "each seed"):
        made.add_column(heading, justify="left" if heading == "learner" else "right")
    for name in equal[0]:
        heading = ROWS[name][0] if name in ROWS else name
        seconds = "-" if name not in ROWS else f"{np.mean([found[name][1] for found in equal]):.0f}"
        again = [found for found in timed if name in found]
        made.add_row(heading, *_shares(equal, name), seconds, *(_shares(again, name) if again else ("-", "-")))
    return made


def _shares(found: Sequence[Found], name: str) -> tuple[str, str]:
    """The mean with its interval, and the value of each seed."""
    values = [one[name][0] for one in found]
    each = " ".join(f"{value:.2f}" for value in values)
    if len(values) < 2:
        return f"{values[0]:.2f}", each
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    return f"{np.mean(values):.2f} [{low:.2f}, {high:.2f}]", each


if __name__ == "__main__":
    typer.run(main)
