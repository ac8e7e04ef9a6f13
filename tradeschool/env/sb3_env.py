"""The vector environment with Stable-Baselines3's interface. A module of its own because it imports torch."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from tradeschool.env.trading_env import TradingEnv
from tradeschool.env.vector_env import VectorTradingEnv


class SB3TradingEnv(VecEnv):  # type: ignore[misc, unused-ignore]
    """B episodes of a numeric environment for Stable-Baselines3, as its ``DummyVecEnv`` of B single ones would give.

    Gymnasium's vector environment begins the next episode on the step after the last one, Stable-Baselines3 on the last
    step itself. Episodes are drawn from one generator, which ``seed`` seeds at the next ``reset``.

    Args:
        env: market, rows and rules; neither reset nor stepped.
        num_envs: B.
        unit: rewards, which are log returns, are divided by it.
    """

    def __init__(self, env: TradingEnv, num_envs: int, unit: float = 1.0) -> None:
        self.batch = VectorTradingEnv(env.data, num_envs, rows=env.rows, **env.config.model_dump())
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
        """A day in every episode. Where one ends, the observation is the first of the next."""
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
        """Nothing to close."""

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """The attribute, once per episode: all have the same rules."""
        value = getattr(self.batch, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Not possible: the episodes share their rules."""
        raise AttributeError(f"'{attr_name}' cannot be set: the episodes share their rules")

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        """Not possible: there are no single environments."""
        raise AttributeError(f"'{method_name}' cannot be called: there are no single environments")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: int | Iterable[int] | None = None) -> list[bool]:
        """Never."""
        return [False for _ in self._get_indices(indices)]
