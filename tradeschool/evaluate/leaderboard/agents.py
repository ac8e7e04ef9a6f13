"""Agents that a leaderboard plays: what identifies each one, and how it is built for a market and a level."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import tradeschool
from tradeschool.env.render import FACTS, Form, Question
from tradeschool.env.strategies import Agent, make_strategy
from tradeschool.env.trading_env import TradingEnv
from tradeschool.errors import RecipeError, RunError
from tradeschool.models.fingerprint import fingerprint, fingerprint_now
from tradeschool.models.load import ModelConfig
from tradeschool.policies.base import Kind, Policy, make_policy
from tradeschool.policies.rules import Rule
from tradeschool.tasks.base import SplitName
from tradeschool.tasks.trade import TradeTask

if TYPE_CHECKING:
    from tradeschool.policies.remote_config import ServerConfig

NUMERIC_BATCH = 512

Observation = Literal["text", "numeric"]
OnProgress = Callable[[int], None]
"""Called with the number of answers that a language model gave, or of training steps, since the last call."""


class EnvFactory(Protocol):
    """Makes environments for one market and level, on each part of the dates."""

    def env(self, split: SplitName, observation: Observation) -> TradingEnv:
        """The environment on the dates of a split."""

    def task(self, form: Form, facts: Sequence[str]) -> TradeTask:
        """The task that asks for an answer every day, with days written so."""


@dataclass(frozen=True)
class AgentSpec:
    """An agent to be played: an ``Agent`` on numeric observations, or a ``Policy`` that reads text.

    Attributes:
        name: as tables show it.
        settings: what the recipe sets. An agent with other settings is another agent.
        build: makes it for a market and level.
        observation: what it reads.
        form, facts, question: how a day is described in text, which of the market's facts are, and what a conversation
            holds.
        episodes: how many of the recipe's episodes it plays; None is all. A slow model may play fewer.
        batch: episodes played side by side.
        learns: whether ``build`` trains it, on the training dates.
        weights: what identifies its weights; empty where it has none, or they follow from the settings.
    """

    name: str
    settings: dict[str, Any]
    build: Callable[[EnvFactory, OnProgress], Agent | Policy]
    observation: Observation = "numeric"
    form: Form = "text"
    facts: Sequence[str] = FACTS
    question: Question = "episode"
    describe: Sequence[str] = ()
    episodes: int | None = None
    batch: int = NUMERIC_BATCH
    learns: bool = False
    weights: Callable[[], dict[str, Any]] = dict

    def identity(self, envs: EnvFactory) -> dict[str, Any]:
        """All that identifies the agent: settings, weights, training rows, and the versions of the code that runs it.

        Raises:
            TradeschoolError: its weights cannot be found.
        """
        versions = {"tradeschool": tradeschool.__version__}
        if self.observation == "text":
            versions["task"] = TradeTask.version
        trained_on = {"trained_on": list(envs.env("train", "numeric").rows or ())} if self.learns else {}
        return {**self.settings, **self.weights(), **trained_on, "versions": versions}


def rule_agent(rule_name: str, /, **settings: Any) -> AgentSpec:
    """A trading rule.

    Raises:
        EnvError: there is no such rule, or it has no such setting.
    """
    agent = make_strategy(rule_name, **settings)
    known = {key: value for key, value in dataclasses.asdict(agent).items() if key != "name"}  # type: ignore[call-overload]
    return AgentSpec(agent.name, {"agent": rule_name, **known}, lambda envs, on_progress: agent)


def ppo_agent(name: str, settings: dict[str, Any]) -> AgentSpec:
    """A PPO agent of Stable-Baselines3, trained per market and level; ``settings`` go to ``train_ppo``."""

    def build(envs: EnvFactory, on_progress: OnProgress) -> Agent:
        from tradeschool.train.ppo import train_ppo

        done = 0

        def count(figures: dict[str, Any]) -> None:
            nonlocal done
            on_progress(figures["step"] - done)
            done = figures["step"]

        agent: Any = train_ppo(envs.env("train", "numeric"), progress=count, **settings)
        named: Agent = dataclasses.replace(agent, name=name)
        return named

    return AgentSpec(name, {"agent": "ppo", **settings}, build, learns=True)


def zip_agent(name: str, path: Path, *, trust: bool = False) -> AgentSpec:
    """An agent saved by Stable-Baselines3, or the folder of a ``ppo`` stage."""

    def build(envs: EnvFactory, on_progress: OnProgress) -> Agent:
        from tradeschool.policies.numeric import load_agent

        return load_agent(path, trust=trust, name=name)

    def weights() -> dict[str, Any]:
        from tradeschool.policies.numeric import agent_hash

        return {"sha256": agent_hash(zip_path(path))}

    return AgentSpec(name, {"agent": "zip"}, build, weights=weights)


def zip_path(path: Path) -> Path:
    """The zip file itself, given it or the folder of a ``ppo`` stage."""
    from tradeschool.policies.numeric import AGENT_FILE

    return path / AGENT_FILE if path.is_dir() else path


def model_agent(
    name: str,
    source: str,
    config: ModelConfig,
    *,
    batch: int,
    form: Form = "text",
    facts: Sequence[str] = FACTS,
    question: Question = "episode",
    describe: Sequence[str] = (),
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    kind: Kind = "base",
) -> AgentSpec:
    """A language model, identified by the content of its folder ``source``, or its commit on the Hub.

    ``config`` says how it is loaded. At ``temperature`` 0 it takes the most likely token at every step. ``kind`` is
    "trained" for a model that the run has trained.
    """
    sampling: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}

    def build(envs: EnvFactory, on_progress: OnProgress) -> Policy:
        from tradeschool.policies.language import LanguagePolicy

        model, tokenizer = _load_once(source, json.dumps(fingerprint(source)), config.model_dump_json())
        return LanguagePolicy(model, tokenizer, name=name, kind=kind, **sampling)

    loading = config.model_dump(include={"dtype", "attention", "load_in_4bit", "template"})
    text: dict[str, Any] = {"form": form, "facts": [*facts], "question": question, "describe": [*describe]}
    settings = {"agent": "model", "kind": kind, **loading, **text, **sampling}

    def weights() -> dict[str, Any]:
        return {"weights": fingerprint(source)}

    return AgentSpec(name, settings, build, "text", **text, batch=batch, weights=weights)


_kept: dict[tuple[str, str, str], tuple[Any, Any]] = {}
"""The model that was loaded last."""


def _load_once(source: str, weights: str, config: str) -> tuple[Any, Any]:
    """Load a model and keep it, since the levels of a market play the same one in turn."""
    from tradeschool.models.load import load

    key = (source, weights, config)
    if key not in _kept:
        unload()  # first, as two models may not fit on a GPU
        loaded = load(source, ModelConfig.model_validate_json(config))
        if (now := json.dumps(fingerprint_now(source))) != weights:
            raise RunError(f"{source} changed while it was loaded, from {weights} to {now}. Run again.")
        _kept[key] = loaded
    return _kept[key]


def unload() -> None:
    """Release the model that is kept loaded."""
    _kept.clear()


def remote_agent(name: str, config: "ServerConfig", form: Form, facts: Sequence[str]) -> AgentSpec:
    """A model behind a chat server.

    Raises:
        RemoteError: no server or model is named, or the key is malformed.
    """
    from tradeschool.policies.remote_config import endpoint

    def build(envs: EnvFactory, on_progress: OnProgress) -> Policy:
        from tradeschool.policies.remote import ChatClient, RemotePolicy

        return RemotePolicy(ChatClient(config), name=name)

    server = endpoint(config)
    settings = {"agent": "remote", "url": server.url, "model": server.model, "request": config.body}
    return AgentSpec(name, {**settings, "form": form, "facts": [*facts]}, build, "text", form, facts)


def policy_agent(name: str, path: str, form: Form, facts: Sequence[str]) -> AgentSpec:
    """A policy of the user's own, ``package.module:Class``, constructed with the trade task or with nothing.

    Raises:
        RecipeError: there is no such class, it is not a policy, or it is a rule, which answers single questions.
    """
    from tradeschool.config.check import load_class

    policy_class = load_class(path, Policy, "path")  # type: ignore[type-abstract]
    if issubclass(policy_class, Rule):
        raise RecipeError(
            f"path: {path} is a Rule, which answers single questions, but a leaderboard plays episodes. Derive it from "
            "Policy, or use a rule of env/strategies.py."
        )
    settings = {"agent": "policy", "class": path, "form": form, "facts": [*facts]}

    def build(envs: EnvFactory, on_progress: OnProgress) -> Policy:
        return make_policy(policy_class, envs.task(form, facts))

    return AgentSpec(name, settings, build, "text", form, facts)
