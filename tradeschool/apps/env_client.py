"""A client of an environment server: OpenEnv's, with typed observations and states and a version check.

with connect("http://127.0.0.1:8000") as env:
    result = env.reset(seed=7)
    while not result.done:
        result = env.step("BUY 0.5")
    print(result.observation.grade)
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tradeschool.apps.env_messages import NumericTradeAction, TradeAction, TradeObservation, TradeState
from tradeschool.env.config import ENV_VERSION
from tradeschool.errors import TradeschoolError

# isort: split
from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.sync_client import SyncEnvClient

Orders = str | Sequence[float] | TradeAction | NumericTradeAction
"""What ``step`` takes: the orders, or the message that contains them."""


class EnvServerError(TradeschoolError):
    """There is no server, it has another version, or it refused a request."""


class TradingClient(EnvClient[Orders, TradeObservation, TradeState]):
    """One session with an environment server; asynchronous, as OpenEnv's clients are. See :func:`connect`.

    Args:
        base_url: such as ``http://127.0.0.1:8000``.
        any_version: also play on a server whose ``env_version`` differs from the installed one.
        options: of OpenEnv's ``EnvClient``: time-outs, headers, ...

    Raises:
        EnvServerError: in ``connect``, ``reset``, ``step`` and ``state``.
    """

    def __init__(self, base_url: str, *, any_version: bool = False, **options: Any) -> None:
        self._any_version = any_version
        super().__init__(base_url=base_url, **options)

    async def _connect_async(self) -> "TradingClient":
        previous = self._ws
        try:
            await super()._connect_async()
        except ConnectionError as error:
            raise EnvServerError(
                f"No environment server answers at {self.base_url}: {error.__cause__ or error}. "
                "Start one: tradeschool serve"
            ) from error
        if self._ws is not previous:
            try:
                self._check_version(await self._state_async())
            except EnvServerError:
                await self._close_async()
                raise
        return self

    def _check_version(self, state: TradeState) -> None:
        if state.env_version != ENV_VERSION and not self._any_version:
            raise EnvServerError(
                f"The server at {self.base_url} has version {state.env_version} of the environment, but version "
                f"{ENV_VERSION} is installed here, so results are not comparable. Install the same tradeschool on "
                "both sides, or pass any_version=True."
            )

    async def _send_and_receive(self, message: dict[str, Any]) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        try:
            answer: dict[str, Any] = await super()._send_and_receive(message)
        except (RuntimeError, ConnectionClosed, TimeoutError) as error:
            raise EnvServerError(f"{self.base_url}: {str(error) or 'no answer in time'}") from error
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
            raise EnvServerError(f"The server at {self.base_url} does not serve tradeschool's environment.") from error


def connect(
    base_url: str, *, any_version: bool = False, **options: Any
) -> SyncEnvClient[Orders, TradeObservation, TradeState]:
    """A session for synchronous code, to be used in a ``with`` block; see :class:`TradingClient`.

    ``reset(seed=)`` and ``step(orders)`` return a ``StepResult`` (``observation``, ``reward``, ``done``,
    ``metadata``), ``state()`` returns a :class:`~tradeschool.apps.env_messages.TradeState`.
    """
    return TradingClient(base_url, any_version=any_version, **options).sync()
