"""Plays an agent through many episodes, many at a time, and keeps a record of each."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.batched import BatchedTradingEnv
from tradeschool.env.config import EnvConfig, EnvError
from tradeschool.env.episode import Episode
from tradeschool.env.market_portfolio import Market, markets, options
from tradeschool.env.trading import TradingEnv
from tradeschool.market.panel import Floats

BATCH = 512
"""Episodes played at once: with 25 stocks their observations take 0.6 MB a day."""


@dataclass
class State:
    """What an agent is told besides its observations, and where it keeps what it wants to remember.

    Attributes:
        config: the rules.
        names: the stocks as orders name them, by episode; the order of an action's numbers.
        seeds: of the episodes; what an agent draws from them does not depend on which others are in the batch.
        day: decisions taken before this one.
        live_B: False where an episode is over; what is answered there is not used.
        memory: the agent's own; empty at the first decision, and nobody else's.
        episodes: the market with its future, for references with foresight alone; None unless ``play`` was told.
    """

    config: EnvConfig
    names: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]
    day: int
    live_B: NDArray[np.bool_]
    memory: dict[str, Any] = field(default_factory=dict)
    episodes: tuple[Episode, ...] | None = None


class Agent(Protocol):
    """Whoever trades B episodes side by side.

    ``act`` is given the observations, float32 [B, F] or a list of B texts, and answers with [B, N] numbers or B texts.
    """

    @property
    def name(self) -> str:
        """As tables call it."""

    def act(self, observations: Any, state: State) -> Any:
        """One day's orders in every episode."""


@dataclass(frozen=True)
class Record:
    """One finished episode of one agent, D days long: enough to grade it and to find it again.

    Attributes:
        agent: its name.
        seed: what ``reset`` was seeded with.
        start: the first row in the market.
        tickers: the true ones, in the order of the observation.
        equity_D: [D + 1] at the closes, the start first; after a bankruptcy what was left stays as it is.
        turnover_D, costs_D: [D] value traded, and what commission and slippage took of it; 0 after a bankruptcy.
        refused: orders refused.
        terminated: True after a bankruptcy.
        market: buy and hold of the same stocks on the same days.
        versions: what it must have in common with others to be compared; see :data:`tradeschool.env.versions.KEYS`.
    """

    agent: str
    seed: int
    start: int
    tickers: tuple[str, ...]
    equity_D: Floats
    turnover_D: Floats
    costs_D: Floats
    refused: int
    terminated: bool
    market: Market
    versions: dict[str, str]


def play(
    agent: Agent, env: Any, episodes: int, seed: int = 0, *, foresight: bool = False, batch: int = BATCH
) -> list[Record]:
    """Play the episodes of ``reset(seed=seed)``, ``seed + 1`` and so on: the same for every agent, to be paired.

    Numeric episodes are played in batches, texts by single environments side by side, so that an agent always answers
    many at once. Both are the episodes that ``env`` itself has under these seeds.

    Args:
        agent: who trades.
        env: a :class:`TradingEnv`, wrapped or not: market, rows and rules. It is reset and not stepped.
        episodes: how many.
        seed: of the first.
        foresight: hand the agent the episodes' future, for references such as an oracle.
        batch: episodes played side by side; a large language model may have memory for a few alone.

    Raises:
        EnvError: there are no episodes to play, or the answers are not as many as the episodes.
    """
    env = env.unwrapped
    if episodes < 1:
        raise EnvError(f"episodes is {episodes}: play at least one.")
    records: list[Record] = []
    for first in range(seed, seed + episodes, batch):
        seeds = range(first, min(first + batch, seed + episodes))
        records += _batch(agent, env, seeds, foresight)
    return records


def _batch(agent: Agent, env: TradingEnv, seeds: Sequence[int], foresight: bool) -> list[Record]:
    table: _Numbers | _Texts = (_Texts if env.config.observation == "text" else _Numbers)(env, seeds)
    days, count = env.config.days, len(seeds)
    state = State(
        config=env.config,
        names=tuple(episode.names for episode in table.episodes),
        seeds=tuple(seeds),
        day=0,
        live_B=np.ones(count, np.bool_),
        episodes=tuple(table.episodes) if foresight else None,
    )
    equity_DB = np.full((days + 1, count), env.config.cash)
    turnover_DB, costs_DB = np.zeros((2, days, count))
    refused_B = np.zeros(count, np.int64)
    for day in range(days):
        state.day = day
        live_B = state.live_B
        equity_B, turnover_B, costs_B, new_B, over_B = table.step(agent.act(table.observations, state), live_B)
        equity_DB[day + 1] = np.where(live_B, equity_B, equity_DB[day])
        turnover_DB[day], costs_DB[day] = live_B * turnover_B, live_B * costs_B
        refused_B += live_B * new_B
        state.live_B = live_B & ~over_B
    found = markets(table.episodes)
    return [
        Record(
            agent=agent.name,
            seed=seeds[b],
            start=episode.start,
            tickers=episode.tickers,
            equity_D=equity_DB[:, b].copy(),
            turnover_D=turnover_DB[:, b].copy(),
            costs_D=costs_DB[:, b].copy(),
            refused=int(refused_B[b]),
            terminated=not state.live_B[b],
            market=found[b],
            versions=dict(env.versions),
        )
        for b, episode in enumerate(table.episodes)
    ]


Day = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]
"""Of a day, by episode: equity, turnover, costs, orders refused, and whether it ended in bankruptcy."""


class _Numbers:
    """A batch of episodes with numeric observations."""

    def __init__(self, env: TradingEnv, seeds: Sequence[int]) -> None:
        # A copy draws the very episodes of ``env``, whose rows it shares, without disturbing the one under way.
        twin = copy.copy(env)
        self.episodes = []
        for seed in seeds:
            twin.reset(seed=seed)
            self.episodes.append(twin.episode)
        self._env = BatchedTradingEnv(env.data, len(seeds), **env.config.model_dump())
        self.observations, _ = self._env.reset(options=options(self.episodes))

    def step(self, actions: Any, live_B: NDArray[np.bool_]) -> Day:
        seen_BF, _, terminated_B, _, info = self._env.step(actions)
        # What a batch shows where an episode is over is another one's beginning.
        self.observations = np.where(live_B[:, None], seen_BF, self.observations)
        return info["equity"], info["turnover"], info["costs"], info["refused"], terminated_B


class _Texts:
    """Single environments side by side, whose observations are texts."""

    def __init__(self, env: TradingEnv, seeds: Sequence[int]) -> None:
        self._envs = [copy.copy(env) for _ in seeds]
        begun = [twin.reset(seed=seed) for twin, seed in zip(self._envs, seeds, strict=True)]
        self.observations = [text for text, _ in begun]
        self.episodes = [twin.episode for twin in self._envs]

    def step(self, actions: Sequence[str], live_B: NDArray[np.bool_]) -> Day:
        if isinstance(actions, str) or len(actions) != len(self._envs):
            raise EnvError(f"the agent gave {len(actions)} answers to {len(self._envs)} observations. Give one each.")
        over_B = np.zeros(len(self._envs), np.bool_)
        refused_B = np.zeros(len(self._envs), np.int64)
        for b in np.flatnonzero(live_B).tolist():
            self.observations[b], _, over_B[b], _, info = self._envs[b].step(actions[b])
            refused_B[b] = info["refused"]
        equity_B = np.array([twin.equities[-1] for twin in self._envs])
        turnover_B = np.array([twin.turnovers[-1] for twin in self._envs])
        costs_B = np.array([twin.costs[-1] for twin in self._envs])
        return equity_B, turnover_B, costs_B, refused_B, over_B
