"""What a server serves: one market for all sessions, the rules, and the versions of both."""

from dataclasses import dataclass
from functools import cached_property

from tradeschool.env.config import EnvConfig
from tradeschool.env.data import MarketData
from tradeschool.env.trading import TradingEnv
from tradeschool.env.versions import stamp


@dataclass(frozen=True)
class Offer:
    """``rows`` are the first and last that episodes may touch; ``task_version`` the level's where none is given."""

    data: MarketData
    config: EnvConfig
    rows: tuple[int, int] | None = None
    task_version: str | None = None

    @classmethod
    def of(cls, env: TradingEnv, task_version: str | None = None) -> "Offer":
        """The episodes of ``env``, such as a trade task's: ``Offer.of(task.env("test"), task.version)``."""
        return cls(env.data, env.config, env.rows, task_version)

    def env(self) -> TradingEnv:
        """A session's own environment on the market that all share.

        Raises:
            EnvError: no episode of these rules fits into the rows.
        """
        return TradingEnv(self.data, rows=self.rows, **self.config.model_dump())

    @cached_property
    def versions(self) -> dict[str, str]:
        """What every answer carries: :data:`tradeschool.env.versions.KEYS`, and ``task_version``."""
        found = stamp(self.config, self.data.data_hash)
        return {**found, "task_version": self.task_version or found["level_version"]}
