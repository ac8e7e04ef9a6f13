"""A recipe: YAML and ``--set`` options in, checked configuration out."""

import hashlib
import importlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, Field

from tradeschool import yaml_text
from tradeschool.checking import Problem, check, unknown_key
from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.overrides import lay_over, parse_set
from tradeschool.recipe_sections import DeepStockMarket, FilesMarket, SampleMarket, SplitConfig
from tradeschool.tasks import TASKS
from tradeschool.train import STAGES
from tradeschool.yaml_text import Keys

SOURCES = ("practice", "folder", "parquet", "deepstock", "sample")
SECTIONS = ("name", "seed", "market", "split", "task", "model", "stages")
_PLAIN_NAME = r"[A-Za-z][A-Za-z0-9_-]*"


class _Head(BaseModel):
    name: str = Field(pattern=f"^{_PLAIN_NAME}$")
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


@dataclass
class _Draft:
    """A recipe on its way: the document, where each key was written, and what is wrong so far."""

    document: dict[str, Any]
    origin: Callable[[Keys], str]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(path: Path, sets: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file, with ``key=value`` options laid over it.

    Raises:
        RecipeError: the file, a key or a value is wrong; one line for every problem.
    """
    if not path.is_file():
        raise RecipeError(_no_such_recipe(path))
    document, lines = yaml_text.read_mapping(path)
    return _assemble(document, lines, str(path), sets)


def of(document: dict[str, Any], sets: Sequence[str] = (), where: str = "recipe") -> Recipe:
    """The recipe in a mapping, with ``key=value`` options laid over it; ``where`` is named where the mapping is wrong.

    Raises:
        RecipeError: a key or a value is wrong; one line for every problem.
    """
    return _assemble(document, {}, where, sets)


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


def _no_such_recipe(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder. Give a recipe file, such as recipes/demo.yaml."
    nearby = sorted(file.name for folder in (path.parent, Path("recipes")) for file in folder.glob("*.yaml"))
    listed = f" There are: {', '.join(dict.fromkeys(nearby))}." if nearby else ""
    return f"There is no recipe {path}.{did_you_mean(path.name, nearby)}{listed}"


def _assemble(document: dict[str, Any], lines: dict[Keys, int], where: str, sets: Sequence[str]) -> Recipe:
    _name_stages(document)
    given: dict[Keys, str] = {}
    for option in sets:
        given[lay_over(document, *parse_set(option), option)] = f"--set {option}"
    draft = _Draft(document, lambda keys: _written_at(keys, lines, given, where))
    _imply_source(draft, given)
    recipe = _checked(draft)
    if recipe is None:
        raise RecipeError("\n".join(_said(problem, draft) for problem in draft.problems))
    return recipe


def _checked(draft: _Draft) -> Recipe | None:
    document, problems = draft.document, draft.problems
    for key in document:
        if key not in SECTIONS:
            problems.append(Problem((str(key),), unknown_key(str(key), list(SECTIONS))))
    for key in ("name", "task", "model", "stages"):
        if key not in document:
            problems.append(Problem((key,), "is missing. Add it; recipes/demo.yaml shows the shape"))
    head = check(_Head, {key: document[key] for key in ("name", "seed") if key in document}, (), problems)
    seed = head.seed if head else 0
    source, market = _market(draft, seed)
    split = _section(draft, "split", SplitConfig)
    task_class, task = _task(draft)
    model = _section(draft, "model", _imported("tradeschool.models.load").ModelConfig)
    modules, stages = _stages(draft)
    if problems or head is None or market is None or split is None or task is None or model is None:
        return None
    resolved = {
        "name": head.name,
        "seed": head.seed,
        "market": {"source": source, **_plain(market)},
        "split": _plain(split),
        "task": {"name": document["task"]["name"], **_plain(task)},
        "model": _plain(model),
        "stages": [_plain(stage) for stage in stages],
    }
    notes = tuple(draft.notes)
    return Recipe(head.name, seed, source, market, split, task_class, task, model, stages, modules, resolved, notes)


def _market(draft: _Draft, seed: int) -> tuple[str, BaseModel | None]:
    section = draft.document.get("market", {"source": "practice"})
    if not isinstance(section, dict):
        draft.problems.append(Problem(("market",), f"is {section!r}, but must be a mapping like {{source: practice}}"))
        return "", None
    source = section.get("source")
    if source == "practice":
        practice = {"seed": seed, **{key: value for key, value in section.items() if key != "source"}}
        return source, check(
            _imported("tradeschool.market.practice").PracticeConfig, practice, ("market",), draft.problems
        )
    if source in ("folder", "parquet"):
        return source, check(FilesMarket, section, ("market",), draft.problems)
    if source == "deepstock":
        return source, check(DeepStockMarket, section, ("market",), draft.problems)
    if source == "sample":
        return source, check(SampleMarket, section, ("market",), draft.problems)
    text = f"is {source!r}, but must be one of {', '.join(SOURCES)}.{did_you_mean(str(source), SOURCES)}"
    draft.problems.append(Problem(("market", "source"), text))
    return "", None


def _task(draft: _Draft) -> tuple[Any, BaseModel | None]:
    section = draft.document.get("task")
    name = section.get("name") if isinstance(section, dict) else None
    if not isinstance(section, dict) or name not in TASKS:
        text = f"is {name!r}, but must be one of {', '.join(TASKS)}.{did_you_mean(str(name), TASKS)}"
        draft.problems.append(Problem(("task", "name"), text))
        return None, None
    module, _, attribute = TASKS[name].partition(":")
    task_class = getattr(_imported(module), attribute)
    return task_class, _section(draft, "task", task_class.config_class, drop="name")


def _stages(draft: _Draft) -> tuple[tuple[ModuleType, ...], tuple[Any, ...]]:
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
        if stage is not None and not re.fullmatch(_PLAIN_NAME, stage.name):
            problems.append(
                Problem((*keys, "name"), f"is {stage.name!r}, but must be letters, digits, - and _, a letter first")
            )
        elif stage is not None and stage.name in [other.name for other in stages[:-1] if other]:
            problems.append(
                Problem((*keys, "name"), f"is {stage.name!r}, as an earlier stage's. Give each its own name")
            )
    return tuple(modules), tuple(stages)


def _section(draft: _Draft, name: str, cls: type[BaseModel], drop: str = "") -> Any:
    section = draft.document.get(name, {})
    if isinstance(section, dict) and drop not in cls.model_fields:
        section = {key: value for key, value in section.items() if key != drop}
    return check(cls, section, (name,), draft.problems)


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


def _imply_source(draft: _Draft, given: dict[Keys, str]) -> None:
    """``market.path`` says by what it holds which source it is; the practice market's own dials then don't apply."""
    market = draft.document.get("market")
    if not isinstance(market, dict):
        return
    path, by_option = market.get("path"), ("market", "path") in given
    if path is not None and ("market", "source") not in given and (by_option or "source" not in market):
        market["source"] = _source_of(Path(str(path)).expanduser())
        cls = DeepStockMarket if market["source"] == "deepstock" else FilesMarket
        unused = [key for key in market if key not in cls.model_fields and ("market", key) not in given]
        for key in unused if by_option else []:
            del market[key]
        if by_option:
            left = f"; not used there: {', '.join(f'market.{key}' for key in unused)}" if unused else ""
            draft.notes.append(f"market.path is given, so market.source is {market['source']}{left}")
    market.setdefault("source", "practice")
    if isinstance(path, str):
        market["path"] = str(Path(path).expanduser().absolute())


def _source_of(path: Path) -> str:
    if not path.exists():
        raise RecipeError(
            f"market.path: {path} does not exist. Give a folder of CSV files, or of parquet, or a parquet file."
        )
    if path.is_file() and _imported("tradeschool.market.notes.deepstock").holds_rows(path):
        return "deepstock"
    if path.suffix.casefold() == ".jsonl":
        raise RecipeError(
            f"market.path: {path} holds no prices: its rows have no company_info, as DeepStock's have. Give a file "
            "of notes as market.notes, beside market.path."
        )
    files = [path] if path.is_file() else list(path.iterdir())
    found = {file.suffix.lower() for file in files} & {".csv", ".parquet"}
    if len(found) != 1:
        held = "both CSV and parquet files" if found else "no CSV and no parquet file"
        raise RecipeError(
            f"market.path: {path} holds {held}. Give market.source=folder or market.source=parquet as well."
        )
    return "parquet" if found == {".parquet"} else "folder"


def _said(problem: Problem, draft: _Draft) -> str:
    text = problem.text if problem.text.startswith(("is ", "must ", "has ")) else f": {problem.text}"
    key = _dotted(problem.keys, draft.document)
    # Some checks of the sections name their own key.
    line = text[2:] if text.startswith(f": {key}") else f"{key}{'' if text.startswith(':') else ' '}{text}"
    return f"{draft.origin(problem.keys)}: {line.rstrip('.')}."


def _written_at(keys: Keys, lines: dict[Keys, int], given: dict[Keys, str], where: str) -> str:
    for length in range(len(keys), 0, -1):
        if keys[:length] in given:
            return given[keys[:length]]
        if keys[:length] in lines:
            return f"{where}, line {lines[keys[:length]]}"
        for option_keys, option in given.items():
            if option_keys[:length] == keys[:length]:
                return option
    return where


def _dotted(keys: Keys, document: dict[str, Any]) -> str:
    """The path as ``--set`` takes it: stages by name."""
    words = [str(key) for key in keys]
    if len(keys) > 1 and keys[0] == "stages" and isinstance(keys[1], int):
        stage = document["stages"][keys[1]]
        words[1] = str(stage.get("name", keys[1])) if isinstance(stage, dict) else words[1]
    return ".".join(words)


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _imported(name: str) -> Any:
    return importlib.import_module(name)
