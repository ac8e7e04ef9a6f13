"""Rules that trade: the rivals of every agent, and the experts whose episodes are worth imitating."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, ValidationError, create_model

from tradeschool.checking import plain
from tradeschool.env import reference
from tradeschool.env.actions import HOLD_BELOW
from tradeschool.env.config import EnvConfig, EnvError
from tradeschool.env.facts import ACCOUNT, HOLDING, MARKET, PER_STOCK, UNKNOWN, G
from tradeschool.env.harness import Agent, State
from tradeschool.errors import did_you_mean
from tradeschool.market.panel import Floats

MOST_NAMED = 3
"""Stocks that a reason names: it is learned by heart, and every word of it is paid for."""
LEAST_POWER = 0.01
"""Of the equity: buying power too small to be worth an order."""
WHOLE = 0.98
"""Buys that ask for at least this much of the buying power are meant to take all of it."""
MOST_PARTS = int(1 / HOLD_BELOW)
RSI_OVERSOLD, RSI_OVERBOUGHT = 30.0, 70.0
"""Wilder (1978)."""
_AT = {fact.name: at for at, fact in enumerate((*MARKET, *HOLDING))}
_CASH = next(at for at, fact in enumerate(ACCOUNT) if fact.name == "cash") - G


class TradingRule(Agent, Protocol):
    """An agent on numeric observations that can say why."""

    def why(self, facts_NK: NDArray[np.float32], orders_N: Floats, names: Sequence[str]) -> str:
        """The reason of one day's orders in one episode, in short clauses.

        Args:
            facts_NK: the stocks' facts that the orders were given on, columns as in ``env/facts.py``.
            orders_N: what ``act`` answered.
            names: of the stocks.
        """


def facts_of(observations_BF: NDArray[np.float32], stocks: int) -> NDArray[np.float32]:
    """[B, N, K] the facts of each stock, out of numeric observations; K is ``facts.PER_STOCK``."""
    facts_BNK: NDArray[np.float32] = observations_BF[:, : stocks * PER_STOCK].reshape(-1, stocks, PER_STOCK)
    return facts_BNK


def towards(target_BN: Floats, observations_BF: NDArray[np.float32], config: EnvConfig) -> Floats:
    """[B, N] the orders that lead from what is held to shares of the equity, fractions to two decimals.

    NaN in ``target_BN`` leaves a stock as it is, and so does a day without a bar. Sales come first, so that buys are
    fractions of the buying power after them. Orders too small to count are left out, and buys where there is no
    buying power; where the buys are meant to take all of it, only their proportions matter.
    """
    facts_BNK = facts_of(observations_BF, target_BN.shape[1])
    held_BN = facts_BNK[..., _AT["share"]].astype(float) / 100
    change_BN = np.where((facts_BNK[..., _AT["traded"]] > 0) & ~np.isnan(target_BN), target_BN - held_BN, 0.0)
    sold_BN = np.clip(-change_BN, 0.0, np.maximum(held_BN, 0.0))
    sales_BN = np.divide(sold_BN, held_BN, out=np.zeros_like(held_BN), where=sold_BN > 0)
    sold_BN = np.where(sales_BN >= HOLD_BELOW, sold_BN, 0.0)
    power_B = _power(held_BN, observations_BF, config) + sold_BN.sum(axis=1)
    wanted_BN = np.maximum(change_BN, 0.0) / np.maximum(power_B, LEAST_POWER)[:, None]
    largest_B = np.maximum(wanted_BN.max(axis=1), HOLD_BELOW)
    buys_BN = np.where((wanted_BN.sum(axis=1) >= WHOLE)[:, None], wanted_BN / largest_B[:, None], wanted_BN)
    buys_BN = np.where((power_B > LEAST_POWER)[:, None], np.minimum(buys_BN, 1.0), 0.0)
    orders_BN: Floats = np.round(buys_BN - sales_BN, 2)
    return np.where(np.abs(orders_BN) < HOLD_BELOW, 0.0, orders_BN)


def _power(held_BN: Floats, observations_BF: NDArray[np.float32], config: EnvConfig) -> Floats:
    """[B] buying power over equity."""
    if config.leverage == 1.0 and not config.short:
        power_B: Floats = observations_BF[:, _CASH].astype(float) / 100
        return power_B
    return config.leverage - np.abs(held_BN).sum(axis=1)


def _first(clauses: Sequence[str], otherwise: str) -> str:
    return "; ".join(clauses[:MOST_NAMED]) or otherwise


@dataclass(frozen=True)
class Hold(reference.Constant):
    """Does nothing."""

    name: str = "hold"

    def why(self, facts_NK: NDArray[np.float32], orders_N: Floats, names: Sequence[str]) -> str:
        """That nothing is done."""
        return "stay in cash"


@dataclass(frozen=True)
class BuyAndHold(reference.BuyAndHold):
    """All cash in equal parts on the first day, then nothing: the market."""

    def why(self, facts_NK: NDArray[np.float32], orders_N: Floats, names: Sequence[str]) -> str:
        """Which of the two days it is."""
        return "buy equal parts" if np.any(orders_N) else "keep holding"


@dataclass(frozen=True)
class Random(reference.Random):
    """Numbers drawn evenly from [-1, 1], fixed by ``seed`` and the episode's own seed."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise EnvError(f"seed is {self.seed}: give 0 or more.")

    def why(self, facts_NK: NDArray[np.float32], orders_N: Floats, names: Sequence[str]) -> str:
        """That there is no reason."""
        return "drawn at random"


@dataclass(frozen=True)
class EqualWeight:
    """Long only, every stock at the same share of the equity, put back there every ``every`` days."""

    every: int = 5
    name: str = "equal weight"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise EnvError(f"every is {self.every}: rebalance every 1 day or more.")

    def act(self, observations: NDArray[np.float32], state: State) -> Floats:
        """Back to equal shares, on the days on which that is done."""
        shape = (len(state.seeds), state.config.tickers)
        if state.day % self.every:
            return np.zeros(shape)
        return towards(np.full(shape, 1 / state.config.tickers), observations, state.config)

    def why(self, facts_NK: NDArray[np.float32], orders_N: Floats, names: Sequence[str]) -> str:
        """Which holdings are above or below their share."""
        share = 100 / len(names)
        clauses = [
            f"{name} {held:.0f}% of {share:.0f}%, {'buy' if order > 0 else 'sell'}"
            for name, held, order in zip(names, facts_NK[:, _AT["share"]].tolist(), orders_N, strict=True)
            if order
        ]
        return _first(clauses, "shares are equal")


@dataclass(frozen=True)
class Signals(ABC):
    """Buys what a signal says to hold and sells what it says not to, in parts of the equity.

    ``parts`` is how many holdings the equity is meant for, or as many as there are stocks: a buy is one of them, as far
    as the cash goes.
    """

    parts: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.parts <= MOST_PARTS:
            raise EnvError(f"parts is {self.parts}: give 1 to {MOST_PARTS}; orders smaller than that count as none.")

    @abstractmethod
    def signal(self, facts_BNK: NDArray[np.float32]) -> NDArray[np.int8]:
        """[B, N] 1 to hold the stock, -1 not to, 0 to leave it as it is. Any leading axes."""

    @abstractmethod
    def clause(self, facts_K: NDArray[np.float32]) -> str:
        """What the signal of a stock came from."""

    def act(self, observations: NDArray[np.float32], state: State) -> Floats:
        """Sell what is held against the signal, buy what is not held in spite of it."""
        stocks = state.config.tickers
        facts_BNK = facts_of(observations, stocks)
        signal_BN, held_BN = self.signal(facts_BNK), facts_BNK[..., _AT["share"]] > 0
        share = 1 / min(self.parts, stocks)
        target_BN = np.where((signal_BN > 0) & ~held_BN, share, np.where((signal_BN < 0) & held_BN, 0.0, np.nan))
        return towards(target_BN, observations, state.config)

    def why(self, facts_NK: NDArray[np.float32], orders_N: Floats, names: Sequence[str]) -> str:
        """The signals that were followed; where there is no order, whether there was one to follow."""
        ordered = [
            f"{name} {self.clause(facts_K)}, {'buy' if order > 0 else 'sell'}"
            for name, facts_K, order in zip(names, facts_NK, orders_N, strict=True)
            if order
        ]
        return _first(ordered, "no cash left" if self._missed(facts_NK) else "no signal")

    def _missed(self, facts_NK: NDArray[np.float32]) -> bool:
        free_N = (facts_NK[:, _AT["share"]] <= 0) & (facts_NK[:, _AT["traded"]] > 0)
        return bool(np.any(free_N & (self.signal(facts_NK) > 0)))


def _known(facts_BNK: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """A fact of every stock, NaN where it is not known: no comparison with it is true."""
    values_BN: NDArray[np.float32] = facts_BNK[..., _AT[name]]
    return np.where(values_BN == UNKNOWN, np.float32(np.nan), values_BN)


def _signs(up_BN: NDArray[np.bool_], down_BN: NDArray[np.bool_]) -> NDArray[np.int8]:
    return up_BN.astype(np.int8) - down_BN.astype(np.int8)


def _rsi_words(rsi: float) -> str:
    word = " oversold" if rsi < RSI_OVERSOLD else " overbought" if rsi > RSI_OVERBOUGHT else ""
    return f"RSI {rsi:.0f}{word}"


@dataclass(frozen=True)
class RSIRules(Signals):
    """Wilder's reading of RSI(14): buy below 30, sell above 70."""

    name: str = "rsi"

    def signal(self, facts_BNK: NDArray[np.float32]) -> NDArray[np.int8]:
        rsi_BN = _known(facts_BNK, "rsi_14")
        return _signs(rsi_BN < RSI_OVERSOLD, rsi_BN > RSI_OVERBOUGHT)

    def clause(self, facts_K: NDArray[np.float32]) -> str:
        return _rsi_words(float(facts_K[_AT["rsi_14"]]))


@dataclass(frozen=True)
class MACD(Signals):
    """Appel's MACD(12, 26, 9): hold while the histogram is above 0. ``band`` is in percent of the price."""

    band: float = 0.0
    name: str = "macd"

    def signal(self, facts_BNK: NDArray[np.float32]) -> NDArray[np.int8]:
        histogram_BN = _known(facts_BNK, "macd_hist")
        return _signs(histogram_BN > self.band, histogram_BN < -self.band)

    def clause(self, facts_K: NDArray[np.float32]) -> str:
        return f"MACD {facts_K[_AT['macd_hist']]:.2f}"


@dataclass(frozen=True)
class Momentum(Signals):
    """Hold while the change of five days is above ``band`` percent, sell below minus ``band``: in between, keep."""

    band: float = 1.0
    name: str = "momentum"

    def signal(self, facts_BNK: NDArray[np.float32]) -> NDArray[np.int8]:
        change_BN = _known(facts_BNK, "change_5")
        return _signs(change_BN > self.band, change_BN < -self.band)

    def clause(self, facts_K: NDArray[np.float32]) -> str:
        return f"5d {facts_K[_AT['change_5']]:+.0f}%"


@dataclass(frozen=True)
class Rules(Signals):
    """RSI and MACD together: what is oversold is bought and what is overbought sold; in between, MACD decides."""

    band: float = 0.0
    name: str = "rules"

    def signal(self, facts_BNK: NDArray[np.float32]) -> NDArray[np.int8]:
        extreme_BN = RSIRules().signal(facts_BNK)
        return np.where(extreme_BN != 0, extreme_BN, MACD(band=self.band).signal(facts_BNK))

    def clause(self, facts_K: NDArray[np.float32]) -> str:
        return (RSIRules() if RSIRules().signal(facts_K) else MACD()).clause(facts_K)


RULES: dict[str, Callable[..., TradingRule]] = {
    "hold": Hold,
    "buy and hold": BuyAndHold,
    "equal weight": EqualWeight,
    "rsi": RSIRules,
    "macd": MACD,
    "momentum": Momentum,
    "rules": Rules,
    "random": Random,
}
"""Every rule by the name that recipes and tables use; the arguments are the fields of its class."""

READS: dict[str, tuple[str, ...]] = {
    "hold": (),
    "buy and hold": (),
    "equal weight": (),
    "rsi": ("rsi_14",),
    "macd": ("macd_hist",),
    "momentum": ("change_5",),
    "rules": ("rsi_14", "macd_hist"),
    "random": (),
}
"""Of the market's facts, those that a rule's orders and reasons hang on; the account and holdings everyone is told."""


def rule(name: str, /, **settings: Any) -> TradingRule:
    """The rule of a name.

    Raises:
        EnvError: there is no such rule, it has no such setting, or a value is of another type or outside its range.
    """
    if name not in RULES:
        raise EnvError(f"There is no rule '{name}'.{did_you_mean(name, RULES)} There are: {', '.join(RULES)}.")
    fields = [field for field in RULES[name].__dataclass_fields__ if field not in ("name", "value")]  # type: ignore[attr-defined]
    for key in settings:
        if key not in (*fields, "name"):
            known = f"It has: {', '.join(fields)}." if fields else "It has none."
            raise EnvError(f"The rule '{name}' has no setting '{key}'.{did_you_mean(key, fields)} {known}")
    return RULES[name](**_checked(name, settings))


def _checked(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of the types that the fields of the rule's class have: whole numbers, finite numbers, texts."""
    types: dict[str, Any] = {key: field.type for key, field in RULES[name].__dataclass_fields__.items()}  # type: ignore[attr-defined]
    fields: dict[str, Any] = {key: (types[key], ...) for key in settings}
    # Strict: pydantic would else take true for a 1.
    config = ConfigDict(strict=True, allow_inf_nan=False)
    model = create_model("Settings", __config__=config, **fields)
    try:
        return model(**settings).model_dump()
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))} {plain(e)}" for e in error.errors(include_url=False)]
        raise EnvError(f"The rule '{name}': {'; '.join(faults)}.") from error
