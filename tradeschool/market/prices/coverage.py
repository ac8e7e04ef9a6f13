"""Which files a path holds, and how the tickers found in them lie beside each other."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tradeschool.errors import did_you_mean
from tradeschool.market.finding import Report
from tradeschool.market.prices.bars import History
from tradeschool.market.prices.dates import Days

_LISTED = 10


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
    if not files:
        folders = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        inside = f" Did you mean one of its folders: {', '.join(folders[:5])}?" if folders else ""
        cure = f"Give a folder that has.{inside}"
        report.error(None, f"the folder has no {wanted} file", f"{len(entries)} entries", cure)
        return
    # Of hidden entries only those are named that look like prices.
    told = {entry.name for entry in entries if not entry.name.startswith(".") or entry.suffix in (".csv", ".parquet")}
    if others := sorted(told - {file.name for file in files}):
        report.info("entries that are no price files were not read", listed(others))


def _is_file(entry: Path, report: Report) -> bool:
    if entry.is_file():
        return True
    what = "a folder" if entry.is_dir() else "a link that leads nowhere" if entry.is_symlink() else "no plain file"
    cure = "Put a file in its place, or remove it."
    report.error(None, "an entry is named like a price file but is none", f"{entry.name} is {what}", cure)
    return False


def check_tickers(found: Sequence[History], report: Report) -> None:
    """A ticker must come once, in one spelling: neither case nor ``.``, ``-``, ``/``, ``_`` or a blank make another."""
    by_spelling: dict[str, list[History]] = {}
    for history in found:
        by_spelling.setdefault(_folded(history.ticker), []).append(history)
    for several in by_spelling.values():
        if not several[1:]:
            continue
        shown = ", ".join(f"'{one.ticker}' in {Path(one.file).name}" for one in several[:4])
        if len({one.ticker for one in several}) > 1:
            report.error(None, "a ticker comes in two spellings", shown, "Write it one way, and keep it once.")
        else:
            cure = "Keep one file per ticker."
            report.error(None, f"a ticker comes from more than one file ({several[0].ticker})", shown, cure)


def _folded(ticker: str) -> str:
    return re.sub(r"[\s._/-]+", "-", unicodedata.normalize("NFKC", ticker).strip().casefold())


def note_gaps(found: Sequence[History], report: Report, holes: bool = True) -> None:
    """Infos about days inside a ticker's history on which only others traded, and about unequal ends."""
    if not found:
        return
    dates_T = united(found)
    gaps, ends = [], []
    for history in found:
        first, last = (int(i) for i in np.searchsorted(dates_T, history.dates_T[[0, -1]]))
        if missing := last - first + 1 - len(history.dates_T):
            gaps.append(f"{history.ticker} {missing}")
        if first > 0 or last < len(dates_T) - 1:
            ends.append(f"{history.ticker} {history.dates_T[0]} to {history.dates_T[-1]}")
    if gaps and holes:
        rule = "days on which others traded are missing inside a ticker's history"
        cure = "Nothing to do: they count as not traded, and indicators begin anew after them."
        report.info(rule, listed(gaps), cure)
    if ends:
        rule = f"{len(ends)} ticker{'s' if ends[1:] else ''} begin later or end earlier than others"
        report.info(rule, listed(ends), "Nothing to do if they were listed later or delisted.")


def united(found: Sequence[History]) -> Days:
    """All days on which any of them has a bar, ascending, [T]."""
    first, last = min(one.dates_T[0] for one in found), max(one.dates_T[-1] for one in found)
    present = np.zeros(int((last - first).astype(np.int64)) + 1, dtype=bool)
    for one in found:
        present[(one.dates_T - first).astype(np.int64)] = True
    days_T: Days = first + np.flatnonzero(present).astype("timedelta64[D]")
    return days_T


def listed(words: Sequence[str]) -> str:
    """The first ten words, and how many more there are."""
    more = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more
