"""What is kept of one agent's episodes, and the edition that rows must share to be compared."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

import tradeschool
from tradeschool.env.grading import WEIGHTS, grades
from tradeschool.env.harness import Record
from tradeschool.env.trading import TradingEnv

PARTS = tuple(WEIGHTS)
DIGITS = 6
"""Decimals of what is kept: differences smaller than that are no differences."""


@dataclass(frozen=True)
class Edition:
    """What two rows must have in common to be compared: rules, level, data, dates, seeds.

    Attributes:
        env_version, rules_hash: the environment's version and the hash of its rules.
        level, level_version: one of the levels, or ``custom``.
        settings_hash: of the level's settings, all but the form in which an episode is told.
        tickers, days: of an episode.
        data, data_hash: the market; its name is no part of what must be the same.
        first, last: days between which the episodes lie.
        seed: of the first episode; the others' follow it.
    """

    env_version: str
    rules_hash: str
    level: str
    level_version: str
    settings_hash: str
    tickers: int
    days: int
    data: str = dataclasses.field(compare=False)
    data_hash: str
    first: str
    last: str
    seed: int

    @classmethod
    def of(cls, env: TradingEnv, seed: int) -> "Edition":
        """The edition of the episodes that ``env`` has from ``seed`` on."""
        first, last = env.rows or (0, env.data.shape[0] - 1)
        dates_T = env.data.panel.dates_T.astype("datetime64[D]")
        return cls(
            **env.versions,
            tickers=env.config.tickers,
            days=env.config.days,
            data=env.data.panel.name,
            first=str(dates_T[first]),
            last=str(dates_T[last]),
            seed=seed,
        )


@dataclass(frozen=True)
class Row:
    """One agent's episodes on one edition; lists have an entry per episode, in the order of the seeds.

    Attributes:
        agent: its name.
        settings: all that makes it this agent; a row of other settings is another agent's.
        edition: what it was played on.
        starts: the row of the market that each episode began at.
        grades: total grades; ``parts`` are theirs by name.
        returns: equity at the end over the start, less 1.
        refused: orders refused.
        bankrupt: how many episodes ended early.
        seconds: that playing took, and training where the agent was trained for it.
        date: when, local time, ISO 8601.
        tradeschool: the package's version.
        figures: the agent's own, such as the cost of a remote model.
        path: [days + 1] the mean of all episodes' equity at the closes over that at the start; empty in rows of before.
    """

    agent: str
    settings: dict[str, Any]
    edition: Edition
    starts: list[int]
    grades: list[float]
    parts: dict[str, list[float]]
    returns: list[float]
    refused: list[int]
    bankrupt: int
    seconds: float
    date: str
    tradeschool: str
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)
    path: list[float] = dataclasses.field(default_factory=list)

    @property
    def episodes(self) -> int:
        """How many were played."""
        return len(self.grades)

    def is_of(self, agent: str, edition: Edition, settings: dict[str, Any]) -> bool:
        """Whether this very agent played it on this edition."""
        return (self.agent, self.edition, self.settings) == (agent, edition, settings)


def row_of(
    records: Sequence[Record],
    settings: dict[str, Any],
    edition: Edition,
    seconds: float,
    figures: dict[str, Any] | None = None,
) -> Row:
    """The row of an agent's records."""
    graded = grades(records)
    return Row(
        agent=records[0].agent,
        settings=settings,
        edition=edition,
        starts=[record.start for record in records],
        grades=[round(one.total, DIGITS) for one in graded],
        parts={name: [round(float(getattr(one, name)), DIGITS) for one in graded] for name in PARTS},
        returns=[round(float(record.equity_D[-1] / record.equity_D[0]) - 1, DIGITS) for record in records],
        refused=[record.refused for record in records],
        bankrupt=sum(record.terminated for record in records),
        seconds=round(seconds, 2),
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        tradeschool=tradeschool.__version__,
        figures=figures or {},
        path=np.mean([record.equity_D / record.equity_D[0] for record in records], axis=0).round(DIGITS).tolist(),
    )
