"""What goes over the wire between an environment's server and its clients: OpenEnv's types, filled in."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tradeschool.env.spaces import LONGEST_ACTION
from tradeschool.errors import TradeschoolError

try:
    from openenv.core.env_server.types import Action, Observation, State
except ImportError as error:
    raise TradeschoolError(
        "An environment over the wire needs the package openenv, which is not installed. "
        "Install it: pip install 'tradeschool[openenv]'"
    ) from error

LONGEST_ID = 255
MOST_SEED = 2**63 - 1
MOST_STOCKS = 500
"""As many as an environment may have."""


class TradeAction(Action):
    """A day's orders in words: ``BUY|SELL|HOLD [TICKER] [fraction]``, after a ``<think>`` block if there is one."""

    model_config = ConfigDict(strict=True)

    orders: str

    @field_validator("orders")
    @classmethod
    def _not_too_long(cls, orders: str) -> str:
        if len(orders) > LONGEST_ACTION:
            raise ValueError(f"has {len(orders):,} characters, but at most {LONGEST_ACTION:,} are read")
        return orders


class NumericTradeAction(Action):
    """A day's orders in numbers, one in [-1, 1] a stock: above .05 BUY that fraction, below -.05 SELL it."""

    model_config = ConfigDict(strict=True)

    orders: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(max_length=MOST_STOCKS)


class TradeObservation(Observation):
    """What is seen after a close; ``reward`` and ``done`` stand beside it.

    Attributes:
        text: the observation of a text environment, else None.
        numbers: that of a numeric one: the figures that ``env/facts.py`` lists, else None.
        day, days: decisions taken, and those of the whole episode.
        equity: cash and holdings at the close, in the market's currency.
        refused: orders refused on the last day, and ``told``, why and what else became of them.
        terminated: the episode ended in bankruptcy.
        truncated: it ended after its days.
        grade: at the end ``risk``, ``pnl``, ``drawdown``, ``activity`` and ``total``; until then None.
        metadata: what is served: :data:`tradeschool.env.versions.KEYS` and ``task_version``.
    """

    text: str | None = None
    numbers: list[float] | None = None
    day: int
    days: int
    equity: float
    refused: int = 0
    told: list[str] = Field(default_factory=list)
    terminated: bool = False
    truncated: bool = False
    grade: dict[str, float] | None = None


class TradeState(State):
    """Where a session is: nothing that an observation did not say.

    Attributes:
        episode_id: as ``reset`` was told, or drawn; None before the first ``reset``.
        step_count: decisions taken.
        seed: of the episode: the same one gives the same episode again.
        done: True after the last day, and before the first ``reset``.
        names: the stocks as orders name them, in the order of an action's numbers.
        config: the rules, the fields of :class:`~tradeschool.env.config.EnvConfig`.
        env_version and so on: what is served: :data:`tradeschool.env.versions.KEYS` and ``task_version``. Those that
            the first servers did not tell are empty where one of them is asked.
    """

    seed: int | None = None
    done: bool = True
    names: list[str] = Field(default_factory=list)
    config: dict[str, Any]
    env_version: str
    rules_hash: str = ""
    task_version: str
    level: str
    level_version: str = ""
    settings_hash: str = ""
    data_hash: str


class ResetFields(BaseModel):
    """What ``reset`` takes: ``start`` (a row of the market) and ``tickers`` only where names and dates are shown."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seed: int | None = Field(default=None, ge=0, le=MOST_SEED)
    episode_id: str | None = None
    start: int | None = None
    tickers: list[str] | None = None

    @field_validator("episode_id")
    @classmethod
    def _short_and_printable(cls, name: str | None) -> str | None:
        if name is not None and not (0 < len(name) <= LONGEST_ID and name.isprintable()):
            raise ValueError(f"must have 1 to {LONGEST_ID} printable characters")
        return name
