"""Rivals through their episodes: a row each, and the conversations of language models as traces."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

import tradeschool
from tradeschool.code_hash import digest
from tradeschool.env.grading import grades
from tradeschool.env.harness import Record, play
from tradeschool.evaluate.leaderboard.book import Book
from tradeschool.evaluate.leaderboard.rivals import Arena, Rival, Tell
from tradeschool.evaluate.leaderboard.row import PARTS, Edition, Row, row_of
from tradeschool.tasks.base import SplitName
from tradeschool.trace import Stop, Trace

if TYPE_CHECKING:
    from tradeschool.policies.language_trader import Reading

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Match:
    """What every rival plays: the episodes of ``edition`` on a part of an arena; rows go into ``book``.

    ``bar`` shows the answers of who reads texts, and the steps of who learns. ``keep`` is given names and traces of
    the former.
    """

    arena: Arena
    split: SplitName
    edition: Edition
    episodes: int
    book: Book
    bar: Progress
    keep: Callable[[str, list[Trace]], None]

    def play(self, rival: Rival, again: bool = False) -> Row:
        """The rival's row: the one in the book, unless it is missing, of other settings or ``again`` is asked for.

        Raises:
            TradeschoolError: the agent cannot be had, or cannot play.
        """
        episodes = min(rival.episodes or self.episodes, self.episodes)
        settings = rival.settings_in(self.arena)
        kept = self.book.find(rival.name, self.edition, settings)
        if kept and kept.episodes >= episodes and not again:
            return kept
        with self._told(rival, episodes) as tell:
            row = self._played(rival, settings, episodes, tell)
        self.book.put(row)
        return row

    def kept(self, rival: Rival) -> Row | None:
        """The row of this very rival that the book has, however many episodes it has played."""
        try:
            return self.book.find(rival.name, self.edition, rival.settings_in(self.arena))
        except Exception:
            # The reason was given when it was to play. Who cannot be had cannot be told from another: a row of its
            # name may be that one's.
            return None

    def _played(self, rival: Rival, settings: dict[str, Any], episodes: int, tell: Tell) -> Row:
        began = time.monotonic()
        agent = rival.make(self.arena, tell)
        env = self.arena.env(self.split, rival.observation)
        records = play(agent, env, episodes, self.edition.seed, batch=rival.batch)
        if rival.observation == "text":
            # Its own: what it was told, in its form and with its facts.
            traces = traces_of(records, getattr(agent, "conversations"), _readings(agent))  # noqa: B009
            self.keep(rival.name, [_of_agent(trace, settings) for trace in traces])
        return row_of(records, settings, self.edition, time.monotonic() - began, _figures(agent))

    @contextmanager
    def _told(self, rival: Rival, episodes: int) -> Iterator[Tell]:
        total = self.edition.days * episodes if rival.observation == "text" else rival.settings.get("steps", 0)
        if not total:  # done at once
            yield lambda count: None
            return
        shown = self.bar.add_task(rival.name, total=total, figures="")
        try:
            yield lambda count: self.bar.advance(shown, count)
        finally:
            self.bar.remove_task(shown)


def _figures(agent: Any) -> dict[str, Any]:
    """What asking a remote model took, and how much of a language model's answers was of use; nothing of others."""
    meter = getattr(getattr(agent, "client", None), "meter", None)
    return {**getattr(agent, "figures", {}), **(meter.summary() if meter else {})}


def _readings(agent: Any) -> "dict[int, Reading]":
    return getattr(agent, "readings", {})


def traces_of(
    records: Sequence[Record], conversations: dict[int, Messages], readings: "dict[int, Reading] | None" = None
) -> list[Trace]:
    """A trace per episode with its whole conversation, its grade's parts as rewards, and its versions."""
    return [
        Trace(
            key=f"{record.versions['level']}#{record.seed}",
            task="trade",
            policy=record.agent,
            messages=conversations[record.seed],
            rewards={name: float(getattr(graded, name)) for name in PARTS},
            stop=_stop(record, (readings or {}).get(record.seed)),
            metrics={
                "grade": graded.total,
                "return": float(record.equity_D[-1] / record.equity_D[0]) - 1,
                "market_return": float(record.market.equity_D[-1] / record.market.equity_D[0]) - 1,
                "refused": float(record.refused),
                "start": float(record.start),
                **_unread((readings or {}).get(record.seed)),
            },
            versions={"tradeschool": tradeschool.__version__, **record.versions},
        )
        for record, graded in zip(records, grades(records), strict=True)
    ]


def _of_agent(trace: Trace, settings: dict[str, Any]) -> Trace:
    """The trace, saying whose it is: an agent of the same name may have other settings, code or weights."""
    return dataclasses.replace(trace, versions={**trace.versions, "agent_hash": agent_hash(settings)})


def agent_hash(settings: dict[str, Any]) -> str:
    """Tells agents of one name apart."""
    return digest(json.dumps(settings, sort_keys=True))


def _stop(record: Record, reading: "Reading | None") -> Stop:
    if record.terminated:
        return "bankrupt"
    return "max_tokens" if reading and reading.out_of_room else "answered"


def _unread(reading: "Reading | None") -> dict[str, float]:
    return {"unread": float(reading.unread)} if reading else {}
