"""What tells one model's weights from another's, on this disk and on the Hub."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models

from tradeschool.errors import RecipeError, RunError
from tradeschool.evaluate.leaderboard import rivals
from tradeschool.models import fingerprint as module
from tradeschool.models.fingerprint import commit_of, fingerprint, fingerprint_now

FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.folder(tmp_path_factory.mktemp("made") / "tiny")


@pytest.fixture
def checkpoint(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "tiny"))


def test_the_same_content_elsewhere_is_the_same_model(checkpoint: Path, tmp_path: Path) -> None:
    before = fingerprint(str(checkpoint))
    assert set(before) == {"sha256"}
    copy = shutil.copytree(checkpoint, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    for path in copy.iterdir():
        os.utime(path, (1, 1))
    assert fingerprint(str(copy)) == before
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in checkpoint.iterdir():
        (linked / path.name).symlink_to(path)
    assert fingerprint(str(linked)) == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_one_changed_byte_is_another_model(checkpoint: Path, name: str) -> None:
    before = fingerprint(str(checkpoint))
    content = bytearray((checkpoint / name).read_bytes())
    content[-2] ^= 1
    (checkpoint / name).write_bytes(content)
    os.utime(checkpoint / name, (10**9, 10**9))
    changed = fingerprint(str(checkpoint))
    assert changed != before
    content[-2] ^= 1
    (checkpoint / name).write_bytes(content)
    os.utime(checkpoint / name, (10**9 + 1, 10**9 + 1))
    assert fingerprint(str(checkpoint)) == before


def test_files_that_are_renamed_added_or_gone_are_another_model(checkpoint: Path) -> None:
    seen = [fingerprint(str(checkpoint))]
    (checkpoint / "chat_template.jinja").write_text("{{ messages }}")
    seen.append(fingerprint(str(checkpoint)))
    (checkpoint / "chat_template.jinja").rename(checkpoint / "chat_templates.jinja")
    seen.append(fingerprint(str(checkpoint)))
    (checkpoint / "generation_config.json").unlink()
    seen.append(fingerprint(str(checkpoint)))
    assert all(one != other for place, one in enumerate(seen) for other in seen[:place])


def test_what_training_leaves_beside_a_model_does_not_count(checkpoint: Path) -> None:
    before = fingerprint(str(checkpoint))
    for name in ("README.md", "training_args.bin", "optimizer.pt", "rng_state.pth", ".cache", "trainer_state.json"):
        (checkpoint / name).write_text("x")
    (checkpoint / "checkpoint-10").mkdir()
    (checkpoint / "checkpoint-10" / "model.safetensors").write_text("x")
    assert fingerprint(str(checkpoint)) == before


def test_files_are_read_once_for_as_long_as_they_stay(checkpoint: Path) -> None:
    fingerprint(str(checkpoint))
    before = module._file_hash.cache_info().misses
    fingerprint(str(checkpoint))
    assert module._file_hash.cache_info().misses == before
    os.utime(checkpoint / "config.json", (5, 5))
    fingerprint(str(checkpoint))
    assert module._file_hash.cache_info().misses == before + 1


def test_adapters_are_known_with_the_model_that_they_are_laid_on(checkpoint: Path, tmp_path: Path) -> None:
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    (adapters / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(checkpoint)}))
    (adapters / "adapter_model.safetensors").write_bytes(b"weights")
    before = fingerprint(str(adapters))
    assert before["base"] == fingerprint(str(checkpoint))
    (checkpoint / "config.json").write_text("{}")
    changed = fingerprint(str(adapters))
    assert changed["sha256"] == before["sha256"]
    assert changed["base"] != before["base"]
    (adapters / "adapter_config.json").write_text("[")
    with pytest.raises(RecipeError, match=r"adapter_config.json is damaged"):
        fingerprint(str(adapters))


# on the Hub, as its cache has it


@pytest.fixture
def hub(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a model into an empty cache under a commit, which ``main`` then stands for."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    commit_of.cache_clear()

    def put(commit: str, name: str = "house/tiny", **files: str) -> None:
        folder = cache / f"models--{name.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
        if files:
            (folder / "snapshots" / commit).mkdir(parents=True)
        else:
            shutil.copytree(made, folder / "snapshots" / commit, dirs_exist_ok=True)
        for file, text in files.items():
            (folder / "snapshots" / commit / f"{file}.json").write_text(text)

    return put


def test_a_name_on_the_hub_is_known_by_its_commit(hub: Callable[..., None]) -> None:
    hub(FIRST)
    assert fingerprint("house/tiny") == {"source": "house/tiny", "commit": FIRST}
    hub(SECOND)
    assert fingerprint("house/tiny")["commit"] == FIRST  # asked once
    assert fingerprint_now("house/tiny") == {"source": "house/tiny", "commit": SECOND}


def test_adapters_on_the_hub_are_known_with_their_base(hub: Callable[..., None]) -> None:
    hub(FIRST)
    hub(SECOND, "house/adapters", adapter_config=json.dumps({"base_model_name_or_path": "house/tiny"}))
    found = fingerprint("house/adapters")
    assert found["commit"] == SECOND
    assert found["base"] == {"source": "house/tiny", "commit": FIRST}


def test_a_name_that_is_nowhere_is_told_plainly(hub: Callable[..., None]) -> None:
    hub(FIRST)
    for name in ("house/other", "no/such/folder", "runs/x/weights!"):
        with pytest.raises(RecipeError, match=f"'{name}' is no folder here, and no model of the Hub"):
            fingerprint(name)


def test_what_is_loaded_is_what_the_fingerprint_was_taken_of(
    hub: Callable[..., None], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tradeschool.models import load

    hub(FIRST)
    arena: Any = None
    real = load.load

    def someone_else_writes(*args: Any) -> Any:
        loaded = real(*args)
        hub(SECOND)
        (checkpoint / "added.json").write_text(args[0])
        return loaded

    for source, known in (("house/tiny", {"source": "house/tiny", "commit": FIRST}), (str(checkpoint), None)):
        known = known or fingerprint(source)
        rival = rivals.model_rival("tiny", source, load.ModelConfig(base=source), batch=2)
        assert rival.settings_in(arena)["weights"] == known
        assert rival.make(arena, lambda count: None).name == "tiny"
        rivals.unload()
    monkeypatch.setattr(load, "load", someone_else_writes)
    for source in ("house/tiny", str(checkpoint)):
        with pytest.raises(RunError, match="changed while it was loaded"):
            rivals.model_rival("tiny", source, load.ModelConfig(base=source), batch=2).make(arena, lambda count: None)
