"""What a recipe hands verbatim to a library's class: no key that it lacks, and no word that it takes for another."""

import dataclasses
import importlib
import inspect
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, get_args, get_origin

from tradeschool.errors import did_you_mean

WORDS = ("no", "off", "yes", "on")
"""Texts here and in YAML 1.2, truth values in YAML 1.1: to Python every text but the empty one is true."""
_UNSAID = object()
"""The type of a mapping's values where the library does not say it."""


def faults(given: Mapping[str, Any], target: Any) -> Iterator[tuple[str, str]]:
    """The keys of ``given`` that a library's class cannot be handed as they are, dotted where nested, and why.

    ``target`` is the class, or where it is ("trl:GRPOConfig"). Refused are keys that are none of its fields, a text
    where it takes nothing but true or false, and ``no``, ``off``, ``yes`` and ``on`` in a mapping that it passes on
    without saying of what type its values are. A text that a field takes (``save_strategy: no``) is let through.
    """
    if isinstance(target, str):
        module, _, name = target.partition(":")
        target = getattr(importlib.import_module(module), name)
    fields = _fields(target)
    for key, value in given.items():
        if key not in fields:
            yield str(key), _unknown(str(key), list(fields), target)
        else:
            yield from _untrue(str(key), value, fields[key])


def _fields(target: Any) -> dict[str, Any]:
    """Fields of a dataclass, or arguments that have a default (the others are given by us), with their types."""
    if dataclasses.is_dataclass(target):
        return {field.name: field.type for field in dataclasses.fields(target)}
    arguments = inspect.signature(target).parameters.values()
    return {
        one.name: one.annotation for one in arguments if one.default is not one.empty and not one.name.startswith("_")
    }


def _unknown(key: str, valid: list[str], target: Any) -> str:
    library = target.__module__.partition(".")[0]
    return (
        f"'{key}' is not a field of {target.__name__}.{did_you_mean(key, valid)} "
        f"Valid keys are the fields of {library}.{target.__name__}: {', '.join(sorted(valid))}."
    )


def _untrue(key: str, value: Any, kind: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _untrue(f"{key}.{name}", below, _of_values(kind))
    elif isinstance(value, str) and (_is_truth(kind) or (kind is _UNSAID and value.casefold() in WORDS)):
        yield key, f"is {value!r}, a text, which would count as true. Write true or false."


def _is_truth(kind: Any) -> bool:
    """``bool``, or ``bool | None``."""
    return kind is bool or (bool in get_args(kind) and set(get_args(kind)) <= {bool, NoneType})


def _of_values(kind: Any) -> Any:
    """The type of the values of a mapping of type ``kind``, which may be one among others."""
    said = [get_args(one)[1] for one in (kind, *get_args(kind)) if get_origin(one) is dict]
    return said[0] if said and said[0] is not Any else _UNSAID
