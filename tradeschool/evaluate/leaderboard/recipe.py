"""A leaderboard's recipe: markets, levels, episodes and agents, read from YAML and checked."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from tradeschool.config.check import Keys, check
from tradeschool.config.document import NAME, Draft, read_draft
from tradeschool.config.sections import SplitConfig, market_section
from tradeschool.errors import TradeschoolError, did_you_mean
from tradeschool.evaluate.leaderboard.agents import ENTRIES, AgentSpec, Entry, RemoteEntry, rule_agent
from tradeschool.evaluate.leaderboard.ranking import REFERENCE

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
    """Read a recipe from YAML, with ``key=value`` options applied; a RecipeError has one line per problem."""
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
        draft.add(("agents",), "must be a list of at least one agent, such as [hold, macd, {ppo: {steps: 20000}}]")
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
    for number, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, str):
            items[number] = {"agent": item}
        elif isinstance(item, dict) and "agent" not in item:
            kinds = [key for key in item if key in ENTRIES]
            if len(kinds) == 1:
                kind, value = kinds[0], item.pop(kinds[0])
                inside = (
                    value if isinstance(value, dict) else {} if value is None else {MAIN_SETTING.get(kind, kind): value}
                )
                items[number] = {"agent": kind, **inside, **item}
        if isinstance(items[number], dict) and "agent" in items[number]:
            kind = str(items[number]["agent"])
            main = str(items[number].get(MAIN_SETTING.get(kind, ""), "")).rstrip("/")
            name = {"zip": Path(main).stem, "policy": main.rpartition(":")[2]}.get(kind, main.rpartition("/")[2])
            items[number]["name"] = items[number].get("name") or name or kind


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
    try:
        others = {key: value for key, value in item.items() if key not in own}
        return dataclasses.replace(entry.spec(others), episodes=entry.episodes) if entry else None
    except TradeschoolError as error:
        draft.add(keys, str(error))
        return None
