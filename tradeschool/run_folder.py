"""Run folders: naming, finding and locking them, and what each finished stage left in one."""

import contextlib
import fcntl
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tradeschool import manifest
from tradeschool.errors import RunError, did_you_mean, disk_error
from tradeschool.train.stage import Kind, Result

RUNS = Path("runs")
RECIPE = "recipe.yaml"
EARLIER = "earlier"
"""The folder of a run for attempts at stages that began again with other keys."""
REPORT = "report.html"
DONE = "done.json"


@dataclass(frozen=True)
class Done(Result):
    """The content of a finished stage's ``done.json``: its result with absolute paths, time and memory."""

    seconds: float = 0.0
    peak_memory_bytes: int = 0


def create(recipe_name: str, out: Path | None) -> Path:
    """A new, empty run folder: ``out``, or ``runs/<recipe name>/<stamp>/`` with ``latest`` pointing at it."""
    try:
        if out is not None:
            if run := next((one for one in out.resolve().parents if (one / manifest.FILE).exists()), None):
                raise RunError(f"--out {out}: this is inside of another run, {run}. Choose a folder outside.")
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                cure = (
                    f"Resume it (tradeschool resume {out})" if (out / manifest.FILE).exists() else "Choose a new folder"
                )
                raise RunError(f"--out {out}: the folder is not empty. {cure}, or empty it first.")
            out.mkdir(parents=True, exist_ok=True)
            return out.absolute()
        parent, stamp = RUNS / recipe_name, datetime.now().strftime("%Y%m%d-%H%M%S")
        parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
        with manifest.replacing(parent / "latest") as new:
            new.unlink(missing_ok=True)
            new.symlink_to(folder.name, target_is_directory=True)
        return folder.absolute()
    except OSError as error:
        raise disk_error(error, out or RUNS) or RunError(f"{out or RUNS}: {error.strerror}.") from error


def find(text: str) -> Path:
    """Find a run folder by a path (``runs/demo/latest``) or a recipe's name (``demo``: its latest run)."""
    for candidate in (Path(text), Path(text) / "latest", RUNS / text, RUNS / text / "latest"):
        if (candidate / manifest.FILE).is_file():
            return candidate.resolve()
    if Path(text).is_dir():
        raise RunError(f"{text} is not a run folder: it has no {manifest.FILE}. Give a folder like runs/demo/latest.")
    names = sorted(folder.name for folder in RUNS.iterdir() if folder.is_dir()) if RUNS.is_dir() else []
    recipe = Path("recipes", f"{Path(text).stem}.yaml")
    known = f" There are runs of: {', '.join(names)}." if names else ""
    start = f" Start one with: tradeschool run {recipe if recipe.is_file() else 'recipes/demo.yaml'}"
    where = "" if len(Path(text).parts) > 1 else f" in ./{RUNS}"
    raise RunError(f"No run '{text}'{where}.{did_you_mean(text, names)}{known}{start}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder for this process; the lock ends with the process. A RunError if another one holds it."""
    try:
        file = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise disk_error(error, folder) or RunError(f"{folder}: {error.strerror}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise RunError(
                f"{folder} is in use by process {file.read().strip() or '(unknown)'}. "
                "Wait until it ends, or end it, then try again."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def set_aside(folder: Path) -> Path:
    """Move the folder of a stage that begins again to the first free ``earlier/<name>-<number>`` of the run."""
    earlier = folder.parent / EARLIER
    aside = next(one for n in itertools.count(1) if not (one := earlier / f"{folder.name}-{n}").exists())
    earlier.mkdir(exist_ok=True)
    return folder.rename(aside)


def refuse_links(folder: Path) -> None:
    """Refuse to go on where a stage that has not finished would write or remove files outside of the run."""
    for stage in [one for one in folder.iterdir() if one.is_dir() and not (one / DONE).exists()]:
        for path in (stage, *stage.rglob("*")):
            if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
                raise RunError(
                    f"{path} is a link to {path.resolve()}, outside of the run, where the run would write and remove "
                    "files. Put the files themselves in its place, or remove the link."
                )


def write_done(folder: Path, done: Done) -> None:
    """Mark a stage as finished. This is the last file written for it; its paths are relative to the folder."""
    content = {
        "weights": None if done.weights is None else os.path.relpath(done.weights, folder),
        "kind": done.kind,
        "datasets": {name: os.path.relpath(path, folder) for name, path in done.datasets.items()},
        "summary": done.summary,
        "seconds": round(done.seconds, 3),
        "peak_memory_bytes": done.peak_memory_bytes,
    }
    manifest.write_json(folder / DONE, content)


def read_done(folder: Path) -> Done | None:
    """What a finished stage left, or None where it has not finished; a RunError if that is damaged or gone."""
    path = folder / DONE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        weights = None if content["weights"] is None else (folder / content["weights"]).resolve()
        kind: Kind = "numeric" if content.get("kind") == "numeric" else "language"
        datasets = {name: (folder / where).resolve() for name, where in content.get("datasets", {}).items()}
        done = Done(weights, content["summary"], kind, datasets, content["seconds"], content["peak_memory_bytes"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}). Remove it, and the stage runs again.") from error
    for made in [weights, *datasets.values()]:
        if made is not None and not made.exists():
            raise RunError(f"{path} names {made}, which is gone. Remove {path}, and the stage runs again.")
    return done


def stage_folders(run_folder: Path, file: str) -> list[Path]:
    """The folders of the stages that have written ``file``, in the order of the stages (10-evaluate after 2-grpo)."""
    return sorted((path.parent for path in run_folder.glob(f"*/{file}")), key=lambda path: int(path.name.split("-")[0]))
