"""References that the environment is checked with: agents that know nothing, all that comes, or a little of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.env.broker import Terms
from tradeschool.env.config import EnvError
from tradeschool.env.episode import Episode
from tradeschool.env.facts import PER_STOCK, M
from tradeschool.env.harness import State
from tradeschool.market.panel import Floats


def shares_held(observations_BF: NDArray[np.float32], stocks: int) -> NDArray[np.float32]:
    """[B, N] each stock's share of the equity in percent, out of numeric observations."""
    shares_BN: NDArray[np.float32] = observations_BF[:, : stocks * PER_STOCK].reshape(-1, stocks, PER_STOCK)[..., M]
    return shares_BN


@dataclass(frozen=True)
class Constant:
    """The same number for every stock every day: 0 does nothing, 1 buys what can be bought and holds."""

    value: float = 0.0
    name: str = "do nothing"

    def act(self, observations: Any, state: State) -> Floats:
        """``value`` for every stock."""
        return np.full((len(state.seeds), state.config.tickers), self.value)


@dataclass(frozen=True)
class BuyAndHold:
    """All cash in equal parts on the first day, then nothing."""

    name: str = "buy and hold"

    def act(self, observations: Any, state: State) -> Floats:
        """Everything on the first day."""
        return np.full((len(state.seeds), state.config.tickers), float(state.day == 0))


@dataclass(frozen=True)
class Random:
    """Numbers drawn evenly from [-1, 1], fixed by ``seed`` and the episode's own seed."""

    seed: int = 0
    name: str = "random"

    def act(self, observations: Any, state: State) -> Floats:
        """The day's draw."""
        if state.day == 0:
            shape = (state.config.days, state.config.tickers)
            drawn = [np.random.default_rng([self.seed, one]).uniform(-1, 1, shape) for one in state.seeds]
            state.memory["actions_BDN"] = np.stack(drawn)
        actions_BN: Floats = state.memory["actions_BDN"][:, state.day]
        return actions_BN


@dataclass(frozen=True)
class Saying:
    """The same text every day, for text environments: HOLD, gibberish, or a plea to the grader."""

    text: str
    name: str = "saying"

    def act(self, observations: list[str], state: State) -> list[str]:
        """``text`` in every episode."""
        return [self.text] * len(observations)


@dataclass(frozen=True)
class Churner:
    """Trades by the calendar, knowing nothing: ``on`` days with ``fraction`` bought, ``off`` days with it sold.

    ``invested`` begins with all of the cash in the market, so that it sells first and then buys back. ``stocks`` is
    how many of them it churns; None is all.
    """

    fraction: float = 1.0
    on: int = 1
    off: int = 1
    invested: bool = False
    stocks: int | None = None
    name: str = "churner"

    def act(self, observations: Any, state: State) -> Floats:
        """The day's turn, the same in every episode."""
        orders_BN = np.zeros((len(state.seeds), state.config.tickers))
        if self.invested and state.day == 0:
            return orders_BN + 1.0
        phase = (state.day - self.invested) % (self.on + self.off)
        first, then = (-self.fraction, 1.0) if self.invested else (self.fraction, -1.0)
        turn = {0: first, self.off if self.invested else self.on: then}
        orders_BN[:, : self.stocks] = turn.get(phase, 0.0)
        return orders_BN


def growth(episode: Episode) -> Floats:
    """[days, N] log return of a holding from the open after each decision to the next open; at the end to the close."""
    open_DN, close_DN = episode.of(episode.data.open_TN), episode.of(episode.data.close_TN)
    growth_DN: Floats = np.diff(np.log(np.vstack([open_DN[1:], close_DN[-1:]])), axis=0)
    return growth_DN


def _future(state: State, name: str) -> tuple[Episode, ...]:
    if state.episodes is None:
        raise EnvError(f"{name} needs the future: play it with foresight=True.")
    return state.episodes


@dataclass(frozen=True)
class Oracle:
    """Knows all later prices: the one holding, or cash, day by day, that ends with the most after costs."""

    name: str = "oracle"

    def act(self, observations: NDArray[np.float32], state: State) -> Floats:
        """What leads to the best holding of the day. Numeric observations."""
        if state.day == 0:
            growth_BDN = np.stack([growth(episode) for episode in _future(state, self.name)])
            state.memory["hold_BD"] = best_holdings(growth_BDN, Terms.of(state.config))
        wanted_BN = np.arange(state.config.tickers) == state.memory["hold_BD"][:, state.day, None]
        return _towards(wanted_BN, ~wanted_BN, observations)


def _towards(wanted_BN: NDArray[np.bool_], unwanted_BN: NDArray[np.bool_], observations: NDArray[np.float32]) -> Floats:
    """Sell what is held and unwanted, buy what is wanted and not held."""
    held_BN = shares_held(observations, wanted_BN.shape[1]) > 0
    return np.where(wanted_BN & ~held_BN, 1.0, np.where(unwanted_BN & held_BN, -1.0, 0.0))


def best_holdings(growth_BDN: Floats, terms: Terms) -> NDArray[np.intp]:
    """[B, D]: by dynamic programming backwards over days, the stock to hold (-1: cash) that ends with the most."""
    count, days, stocks = growth_BDN.shape
    # The last column is cash. Moving costs a sale, a purchase, or both.
    out = np.append(np.full(stocks, np.log(terms.sell)), 0.0)
    into = np.append(np.full(stocks, -np.log(terms.buy)), 0.0)
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
class Expert:
    """Sees each stock's next return, open to open, through noise; holds those it thinks will rise, in equal buys.

    ``skill`` is the correlation of what it sees with the truth. ``split``: the skill is that of its whole day, spread
    over the stocks it looks at, so that it has skill / sqrt(N) of each and the same information at every level.
    """

    skill: float = 0.3
    split: bool = True
    seed: int = 0
    name: str = "expert"

    def act(self, observations: NDArray[np.float32], state: State) -> Floats:
        """Sell what it thinks will fall, buy what it thinks will rise. Numeric observations."""
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
