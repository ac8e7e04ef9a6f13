"""A hash of code says what the code does, and says the same under every version of Python."""

import ast
from pathlib import Path

import pytest
from imports import EVERYTHING, PACKAGE, imported

from tradeschool.code_hash import WHOLE, code_hash, hash_of

GOLDEN = '''
"""Doc."""
from __future__ import annotations
import os.path as p, sys
from . import a
from tradeschool.x import (y, z as w)

LIMIT: float = 1_000.0  # why
"""Says what it is."""
NAMES = ("é\\u2028", b"\\xff", 'it\\'s', u"u", None, True, ..., 1j, 0x10, -1, 1.0, 1e400, *())
TABLE = {**{}, "k": [n for n in range(3) if n], 2: {1, 2}}


@p.wraps(w)
class C(a.B, metaclass=type):
    x: int

    def f(self, b, /, c=1, *d, e, g=None, **h) -> str:
        """Doc."""
        return f"{b!r:>{c}} {{}} {c:.2f}" "and" f'{d}{e=}'

    def only(self): ...

    async def go(self):
        async with self as one, two: await one
        async for i in self:
            yield i
        else:
            pass


def g():
    try:
        del LIMIT, NAMES[1:], NAMES[::2, ...]
    except* (ValueError, OSError) as error:
        raise RuntimeError from error
    finally:
        global TABLE
    match TABLE:
        case None | True:
            return
        case {"a": [1, *rest], **more} if (q := rest): return None
        case C(x=3) as named: "text"
        case _: ...
    f = lambda *, k, m=2: (k if not m else m) @ k
    assert f, "no"
    while 1 < 2 <= 3 and not f: break
'''


def test_the_hash_of_a_source_is_the_same_for_ever() -> None:
    """Python 3.11, 3.12 and 3.13 gave these; what is here has all that their syntax trees say in different ways."""
    assert code_hash(GOLDEN) == "a6bd5e81f054e657"
    assert code_hash(GOLDEN, ["g"]) == "0e7da96876f6070a"


def test_fields_that_only_some_versions_of_python_have_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where 3.12 gave functions and classes ``type_params``, and 3.13 left empty lists out of what it dumps."""
    before = code_hash(GOLDEN)
    real = ast.parse

    def newer(source: str) -> ast.Module:
        tree = real(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                monkeypatch.setattr(type(node), "_fields", ("type_params", *dict.fromkeys(type(node)._fields)))
                setattr(node, "type_params", [])  # noqa: B010 - older versions do not know it
            if isinstance(node, ast.JoinedStr):
                node.values = [*node.values[:1], ast.Constant(""), *node.values[1:]]
        return tree

    monkeypatch.setattr(ast, "parse", newer)
    assert code_hash(GOLDEN) == before


PLAIN = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    "same",
    [
        '"""Doc."""\n# why\ndef f(x):\n    """Says."""\n    return (x + 1)\n',
        "def f(\n    x,\n):\n  return x \\\n    + 0x1\n",
        "def f(x):\r\n    return x + 1  # why\r\n",
    ],
)
def test_how_it_is_written_does_not_count(same: str) -> None:
    assert code_hash(same) == code_hash(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        "def f(x):\n    return x + 2\n",
        "def f(x):\n    return x + 1.0\n",
        "def f(x):\n    return x + True\n",
        "def f(x):\n    return x + '1'\n",
        "def f(x):\n    return 1 + x\n",
        "def f(x, y=1):\n    return x + 1\n",
        "def f(*, x):\n    return x + 1\n",
        "def f(x):\n    return x - 1\n",
        "def f(x):\n    x + 1\n    return\n",
        "def g(x):\n    return x + 1\n",
        "async def f(x):\n    return x + 1\n",
        PLAIN + "Y = 'text'\n",
    ],
)
def test_what_it_does_counts(other: str) -> None:
    assert code_hash(other) != code_hash(PLAIN)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f'{x}a'", "f'{x}b'"),
        ("f'{x:.2f}'", "f'{x:.3f}'"),
        ("f'{x!r}'", "f'{x}'"),
        ("'a' 'b'", "'a', 'b'"),
        ("{**x}", "{None: x}"),
        ("x[:1]", "x[1:]"),
        ("lambda *, a, b=1: a", "lambda *, a=1, b: a"),
        ("None", "'None'"),
        ("b'a'", "'a'"),
        ("'é'", "'e'"),
    ],
)
def test_neighbours_are_told_apart(one: str, other: str) -> None:
    assert code_hash(f"x = {one}") != code_hash(f"x = {other}")


MODULE = """\
import math
from a import helper
RATE = 252
HALF = RATE / 2
def used(x): return helper(x) * HALF
def unused(x): return math.sqrt(x)
"""


@pytest.mark.parametrize(
    ("old", "new", "names", "counts"),
    [
        ("252", "365", ["RATE"], True),
        ("/ 2", "/ 3", ["RATE"], False),
        ("252", "365", ["used"], True),
        ("from a", "from b", ["used"], True),
        ("import math", "import cmath as math", ["used"], False),
        ("math.sqrt", "math.exp", ["used"], False),
        ("math.sqrt", "math.exp", ["used", "unused"], True),
        ("math.sqrt", "math.exp", WHOLE, True),
    ],
)
def test_names_count_with_all_that_they_use_and_nothing_else(
    old: str, new: str, names: list[str], counts: bool
) -> None:
    assert (code_hash(MODULE.replace(old, new), names) != code_hash(MODULE, names)) is counts


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError, match="RATES"):
        code_hash(MODULE, ["RATES"])


def test_modules_are_hashed_with_their_paths_in_any_order(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(PLAIN if name == "a.py" else MODULE, encoding="utf-8")
    both = hash_of({"a.py": WHOLE, "b.py": ("used",)}, tmp_path)
    assert both == hash_of({"b.py": ("used",), "a.py": WHOLE}, tmp_path)
    assert both != hash_of({"a.py": WHOLE, "b.py": WHOLE}, tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "c.py")
    assert both != hash_of({"c.py": WHOLE, "b.py": ("used",)}, tmp_path)


def test_what_a_module_imports_is_found_wherever_it_stands() -> None:
    """Of the tests' own reader of imports, on which the completeness of the hashes rests."""
    source = (
        "from typing import TYPE_CHECKING\nimport tradeschool\nfrom tradeschool.env import reference, versions\n"
        "if TYPE_CHECKING:\n    from tradeschool.cli import app\n"
        "def f():\n    from tradeschool.metrics import sharpe, sortino as s\n    import tradeschool.market.panel\n"
    )
    assert imported(source) == {
        "__init__.py": {EVERYTHING},
        "env/reference.py": {EVERYTHING},
        "env/versions.py": {EVERYTHING},
        "metrics.py": {"sharpe", "sortino"},
        "market/panel.py": {EVERYTHING},
    }
    assert "market/panel.py" in imported((PACKAGE / "market" / "indicators.py").read_text(encoding="utf-8"))
