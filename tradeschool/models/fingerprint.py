"""Identifies a model's weights: by the content of a folder's files, or by the commit of a Hub name."""

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tradeschool.errors import RecipeError

ADAPTERS = "adapter_config.json"
NOT_LOADED = re.compile(r"[.]|checkpoint-|optimizer|readme|rng_state|scaler|scheduler|trainer_state|training_args")
"""How files begin that lie beside a model and are not read when it is loaded."""


def fingerprint(source: str) -> dict[str, Any]:
    """``{"sha256": ...}`` of a local folder, wherever it lies; ``{"source": ..., "commit": ...}`` of a Hub name.

    Adapters have the fingerprint of their base model under ``base``.

    Raises:
        RecipeError: ``source`` is neither a folder nor a model on the Hub or in its cache.
    """
    from transformers.utils.peft_utils import find_adapter_config_file

    local = Path(source).is_dir()
    found = {"sha256": folder_hash(Path(source))} if local else {"source": source, "commit": commit_of(source)}
    path = find_adapter_config_file(source, revision=found.get("commit"))
    if path is None:
        return found
    try:
        base = str(json.loads(Path(path).read_text(encoding="utf-8")).get("base_model_name_or_path") or "")
    except (ValueError, AttributeError) as error:
        raise RecipeError(f"{path} is damaged ({error}). Restore it, or train the adapters again.") from error
    return {**found, "base": fingerprint(base)} if base else found


@functools.cache
def commit_of(name: str) -> str:
    """The commit of a Hub name, looked up once, as transformers does it: from the local cache when offline.

    Raises:
        RecipeError: the Hub does not know the name, or cannot be reached and the cache does not hold it.
    """
    from huggingface_hub import resolve_revision
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionResolutionError

    try:
        return resolve_revision(name).resolved
    except (HfHubHTTPError, HFValidationError, RevisionResolutionError, OSError) as error:
        why = str(error).strip().split("\n")[0][:200]
        raise RecipeError(
            f"'{name}' is not a local folder, and the Hub and its cache have no such model ({why}). "
            "Give a local folder with config.json, tokenizer.json and safetensors, or a Hub name."
        ) from error


def folder_hash(folder: Path) -> str:
    """16 hex digits over the names and contents of all files that loading a model may read."""
    lines = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(NOT_LOADED.match(part.casefold()) for part in name.parts):
            stat = path.stat()
            lines.append(f"{name.as_posix()} {_file_hash(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=4096)
def _file_hash(path: Path, inode: int, size: int, changed_at: int) -> str:
    """A file's SHA-256, read again only when the file has changed."""
    if path.name == ADAPTERS:
        return hashlib.sha256(_adapter_settings(path.read_bytes())).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _adapter_settings(content: bytes) -> bytes:
    """An adapter_config.json in a fixed order, without the path of the base model, whose weights are identified too.

    peft writes sets, such as target_modules, in an order that differs from process to process.
    """
    try:
        settings = json.loads(content)
        settings.pop("base_model_name_or_path", None)
        ordered = {
            key: sorted(map(str, value)) if isinstance(value, list) else value for key, value in settings.items()
        }
    except (ValueError, AttributeError):  # `fingerprint` reports a damaged file
        return content
    return json.dumps(ordered, sort_keys=True).encode()
