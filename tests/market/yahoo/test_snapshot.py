"""A snapshot is written whole or not at all, and in place of nothing but a snapshot."""

from pathlib import Path
from typing import Any

import pytest
from fake_yahoo import LIMIT, FakeYahoo, bytes_of, chart, get, refused

from tradeschool.errors import DataError


def test_a_folder_with_files_is_refused_before_the_network(yahoo: FakeYahoo, tmp_path: Path) -> None:
    get(yahoo, tmp_path / "prices")
    yahoo.asked.clear()
    assert "not empty (DEMO.parquet, manifest.json)" in refused(yahoo, tmp_path / "prices")
    (tmp_path / "file").touch()
    assert "is a file, not a folder" in refused(yahoo, tmp_path / "file")
    assert "file is a file, not a folder" in refused(yahoo, tmp_path / "file" / "prices")
    assert yahoo.asked == []


def test_force_replaces_a_snapshot(yahoo: FakeYahoo, tmp_path: Path) -> None:
    get(yahoo, tmp_path / "prices")
    yahoo.charts["NEXT"] = chart()
    get(yahoo, tmp_path / "prices", "NEXT", force=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["NEXT.parquet", "manifest.json", "prices"]


def test_force_keeps_its_hands_off_other_files(yahoo: FakeYahoo, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work", encoding="utf-8")
    assert "files that no snapshot wrote (chapter.txt)" in refused(yahoo, tmp_path / "thesis", force=True)
    get(yahoo, tmp_path / "prices")
    (tmp_path / "prices" / "notes.md").touch()
    assert "files that no snapshot wrote (notes.md)" in refused(yahoo, tmp_path / "prices", force=True)


def test_the_working_folder_is_refused(yahoo: FakeYahoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in (Path(), Path("..")):
        with pytest.raises(DataError, match="Give the prices a folder of their own"):
            get(yahoo, out, force=True)


def test_an_empty_folder_is_filled(yahoo: FakeYahoo, tmp_path: Path) -> None:
    (tmp_path / "prices").mkdir()
    get(yahoo, tmp_path / "prices")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["DEMO.parquet", "manifest.json", "prices"]


def test_the_old_snapshot_outlives_a_failed_fetch(yahoo: FakeYahoo, tmp_path: Path) -> None:
    get(yahoo, tmp_path / "prices")
    before = bytes_of(tmp_path)
    refused(yahoo, tmp_path / "prices", "DEMO", "GONE", force=True)
    yahoo.troubles = [LIMIT] * 20
    refused(yahoo, tmp_path / "prices", force=True)
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("place", ["write", "rename"])
@pytest.mark.parametrize("old", [True, False])
def test_nothing_half_written_is_left(
    yahoo: FakeYahoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException, old: bool
) -> None:
    import pandas as pd

    yahoo.charts["NEXT"] = chart()
    out = tmp_path / "deep" / "prices"
    if old:
        get(yahoo, out)
    before = bytes_of(tmp_path), sorted(tmp_path.rglob("*"))

    def stopped(original: Any) -> Any:
        def called(this: Any, path: Path, **options: Any) -> Any:
            ours = tmp_path in path.parents and path.name in ("NEXT.parquet", "prices")
            if ours and not (place == "rename" and this.name.endswith(".old")):
                raise error
            return original(this, path, **options)

        return called

    owner, name = (pd.DataFrame, "to_parquet") if place == "write" else (Path, "rename")
    monkeypatch.setattr(owner, name, stopped(getattr(owner, name)))
    expected = DataError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="No space left" if isinstance(error, OSError) else None):
        get(yahoo, out, "DEMO", "NEXT", force=old)
    assert (bytes_of(tmp_path), sorted(tmp_path.rglob("*"))) == before


def test_ctrl_c_between_tickers_leaves_nothing(yahoo: FakeYahoo, tmp_path: Path) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    yahoo.charts["NEXT"] = chart()
    get(yahoo, tmp_path / "prices")
    yahoo.troubles = [LIMIT] * 2
    before = bytes_of(tmp_path)
    with pytest.raises(KeyboardInterrupt) as caught:
        get(yahoo, tmp_path / "prices", "DEMO", "NEXT", force=True, wait=interrupted)
    assert caught.value.__notes__ == ["Nothing was written. The same command starts again."]
    assert bytes_of(tmp_path) == before
