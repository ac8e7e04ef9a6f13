"""``--set key=value``: values laid over a recipe's document before it is checked."""

from typing import Any

from tradeschool import yaml_text
from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.yaml_text import Keys


def parse_set(option: str) -> tuple[list[str], Any]:
    """``stages.grpo.steps=3`` as (["stages", "grpo", "steps"], 3); the value is read as YAML.

    Raises:
        RecipeError: there is no ``=``, the key is empty or has an empty part, or the value is not YAML.
    """
    key, equals, text = option.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(
            f"--set {option}: this is not key=value. Write it like --set seed=3 or --set stages.grpo.steps=3."
        )
    try:
        return parts, yaml_text.parse_scalar(text)
    except RecipeError as error:
        raise RecipeError(f"--set {option}: {error}") from error


def lay_over(document: dict[str, Any], parts: list[str], value: Any, option: str) -> Keys:
    """Set one value in the document, making mappings on the way; return its path, list positions as int.

    An entry of a list goes by position (from 0) or by its ``name``. Whether the key is a valid one is
    for the check of the whole recipe to say.

    Raises:
        RecipeError: the path leads into a value that has no keys, or to a list entry that is not there.
    """
    keys: list[str | int] = []
    at: Any = document
    for depth, part in enumerate(parts):
        above = f"--set {option}: {'.'.join(parts[:depth])}"
        if not isinstance(at, dict | list):
            raise RecipeError(f"{above} is {at!r}, which has no keys inside. Set it as a whole.")
        key = _position(at, part, above) if isinstance(at, list) else part
        keys.append(key)
        inside: Any = at
        if depth == len(parts) - 1:
            inside[key] = value
        elif isinstance(inside, dict) and inside.get(key) is None:
            inside[key] = {}
        at = inside[key]
    return tuple(keys)


def _position(items: list[Any], part: str, above: str) -> int:
    if part.isdecimal():
        if int(part) < len(items):
            return int(part)
        raise RecipeError(f"{above} has {len(items)} entries, numbered from 0, so there is no {part}.")
    names = [str(item.get("name", "")) if isinstance(item, dict) else "" for item in items]
    if part in names:
        return names.index(part)
    raise RecipeError(f"{above} has no '{part}'.{did_you_mean(part, names)} There are: {', '.join(names)}.")
