"""A recipe's document on its way: ``--set`` laid over it, where every key was written, and what is wrong so far."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tradeschool import yaml_text
from tradeschool.checking import Problem, check, unknown_key
from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.overrides import lay_over, parse_set
from tradeschool.yaml_text import Keys

NAME = r"[A-Za-z][A-Za-z0-9_-]*"
"""What recipes, stages, markets and agents that become files may be called."""


@dataclass
class Draft:
    """A document of mappings and lists. ``lines`` holds where each key stands in the file ``where``.

    ``given`` holds the ``--set`` option of each key that one laid over it. ``notes`` are lines to show before the run.
    """

    document: dict[str, Any]
    lines: dict[Keys, int]
    where: str
    given: dict[Keys, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def is_name(text: str) -> bool:
        """Whether something may be called that which becomes a file's name."""
        return re.fullmatch(NAME, text) is not None

    def lay(self, sets: Sequence[str]) -> None:
        """Lay ``key=value`` options over the document.

        Raises:
            RecipeError: an option is no ``key=value``, or leads nowhere.
        """
        for option in sets:
            self.given[lay_over(self.document, *parse_set(option), option)] = f"--set {option}"

    def add(self, keys: Keys, text: str) -> None:
        """Note what is wrong at ``keys``."""
        self.problems.append(Problem(keys, text))

    def require(self, sections: Sequence[str], needed: Sequence[str], example: str) -> None:
        """Refuse unknown sections and miss needed ones; ``example`` is a recipe that shows the shape."""
        for key in self.document:
            if key not in sections:
                self.add((str(key),), unknown_key(str(key), list(sections)))
        for key in needed:
            if key not in self.document:
                self.add((key,), f"is missing. Add it; {example} shows the shape")

    def section(self, name: str, cls: type[BaseModel], drop: str = "") -> Any:
        """A section checked by its class, without the key ``drop`` where the class has none of it."""
        section = self.document.get(name, {})
        if isinstance(section, dict) and drop not in cls.model_fields:
            section = {key: value for key, value in section.items() if key != drop}
        return check(cls, section, (name,), self.problems)

    def error(self) -> RecipeError:
        """All that is wrong, a line each."""
        return RecipeError("\n".join(self._said(problem) for problem in self.problems))

    def _said(self, problem: Problem) -> str:
        text = problem.text if problem.text.startswith(("is ", "must ", "has ")) else f": {problem.text}"
        key = self._dotted(problem.keys)
        # Some checks of the sections name their own key.
        line = text[2:] if text.startswith(f": {key}") else f"{key}{'' if text.startswith(':') else ' '}{text}"
        end = "" if line.endswith("?") else "."
        return f"{self._written_at(problem.keys)}: {line.rstrip('.')}{end}"

    def _written_at(self, keys: Keys) -> str:
        for length in range(len(keys), 0, -1):
            # First: where an option has put a whole value, the lines of what stood there before say nothing.
            if keys[:length] in self.given:
                return self.given[keys[:length]]
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.lines:
                return f"{self.where}, line {self.lines[keys[:length]]}"
            for option_keys, option in self.given.items():
                if option_keys[:length] == keys[:length]:
                    return option
        return self.where

    def _dotted(self, keys: Keys) -> str:
        """The path as ``--set`` takes it: entries of a list by name."""
        words = [str(key) for key in keys]
        items = self.document.get(words[0]) if keys else None
        if len(keys) > 1 and isinstance(keys[1], int) and isinstance(items, list):
            item = items[keys[1]]
            words[1] = str(item.get("name", keys[1])) if isinstance(item, dict) else words[1]
        return ".".join(words)


def read_draft(path: Path) -> Draft:
    """The document in a recipe's file.

    Raises:
        RecipeError: there is no such file, or it is no mapping in YAML.
    """
    if not path.is_file():
        raise RecipeError(_no_such_recipe(path))
    return Draft(*yaml_text.read_mapping(path), str(path))


def _no_such_recipe(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder. Give a recipe file, such as recipes/demo.yaml."
    nearby = sorted(file.name for folder in (path.parent, Path("recipes")) for file in folder.glob("*.yaml"))
    listed = f" There are: {', '.join(dict.fromkeys(nearby))}." if nearby else ""
    return f"There is no recipe {path}.{did_you_mean(path.name, nearby)}{listed}"
