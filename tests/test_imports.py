"""Imports run downward: no circles, few floors inside a package, no long modules.

Imports inside functions and those for type checkers count, and modules named in strings, which are imported when they
are needed. The package's own ``__init__`` does not: it holds the
version and imports nothing itself.
"""

import ast
import functools
import re
from pathlib import Path

import tradeschool

PACKAGE = Path(tradeschool.__file__).parent
MAX_LINES, MAX_FLOORS = 400, 6
NAMED = re.compile(r"tradeschool(\.\w+)+(:\w+)?")
"""A string that names a module, or a class in one."""


def imported(source: str) -> set[str]:
    """The package's modules, by path, that a source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tradeschool":
            found |= {path(f"{node.module}.{alias.name}") or path(node.module or "") for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {path(alias.name) for alias in node.names if alias.name.partition(".")[0] == "tradeschool"}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAMED.fullmatch(node.value):
            found.add(path(node.value.partition(":")[0]))
    return found


def path(module: str) -> str:
    """``market/panel.py`` for ``tradeschool.market.panel``; empty where there is no such module."""
    parts = Path(*module.split(".")[1:])
    candidates = (parts.with_suffix(".py") if parts.name else Path("__init__.py"), parts / "__init__.py")
    return next((one.as_posix() for one in candidates if (PACKAGE / one).is_file()), "")


@functools.cache
def import_graph() -> dict[str, frozenset[str]]:
    """For each module of the package, by path, the modules that it imports."""
    files = {file.relative_to(PACKAGE).as_posix(): file for file in PACKAGE.rglob("*.py")}
    return {
        module: frozenset(imported(file.read_text(encoding="utf-8")) - {module, "", "__init__.py"})
        for module, file in files.items()
    }


def test_there_is_no_import_circle() -> None:
    graph = {module: needs for module, needs in import_graph().items() if module != "__init__.py"}
    assert len(graph) > 50
    assert "train/sft.py" in graph["config/recipe.py"]  # which names it in a string
    # Take away modules that import nothing which is left; those that remain are in a circle, or import one.
    while free := [module for module, needs in graph.items() if not needs & graph.keys()]:
        for module in free:
            del graph[module]
    assert not graph


def test_few_floors_of_imports_inside_a_package() -> None:
    graph = import_graph()

    @functools.cache
    def floors(module: str) -> int:
        package = Path(module).parent
        return 1 + max((floors(other) for other in graph[module] if Path(other).parent == package), default=0)

    assert {module: floors(module) for module in graph if floors(module) > MAX_FLOORS} == {}


def test_no_module_is_too_long() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in PACKAGE.rglob("*.py")}
    assert [str(file) for file, length in lengths.items() if length > MAX_LINES] == []
