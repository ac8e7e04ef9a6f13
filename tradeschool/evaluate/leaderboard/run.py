"""Plays agents through their episodes. An agent with a result on the same benchmark is not played again."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, cast

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from tradeschool.chat import Episode, Message
from tradeschool.env.config import EnvError
from tradeschool.env.grading import play, record_conversation
from tradeschool.env.trading_env import TradingChatEnv, TradingEnv
from tradeschool.errors import RunError, TradeschoolError, disk_error
from tradeschool.evaluate.leaderboard.agents import AgentSpec, OnProgress
from tradeschool.evaluate.leaderboard.ranking import Leaderboard
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe
from tradeschool.evaluate.leaderboard.results import (
    AgentResult,
    BenchmarkSpec,
    ResultsStore,
    episodes_to_traces,
    result_of,
    traces_path,
)
from tradeschool.policies.base import Policy
from tradeschool.progress import progress
from tradeschool.rollout import run_episodes
from tradeschool.run_folder import locked
from tradeschool.tasks.base import Example, SplitName
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.trace import write_traces

FOLDER = Path("leaderboards")
WRITTEN = ("form", "facts", "question", "describe", "instructions")
"""Settings of an agent that say how its conversations are written."""
SPLIT: SplitName = "test"


@dataclass(frozen=True)
class EvalRun:
    """The episodes that every agent plays: ``episodes`` of the ``benchmark``, on the dates of ``split``.

    Results go into ``store``, the traces of agents that read text into ``folder``, with ``versions`` added.
    """

    task: TradeTask
    split: SplitName
    benchmark: BenchmarkSpec
    episodes: int
    store: ResultsStore
    bar: Progress
    folder: Path
    versions: Mapping[str, str] = field(default_factory=dict)

    def play(self, spec: AgentSpec, again: bool = False) -> AgentResult:
        """The agent's result: the stored one, unless it is missing, has too few episodes, or ``again`` is set."""
        episodes = min(spec.episodes or self.episodes, self.episodes)
        identity = spec.identity(self.task)
        stored = self.store.find(spec.name, self.benchmark, identity)
        if stored and stored.episodes >= episodes and not again:
            return stored
        # A bar for the answers of an agent that reads text, or the steps of one that learns.
        is_text = spec.observation == "text"
        answers = self.benchmark.days * (self.benchmark.tickers if spec.settings.get("question") == "stock" else 1)
        total = answers * episodes if is_text else spec.settings.get("steps", 0)
        unit = "answers" if is_text else "steps"
        shown = self.bar.add_task(spec.name, total=total, unit=unit, figures="", visible=bool(total))
        try:
            result = self._play(spec, identity, episodes, lambda count: self.bar.advance(shown, count))
        finally:
            self.bar.remove_task(shown)
        self.store.put(result)
        return result

    def _play(self, spec: AgentSpec, identity: dict[str, Any], episodes: int, on_progress: OnProgress) -> AgentResult:
        began, seed = monotonic(), self.benchmark.seed
        agent = spec.build(self.task, on_progress)
        env = self.task.env(self.split, spec.observation)
        figures: dict[str, Any] = {}
        if isinstance(agent, Policy):
            shots = spec.shots(self.task) if spec.shots else []
            played = play_conversations(agent, env, spec, range(seed, seed + episodes), on_progress, shots)
            records = [
                record_conversation(spec.name, one.example.payload["seed"], cast(TradingChatEnv, one.env))
                for one in played
            ]
            self.folder.mkdir(exist_ok=True)
            traces = episodes_to_traces(played, records, identity, self.versions)
            write_traces(traces_path(self.folder, spec.name), traces)
            figures = _figures(agent, played)
        else:
            records = play(agent, env, episodes, seed, batch=spec.batch)
        return result_of(records, identity, self.benchmark, monotonic() - began, figures)


def play_conversations(
    policy: Policy,
    env: TradingEnv,
    spec: AgentSpec,
    seeds: range,
    on_progress: OnProgress,
    shots: Sequence[Message] = (),
) -> list[Episode]:
    """The episodes of ``seeds`` as conversations, ``spec.batch`` of them side by side, each behind ``shots``."""
    episodes: list[Episode] = []
    written = {key: spec.settings[key] for key in WRITTEN if key in spec.settings}
    for first in range(0, len(seeds), spec.batch):
        batch = seeds[first : first + spec.batch]
        envs = [TradingChatEnv(copy.copy(env), **written) for _ in batch]
        examples = [Example(f"{env.versions['level']}#{seed}", -1, 0, payload={"seed": seed}) for seed in batch]
        episodes += run_episodes(policy.chat(), envs, examples, seeds=batch, shots=shots, on_turn=on_progress)
    return episodes


def _figures(policy: Policy, episodes: Sequence[Episode]) -> dict[str, Any]:
    """The shares of unreadable answers and of episodes that exceeded the context, and what a remote model cost."""
    unread = sum(one.unread for one in episodes) / max(sum(one.answers for one in episodes), 1)
    out_of_room = sum(one.out_of_room for one in episodes) / len(episodes)
    usage = getattr(getattr(policy, "client", None), "usage", None)
    cost = usage.summary() if usage else {}
    return {"unread": round(unread, 4), "out_of_room": round(out_of_room, 4), **cost}


@dataclass(frozen=True)
class LevelResults:
    """The leaderboard of one market and level, or the ``reason`` why it was not played.

    ``missing`` says why agents were not played, by name. ``board`` is None where none could.
    """

    market: str
    level: str
    store: ResultsStore | None = None
    benchmark: BenchmarkSpec | None = None
    board: Leaderboard | None = None
    missing: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def name(self) -> str:
        """Market and level."""
        return f"{self.market}, {self.level}"

    @property
    def older(self) -> list[BenchmarkSpec]:
        """Benchmarks other than the present one that the store has results on."""
        return [one for one in self.store.benchmarks() if one != self.benchmark] if self.store else []


def run_leaderboard(
    recipe: LeaderboardRecipe, folder: Path, console: Console, *, again: bool = False
) -> list[LevelResults]:
    """Play every agent on every level of every market, store each result at once, and return all."""
    for note in recipe.notes:
        console.print(Text(f"Note: {note}."))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder), progress(console) as bar:
            return list(_run_markets(recipe, folder, bar, again))
    except OSError as error:
        raise disk_error(error, folder) or RunError(f"{folder}: {error.strerror}.") from error


def _run_markets(recipe: LeaderboardRecipe, folder: Path, bar: Progress, again: bool) -> Iterator[LevelResults]:
    from tradeschool.config.sections import load_market, split_panel

    total = bar.add_task("agents", total=len(recipe.markets) * len(recipe.levels) * len(recipe.agents), figures="")
    for name, market in recipe.markets.items():
        bar.update(total, figures=f"{name}: reading")
        panel = load_market(market, bar.console)
        split = split_panel(recipe.split, panel)
        for level in recipe.levels:
            bar.update(total, figures=f"{name}, {level}")
            # Nothing is imitated on a leaderboard, so the demonstrators have no effect.
            task = TradeTask(TradeConfig(level=level, demonstrators=["hold"]), panel, split)
            yield _run_level(recipe, name, task, folder, bar, again)
            bar.advance(total, len(recipe.agents))


def _run_level(
    recipe: LeaderboardRecipe, market: str, task: TradeTask, folder: Path, bar: Progress, again: bool
) -> LevelResults:
    level = task.config.level
    try:
        benchmark = BenchmarkSpec.of(task.env(SPLIT, "numeric"), recipe.seed)
    except EnvError as error:
        return LevelResults(market, level, reason=str(error))
    store, own = ResultsStore(folder / f"{market}-{level}.json"), folder / f"{market}-{level}"
    eval_run = EvalRun(task, SPLIT, benchmark, recipe.episodes, store, bar, own)
    results: list[AgentResult] = []
    missing: dict[str, str] = {}
    for spec in recipe.agents:
        try:
            results.append(eval_run.play(spec, again))
        except Exception as error:  # an agent may fail in any way, and the others are still to be played
            if full := disk_error(error, folder):
                raise full from error
            known = isinstance(error, TradeschoolError)
            missing[spec.name] = str(error) if known else f"{type(error).__name__}: {error}".rstrip(": ")
    board = Leaderboard.of(f"{market}, {level}", results) if results else None
    return LevelResults(market, level, store, benchmark, board, missing)
