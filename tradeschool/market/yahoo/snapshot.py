"""A folder of parquet files with a manifest, written whole or not at all."""

import dataclasses
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradeschool.errors import DataError
from tradeschool.market.panel import Panel
from tradeschool.market.sources import load

if TYPE_CHECKING:
    import pandas as pd

FILE = "manifest.json"
VERSION = 1


def target(out: str | Path, force: bool) -> Path:
    """The folder that a snapshot may be written to, absolute; called before the work, so that it is not done in vain.

    Raises:
        DataError: it is a file, or cannot be written, or the working folder lies in it, or it holds files
            and ``force`` is not given, or with ``force`` files that are no snapshot's.
    """
    path = Path(out).resolve()
    if Path.cwd().is_relative_to(path):
        raise DataError(f"{path} is the folder you are in, or holds it. Give the prices a folder of their own.")
    above = next(folder for folder in path.parents if folder.exists())
    if not above.is_dir() or (path.exists() and not path.is_dir()):
        file = path if path.exists() else above
        raise DataError(f"{file} is a file, not a folder. Give a folder that is new or empty.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise DataError(f"{above} cannot be written to. Check its rights, or give another folder.")
    entries = sorted(entry.name for entry in path.iterdir()) if path.exists() else []
    if entries and not force:
        raise DataError(
            f"{path} is not empty ({_listed(entries)}). Give another folder, "
            "or replace the snapshot in it with --force."
        )
    if strange := [name for name in entries if name not in _own_files(path)]:
        raise DataError(
            f"{path} holds files that no snapshot wrote ({_listed(strange)}), so --force does not replace it. "
            "Move them elsewhere, or give another folder."
        )
    return path


def write(path: Path, frames: "Mapping[str, pd.DataFrame]", manifest: dict[str, Any], force: bool) -> Panel:
    """Write a parquet file per ticker and the manifest beside ``path``, load them, then put them in its place.

    ``manifest["tickers"][ticker]`` gains file, sha256, rows, first_day and last_day, ``manifest`` the
    ``data_hash`` of the panel, which is returned. Until the new snapshot is complete and on the disk, what
    is at ``path`` stays as it is, and whatever stops the writing, nothing half-written is left.

    Raises:
        DataError: the folder cannot be written, or the prices break a rule of loading.
    """
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        new.mkdir(parents=True)
        for ticker, frame in frames.items():
            manifest["tickers"][ticker] |= _write_parquet(new / f"{ticker}.parquet", frame)
        panel = load(new, messages=[])
        manifest["data_hash"] = panel.data_hash()
        (new / FILE).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for file in new.iterdir():
            _to_disk(file)
        _swap(new, target(path, force))
    except BaseException as error:
        shutil.rmtree(new, ignore_errors=True)
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        if isinstance(error, OSError):
            raise DataError(
                f"{path} cannot be written: {error.strerror or error}. Give another folder, or make room."
            ) from error
        raise
    return dataclasses.replace(panel, name=path.name)


def _write_parquet(file: Path, frame: "pd.DataFrame") -> dict[str, Any]:
    frame.to_parquet(file, index=False, write_page_checksum=True)
    days = frame["Date"].dt.strftime("%Y-%m-%d")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {
        "file": file.name,
        "sha256": digest,
        "rows": len(frame),
        "first_day": days.iloc[0],
        "last_day": days.iloc[-1],
    }


def _to_disk(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _swap(new: Path, path: Path) -> None:
    """The old folder steps aside, the new one takes its name, and only then is the old one deleted."""
    if not path.exists():
        new.rename(path)
        return
    old = path.with_name(f"{new.name}.old")
    try:
        path.rename(old)
        new.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    try:
        shutil.rmtree(old)
    except OSError as error:
        raise DataError(f"The new snapshot is at {path}. The old one cannot be deleted: remove {old}.") from error


def _own_files(path: Path) -> set[str]:
    """The files that a snapshot's manifest names, and itself; none when there is no manifest to read."""
    try:
        tickers = json.loads((path / FILE).read_text(encoding="utf-8"))["tickers"]
        return {FILE, *(entry["file"] for entry in tickers.values())}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()


def _listed(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
