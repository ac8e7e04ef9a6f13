"""The messages of an environment server: OpenEnv's types, filled in."""

from typing import Annotated, Any

from openenv.core.env_server.types import Action, Observation, State
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tradeschool.env.features import LONGEST_ACTION

MAX_SEED = 2**63 - 1
MAX_STOCKS = 500
"""The most that an environment may have."""


class TradeAction(Action):
    """A day's orders as text: ``BUY|SELL|HOLD [TICKER] [fraction]``, after an optional ``<think>`` block."""

    model_config = ConfigDict(strict=True)

    orders: Annotated[str, StringConstraints(max_length=LONGEST_ACTION)]


class NumericTradeAction(Action):
    """A day's orders as numbers, one in [-1, 1] per stock: above .05 BUY that fraction, below -.05 SELL it."""

    model_config = ConfigDict(strict=True)

    orders: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(max_length=MAX_STOCKS)


class TradeObservation(Observation):
    """What an agent observes after a close. ``reward`` and ``done`` are OpenEnv's fields.

    Attributes:
        text: the observation of a text environment, else None.
        numbers: the observation of a numeric environment (``env/features.py``), else None.
        day, days: decisions taken so far, and in the whole episode.
        equity: cash and holdings at the close, in the market's currency.
        refused: orders refused on the last day.
        messages: why they were refused, and what else happened to the orders.
        terminated: the episode ended in bankruptcy.
        truncated: the episode ended after its last day.
        grade: at the end ``risk``, ``pnl``, ``drawdown``, ``activity`` and ``total``; before that None.
        metadata: versions of what is served: :data:`tradeschool.env.config.KEYS` and ``task_version``.
    """

    text: str | None = None
    numbers: list[float] | None = None
    day: int
    days: int
    equity: float
    refused: int = 0
    messages: list[str] = Field(default_factory=list)
    terminated: bool = False
    truncated: bool = False
    grade: dict[str, float] | None = None


class TradeState(State):
    """The state of a session: nothing that the observations do not show.

    Attributes:
        episode_id: as passed to ``reset``, or drawn; None before the first ``reset``.
        step_count: decisions taken.
        seed: of the episode; the same seed gives the same episode.
        done: True after the last day and before the first ``reset``.
        names: the stocks as orders name them, in the order of a numeric action.
        config: the fields of :class:`~tradeschool.env.config.EnvConfig`.
        env_version, ...: versions of what is served: :data:`tradeschool.env.config.KEYS` and ``task_version``.
    """

    seed: int | None = None
    done: bool = True
    names: list[str] = Field(default_factory=list)
    config: dict[str, Any]
    env_version: str
    task_version: str
    level: str
    level_version: str
    settings_hash: str
    data_hash: str


class ResetFields(BaseModel):
    """What ``reset`` takes. ``start`` (a row of the market) and ``tickers`` only where names and dates are shown."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    episode_id: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    start: int | None = None
    tickers: list[str] | None = None
