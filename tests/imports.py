"""What modules of the package import of one another, read from their source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import tradeschool

PACKAGE = Path(tradeschool.__file__).parent
EVERYTHING = "*"


def imported(source: str) -> dict[str, set[str]]:
    """The package's modules, by path, that a source imports, and the names it takes; ``*`` where it takes a module.

    Imports within functions count, those for type checkers alone do not.
    """
    found: dict[str, set[str]] = {}
    for node in _run(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tradeschool":
            for alias in node.names:
                inner = _path(f"{node.module}.{alias.name}")
                path, name = (inner, EVERYTHING) if inner else (_path(node.module or ""), alias.name)
                found.setdefault(path, set()).add(name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "tradeschool":
                    found.setdefault(_path(alias.name), set()).add(EVERYTHING)
    return found


def _run(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from _run(child)


def _path(module: str) -> str:
    """``market/panel.py`` of ``tradeschool.market.panel``, empty where there is no such module."""
    parts = module.split(".")[1:]
    for path in (Path(*parts).with_suffix(".py") if parts else Path("__init__.py"), Path(*parts, "__init__.py")):
        if (PACKAGE / path).is_file():
            return path.as_posix()
    return ""
