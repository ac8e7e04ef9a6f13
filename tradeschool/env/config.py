"""Settings of an episode, the three levels, their versions, and the parameters of order settlement.

``tests/env/golden/`` holds a trajectory per version: a change of behaviour without a new version fails there.
"""

import functools
import hashlib
import json
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tradeschool.config.check import plain
from tradeschool.errors import TradeschoolError, did_you_mean
from tradeschool.metrics import DAYS_A_YEAR

HOLD_BELOW = 0.05
"""Numbers closer to 0 than this mean HOLD, so that a policy with continuous actions can hold. With leverage see
:attr:`EnvConfig.smallest_order`."""

LEVELS: dict[str, dict[str, Any]] = {
    "Easy": {"tickers": 1, "days": 20},
    "Medium": {"tickers": 10, "days": 30},
    "Hard": {"tickers": 25, "days": 40},
}
"""What each level sets. Every other setting is the default."""
ENV_VERSION = "1.3.0"
"""Raised with every change of behaviour: major where results can no longer be compared, minor otherwise; patch for
wording."""
LEVEL_VERSIONS = {"Easy": "1.0.0", "Medium": "1.0.0", "Hard": "1.0.0"}
"""Raised where a level's settings, or the default of a setting, change."""
KEYS = ("env_version", "level", "level_version", "settings_hash", "data_hash")
"""What two episodes must share to be compared. Infos, records, traces, result rows and server answers have these
keys."""
PRESENTATION = {"observation", "mask"}
"""Settings that change how an episode is shown, not what happens in it."""


class EnvError(TradeschoolError):
    """An environment cannot be built, reset or stepped as requested."""


class EnvConfig(BaseModel):
    """The rules of one episode: all that the outcome of a step depends on besides the market.

    Attributes:
        tickers: number of stocks.
        days: number of decisions.
        cash: at the start, in the market's currency.
        commission: share of the traded value (.0005 is 5 basis points).
        slippage: the fill price is worse than the open by this share.
        volume_share: largest share of a day's volume that one order may fill.
        short: whether a SELL without a holding opens a short.
        leverage: largest gross exposure over equity that an order may lead to.
        interest: yearly rate on cash; paid on negative cash.
        ruin: the episode ends when the equity is at most this share of the start.
        delisting_return: return on the last close of a holding whose bars end. -.30 is Shumway's (1997) estimate for
            delistings for poor performance.
        mask: hides tickers and dates.
        observation: text or a vector of numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tickers: int = Field(default=1, ge=1, le=500)
    days: int = Field(default=20, ge=2, le=10_000)
    cash: float = Field(default=100_000.0, gt=0, allow_inf_nan=False)
    commission: float = Field(default=0.0005, ge=0, le=0.1)
    slippage: float = Field(default=0.0005, ge=0, le=0.1)
    volume_share: float = Field(default=0.1, gt=0, le=1)
    short: bool = False
    leverage: float = Field(default=1.0, ge=1, le=10)
    interest: float = Field(default=0.0, ge=-0.1, le=1)
    ruin: float = Field(default=0.1, ge=0, lt=1)
    delisting_return: float = Field(default=-0.30, ge=-1, le=0)
    mask: bool = True
    observation: Literal["text", "numeric"] = "text"

    @property
    def smallest_order(self) -> float:
        """Numbers closer to 0 than this mean HOLD: :data:`HOLD_BELOW` of the buying power.

        With leverage it is that share of one stock's equal part of the equity. An equal part itself is 1 / (leverage x
        stocks) of the buying power, which can be less than HOLD_BELOW.
        """
        return HOLD_BELOW if self.leverage == 1.0 else HOLD_BELOW / (self.leverage * self.tickers)


def env_config(**settings: Any) -> EnvConfig:
    """A configuration from keyword settings; an EnvError if a setting is unknown or outside its range."""
    try:
        return EnvConfig(**settings)
    except ValidationError as error:
        raise EnvError(f"The environment's settings: {faults(error, EnvConfig.model_fields)}") from error


def faults(error: ValidationError, settings: Iterable[str]) -> str:
    """All that pydantic found wrong, as one sentence; ``settings`` are the known ones."""
    known, found = list(settings), []
    for fault in error.errors(include_url=False):
        name = ".".join(map(str, fault["loc"]))
        if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            found.append(f"there is no '{name}'.{did_you_mean(name, known)} Settings: {', '.join(known) or 'none'}")
        else:
            found.append(f"{name} {plain(fault)}".removesuffix("."))
    text = "; ".join(found)
    return text if text.endswith("?") else f"{text}."


def find_level(name: str) -> str:
    """The level with this name, in any case; an EnvError if the level is unknown."""
    level = name.strip().capitalize()
    if level not in LEVELS:
        raise EnvError(f"There is no level '{name}'.{did_you_mean(name, LEVELS)} Levels are: {', '.join(LEVELS)}.")
    return level


def level_config(name: str, **settings: Any) -> EnvConfig:
    """The configuration of a level, changed by ``settings``."""
    return EnvConfig(**{**LEVELS[name], **settings})


def level_of(config: EnvConfig) -> str:
    """The level that has these rules, however they are shown; "custom" if there is none."""
    rules = config.model_dump(exclude=PRESENTATION)
    matches = (name for name in LEVELS if level_config(name).model_dump(exclude=PRESENTATION) == rules)
    return next(matches, "custom")


@functools.lru_cache(maxsize=256)
def settings_hash(config: EnvConfig) -> str:
    """The first 16 hex digits of a hash of the rules, without :data:`PRESENTATION`."""
    text = json.dumps(config.model_dump(exclude=PRESENTATION), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions(config: EnvConfig, data_hash: str) -> dict[str, str]:
    """The values of :data:`KEYS` for episodes with these settings on this market."""
    level = level_of(config)
    values = (ENV_VERSION, level, LEVEL_VERSIONS.get(level, ENV_VERSION), settings_hash(config), data_hash)
    return dict(zip(KEYS, values, strict=True))


class ExecutionParams(NamedTuple):
    """Parameters of order settlement, derived from an :class:`EnvConfig` once; see there for the undocumented ones.

    Attributes:
        buy: a share bought costs open * ``buy``, slippage and commission included.
        sell: a share sold brings open * ``sell``.
        slipped_buy: as ``buy``, with slippage alone.
        slipped_sell: as ``sell``, with slippage alone.
        cash_only: buying power is the cash: no shorts and no leverage.
        interest: what cash is multiplied by each day.
        delisting: what the last close of a delisted holding is multiplied by.
        min_power: buying power up to this amount counts as none.
    """

    buy: float
    sell: float
    slipped_buy: float
    slipped_sell: float
    volume_share: float
    leverage: float
    short: bool
    cash_only: bool
    interest: float
    delisting: float
    min_power: float

    @classmethod
    def of(cls, config: EnvConfig, bars_per_year: int = DAYS_A_YEAR) -> "ExecutionParams":
        """The parameters of a configuration; interest is paid once for every bar."""
        up, down = 1.0 + config.slippage, 1.0 - config.slippage
        return cls(
            buy=up * (1.0 + config.commission),
            sell=down * (1.0 - config.commission),
            slipped_buy=up,
            slipped_sell=down,
            volume_share=config.volume_share,
            leverage=config.leverage,
            short=config.short,
            cash_only=not config.short and config.leverage == 1.0,
            interest=1.0 + config.interest / bars_per_year,
            delisting=1.0 + config.delisting_return,
            min_power=1e-6 * config.cash,
        )
