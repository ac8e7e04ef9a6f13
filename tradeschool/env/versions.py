"""Versions of the environment and its levels, each tied to a hash of its rules in ``versions.lock.json``.

    python -m tradeschool.env.versions --write

adds the versions that stand here to the lock. A version whose rules have changed since is refused: raise it first.
"""

import ast
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from tradeschool.env.config import EnvError
from tradeschool.env.levels import LEVELS, level_config

ENV_VERSION = "1.0.0"
"""Raised with every change of a rule: major where results cannot be compared, else minor; patch for a rewording."""
LEVEL_VERSIONS = {"Easy": "1.0.0", "Medium": "1.0.0", "Hard": "1.0.0"}
"""Raised where a level's settings, or the default of one, change."""

LOCK = Path(__file__).with_name("versions.lock.json")
PACKAGE = Path(__file__).parents[1]
NO_RULES = frozenset({"traders.py", "__init__.py", "versions.py", "harness.py", "reference.py", "vec.py"})
"""Modules of this folder that play episodes, or agents to compare with, but decide nothing in them."""
ELSEWHERE = ("text/orders.py", "text/grammar.py")
"""Modules outside this folder that decide what an action means."""


def level_version(level: str) -> str:
    """The version of a level's rules; the environment's where the settings are no level's."""
    return LEVEL_VERSIONS.get(level, ENV_VERSION)


def rules() -> list[Path]:
    """The modules whose code is a rule: this folder's but for NO_RULES, and those that read an action."""
    here = sorted(path for path in LOCK.parent.glob("*.py") if path.name not in NO_RULES)
    return [*here, *(PACKAGE / name for name in ELSEWHERE)]


def code_hash(source: str) -> str:
    """Sixteen hex digits of what a module does: comments, docstrings and layout do not count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def present() -> dict[str, dict[str, str]]:
    """Every versioned thing's present version and hash, as the lock holds them: name to {version: hash}."""
    codes = [f"{path.relative_to(PACKAGE)} {code_hash(path.read_text(encoding='utf-8'))}" for path in rules()]
    found = {"environment": {ENV_VERSION: _digest("\n".join(codes))}}
    for name in LEVELS:
        settings = json.dumps(level_config(name).model_dump(), sort_keys=True)
        found[name] = {LEVEL_VERSIONS[name]: _digest(settings)}
    return found


def changed(locked: dict[str, Any], now: dict[str, dict[str, str]]) -> list[str]:
    """A sentence for everything whose rules are not those that its version is locked with."""
    faults = []
    for name, versions in now.items():
        for version, digest in versions.items():
            known = locked.get(name, {}).get(version)
            if known is None:
                faults.append(f"{name} {version} is not in the lock: add it with --write")
            elif known != digest:
                faults.append(
                    f"the rules of {name} are not those of version {version} ({known}, now {digest}): raise it"
                )
    return faults


def read_lock(path: Path = LOCK) -> dict[str, Any]:
    """The lock: name to {version: hash}, older versions included."""
    locked: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return locked


def write_lock(path: Path = LOCK, unreleased: bool = False) -> None:
    """Add the present versions. ``unreleased`` replaces the hash of a version that nobody has results of.

    Raises:
        EnvError: a version stands in the lock with other rules.
    """
    locked, now = read_lock(path), present()
    for name, versions in now.items():
        for version, digest in versions.items():
            if not unreleased and locked.get(name, {}).get(version, digest) != digest:
                raise EnvError(f"{name} {version} is locked with other rules. Raise its version in versions.py.")
            locked.setdefault(name, {})[version] = digest
    path.write_text(json.dumps(locked, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def main(arguments: list[str]) -> None:
    """Check the lock; with --write, add to it."""
    if "--write" in arguments:
        write_lock(unreleased="--unreleased" in arguments)
    for fault in changed(read_lock(), present()):
        print(fault)


if __name__ == "__main__":
    main(sys.argv[1:])
