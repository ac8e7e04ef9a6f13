"""A leaderboard's recipe: markets, levels, agents and episodes, read and checked as every recipe is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, field_validator

from tradeschool.checking import check
from tradeschool.env.levels import LEVELS
from tradeschool.errors import did_you_mean
from tradeschool.evaluate.leaderboard.entries import named, rival
from tradeschool.evaluate.leaderboard.rivals import Rival, rule_rival
from tradeschool.evaluate.leaderboard.standing import REFERENCE
from tradeschool.recipe_document import NAME, Draft, read_draft
from tradeschool.recipe_market import imply_source, market_section, resolved_market
from tradeschool.recipe_sections import SplitConfig

SECTIONS = ("name", "seed", "episodes", "levels", "markets", "split", "agents")
HEAD = ("name", "seed", "episodes", "levels")
EXAMPLE = "recipes/leaderboard.yaml"


class _Head(BaseModel):
    name: str = Field(pattern=f"^{NAME}$")
    seed: int = Field(default=0, ge=0, lt=2**32)
    episodes: int = Field(default=300, ge=2, le=100_000)
    levels: list[str] = list(LEVELS)

    @field_validator("levels")
    @classmethod
    def _known(cls, levels: list[str]) -> list[str]:
        by_folded = {name.casefold(): name for name in LEVELS}
        for level in levels:
            if level.casefold() not in by_folded:
                near = did_you_mean(level, LEVELS)
                raise ValueError(f"has {level!r}, but must be of {', '.join(LEVELS)}.{near}")
        if not levels:
            raise ValueError(f"must have one of {', '.join(LEVELS)}")
        return list(dict.fromkeys(by_folded[level.casefold()] for level in levels))


@dataclass(frozen=True)
class LeaderboardRecipe:
    """A checked recipe. ``markets`` holds each market's resolved section; the first rival is buy and hold."""

    name: str
    seed: int
    episodes: int
    levels: tuple[str, ...]
    markets: dict[str, dict[str, Any]]
    split: SplitConfig
    rivals: tuple[Rival, ...]
    notes: tuple[str, ...] = ()


def read(path: Path, sets: Sequence[str] = ()) -> LeaderboardRecipe:
    """The recipe in a YAML file, with ``key=value`` options laid over it.

    Raises:
        RecipeError: the file, a key or a value is wrong; one line for every problem.
    """
    return assemble(read_draft(path), sets)


def assemble(draft: Draft, sets: Sequence[str] = ()) -> LeaderboardRecipe:
    """The recipe in a document; see :func:`read`."""
    document = draft.document
    named(document.get("agents"))
    draft.lay(sets)
    named(document.get("agents"))
    draft.require(SECTIONS, ("name", "markets", "agents"), EXAMPLE)
    head = check(_Head, {key: document[key] for key in HEAD if key in document}, (), draft.problems)
    markets = _markets(draft, head.seed if head else 0)
    split = draft.section("split", SplitConfig)
    rivals = _rivals(draft)
    if draft.problems or head is None or split is None:
        raise draft.error()
    return LeaderboardRecipe(
        name=head.name,
        seed=head.seed,
        episodes=head.episodes,
        levels=tuple(head.levels),
        markets=markets,
        split=split,
        rivals=rivals,
        notes=tuple(draft.notes),
    )


def _markets(draft: Draft, seed: int) -> dict[str, dict[str, Any]]:
    sections = draft.document.get("markets", {})
    if not isinstance(sections, dict) or ("markets" in draft.document and not sections):
        draft.add(("markets",), f"is {sections!r}, but must be a mapping like {{practice: {{source: practice}}}}")
        return {}
    found = {}
    for name, section in sections.items():
        keys = ("markets", str(name))
        if not Draft.is_name(str(name)):
            draft.add(keys, "must be called by letters, digits, - and _, a letter first: its name becomes a file's")
        imply_source(draft, section, keys)
        market = market_section(draft, section, keys, seed)
        if market is not None:
            found[str(name)] = resolved_market(section, market)
    return found


def _rivals(draft: Draft) -> tuple[Rival, ...]:
    items = draft.document.get("agents", [])
    if not isinstance(items, list) or ("agents" in draft.document and not items):
        draft.add(("agents",), "must be a list of at least one agent, such as [hold, momentum, {ppo: {steps: 20000}}]")
        return ()
    found: list[Rival] = []
    for number, item in enumerate(items):
        made = rival(draft, item, ("agents", number))
        if made is None:
            continue
        if made.name in [one.name for one in found]:
            draft.add(("agents", number, "name"), f"is {made.name!r}, as an earlier agent's. Give each its own name")
        elif made.name == REFERENCE and made.settings["agent"] != REFERENCE:
            draft.add(("agents", number, "name"), f"is {made.name!r}, the name of the rule that all are compared with")
        found.append(made)
    others = [one for one in found if one.settings["agent"] != REFERENCE or one.name != REFERENCE]
    # All are compared with it, in all episodes, asked for or not.
    return (rule_rival(REFERENCE), *others)
