"""A mapping checked by a pydantic class, with every problem said in one plain line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tradeschool.errors import TradeschoolError, did_you_mean
from tradeschool.yaml_text import Keys

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """What is wrong at ``keys`` (a path into the recipe), and what would be right."""

    keys: Keys
    text: str


def check(cls: type[Model], value: Any, keys: Keys, problems: list[Problem]) -> Model | None:
    """``value`` as an instance of ``cls``; None where something is wrong, with the problems added to the list.

    Unknown keys are refused at every depth, whatever ``cls`` and the classes inside it say about extra fields.
    """
    if not isinstance(value, Mapping):
        problems.append(Problem(keys, f"{value!r} is given where a mapping of {', '.join(cls.model_fields)} belongs"))
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


def unknown_key(key: str, valid: list[str]) -> str:
    """The text of a refused key: did-you-mean and the list of valid ones."""
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
    for limit, words in _LIMITS.items():
        if kind == limit:
            return f"is {given!r}, but must be {words} {context[_LIMIT_KEYS[limit]]}"
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
    "greater_than": "greater than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}
_LIMIT_KEYS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}


def _unknown(cls: type[BaseModel], value: Mapping[Any, Any], keys: Keys) -> Iterator[Problem]:
    fields = {field.alias or name: field for name, field in cls.model_fields.items()}
    for key, below in value.items():
        if key not in fields:
            yield Problem((*keys, str(key)), unknown_key(str(key), list(fields)))
            continue
        inner = list(_models(fields[key].annotation))
        items = enumerate(below) if isinstance(below, list) else [(None, below)]
        for index, item in items:
            if len(inner) == 1 and isinstance(item, Mapping):
                yield from _unknown(inner[0], item, (*keys, key) if index is None else (*keys, key, index))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic classes in an annotation like ``list[Model] | None``; a dict's values are free-form."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) not in (dict, Literal):
        for argument in get_args(annotation):
            yield from _models(argument)


def _real_keys(location: tuple[str | int, ...], value: Any) -> Keys:
    """Pydantic's location without the entries, like the name of a union's member, that are no keys of the recipe."""
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
