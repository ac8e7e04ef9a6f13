"""Fingerprints: equal for equal weights, on this disk and on the Hub."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models

from tradeschool.errors import RecipeError
from tradeschool.models.fingerprint import commit_of, fingerprint

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


def test_renamed_added_or_removed_files_are_another_model(checkpoint: Path) -> None:
    seen = [fingerprint(str(checkpoint))]
    (checkpoint / "chat_template.jinja").write_text("{{ messages }}")
    seen.append(fingerprint(str(checkpoint)))
    (checkpoint / "chat_template.jinja").rename(checkpoint / "chat_templates.jinja")
    seen.append(fingerprint(str(checkpoint)))
    (checkpoint / "generation_config.json").unlink()
    seen.append(fingerprint(str(checkpoint)))
    assert all(one != other for place, one in enumerate(seen) for other in seen[:place])


def test_files_that_training_leaves_are_ignored(checkpoint: Path) -> None:
    before = fingerprint(str(checkpoint))
    for name in ("README.md", "training_args.bin", "optimizer.pt", "rng_state.pth", ".cache", "trainer_state.json"):
        (checkpoint / name).write_text("x")
    (checkpoint / "checkpoint-10").mkdir()
    (checkpoint / "checkpoint-10" / "model.safetensors").write_text("x")
    assert fingerprint(str(checkpoint)) == before


def test_a_file_is_read_again_only_when_it_has_changed(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[str]()
    digest = hashlib.file_digest

    def counted(file: Any, name: Any) -> Any:
        read.append(file.name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    fingerprint(str(checkpoint))
    assert read
    read.clear()
    fingerprint(str(checkpoint))
    assert not read
    os.utime(checkpoint / "config.json", (5, 5))
    fingerprint(str(checkpoint))
    assert read == [str(checkpoint / "config.json")]


def test_adapters_have_the_fingerprint_of_their_base(checkpoint: Path, tmp_path: Path) -> None:
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


def test_equal_adapters_are_equal_wherever_their_base_lies(checkpoint: Path, tmp_path: Path) -> None:
    """peft writes the absolute path of the base, and sets of names in an order that differs between processes."""
    found = []
    for number, names in enumerate((["q_proj", "v_proj"], ["v_proj", "q_proj"])):
        base, adapters = tmp_path / f"base{number}", tmp_path / f"adapters{number}"
        shutil.copytree(checkpoint, base)
        adapters.mkdir()
        settings = {"target_modules": names, "r": 4, "base_model_name_or_path": str(base)}
        (adapters / "adapter_config.json").write_text(json.dumps(settings))
        (adapters / "adapter_model.safetensors").write_bytes(b"weights")
        found.append(fingerprint(str(adapters)))
    assert found[0] == found[1]
    (adapters / "adapter_config.json").write_text(json.dumps({**settings, "r": 8}))
    assert fingerprint(str(adapters)) != found[0]


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


def test_a_hub_name_is_identified_by_its_commit(hub: Callable[..., None]) -> None:
    hub(FIRST)
    assert fingerprint("house/tiny") == {"source": "house/tiny", "commit": FIRST}
    hub(SECOND)
    assert fingerprint("house/tiny")["commit"] == FIRST  # asked once


def test_adapters_on_the_hub_have_the_fingerprint_of_their_base(hub: Callable[..., None]) -> None:
    hub(FIRST)
    hub(SECOND, "house/adapters", adapter_config=json.dumps({"base_model_name_or_path": "house/tiny"}))
    found = fingerprint("house/adapters")
    assert found["commit"] == SECOND
    assert found["base"] == {"source": "house/tiny", "commit": FIRST}


def test_an_unknown_name_is_refused(hub: Callable[..., None]) -> None:
    hub(FIRST)
    for name in ("house/other", "no/such/folder", "runs/x/weights!"):
        with pytest.raises(RecipeError, match=f"'{name}'"):
            fingerprint(name)
