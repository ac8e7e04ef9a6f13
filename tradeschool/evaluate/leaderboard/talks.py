"""Conversations of a leaderboard: read from traces, counted, and some of them laid out day by day."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tradeschool.errors import RunError
from tradeschool.evaluate.leaderboard.board import file_name, plain_file_name
from tradeschool.evaluate.leaderboard.playing import agent_hash
from tradeschool.evaluate.leaderboard.row import Row
from tradeschool.trace import Trace, read_traces

SHOWN = 3
_THINKING = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)
_SPACES = re.compile(r"[ \t]*\n\s*")


@dataclass(frozen=True)
class Day:
    """What was told, thought and ordered on a day; ``side`` is BUY, SELL, HOLD, or unreadable."""

    told: str
    thought: str
    order: str
    side: str


@dataclass(frozen=True)
class Talk:
    """An agent's episode. ``days`` are fewer than the episode's where the agent had no room left for more."""

    agent: str
    rules: str
    days: list[Day]
    trace: Trace


@dataclass(frozen=True)
class Meeting:
    """An episode with several agents' conversations about it, and why it is shown."""

    why: str
    key: str
    talks: list[Talk]


def read_talks(folder: Path, agent: str, row: Row | None = None) -> list[Talk]:
    """An agent's conversations in the folder of a leaderboard.

    Raises:
        RunError: the file is missing or damaged, which the text says with the line; or it is not of the row's agent.
    """
    path = folder / f"traces-{file_name(agent)}.jsonl"
    try:
        path = _path(folder, agent)
        talks = [_talk(agent, trace, f"{path}, episode {number}") for number, trace in enumerate(read_traces(path), 1)]
        _refuse_others(talks, row, path)
        return talks
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read ({error}).") from error


def _path(folder: Path, agent: str) -> Path:
    """Where an agent's conversations lie; a run of before has them under the plain name, which may be another's too."""
    path, earlier = (folder / f"traces-{name(agent)}.jsonl" for name in (file_name, plain_file_name))
    if path.exists() or not earlier.exists():
        return path
    return earlier if all(trace.policy == agent for trace in read_traces(earlier)) else path


def _refuse_others(talks: Sequence[Talk], row: Row | None, path: Path) -> None:
    """An agent of the same name may have had other settings, code or weights when its conversations were written."""
    if row is None:
        return
    own = agent_hash(row.settings)
    if any(talk.trace.versions.get("agent_hash", own) != own for talk in talks):
        raise RunError(f"{path} is of another agent of the name {row.agent}.")


def _talk(agent: str, trace: Trace, where: str) -> Talk:
    try:
        said = [(message["role"], str(message["content"])) for message in trace.messages]
        grade = trace.metrics["grade"]
        if not isinstance(grade, int | float):
            raise TypeError(f"the grade is {grade!r}")
    except (TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{where}: not a conversation ({error!r}). Remove the line or the file.") from error
    days, told = [], []
    for role, content in said:
        if role == "user":
            told.append(content)
        elif role == "assistant":
            days.append(_day("\n".join(told), content))
            told = []
    return Talk(agent, "\n".join(content for role, content in said if role == "system"), days, trace)


def _day(told: str, answer: str) -> Day:
    found = _THINKING.fullmatch(answer)
    thought, order = (found[1].strip(), found[2].strip()) if found else ("", answer.strip())
    return Day(told, thought, _SPACES.sub("\n", order), side(order))


def side(order: str) -> str:
    """BUY where anything is bought, else SELL where anything is sold, else HOLD; ``unreadable`` where none is said."""
    words = [piece.split()[0].upper() for piece in re.split(r"[;\n]", order) if piece.strip()]
    return next((name for name in ("BUY", "SELL", "HOLD") if name in words), "unreadable")


def meetings(talks: Sequence[Sequence[Talk]]) -> list[Meeting]:
    """Three episodes as all of these agents played them: where the last one gained most on the first, lost most, and
    between; with one agent, its best, worst and middling.
    """
    by_key = [{talk.trace.key: talk for talk in own} for own in talks if own]
    if not by_key:
        return []
    keys = [key for key in by_key[-1] if all(key in own for own in by_key)]
    first, last = by_key[0], by_key[-1]

    def gain(key: str) -> float:
        return last[key].trace.metrics["grade"] - (first[key].trace.metrics["grade"] if len(by_key) > 1 else 0.0)

    ranked = sorted(keys, key=gain)
    chosen = {len(ranked) - 1: "most", len(ranked) // 2: "middle", 0: "least"} if ranked else {}
    agents = [next(iter(own.values())).agent for own in by_key]
    return [
        Meeting(_why(place, agents, gain(ranked[at])), ranked[at], [own[ranked[at]] for own in by_key])
        for at, place in chosen.items()
    ]


def _why(place: str, agents: Sequence[str], gain: float) -> str:
    if len(agents) == 1:
        return {"most": "Its best episode", "middle": "A middling one", "least": "Its worst"}[place]
    first, last = agents[0], agents[-1]
    words = {
        "most": f"Where {last} gained most on {first}",
        "middle": f"A middling one for {last} beside {first}",
        "least": f"Where {last} did worst beside {first}",
    }
    return f"{words[place]}: {gain:+.2f} in grade"
