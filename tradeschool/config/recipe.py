"""A recipe: YAML and ``--set`` options in, checked configuration out."""

import copy
import hashlib
import importlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, field_validator
from rich.console import Console

from tradeschool.config.check import check, is_class_path, load_class
from tradeschool.config.document import NAME, Draft, read_draft
from tradeschool.config.model_defaults import base_of, lay_model_defaults
from tradeschool.config.sections import SplitConfig, load_market, market_section, split_panel
from tradeschool.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from tradeschool.market.panel import Panel
    from tradeschool.market.splits import Split
    from tradeschool.models.load import ModelConfig
    from tradeschool.tasks.base import Task

# Task name -> "module:class", imported only when a recipe asks for it.
TASKS: dict[str, str] = {
    "rating": "tradeschool.tasks.rating:RatingTask",
    "direction": "tradeschool.tasks.direction:DirectionTask",
    "trade": "tradeschool.tasks.trade:TradeTask",
    "forecast": "tradeschool.tasks.forecast:ForecastTask",
    "thesis": "tradeschool.tasks.thesis:ThesisTask",
}
# Stage -> module, imported only when a recipe asks for it. None of them imports torch at its top.
STAGES: dict[str, str] = {
    "sft": "tradeschool.train.sft",
    "grpo": "tradeschool.train.grpo",
    "ppo": "tradeschool.train.ppo",
    "reject": "tradeschool.train.reject",
    "teach": "tradeschool.train.teach",
    "evaluate": "tradeschool.evaluate.stage",
    "leaderboard": "tradeschool.evaluate.leaderboard.stage",
}
SECTIONS = ("name", "seed", "market", "split", "task", "model", "stages")
NAME_RULE = "must be at most 64 letters, digits, - and _, a letter first"
"""Names of recipes and stages become names of folders."""


class _Head(BaseModel):
    name: str
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(NAME, name):
            raise ValueError(f"is {name!r}, but {NAME_RULE}")
        return name


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    ``modules`` holds each stage's module, in order. ``resolved`` is the recipe as plain data with all defaults.
    ``notes`` are lines to print before the run.
    """

    name: str
    seed: int
    split: SplitConfig
    task_class: Any
    task: BaseModel
    model: "ModelConfig"
    stages: tuple[Any, ...]
    modules: tuple[ModuleType, ...]
    resolved: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The market's source, such as "synthetic"."""
        return str(self.resolved["market"]["source"])

    def digest(self) -> str:
        """Sixteen hex digits of a hash of the resolved recipe."""
        return hashlib.sha256(json.dumps(self.resolved, sort_keys=True).encode()).hexdigest()[:16]


def read(path: Path, sets: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a YAML file, with ``key=value`` options laid over it.

    A RecipeError has one line for each problem of the file, a key or a value.
    """
    return _assemble(read_draft(path, "run"), sets)


def from_mapping(document: dict[str, Any], sets: Sequence[str] = (), where: str = "recipe") -> Recipe:
    """As :func:`read`, from a mapping, which is changed in place. Error messages call it ``where``."""
    return _assemble(Draft(document, {}, where), sets)


def read_any(recipe: str | Path | Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    """Read a recipe from a YAML file or a mapping, with values changed by dotted key."""
    # JSON is YAML.
    sets = [f"{key}={json.dumps(value, default=str)}" for key, value in overrides.items()]
    if isinstance(recipe, Mapping):
        return from_mapping(json.loads(json.dumps(recipe, default=str)), sets)
    return read(Path(recipe), sets)


def load_panel(recipe: Recipe, console: Console) -> "Panel":
    """Load the market of a recipe; repairs and warnings are noted in a line."""
    return load_market(recipe.resolved["market"], console, masked=getattr(recipe.task, "mask", False))


def make_task(recipe: Recipe, panel: "Panel") -> "Task":
    """The task of a recipe on a panel, with the dates split in time; a RecipeError if it cannot read the market."""
    if panel.given is not None and not getattr(recipe.task_class, "reads_windows", False):
        raise RecipeError(
            "market.source is windows, whose files hold scaled closes and no prices. Only the task 'forecast' reads "
            "them. Give a folder of prices for other tasks."
        )
    task: Task = recipe.task_class(recipe.task, panel, split_for(recipe, panel))
    if panel.given is None:
        _refuse_longer_outcomes(recipe, task)
    return task


def _refuse_longer_outcomes(recipe: Recipe, task: "Task") -> None:
    """A RecipeError if the outcomes of a task reach across the embargo, because it has not said so before the split."""
    from tradeschool.market.labels import LONGEST_LABEL_HORIZON

    embargo = recipe.split.embargo
    covered = embargo - 1 if isinstance(embargo, int) else max([LONGEST_LABEL_HORIZON, *_horizons(recipe)])
    if task.horizon > covered:
        raise RecipeError(
            f"The outcomes of the task '{task.name}' look {task.horizon} days ahead (its horizon), but the embargo "
            f"between the parts of the split covers {covered}. Set horizon as an attribute of the class, or give the "
            f"task's config a field horizons: the embargo follows both. Or set split.embargo={task.horizon + 1}."
        )


def split_for(recipe: Recipe, panel: "Panel") -> "Split":
    """The rows of a recipe's parts on a panel; a RecipeError if the embargo is shorter than the rewards' horizon."""
    if panel.given is not None:
        from tradeschool.market.splits import given_split

        return given_split(panel)
    return split_panel(recipe.split, panel, _horizons(recipe))


def _horizons(recipe: Recipe) -> list[int]:
    """How many days ahead rewards look: the field ``horizons`` of the task's keys, and the class's ``horizon``."""
    return [*getattr(recipe.task, "horizons", []), recipe.task_class.horizon]


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """A line ``key: old -> new`` for each key in which two resolved recipes differ; stages are matched by name."""
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
    base = base_of(draft.document)
    draft.lay(sets)
    _name_stages(draft.document)  # an option may have replaced the list
    lay_model_defaults(draft, base)
    return _checked(draft)


def _checked(draft: Draft) -> Recipe:
    document, problems = draft.document, draft.problems
    draft.require(SECTIONS, ("name", "task", "model", "stages"), "recipes/demo.yaml")
    head = check(_Head, {key: document[key] for key in ("name", "seed") if key in document}, (), problems)
    market = market_section(draft, document.get("market", {}), ("market",))
    split = draft.section("split", SplitConfig)
    task_class, task = _task(draft)
    model = draft.section("model", importlib.import_module("tradeschool.models.load").ModelConfig)
    modules, stages = _stages(draft)
    if problems or head is None or market is None or split is None or task is None or model is None:
        raise draft.error()
    resolved = {
        "name": head.name,
        "seed": head.seed,
        "market": market,
        "split": _plain(split),
        "task": {"name": document["task"]["name"]} | {k: v for k, v in _plain(task).items() if k != "name"},
        "model": _plain(model),
        "stages": [_plain(stage) for stage in stages],
    }
    return Recipe(head.name, head.seed, split, task_class, task, model, stages, modules, resolved, tuple(draft.notes))


def _task(draft: Draft) -> tuple[Any, BaseModel | None]:
    section = draft.document.get("task")
    name = section.get("name") if isinstance(section, dict) else None
    try:
        task_class = _task_class(name)
    except RecipeError as error:
        draft.add(("task", "name"), str(error))
        return None, None
    return task_class, draft.section("task", task_class.config_class, drop="name")


def _task_class(name: Any) -> Any:
    """One of our tasks by its name, or the user's own by ``package.module:Class``."""
    if name in TASKS:
        module, _, attribute = TASKS[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    if not is_class_path(name):
        known = ", ".join(TASKS)
        raise RecipeError(
            f"is {name!r}, but must be one of {known}, or your own as my_package.my_module:MyTask."
            f"{did_you_mean(str(name), TASKS)}"
        )
    from tradeschool.tasks.base import Task

    found: Any = load_class(name, Task, "task.name")
    config_class = getattr(found, "config_class", None)
    if not isinstance(config_class, type) or not issubclass(config_class, BaseModel):
        raise RecipeError(
            f"task.name: {name} has no config_class. Add 'config_class = MyConfig', a pydantic model of its keys."
        )
    return found


def _stages(draft: Draft) -> tuple[tuple[ModuleType, ...], tuple[Any, ...]]:
    section = draft.document.get("stages", [])
    if not isinstance(section, list) or not section:
        draft.add(("stages",), "must be a list of at least one stage, each like {stage: sft}")
        return (), ()
    modules: list[ModuleType] = []
    stages: list[Any] = []
    for index, given in enumerate(section):
        kind = given.get("stage") if isinstance(given, dict) else None
        if kind not in STAGES:
            text = f"is {kind!r}, but must be one of {', '.join(STAGES)}.{did_you_mean(str(kind), STAGES)}"
            draft.add(("stages", index, "stage"), text)
            continue
        module = importlib.import_module(STAGES[kind])
        stage = check(module.Config, given, ("stages", index), draft.problems)
        if stage is not None:
            earlier = {other.name: makes(before) for before, other in zip(modules, stages, strict=True)}
            _check_name(draft, index, stage.name, list(earlier))
            _check_references(draft, index, stage, module, earlier)
            modules.append(module)
            stages.append(stage)
    return tuple(modules), tuple(stages)


def check_stage(module: ModuleType, given: dict[str, Any]) -> Any:
    """The config of one stage outside a recipe; a RecipeError if a key or a value is wrong."""
    draft = Draft({"stages": [given]}, {}, given["stage"])
    config = check(module.Config, given, ("stages", 0), draft.problems)
    if config is None:
        raise draft.error()
    return config


def makes(module: ModuleType) -> str:
    """The kind of model that a stage makes: "language" or "numeric"; empty for a stage that makes none."""
    return getattr(module, "MAKES", "")


def _check_name(draft: Draft, index: int, name: str, earlier: Sequence[str]) -> None:
    keys = ("stages", index, "name")
    if not re.fullmatch(NAME, name):
        draft.add(keys, f"is {name!r}, but {NAME_RULE}")
    elif name.casefold() in [other.casefold() for other in earlier]:
        draft.add(keys, f"is {name!r}, the name of an earlier stage (case does not count). Give each its own name")
    elif name.casefold() == "base":
        draft.add(keys, f"is {name!r}, which means the model that the run starts from. Choose another name")


def _check_references(draft: Draft, index: int, stage: Any, module: ModuleType, earlier: dict[str, str]) -> None:
    """Refuse ``model:`` and ``models:`` that name no earlier stage which makes a model of a suitable kind."""
    if any(problem.keys[:1] == ("stages",) for problem in draft.problems):
        return  # an earlier stage may be missing here only because it is wrong itself
    made = [name for name, kind in earlier.items() if kind in getattr(module, "READS", ("language",))]
    for key, options in (("model", ["base", *made]), ("models", made)):
        given = getattr(stage, key, None)
        for name in [given] if isinstance(given, str) else given if isinstance(given, list) else []:
            if name not in options:
                draft.add(
                    ("stages", index, key),
                    f"is '{name}', but no stage of that name before this one makes a model."
                    f"{did_you_mean(str(name), options)} Choose from: {', '.join(options) or 'none'}",
                )


def _name_stages(document: dict[str, Any]) -> None:
    """Name stages without a name after their kind; the second of a kind gets a number (``grpo-2``)."""
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


# a recipe made for prices or for a word -----------------------------------------------------------


WORDS = ("sample", "synthetic")
MARKET_FILES = (".csv", ".parquet", ".jsonl")
"""Endings of files of prices; DeepStock's may end in .jsonl."""
_SYNTHETIC: dict[str, Any] = {
    "market": {"edge": 0.4, "tickers": 40, "days": 1500},
    "split": {"train": 0.7, "validation": 0.08, "test": 0.22, "warmup": 60},
    "task": {
        "name": "rating", "facts": ["market", "strength", "rsi", "news"], "horizons": [1, 3, 5],
        "hindsight_share": 0.25,
    },
}  # fmt: skip
"""What recipes/demo.yaml says of market, split and task: the defaults for the synthetic market."""
_STOCKS: dict[str, Any] = {
    "market": {},
    "split": {"train": 0.62, "validation": 0.1, "test": 0.28, "warmup": 260},
    "task": {
        "name": "rating", "facts": ["strength", "trend", "rsi", "macd", "bollinger", "volume"], "horizons": [5],
        "risk_aversion": 0.02, "eval_score": ["profit"],
    },
}  # fmt: skip
"""As recipes/stocks.yaml: the defaults for real prices."""


def recipe_from_source(source: str, sets: Sequence[str] = (), split: dict[str, float] | None = None) -> Recipe:
    """Read a recipe file, or make a rating recipe for prices or one of the words ``sample`` and ``synthetic``.

    A recipe made here has the market, split and task of recipes/stocks.yaml, or of recipes/demo.yaml for the synthetic
    market, so that what is prepared or described is what these train on.

    Args:
        source: a .yaml file, a file or folder of prices, or a word.
        sets: ``--set`` overrides.
        split: the split of a recipe made here, unless ``sets`` changes it.

    Raises:
        RecipeError: the recipe is wrong, or the prices do not exist.
    """
    if Path(source).suffix.casefold() in (".yaml", ".yml"):
        return read(Path(source), sets)
    if source not in WORDS and not Path(source).expanduser().exists():
        near = did_you_mean(source, [*WORDS, *(entry.name for entry in Path().iterdir())])
        raise RecipeError(
            f"{source} does not exist.{near} Give a recipe (.yaml), a file or folder of prices, or one of: "
            f"{', '.join(WORDS)}."
        )
    path = Path(source).expanduser()
    if source not in WORDS and path.is_file() and path.suffix.casefold() not in MARKET_FILES:
        raise RecipeError(f"{source} is not a recipe, .csv or .parquet file.")
    document = copy.deepcopy(_SYNTHETIC if source == "synthetic" else _STOCKS)
    document["market"] |= {"source": source} if source in WORDS else {"path": source}
    document["split"] = split or document["split"]
    document |= {"name": "overview", "model": {"base": "tiny"}, "stages": [{"stage": "evaluate"}]}
    return from_mapping(document, sets, source)
