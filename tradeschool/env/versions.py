"""Versions of the environment and its levels, each tied to a hash of its rules in ``versions.lock.json``.

    python -m tradeschool.env.versions --write

adds the versions that stand here to the lock. A version whose rules have changed since is refused: raise it first.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

from tradeschool.code_hash import WHOLE, Code, digest, hash_of
from tradeschool.env.config import EnvConfig, EnvError
from tradeschool.env.levels import FORMS, LEVELS, level_config, level_of

ENV_VERSION = "1.1.0"
"""Raised with every change of a rule: major where results cannot be compared, else minor; patch for a rewording."""
LEVEL_VERSIONS = {"Easy": "1.0.0", "Medium": "1.0.0", "Hard": "1.0.0"}
"""Raised where a level's settings, or the default of one, change."""

KEYS = ("env_version", "rules_hash", "level", "level_version", "settings_hash", "data_hash")
"""What two episodes must have in common to be compared, as :func:`stamp` tells it: infos, records, traces, rows,
people's results and a server's answers all have these keys."""

LOCK = Path(__file__).with_name("versions.lock.json")
PACKAGE = Path(__file__).parents[1]
NO_RULES = {
    "__init__.py": "registers the levels",
    "reference.py": "agents to compare with; a rival's identity holds their hash",
    "sampling.py": "what follows from grades; it changes none",
    "signals.py": "agents; a rival's identity holds their hash",
    "targets.py": "what agents share; a rival's identity holds its hash",
    "traders.py": "agents; a rival's identity holds their hash",
    "vec.py": "how Stable-Baselines3 steps the batch; a rival's identity holds its hash",
    "versions.py": "names the rules",
}
"""Modules of this folder that decide nothing in an episode or its grade, and why they do not."""
ELSEWHERE: Code = {
    "market/indicators.py": WHOLE,
    "market/panel.py": WHOLE,
    "metrics.py": ("DAYS_A_YEAR",),
    "text/grammar.py": ("after_thinking",),
    "text/orders.py": WHOLE,
}
"""Modules outside this folder, or names in them, that decide what a fact is, what an action means, what cash earns."""
NO_RULES_ELSEWHERE = {
    "checking.py": "words of errors",
    "errors.py": "words of errors",
    "market/exchange.py": "when a note is known; there are none in an episode",
    "market/notes/note.py": "notes, of which there are none in an episode",
    "market/practice.py": "makes a market, which the data's hash tells",
}
"""Modules outside this folder that rules import and that decide nothing in an episode or its grade, and why."""


def level_version(level: str) -> str:
    """The version of a level's rules; the environment's where the settings are no level's."""
    return LEVEL_VERSIONS.get(level, ENV_VERSION)


def rules() -> Code:
    """The code that decides what happens in an episode and how it is graded: this folder's and ELSEWHERE's."""
    here = [path.name for path in (PACKAGE / "env").glob("*.py") if path.name not in NO_RULES]
    return {**{f"env/{name}": WHOLE for name in here}, **ELSEWHERE}


@functools.cache
def rules_hash() -> str:
    """The hash of :func:`rules`, worked out once: the code that runs is the one that was there when it began."""
    return hash_of(rules(), PACKAGE)


@functools.lru_cache(maxsize=256)
def settings_hash(config: EnvConfig) -> str:
    """The hash of an environment's settings, all but the form in which an episode is told."""
    return digest(json.dumps(config.model_dump(exclude=set(FORMS)), sort_keys=True))


def stamp(config: EnvConfig, data_hash: str) -> dict[str, str]:
    """What episodes of these settings on this market must have in common with others to be compared: :data:`KEYS`."""
    level = level_of(config)
    values = (ENV_VERSION, rules_hash(), level, level_version(level), settings_hash(config), data_hash)
    return dict(zip(KEYS, values, strict=True))


def present() -> dict[str, dict[str, str]]:
    """Every versioned thing's present version and hash, as the lock holds them: name to {version: hash}."""
    found = {"environment": {ENV_VERSION: hash_of(rules(), PACKAGE)}}
    for name in LEVELS:
        found[name] = {LEVEL_VERSIONS[name]: settings_hash(level_config(name))}
    return found


def changed(locked: dict[str, Any], now: dict[str, dict[str, str]]) -> list[str]:
    """A sentence for everything whose rules are not those that its version is locked with."""
    faults = []
    for name, versions in now.items():
        for version, found in versions.items():
            known = locked.get(name, {}).get(version)
            if known is None:
                faults.append(f"{name} {version} is not in the lock: add it with --write")
            elif known != found:
                faults.append(
                    f"the rules of {name} are not those of version {version} ({known}, now {found}): raise it"
                )
    return faults


def read_lock(path: Path = LOCK) -> dict[str, Any]:
    """The lock: name to {version: hash}, older versions included."""
    locked: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return locked


def write_lock(path: Path = LOCK, now: dict[str, dict[str, str]] | None = None) -> None:
    """Add the present versions, or those of ``now``.

    Raises:
        EnvError: a version stands in the lock with other rules.
    """
    locked, now = read_lock(path), present() if now is None else now
    for name, versions in now.items():
        for version, found in versions.items():
            if locked.get(name, {}).get(version, found) != found:
                raise EnvError(f"{name} {version} is locked with other rules. Raise its version in versions.py.")
            locked.setdefault(name, {})[version] = found
    path.write_text(json.dumps(locked, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def checked(arguments: list[str], path: Path, now: dict[str, dict[str, str]]) -> int:
    """Hold ``now`` against the lock, with --write add to it first, and print what is wrong; 1 where something is."""
    try:
        if "--write" in arguments:
            write_lock(path, now)
        faults = changed(read_lock(path), now)
    except EnvError as error:
        faults = [str(error)]
    for fault in faults:
        print(fault)
    return int(bool(faults))


def main(arguments: list[str]) -> int:
    """Check the lock; with --write, add to it."""
    return checked(arguments, LOCK, present())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
