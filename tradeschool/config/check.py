"""Check what a recipe holds: values for a pydantic class, options for a library's class, classes of the user's own.

Each problem is one plain line.
"""

import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tradeschool.errors import RecipeError, TradeschoolError, did_you_mean

Keys = tuple[str | int, ...]
"""A path into a document: mapping keys and list positions."""
Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")
WORDS = ("no", "off", "yes", "on")
"""Strings in YAML 1.2, truth values in YAML 1.1. To Python every string but the empty one is true."""
_COUNTS_AS_TRUE = "a text, which would count as true. Write true or false."
_CLASS_PATH = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"


@dataclass(frozen=True)
class Problem:
    """What is wrong at ``keys`` (a path into the recipe), and how to correct it."""

    keys: Keys
    text: str


def check(cls: type[Model], value: Any, keys: Keys, problems: list[Problem]) -> Model | None:
    """Validate ``value``: an instance of ``cls``, or None with problems appended to the list.

    Unknown keys are refused at every depth, except inside of a field whose class allows extra keys.
    """
    if not isinstance(value, Mapping):
        problems.append(Problem(keys, f"is {value!r}, but must be a mapping of {', '.join(cls.model_fields)}"))
        return None
    unknown = list(_unknown(cls, value, keys))
    problems.extend(unknown)
    refused = {problem.keys for problem in unknown}
    try:
        checked = cls.model_validate(value)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            problem = Problem(keys + _real_keys(details["loc"], value), plain(details))
            if problem.keys not in refused and problem not in problems:
                problems.append(problem)
        return None
    except TradeschoolError as error:
        problems.append(Problem(keys, str(error)))
        return None
    return None if unknown else checked


def known_names(what: str, options: Collection[str]) -> Callable[[T], T]:
    """A validator of names, or of a mapping by name, that must be among ``options``; ``what`` is what they are."""

    def check_names(names: T) -> T:
        for name in cast(Iterable[Any], names):
            if name not in options:
                near = did_you_mean(str(name), options)
                raise ValueError(f"has {name!r}, but {what} are {', '.join(options)}.{near}")
        return names

    return check_names


def unknown_key(key: str, valid: list[str]) -> str:
    """The text for an unknown key: did-you-mean and the valid keys."""
    return f"'{key}' is not a key here.{did_you_mean(key, valid)} Valid keys: {', '.join(sorted(valid)) or 'none'}"


def plain(details: Any) -> str:
    """One of pydantic's error entries in plain words."""
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "missing":
        return "is missing. Add it"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("literal_error", "enum"):
        options = [option.strip("'") for option in context["expected"].replace(" or ", ", ").split(", ")]
        return f"is {given!r}, but must be one of {', '.join(options)}.{did_you_mean(str(given), options)}"
    for prefix, wanted in _WANTED.items():
        if kind.startswith(prefix):
            return f"is {given!r}, but must be {wanted}"
    for limit, (words, key) in _LIMITS.items():
        if kind == limit:
            return f"is {given!r}, but must be {words} {context[key]}"
    return f"is {given!r}: {details['msg']}"


_WANTED = {
    "int_": "a whole number",
    "float_": "a number",
    "finite_number": "a finite number",
    "bool_": "true or false",
    "string_type": "text (put it in quotes)",
    "date_": "a date like 2015-01-31",
    "list_type": "a list like [a, b]",
    "tuple_type": "a list like [a, b]",
    "dict_type": "a mapping of keys and values",
    "model_type": "a mapping of keys and values",
    "path_type": "a path",
}
_LIMITS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _unknown(cls: type[BaseModel], value: Mapping[Any, Any], keys: Keys) -> Iterator[Problem]:
    fields = {field.alias or name: field for name, field in cls.model_fields.items()}
    for key, below in value.items():
        if key not in fields:
            yield Problem((*keys, str(key)), unknown_key(str(key), list(fields)))
            continue
        inner = list(_models(fields[key].annotation))
        items = enumerate(below) if isinstance(below, list) else [(None, below)]
        for index, item in items:
            if len(inner) == 1 and isinstance(item, Mapping) and inner[0].model_config.get("extra") != "allow":
                yield from _unknown(inner[0], item, (*keys, key) if index is None else (*keys, key, index))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic classes in an annotation like ``list[Model] | None``; a dict's values may be anything."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) not in (dict, Literal):
        for argument in get_args(annotation):
            yield from _models(argument)


def _real_keys(location: tuple[str | int, ...], value: Any) -> Keys:
    """Pydantic's location without entries that are not keys of the recipe, such as the name of a union's member."""
    kept: list[str | int] = []
    for position, key in enumerate(location):
        if isinstance(value, Mapping) and (key in value or position == len(location) - 1):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            continue
        kept.append(key)
    return tuple(kept)


# options of a library's class ---------------------------------------------------------------------


def faults(given: Mapping[str, Any], target: Any) -> Iterator[tuple[str, str]]:
    """Find keys that a library's class does not have, and strings where it takes only true or false.

    ``target`` is the class, or its location ("trl:GRPOConfig"). Yields the key and the reason.
    """
    if isinstance(target, str):
        target = _imported(target)
    fields = _fields(target)
    for key, value in given.items():
        if key not in fields:
            library = target.__module__.partition(".")[0]
            yield (
                str(key),
                f"'{key}' is not a field of {target.__name__}.{did_you_mean(str(key), fields)} "
                f"The documentation of {library}.{target.__name__} lists the fields.",
            )
        elif isinstance(value, str) and bool in (kinds := {fields[key], *get_args(fields[key])}) and str not in kinds:
            yield str(key), f"is {value!r}, {_COUNTS_AS_TRUE}"
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                if isinstance(inner, str) and inner.casefold() in WORDS:
                    yield f"{key}.{name}", f"is {inner!r}, {_COUNTS_AS_TRUE}"


def _imported(target: str) -> Any:
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise RecipeError(f"{module} is not installed. Install it: pip install {module.replace('_', '-')}") from error


def _fields(target: Any) -> dict[str, Any]:
    """Fields of a dataclass, or arguments with a default (the others are set by us), with their types."""
    if dataclasses.is_dataclass(target):
        return {field.name: field.type for field in dataclasses.fields(target)}
    arguments = inspect.signature(target).parameters.values()
    return {
        one.name: one.annotation for one in arguments if one.default is not one.empty and not one.name.startswith("_")
    }


# classes of the user's own ------------------------------------------------------------------------


def is_class_path(name: object) -> bool:
    """Whether ``name`` has the form ``package.module:Class``."""
    return isinstance(name, str) and re.fullmatch(_CLASS_PATH, name) is not None


def load_class(name: str, base: type[T], key: str) -> type[T]:
    """Import a class from the working folder or from ``sys.path``.

    Args:
        name: ``package.module:Class``.
        base: the class that it must be derived from.
        key: the recipe key that names it, for the RecipeError.
    """
    if not is_class_path(name):
        raise RecipeError(f"{key} is {name!r}, but must have the form package.module:Class.")
    module_name, _, attribute = name.partition(":")
    working_folder = str(Path.cwd())
    if working_folder not in sys.path:
        sys.path.insert(0, working_folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise RecipeError(
                f"{key}: there is no module '{module_name}' in {working_folder} or on PYTHONPATH. Run from the folder "
                f"that holds {module_name.partition('.')[0]}, or install the package."
            ) from error
        raise RecipeError(f"{key}: importing '{module_name}' failed: {error}. Install what it needs.") from error
    except Exception as error:
        raise RecipeError(f"{key}: importing '{module_name}' failed: {type(error).__name__}: {error}.") from error
    found = getattr(module, attribute, None)
    if found is None:
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise RecipeError(f"{key}: module '{module_name}' has no '{attribute}'.{did_you_mean(attribute, classes)}")
    if not isinstance(found, type) or not issubclass(found, base):
        raise RecipeError(f"{key}: {name} is not a subclass of {base.__module__}.{base.__qualname__}.")
    return found
