"""Reference agents that the environment is checked with: without any information, with foresight, or with a little.

Dimensions: B episodes, D days, N stocks, S = N + 1 holdings (each stock, or cash).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.config import EnvError, ExecutionParams
from tradeschool.env.grading import Record, market_portfolios, whole_path
from tradeschool.env.market_data import Episode
from tradeschool.env.strategies import AT, State, facts_of
from tradeschool.env.trading_env import TradingEnv
from tradeschool.market.panel import Floats


@dataclass(frozen=True)
class Constant:
    """The same number for every stock every day: 0 does nothing, 1 buys what can be bought and holds."""

    value: float = 0.0
    name: str = "hold"

    def act(self, observations: Any, state: State) -> Floats:
        """``value`` for every stock."""
        return np.full((len(state.seeds), state.config.tickers), self.value)


def play_text(text: str, env: TradingEnv, episodes: int, seed: int = 0) -> list[Record]:
    """Episodes of a text environment in which every answer is ``text``: HOLD, gibberish, an appeal to the grader."""
    records = []
    for episode_seed in range(seed, seed + episodes):
        env.reset(seed=episode_seed)
        refused, over, terminated = 0, False, False
        while not over:
            _, _, terminated, truncated, info = env.step(text)
            refused, over = refused + info["refused"], terminated or truncated
        missing = [0.0] * (env.config.days - len(env.turnovers))
        records.append(
            Record(
                agent=text,
                seed=episode_seed,
                start=env.episode.start,
                tickers=env.episode.tickers,
                equity_D=whole_path(env.equities, env.config.days),
                turnover_D=np.array([*env.turnovers, *missing]),
                costs_D=np.array([*env.costs, *missing]),
                refused=refused,
                terminated=terminated,
                market=market_portfolios([env.episode])[0],
                versions=dict(env.versions),
            )
        )
    return records


@dataclass(frozen=True)
class Churner:
    """Trades by the calendar, knowing nothing: ``on`` days with ``fraction`` bought, ``off`` days with it sold.

    ``invested`` begins with all cash in the market, so that it sells first and then buys back. ``stocks`` is the number
    of stocks that it churns; None is all.
    """

    fraction: float = 1.0
    on: int = 1
    off: int = 1
    invested: bool = False
    stocks: int | None = None
    name: str = "churner"

    def act(self, observations: Any, state: State) -> Floats:
        """The day's orders, the same in every episode."""
        orders_BN = np.zeros((len(state.seeds), state.config.tickers))
        if self.invested and state.day == 0:
            return orders_BN + 1.0
        phase = (state.day - self.invested) % (self.on + self.off)
        first, then = (-self.fraction, 1.0) if self.invested else (self.fraction, -1.0)
        turn = {0: first, self.off if self.invested else self.on: then}
        orders_BN[:, : self.stocks] = turn.get(phase, 0.0)
        return orders_BN


def growth(episode: Episode) -> Floats:
    """[D, N] log return of a holding from the open after a decision to the next open; on the last day to the close."""
    open_DN, close_DN = episode.of(episode.data.open_TN), episode.of(episode.data.close_TN)
    growth_DN: Floats = np.diff(np.log(np.vstack([open_DN[1:], close_DN[-1:]])), axis=0)
    return growth_DN


def _future(state: State, name: str) -> tuple[Episode, ...]:
    if state.episodes is None:
        raise EnvError(f"{name} needs the future: play it with foresight=True.")
    return state.episodes


@dataclass(frozen=True)
class Oracle:
    """Knows all later prices: holds one stock, or cash, each day so that it ends with the most after costs."""

    name: str = "clairvoyant"

    def act(self, observations: NDArray[np.float32], state: State) -> Floats:
        """The orders that lead to the best holding of the day. Numeric observations."""
        if state.day == 0:
            growth_BDN = np.stack([growth(episode) for episode in _future(state, self.name)])
            state.memory["hold_BD"] = best_holdings(growth_BDN, ExecutionParams.of(state.config))
        wanted_BN = np.arange(state.config.tickers) == state.memory["hold_BD"][:, state.day, None]
        return _towards(wanted_BN, ~wanted_BN, observations)


def _towards(wanted_BN: NDArray[np.bool_], unwanted_BN: NDArray[np.bool_], observations: NDArray[np.float32]) -> Floats:
    """Sell what is held and unwanted, buy what is wanted and not held."""
    held_BN = facts_of(observations, wanted_BN.shape[1])[..., AT["share"]] > 0
    return np.where(wanted_BN & ~held_BN, 1.0, np.where(unwanted_BN & held_BN, -1.0, 0.0))


def best_holdings(growth_BDN: Floats, params: ExecutionParams) -> NDArray[np.intp]:
    """[B, D]: by dynamic programming backwards over days, the stock to hold (-1: cash) that ends with the most."""
    count, days, stocks = growth_BDN.shape
    # The last column is cash. Moving costs a sale, a purchase, or both.
    out = np.append(np.full(stocks, np.log(params.sell)), 0.0)
    into = np.append(np.full(stocks, -np.log(params.buy)), 0.0)
    move = np.where(np.eye(stocks + 1, dtype=bool), 0.0, out[:, None] + into[None, :])
    value_BS = np.zeros((count, stocks + 1))
    choice_DBS = np.empty((days, count, stocks + 1), np.intp)
    for day in range(days - 1, -1, -1):
        value_BS[:, :stocks] += growth_BDN[:, day]
        all_BSS = value_BS[:, None, :] + move
        choice_DBS[day] = all_BSS.argmax(axis=2)
        value_BS = all_BSS.max(axis=2)
    held_B = np.full(count, stocks)
    plan_BD = np.empty((count, days), np.intp)
    for day in range(days):
        held_B = choice_DBS[day, np.arange(count), held_B]
        plan_BD[:, day] = held_B
    return np.where(plan_BD == stocks, -1, plan_BD)


@dataclass(frozen=True)
class NoisyForesight:
    """Sees each stock's next return, open to open, with noise; holds those it expects to rise, in equal buys.

    ``skill`` is the correlation of what it sees with the truth. With ``split`` it is that of the whole day, spread over
    the stocks: skill / sqrt(N) for each, so that it has the same information at every level.
    """

    skill: float = 0.3
    split: bool = True
    seed: int = 0
    name: str = "noisy foresight"

    def act(self, observations: NDArray[np.float32], state: State) -> Floats:
        """Sell what it expects to fall, buy what it expects to rise. Numeric observations."""
        if state.day == 0:
            episodes = _future(state, self.name)
            views = [self._views(*pair) for pair in zip(episodes, state.seeds, strict=True)]
            state.memory["view_BDN"] = np.stack(views)
        view_BN = state.memory["view_BDN"][:, state.day]
        return _towards(view_BN > 0, view_BN < 0, observations)

    def _views(self, episode: Episode, seed: int) -> Floats:
        growth_DN = growth(episode)
        skill = self.skill / np.sqrt(growth_DN.shape[1]) if self.split else self.skill
        noise_DN = np.random.default_rng([self.seed, seed]).standard_normal(growth_DN.shape)
        views_DN: Floats = skill * growth_DN / max(growth_DN.std(), 1e-12) + np.sqrt(1 - skill**2) * noise_DN
        return views_DN
