"""Many episodes at once: the trading environment as a Gymnasium vector environment."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from tradeschool.env.config import EnvError, ExecutionParams, env_config, versions
from tradeschool.env.features import PER_STOCK, G, action_space, observation_space
from tradeschool.env.market_data import OPTIONS, MarketData, as_market_data, check_start, columns_of
from tradeschool.env.vector_kernel import (
    ACCOUNT,
    CASH,
    COSTS,
    EQUITY,
    HELD,
    LEFT,
    REFUSED,
    REWARD,
    ROW,
    TRADES,
    TURNOVER,
    kernel_params,
    settle_days,
)
from tradeschool.market.panel import Panel


class VectorTradingEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """B episodes of :class:`~tradeschool.env.trading_env.TradingEnv` with numeric observations, with the same results.

    Autoreset is Gymnasium's ``NEXT_STEP``: the step after an episode's last one ignores its action, gives reward 0
    and begins the next episode. All start rows and stocks are drawn from the one generator that ``reset(seed=...)``
    seeds, so the episodes are not those of single environments with seeds seed, seed + 1, and so on. With
    ``reset(options={"start": [B rows], "tickers": [B lists]})`` they are those requested.

    ``info`` holds arrays [B]: ``equity``, ``turnover`` and ``costs`` in the market's currency, ``refused``,
    ``start``; and, once for all, the keys of :data:`tradeschool.env.config.KEYS`.

    Args:
        panel: the market; a :class:`MarketData` where several environments share it.
        num_envs: B.
        rows: first and last row that episodes may use.
        settings: as :class:`~tradeschool.env.config.EnvConfig`; ``observation`` is "numeric".
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - as Gymnasium declares it
        "render_modes": [],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        panel: Panel | MarketData | None = None,
        num_envs: int = 1024,
        *,
        rows: tuple[int, int] | None = None,
        **settings: Any,
    ) -> None:
        self.config = config = env_config(**{"observation": "numeric", **settings})
        if config.observation != "numeric":
            cure = "For text use gymnasium.make_vec with vectorization_mode='sync'."
            raise EnvError(f"a vector environment has numeric observations. {cure}")
        if num_envs < 1:
            raise EnvError(f"num_envs is {num_envs}: give 1 or more.")
        self.num_envs = num_envs
        self.data = as_market_data(panel)
        self.versions = versions(config, self.data.data_hash)
        self.level = self.versions["level"]
        self.single_observation_space = observation_space(config, self.data.panel.tickers)
        self.single_action_space = action_space(config)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._starts = self.data.start_rows(config, rows)
        execution = ExecutionParams.of(config, self.data.panel.bars_per_year)
        self._params = kernel_params(execution, config.cash, config.smallest_order)
        self._ruin = config.ruin * config.cash
        self._columns_BN = np.zeros((num_envs, config.tickers), np.int64)
        self._stocks_BN3 = np.zeros((num_envs, config.tickers, HELD))
        self._accounts_8B = np.zeros((ACCOUNT, num_envs))
        self._clocks_B3 = np.zeros((num_envs, 3), np.int64)
        self._start_B = np.zeros(num_envs, np.int64)
        self._over_B: NDArray[np.bool_] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin all episodes.

        Raises:
            EnvError: an option is unknown or not possible.
        """
        super().reset(seed=seed)
        self._begin(np.arange(self.num_envs), options or {})
        self._over_B = np.zeros(self.num_envs, np.bool_)
        return self._run(np.zeros((self.num_envs, self.config.tickers))), self._info()

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Give a day's orders, [B, N]. The class describes what happens to episodes that are over.

        Raises:
            EnvError: no episode has begun, or the actions have another shape.
        """
        if self._over_B is None:
            raise EnvError("no episode has begun: call reset() before step().")
        wanted_BN = np.array(actions, np.float64)
        if wanted_BN.shape != self._columns_BN.shape:
            wanted = self._columns_BN.shape
            raise EnvError(f"actions have shape {wanted_BN.shape}. Give {wanted}, one number per stock.")
        if self._over_B.any():
            self._begin(np.flatnonzero(self._over_B), {})
        vectors_BF = self._run(wanted_BN)
        terminated_B = self._accounts_8B[EQUITY] <= self._ruin
        truncated_B = (self._clocks_B3[:, LEFT] == 0) & ~terminated_B
        self._over_B = terminated_B | truncated_B
        return vectors_BF, self._accounts_8B[REWARD].copy(), terminated_B, truncated_B, self._info()

    def begin_next(self) -> NDArray[np.float32]:
        """[B, F] observations after beginning the next episode where one is over. No day passes in the others."""
        assert self._over_B is not None, "call reset() first"
        self._begin(np.flatnonzero(self._over_B), {})
        self._over_B = np.zeros(self.num_envs, np.bool_)
        self._clocks_B3[:, TRADES] = 0
        return self._run(np.zeros((self.num_envs, self.config.tickers)))

    def fork(self, which: Sequence[int] | NDArray[np.intp]) -> "VectorTradingEnv":
        """New episodes that go on from the present state of those with the numbers ``which``; these stay as they are.

        An order moves no price, so episodes that differ in orders alone can be compared day by day.
        """
        fork = copy.copy(self)
        fork.num_envs = len(which)
        fork.observation_space = batch_space(self.single_observation_space, fork.num_envs)
        fork.action_space = batch_space(self.single_action_space, fork.num_envs)
        for name in ("_columns_BN", "_stocks_BN3", "_clocks_B3", "_start_B", "_over_B"):
            setattr(fork, name, getattr(self, name)[which])
        fork._accounts_8B = np.ascontiguousarray(self._accounts_8B[:, which])
        # Only episodes that begin anew draw random numbers, and then not those of the original.
        fork._np_random = copy.deepcopy(self.np_random)
        return fork

    def _run(self, wanted_BN: NDArray[np.float64]) -> NDArray[np.float32]:
        vectors_BF = np.empty((self.num_envs, self.config.tickers * PER_STOCK + G), np.float32)
        settle_days(
            wanted_BN,
            self._clocks_B3,
            self._params,
            self.data.lines_TN,
            self._columns_BN,
            self._stocks_BN3,
            self._accounts_8B,
            vectors_BF,
        )
        return vectors_BF

    def _begin(self, which: NDArray[np.intp], options: dict[str, Any]) -> None:
        """Begin the episodes with the numbers ``which``."""
        start, columns = self._drawn(len(which)) if not options else self._requested(options)
        # Mostly all begin at once, and writing a slice is several times as fast as writing by index.
        at = slice(None) if len(which) == self.num_envs else which
        self._columns_BN[at], self._start_B[at] = columns, start
        self._stocks_BN3[at] = 0.0
        self._accounts_8B[:, at] = 0.0
        self._accounts_8B[CASH, at] = self._accounts_8B[EQUITY, at] = self.config.cash
        self._clocks_B3[at, ROW], self._clocks_B3[at, LEFT], self._clocks_B3[at, TRADES] = start, self.config.days, 0

    def _drawn(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        start = self._starts[self.np_random.integers(len(self._starts), size=count)]
        if self.config.tickers == 1:
            table_TN, count_T = self.data.eligible_table
            nth = (self.np_random.random(count) * count_T[start]).astype(np.int64)
            return start.astype(np.int64), table_TN[start, nth][:, None]
        lot = self.np_random.random((count, self.data.shape[1]), np.float32)
        # The eligible stocks with the smallest numbers, in that order: a draw without replacement.
        lot[~self.data.eligible_TN[start]] = 2.0
        columns = np.argsort(lot, axis=1)[:, : self.config.tickers]
        return start.astype(np.int64), columns if self.config.mask else np.sort(columns, axis=1)

    def _requested(self, options: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if set(options) != set(OPTIONS) or any(len(options[key]) != self.num_envs for key in OPTIONS):
            raise EnvError(
                f"options of a vector environment: give both 'start' and 'tickers', with {self.num_envs} entries each."
            )
        start = np.array([check_start(self.data, self.config, row) for row in options["start"]], np.int64)
        columns = [
            columns_of(self.data, self.config, tickers, row)
            for tickers, row in zip(options["tickers"], start, strict=True)
        ]
        return start, np.array(columns, np.int64)

    def _info(self) -> dict[str, Any]:
        accounts_8B = self._accounts_8B
        return {
            "equity": accounts_8B[EQUITY].copy(),
            "turnover": accounts_8B[TURNOVER].copy(),
            "costs": accounts_8B[COSTS].copy(),
            "refused": accounts_8B[REFUSED].astype(np.int64),
            "start": self._start_B.copy(),
            **self.versions,
        }
