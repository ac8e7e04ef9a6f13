"""YAML in and out: numbers and words as YAML 1.2 reads them, no key twice, and the line of every key."""

import re
from pathlib import Path
from typing import Any

import yaml

from tradeschool.errors import RecipeError

Keys = tuple[str | int, ...]

# YAML 1.1, PyYAML's default, reads 1e-3 as text and the tickers NO and ON as booleans. 0700 is a ticker, so text.
_SCALARS: tuple[tuple[str, str, str], ...] = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("timestamp", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("merge", r"<<", "<"),
)


class _Loader(yaml.SafeLoader):
    """Safe loading with the scalars above; a key given twice is refused instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key.value}' is given twice (first in line {seen[key.value]})", key.start_mark
                )
            seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what ``_Loader`` would otherwise read as something else than text."""


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_name}",
            re.compile(f"^(?:{_pattern})$"),
            [*_first, ""] if _name == "null" else [*_first],
        )


def parse_scalar(text: str) -> Any:
    """The value that a piece of YAML states: ``1e-3`` is a number, ``[a, b]`` a list, ``NO`` a word.

    Raises:
        RecipeError: the text is not YAML.
    """
    return _load(text, repr(text))[0]


def read_mapping(path: Path) -> tuple[dict[str, Any], dict[Keys, int]]:
    """A YAML file's mapping, and the line (from 1) on which each of its keys stands.

    Raises:
        RecipeError: the file cannot be read, is not YAML, or is not a mapping; the text names file, line and cure.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not text in UTF-8 ({error.reason}). Save it as UTF-8.") from error
    except OSError as error:
        raise RecipeError(
            f"{path} cannot be read: {error.strerror}. Give the path of a recipe (a YAML file)."
        ) from error
    value, node = _load(text, str(path))
    if not isinstance(value, dict):
        raise RecipeError(f"{path} holds no 'key: value' lines. A recipe starts like recipes/demo.yaml: 'name: demo'.")
    return value, _lines(node)


def write(value: dict[str, Any]) -> str:
    """YAML text that :func:`read_mapping` reads back as the same value."""
    # Without allow_unicode: PyYAML would write U+0085 as it is, and read it back as a space.
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110)


def _load(text: str, where: str) -> tuple[Any, yaml.Node | None]:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                _refuse_cycles(node, ())
            return (None if node is None else loader.construct_document(node)), node
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RecipeError(f"{where}{line}: {_cure(error)}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise RecipeError(f"{where} is not valid YAML: {error}. Correct it, or put the text in quotes.") from error


def _cure(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "not valid YAML"
    if "given twice" in problem:
        return f"{problem}. Keep one of the two."
    if "\\t" in problem:
        return "a tab stands where YAML wants spaces. Replace tabs by spaces."
    if "mapping values are not allowed" in problem:
        return "a ':' stands where none may be. Check the indentation, and put text that holds ': ' in quotes."
    return f"not valid YAML: {problem}. Check the indentation, and that every bracket and quote is closed."


def _children(node: yaml.Node | None) -> list[tuple[str | int, yaml.Node, int]]:
    if isinstance(node, yaml.MappingNode):
        return [(key.value, value, key.start_mark.line + 1) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [(index, value, value.start_mark.line + 1) for index, value in enumerate(node.value)]
    return []


def _refuse_cycles(node: yaml.Node, above: tuple[yaml.Node, ...]) -> None:
    if any(node is parent for parent in above):
        raise yaml.constructor.ConstructorError(None, None, "an alias that contains itself", node.start_mark)
    for _, child, _ in _children(node):
        _refuse_cycles(child, (*above, node))


def _lines(node: yaml.Node | None) -> dict[Keys, int]:
    found: dict[Keys, int] = {}
    for key, child, line in _children(node):
        found[(key,)] = line
        found.update({(key, *below): at for below, at in _lines(child).items()})
    return found
