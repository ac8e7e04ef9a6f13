"""Proximal policy optimisation by Stable-Baselines3, on the numbers of an environment instead of its text."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from rich.progress import Progress, TaskID

from tradeschool.env.conversation import Facts
from tradeschool.errors import RecipeError
from tradeschool.tasks.base import Task
from tradeschool.train.logging import METRICS, progress, read_metrics, write_rows
from tradeschool.train.stage import Context, Result, StageConfig

if TYPE_CHECKING:
    from tradeschool.env.harness import Agent
    from tradeschool.env.trading import TradingEnv

SB3 = "stable_baselines3:PPO"
ENVS = 100
"""Episodes side by side: more are stepped faster, and leave fewer updates to the same number of steps."""
SHOWN = ("episode_return", "entropy")
SUMMARY = ("step", "episode_return", "entropy", "steps_per_second")
Figures = dict[str, Any]


class Config(StageConfig):
    """``steps``: decisions to learn from, rounded up to whole rounds; ``envs``: episodes played side by side.

    ``facts`` are those of the market that the network reads, by default those that the task tells a language model; the
    account and the holdings are always read. ``sb3`` goes verbatim to Stable-Baselines3's PPO, over what the house sets
    (``train/ppo_learner.py``).
    """

    steps: int = Field(default=20_000, ge=1)
    envs: int = Field(default=ENVS, ge=1, le=100_000)
    facts: Facts | None = None
    sb3: dict[str, Any] = Field(default={})


def check_task(config: Config, task: Task) -> None:
    """Refuse a task without an environment, and values that PPO cannot learn with, before any stage has run.

    Raises:
        RecipeError: the task has none, or PPO fails with what ``sb3`` holds.
        EnvError: no episode fits into the training rows.
    """
    _check_env(config, task)
    if not config.sb3:  # what the house sets is known to do
        return
    from tradeschool.train.ppo_learner import try_out

    playable: Any = task
    try:
        env = playable.env("train", observation="numeric")
        try_out(env, envs=config.envs, sb3=config.sb3, facts=_facts(config, task))
    except RecipeError as error:
        raise RecipeError(f"stages.{config.name}.{error}") from error


def _check_env(config: Config, task: Task) -> None:
    if not hasattr(task, "env"):
        raise RecipeError(
            f"stages.{config.name}: the task '{task.name}' has no environment to play. Take task: {{name: trade}}."
        )


def train_ppo(
    env: "TradingEnv",
    *,
    steps: int,
    seed: int,
    sb3: dict[str, Any] | None = None,
    envs: int = ENVS,
    facts: Sequence[str] | None = None,
    progress: Callable[[Figures], None] = lambda figures: None,
) -> "Agent":
    """An agent that has learned from ``steps`` decisions in an environment with numeric observations.

    Args:
        env: market, rows and rules; it is neither reset nor stepped.
        steps: of all episodes together, rounded up to whole rounds.
        seed: of weights, episodes and exploration; the same seed gives the same agent.
        sb3: arguments of Stable-Baselines3's PPO, over the house's.
        envs: episodes side by side.
        facts: of the market's (``env/conversation.py``), those that the network reads; all where they are not given.
        progress: given every round's figures, ``step`` among them.

    Raises:
        RecipeError: PPO refuses an argument or fails with it, there is no such fact, or the training has diverged.
    """
    from tradeschool.policies.sb3 import Sb3Agent
    from tradeschool.train.ppo_learner import learn

    return Sb3Agent(learn(env, steps=steps, seed=seed, envs=envs, sb3=sb3, facts=facts, tell=progress).policy)


def run(config: Config, context: Context) -> Result:
    """Train on the training rows; ``weights/ppo.zip`` is the agent, as Stable-Baselines3 saves it."""
    from tradeschool.policies.sb3 import save_agent
    from tradeschool.train.ppo_learner import learn

    _check_env(config, context.task)
    task: Any = context.task
    checkpoint = context.folder / "checkpoints" / "ppo.zip"
    try:
        with progress(context.console) as bar:
            row = bar.add_task(config.name, total=config.steps, figures="")
            model = learn(
                task.env("train", observation="numeric"),
                steps=config.steps,
                seed=context.seed,
                envs=config.envs,
                sb3=config.sb3,
                facts=_facts(config, task),
                tell=_Diary(context.folder / METRICS, bar, row, config.steps),
                checkpoint=checkpoint,
            )
    except RecipeError as error:
        raise RecipeError(f"stages.{config.name}.{error}") from error
    weights = context.folder / "weights"
    save_agent(model, weights)
    shutil.rmtree(checkpoint.parent, ignore_errors=True)
    last = read_metrics(context.folder / METRICS)[-1]
    return Result(weights=weights, kind="numeric", summary={key: last[key] for key in SUMMARY if key in last})


def _facts(config: Config, task: Any) -> Sequence[str] | None:
    """What the network is to read; None for all, where neither stage nor task says it or ``sb3`` does."""
    if config.facts is not None:
        return config.facts
    network = config.sb3.get("policy_kwargs")
    if isinstance(network, dict) and "features_extractor_kwargs" in network:
        return None
    told: Sequence[str] | None = getattr(getattr(task, "config", None), "facts", None)
    return told


@dataclass
class _Diary:
    """Writes every round's figures to ``path`` and moves the bar's ``row``."""

    path: Path
    bar: Progress
    row: TaskID
    steps: int
    begun: bool = False

    def __call__(self, figures: Figures) -> None:
        if not self.begun:
            # What a cut-off attempt wrote behind its checkpoint comes again.
            write_rows(self.path, [one for one in read_metrics(self.path) if one["step"] < figures["step"]])
            self.begun = True
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
        shown = " ".join(f"{key} {figures[key]:.4f}" for key in SHOWN if key in figures)
        self.bar.update(self.row, completed=min(figures["step"], self.steps), figures=shown)
