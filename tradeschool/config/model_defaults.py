"""Defaults for a pretrained model, where the recipe leaves a value out or has one that was meant for the tiny model."""

import json
from pathlib import Path
from typing import Any

from tradeschool.config.document import Draft

TRL: dict[str, dict[str, Any]] = {
    "sft": {"learning_rate": 2e-4, "per_device_train_batch_size": 8},
    "grpo": {"learning_rate": 5e-5, "gradient_accumulation_steps": 8},
}
"""By kind of stage. A grpo stage's batch on a device follows from the accumulation (``grpo.trl_arguments``)."""
ANSWERS = {"max_new_tokens": 128, "batch_size": 32}
ANSWERING = ("evaluate", "reject")
"""Kinds of stages in which a model answers without training."""
LORA: dict[str, Any] = {"r": 16}
OF_TINY = ("per_device_train_batch_size",)
"""Values of a recipe for the tiny model that are left out for another one."""
INSTRUCTED = ("rating", "direction", "forecast", "thesis")
"""Tasks that explain the answer's format to a pretrained model."""
LARGE = 100_000_000
"""Bytes of weights from which a model in a folder counts as pretrained; the tiny model has 4 million."""


def base_of(document: dict[str, Any]) -> str:
    """``model.base`` of a recipe that need not be valid."""
    model = document.get("model")
    return str(model.get("base", "tiny")) if isinstance(model, dict) else "tiny"


def lay_model_defaults(draft: Draft, base_in_file: str) -> None:
    """Write the defaults of a pretrained model into a recipe's document, so that the resolved recipe shows them.

    What the file says stays, except where an option has replaced its small model: learning rates, batches and lengths
    were meant for that one. What options say stays always. A note names what was replaced.
    """
    document, base = draft.document, base_of(draft.document)
    if not is_large(base):
        return
    document["model"].setdefault("lora", dict(LORA))
    task = document.get("task")
    if isinstance(task, dict) and task.get("name") in INSTRUCTED:
        task.setdefault("instructions", True)
    stages, replaced = document.get("stages"), []
    for index, stage in enumerate(stages if isinstance(stages, list) else []):
        if isinstance(stage, dict) and stage.get("stage") in (*TRL, *ANSWERING):
            replaced += _lay(draft, index, stage, keep=is_large(base_in_file))
    if replaced:
        draft.notes.append(
            f"model.base is {base}, so values for a small model are replaced: {', '.join(replaced)}. Set them with "
            "--set to choose others"
        )


def is_large(base: str) -> bool:
    """Whether ``model.base`` is a pretrained model: a name, or a folder with weights of its size or adapters on one."""
    folder = Path(base).expanduser()
    if base == "tiny" or (base.startswith((".", "/", "~")) and not folder.is_dir()):
        return False
    if not folder.is_dir():
        return True
    try:
        adapters = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return is_large(str(adapters["base_model_name_or_path"]))
    except (OSError, ValueError, KeyError, TypeError):
        return sum(file.stat().st_size for file in folder.glob("*.safetensors")) >= LARGE


def _lay(draft: Draft, index: int, stage: dict[str, Any], keep: bool) -> list[str]:
    """Lay the defaults over one stage, and return what was replaced."""
    kind = stage["stage"]
    inner, defaults = (("trl",), TRL[kind]) if kind in TRL else ((), ANSWERS)
    values = stage.setdefault("trl", {}) if inner else stage
    replaced: list[str] = []
    for key in [*defaults, *(OF_TINY if inner else ())] if isinstance(values, dict) else []:
        path, old = ("stages", index, *inner, key), values.get(key)
        if old is not None and (keep or any(path[: len(given)] == given for given in draft.given)):
            continue
        values.pop(key, None)
        if key in defaults:
            values[key] = defaults[key]
        if old is not None and old != values.get(key):
            name = ".".join(("stages", str(stage.get("name", kind)), *inner, key))
            replaced.append(f"{name} {old} (now {values[key]})" if key in values else f"{name} {old} (left out)")
    return replaced
