"""The environment server: OpenEnv's application, with one trading environment for each session."""

import functools
import os
import secrets
import socket
import uuid
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import ConcurrencyConfig, EnvironmentMetadata, ServerMode
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from tradeschool.apps.env_messages import NumericTradeAction, ResetFields, TradeAction, TradeObservation, TradeState
from tradeschool.config.check import Problem, check
from tradeschool.env.config import EnvConfig, EnvError, versions
from tradeschool.env.grading import grade
from tradeschool.env.market_data import MarketData
from tradeschool.env.render import system_message
from tradeschool.env.trading_env import TradingEnv
from tradeschool.errors import TradeschoolError

SESSIONS = 64
TIMEOUT = 600.0
"""Seconds. A language model on a CPU needs minutes for a batch of answers."""
SHUTDOWN_SECONDS = 5
MAX_BYTES = 2**20
"""Of a request. The longest action needs a quarter of it."""
SEED_BITS = 31

DESCRIPTION = """The trading environment, by OpenEnv's protocol. Play episodes over the WebSocket `/ws`: a connection is
a session with one episode at a time. Over plain HTTP every request is a session of its own, so `/reset` shows how an
episode begins, and `/step` has no episode to play."""


@dataclass(frozen=True)
class ServeConfig:
    """What a server serves: one market for all sessions, and the rules.

    Attributes:
        data: the market.
        config: the rules.
        rows: the first and last row that episodes may use; None for all.
        task_version: the level's version by default.
    """

    data: MarketData
    config: EnvConfig
    rows: tuple[int, int] | None = None
    task_version: str | None = None

    @classmethod
    def from_env(cls, env: TradingEnv, task_version: str | None = None) -> "ServeConfig":
        """The episodes of ``env``, such as a trade task's: ``from_env(task.env("test"), task.version)``."""
        return cls(env.data, env.config, env.rows, task_version)

    def make_env(self) -> TradingEnv:
        """An environment for one session, on the shared market."""
        return TradingEnv(self.data, rows=self.rows, **self.config.model_dump())

    @cached_property
    def versions(self) -> dict[str, str]:
        """The versions in every answer: :data:`tradeschool.env.config.KEYS` and ``task_version``."""
        found = versions(self.config, self.data.data_hash)
        return {**found, "task_version": self.task_version or found["level_version"]}


class TradingSession(Environment[TradeAction | NumericTradeAction, TradeObservation, TradeState]):
    """A trading environment of its own, on a market shared with all other sessions.

    It sends only what an agent may know: neither the episode's row in the market, nor shares, which would reveal a
    masked stock's price.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, config: ServeConfig) -> None:
        super().__init__()
        self._config, self._ended = config, False
        self._env = config.make_env()
        self._state = TradeState(config=config.config.model_dump(), **config.versions)

    def reset(self, seed: int | None = None, episode_id: str | None = None, **options: Any) -> TradeObservation:
        """Start an episode; see :class:`~tradeschool.apps.env_messages.ResetFields`."""
        self._refuse_ended()
        wrong: list[Problem] = []
        if check(ResetFields, {"seed": seed, "episode_id": episode_id, **options}, (), wrong) is None:
            raise EnvError("; ".join(f"{'.'.join(map(str, problem.keys))}: {problem.text}" for problem in wrong))
        if options and self._config.config.mask:
            raise EnvError(f"{', '.join(options)} cannot be set here: names and dates are hidden. Give a seed.")
        seed = secrets.randbits(SEED_BITS) if seed is None else seed
        seen, info = self._env.reset(seed=seed, options=options)
        state = self._state
        state.episode_id, state.seed = episode_id or str(uuid.uuid4()), seed
        state.step_count, state.done, state.names = 0, False, list(self._env.names)
        return self._observation(seen, info)

    def step(
        self, action: TradeAction | NumericTradeAction, timeout_s: float | None = None, **other: Any
    ) -> TradeObservation:
        """Play one day."""
        self._refuse_ended()
        state = self._state
        if state.episode_id is None:
            raise EnvError(
                "There is no episode here: send reset first. An episode lives in one WebSocket session (/ws). "
                "A new connection, or a request over plain HTTP, is a new session."
            )
        if state.done:
            raise EnvError("The episode is over: send reset to start another.")
        seen, reward, terminated, truncated, info = self._env.step(action.orders)
        state.step_count += 1
        state.done = terminated or truncated
        return self._observation(seen, info, reward, terminated, truncated)

    def close(self) -> None:
        """End the session. OpenEnv does this to idle sessions, whose connection may still be open."""
        self._ended = True

    def _refuse_ended(self) -> None:
        if self._ended:
            raise EnvError("The session was closed, as it was idle for too long. Connect again.")

    @property
    def state(self) -> TradeState:
        """The state of the session."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """Name, rules and version of what is served."""
        text, served = system_message(self._config.config), self._config.versions
        name = f"tradeschool {served['level']}"
        return EnvironmentMetadata(name=name, description=text, version=served["env_version"])

    def _observation(
        self,
        seen: Any,
        info: dict[str, Any],
        reward: float | None = None,
        terminated: bool = False,
        truncated: bool = False,
    ) -> TradeObservation:
        done = terminated or truncated
        found = grade(self._env) if done else None
        return TradeObservation(
            text=seen if isinstance(seen, str) else None,
            numbers=None if isinstance(seen, str) else seen.tolist(),
            day=len(self._env.equities) - 1,
            days=self._config.config.days,
            equity=info["equity"],
            refused=info["refused"],
            messages=list(info["messages"]),
            reward=reward,
            done=done,
            terminated=terminated,
            truncated=truncated,
            grade={**asdict(found), "total": found.total} if found else None,
            metadata=dict(self._config.versions),
        )


def create_app(config: ServeConfig, sessions: int = SESSIONS, timeout: float = TIMEOUT) -> FastAPI:
    """OpenEnv's application for the environment in ``config``.

    Args:
        config: market, rules and versions.
        sessions: the most at the same time. Further clients get an error and are disconnected.
        timeout: seconds without ``reset`` or ``step`` after which OpenEnv closes a session.

    Raises:
        EnvError: no episode of these rules fits into the market.
    """
    is_text = config.config.observation == "text"
    # Play a day, so that the first client does not wait for compilation.
    env = config.make_env()
    env.reset(seed=0)
    env.step("HOLD" if is_text else [0.0] * config.config.tickers)
    app: FastAPI = create_fastapi_app(
        functools.partial(TradingSession, config),
        TradeAction if is_text else NumericTradeAction,
        TradeObservation,
        concurrency_config=ConcurrencyConfig(max_concurrent_envs=sessions, session_timeout=timeout),
        env_name="tradeschool",
        state_cls=TradeState,
        mode=ServerMode.SIMULATION,
    )
    app.title, app.version, app.description = "tradeschool", config.versions["env_version"], DESCRIPTION
    headers = {f"x-{name.replace('_', '-')}": value for name, value in config.versions.items()}

    async def add_versions(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(headers)
        return response

    def refuse(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BYTES)
    app.middleware("http")(add_versions)
    app.add_exception_handler(EnvError, refuse)
    return app


def listen(host: str, port: int) -> socket.socket:
    """A socket to serve on. Port 0 is any free one; a TradeschoolError if it cannot be opened."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise TradeschoolError(f"Cannot serve at {host}, port {port}: {why}. Give another --host or --port.") from error


def make_server(app: FastAPI) -> uvicorn.Server:
    """A server for ``app``. ``make_server(app).run(sockets=[listening])`` serves until the process is stopped."""
    limits = {"ws_max_size": MAX_BYTES, "timeout_graceful_shutdown": SHUTDOWN_SECONDS}
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", **limits))
