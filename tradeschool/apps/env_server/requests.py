"""What clients send, read and checked before it reaches a session; every fault in one plain sentence."""

import json
from collections.abc import Mapping
from typing import Any

from openenv.core.env_server.types import WSErrorCode
from pydantic import BaseModel, ConfigDict, ValidationError

from tradeschool.apps.env_messages import NumericTradeAction, ResetFields, TradeAction
from tradeschool.checking import plain, unknown_key
from tradeschool.env.config import EnvConfig
from tradeschool.errors import TradeschoolError, did_you_mean

MOST_BYTES = 1 << 20
"""Of a request. The longest text of an action takes a quarter of that, every letter escaped."""
MOST_FIELDS = 20
LONGEST_SHOWN = 60
MESSAGES: dict[str, tuple[str, ...]] = {
    "reset": ("type", "data"),
    "step": ("type", "data"),
    "state": ("type",),
    "close": ("type",),
}
"""What may be sent over a WebSocket, and the fields of each."""


class Refusal(TradeschoolError):
    """A request that is not passed on. ``status`` is HTTP's, ``code`` one of OpenEnv's."""

    def __init__(self, sentence: str, code: WSErrorCode = WSErrorCode.VALIDATION_ERROR, status: int = 422) -> None:
        super().__init__(sentence)
        self.code, self.status = code, status


class _Shown:
    """A value as a sentence shows it, however long it is."""

    def __init__(self, value: Any) -> None:
        self._text = _brief(repr(value))

    def __repr__(self) -> str:
        return self._text


class _StepBody(BaseModel):
    """OpenEnv's body of a step over HTTP."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: dict[str, Any]
    timeout_s: float | None = None
    request_id: str | None = None


class Requests:
    """The requests that an environment of ``config`` takes."""

    def __init__(self, config: EnvConfig) -> None:
        self._stocks = config.tickers
        self.action_class = TradeAction if config.observation == "text" else NumericTradeAction

    def check_message(self, text: str | None) -> str:
        """Check a WebSocket message; its type.

        Raises:
            Refusal: what is wrong with it.
        """
        if text is None:
            raise Refusal("a message is JSON in a text frame, not a binary one.", WSErrorCode.INVALID_JSON, 400)
        refuse_size(len(text))
        message = read_object(text)
        kind = message.get("type")
        if not isinstance(kind, str) or kind not in MESSAGES:
            near = did_you_mean(kind, MESSAGES) if isinstance(kind, str) and len(kind) < LONGEST_SHOWN else ""
            raise Refusal(
                f"there is no message of type {_Shown(kind)!r}.{near} There are: {', '.join(MESSAGES)}.",
                WSErrorCode.UNKNOWN_TYPE,
            )
        for key in message:
            if key not in MESSAGES[kind]:
                raise Refusal(f"a {kind} message has no field {_Shown(key)!r}. It has: {', '.join(MESSAGES[kind])}.")
        if kind == "reset":
            self.check_reset(message.get("data", {}))
        elif kind == "step":
            if "data" not in message:
                raise Refusal('a step message needs its action: {"type": "step", "data": {"orders": ...}}.')
            self.check_action(message["data"])
        return kind

    def check_body(self, path: str, body: bytes) -> None:
        """Check the body of an HTTP request to ``/reset`` or ``/step``.

        Raises:
            Refusal: what is wrong with it.
        """
        if path == "/reset":
            self.check_reset(read_object(body) if body else {})
        elif path == "/step":
            step = read_object(body)
            _checked(_StepBody, step, "the body")
            self.check_action(step["action"])

    def check_reset(self, data: Any) -> None:
        """Raises Refusal where ``data`` is not what ``reset`` takes."""
        _checked(ResetFields, data, "reset")

    def check_action(self, data: Any) -> None:
        """Raises Refusal where ``data`` is no action."""
        action = _checked(self.action_class, data, "the action")
        if isinstance(action, NumericTradeAction) and len(action.orders) != self._stocks:
            needed = "one number" if self._stocks == 1 else f"{self._stocks} numbers, one a stock"
            raise Refusal(f"the action: orders has {len(action.orders)} numbers, but must have {needed}.")


def read_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        Refusal: it is no JSON, or no object.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"{error.msg} at character {error.pos}"
        raise Refusal(f"this is no JSON: {where}.", WSErrorCode.INVALID_JSON, 400) from error
    except (ValueError, RecursionError) as error:
        # Not UTF-8, a number of thousands of digits, or lists within lists within lists.
        raise Refusal("this is no JSON that can be read.", WSErrorCode.INVALID_JSON, 400) from error
    if not isinstance(value, dict):
        raise Refusal(f"a JSON object belongs here, like {{...}}, not {_Shown(value)!r}.")
    return value


def refuse_size(size: int) -> None:
    """Raises Refusal where a request is longer than is read."""
    if size > MOST_BYTES:
        raise Refusal(f"a request may have {MOST_BYTES:,} bytes, and this one has more.", status=413)


def sentence(cls: type[BaseModel], error: ValidationError) -> str:
    """All that is wrong with the data given for ``cls``, each fault with where it is."""
    faults = []
    for details in error.errors(include_url=False)[:3]:
        where = ".".join(str(part) for part in details["loc"])
        if details["type"] == "extra_forbidden":
            faults.append(unknown_key(_brief(where), list(cls.model_fields)))
        else:
            faults.append(f"{where} {plain({**details, 'input': _Shown(details['input'])})}")
    return "; ".join(faults)


def _checked(cls: type[BaseModel], data: Any, what: str) -> Any:
    if not isinstance(data, Mapping):
        raise Refusal(f"{what}: a JSON object belongs here, like {{...}}, not {_Shown(data)!r}.")
    if len(data) > MOST_FIELDS:
        raise Refusal(f"{what}: {len(data)} fields are given, but there are: {', '.join(cls.model_fields)}.")
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise Refusal(f"{what}: {sentence(cls, error)}.") from error


def _brief(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not in JSON")
