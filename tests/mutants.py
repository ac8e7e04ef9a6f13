"""Plants every defect of ``tests/mutants.yaml``, one at a time, and says which ones no test sees.

    python -m tests.mutants                  # about half an hour on two cores
    python -m tests.mutants broker grading   # only those of modules whose path has one of these words

The defects are planted in a copy. The exit status is 1 where one lived, 2 where a word chooses no module.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import track
from rich.text import Text

ROOT = Path(__file__).parents[1]
LISTED = Path(__file__).with_suffix(".yaml")
COPIED = ("tradeschool", "tests", "recipes", "benchmarks", "pyproject.toml")
SEEN = (1, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE)
"""Exit statuses of pytest where a test failed, or where compiled code broke down in one: it checks no bounds. Any other
is a fault of the run."""


class MutantError(Exception):
    """The list does not fit the code, or pytest could not run."""


@dataclass(frozen=True)
class Mutant:
    """A defect: ``old`` becomes ``new`` in ``module``, and one of ``tests`` has to turn red."""

    module: str
    old: str
    new: str
    tests: tuple[str, ...]
    options: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.module}: {self.old.strip()!r} -> {self.new.strip()!r}"

    def planted(self, source: str) -> str:
        """The module's source with the defect, at the first place that fits.

        Raises:
            MutantError: there is no such place any more.
        """
        if self.old not in source or self.old == self.new:
            raise MutantError(f"{self}: nothing to replace. Mend the list.")
        return source.replace(self.old, self.new, 1)


def mutants(words: list[str]) -> Iterator[Mutant]:
    """The list, or of it what stands in modules whose path has one of the words."""
    for group in yaml.safe_load(LISTED.read_text(encoding="utf-8")):
        if words and not any(word in group["module"] for word in words):
            continue
        environment = tuple(group.get("environment", {}).items())
        for old, new in group["defects"]:
            yield Mutant(group["module"], old, new, tuple(group["tests"]), tuple(group.get("options", ())), environment)


def lives(mutant: Mutant, folder: Path) -> bool:
    """Whether all tests pass with the defect, in a copy of the project.

    Raises:
        MutantError: the list does not fit, or pytest could not run.
    """
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    path = folder / mutant.module
    path.write_text(mutant.planted(path.read_text(encoding="utf-8")), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    done = subprocess.run(
        [*command, *mutant.options, *mutant.tests],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", **dict(mutant.environment)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, *SEEN):
        raise MutantError(f"{mutant}: pytest ended with {done.returncode}.\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.returncode == 0


def _lives(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return lives(mutant, Path(folder))


def main(words: list[str]) -> int:
    """Plant, test, tell; 0 where every defect was seen, 1 where one lived, 2 where a word chooses no module."""
    console, listed = Console(), list(mutants(words))
    idle = [word for word in words if not any(word in mutant.module for mutant in listed)]
    if idle:
        console.print(Text(f"no module with defects has {' or '.join(idle)} in its path"), style="red")
        return 2
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = track(pool.map(_lives, listed), "defects", total=len(listed), console=console)
        survivors = [mutant for mutant, living in zip(listed, found, strict=True) if living]
    for mutant in survivors:
        console.print(Text(f"no test sees {mutant}"))
    console.print(f"{len(listed) - len(survivors)} of {len(listed)} defects turn a test red.")
    return min(len(survivors), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
