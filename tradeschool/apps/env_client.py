"""A client of an environment server: OpenEnv's, with typed observations and states and a check of the versions.

with connect("http://127.0.0.1:8000") as env:
    result = env.reset(seed=7)
    while not result.done:
        result = env.step("BUY 0.5")
    print(result.observation.grade)
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tradeschool.apps.env_messages import NumericTradeAction, TradeAction, TradeObservation, TradeState
from tradeschool.env.versions import ENV_VERSION, rules_hash
from tradeschool.errors import TradeschoolError

# isort: split
from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.sync_client import SyncEnvClient

Orders = str | Sequence[float] | TradeAction | NumericTradeAction
"""What ``step`` takes: the orders themselves, or the message that holds them."""


class EnvServerError(TradeschoolError):
    """No server is there, it speaks another version, or it refused what was asked."""


class TradingClient(EnvClient[Orders, TradeObservation, TradeState]):
    """One session with an environment server; asynchronous, as OpenEnv's clients are. See :func:`connect`.

    Args:
        base_url: such as ``http://127.0.0.1:8000``.
        any_version: play a server whose ``env_version`` or ``rules_hash`` is not that of what is installed here.
        options: of OpenEnv's ``EnvClient``: time-outs, headers and so on.

    Raises:
        EnvServerError: from ``connect``, ``reset``, ``step`` and ``state``.
    """

    def __init__(self, base_url: str, *, any_version: bool = False, **options: Any) -> None:
        self._any_version = any_version
        super().__init__(base_url=base_url, **options)

    async def _connect_async(self) -> "TradingClient":
        before = self._ws
        try:
            await super()._connect_async()
        except ConnectionError as error:
            raise EnvServerError(
                f"No environment server answers at {self.base_url}: {error.__cause__ or error}. "
                "Start one: tradeschool serve --env"
            ) from error
        if self._ws is not before:
            await self._meet()
        return self

    async def _meet(self) -> None:
        """Ask a server that was just found what it is."""
        try:
            state = await self._state_async()
            there, here = (state.env_version, state.rules_hash), (ENV_VERSION, rules_hash())
            if there != here and not self._any_version:
                raise EnvServerError(
                    f"The server at {self.base_url} has version {_said(*there)} of the environment, and here is "
                    f"{_said(*here)}: their results cannot be compared. Install the same tradeschool on both sides, or "
                    "pass any_version=True."
                )
        except EnvServerError:
            await self._close_async()
            raise

    async def _send_and_receive(self, message: dict[str, Any]) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        try:
            answer: dict[str, Any] = await super()._send_and_receive(message)
        except RuntimeError as error:
            raise EnvServerError(str(error)) from error
        except ConnectionClosed as error:
            raise EnvServerError(
                f"The connection to {self.base_url} broke, and its episode with it ({error}). Begin another with reset."
            ) from error
        except TimeoutError as error:
            raise EnvServerError(
                f"{self.base_url} did not answer in {self._message_timeout:g} seconds. Give message_timeout_s more."
            ) from error
        return answer

    def _step_payload(self, action: Orders) -> dict[str, Any]:
        if isinstance(action, TradeAction | NumericTradeAction):
            payload: dict[str, Any] = action.model_dump()
            return payload
        return {"orders": action if isinstance(action, str) else [float(number) for number in action]}

    def _parse_result(self, payload: Mapping[str, Any]) -> StepResult[TradeObservation]:
        reward, done = payload.get("reward"), payload.get("done", False)
        observation = TradeObservation(**{**payload["observation"], "reward": reward, "done": done})
        return StepResult(observation, reward, done, payload.get("metadata"))

    def _parse_state(self, payload: Mapping[str, Any]) -> TradeState:
        try:
            return TradeState(**payload)
        except ValueError as error:
            raise EnvServerError(f"The server at {self.base_url} is no server of tradeschool's environment.") from error


def _said(version: str, rules: str) -> str:
    return f"{version} (rules {rules or 'not told'})"


def connect(
    base_url: str, *, any_version: bool = False, **options: Any
) -> SyncEnvClient[Orders, TradeObservation, TradeState]:
    """A session for code that is not asynchronous, to be used in a ``with``; see :class:`TradingClient`.

    ``reset(seed=)`` and ``step(orders)`` give a ``StepResult`` (``observation``, ``reward``, ``done``, ``metadata``),
    ``state()`` a :class:`~tradeschool.apps.env_messages.TradeState`.
    """
    return TradingClient(base_url, any_version=any_version, **options).sync()
