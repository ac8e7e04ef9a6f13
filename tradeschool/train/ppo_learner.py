"""Stable-Baselines3's PPO on a batch of trading episodes: what the house sets, and rounds that a cut cannot change."""

import io
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

from tradeschool.env.trading import TradingEnv
from tradeschool.env.vec import VecTradingEnv
from tradeschool.errors import RecipeError
from tradeschool.policies.numeric import StockPolicy, network_options
from tradeschool.policies.sb3 import DATA, read_parts, write_bytes
from tradeschool.train.ppo_faults import diverged, plain_fault, refused, unusable

UNIT = 0.01
"""Of the rewards that are learned from: the daily volatility of a usual stock. As log returns they are so small that
the value network's first guesses, of about 1, would drown them."""
LONGEST_ROUND = 64
"""Days of a round; a round is a whole episode where that is shorter, so that every day is seen equally often."""
LARGEST_BATCH, SMALLEST_BATCH = 256, 64
CHECKPOINT_SECONDS = 20.0
_REFUSALS = (
    ValueError,
    TypeError,
    AssertionError,
    RuntimeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    MemoryError,
)
"""What building a PPO ends in where a value is wrong."""

Figures = dict[str, Any]


def learn(
    env: TradingEnv,
    *,
    steps: int,
    seed: int,
    envs: int,
    sb3: dict[str, Any] | None = None,
    facts: Sequence[str] | None = None,
    tell: Callable[[Figures], None] = lambda figures: None,
    checkpoint: Path | None = None,
) -> PPO:
    """Train on ``steps`` decisions, rounded up to whole rounds, in ``envs`` episodes side by side.

    The same arguments give the same weights, whether or not the training was cut off and goes on from ``checkpoint``.

    Args:
        env: market, rows and rules; numeric observations.
        steps: of all episodes together.
        seed: of weights, episodes and exploration.
        envs: episodes side by side.
        sb3: arguments of PPO, over the house's.
        facts: of the market's, those that the network reads; all where they are not given.
        tell: given the figures of every round.
        checkpoint: where to keep one; what lies there is gone on from.

    Raises:
        RecipeError: PPO refuses an argument or fails with it, or the training has diverged.
    """
    sb3 = sb3 or {}
    with _one_thread():
        model = new_model(env, seed, envs, sb3, facts)
        rounds = Rounds(env.config.days, seed, tell, checkpoint)
        if checkpoint is not None and checkpoint.exists():
            _go_on(model, checkpoint)
        if model.num_timesteps < steps:
            _fit(model, steps - model.num_timesteps, rounds, sb3)
    if not all(bool(torch.isfinite(weights).all()) for weights in model.policy.parameters()):
        raise diverged(model.learning_rate)
    return model


def try_out(env: TradingEnv, *, envs: int, sb3: dict[str, Any], facts: Sequence[str] | None = None) -> None:
    """Find out in a moment whether PPO can learn with ``sb3``: it is built as it will be, and learns from four days.

    Raises:
        RecipeError: it cannot.
    """
    epochs = sb3.get("n_epochs", 1)
    small = {**sb3, "n_steps": 2, "n_epochs": min(epochs, 1) if isinstance(epochs, int) else epochs}
    with _one_thread(), warnings.catch_warnings():
        new_model(env, 0, envs, sb3, facts)
        warnings.simplefilter("ignore")  # of a minibatch larger than these four
        model = new_model(env, 0, 2, small, facts)
        _fit(model, 1, Rounds(env.config.days, 0, lambda figures: None, None), sb3)


def _fit(model: PPO, steps: int, rounds: "Rounds", sb3: dict[str, Any]) -> None:
    try:
        model.learn(steps, rounds, log_interval=None, reset_num_timesteps=False)
    except Exception as error:
        told = plain_fault(error, sb3, model.learning_rate)
        if told is None:
            raise
        raise told from error


def new_model(env: TradingEnv, seed: int, envs: int, sb3: dict[str, Any], facts: Sequence[str] | None = None) -> PPO:
    """An untrained PPO.

    Raises:
        RecipeError: PPO refuses an argument, or there is no such fact.
    """
    for key, fault in unusable(sb3, PPO):
        raise RecipeError(f"sb3.{key}: {fault}")
    if env.config.observation != "numeric":
        raise RecipeError("PPO sees numbers, and this environment tells texts. Make it with observation='numeric'.")
    wanted = sb3.get("policy_kwargs") or {}
    if not isinstance(wanted, dict):
        raise RecipeError(f"sb3.policy_kwargs: is {wanted!r}, but must be a mapping of keys and values.")
    try:
        network = network_options(wanted, facts)
    except ValueError as error:
        raise RecipeError(f"facts {error}") from error
    given = {**house(env, seed, envs, sb3), **sb3, "policy_kwargs": network}
    played = VecMonitor(VecTradingEnv(env, envs, UNIT))
    try:
        model = PPO(StockPolicy, played, **given)
    except _REFUSALS as error:
        raise refused(error, sb3) from error
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def house(env: TradingEnv, seed: int, envs: int, sb3: dict[str, Any]) -> dict[str, Any]:
    """What the house sets, chosen on validation rows of the practice market; ``sb3`` has the last word."""
    days = sb3.get("n_steps", min(env.config.days, LONGEST_ROUND))
    decisions = days * envs if isinstance(days, int) else 0
    fitting = [size for size in range(SMALLEST_BATCH, LARGEST_BATCH + 1) if decisions % size == 0]
    return {
        "n_steps": days,
        "batch_size": fitting[-1] if fitting else min(LARGEST_BATCH, max(decisions, 2)),
        "n_epochs": 5,
        "learning_rate": 1e-3,
        "gamma": 0.9,
        "gae_lambda": 0.9,
        "stats_window_size": envs,
        "seed": seed,
        # The networks are so small that a GPU only waits for them.
        "device": "cpu",
    }


class Rounds(BaseCallback):
    """Tells the figures of every round, and makes what follows a checkpoint the same whether or not it was loaded.

    Whenever the episodes of a round end together, chance and episodes begin anew from the seed and the number of
    steps so far: nothing but weights, optimizer and that number has to be kept. Only there a checkpoint is written.
    """

    def __init__(self, days: int, seed: int, tell: Callable[[Figures], None], checkpoint: Path | None) -> None:
        super().__init__()
        self._days, self._seed, self._tell, self._checkpoint = days, seed, tell, checkpoint
        self._told = -1

    def _on_training_start(self) -> None:
        self._told = self.model.num_timesteps
        self._saved = self._since = time.monotonic()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._tell_round()
        length = self.model.n_steps
        rounds = self.model.num_timesteps // (length * self.model.n_envs)
        if rounds % (math.lcm(length, self._days) // length) == 0:
            self._keep()
            self._begin_anew()

    def _on_training_end(self) -> None:
        self._tell_round()

    def _tell_round(self) -> None:
        model = self.model
        if model.num_timesteps == self._told:
            return
        now = time.monotonic()
        speed = (model.num_timesteps - self._told) / max(now - self._since, 1e-9)
        figures = _figures(model) | {"steps_per_second": round(speed, 1)}
        self._told, self._since = model.num_timesteps, now
        self._tell(figures)

    def _keep(self) -> None:
        if self._checkpoint is not None and time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
            content = io.BytesIO()
            self.model.save(content)
            self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self._checkpoint, content.getvalue())
            self._saved = time.monotonic()

    def _begin_anew(self) -> None:
        model = self.model
        seed = int(np.random.SeedSequence([self._seed, model.num_timesteps]).generate_state(1)[0])
        set_random_seed(seed)
        model.env.seed(seed)
        model._last_obs = model.env.reset()
        model._last_episode_starts = np.ones(model.n_envs, np.bool_)
        model.ep_info_buffer.clear()
        if model.use_sde:
            model.policy.reset_noise(model.n_envs)


def _figures(model: PPO) -> Figures:
    """A round's figures as Stable-Baselines3 names them, without the folder before the name."""
    found = {name.rpartition("/")[2]: float(value) for name, value in model.logger.name_to_value.items()}
    model.logger.dump(model.num_timesteps)
    episodes = model.ep_info_buffer or ()
    if episodes:
        found["episode_return"] = float(safe_mean([one["r"] for one in episodes])) * UNIT
        found["episode_days"] = float(safe_mean([one["l"] for one in episodes]))
    if "entropy_loss" in found:
        found["entropy"] = -found.pop("entropy_loss")
    finite = {name: value for name, value in found.items() if math.isfinite(value)}
    return {"step": model.num_timesteps, **finite}


def _go_on(model: PPO, checkpoint: Path) -> None:
    """Weights, optimizer and counts of a checkpoint; nothing in it is unpickled."""
    content = checkpoint.read_bytes()
    data = read_parts(content, checkpoint)[DATA]
    model.set_parameters(io.BytesIO(content), device="cpu")
    model.num_timesteps, model._n_updates = int(data["num_timesteps"]), int(data["_n_updates"])


@contextmanager
def _one_thread() -> Iterator[None]:
    """For such small networks a second thread costs more than it gives, and sums depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
