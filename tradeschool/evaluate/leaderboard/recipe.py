"""A leaderboard's recipe: markets, levels, episodes and agents, read from YAML and checked."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from tradeschool.config.check import Keys, check
from tradeschool.config.document import NAME, Draft, read_draft
from tradeschool.config.sections import SplitConfig, market_section
from tradeschool.env.render import FACTS, Facts, Form, Question
from tradeschool.env.strategies import STRATEGIES
from tradeschool.errors import TradeschoolError, did_you_mean
from tradeschool.evaluate.leaderboard.agents import (
    AgentSpec,
    model_agent,
    policy_agent,
    ppo_agent,
    remote_agent,
    rule_agent,
    zip_agent,
    zip_path,
)
from tradeschool.evaluate.leaderboard.ranking import REFERENCE
from tradeschool.models.chat_renderer import TemplateVariables
from tradeschool.models.load import ModelConfig
from tradeschool.train.ppo import ENVS, unusable

SECTIONS = ("name", "seed", "episodes", "levels", "markets", "split", "agents")
HEAD = ("name", "seed", "episodes", "levels")
EXAMPLE = "recipes/leaderboard.yaml"
MAIN_SETTING = {"zip": "path", "model": "source", "remote": "model", "policy": "path"}
"""The setting that a kind's value means if it is not a mapping: ``{zip: ppo.zip}``."""


class _Head(BaseModel):
    name: str = Field(pattern=f"^{NAME}$")
    seed: int = Field(default=0, ge=0, lt=2**32)
    episodes: int = Field(default=300, ge=2, le=100_000)
    levels: list[Literal["Easy", "Medium", "Hard"]] = Field(default=["Easy", "Medium", "Hard"], min_length=1)


class Entry(BaseModel):
    """An agent. This class serves the rules, which check their own settings."""

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

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        return ppo_agent(self.name, self.model_dump(include={"steps", "seed", "envs", "facts", "sb3"}))


class ZipEntry(Entry):
    """A zip of Stable-Baselines3, or the folder of a ``ppo`` stage. See ``policies/numeric.py`` for ``trust``."""

    path: Path
    trust: bool = False

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: Path) -> Path:
        path = path.expanduser().absolute()
        if not zip_path(path).is_file():
            raise ValueError(f"is '{path}', and there is no such file. Give a .zip of Stable-Baselines3")
        return path

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        return zip_agent(self.name, self.path, trust=self.trust)


class TextEntry(Entry):
    """An agent that reads text."""

    form: Form = "text"
    facts: Facts = list(FACTS)


class ModelEntry(TextEntry):
    """A language model: a folder or a Hub name. It reads text, ``batch_size`` episodes at a time.

    ``template`` holds variables of its chat template. A model that thinks first needs ``{enable_thinking: false}``, or
    thousands of ``max_new_tokens``: an answer that is cut off while thinking is unreadable.
    """

    source: str
    question: Question = "episode"
    describe: list[str] = []
    max_new_tokens: int = Field(default=64, ge=1, le=65_536)
    temperature: float = Field(default=0.0, ge=0)
    batch_size: int = Field(default=64, ge=1)
    dtype: str = "auto"
    attention: str = "auto"
    load_in_4bit: bool = False
    template: TemplateVariables = {}

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        loading = self.model_dump(include={"dtype", "attention", "load_in_4bit", "template"})
        options = self.model_dump(include={"form", "facts", "question", "describe", "max_new_tokens", "temperature"})
        config = ModelConfig(base=self.source, **loading)
        return model_agent(self.name, self.source, config, batch=self.batch_size, **options)


class RemoteEntry(TextEntry):
    """A model behind an OpenAI-compatible server; the other keys are those of ``ServerConfig``."""

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        from tradeschool.policies.remote_config import server_config

        return remote_agent(self.name, server_config(**settings), self.form, self.facts)


class PolicyEntry(TextEntry):
    """A policy class of the user's own, ``package.module:Class``."""

    path: str

    def spec(self, settings: dict[str, Any]) -> AgentSpec:
        return policy_agent(self.name, self.path, self.form, self.facts)


ENTRIES: dict[str, type[Entry]] = {
    **dict.fromkeys(STRATEGIES, Entry),
    "ppo": PPOEntry,
    "zip": ZipEntry,
    "model": ModelEntry,
    "remote": RemoteEntry,
    "policy": PolicyEntry,
}
"""By kind of agent."""


@dataclass(frozen=True)
class LeaderboardRecipe:
    """A checked recipe. ``markets`` holds each market's resolved section; the first agent is buy and hold."""

    name: str
    seed: int
    episodes: int
    levels: list[str]
    markets: dict[str, dict[str, Any]]
    split: SplitConfig
    agents: tuple[AgentSpec, ...]
    notes: tuple[str, ...] = ()


def read(path: Path, sets: Sequence[str] = ()) -> LeaderboardRecipe:
    """Read a recipe from YAML, with ``key=value`` options applied.

    Raises:
        RecipeError: the file, a key or a value is wrong; one line per problem.
    """
    draft = read_draft(path, "leaderboard")
    document = draft.document
    normalise_agents(document.get("agents"))
    draft.lay(sets)
    normalise_agents(document.get("agents"))
    draft.require(SECTIONS, ("name", "markets", "agents"), EXAMPLE)
    head = check(_Head, {key: document[key] for key in HEAD if key in document}, (), draft.problems)
    markets = _markets(draft)
    split = draft.section("split", SplitConfig)
    agents = _agents(draft)
    if draft.problems or head is None or split is None:
        raise draft.error()
    return LeaderboardRecipe(**head.model_dump(), markets=markets, split=split, agents=agents, notes=tuple(draft.notes))


def _markets(draft: Draft) -> dict[str, dict[str, Any]]:
    sections = draft.document.get("markets", {})
    if not isinstance(sections, dict) or ("markets" in draft.document and not sections):
        draft.add(("markets",), f"is {sections!r}, but must be a mapping like {{synthetic: {{source: synthetic}}}}")
        return {}
    found = {}
    for name, section in sections.items():
        keys = ("markets", str(name))
        if not Draft.is_name(str(name)):
            draft.add(keys, "must be a file name: letters, digits, - and _, starting with a letter")
        market = market_section(draft, section, keys)
        if market is not None:
            found[str(name)] = market
    return found


def _agents(draft: Draft) -> tuple[AgentSpec, ...]:
    items = draft.document.get("agents", [])
    if not isinstance(items, list) or ("agents" in draft.document and not items):
        draft.add(("agents",), "must be a list of at least one agent, such as [hold, momentum, {ppo: {steps: 20000}}]")
        return ()
    found: list[AgentSpec] = []
    for number, item in enumerate(items):
        spec = _agent(draft, item, ("agents", number))
        if spec is None:
            continue
        if spec.name in [one.name for one in found]:
            draft.add(("agents", number, "name"), f"is {spec.name!r}, which an earlier agent has. Use unique names")
        elif spec.name == REFERENCE and spec.settings["agent"] != REFERENCE:
            draft.add(("agents", number, "name"), f"is {spec.name!r}, which is reserved for the reference rule")
        found.append(spec)
    # The reference is always played, in all episodes, listed or not.
    return (rule_agent(REFERENCE), *(one for one in found if one.name != REFERENCE))


def normalise_agents(items: Any) -> None:
    """Bring agent entries to one form, ``{agent: KIND, name: NAME, ...}``, in place. Malformed ones are left alone.

    An entry is a kind (``rsi``), a mapping from a kind to its settings (``{ppo: {steps: 20000}}``), or a mapping from
    a kind to its main setting, with others beside it (``{zip: ppo.zip, trust: true}``).
    """
    if not isinstance(items, list):
        return
    for number, item in enumerate(items):
        if isinstance(item, str):
            items[number] = {"agent": item}
        elif isinstance(item, dict) and "agent" not in item:
            kinds = [key for key in item if key in ENTRIES]
            if len(kinds) == 1:
                items[number] = _flat(kinds[0], item)
    taken = {item["name"] for item in items if isinstance(item, dict) and item.get("name")}
    for item in items:
        if isinstance(item, dict) and "agent" in item and not item.get("name"):
            base = name = _default_name(item)
            count = 2
            while name in taken:
                name, count = f"{base} {count}", count + 1
            item["name"] = name
            taken.add(name)


def _flat(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    value, others = item[kind], {key: below for key, below in item.items() if key != kind}
    inside = value if isinstance(value, dict) else {} if value is None else {MAIN_SETTING.get(kind, kind): value}
    return {"agent": kind, **inside, **others}


def _default_name(item: dict[str, Any]) -> str:
    kind = str(item["agent"])
    main = str(item.get(MAIN_SETTING.get(kind, ""), "")).rstrip("/")
    name = {"zip": Path(main).stem, "policy": main.rpartition(":")[2]}.get(kind, main.rpartition("/")[2])
    return name or kind


def _agent(draft: Draft, item: Any, keys: Keys) -> AgentSpec | None:
    """The agent of a normalised entry; None, with a problem added to the draft, if the entry is wrong."""
    kind = item.get("agent") if isinstance(item, dict) else None
    if kind not in ENTRIES:
        given = kind if kind is not None else item
        draft.add(keys, f"is {given!r}, but must be one of {', '.join(ENTRIES)}.{did_you_mean(str(given), ENTRIES)}")
        return None
    # A rule and a server check the other keys themselves.
    cls = ENTRIES[kind]
    own = {key: value for key, value in item.items() if key in cls.model_fields or cls not in (Entry, RemoteEntry)}
    entry = check(cls, own, keys, draft.problems)
    if entry is None or _has_wrong_sb3(draft, entry, keys):
        return None
    try:
        spec = entry.spec({key: value for key, value in item.items() if key not in own})
    except TradeschoolError as error:
        draft.add(keys, str(error))
        return None
    return dataclasses.replace(spec, episodes=entry.episodes)


def _has_wrong_sb3(draft: Draft, entry: Entry, keys: Keys) -> bool:
    problems = list(unusable(entry.sb3)) if isinstance(entry, PPOEntry) and entry.sb3 else []
    for key, problem in problems:
        draft.add((*keys, "sb3", *key.split(".")), problem)
    return bool(problems)
