"""The PPO training loop: our default arguments, exact resume, and a dry run that finds wrong arguments."""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import safe_mean, set_random_seed
from stable_baselines3.common.vec_env import VecMonitor

from tradeschool.env.sb3_env import SB3TradingEnv
from tradeschool.env.trading_env import TradingEnv
from tradeschool.errors import RecipeError, TradeschoolError
from tradeschool.manifest import replacing
from tradeschool.policies.numeric import StockPolicy, network_options

REWARD_UNIT = 0.01
"""Rewards are divided by this, the daily volatility of a typical stock. Log returns themselves are so small that the
value network's first guesses, of about 1, would drown them."""
MAX_ROLLOUT_DAYS = 64
"""Days of a rollout. Where an episode is shorter, a rollout is one episode, so that every day is seen equally often."""
MIN_BATCH, MAX_BATCH = 64, 256
CHECKPOINT_SECONDS = 20.0
Metrics = dict[str, Any]


def learn(
    env: TradingEnv,
    *,
    steps: int,
    seed: int,
    envs: int,
    sb3: dict[str, Any] | None = None,
    facts: Sequence[str] | None = None,
    on_rollout: Callable[[Metrics], None] = lambda metrics: None,
    checkpoint: Path | None = None,
) -> PPO:
    """Train a PPO with the arguments of :func:`tradeschool.train.ppo.train_ppo`.

    The same arguments give the same weights, whether or not the training was interrupted and resumed.

    Args:
        checkpoint: where to keep one. If the file exists, training resumes from it.

    Raises:
        RecipeError: the observations are text, a fact is unknown, or the training has diverged.
    """
    sb3 = sb3 or {}
    with _one_thread():
        model = new_model(env, seed, envs, sb3, facts)
        callback = RolloutCallback(env.config.days, seed, on_rollout, checkpoint)
        if checkpoint is not None and checkpoint.exists():
            _load_checkpoint(model, checkpoint)
        if model.num_timesteps < steps:
            _fit(model, steps - model.num_timesteps, callback)
    if not all(bool(torch.isfinite(weights).all()) for weights in model.policy.parameters()):
        raise _diverged(model)
    return model


def dry_run(env: TradingEnv, *, envs: int, sb3: dict[str, Any], facts: Sequence[str] | None = None) -> None:
    """Check in a moment whether PPO can train with ``sb3``: build the model as it will be, and train on four days.

    Stable-Baselines3 checks few values, so a wrong one can end in any error.
    """
    epochs = sb3.get("n_epochs", 1)
    small = {**sb3, "n_steps": 2, "n_epochs": min(epochs, 1) if isinstance(epochs, int) else epochs}
    with _one_thread(), warnings.catch_warnings():
        try:
            new_model(env, 0, envs, sb3, facts)
            warnings.simplefilter("ignore")  # about a minibatch larger than these four days
            model = new_model(env, 0, 2, small, facts)
            _fit(model, 1, RolloutCallback(env.config.days, 0, lambda metrics: None, None))
        except TradeschoolError:
            raise
        except Exception as error:
            given = ", ".join(f"{key}: {value!r}" for key, value in sb3.items())
            raise RecipeError(
                f"sb3: PPO cannot train with {given} ({type(error).__name__}: {error}). "
                "Correct the values in the recipe."
            ) from error


def new_model(env: TradingEnv, seed: int, envs: int, sb3: dict[str, Any], facts: Sequence[str] | None = None) -> PPO:
    """An untrained PPO.

    Raises:
        RecipeError: the observations are text, or a fact is unknown.
    """
    if env.config.observation != "numeric":
        raise RecipeError("PPO needs numeric observations, but this environment gives text. Set observation='numeric'.")
    wanted = sb3.get("policy_kwargs") or {}
    if not isinstance(wanted, dict):
        raise RecipeError(f"sb3.policy_kwargs: is {wanted!r}, but must be a mapping of keys and values.")
    try:
        network = network_options(wanted, facts)
    except ValueError as error:
        raise RecipeError(f"facts {error}") from error
    arguments = {**default_arguments(env, seed, envs, sb3), **sb3, "policy_kwargs": network}
    model = PPO(StockPolicy, VecMonitor(SB3TradingEnv(env, envs, REWARD_UNIT)), **arguments)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def default_arguments(env: TradingEnv, seed: int, envs: int, sb3: dict[str, Any]) -> dict[str, Any]:
    """Our defaults, chosen on validation rows of the synthetic market; ``sb3`` overrides them."""
    days = sb3.get("n_steps", min(env.config.days, MAX_ROLLOUT_DAYS))
    decisions = days * envs if isinstance(days, int) else 0
    divisors = [size for size in range(MIN_BATCH, MAX_BATCH + 1) if decisions % size == 0]
    return {
        "n_steps": days,
        "batch_size": divisors[-1] if divisors else min(MAX_BATCH, max(decisions, 2)),
        "n_epochs": 5,
        "learning_rate": 1e-3,
        "gamma": 0.9,
        "gae_lambda": 0.9,
        "stats_window_size": envs,
        "seed": seed,
        # The networks are too small to gain from a GPU.
        "device": "cpu",
    }


class RolloutCallback(BaseCallback):
    """Reports the metrics of every rollout, and makes training after a checkpoint the same as without one.

    Whenever the episodes of a rollout end together, random state and episodes restart from the seed and the number of
    steps so far, so a checkpoint needs only weights, optimizer and that number. Checkpoints are written only there.
    """

    def __init__(self, days: int, seed: int, on_rollout: Callable[[Metrics], None], checkpoint: Path | None) -> None:
        super().__init__()
        self._days, self._seed, self._on_rollout, self._checkpoint = days, seed, on_rollout, checkpoint
        self._reported = -1

    def _on_training_start(self) -> None:
        self._reported = self.model.num_timesteps
        self._saved = self._since = time.monotonic()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._report()
        length = self.model.n_steps
        rollouts = self.model.num_timesteps // (length * self.model.n_envs)
        if rollouts % (math.lcm(length, self._days) // length) == 0:
            self._save()
            self._reseed()

    def _on_training_end(self) -> None:
        self._report()

    def _report(self) -> None:
        model = self.model
        if model.num_timesteps == self._reported:
            return
        now = time.monotonic()
        speed = (model.num_timesteps - self._reported) / max(now - self._since, 1e-9)
        metrics = _metrics(model) | {"steps_per_second": round(speed, 1)}
        self._reported, self._since = model.num_timesteps, now
        self._on_rollout(metrics)

    def _save(self) -> None:
        if self._checkpoint is not None and time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
            _save_checkpoint(self.model, self._checkpoint)
            self._saved = time.monotonic()

    def _reseed(self) -> None:
        model = self.model
        seed = int(np.random.SeedSequence([self._seed, model.num_timesteps]).generate_state(1)[0])
        set_random_seed(seed)
        model.env.seed(seed)
        model._last_obs = model.env.reset()
        model._last_episode_starts = np.ones(model.n_envs, np.bool_)
        model.ep_info_buffer.clear()
        if model.use_sde:
            model.policy.reset_noise(model.n_envs)


def _metrics(model: PPO) -> Metrics:
    """A rollout's metrics under Stable-Baselines3's names, without the prefix before the slash."""
    found = {name.rpartition("/")[2]: float(value) for name, value in model.logger.name_to_value.items()}
    model.logger.dump(model.num_timesteps)
    episodes = model.ep_info_buffer or ()
    if episodes:
        found["episode_return"] = float(safe_mean([one["r"] for one in episodes])) * REWARD_UNIT
        found["episode_days"] = float(safe_mean([one["l"] for one in episodes]))
    if "entropy_loss" in found:
        found["entropy"] = -found.pop("entropy_loss")
    finite = {name: value for name, value in found.items() if math.isfinite(value)}
    return {"step": model.num_timesteps, **finite}


def _save_checkpoint(model: PPO, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"steps": model.num_timesteps, "updates": model._n_updates, "parameters": model.get_parameters()}
    with replacing(path) as temporary:
        torch.save(state, temporary)


def _load_checkpoint(model: PPO, path: Path) -> None:
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.set_parameters(state["parameters"], device="cpu")
    model.num_timesteps, model._n_updates = state["steps"], state["updates"]


def _fit(model: PPO, steps: int, callback: RolloutCallback) -> None:
    try:
        model.learn(steps, callback, log_interval=None, reset_num_timesteps=False)
    except ValueError as error:
        if "Expected parameter" in str(error):  # torch: a parameter is NaN
            raise _diverged(model) from error
        raise


def _diverged(model: PPO) -> RecipeError:
    return RecipeError(
        f"sb3: the training has diverged, so its weights are useless. Lower learning_rate ({model.learning_rate})."
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """For such small networks a second thread costs more than it gives, and sums depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
