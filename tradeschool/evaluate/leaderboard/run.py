"""Plays agents through their episodes. An agent with a result on the same benchmark is not played again."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from tradeschool.chat import Episode
from tradeschool.env.config import LEVELS, EnvError
from tradeschool.env.grading import Record
from tradeschool.env.market_data import MarketData
from tradeschool.env.play import play, record_conversation
from tradeschool.env.render import Form
from tradeschool.env.trading_env import TradingChatEnv, TradingEnv
from tradeschool.errors import RunError, TradeschoolError, disk_error
from tradeschool.evaluate.leaderboard.agents import AgentSpec, EnvFactory, Observation, OnProgress
from tradeschool.evaluate.leaderboard.recipe import LeaderboardRecipe
from tradeschool.evaluate.leaderboard.results import (
    AgentResult,
    BenchmarkSpec,
    LevelResults,
    ResultsStore,
    episodes_to_traces,
    result_of,
    traces_path,
)
from tradeschool.market.splits import Split
from tradeschool.policies.base import Policy
from tradeschool.progress import progress
from tradeschool.rollout import run_episodes
from tradeschool.run_folder import locked
from tradeschool.tasks.base import Example, SplitName
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.trace import Trace, write_traces

FOLDER = Path("leaderboards")
SPLIT: SplitName = "test"


@dataclass(frozen=True)
class EvalRun:
    """The episodes that every agent plays: ``episodes`` of ``benchmark``, on the dates of ``split``.

    Results go into ``store``. ``save`` gets the name and the traces of an agent that reads text.
    """

    envs: EnvFactory
    split: SplitName
    benchmark: BenchmarkSpec
    episodes: int
    store: ResultsStore
    bar: Progress
    save: Callable[[str, list[Trace]], None]

    def play(self, spec: AgentSpec, again: bool = False) -> AgentResult:
        """The agent's result: the stored one, unless it is missing, has too few episodes, or ``again`` is set.

        Raises:
            TradeschoolError: the agent cannot be built, or cannot play.
        """
        episodes = min(spec.episodes or self.episodes, self.episodes)
        identity = spec.identity(self.envs)
        stored = self.store.find(spec.name, self.benchmark, identity)
        if stored and stored.episodes >= episodes and not again:
            return stored
        with self._progress(spec, episodes) as on_progress:
            result = self._play(spec, identity, episodes, on_progress)
        self.store.put(result)
        return result

    def stored(self, spec: AgentSpec) -> AgentResult | None:
        """The stored result of exactly this agent, whatever its number of episodes; None if it cannot be identified."""
        try:
            return self.store.find(spec.name, self.benchmark, spec.identity(self.envs))
        except Exception:  # the error was reported when the agent should have played
            return None

    def _play(self, spec: AgentSpec, identity: dict[str, Any], episodes: int, on_progress: OnProgress) -> AgentResult:
        began, seed = monotonic(), self.benchmark.seed
        agent = spec.build(self.envs, on_progress)
        env = self.envs.env(self.split, spec.observation)
        figures: dict[str, Any] = {}
        if isinstance(agent, Policy):
            played = play_conversations(agent, env, spec, range(seed, seed + episodes), on_progress)
            records = [_record(spec.name, episode) for episode in played]
            self.save(spec.name, episodes_to_traces(played, records, identity))
            figures = _figures(agent, played)
        else:
            records = play(agent, env, episodes, seed, batch=spec.batch)
        return result_of(records, identity, self.benchmark, monotonic() - began, figures)

    @contextmanager
    def _progress(self, spec: AgentSpec, episodes: int) -> Iterator[OnProgress]:
        """A bar for the answers of an agent that reads text, or the steps of one that learns."""
        answers = self.benchmark.days * (self.benchmark.tickers if spec.question == "stock" else 1)
        total = answers * episodes if spec.observation == "text" else spec.settings.get("steps", 0)
        unit = "answers" if spec.observation == "text" else "steps"
        shown = self.bar.add_task(spec.name, total=total, unit=unit, figures="", visible=bool(total))
        try:
            yield lambda count: self.bar.advance(shown, count)
        finally:
            self.bar.remove_task(shown)


def play_conversations(
    policy: Policy, env: TradingEnv, spec: AgentSpec, seeds: range, on_progress: OnProgress
) -> list[Episode]:
    """The episodes of ``seeds`` as conversations, ``spec.batch`` of them side by side."""
    episodes: list[Episode] = []
    for first in range(0, len(seeds), spec.batch):
        batch = seeds[first : first + spec.batch]
        envs = [TradingChatEnv(copy.copy(env), spec.form, spec.facts, spec.question, spec.describe) for _ in batch]
        examples = [Example(f"{env.versions['level']}#{seed}", -1, 0, payload={"seed": seed}) for seed in batch]
        episodes += run_episodes(policy.chat(), envs, examples, seeds=batch, on_turn=on_progress)
    return episodes


def _record(agent: str, episode: Episode) -> Record:
    assert isinstance(episode.env, TradingChatEnv)
    return record_conversation(agent, episode.example.payload["seed"], episode.env)


def _figures(policy: Policy, episodes: Sequence[Episode]) -> dict[str, Any]:
    """The shares of unusable answers, and what a remote model cost."""
    unread = sum(one.unread for one in episodes) / max(sum(one.answers for one in episodes), 1)
    out_of_room = sum(one.out_of_room for one in episodes) / len(episodes)
    usage = getattr(getattr(policy, "client", None), "usage", None)
    return {
        "unread": round(unread, 4),
        "out_of_room": round(out_of_room, 4),
        **(usage.summary() if usage else {}),
    }


@dataclass(frozen=True)
class LevelEnvs:
    """An :class:`EnvFactory` of one market and level."""

    data: MarketData
    split: Split
    level: str

    def env(self, split: SplitName, observation: Observation) -> TradingEnv:
        """The environment on the dates of a split; EnvError where no episode of the level fits."""
        return TradingEnv(self.data, rows=self.split.ends(split), observation=observation, **LEVELS[self.level])

    def task(self, form: Form, facts: Sequence[str]) -> TradeTask:
        """The task of the level, for policies of the user's own. Nothing is imitated on a leaderboard."""
        config = TradeConfig(level=self.level, form=form, facts=[*facts], demonstrators=["hold"])
        return TradeTask(config, self.data.panel, self.split)


def run_leaderboard(
    recipe: LeaderboardRecipe, folder: Path, console: Console, *, again: bool = False
) -> list[LevelResults]:
    """Play every agent on every level of every market, store each result at once, and return all.

    Raises:
        TradeschoolError: a market cannot be read, or the folder cannot be written.
    """
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
        data, split = MarketData(panel), split_panel(recipe.split, panel)
        for level in recipe.levels:
            bar.update(total, figures=f"{name}, {level}")
            yield _run_level(recipe, name, LevelEnvs(data, split, level), folder, bar, again)
            bar.advance(total, len(recipe.agents))


def _run_level(
    recipe: LeaderboardRecipe, market: str, envs: LevelEnvs, folder: Path, bar: Progress, again: bool
) -> LevelResults:
    try:
        benchmark = BenchmarkSpec.of(envs.env(SPLIT, "numeric"), recipe.seed)
    except EnvError as error:
        return LevelResults(market, envs.level, reason=str(error))
    name = f"{market}-{envs.level}"

    def save(agent: str, traces: list[Trace]) -> None:
        (folder / name).mkdir(exist_ok=True)
        write_traces(traces_path(folder / name, agent), traces)

    store = ResultsStore(folder / f"{name}.json")
    eval_run = EvalRun(envs, SPLIT, benchmark, recipe.episodes, store, bar, save)
    results: list[AgentResult | None] = []
    missing: dict[str, str] = {}
    for spec in recipe.agents:
        try:
            results.append(eval_run.play(spec, again))
        except Exception as error:  # an agent may fail in any way, and the others are still to be played
            if full := disk_error(error, folder):
                raise full from error
            known = isinstance(error, TradeschoolError)
            missing[spec.name] = str(error) if known else f"{type(error).__name__}: {error}".rstrip(": ")
            results.append(eval_run.stored(spec))
    return LevelResults(market, envs.level, store, benchmark, tuple(filter(None, results)), missing)
