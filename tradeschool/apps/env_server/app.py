"""The application that serves an offer, and the server that runs it."""

import functools
import http
import os
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.types import ConcurrencyConfig, ServerMode
from starlette.exceptions import HTTPException

from tradeschool.apps.env_messages import TradeObservation, TradeState
from tradeschool.apps.env_server.door import Door
from tradeschool.apps.env_server.environment import NoEpisode, ServedTrading, ServerFault
from tradeschool.apps.env_server.offer import Offer
from tradeschool.apps.env_server.requests import MOST_BYTES, Requests
from tradeschool.env.config import EnvError
from tradeschool.errors import TradeschoolError

SESSIONS = 64
TIMEOUT = 600.0
"""Seconds: a language model on a processor takes minutes for a batch of answers."""
GRACE = 5
"""Seconds that open sessions are given when the server stops."""

ABOUT = """The trading environment, by OpenEnv's protocol. Play episodes over the WebSocket `/ws`: a connection is a
session, and holds an episode. Over plain HTTP every request is a session of its own, so `/reset` shows how an episode
begins and `/step` finds none."""


def create(offer: Offer, sessions: int = SESSIONS, timeout: float = TIMEOUT) -> Door:
    """OpenEnv's application for an offer, behind the door that checks what comes in.

    Args:
        offer: market, rules and versions.
        sessions: the most at a time; who comes then is told so and hung up on.
        timeout: seconds without ``reset`` or ``step`` after which a session is dropped.

    Raises:
        EnvError: no episode of these rules fits into the market.
    """
    _warm(offer)
    requests = Requests(offer.config)
    app = create_fastapi_app(
        functools.partial(ServedTrading, offer),
        requests.action_class,
        TradeObservation,
        concurrency_config=ConcurrencyConfig(max_concurrent_envs=sessions, session_timeout=timeout),
        env_name="tradeschool",
        state_cls=TradeState,
        mode=ServerMode.SIMULATION,
    )
    app.title, app.version, app.description = "tradeschool", offer.versions["env_version"], ABOUT
    _say_faults_plainly(app)
    return Door(app, requests, offer.versions, timeout)


def listen(host: str, port: int) -> socket.socket:
    """A socket on which to serve; port 0 is any that is free.

    Raises:
        TradeschoolError: it cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise TradeschoolError(f"Cannot serve at {host}, port {port}: {why}. Give another --host or --port.") from error


def server(app: Door) -> uvicorn.Server:
    """Serves ``app``: ``server(app).run(sockets=[listening])``, until the process is told to stop."""
    # Twice the limit: what is a little too long is told so, what is much longer is cut off unread.
    limits = {"ws_max_size": 2 * MOST_BYTES, "timeout_graceful_shutdown": GRACE}
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", **limits))


def _warm(offer: Offer) -> None:
    """Play a day, so that the first client does not wait for what is worked out or compiled once."""
    env = offer.env()
    env.reset(seed=0)
    env.step("HOLD" if offer.config.observation == "text" else [0.0] * offer.config.tickers)


def _say_faults_plainly(app: FastAPI) -> None:
    def answer(status: int, code: str) -> Callable[[Request, Any], JSONResponse]:
        return lambda request, error: JSONResponse({"detail": str(error), "code": code}, status)

    def unread(request: Request, error: Any) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        return JSONResponse({"detail": f"the request cannot be read: {faults}", "code": "VALIDATION_ERROR"}, 422)

    def not_there(request: Request, error: Any) -> JSONResponse:
        phrase = http.HTTPStatus(error.status_code).phrase
        told = error.detail if isinstance(error.detail, str) else phrase
        detail = f"{request.method} {request.url.path}: {told}. See /docs for what there is."
        return JSONResponse({"detail": detail, "code": "REQUEST_ERROR"}, error.status_code, error.headers)

    def defect(request: Request, error: Any) -> JSONResponse:
        return JSONResponse({"detail": "the server failed at this, and its log says where.", "code": "FAULT"}, 500)

    app.add_exception_handler(NoEpisode, answer(409, "EXECUTION_ERROR"))
    app.add_exception_handler(EnvError, answer(422, "EXECUTION_ERROR"))
    app.add_exception_handler(ServerFault, answer(500, "EXECUTION_ERROR"))
    app.add_exception_handler(RequestValidationError, unread)
    app.add_exception_handler(HTTPException, not_there)
    app.add_exception_handler(Exception, defect)
