"""What tells one model's weights from another's: the content of a folder's files, the commit of a Hub name."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from tradeschool.errors import RecipeError

NOT_LOADED = (
    ".",
    "checkpoint-",
    "optimizer",
    "readme",
    "rng_state",
    "scaler",
    "scheduler",
    "trainer_state",
    "training_args",
)
"""What names of files begin with that lie beside a model's and that loading it does not read."""
ADAPTERS = "adapter_config.json"


def fingerprint(source: str) -> dict[str, Any]:
    """``{"sha256": ...}`` of a local folder, wherever it lies; ``{"source": ..., "commit": ...}`` of a Hub name.

    Adapters have that of the model they are laid on under ``base``.

    Raises:
        RecipeError: there is no such folder, and no such name on the Hub or in its cache.
    """
    folder = Path(source)
    if folder.is_dir():
        found, adapters = {"sha256": folder_hash(folder)}, folder / ADAPTERS
    else:
        from transformers.utils.peft_utils import find_adapter_config_file

        found, adapters = {"source": source, "commit": commit_of(source)}, None
        if at := find_adapter_config_file(source, revision=found["commit"]):
            adapters = Path(at)
    base = _base(adapters) if adapters and adapters.is_file() else ""
    return {**found, "base": fingerprint(base)} if base else found


def fingerprint_now(source: str) -> dict[str, Any]:
    """The fingerprint, the Hub asked anew: the same before and after loading, it is that of what was loaded."""
    commit_of.cache_clear()
    return fingerprint(source)


@functools.cache
def commit_of(name: str) -> str:
    """The commit that a Hub name stands for, found out once: as transformers does it, from the cache when offline.

    Raises:
        RecipeError: the Hub does not know the name, or cannot be reached and the cache does not have it.
    """
    from huggingface_hub import resolve_revision
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionResolutionError

    try:
        return resolve_revision(name).resolved
    except (HfHubHTTPError, HFValidationError, RevisionResolutionError, OSError) as error:
        why = str(error).strip().split("\n")[0][:200]
        raise RecipeError(
            f"'{name}' is no folder here, and no model of the Hub that can be reached or is in its cache ({why}). "
            "Give a local folder with config.json, tokenizer.json and safetensors, or a Hub name."
        ) from error


def folder_hash(folder: Path) -> str:
    """Sixteen hex digits of the names and contents of all files that loading a model may read."""
    lines = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.casefold().startswith(NOT_LOADED) for part in name.parts):
            stat = path.stat()
            lines.append(f"{name.as_posix()} {_file_hash(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=4096)
def _file_hash(path: Path, inode: int, size: int, changed_at: int) -> str:
    """A file's SHA-256, read once for as long as it stays what it is."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _base(adapters: Path) -> str:
    try:
        return str(json.loads(adapters.read_text(encoding="utf-8")).get("base_model_name_or_path") or "")
    except (ValueError, AttributeError) as error:
        raise RecipeError(f"{adapters} is damaged ({error}). Put it back, or train the adapters again.") from error
