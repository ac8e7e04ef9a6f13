"""What is kept of an agent's episodes: its result, which names its benchmark, and its conversations."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import tradeschool
from tradeschool.chat import Episode
from tradeschool.env.config import KEYS
from tradeschool.env.grading import WEIGHTS, Record, grades
from tradeschool.env.trading_env import TradingEnv
from tradeschool.errors import RunError
from tradeschool.evaluate.inference_cosine import BLOCK_EPISODES, CosineEstimate
from tradeschool.manifest import replace_text
from tradeschool.trace import Trace

LEADERBOARD = "leaderboard.json"
RESULTS = "results.json"
RESULTS_OF_SPLIT = "results-{split}.json"
"""Files in the folder of a stage: the leaderboard, its results, and the results on an earlier split."""

PARTS = tuple(WEIGHTS)
DIGITS = 6
"""Decimals that are kept. Smaller differences count as none."""


@dataclass(frozen=True)
class BenchmarkSpec:
    """What two results must have in common to be compared: versions, level, data, dates and seeds.

    ``settings_hash`` leaves out how an episode is described in text. ``data`` is the market's name, which may differ.
    Episodes have ``tickers`` and ``days``, and lie between the dates ``first`` and ``last``. Their seeds count up from
    ``seed``.
    """

    env_version: str
    level: str
    level_version: str
    settings_hash: str
    data_hash: str
    data: str = dataclasses.field(compare=False)
    tickers: int
    days: int
    first: str
    last: str
    seed: int

    @classmethod
    def of(cls, env: TradingEnv, seed: int) -> "BenchmarkSpec":
        """The benchmark of an environment's episodes from ``seed`` on."""
        first, last = env.rows or (0, env.data.shape[0] - 1)
        dates_T = env.data.panel.dates_T.astype("datetime64[D]")
        return cls(
            **{key: env.versions[key] for key in KEYS},
            data=env.data.panel.name,
            tickers=env.config.tickers,
            days=env.config.days,
            first=str(dates_T[first]),
            last=str(dates_T[last]),
            seed=seed,
        )

    @property
    def episode(self) -> str:
        """How many stocks and days an episode has, in words."""
        return f"{self.tickers} stock{'s' * (self.tickers != 1)} and {self.days} days"

    def differs_in(self, other: "BenchmarkSpec") -> str:
        """In what the two differ, in words."""
        keys = {
            "environment": ("env_version",),
            "level": ("level", "level_version", "settings_hash"),
            "data": ("data_hash",),
            "dates": ("first", "last"),
            "seed": ("seed",),
        }
        return ", ".join(word for word, of in keys.items() if any(getattr(self, k) != getattr(other, k) for k in of))


@dataclass(frozen=True)
class AgentResult:
    """One agent's episodes on one benchmark. Lists have one entry per episode, in the order of the seeds.

    Attributes:
        agent, identity: its name, and what else identifies it; see :meth:`AgentSpec.identity`.
        starts: the market row that each episode began at.
        grades, parts: total grades, and their parts by name.
        returns: equity at the end over that at the start, minus 1.
        refused: orders refused.
        bankrupt: how many episodes ended early.
        seconds: time for playing, and for training where the agent was trained.
        date: when it was played, local time, ISO 8601.
        figures: the agent's own, such as the cost of a remote model.
        path: [days + 1], equity at the closes over that at the start, mean of all episodes.
    """

    agent: str
    identity: dict[str, Any]
    benchmark: BenchmarkSpec
    starts: list[int]
    grades: list[float]
    parts: dict[str, list[float]]
    returns: list[float]
    refused: list[int]
    bankrupt: int
    seconds: float
    date: str
    figures: dict[str, Any]
    path: list[float]

    @property
    def episodes(self) -> int:
        """How many were played."""
        return len(self.grades)

    @property
    def kind(self) -> str:
        """``language``, ``numeric`` or ``rule``."""
        kinds = {"model": "language", "remote": "language", "ppo": "numeric", "zip": "numeric"}
        return kinds.get(self.identity.get("agent", ""), "rule")

    @property
    def blocks(self) -> int:
        """Blocks of dates that the episodes begin in."""
        return blocks(self.starts, self.benchmark.days)

    def estimate(self, values: Sequence[float]) -> CosineEstimate:
        """The mean of one value per episode, with its standard error."""
        return CosineEstimate.of(values, self.starts, self.benchmark.days)

    def gain(self, other: "AgentResult") -> CosineEstimate:
        """The mean paired difference of grades from another agent's, on the episodes that both have."""
        return self.estimate(self.grades) - other.estimate(other.grades)


def blocks(starts: Iterable[int], days: int) -> int:
    """Blocks of dates that episodes of so many ``days`` begin in; a block is as long as two episodes."""
    return len({start // (BLOCK_EPISODES * days) for start in starts})


def result_of(
    records: Sequence[Record],
    identity: dict[str, Any],
    benchmark: BenchmarkSpec,
    seconds: float,
    figures: dict[str, Any] | None = None,
) -> AgentResult:
    """The result of an agent's episodes."""
    graded = grades(records)
    return AgentResult(
        agent=records[0].agent,
        identity=identity,
        benchmark=benchmark,
        starts=[record.start for record in records],
        grades=[round(one.total, DIGITS) for one in graded],
        parts={name: [round(float(getattr(one, name)), DIGITS) for one in graded] for name in PARTS},
        returns=[round(float(record.equity_D[-1] / record.equity_D[0]) - 1, DIGITS) for record in records],
        refused=[record.refused for record in records],
        bankrupt=sum(record.terminated for record in records),
        seconds=round(seconds, 2),
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        figures=figures or {},
        path=np.mean([record.equity_D / record.equity_D[0] for record in records], axis=0).round(DIGITS).tolist(),
    )


class ResultsStore:
    """The JSON file of one market and level, with a line per result on any benchmark, newest last.

    It is written on every change. A result of the same name with another identity is another agent's, and stays.

    Raises:
        RunError: the file cannot be read, or does not hold results of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: list[AgentResult] = []
        if path.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))["results"]
                specs = [BenchmarkSpec(**one["benchmark"]) for one in found]
                self.results = [
                    AgentResult(**{**one, "benchmark": spec}) for one, spec in zip(found, specs, strict=True)
                ]
            except OSError as error:
                raise RunError(f"{path} cannot be read: {error.strerror}.") from error
            except (ValueError, KeyError, TypeError) as error:
                cure = "Move it away, and all agents are played again"
                raise RunError(f"{path} is damaged, or of another version ({error}). {cure}.") from error

    def find(self, agent: str, benchmark: BenchmarkSpec, identity: dict[str, Any]) -> AgentResult | None:
        """The result of exactly this agent on a benchmark."""
        wanted = agent, benchmark, identity
        return next((one for one in self.results if (one.agent, one.benchmark, one.identity) == wanted), None)

    def put(self, result: AgentResult) -> None:
        """Add a result, replacing the same agent's on the same benchmark."""
        earlier = self.find(result.agent, result.benchmark, result.identity)
        self.results = [*(one for one in self.results if one is not earlier), result]
        lines = [json.dumps(dataclasses.asdict(one), ensure_ascii=False, allow_nan=False) for one in self.results]
        replace_text(self.path, '{"results": [\n' + ",\n".join(lines) + "\n]}\n")

    def benchmarks(self) -> list[BenchmarkSpec]:
        """All benchmarks, the most recently played first."""
        return list(dict.fromkeys(one.benchmark for one in reversed(self.results)))

    def on(self, benchmark: BenchmarkSpec) -> list[AgentResult]:
        """The results on a benchmark, the newest of each name."""
        by_name = {one.agent: one for one in self.results if one.benchmark == benchmark}
        return [one for one in self.results if one is by_name.get(one.agent)]


# conversations -----------------------------------------------------------------------------------


def traces_path(folder: Path, agent: str) -> Path:
    """Where an agent's traces are. Characters unfit for a file name become ``-``, and a hash keeps names apart."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in agent)
    unique = "" if plain == agent else f"-{hashlib.sha256(agent.encode()).hexdigest()[:8]}"
    return folder / f"traces-{plain}{unique}.jsonl"


def identity_hash(identity: Mapping[str, Any]) -> str:
    """16 hex digits that distinguish agents of one name."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def episodes_to_traces(
    episodes: Sequence[Episode], records: Sequence[Record], identity: Mapping[str, Any], versions: Mapping[str, str]
) -> list[Trace]:
    """A trace per episode of one agent, with the grade's parts as rewards and a hash of the identity."""
    versions = {**versions, "tradeschool": tradeschool.__version__, "agent_hash": identity_hash(identity)}
    return [
        Trace(
            key=f"{record.versions['level']}#{record.seed}",
            task="trade",
            policy=record.agent,
            messages=episode.messages,
            rewards={name: float(getattr(graded, name)) for name in PARTS},
            stop=episode.stop,
            metrics={
                "grade": graded.total,
                "return": float(record.equity_D[-1] / record.equity_D[0]) - 1,
                "market_return": float(record.market.equity_D[-1] / record.market.equity_D[0]) - 1,
                "refused": float(record.refused),
                "start": float(record.start),
                "unread": float(episode.unread),
            },
            versions={**versions, **record.versions},
        )
        for episode, record, graded in zip(episodes, records, grades(records), strict=True)
    ]
