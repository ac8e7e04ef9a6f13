"""Agents that trade by rules, by name: baselines for every agent, and demonstrators that are worth imitating.

Rules do not borrow: whatever leverage the environment allows, they invest the equity once, as the market of the grade
does. ``random`` draws from all orders, and so uses the leverage.

Dimensions: B episodes, N stocks, K figures of a stock (``features.PER_STOCK``), F figures of an observation.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from tradeschool.env.config import HOLD_BELOW, EnvConfig, EnvError, faults
from tradeschool.env.features import ACCOUNT, HOLDING, MARKET, PER_STOCK, UNKNOWN, G
from tradeschool.env.market_data import Episode
from tradeschool.env.render import OVERBOUGHT, OVERSOLD
from tradeschool.errors import did_you_mean
from tradeschool.market.panel import Floats

Facts = NDArray[np.float32]
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""Otherwise pydantic takes true for 1."""
MAX_PARTS = int(1 / HOLD_BELOW)
"""Smaller orders count as none."""
MAX_CLAUSES = 3
"""Stocks that a reason names: models learn reasons by heart, and every word costs tokens."""
MIN_POWER = 0.01
"""Share of the equity: a smaller part that is not invested is not worth an order."""
WHOLE = 0.98
"""Buys for at least this share of what is not invested are meant to take all of it."""
AT = {fact.name: at for at, fact in enumerate((*MARKET, *HOLDING))}
"""Columns of a stock's figures."""
_CASH = next(at for at, fact in enumerate(ACCOUNT) if fact.name == "cash") - G


@dataclass
class State:
    """What an agent gets besides its observations, and its memory.

    Attributes:
        config: the rules.
        names: the stocks as orders name them, by episode, in the order of an action's numbers.
        seeds: of the episodes. What an agent draws from them must not depend on the other episodes of the batch.
        day: decisions made before this one.
        live_B: False where an episode is over; the answer there is not used.
        memory: for the agent's own use; empty at the first decision.
        episodes: the market with its future, for reference agents with foresight; else None.
    """

    config: EnvConfig
    names: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]
    day: int
    live_B: NDArray[np.bool_]
    memory: dict[str, Any] = field(default_factory=dict)
    episodes: tuple[Episode, ...] | None = None


class Agent(Protocol):
    """Trades B episodes side by side."""

    @property
    def name(self) -> str:
        """The name in tables."""

    def act(self, observations: Any, state: State) -> Any:
        """One day's orders in every episode.

        Args:
            observations: [B, F] float32.
            state: all else that is known.

        Returns:
            [B, N] numbers in [-1, 1].
        """


class Strategy(Agent, Protocol):
    """An agent on numeric observations that can give reasons."""

    def why(self, facts_NK: Facts, orders_N: Floats, names: Sequence[str]) -> str:
        """The reason for one day's orders in one episode, in short clauses.

        Args:
            facts_NK: the figures that the orders were based on, see :func:`facts_of`.
            orders_N: what ``act`` answered.
            names: of the stocks.
        """


def facts_of(observations_BF: Facts, stocks: int) -> Facts:
    """[B, N, K] the figures of each stock in numeric observations."""
    facts_BNK: Facts = observations_BF[:, : stocks * PER_STOCK].reshape(-1, stocks, PER_STOCK)
    return facts_BNK


def orders_to(target_BN: Floats, observations_BF: Facts, config: EnvConfig) -> Floats:
    """Orders that lead from the holdings to target shares of the equity, of which no more than 1 is invested.

    Buys are fractions of the equity that is not invested after sales. Orders below :data:`HOLD_BELOW` are left out.
    Where the buys are meant to take all of that equity, only their proportions matter. With leverage they are scaled to
    fractions of the buying power, so that they spend the same money.

    Args:
        target_BN: shares of the equity; NaN leaves a stock as it is. So does a day without a bar.
        observations_BF: numeric observations.
        config: the rules.

    Returns:
        [B, N] fractions, to :func:`decimals`.
    """
    facts_BNK = facts_of(observations_BF, target_BN.shape[1])
    held_BN = facts_BNK[..., AT["share"]].astype(float) / 100
    change_BN = np.where((facts_BNK[..., AT["traded"]] > 0) & ~np.isnan(target_BN), target_BN - held_BN, 0.0)
    sold_BN = np.clip(-change_BN, 0.0, np.maximum(held_BN, 0.0))
    sales_BN = np.divide(sold_BN, held_BN, out=np.zeros_like(held_BN), where=sold_BN > 0)
    sold_BN = np.where(sales_BN >= HOLD_BELOW, sold_BN, 0.0)
    # The share of the equity that is not invested: the cash, unless it can be borrowed.
    plain = config.leverage == 1.0 and not config.short
    free_B = observations_BF[:, _CASH].astype(float) / 100 if plain else 1.0 - np.abs(held_BN).sum(axis=1)
    free_B = free_B + sold_BN.sum(axis=1)
    wanted_BN = np.maximum(change_BN, 0.0) / np.maximum(free_B, MIN_POWER)[:, None]
    largest_B = np.maximum(wanted_BN.max(axis=1), HOLD_BELOW)
    buys_BN = np.where((wanted_BN.sum(axis=1) >= WHOLE)[:, None], wanted_BN / largest_B[:, None], wanted_BN)
    buys_BN = np.where((free_B > MIN_POWER)[:, None], np.minimum(buys_BN, 1.0), 0.0)
    buys_BN, sales_BN = (np.where(np.round(part, 2) >= HOLD_BELOW, part, 0.0) for part in (buys_BN, sales_BN))
    if config.leverage > 1.0:
        free_B = np.maximum(free_B, 0.0)
        part_B = free_B / (free_B + config.leverage - 1.0) / np.maximum(buys_BN.sum(axis=1), 1.0)
        buys_BN = buys_BN * part_B[:, None]
    orders_BN: Floats = np.round(buys_BN - sales_BN, decimals(config))
    return np.where(np.abs(orders_BN) < config.smallest_order, 0.0, orders_BN)


def decimals(config: EnvConfig) -> int:
    """Of a rule's orders: two; with leverage enough for a thousandth of an equal part of the equity."""
    return 2 if config.leverage == 1.0 else 3 + math.ceil(math.log10(config.leverage * config.tickers))


def _reason(clauses: Sequence[str], orders_N: Floats, otherwise: str) -> str:
    """The clauses of the stocks that are ordered, each with its side."""
    ordered = [(clause, order) for clause, order in zip(clauses, orders_N, strict=True) if order]
    return "; ".join(f"{text}, {'buy' if order > 0 else 'sell'}" for text, order in ordered[:MAX_CLAUSES]) or otherwise


@checked_dataclass(frozen=True, config=STRICT)
class Hold:
    """Does nothing."""

    name: str = "hold"

    def act(self, observations: Any, state: State) -> Floats:
        return np.zeros((len(state.seeds), state.config.tickers))

    def why(self, facts_NK: Facts, orders_N: Floats, names: Sequence[str]) -> str:
        return "stay in cash"


@checked_dataclass(frozen=True, config=STRICT)
class BuyAndHold:
    """The equity in equal parts on the first day, then nothing: the market of the grade, with or without leverage."""

    name: str = "buy and hold"

    def act(self, observations: Any, state: State) -> Floats:
        config = state.config
        # Without leverage orders of 1 share the cash equally.
        part = 1.0 if config.leverage == 1.0 else 1.0 / (config.leverage * config.tickers)
        return np.full((len(state.seeds), config.tickers), part if state.day == 0 else 0.0)

    def why(self, facts_NK: Facts, orders_N: Floats, names: Sequence[str]) -> str:
        return "buy equal parts" if np.any(orders_N) else "keep holding"


@checked_dataclass(frozen=True, config=STRICT)
class Random:
    """Numbers drawn uniformly from [-1, 1], fixed by ``seed`` and the episode's own seed; leverage is used."""

    seed: Annotated[int, Field(ge=0)] = 0
    name: str = "random"

    def act(self, observations: Any, state: State) -> Floats:
        if state.day == 0:
            shape = (state.config.days, state.config.tickers)
            drawn = [np.random.default_rng([self.seed, one]).uniform(-1, 1, shape) for one in state.seeds]
            state.memory["actions_BDN"] = np.stack(drawn)
        actions_BN: Floats = state.memory["actions_BDN"][:, state.day]
        return actions_BN

    def why(self, facts_NK: Facts, orders_N: Floats, names: Sequence[str]) -> str:
        return "drawn at random"


@checked_dataclass(frozen=True, config=STRICT)
class EqualWeight:
    """Long only, every stock at the same share of the equity, rebalanced every ``every`` days."""

    every: Annotated[int, Field(ge=1)] = 5
    name: str = "equal weight"

    def act(self, observations: Facts, state: State) -> Floats:
        shape = (len(state.seeds), state.config.tickers)
        if state.day % self.every:
            return np.zeros(shape)
        return orders_to(np.full(shape, 1 / state.config.tickers), observations, state.config)

    def why(self, facts_NK: Facts, orders_N: Floats, names: Sequence[str]) -> str:
        held_N = zip(names, facts_NK[:, AT["share"]].tolist(), strict=True)
        clauses = [f"{name} {held:.0f}% of {100 / len(names):.0f}%" for name, held in held_N]
        return _reason(clauses, orders_N, "shares are equal")


@checked_dataclass(frozen=True, config=STRICT)
class SignalStrategy(ABC):
    """Buys the stocks that an indicator says to hold and sells those that it says not to.

    ``parts`` is the number of holdings that the equity is divided into, or the number of stocks if that is smaller. A
    buy is one part, as far as the cash goes. ``reads`` are the facts that the signal depends on.
    """

    parts: Annotated[int, Field(ge=1, le=MAX_PARTS)] = 5
    reads: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def signal(self, facts_BNK: Facts) -> NDArray[np.int8]:
        """[B, N] 1 to hold the stock, -1 not to, 0 to leave it as it is. Any leading axes."""

    @abstractmethod
    def clause(self, facts_K: Facts) -> str:
        """The figure that a stock's signal came from."""

    def act(self, observations: Facts, state: State) -> Floats:
        """Sell what is held against the signal, buy what is not held despite it."""
        stocks = state.config.tickers
        facts_BNK = facts_of(observations, stocks)
        signal_BN, held_BN = self.signal(facts_BNK), facts_BNK[..., AT["share"]] > 0
        share = 1 / min(self.parts, stocks)
        target_BN = np.where((signal_BN > 0) & ~held_BN, share, np.where((signal_BN < 0) & held_BN, 0.0, np.nan))
        return orders_to(target_BN, observations, state.config)

    def why(self, facts_NK: Facts, orders_N: Floats, names: Sequence[str]) -> str:
        """The signals that were followed; without an order, whether there was a signal."""
        clauses = [f"{name} {self.clause(facts_K)}" for name, facts_K in zip(names, facts_NK, strict=True)]
        free_N = (facts_NK[:, AT["share"]] <= 0) & (facts_NK[:, AT["traded"]] > 0)
        missed = bool(np.any(free_N & (self.signal(facts_NK) > 0)))
        return _reason(clauses, orders_N, "no cash left" if missed else "no signal")


def _beyond(facts_BNK: Facts, name: str, low: float, high: float) -> NDArray[np.int8]:
    """1 where a fact is above ``high``, -1 where it is below ``low``, 0 in between and where it is not known."""
    values_BN = facts_BNK[..., AT[name]]
    signs_BN: NDArray[np.int8] = np.select([values_BN == UNKNOWN, values_BN > high, values_BN < low], [0, 1, -1], 0)
    return signs_BN


@checked_dataclass(frozen=True, config=STRICT)
class RSIStrategy(SignalStrategy):
    """RSI(14) after Wilder (1978): buy below 30, sell above 70."""

    name: str = "rsi"
    reads: ClassVar = ("rsi_14",)

    def signal(self, facts_BNK: Facts) -> NDArray[np.int8]:
        return -_beyond(facts_BNK, "rsi_14", OVERSOLD, OVERBOUGHT)

    def clause(self, facts_K: Facts) -> str:
        rsi = float(facts_K[AT["rsi_14"]])
        remark = " oversold" if rsi < OVERSOLD else " overbought" if rsi > OVERBOUGHT else ""
        return f"RSI {rsi:.0f}{remark}"


@checked_dataclass(frozen=True, config=STRICT)
class MACDStrategy(SignalStrategy):
    """MACD(12, 26, 9) after Appel: hold while the histogram is above 0. ``band`` is in percent of the price."""

    band: float = 0.0
    name: str = "macd"
    reads: ClassVar = ("macd_hist",)

    def signal(self, facts_BNK: Facts) -> NDArray[np.int8]:
        return _beyond(facts_BNK, "macd_hist", -self.band, self.band)

    def clause(self, facts_K: Facts) -> str:
        return f"MACD {facts_K[AT['macd_hist']]:.2f}"


@checked_dataclass(frozen=True, config=STRICT)
class MomentumStrategy(SignalStrategy):
    """Hold while the five-day change is above ``band`` percent, sell while it is below minus ``band``."""

    band: float = 1.0
    name: str = "momentum 5d"
    reads: ClassVar = ("change_5",)

    def signal(self, facts_BNK: Facts) -> NDArray[np.int8]:
        return _beyond(facts_BNK, "change_5", -self.band, self.band)

    def clause(self, facts_K: Facts) -> str:
        return f"5d {facts_K[AT['change_5']]:+.0f}%"


@checked_dataclass(frozen=True, config=STRICT)
class RSIAndMACDStrategy(SignalStrategy):
    """RSI and MACD together: buy what is oversold, sell what is overbought, follow MACD in between."""

    band: float = 0.0
    name: str = "rsi+macd"
    reads: ClassVar = (*RSIStrategy.reads, *MACDStrategy.reads)

    def signal(self, facts_BNK: Facts) -> NDArray[np.int8]:
        extreme_BN = RSIStrategy().signal(facts_BNK)
        return np.where(extreme_BN != 0, extreme_BN, MACDStrategy(band=self.band).signal(facts_BNK))

    def clause(self, facts_K: Facts) -> str:
        return (RSIStrategy() if RSIStrategy().signal(facts_K) else MACDStrategy()).clause(facts_K)


_SIGNALS: tuple[Any, ...] = (RSIStrategy, MACDStrategy, MomentumStrategy, RSIAndMACDStrategy)
_ALL: tuple[Any, ...] = (Hold, BuyAndHold, EqualWeight, *_SIGNALS, Random)
STRATEGIES: dict[str, Callable[..., Strategy]] = {one.name: one for one in _ALL}
"""Every strategy by the name that recipes and tables use. The settings are the fields of its class."""
FACTS_READ: dict[str, tuple[str, ...]] = {**dict.fromkeys(STRATEGIES, ()), **{one.name: one.reads for one in _SIGNALS}}
"""The facts of the market that a strategy's orders and reasons depend on."""


def make_strategy(name: str, /, **settings: Any) -> Strategy:
    """The strategy of a name; an EnvError if it, or a setting, is unknown, or a value has a wrong type or range."""
    if name not in STRATEGIES:
        near = did_you_mean(name, STRATEGIES)
        raise EnvError(f"Unknown strategy '{name}'.{near} Strategies: {', '.join(STRATEGIES)}.")
    try:
        return STRATEGIES[name](**settings)
    except ValidationError as error:
        known = [one.name for one in fields(STRATEGIES[name]) if one.name != "name"]  # type: ignore[arg-type]
        raise EnvError(f"The strategy '{name}': {faults(error, known)}") from error
