"""Rules that trade, by name: the rivals of every agent, and the experts whose episodes are worth imitating."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, ValidationError, create_model

from tradeschool.checking import plain
from tradeschool.env import reference
from tradeschool.env.config import EnvError
from tradeschool.env.harness import State
from tradeschool.env.signals import MACD, Momentum, RSIRules, Rules
from tradeschool.env.targets import AT, TradingRule, first, towards
from tradeschool.errors import did_you_mean
from tradeschool.market.panel import Floats


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
            for name, held, order in zip(names, facts_NK[:, AT["share"]].tolist(), orders_N, strict=True)
            if order
        ]
        return first(clauses, "shares are equal")


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
