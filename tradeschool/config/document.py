"""A recipe's document: YAML with the line of each key, ``--set`` options, and the problems that checks have found."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from tradeschool.config.check import Keys, Problem, check, unknown_key
from tradeschool.errors import RecipeError, did_you_mean

NAME = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
"""Valid names of recipes, stages, markets and agents: they become file names."""
MAX_BYTES, MAX_NODES = 1_000_000, 100_000
"""Of a recipe. A few aliases of aliases would otherwise hold billions of values."""
COMMANDS = {"run": {"task", "model", "stages"}, "leaderboard": {"markets", "agents"}}
"""The sections that only a recipe of this command has."""


@dataclass
class Draft:
    """A document of mappings and lists.

    ``lines`` holds the line of each key in the file ``where``, ``given`` the ``--set`` option that changed a key, and
    ``notes`` the lines to print before the run.
    """

    document: dict[str, Any]
    lines: dict[Keys, int]
    where: str
    given: dict[Keys, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def is_name(text: str) -> bool:
        """Whether ``text`` is a valid name."""
        return re.fullmatch(NAME, text) is not None

    def lay(self, sets: Sequence[str]) -> None:
        """Lay ``key=value`` options over the document; a RecipeError if one is none, or its key does not exist."""
        for option in sets:
            self.given[lay_over(self.document, *parse_set(option), option)] = f"--set {option}"

    def add(self, keys: Keys, text: str) -> None:
        """Record a problem at ``keys``."""
        self.problems.append(Problem(keys, text))

    def require(self, sections: Sequence[str], needed: Sequence[str], example: str) -> None:
        """Record unknown and missing sections; ``example`` is a recipe that shows the format."""
        for key in self.document:
            if key not in sections:
                self.add((str(key),), unknown_key(str(key), list(sections)))
        for key in needed:
            if key not in self.document:
                self.add((key,), f"is missing. Add it; see {example} for the format")

    def section(self, name: str, cls: type[BaseModel], drop: str = "") -> Any:
        """A section checked by its class; the key ``drop`` is left out where the class does not have it."""
        section = self.document.get(name, {})
        if isinstance(section, dict) and drop not in cls.model_fields:
            section = {key: value for key, value in section.items() if key != drop}
        return check(cls, section, (name,), self.problems)

    def error(self) -> RecipeError:
        """All problems, one per line."""
        return RecipeError("\n".join(self._line(problem) for problem in self.problems))

    def _line(self, problem: Problem) -> str:
        text = problem.text if problem.text.startswith(("is ", "must ", "has ")) else f": {problem.text}"
        key = self._dotted(problem.keys)
        # Some checks name the key themselves.
        line = text[2:] if text.startswith(f": {key}") else f"{key}{'' if text.startswith(':') else ' '}{text}"
        end = "" if line.endswith("?") else "."
        return f"{self._written_at(problem.keys)}: {line.rstrip('.')}{end}"

    def _written_at(self, keys: Keys) -> str:
        for length in range(len(keys), 0, -1):
            # Options first: where one has replaced a whole value, the file's lines inside it no longer apply.
            if keys[:length] in self.given:
                return self.given[keys[:length]]
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.lines:
                inside = [option for given, option in self.given.items() if given[: len(keys)] == keys]
                return " with ".join([f"{self.where}, line {self.lines[keys[:length]]}", *inside])
            for option_keys, option in self.given.items():
                if option_keys[:length] == keys[:length]:
                    return option
        return self.where

    def _dotted(self, keys: Keys) -> str:
        """The path as ``--set`` takes it: list entries by name."""
        words = [str(key) for key in keys]
        items = self.document.get(words[0]) if keys else None
        if len(keys) > 1 and isinstance(keys[1], int) and isinstance(items, list):
            item = items[keys[1]]
            words[1] = str(item.get("name", keys[1])) if isinstance(item, dict) else words[1]
        return ".".join(words)


def read_draft(path: Path, command: str | None = None) -> Draft:
    """Read a recipe file. ``command`` is "run" or "leaderboard", to refuse a recipe of the other.

    A RecipeError if the file does not exist, is not a YAML mapping, or is for the other command.
    """
    if not path.is_file():
        if path.is_dir():
            raise RecipeError(f"{path} is a folder. Give a recipe file, such as recipes/demo.yaml.")
        folders = (path.parent, Path("recipes"))
        nearby = sorted(file.name for folder in folders for file in folder.glob("*.yaml") if file.name[0] != ".")
        listed = f" Recipes found: {', '.join(dict.fromkeys(nearby))}." if nearby else ""
        raise RecipeError(f"There is no recipe {path}.{did_you_mean(path.name, nearby)}{listed}")
    document, lines = read_mapping(path)
    kinds = [name for name, keys in COMMANDS.items() if keys & document.keys()]
    if command and len(kinds) == 1 and kinds != [command]:
        kind = {"run": "training", "leaderboard": "leaderboard"}[kinds[0]]
        raise RecipeError(f"{path} is a {kind} recipe. Use: tradeschool {kinds[0]} {path}")
    return Draft(document, lines, str(path))


def parse_set(option: str) -> tuple[list[str], Any]:
    """Parse ``stages.ppo.steps=3`` into (["stages", "ppo", "steps"], 3); the value is read as YAML."""
    key, equals, text = option.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(
            f"--set {option}: this is not key=value. Write it like --set seed=3 or --set stages.gvpo.trl.max_steps=3."
        )
    try:
        return parts, parse_scalar(text)
    except RecipeError as error:
        raise RecipeError(f"--set {option}: {error}") from error


def lay_over(document: dict[str, Any], parts: list[str], value: Any, option: str) -> Keys:
    """Set one value in the document, creating mappings as needed, and return its path, list positions as int.

    A list entry is addressed by its position (from 0) or its ``name``. The check of the whole recipe decides whether
    the key is valid. A RecipeError if the path leads into a value without keys, or to an entry that does not exist.
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
    raise RecipeError(f"{above} has no '{part}'.{did_you_mean(part, names)} Its entries: {', '.join(names)}.")


# YAML ---------------------------------------------------------------------------------------------


def parse_scalar(text: str) -> Any:
    """The value of a piece of YAML: ``1e-3`` is a number, ``[a, b]`` a list, ``NO`` a string."""
    return _load(text, repr(text))[0]


def read_mapping(path: Path) -> tuple[dict[str, Any], dict[Keys, int]]:
    """Read a YAML file that holds a mapping: the mapping, and the line number (from 1) of each of its keys."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RecipeError(f"{path} has {path.stat().st_size:,} bytes, so it is not a recipe. Give a YAML file.")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}. Give the path of a recipe (YAML).") from error
    value, lines = _load(text, str(path))
    if not isinstance(value, dict):
        raise RecipeError(f"{path} holds no 'key: value' lines. See recipes/demo.yaml for the format.")
    return value, lines


def to_yaml(value: dict[str, Any]) -> str:
    """YAML text that :func:`read_mapping` reads back as the same value."""
    yaml = _yaml()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    # Otherwise some control characters, such as U+0085, are written raw and read back as spaces.
    yaml.allow_unicode = False
    yaml.width = 110
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


class _Constructor(SafeConstructor):
    """Dates stay text, as written: keys that take dates read them, and others may be folders or names."""


_Constructor.add_constructor(
    "tag:yaml.org,2002:timestamp", lambda constructor, node: constructor.construct_scalar(node)
)


def _yaml() -> Any:
    # The pure Python version: the C library reads YAML 1.1.
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    return yaml


def _load(text: str, where: str) -> tuple[Any, dict[Keys, int]]:
    try:
        # Lines first: an alias that contains itself ends there in a RecursionError.
        lines: dict[Keys, int] = {}
        _add_lines(lines, (), next(iter(_yaml().compose_all(text)), None))
        return _unshared(_yaml().load(text)), lines
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RecipeError(f"{where}{line}: {_cure(error)}") from error
    except OverflowError as error:
        raise RecipeError(
            f"{where} holds more than {MAX_NODES:,} values, aliases counted each time. Write it without aliases."
        ) from error
    except RecursionError as error:
        raise RecipeError(f"{where} is nested too deeply, or has an alias that contains itself.") from error
    except (YAMLError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(f"{where} is not valid YAML: {reason}. Correct it, or quote the text.") from error


def _unshared(value: Any) -> Any:
    """A copy in which every alias has a value of its own, so that an option changes one place alone."""
    if isinstance(value, dict):
        return {key: _unshared(below) for key, below in value.items()}
    return [_unshared(below) for below in value] if isinstance(value, list) else value


def _cure(error: MarkedYAMLError) -> str:
    problem = (error.problem or "not valid YAML").splitlines()[0]
    if "duplicate key" in problem:
        key = problem.partition('"')[2].partition('"')[0]
        return f"'{key}' is given twice. Keep one of the two."
    if "\\t" in problem:
        return "a tab is used for indentation. Replace tabs with spaces."
    if "mapping values are not allowed" in problem:
        return "unexpected ':'. Check the indentation, and quote text that contains ': '."
    return f"not valid YAML: {problem}. Check the indentation, and that every bracket and quote is closed."


def _add_lines(found: dict[Keys, int], keys: Keys, node: Node | None) -> None:
    """Add the line of each key and list entry below ``node``, from 1; OverflowError where there are too many."""
    children: list[tuple[str | int, Node, Node]] = []
    if isinstance(node, MappingNode):
        children = [(key.value, value, key) for key, value in node.value]
    elif isinstance(node, SequenceNode):
        children = [(index, value, value) for index, value in enumerate(node.value)]
    for key, child, marked in children:
        found[(*keys, key)] = marked.start_mark.line + 1
        if len(found) > MAX_NODES:
            raise OverflowError
        _add_lines(found, (*keys, key), child)
