"""The messages of an environment server: OpenEnv's types, filled in, and checks of what a client sends."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from tradeschool.env.config import EnvConfig, EnvError
from tradeschool.env.features import LONGEST_ACTION
from tradeschool.errors import TradeschoolError, did_you_mean

try:
    from openenv.core.env_server.types import Action, Observation, State, WSErrorCode
except ImportError as error:
    raise TradeschoolError(
        "Environment servers and clients need the package openenv, which is not installed. "
        "Install it: pip install 'tradeschool[openenv]'"
    ) from error

MAX_SEED = 2**63 - 1
MAX_STOCKS = 500
"""The most that an environment may have."""
MAX_SHOWN = 60
"""Characters of a field's name that an error repeats."""
MAX_ERROR = 400
FIELDS = ("type", "data", "orders", "seed", "episode_id", "start", "tickers")
TYPES = ("reset", "step", "state", "close")


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


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ResetFields(_Strict):
    """What ``reset`` takes. ``start`` (a row of the market) and ``tickers`` only where names and dates are shown."""

    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    episode_id: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    start: int | None = None
    tickers: list[str] | None = None


class _Reset(_Strict):
    type: Literal["reset"]
    data: ResetFields = Field(default_factory=ResetFields)


class _TextStep(_Strict):
    type: Literal["step"]
    data: TradeAction


class _NumericStep(_Strict):
    type: Literal["step"]
    data: NumericTradeAction


class _Other(_Strict):
    type: Literal["state", "close"]


_TEXT: TypeAdapter[_Reset | _TextStep | _Other] = TypeAdapter(
    Annotated[_Reset | _TextStep | _Other, Field(discriminator="type")]
)
_NUMERIC: TypeAdapter[_Reset | _NumericStep | _Other] = TypeAdapter(
    Annotated[_Reset | _NumericStep | _Other, Field(discriminator="type")]
)


class BadRequest(EnvError):
    """A request that cannot be carried out. ``code`` is one of OpenEnv's."""

    def __init__(self, text: str, code: WSErrorCode = WSErrorCode.VALIDATION_ERROR) -> None:
        super().__init__(text)
        self.code = code

    @classmethod
    def of(cls, error: ValidationError) -> "BadRequest":
        """The request that pydantic refuses with ``error``."""
        kind = error.errors()[0]["type"]
        if kind == "json_invalid":
            return cls(problems(error.errors()), WSErrorCode.INVALID_JSON)
        if kind.startswith("union_tag"):
            tag = str(error.errors()[0].get("ctx", {}).get("tag", ""))[:MAX_SHOWN]
            text = f"There is no message type {tag!r}.{did_you_mean(tag, TYPES)} Types are: {', '.join(TYPES)}."
            return cls(text, WSErrorCode.UNKNOWN_TYPE)
        return cls(problems(error.errors()))


def check_message(text: str | None, config: EnvConfig) -> str:
    """The type of a WebSocket message.

    Args:
        text: the message; None for a binary one.
        config: of the environment that it is sent to.

    Raises:
        BadRequest: it is malformed.
    """
    if text is None:
        raise BadRequest("A message must be JSON in a text frame, not a binary one.", WSErrorCode.INVALID_JSON)
    try:
        message = (_TEXT if config.observation == "text" else _NUMERIC).validate_json(text)
    except ValidationError as error:
        raise BadRequest.of(error) from error
    if isinstance(message, _NumericStep) and len(message.data.orders) != config.tickers:
        raise BadRequest(f"orders has {len(message.data.orders)} numbers, but needs {config.tickers}.")
    return message.type


def problems(errors: Sequence[Any]) -> str:
    """Pydantic's error entries in one line: the first three."""
    found = []
    for error in errors[:3]:
        where = ".".join(map(str, error["loc"]))[:MAX_SHOWN]
        hint = did_you_mean(str(error["loc"][-1]), FIELDS) if error["type"] == "extra_forbidden" else ""
        found.append(f"{where}: {error['msg']}.{hint}" if where else f"{error['msg']}.")
    return " ".join(found)[:MAX_ERROR].replace("\n", " ")
