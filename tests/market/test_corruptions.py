"""Good folders with something broken in them: refused, or every difference in the Panel is accounted for.

Four formats (a file per ticker, long, yfinance's wide, field tables) meet damage to bytes, cells, rows, columns
and files. An independent reader, a few lines for plain CSV only, gives the expected bars.
"""

import gzip
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from broken_folders import FORMATS, LEVELS, QUOTES, Bar, Damage, Files, Key, long, per_ticker, plain, shortened
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tradeschool.errors import DataError
from tradeschool.market.findings import has_errors
from tradeschool.market.load import check_prices, load_prices
from tradeschool.market.panel import FIELDS, Panel

EXAMPLES = 20
"""Per level and format: 320 in all."""


def bars_of(panel: Panel) -> dict[Key, Bar]:
    """The bars as they are in the files: before the adjustment, which every later bar depends on."""
    factor_TN = np.ones(panel.shape) if panel.factor_TN is None else panel.factor_TN
    arrays = [getattr(panel, f"{name}_TN") / factor_TN ** (-1 if name == "volume" else 1) for name in FIELDS]
    days = panel.dates_T.astype(str)
    return {
        (panel.tickers[n], days[t]): tuple(shortened(array[t, n]) for array in arrays)
        for t, n in np.argwhere(panel.listed_TN)
    }


@dataclass
class Outcome:
    bars: dict[Key, Bar] | None
    texts: Counter[str]


def outcome(folder: Path) -> Outcome:
    """Load and check: neither raises anything but DataError, and they agree."""
    findings = check_prices(folder)
    messages: list[str] = []
    try:
        panel = load_prices(folder, messages)
    except DataError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert bool(refusal) == has_errors(findings), refusal
    if refusal:
        assert str(folder) in refusal
        return Outcome(None, Counter())
    assert sorted(messages) == sorted(finding.text for finding in findings)
    return Outcome(bars_of(panel), Counter(text.replace(str(folder), "") for text in messages))


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def intact_keys(kind: str, good: Files, bad: Mapping[str, bytes]) -> set[Key]:
    """Tickers and days whose every line, and whose header, are unharmed in the damaged folder."""
    harmed: set[tuple[str, str]] = set()
    for name, data in good.items():
        lines, left = data.split(b"\n"), set(bad.get(name, b"").split(b"\n"))
        heads = 3 if kind == "wide" else 1
        whole = b"\n".join(lines[:heads]) + b"\n"
        for line in lines[heads:-1]:
            if line not in left or not bad.get(name, b"").startswith(whole):
                harmed.add((name, line.decode()))
    days = {(name, line.split(",")[0]) for name, line in harmed}
    pairs = {(line.split(",")[1], line.split(",")[0]) for _, line in harmed}
    if kind == "per ticker":
        return {(ticker, day) for ticker, day in QUOTES if (f"{ticker}.csv", day) not in days}
    if kind == "long":
        return set(QUOTES) - pairs
    return {key for key in QUOTES if key[1] not in {day for _, day in days}}


def same(a: Bar | None, b: Bar | None) -> bool:
    return a is not None and b is not None and np.array_equal(a, b, equal_nan=True)


def judge(kind: str, good: Files, bad: Files, before: Outcome, after: Outcome) -> str:
    """Assert the property and return how the damage ended."""
    assert before.bars is not None
    if after.bars is None:
        return "refused"
    changed = {
        key for key in before.bars.keys() | after.bars.keys() if not same(before.bars.get(key), after.bars.get(key))
    }
    assert not changed & intact_keys(kind, good, bad), "an undamaged bar changed"
    if not changed:
        return "equal"
    if after.texts - before.texts:
        return "announced"
    # No message: then the damaged folder must be valid too, and hold exactly these other values.
    expected = plain(bad)
    assert expected.keys() == after.bars.keys()
    assert all(same(expected[key], bar) for key, bar in after.bars.items())
    gone = before.bars.keys() - after.bars.keys()
    # A missing line shows against other tickers only where each has its own lines.
    assert not gone or kind in ("long", "wide"), "days vanished without a message"
    assert not after.bars.keys() - before.bars.keys() or kind in ("long", "wide"), "days appeared without a message"
    return "another valid value"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("level", LEVELS)
def test_damage_is_refused_or_every_difference_is_accounted_for(tmp_path: Path, level: str, kind: str) -> None:
    good = FORMATS[kind]()
    folder = tmp_path / "market"
    before = outcome(write(folder, good))
    assert before.bars is not None
    assert before.bars == plain(good)
    ends: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(LEVELS[level])
    def run(damage: Damage) -> None:
        bad = damage(good)
        assume(bad != good)
        ends[judge(kind, good, bad, before, outcome(write(folder, bad)))] += 1

    run()
    print(f"{level} of {kind}: {sum(ends.values())} corruptions: {dict(ends)}")
    assert sum(ends.values()) >= EXAMPLES * 0.8
    # A reader that refuses everything, or damage that is never noticed, would pass trivially.
    assert ends["refused"] + ends["announced"] > 0


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "an empty file": ("refused", lambda folder: (folder / "ZZZ.csv").touch()),
    "a folder named like a file": ("refused", lambda folder: (folder / "ZZZ.csv").mkdir()),
    "a link to itself": ("refused", lambda folder: (folder / "ZZZ.csv").symlink_to("ZZZ.csv")),
    "a link to nothing": ("refused", lambda folder: (folder / "ZZZ.csv").symlink_to("gone.csv")),
    "a pipe": ("refused", lambda folder: os.mkfifo(folder / "ZZZ.csv")),
    "a zipped file": ("refused", lambda folder: rewritten(folder / "BBB.csv", gzip.compress)),
    "a file of noise": ("refused", lambda folder: rewritten(folder / "BBB.csv", noise)),
    "a file emptied": ("refused", lambda folder: rewritten(folder / "BBB.csv", lambda _: b"")),
    "a file of one line": ("refused", lambda folder: rewritten(folder / "BBB.csv", lambda data: data.split(b"\n")[0])),
    "a file moved into a folder of its name": ("refused", lambda folder: boxed(folder / "BBB.csv")),
    "parquet named CSV": ("refused", lambda folder: as_frame(folder / "BBB.csv").to_parquet(folder / "ZZZ.csv")),
    "CSV named parquet": ("refused", lambda folder: shutil.copy(folder / "BBB.csv", folder / "ZZZ.parquet")),
    "a ticker in two kinds of files": (
        "refused",
        lambda folder: as_frame(folder / "BBB.csv").to_parquet(folder / "BBB.parquet"),
    ),
    "a ticker in other letters": ("refused", lambda folder: shutil.copy(folder / "BBB.csv", folder / "bbb.csv")),
    "a ticker and a blank": ("refused", lambda folder: shutil.copy(folder / "BBB.csv", folder / "BBB .csv")),
    "an ending in other letters": ("refused", lambda folder: shutil.copy(folder / "BBB.csv", folder / "BBB.CSV")),
    "a file that may not be read": ("refused", lambda folder: (folder / "BBB.csv").chmod(0)),
    "a file of another kind": ("announced", lambda folder: (folder / "notes.txt").touch()),
    "a folder beside the files": ("announced", lambda folder: (folder / "old").mkdir()),
    "a hidden copy": ("announced", lambda folder: shutil.copy(folder / "BBB.csv", folder / "._BBB.csv")),
}


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def boxed(path: Path) -> None:
    moved = path.rename(path.with_suffix(".old"))
    path.mkdir()
    moved.rename(path / path.name)


def noise(data: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(data))


def as_frame(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


@pytest.mark.parametrize("damage", FILES)
def test_damage_to_files_is_refused_or_reported(tmp_path: Path, damage: str) -> None:
    if damage == "a file that may not be read" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    folder = write(tmp_path / "market", per_ticker())
    before = outcome(folder)
    end, harm = FILES[damage]
    harm(folder)
    after = outcome(folder)
    if end == "refused":
        assert after.bars is None
    else:
        assert after.bars == before.bars
        assert after.texts - before.texts


def test_flipped_bytes_of_a_parquet_file_with_checksums_never_change_a_bar(tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    (tmp_path / "all.csv").write_bytes(long()["all.csv"])
    as_frame(tmp_path / "all.csv").to_parquet(path, index=False, write_page_checksum=True)
    good = path.read_bytes()
    before = outcome(path)
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    ends: Counter[str] = Counter()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(at=st.integers(4, footer - 1), mask=st.integers(1, 255))
    def run(at: int, mask: int) -> None:
        path.write_bytes(good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :])
        after = outcome(path)
        ends["refused" if after.bars is None else "equal"] += 1
        assert after.bars is None or after.bars == before.bars

    run()
    assert ends["refused"] > 30


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 10_000), junk=st.binary(max_size=4), cut=st.integers(0, 4))
def test_a_broken_parquet_file_never_ends_in_a_traceback(tmp_path: Path, at: int, junk: bytes, cut: int) -> None:
    path = tmp_path / "X.parquet"
    if not path.with_suffix(".good").exists():
        (tmp_path / "X.csv").write_bytes(per_ticker()["AAA.csv"])
        as_frame(tmp_path / "X.csv").to_parquet(path.with_suffix(".good"), index=False)
    good = path.with_suffix(".good").read_bytes()
    at %= len(good)
    path.write_bytes(good[:at] + junk + good[at + cut :])
    outcome(path)
