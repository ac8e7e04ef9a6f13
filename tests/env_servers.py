"""Environment servers for tests: real ones, on a free port, in a thread of the test's process."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tradeschool.apps.env_server import ServeConfig, create_app, listen, make_server
from tradeschool.env.trading_env import TradingEnv


def serving(config: ServeConfig, sessions: int = 32, timeout: float = 60.0) -> contextlib.AbstractContextManager[str]:
    """The address of a server of ``config``, which is stopped at the end."""
    return running(create_app(config, sessions, timeout))


@contextlib.contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of a server of any application."""
    listening = listen("127.0.0.1", 0)
    uvicorn = make_server(app)
    thread = threading.Thread(target=uvicorn.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_for(lambda: uvicorn.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        uvicorn.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive()


def wait_for(true: Any, seconds: float = 10.0) -> None:
    """Return once ``true()`` is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@contextlib.contextmanager
def socket_to(url: str, query: str = "") -> Iterator[ClientConnection]:
    """A WebSocket to a server's sessions, without OpenEnv's client."""
    with connect(f"{url.replace('http', 'ws', 1)}/ws{query}", proxy=None) as raw:
        yield raw


def ask(raw: ClientConnection, message: Any) -> dict[str, Any]:
    """Send a message, or text as it is, and return the answer."""
    with contextlib.suppress(ConnectionClosed):
        raw.send(message if isinstance(message, str | bytes) else json.dumps(message))
    answer: dict[str, Any] = json.loads(raw.recv(timeout=60))
    return answer


def random_orders(env: TradingEnv, rng: np.random.Generator) -> Any:
    """Orders for a day of ``env``: some are refused, some unreadable."""
    config = env.config
    if config.observation == "numeric":
        return rng.uniform(-1.1, 1.1, config.tickers).tolist()
    names = rng.choice(env.names, min(3, config.tickers), replace=False)
    lines = [f"{rng.choice(['BUY', 'SELL', 'HOLD', 'KEEP'])} {name} {rng.uniform(0.05, 1.2):.2f}" for name in names]
    return "\n".join(lines)


def served_facts(answer: Any) -> dict[str, Any]:
    """The content of a served answer, to be compared with :func:`local_facts`."""
    seen = answer.observation
    return {
        "seen": seen.text if seen.numbers is None else seen.numbers,
        "reward": answer.reward,
        "done": answer.done,
        "equity": seen.equity,
        "refused": seen.refused,
        "messages": seen.messages,
        "ended": (seen.terminated, seen.truncated),
    }


def local_facts(step: tuple[Any, ...]) -> dict[str, Any]:
    """The same for what a local environment's ``step`` returned."""
    seen, reward, terminated, truncated, info = step
    return {
        "seen": seen if isinstance(seen, str) else seen.tolist(),
        "reward": reward,
        "done": terminated or truncated,
        "equity": info["equity"],
        "refused": info["refused"],
        "messages": list(info["messages"]),
        "ended": (terminated, truncated),
    }
