"""A session: one trading environment as OpenEnv's servers run it."""

import logging
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import EnvironmentMetadata

from tradeschool.apps.env_messages import NumericTradeAction, TradeAction, TradeObservation, TradeState
from tradeschool.apps.env_server.offer import Offer
from tradeschool.env.config import EnvError
from tradeschool.env.conversation import opening
from tradeschool.env.grading import grade
from tradeschool.errors import TradeschoolError

SEED_BITS = 31
Orders = TradeAction | NumericTradeAction
logger = logging.getLogger(__name__)


class NoEpisode(EnvError):
    """A step without an episode under way."""


class ServerFault(TradeschoolError):
    """A defect of ours, told to the client without its details, which may hold what is hidden from it."""


class ServedTrading(Environment[Orders, TradeObservation, TradeState]):
    """A :class:`~tradeschool.env.trading.TradingEnv` of its own. Shares the offer's market with all other sessions.

    What is sent of an episode is what an agent may know: neither its row in the market, nor shares, from which a
    masked stock's price could be had.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, offer: Offer) -> None:
        super().__init__()
        self._offer = offer
        self._env = offer.env()
        self._state = TradeState(config=offer.config.model_dump(), **offer.versions)

    def reset(self, seed: int | None = None, episode_id: str | None = None, **options: Any) -> TradeObservation:
        """Begin an episode. ``options``: ``start`` and ``tickers``, where the environment shows names and dates.

        Raises:
            EnvError: an option is unknown or cannot be had.
            ServerFault: a defect.
        """
        if options and self._offer.config.mask:
            raise EnvError(f"{' and '.join(options)} cannot be chosen here: names and dates are hidden. Give a seed.")
        seed = secrets.randbits(SEED_BITS) if seed is None else seed
        with self._told_plainly():
            seen, info = self._env.reset(seed=seed, options=options)
        state = self._state
        state.episode_id, state.seed = episode_id or str(uuid.uuid4()), seed
        state.step_count, state.done, state.names = 0, False, list(self._env.names)
        return self._observation(seen, info)

    def step(
        self, action: TradeAction | NumericTradeAction, timeout_s: float | None = None, **other: Any
    ) -> TradeObservation:
        """A day's orders.

        Raises:
            NoEpisode: none was begun, or it is over.
            EnvError: the action is not of the kind the environment takes.
            ServerFault: a defect.
        """
        state = self._state
        if state.episode_id is None:
            raise NoEpisode(
                "there is no episode here yet: send reset first. An episode lives in one WebSocket session (/ws); "
                "a new connection, or a request over plain HTTP, is a new session."
            )
        if state.done:
            raise NoEpisode("the episode is over: send reset to begin another.")
        with self._told_plainly():
            seen, reward, terminated, truncated, info = self._env.step(action.orders)
            observation = self._observation(seen, info, reward, terminated, truncated)
        state.step_count += 1
        state.done = observation.done
        return observation

    @property
    def state(self) -> TradeState:
        """Where the session is."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """Name, rules and version of what is served."""
        versions = self._offer.versions
        return EnvironmentMetadata(
            name=f"tradeschool {versions['level']}",
            description=opening(self._offer.config),
            version=versions["env_version"],
        )

    def _observation(
        self,
        seen: Any,
        info: dict[str, Any],
        reward: float | None = None,
        terminated: bool = False,
        truncated: bool = False,
    ) -> TradeObservation:
        done = terminated or truncated
        return TradeObservation(
            text=seen if isinstance(seen, str) else None,
            numbers=None if isinstance(seen, str) else seen.tolist(),
            day=len(self._env.equities) - 1,
            days=self._offer.config.days,
            equity=info["equity"],
            refused=info["refused"],
            told=list(info["told"]),
            reward=reward,
            done=done,
            terminated=terminated,
            truncated=truncated,
            grade=_grade(self._env) if done else None,
            metadata=dict(self._offer.versions),
        )

    @contextmanager
    def _told_plainly(self) -> Iterator[None]:
        try:
            yield
        except TradeschoolError:
            raise
        except Exception as error:
            logger.exception("A session failed.")
            self._state.done = True
            raise ServerFault(
                "the server failed at this, and its log says where. The episode is lost: send reset to begin another."
            ) from error


def _grade(env: Any) -> dict[str, float]:
    graded = grade(env)
    return {**asdict(graded), "total": graded.total}
