"""How fast requests may start, and how long to wait before one is sent again."""

import random
import time

import anyio

LONGEST_BACKOFF = 60.0


class Pace:
    """Starts requests evenly spaced, and none while the server has asked to be left alone. Times are in seconds."""

    def __init__(self, requests_per_minute: float | None) -> None:
        self._gap = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._quiet_until = 0.0

    async def turn(self) -> None:
        """Wait until the next request may start."""
        while (wait := max(self._next, self._quiet_until) - time.monotonic()) > 0:
            await anyio.sleep(wait)
        self._next = time.monotonic() + self._gap

    def hold(self, seconds: float) -> None:
        """Start nothing for so long: the server limits all requests of a key, not one."""
        self._quiet_until = max(self._quiet_until, time.monotonic() + seconds)


def backoff(attempt: int, first: float) -> float:
    """Seconds before attempt 1, 2, ... is repeated: doubled each time, up to a minute, and less at random by up to
    half, so that requests that failed together do not come back together."""
    longest: float = min(LONGEST_BACKOFF, first * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)
