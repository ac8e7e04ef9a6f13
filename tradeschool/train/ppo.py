"""Proximal policy optimization with Stable-Baselines3, on an environment's numeric observations."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tradeschool.config.check import faults
from tradeschool.env.render import Facts
from tradeschool.errors import RecipeError
from tradeschool.progress import progress
from tradeschool.tasks.base import Task
from tradeschool.train.logging import METRICS, read_metrics, write_rows
from tradeschool.train.stage import CheckContext, Context, Kind, Result, StageConfig

if TYPE_CHECKING:
    from tradeschool.env.strategies import Agent
    from tradeschool.env.trading_env import TradingEnv

MAKES: Kind = "numeric"
SB3 = "stable_baselines3:PPO"
ENVS = 100
"""Parallel episodes. More of them step faster, but leave fewer updates for the same number of steps."""
IGNORED = {
    "seed": "episodes would not follow it. Set the seed of the recipe, or of the leaderboard's agent.",
    "tensorboard_log": "nothing would be written there. The metrics are in metrics.jsonl. Remove it.",
}
"""Arguments of PPO without the effect that a user expects, and what to do instead."""
RANGES = {
    "clip_range": (1e-6, 1e6),
    "ent_coef": (0, 1e6),
    "gae_lambda": (0, 1),
    "gamma": (0, 1),
    "max_grad_norm": (0, 1e6),
    "n_epochs": (0, 10_000),
    "vf_coef": (0, 1e6),
}
"""Of arguments of PPO that Stable-Baselines3 does not check, or that would not come to an end."""
PROGRESS_METRICS = ("episode_return", "entropy")
SUMMARY = ("step", "episode_return", "entropy", "steps_per_second")
Metrics = dict[str, Any]


class Config(StageConfig):
    """Settings of the ``ppo`` stage.

    Attributes:
        steps: decisions to learn from, rounded up to whole rollouts.
        envs: parallel episodes.
        facts: the market facts that the network reads; by default those that the task shows a language model. The
            network always reads the account and the holdings.
        sb3: passed unchanged to Stable-Baselines3's PPO; overrides our defaults (``train/ppo_learner.py``).
    """

    steps: int = Field(default=20_000, ge=1, le=1_000_000_000)
    envs: int = Field(default=ENVS, ge=1, le=100_000)
    facts: Facts | None = None
    sb3: dict[str, Any] = Field(default={})


def check(config: Config, context: CheckContext) -> None:
    """Refuse, before any stage runs, a task without an environment and values that PPO cannot train with.

    Raises:
        RecipeError: the task has no environment, or PPO fails with the values in ``sb3``.
        EnvError: no episode fits into the training rows.
    """
    _check_sb3(_training_env(context.task), config.envs, config.sb3, _facts(config, context.task))


def unusable(sb3: Mapping[str, Any], target: Any = SB3) -> Iterator[tuple[str, str]]:
    """The keys of ``sb3`` that PPO does not accept or that would have no effect, each with the reason."""
    yield from faults(sb3, target)
    yield from ((key, reason) for key, reason in IGNORED.items() if sb3.get(key) is not None)
    for key, (low, high) in RANGES.items():
        value = sb3.get(key)
        if isinstance(value, int | float) and not low <= value <= high:
            yield key, f"is {value}, but must be between {low:g} and {high:g}"


def _check_sb3(env: "TradingEnv", envs: int, sb3: dict[str, Any], facts: Sequence[str] | None) -> None:
    if not sb3:  # our defaults are known to work
        return
    from tradeschool.train.ppo_learner import dry_run

    for key, fault in unusable(sb3):
        raise RecipeError(f"sb3.{key}: {fault}")
    dry_run(env, envs=envs, sb3=sb3, facts=facts)


def train_ppo(
    env: "TradingEnv",
    *,
    steps: int,
    seed: int,
    sb3: dict[str, Any] | None = None,
    envs: int = ENVS,
    facts: Sequence[str] | None = None,
    progress: Callable[[Metrics], None] = lambda metrics: None,
) -> "Agent":
    """Train an agent on an environment with numeric observations.

    Args:
        env: market, rows and rules. It is neither reset nor stepped.
        steps: decisions over all episodes, rounded up to whole rollouts.
        seed: for weights, episodes and exploration. The same seed gives the same agent.
        sb3: arguments of Stable-Baselines3's PPO; they override our defaults.
        envs: parallel episodes.
        facts: the market facts (``env/render.py``) that the network reads; all by default.
        progress: called with the metrics of every rollout, ``step`` among them.

    Returns:
        The agent. It takes the mode of its action distribution.

    Raises:
        RecipeError: PPO fails with an argument, a fact is unknown, or the training has diverged.
    """
    from tradeschool.policies.numeric import NumericAgent
    from tradeschool.train.ppo_learner import learn

    _check_sb3(env, envs, sb3 or {}, facts)
    return NumericAgent(learn(env, steps=steps, seed=seed, envs=envs, sb3=sb3, facts=facts, on_rollout=progress).policy)


def run(config: Config, context: Context) -> Result:
    """Train on the training rows and save the agent in ``weights/``."""
    from tradeschool.policies.numeric import AGENT_FILE, save_agent
    from tradeschool.train.ppo_learner import learn

    env, path = _training_env(context.task), context.folder / METRICS
    checkpoint = context.folder / "checkpoints" / "ppo.pt"
    interrupted = read_metrics(path)
    with progress(context.console) as bar:
        row = bar.add_task(config.name, total=config.steps, unit="steps", figures="")

        def report(metrics: Metrics) -> None:
            if interrupted:
                # Rows that the interrupted run wrote after its checkpoint come again.
                write_rows(path, [old for old in interrupted if old["step"] < metrics["step"]])
                interrupted.clear()
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")
            shown = " ".join(f"{key} {metrics[key]:.4f}" for key in PROGRESS_METRICS if key in metrics)
            bar.update(row, completed=min(metrics["step"], config.steps), figures=shown)

        given: dict[str, Any] = {"steps": config.steps, "seed": context.seed, "envs": config.envs, "sb3": config.sb3}
        model = learn(env, **given, facts=_facts(config, context.task), on_rollout=report, checkpoint=checkpoint)
    weights = context.folder / "weights"
    save_agent(model, weights / AGENT_FILE)
    shutil.rmtree(checkpoint.parent, ignore_errors=True)
    last = read_metrics(path)[-1]
    return Result(weights=weights, kind="numeric", summary={key: last[key] for key in SUMMARY if key in last})


def _training_env(task: Task) -> "TradingEnv":
    """The task's environment on the training rows; RecipeError where it has none."""
    make = getattr(task, "env", None)
    if make is None:
        raise RecipeError(f"the task '{task.name}' has no trading environment. Use task: {{name: trade}}.")
    env: TradingEnv = make("train", observation="numeric")
    return env


def _facts(config: Config, task: Task) -> Sequence[str] | None:
    """The facts that the network reads: the stage's, those in ``sb3``, the task's, or None for all."""
    if config.facts is not None:
        return config.facts
    network = config.sb3.get("policy_kwargs")
    if isinstance(network, dict) and "features_extractor_kwargs" in network:
        return None
    shown: Sequence[str] | None = getattr(getattr(task, "config", None), "facts", None)
    return shown
