"""A recipe's list of agents: every form of an entry, checked, as rivals."""

import dataclasses
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tradeschool.checking import check
from tradeschool.env.conversation import FACTS, Facts, Form
from tradeschool.env.traders import RULES
from tradeschool.errors import TradeschoolError, did_you_mean
from tradeschool.evaluate.leaderboard.rivals import (
    Rival,
    model_rival,
    ppo_rival,
    remote_rival,
    rule_rival,
    zip_at,
    zip_rival,
)
from tradeschool.models.load import ModelConfig
from tradeschool.models.template import Template
from tradeschool.recipe_document import Draft
from tradeschool.train.ppo import ENVS
from tradeschool.train.ppo_faults import unusable
from tradeschool.yaml_text import Keys

OTHERS = ("ppo", "zip", "model", "remote")
KINDS = (*RULES, *OTHERS)
MAIN = {"zip": "path", "model": "source", "remote": "model"}
"""The setting that a kind's value is where it is no mapping: ``{zip: ppo.zip}``."""
COMMON = ("agent", "name", "episodes")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    agent: str
    name: str
    episodes: int | None = Field(default=None, ge=1)


class PPOEntry(_Entry):
    """Trained by Stable-Baselines3 on the training rows of every market and level; ``sb3`` goes to its PPO.

    ``facts`` are those of the market that its network reads, by default all.
    """

    steps: int = Field(default=20_000, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    envs: int = Field(default=ENVS, ge=1, le=100_000)
    facts: Facts | None = None
    sb3: dict[str, Any] = {}


class ZipEntry(_Entry):
    """A zip of Stable-Baselines3, or the folder of a ``ppo`` stage; what ``trust`` is: ``policies/sb3.py``."""

    path: Path
    trust: bool = False


class ModelEntry(_Entry):
    """A language model of transformers: a folder or a Hub name. It reads texts, ``batch_size`` episodes at a time.

    ``template`` are variables for its chat template. One that thinks needs ``{enable_thinking: false}`` or the like,
    or some thousand ``max_new_tokens``: an answer that is cut off within its thinking is none.
    """

    source: str
    form: Form = "text"
    facts: Facts = list(FACTS)
    max_new_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    batch_size: int = Field(default=64, ge=1)
    dtype: str = "auto"
    attention: str = "auto"
    load_in_4bit: bool = False
    template: Template = {}


class RemoteEntry(_Entry):
    """A model behind an OpenAI-compatible server; beside these it has the settings of ``ServerConfig``."""

    form: Form = "text"
    facts: Facts = list(FACTS)


def named(items: Any) -> None:
    """Bring a recipe's entries to one form, ``{agent: KIND, name: NAME, ...}``, in place; wrong ones stay as they are.

    An entry is a kind (``rsi``), a mapping from it to its settings (``{ppo: {steps: 20000}}``) or to its main one,
    with the others beside it (``{zip: ppo.zip, trust: true}``).
    """
    if not isinstance(items, list):
        return
    for number, item in enumerate(items):
        if isinstance(item, str):
            items[number] = {"agent": item}
        elif isinstance(item, dict) and "agent" not in item:
            kinds = [key for key in item if key in KINDS]
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
    value, beside = item[kind], {key: below for key, below in item.items() if key != kind}
    inside = value if isinstance(value, dict) else {} if value is None else {MAIN.get(kind, kind): value}
    return {"agent": kind, **inside, **beside}


def _default_name(item: dict[str, Any]) -> str:
    kind = str(item["agent"])
    main = str(item.get(MAIN.get(kind, ""), "")).rstrip("/")
    return (Path(main).stem if kind == "zip" else main.rpartition("/")[2]) or kind


def rival(draft: Draft, item: Any, keys: Keys) -> Rival | None:
    """The rival of an entry in the form of :func:`named`; None where it is wrong."""
    kind = item.get("agent") if isinstance(item, dict) else None
    if kind not in KINDS:
        said = kind if kind is not None else item
        draft.add(keys, f"is {said!r}, but must be one of {', '.join(KINDS)}.{did_you_mean(str(said), KINDS)}")
        return None
    make = {"ppo": _ppo, "zip": _zip, "model": _model, "remote": _remote}.get(kind, _rule)
    return make(draft, item, keys)


def _rule(draft: Draft, item: dict[str, Any], keys: Keys) -> Rival | None:
    common = check(_Entry, {key: value for key, value in item.items() if key in COMMON}, keys, draft.problems)
    settings = {key: value for key, value in item.items() if key not in COMMON}
    try:
        found = rule_rival(item["agent"], **settings, name=item["name"])
    except TradeschoolError as error:
        draft.add(keys, f"has a fault: {error}")
        return None
    return dataclasses.replace(found, episodes=common.episodes) if common else None


def _ppo(draft: Draft, item: dict[str, Any], keys: Keys) -> Rival | None:
    entry = check(PPOEntry, item, keys, draft.problems)
    if entry is None or not _sb3_knows(draft, entry, keys):
        return None
    found = ppo_rival(entry.name, entry.model_dump(include={"steps", "seed", "envs", "facts", "sb3"}))
    return dataclasses.replace(found, episodes=entry.episodes)


def _sb3_knows(draft: Draft, entry: PPOEntry, keys: Keys) -> bool:
    """Whether all of ``sb3:`` are arguments that Stable-Baselines3's PPO takes as they are written."""
    from tradeschool.train.ppo import SB3

    found = list(unusable(entry.sb3, SB3)) if entry.sb3 else []
    for key, fault in found:
        draft.add((*keys, "sb3", *key.split(".")), fault)
    return not found


def _zip(draft: Draft, item: dict[str, Any], keys: Keys) -> Rival | None:
    entry = check(ZipEntry, item, keys, draft.problems)
    if entry is None:
        return None
    path = entry.path.expanduser().absolute()
    if not zip_at(path).is_file():
        draft.add((*keys, "path"), f"is {str(path)!r}, and there is no such file. Give a .zip of Stable-Baselines3")
        return None
    return dataclasses.replace(zip_rival(entry.name, path, trust=entry.trust), episodes=entry.episodes)


def _model(draft: Draft, item: dict[str, Any], keys: Keys) -> Rival | None:
    entry = check(ModelEntry, item, keys, draft.problems)
    if entry is None:
        return None
    config = ModelConfig(
        base=entry.source,
        dtype=entry.dtype,
        attention=entry.attention,
        load_in_4bit=entry.load_in_4bit,
        template=entry.template,
    )
    options = entry.model_dump(include={"form", "facts", "max_new_tokens", "temperature"})
    found = model_rival(entry.name, entry.source, config, batch=entry.batch_size, **options)
    return dataclasses.replace(found, episodes=entry.episodes)


def _remote(draft: Draft, item: dict[str, Any], keys: Keys) -> Rival | None:
    from tradeschool.policies.chat.config import server_config

    own = {key: value for key, value in item.items() if key in (*COMMON, "form", "facts")}
    entry = check(RemoteEntry, own, keys, draft.problems)
    if entry is None:
        return None
    try:
        config = server_config(**{key: value for key, value in item.items() if key not in own})
        found = remote_rival(entry.name, config, entry.form, entry.facts)
    except TradeschoolError as error:
        draft.add(keys, f"has a fault: {error}")
        return None
    return dataclasses.replace(found, episodes=entry.episodes)
