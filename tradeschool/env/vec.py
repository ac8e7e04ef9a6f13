"""The batched environment as Stable-Baselines3 steps it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from tradeschool.env.batched import BatchedTradingEnv
from tradeschool.env.trading import TradingEnv


class VecTradingEnv(VecEnv):
    """B episodes of a numeric environment for Stable-Baselines3: what its ``DummyVecEnv`` of B single ones would give.

    Gymnasium's batch begins an episode on the step after the last one; Stable-Baselines3 expects it on the last one
    itself, the old episode's last observation in ``info["terminal_observation"]`` and whether time alone ended it
    in ``info["TimeLimit.truncated"]``. Episodes are drawn from one generator, which ``seed`` seeds at the next
    ``reset``.

    Args:
        env: market, rows and rules; it is neither reset nor stepped.
        num_envs: B.
        unit: rewards, log returns, are given in multiples of it. The rules are not touched by it.
    """

    def __init__(self, env: TradingEnv, num_envs: int, unit: float = 1.0) -> None:
        self.batch = BatchedTradingEnv(env.data, num_envs, rows=env.rows, **env.config.model_dump())
        self.unit = unit
        self._actions: NDArray[np.float32] | None = None
        super().__init__(num_envs, self.batch.single_observation_space, self.batch.single_action_space)

    def reset(self) -> NDArray[np.float32]:
        """[B, F]; every episode begins."""
        vectors_BF, _ = self.batch.reset(seed=self._seeds[0])
        self._reset_seeds()
        return vectors_BF

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Keep a day's orders, [B, N], for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """A day in every episode; where one ends, the observation is the next one's first."""
        assert self._actions is not None
        seen_BF, reward_B, terminated_B, truncated_B, _ = self.batch.step(self._actions)
        over_B = terminated_B | truncated_B
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": cut} for cut in truncated_B.tolist()]
        if over_B.any():
            for b in np.flatnonzero(over_B).tolist():
                infos[b]["terminal_observation"] = seen_BF[b]
            seen_BF = self.batch.begin_next()
        return seen_BF, (reward_B / self.unit).astype(np.float32), over_B, infos

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """The batch's attribute, once an episode: all have the same rules."""
        value = getattr(self.batch, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Refused: one episode's rules cannot be changed apart from the others'."""
        raise AttributeError(f"'{attr_name}' cannot be set: the episodes of a batch share their rules")

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        """Refused: there are no single environments to call."""
        raise AttributeError(f"'{method_name}' cannot be called: a batch has no single environments")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: int | Iterable[int] | None = None) -> list[bool]:
        """Never."""
        return [False for _ in self._get_indices(indices)]
