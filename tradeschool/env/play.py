"""Plays an agent through many episodes, many at a time, and keeps a record of each."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from tradeschool.env.config import EnvError
from tradeschool.env.grading import Record, market_portfolios, trade, whole_path
from tradeschool.env.strategies import Agent, State
from tradeschool.env.trading_env import TradingChatEnv, TradingEnv

BATCH = 512
"""Episodes played at once."""


def play(
    agent: Agent, env: Any, episodes: int, seed: int = 0, *, foresight: bool = False, batch: int = BATCH
) -> list[Record]:
    """Play the episodes of ``reset(seed=seed)``, ``seed + 1`` and so on, many side by side.

    Args:
        agent: who trades.
        env: a :class:`TradingEnv` with numeric observations, wrapped or not. Its own episode is not touched.
        episodes: how many.
        seed: of the first.
        foresight: give the agent the episodes' future, for reference agents such as an oracle.
        batch: episodes played side by side.

    Raises:
        EnvError: there are no episodes to play, or the environment has text observations.
    """
    env = env.unwrapped
    if episodes < 1:
        raise EnvError(f"episodes is {episodes}: play at least one.")
    records: list[Record] = []
    for first in range(seed, seed + episodes, batch):
        seeds = range(first, min(first + batch, seed + episodes))
        records += _play_batch(agent, env, seeds, foresight)
    return records


def record_conversation(agent: str, seed: int, chat: TradingChatEnv) -> Record:
    """The record of an agent's conversation whose episode, reset with ``seed``, is over."""
    env = chat.env
    days = env.config.days
    missing = [0.0] * (days - len(env.turnovers))
    return Record(
        agent=agent,
        seed=seed,
        start=env.episode.start,
        tickers=env.episode.tickers,
        equity_D=whole_path(env.equities, days),
        turnover_D=np.array([*env.turnovers, *missing]),
        costs_D=np.array([*env.costs, *missing]),
        refused=sum(chat.refused),
        terminated=env.is_bankrupt,
        market=market_portfolios([env.episode])[0],
        versions=dict(env.versions),
    )


def _play_batch(agent: Agent, env: TradingEnv, seeds: Sequence[int], foresight: bool) -> list[Record]:
    # A copy draws the same episodes as ``env`` without disturbing the one in progress.
    twin, episodes = copy.copy(env), []
    for seed in seeds:
        twin.reset(seed=seed)
        episodes.append(twin.episode)
    names = tuple(episode.names for episode in episodes)
    future = tuple(episodes) if foresight else None
    state = State(env.config, names, tuple(seeds), 0, np.ones(len(seeds), np.bool_), episodes=future)

    def act(observations_BF: Any, day: int, live_B: Any) -> Any:
        state.day, state.live_B = day, live_B
        return agent.act(observations_BF, state)

    equity_DB, turnover_DB, costs_DB, refused_B, live_B = trade(episodes, {}, act)
    markets = market_portfolios(episodes)
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
            terminated=not live_B[b],
            market=markets[b],
            versions=dict(env.versions),
        )
        for b, episode in enumerate(episodes)
    ]
