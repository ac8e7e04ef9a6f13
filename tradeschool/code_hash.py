"""A hash of what source code does: the same under every version of Python, however the code is laid out."""

import ast
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
WHOLE: tuple[str, ...] = ()

Code = Mapping[str, Sequence[str]]
"""Modules by their path in the package, and of each the names that count: :data:`WHOLE` where all of it does."""


def digest(text: str) -> str:
    """Sixteen hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_hash(source: str, names: Sequence[str] = WHOLE) -> str:
    """Sixteen hex digits of what a module does: comments, docstrings and layout do not count.

    Where ``names`` are given, they and whatever of the module they use count alone.

    The tree is written out here and not by ``ast.dump``, whose text differs between versions of Python: what a node
    may have and has not is left out, fields come by their name, and texts in ASCII, whatever a version can print.

    Raises:
        KeyError: the module does not define one of the names.
    """
    body = ast.parse(source).body
    return digest(_written(_used(body, names) if names else body))


def hash_of(code: Code, package: Path = PACKAGE) -> str:
    """Sixteen hex digits of what several modules do; their names count, and their order does not."""
    return digest("\n".join(sorted(_lines(code, package))))


def _lines(code: Code, package: Path) -> Iterator[str]:
    for path, names in code.items():
        yield " ".join([path, *sorted(names), code_hash((package / path).read_text(encoding="utf-8"), names)])


def _written(node: Any) -> str:
    """A tree, or a list of them, as text."""
    if isinstance(node, list):
        return f"[{','.join(_written(one) for one in node if not _is_docstring(one))}]"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__} {node.value!a}"
    if isinstance(node, ast.JoinedStr):
        return f"f[{','.join(_pieces(node))}]"
    if isinstance(node, ast.AST):
        given = sorted((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
        return f"{type(node).__name__}({','.join(f'{name}={_written(value)}' for name, value in given)})"
    return ascii(node)


def _pieces(node: ast.JoinedStr) -> Iterator[str]:
    """The parts of an f-string; versions of Python part the text between its values differently."""
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
            continue
        if text:
            yield ascii(text)
        text = ""
        yield _written(part)
    if text:
        yield ascii(text)


def _is_docstring(node: Any) -> bool:
    """Whether it is a text that nothing is done with; such are also the remarks below a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _used(body: Sequence[ast.stmt], names: Sequence[str]) -> list[ast.stmt]:
    """The statements that define names, and those that define what these use, in the module's order."""
    defining: dict[str, list[int]] = {}
    for place, statement in enumerate(body):
        for name in _defined(statement):
            defining.setdefault(name, []).append(place)
    waiting, found = [place for name in names for place in defining[name]], set[int]()
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            used = {node.id for node in ast.walk(body[place]) if isinstance(node, ast.Name)}
            waiting += [other for name in used for other in defining.get(name, [])]
    return [body[place] for place in sorted(found)]


def _defined(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module gives to it."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    nodes = list(ast.walk(statement))
    imported = [alias for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return assigned | {(alias.asname or alias.name).partition(".")[0] for alias in imported}
