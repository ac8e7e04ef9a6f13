"""A run's record of itself: recipe, data, versions, git commit, machine, times."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import tradeschool
from tradeschool.errors import DataError, RunError, disk_error

FILE = "manifest.json"
PACKAGES = (
    "torch", "transformers", "trl", "peft", "datasets", "accelerate", "tokenizers", "safetensors",
    "gymnasium", "stable-baselines3", "numpy", "pandas", "pyarrow", "TA-Lib", "empyrical-reloaded", "pydantic",
)  # fmt: skip
Status = Literal["running", "interrupted", "failed", "done"]


@dataclass
class Manifest:
    """One JSON file per run. ``recipe`` is the resolved recipe; ``changed`` holds what a resume has changed in it.

    ``seeds`` holds the run's seed and, on a synthetic market, the market's. ``stages`` has an entry for each finished
    stage: name, seconds, peak memory in bytes. Times are local, ISO 8601 with offset.
    """

    recipe: dict[str, Any]
    recipe_hash: str
    data_name: str
    data_hash: str
    task_version: str
    seeds: dict[str, int]
    status: Status = "running"
    started: str = field(default_factory=lambda: now())
    ended: str | None = None
    resumed: list[str] = field(default_factory=list)
    changed: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=lambda: versions())
    source: dict[str, Any] = field(default_factory=lambda: source_state())
    machine: dict[str, Any] = field(default_factory=lambda: machine())

    def write(self, folder: Path) -> None:
        """Replace the folder's manifest in one step."""
        write_json(folder / FILE, dataclasses.asdict(self))


def read(folder: Path) -> Manifest:
    """Read the manifest of a run folder; a RunError if there is none, or it is damaged."""
    path = folder / FILE
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise RunError(
            f"{folder} is not a run folder: it has no {FILE}. Give a folder like runs/demo/latest."
        ) from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}. Check who owns it.") from error
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}). Start a new run: tradeschool run RECIPE.") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON as :func:`replace_text` writes text."""
    replace_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees either the old or the complete new one, even after a power cut."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, which replaces it in one step at the end of the block."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    yield temporary
    temporary.replace(path)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder to write into, which becomes ``out`` at the end of the block, or is removed after a failure.

    A DataError if ``out`` is neither new nor empty, or cannot be written.
    """
    out = out.resolve()
    partial = out.with_name(f".{out.name}.partial")
    try:
        if Path.cwd().is_relative_to(out) or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
            raise DataError(f"{out} is a file, not empty, or the current folder. Give one that is new or empty.")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        cure = "Give a folder that is new or empty."
        raise disk_error(error, out) or DataError(f"{out} cannot be written: {error.strerror}. {cure}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def now() -> str:
    """The local time with its offset, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of Python, tradeschool and every package that can change a result, read without importing them."""
    found = {"python": platform.python_version(), "tradeschool": tradeschool.__version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def source_state() -> dict[str, Any]:
    """Git commit and dirty flag of tradeschool's source; empty where it does not run from a git checkout."""
    package = Path(tradeschool.__file__).parent
    # A virtual environment may lie inside another repository: only one that tracks this file counts.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {}
    commit, changed = _git(package, "rev-parse", "HEAD"), _git(package, "status", "--porcelain", "--", ".")
    return {"commit": commit, "dirty": bool(changed)} if commit else {}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine() -> dict[str, Any]:
    """Operating system, CPU model and usable count, memory in bytes; where torch is loaded, its threads and GPU.

    The last digits of a sum depend on the number of threads.
    """
    information, unnamed = Path("/proc/cpuinfo"), platform.processor() or platform.machine()
    cpus = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    about: dict[str, Any] = {
        "os": platform.platform(),
        "cpu": next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), unnamed),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        about["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            about["gpu"] = torch.cuda.get_device_name()
    return about
