"""Where prepared files go: written beside their place, moved there when whole, continued when cut off."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tradeschool
from tradeschool.errors import DataError
from tradeschool.run_folder import plain_os_error

FILE = "preparation.json"
_LOCATIONS = ("path", "notes", "names")


@dataclass(frozen=True)
class Identity:
    """What prepared files are made from. Two preparations of one identity have the same bytes.

    ``recipe`` holds the parts that matter, without the places where files lie.
    """

    kind: str
    recipe: dict[str, Any]
    data_name: str
    data_hash: str
    task_version: str
    package: str = tradeschool.__version__

    def digest(self) -> str:
        """Sixteen hex digits over all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def identity(kind: str, parts: dict[str, Any], data_name: str, data_hash: str, task_version: str) -> Identity:
    """The identity of a preparation from the parts of a resolved recipe that it depends on."""
    market = {key: value for key, value in parts["market"].items() if key not in _LOCATIONS}
    return Identity(kind, {**parts, "market": market}, data_name, data_hash, task_version)


def begun(out: Path, identity: Identity) -> Path:
    """The folder to write into, ``<out>.partial``: new, or of the same preparation cut off earlier.

    Raises:
        DataError: ``out`` holds something; what lies in the partial folder is of something else; the disk refuses.
    """
    partial = out.with_name(out.name + ".partial")
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DataError(f"--out {out}: there is something in it already. Choose a new folder, or empty it first.")
        if partial.exists() and _written(partial) != identity.digest():
            raise DataError(
                f"{partial} holds a preparation that was cut off and is of another recipe, of other data or of another "
                "version. Remove it, or choose another --out."
            )
        partial.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"digest": identity.digest(), **asdict(identity)}, indent=1, sort_keys=True)
        (partial / FILE).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise _refused(error, out) from error
    return partial


def finished(partial: Path, out: Path) -> None:
    """Move the whole preparation to its place."""
    try:
        if out.exists():
            out.rmdir()
        partial.replace(out)
    except OSError as error:
        raise _refused(error, out) from error


def _written(partial: Path) -> str | None:
    try:
        digest = json.loads((partial / FILE).read_text(encoding="utf-8")).get("digest")
    except (OSError, ValueError, AttributeError):
        return None  # nothing that this command wrote, so not ours to go on with
    return str(digest)


def _refused(error: OSError, out: Path) -> Exception:
    return plain_os_error(error, out) or DataError(f"{out}: {error.strerror}.")
