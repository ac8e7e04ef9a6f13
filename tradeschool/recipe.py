"""A recipe: YAML and ``--set`` options in, checked configuration out."""

import hashlib
import importlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, Field

from tradeschool.checking import Problem, check
from tradeschool.errors import did_you_mean
from tradeschool.recipe_document import NAME, Draft, read_draft
from tradeschool.recipe_market import imply_source, market_section, resolved_market
from tradeschool.recipe_sections import SplitConfig
from tradeschool.tasks import TASKS
from tradeschool.train import STAGES
from tradeschool.yaml_text import Keys

SECTIONS = ("name", "seed", "market", "split", "task", "model", "stages")


class _Head(BaseModel):
    name: str = Field(pattern=f"^{NAME}$")
    seed: int = Field(default=0, ge=0, lt=2**32)


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. ``resolved`` is the same as plain data with every default written out.

    ``modules`` holds each stage's module, in order. ``notes`` are lines to show before the run.
    """

    name: str
    seed: int
    source: str
    market: BaseModel
    split: SplitConfig
    task_class: Any
    task: BaseModel
    model: BaseModel
    stages: tuple[Any, ...]
    modules: tuple[ModuleType, ...]
    resolved: dict[str, Any]
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """Sixteen hex digits over the resolved recipe."""
        return hashlib.sha256(json.dumps(self.resolved, sort_keys=True).encode()).hexdigest()[:16]


def read(path: Path, sets: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file, with ``key=value`` options laid over it.

    Raises:
        RecipeError: the file, a key or a value is wrong; one line for every problem.
    """
    return _assemble(read_draft(path), sets)


def of(document: dict[str, Any], sets: Sequence[str] = (), where: str = "recipe") -> Recipe:
    """The recipe in a mapping, with ``key=value`` options laid over it; ``where`` is named where the mapping is wrong.

    Raises:
        RecipeError: a key or a value is wrong; one line for every problem.
    """
    return _assemble(Draft(document, {}, where), sets)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """A line ``key: old -> new`` for every key in which two resolved recipes differ; stages go by name."""
    before, after = dict(_flat(old)), dict(_flat(new))
    changed = [key for key in {**before, **after} if before.get(key, _ABSENT) != after.get(key, _ABSENT)]
    orders = [json.dumps([stage["name"] for stage in recipe["stages"]]) for recipe in (old, new)]
    if orders[0] != orders[1]:
        before["stages"], after["stages"] = orders
        changed.insert(0, "stages")
    return [f"{key}: {before.get(key, _ABSENT)} -> {after.get(key, _ABSENT)}" for key in changed]


_ABSENT = "(absent)"


def _flat(value: Any, keys: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        items = {item.get("name", index): item for index, item in enumerate(value)}.items()
    else:
        yield keys, json.dumps(value, sort_keys=True)
        return
    for key, below in items:
        yield from _flat(below, f"{keys}.{key}" if keys else str(key))


def _assemble(draft: Draft, sets: Sequence[str]) -> Recipe:
    _name_stages(draft.document)
    draft.lay(sets)
    imply_source(draft, draft.document.get("market"), ("market",))
    recipe = _checked(draft)
    if recipe is None:
        raise draft.error()
    return recipe


def _checked(draft: Draft) -> Recipe | None:
    document, problems = draft.document, draft.problems
    draft.require(SECTIONS, ("name", "task", "model", "stages"), "recipes/demo.yaml")
    head = check(_Head, {key: document[key] for key in ("name", "seed") if key in document}, (), problems)
    seed = head.seed if head else 0
    section = document.get("market", {"source": "practice"})
    market = market_section(draft, section, ("market",), seed)
    split = draft.section("split", SplitConfig)
    task_class, task = _task(draft)
    model = draft.section("model", _imported("tradeschool.models.load").ModelConfig)
    modules, stages = _stages(draft)
    if problems or head is None or market is None or split is None or task is None or model is None:
        return None
    resolved = {
        "name": head.name,
        "seed": head.seed,
        "market": resolved_market(section, market),
        "split": _plain(split),
        "task": {"name": document["task"]["name"], **_plain(task)},
        "model": _plain(model),
        "stages": [_plain(stage) for stage in stages],
    }
    notes = tuple(draft.notes)
    source = section["source"]
    return Recipe(head.name, seed, source, market, split, task_class, task, model, stages, modules, resolved, notes)


def _task(draft: Draft) -> tuple[Any, BaseModel | None]:
    section = draft.document.get("task")
    name = section.get("name") if isinstance(section, dict) else None
    if not isinstance(section, dict) or name not in TASKS:
        text = f"is {name!r}, but must be one of {', '.join(TASKS)}.{did_you_mean(str(name), TASKS)}"
        draft.problems.append(Problem(("task", "name"), text))
        return None, None
    module, _, attribute = TASKS[name].partition(":")
    task_class = getattr(_imported(module), attribute)
    return task_class, draft.section("task", task_class.config_class, drop="name")


def _stages(draft: Draft) -> tuple[tuple[ModuleType, ...], tuple[Any, ...]]:
    section, problems = draft.document.get("stages", []), draft.problems
    if not isinstance(section, list) or not section:
        problems.append(Problem(("stages",), "must be a list of at least one stage, each like {stage: sft}"))
        return (), ()
    modules, stages = [], []
    for index, given in enumerate(section):
        keys: Keys = ("stages", index)
        kind = given.get("stage") if isinstance(given, dict) else None
        if kind not in STAGES:
            text = f"is {kind!r}, but must be one of {', '.join(STAGES)}.{did_you_mean(str(kind), STAGES)}"
            problems.append(Problem((*keys, "stage"), text))
            continue
        module = _imported(STAGES[kind])
        stage = check(module.Config, given, keys, problems)
        modules.append(module)
        stages.append(stage)
        if stage is not None and not re.fullmatch(NAME, stage.name):
            problems.append(
                Problem((*keys, "name"), f"is {stage.name!r}, but must be letters, digits, - and _, a letter first")
            )
        elif stage is not None and stage.name in [other.name for other in stages[:-1] if other]:
            problems.append(
                Problem((*keys, "name"), f"is {stage.name!r}, as an earlier stage's. Give each its own name")
            )
    return tuple(modules), tuple(stages)


def _name_stages(document: dict[str, Any]) -> None:
    """A stage without a name gets its kind's; a second one of the kind gets a number (``grpo-2``)."""
    stages = document.get("stages")
    given = [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    taken = [stage["name"] for stage in given if stage.get("name")]
    for stage in given:
        if not stage.get("name"):
            kind, number = str(stage.get("stage")), 2
            name = kind
            while name in taken:
                name, number = f"{kind}-{number}", number + 1
            stage["name"] = name
            taken.append(name)


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _imported(name: str) -> Any:
    return importlib.import_module(name)
