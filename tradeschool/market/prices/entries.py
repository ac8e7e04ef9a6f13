"""Which files a path holds: prices to read, notes and other entries to name."""

import os
from collections.abc import Sequence
from pathlib import Path

from tradeschool.errors import did_you_mean
from tradeschool.market.finding import Report
from tradeschool.market.prices.coverage import listed


def price_files(path: Path, suffixes: tuple[str, ...], report: Report) -> list[Path]:
    """The files to read, by name; none, with an error in ``report``, where there are none."""
    wanted = " or ".join(suffixes)
    try:
        if path.is_file():
            if path.suffix.casefold() in suffixes:
                return [path]
            report.error(None, "the file has an unknown ending", f"'{path.suffix}'", f"Give a {wanted} file.")
            return []
        if not path.is_dir():
            cure = f"Give a folder of {wanted} files.{_near(path)}"
            report.error(None, "there is no such file or folder", "", cure)
            return []
        entries = sorted(path.iterdir())
        files = [entry for entry in entries if entry.suffix.casefold() in suffixes and not entry.name.startswith(".")]
        _report_others(entries, files, wanted, report)
        return [file for file in files if _is_file(file, report)]
    except OSError as error:
        report.error(None, "the path cannot be read", error.strerror or str(error), "Check its rights.")
        return []


def _near(path: Path) -> str:
    parent = path.absolute().parent
    try:
        return did_you_mean(path.name, [entry.name for entry in parent.iterdir()])
    except OSError:  # no parent, or no right to look into it: then there is nothing to guess from
        return ""


def _report_others(entries: Sequence[Path], files: Sequence[Path], wanted: str, report: Report) -> None:
    tell_notes([entry for entry in entries if _is_plain_notes(entry)], report)
    if not files:
        cure = f"Give a folder that has.{_inside(entries)}"
        report.error(None, f"the folder has no {wanted} file", f"{len(entries)} entries", cure)
        return
    # Of hidden entries only those are named that look like prices.
    told = {entry.name for entry in entries if not entry.name.startswith(".") or entry.suffix in (".csv", ".parquet")}
    read = {file.name for file in files} | {entry.name for entry in entries if _is_plain_notes(entry)}
    if others := sorted(told - read):
        report.info("entries that are no price files were not read", listed(others))


def _is_plain_notes(entry: Path) -> bool:
    return entry.suffix.casefold() == ".jsonl" and entry.is_file() and not entry.name.startswith(".")


def _inside(entries: Sequence[Path]) -> str:
    """The subfolders that hold files named like prices; where none does, all of them."""
    folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    for folder in folders:
        # A folder that may not be looked into can still be named below.
        if os.access(folder, os.R_OK | os.X_OK) and any(
            entry.suffix.casefold() in (".csv", ".parquet") for entry in folder.iterdir()
        ):
            return f" Did you mean {folder}?"
    names = ", ".join(folder.name for folder in folders[:5])
    return f" Did you mean one of its folders: {names}?" if folders else ""


def tell_notes(files: Sequence[Path], report: Report) -> None:
    """An info for every file of notes among price files."""
    for file in files:
        rule = "a file of notes was not read as prices"
        report.info(rule, file.name, "Check it by itself, or give it as market.notes.")


def refuse_notes(path: Path, report: Report) -> None:
    """An error: nothing but notes was found where prices should be."""
    if path.is_dir():
        cure = f"Give a folder of price files.{_inside(sorted(path.iterdir()))}"
        report.error(None, "there are no prices in the folder itself, only notes", "", cure)
    else:
        cure = "Give prices as market.path, and this file as market.notes."
        report.error(None, "the file holds notes, no prices", "", cure)


def _is_file(entry: Path, report: Report) -> bool:
    if entry.is_file():
        return True
    what = "a folder" if entry.is_dir() else "a link that leads nowhere" if entry.is_symlink() else "no plain file"
    cure = "Put a file in its place, or remove it."
    report.error(None, "an entry is named like a price file but is none", f"{entry.name} is {what}", cure)
    return False
