"""Where runs lie on the disk: naming, finding and locking a run folder, and what each finished stage left."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tradeschool import manifest
from tradeschool.errors import RunError, did_you_mean
from tradeschool.train.stage import Kind, Result

RUNS = Path("runs")
RECIPE = "recipe.yaml"
REPORT = "report.html"
DONE = "done.json"
_PLAIN_ERRORS = {
    errno.ENOSPC: "the disk is full. Make room",
    errno.EDQUOT: "your disk quota is used up. Make room",
    errno.EROFS: "the disk is read-only. Choose another place with --out",
    errno.EACCES: "you may not write there. Change its permissions, or choose another place with --out",
    errno.EPERM: "you may not write there. Change its permissions, or choose another place with --out",
}


@dataclass(frozen=True)
class Done:
    """What ``done.json`` says about a finished stage. ``weights`` is absolute, None where the stage made none."""

    weights: Path | None
    summary: dict[str, float]
    seconds: float
    peak_memory_bytes: int
    kind: Kind = "language"


def create(recipe_name: str, out: Path | None) -> Path:
    """A new, empty run folder: ``out``, or ``runs/<recipe name>/<stamp>/`` with ``latest`` pointing at it.

    Raises:
        RunError: ``out`` holds something already, or the folder cannot be made.
    """
    try:
        if out is not None:
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                cure = (
                    f"Resume it (tradeschool resume {out})" if (out / manifest.FILE).exists() else "Choose a new folder"
                )
                raise RunError(f"--out {out}: there is something in it already. {cure}, or empty it first.")
            out.mkdir(parents=True, exist_ok=True)
            return out.absolute()
        folder = _stamped(RUNS / recipe_name)
        _point_latest(folder)
        return folder.absolute()
    except OSError as error:
        raise plain_os_error(error, out or RUNS) or RunError(f"{out or RUNS}: {error.strerror}.") from error


def _stamped(parent: Path) -> Path:
    stamp, number = datetime.now().strftime("%Y%m%d-%H%M%S"), 1
    while True:
        folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
            if not parent.is_dir() or number > 999:
                raise


def _point_latest(folder: Path) -> None:
    latest, new = folder.parent / "latest", folder.parent / f".latest.{os.getpid()}"
    new.unlink(missing_ok=True)
    new.symlink_to(folder.name, target_is_directory=True)
    new.replace(latest)


def find(text: str) -> Path:
    """The run folder meant by a path (``runs/demo/latest``) or by a recipe's name (``demo``: its latest run).

    Raises:
        RunError: there is no such run.
    """
    for candidate in (Path(text), Path(text) / "latest", RUNS / text, RUNS / text / "latest"):
        if (candidate / manifest.FILE).is_file():
            return candidate.resolve()
    if Path(text).is_dir():
        raise RunError(f"{text} is not a run folder: it has no {manifest.FILE}. Give a folder like runs/demo/latest.")
    names = sorted(folder.name for folder in RUNS.iterdir() if folder.is_dir()) if RUNS.is_dir() else []
    known = (
        f"There are runs of: {', '.join(names)}." if names else "There are no runs here yet: tradeschool run RECIPE."
    )
    raise RunError(f"There is no run {text}.{did_you_mean(text, names)} {known}")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the lock ends with the process, however that ends.

    Raises:
        RunError: another process holds it, or the folder cannot be written.
    """
    try:
        file = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise plain_os_error(error, folder) or RunError(f"{folder}: {error.strerror}.") from error
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


def write_done(folder: Path, result: Result, seconds: float, peak_memory_bytes: int) -> None:
    """Mark a stage as finished: the last file that it writes."""
    weights = None if result.weights is None else os.path.relpath(result.weights, folder)
    manifest.write_json(
        folder / DONE,
        {
            "weights": weights,
            "kind": result.kind,
            "summary": result.summary,
            "seconds": round(seconds, 3),
            "peak_memory_bytes": peak_memory_bytes,
        },
    )


def read_done(folder: Path) -> Done | None:
    """What a finished stage left; None when the stage has not finished.

    Raises:
        RunError: the file is damaged, or the weights that it names are gone.
    """
    path = folder / DONE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        weights = None if content["weights"] is None else (folder / content["weights"]).resolve()
        kind: Kind = "numeric" if content.get("kind") == "numeric" else "language"
        done = Done(weights, content["summary"], content["seconds"], content["peak_memory_bytes"], kind)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}). Remove it, and the stage runs again.") from error
    if weights is not None and not weights.exists():
        raise RunError(f"{path} names the weights {weights}, which are gone. Remove {path}, and the stage runs again.")
    return done


def plain_os_error(error: BaseException, folder: Path) -> RunError | None:
    """A full or unwritable disk in plain words; None for any other error.

    Libraries wrap the system's error (safetensors and torch raise their own classes), so the text counts too.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number is None and "No space left on device" in str(error):
        number = errno.ENOSPC
    if number not in _PLAIN_ERRORS:
        return None
    return RunError(f"{getattr(error, 'filename', None) or folder}: {_PLAIN_ERRORS[number]}, then try again.")
