"""Agents that a leaderboard plays: their entries in a recipe, what identifies each one, and how it is built."""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

import tradeschool
from tradeschool.chat import Message
from tradeschool.config.check import load_class
from tradeschool.env.render import FACTS, Facts, Form, Question
from tradeschool.env.strategies import STRATEGIES, Agent, make_strategy
from tradeschool.models.chat_renderer import TemplateVariables
from tradeschool.models.fingerprint import fingerprint
from tradeschool.models.load import ModelConfig
from tradeschool.policies.base import Kind, Policy, make_policy
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.train.ppo import ENVS, unusable

NUMERIC_BATCH = 512

Observation = Literal["text", "numeric"]
OnProgress = Callable[[int], None]
"""Called with the number of answers that a language model gave, or of training steps, since the last call."""


@dataclass(frozen=True)
class AgentSpec:
    """An agent to be played: an ``Agent`` on numeric observations, or a ``Policy`` that reads text.

    Attributes:
        name: as tables show it.
        settings: what the recipe sets. An agent with other settings is another agent. ``form``, ``facts``,
            ``question`` and ``describe`` say how a day is written, and what a conversation holds.
        build: makes it for a market and level.
        observation: what it reads.
        episodes: how many of the recipe's episodes it plays; None is all. A slow model may play fewer.
        batch: episodes played side by side.
        learns: whether ``build`` trains it, on the training dates.
        weights: what identifies its weights; empty where it has none, or they follow from the settings.
        shots: the answered questions that it sees before its own; None where it sees none.
    """

    name: str
    settings: dict[str, Any]
    build: Callable[[TradeTask, OnProgress], Agent | Policy]
    observation: Observation = "numeric"
    episodes: int | None = None
    batch: int = NUMERIC_BATCH
    learns: bool = False
    weights: Callable[[], dict[str, Any]] = dict
    shots: Callable[[TradeTask], list[Message]] | None = None

    def identity(self, task: TradeTask) -> dict[str, Any]:
        """All that identifies the agent: settings, weights, training rows, versions of the code that runs it."""
        versions = {"tradeschool": tradeschool.__version__}
        if self.observation == "text":
            versions["task"] = TradeTask.version
        trained_on = {"trained_on": list(task.env("train", "numeric").rows or ())} if self.learns else {}
        return {**self.settings, **self.weights(), **trained_on, "versions": versions}


def rule_agent(rule_name: str, /, **settings: Any) -> AgentSpec:
    """A trading rule; an EnvError if there is no such rule, or it has no such setting."""
    agent = make_strategy(rule_name, **settings)
    known = {key: value for key, value in dataclasses.asdict(agent).items() if key != "name"}  # type: ignore[call-overload]
    return AgentSpec(agent.name, {"agent": rule_name, **known}, lambda task, on_progress: agent)


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
    instructions: bool = True,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    kind: Kind = "base",
) -> AgentSpec:
    """A language model, identified by the content of its folder ``source``, or its commit on the Hub.

    ``config`` says how it is loaded. At ``temperature`` 0 it takes the most likely token at every step. ``kind`` is
    "trained" for a model that the run has trained.
    """
    sampling: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}

    def build(task: TradeTask, on_progress: OnProgress) -> Policy:
        from tradeschool.policies.language import LanguagePolicy

        model, tokenizer = _load_once(source, json.dumps(fingerprint(source)), config.model_dump_json())
        return LanguagePolicy(model, tokenizer, name=name, kind=kind, **sampling)

    loading = config.model_dump(include={"dtype", "attention", "load_in_4bit", "template"})
    text = {
        "form": form,
        "facts": [*facts],
        "question": question,
        "describe": [*describe],
        "instructions": instructions,
    }
    settings = {"agent": "model", "kind": kind, **loading, **text, **sampling}
    return AgentSpec(name, settings, build, "text", batch=batch, weights=lambda: {"weights": fingerprint(source)})


@functools.lru_cache(maxsize=1)
def _load_once(source: str, weights: str, config: str) -> tuple[Any, Any]:
    """Load a model and keep it, since the levels of a market play the same one in turn."""
    from tradeschool.models.load import load

    unload()  # the one that is kept, as two models may not fit on a GPU
    return load(source, ModelConfig.model_validate_json(config))


def unload() -> None:
    """Release the model that is kept loaded."""
    _load_once.cache_clear()


# entries of a recipe ------------------------------------------------------------------------------


class Entry(BaseModel):
    """An agent of a recipe. This class serves the rules, which check their own settings."""

    agent: str
    name: str
    episodes: int | None = Field(default=None, ge=1, le=100_000)

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        """The agent; ``settings`` are the other keys of its entry, of a rule or a server."""
        return rule_agent(self.agent, **settings, name=self.name)


class PPOEntry(Entry):
    """PPO of Stable-Baselines3, trained on the training dates of every market and level.

    ``sb3`` holds arguments of its PPO class. ``facts`` are the market facts that its network reads, by default all.
    """

    steps: int = Field(default=20_000, ge=1, le=1_000_000_000)
    seed: int = Field(default=0, ge=0, lt=2**32)
    envs: int = Field(default=ENVS, ge=1, le=100_000)
    facts: Facts | None = None
    sb3: dict[str, Any] = {}

    @field_validator("sb3")
    @classmethod
    def _check_sb3(cls, sb3: dict[str, Any]) -> dict[str, Any]:
        if wrong := [f"{key} {problem}" for key, problem in unusable(sb3)]:
            raise ValueError("; ".join(wrong))
        return sb3

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        chosen = self.model_dump(include={"steps", "seed", "envs", "facts", "sb3"})

        def build(task: TradeTask, on_progress: OnProgress) -> Agent:
            from tradeschool.train.ppo import train_ppo

            done = 0

            def count(figures: dict[str, Any]) -> None:
                nonlocal done
                on_progress(figures["step"] - done)
                done = figures["step"]

            agent: Any = train_ppo(task.env("train", "numeric"), progress=count, **chosen)
            named: Agent = dataclasses.replace(agent, name=self.name)
            return named

        return AgentSpec(self.name, {"agent": "ppo", **chosen}, build, learns=True)


class ZipEntry(Entry):
    """A zip of Stable-Baselines3, or the folder of a ``ppo`` stage. See ``policies/numeric.py`` for ``trust``."""

    path: Path
    trust: bool = False

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: Path) -> Path:
        from tradeschool.policies.numeric import AGENT_FILE

        path = path.expanduser().absolute()
        file = path / AGENT_FILE if path.is_dir() else path
        if not file.is_file():
            raise ValueError(f"is '{path}', and there is no such file. Give a .zip of Stable-Baselines3")
        return file

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        def build(task: TradeTask, on_progress: OnProgress) -> Agent:
            from tradeschool.policies.numeric import load_agent

            return load_agent(self.path, trust=self.trust, name=self.name)

        def weights() -> dict[str, Any]:
            from tradeschool.policies.numeric import agent_hash

            return {"sha256": agent_hash(self.path)}

        return AgentSpec(self.name, {"agent": "zip"}, build, weights=weights)


class TextEntry(Entry):
    """An agent that reads text."""

    form: Form = "text"
    facts: Facts = list(FACTS)


class ModelEntry(TextEntry):
    """A language model: a folder, a Hub name or ``smollm2-135m``. It reads text, ``batch_size`` episodes at a time.

    ``template`` holds variables of its chat template. A model that thinks first needs ``{enable_thinking: false}``, or
    thousands of ``max_new_tokens``: an answer that is cut off while thinking is unreadable. A model that was not
    trained to answer with orders needs ``few_shot`` answered questions of training dates, in each conversation. The
    rules ``demonstrators`` answer them, and read nothing but ``facts``.
    """

    source: str
    question: Question = "episode"
    describe: list[str] = []
    instructions: bool = True
    max_new_tokens: int = Field(default=64, ge=1, le=65_536)
    temperature: float = Field(default=0.0, ge=0)
    batch_size: int = Field(default=64, ge=1)
    dtype: str = "auto"
    attention: str = "auto"
    load_in_4bit: bool = False
    template: TemplateVariables = {}
    few_shot: int = Field(default=0, ge=0, le=64)
    demonstrators: list[str] = Field(default=["rsi+macd", "momentum 5d"], min_length=1)

    @model_validator(mode="after")
    def _demonstrators_can_answer(self) -> "ModelEntry":
        if self.few_shot:
            self._shown_task("Easy")
        return self

    def _shown_task(self, level: str) -> TradeConfig:
        shown = self.model_dump(include={"form", "facts", "question", "describe", "instructions", "demonstrators"})
        return TradeConfig(level=level, answers="one_order", **shown)

    def _shots(self, task: TradeTask) -> list[Message]:
        shown = TradeTask(self._shown_task(task.config.level), task.panel, task.split)
        found = shown.demonstrations(self.few_shot, seed=0)[: self.few_shot]
        return [message for one in found for message in one.messages if message["role"] != "system"]

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        loading = self.model_dump(include={"dtype", "attention", "load_in_4bit", "template"})
        written = self.model_dump(include={"form", "facts", "question", "describe", "instructions"})
        options = written | self.model_dump(include={"max_new_tokens", "temperature"})
        config = ModelConfig(base=self.source, **loading)
        agent = model_agent(self.name, config.source, config, batch=self.batch_size, **options)
        if not self.few_shot:
            return agent
        shown = self.model_dump(include={"few_shot", "demonstrators"})
        return dataclasses.replace(agent, settings=agent.settings | shown, shots=self._shots)


class RemoteEntry(TextEntry):
    """A model behind an OpenAI-compatible server; the other keys are those of ``ServerConfig``."""

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        from tradeschool.policies.remote_config import endpoint, server_config

        config = server_config(**settings)
        server = endpoint(config)

        def build(task: TradeTask, on_progress: OnProgress) -> Policy:
            from tradeschool.policies.remote import ChatClient, RemotePolicy

            return RemotePolicy(ChatClient(config), name=self.name)

        known = {"agent": "remote", "url": server.url, "model": server.model, "request": config.body}
        return AgentSpec(self.name, {**known, "form": self.form, "facts": self.facts}, build, "text")


class PolicyEntry(TextEntry):
    """A policy class of the user's own, ``package.module:Class``."""

    path: str

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        policy_class = load_class(self.path, Policy, "path")  # type: ignore[type-abstract]
        days = {"form": self.form, "facts": self.facts}

        def build(task: TradeTask, on_progress: OnProgress) -> Policy:
            return make_policy(policy_class, dataclasses.replace(task, config=task.config.model_copy(update=days)))

        return AgentSpec(self.name, {"agent": "policy", "class": self.path, **days}, build, "text")


ENTRIES: dict[str, type[Entry]] = {
    **dict.fromkeys(STRATEGIES, Entry),
    "ppo": PPOEntry,
    "zip": ZipEntry,
    "model": ModelEntry,
    "remote": RemoteEntry,
    "policy": PolicyEntry,
}
"""By kind of agent."""
