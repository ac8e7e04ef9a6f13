"""Everything that is refused before the first stage of a run, because it would fail or have no effect later."""

import importlib.util
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tradeschool.config.check import faults
from tradeschool.config.recipe import Recipe, makes, split_for
from tradeschool.errors import RecipeError, did_you_mean, one_line
from tradeschool.market.panel import Panel
from tradeschool.models.load import ModelConfig, build_tokenizer, loading_options, peft_config, tiny_config
from tradeschool.models.pretrained import PACKAGED
from tradeschool.tasks.base import Task
from tradeschool.train.curriculum import CurriculumConfig, select_examples
from tradeschool.train.options import refuse_owned
from tradeschool.train.stage import CheckContext, stage_named

PASSED_ON = {"trl": "TRL", "sb3": "SB3"}
"""Keys of a stage that are passed on to a library's class, and where its module names that class."""


def check_options(recipe: Recipe) -> None:
    """Check what is passed on to libraries, and what needs no market."""
    for stage, module in zip(recipe.stages, recipe.modules, strict=True):
        for key, attribute in PASSED_ON.items():
            _check_passed_on(getattr(stage, key, {}), getattr(module, attribute, None), f"stages.{stage.name}.{key}")
        if (lora := getattr(stage, "lora", None)) is not None:
            _check_passed_on(lora.model_dump(exclude_unset=True), "peft:LoraConfig", f"stages.{stage.name}.lora")
    base = recipe.model.base
    if base.startswith((".", "/", "~")) and not Path(base).exists():
        raise RecipeError(f"model.base: {base} does not exist. Give a folder, a Hub name, or 'tiny'.")
    if recipe.model.lora is not None:
        _check_passed_on(recipe.model.lora.model_dump(exclude_unset=True), "peft:LoraConfig", "model.lora")
    if recipe.model.load_in_4bit and importlib.util.find_spec("bitsandbytes") is None:
        raise RecipeError(
            "model.load_in_4bit needs bitsandbytes, which is not installed: pip install 'tradeschool[gpu]'"
        )


def _check_passed_on(given: dict[str, Any], target: Any, where: str) -> None:
    if where.endswith(".trl"):
        refuse_owned(given, where)
    if given and target is None:
        raise RecipeError(f"{where}: this stage passes nothing on. Remove it.")
    for key, fault in faults(given, target) if given else ():
        raise RecipeError(f"{where}.{key}: {fault}")


def check_stages(recipe: Recipe, panel: Panel, task: Task) -> None:
    """Check the model, and each stage in order: its own ``check``, its curriculum, and a trial step of its library."""
    trained = [
        stage for stage, module in zip(recipe.stages, recipe.modules, strict=True) if hasattr(module, "trl_arguments")
    ]
    asked = [stage for stage in recipe.stages if getattr(stage, "base", False) or stage.stage == "reject"]
    if trained or asked:
        check_model(recipe.model, task, [str(stage.trl.get("optim", "adamw_torch")) for stage in trained])
    split = split_for(recipe, panel)
    made: dict[str, list[str]] = {"language": [], "numeric": [], "data": []}
    for stage, module in zip(recipe.stages, recipe.modules, strict=True):
        context = CheckContext(
            task=task,
            panel=panel,
            model=recipe.model,
            seed=recipe.seed,
            split=split,
            stages=recipe.stages,
            models=tuple(made["language"]),
            agents=tuple(made["numeric"]),
            datasets=tuple(made["data"]),
        )
        with stage_named(stage):
            if hasattr(module, "check"):
                module.check(stage, context)
            if isinstance(stage, CurriculumConfig):
                select_examples(task, stage, panel, seed=recipe.seed, log=lambda text: None)
        if hasattr(module, "trl_arguments"):
            _try_training(recipe, stage, module, task)
        if (kind := makes(module)) in made:
            made[kind].append(stage.name)
        if getattr(module, "WRITES_DATA", False):
            made["data"].append(stage.name)


def _try_training(recipe: Recipe, stage: Any, module: ModuleType, task: Task) -> None:
    from tradeschool.train.trl_config import trial_step  # imports torch and TRL

    trial_step(stage, lambda small, folder: module.trl_arguments(small, task, folder, recipe.seed))


# the model ----------------------------------------------------------------------------------------


def check_model(config: ModelConfig, task: Task, optimizers: Sequence[str]) -> None:
    """Refuse a model that cannot be loaded or trained here, before any weights are read.

    It may not exist, have no such attention or no such layers for adapters, or need more memory than there is.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if config.base != "tiny" and (Path(config.source) / "adapter_config.json").exists():
        return  # whose base only loading can judge
    shape = _shape(config, task)
    options = {key: value for key, value in loading_options(config).items() if key != "quantization_config"}
    try:
        with torch.device("meta"):  # shapes without memory
            model = AutoModelForCausalLM.from_config(shape, **options)
    except (ValueError, ImportError) as error:
        raise RecipeError(
            f"model.attention is '{config.attention}', which '{config.base}' cannot use here ({one_line(error, 240)}). "
            "Use auto, eager or sdpa."
        ) from error
    if config.lora is not None:
        _check_adapters(config, model)
    if optimizers and not torch.cuda.is_available():
        _check_memory(config, model, optimizers)


def _shape(config: ModelConfig, task: Task) -> Any:
    """The model's configuration in transformers."""
    from transformers import AutoConfig

    if config.base == "tiny":
        return tiny_config(build_tokenizer(["?"], task.special_tokens, config.tiny), config.tiny)
    # A misspelt word is not looked for on the Hub, which takes long and answers at length.
    known = ["tiny", *PACKAGED]
    hint = did_you_mean(config.base, known) if config.base not in known else ""
    why = "there is no such folder" if hint and not Path(config.base).is_dir() else ""
    try:
        if not why:
            return AutoConfig.from_pretrained(config.source)
    except (OSError, ValueError, ImportError) as error:
        why = f"{'it has no usable config.json: ' * Path(config.base).is_dir()}{one_line(error, 240)}"
    raise RecipeError(
        f"model.base: '{config.base}' cannot be loaded ({why}).{hint} Give a local folder with config.json, "
        "tokenizer.json and safetensors, a Hub name, or 'tiny'."
    )


def _check_adapters(config: ModelConfig, model: Any) -> None:
    import torch
    from peft import get_peft_model

    layers = {name.rpartition(".")[2] for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)}
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)  # about values that peft ignores
            get_peft_model(model, peft_config(config, model))
    except Exception as error:
        raise RecipeError(
            f"model.lora: peft refuses it ({one_line(error, 240)}). Correct its values; the linear layers of "
            f"'{config.base}' are {', '.join(sorted(layers))}."
        ) from error


def _check_memory(config: ModelConfig, model: Any, optimizers: Sequence[str]) -> None:
    """Without a GPU the system kills a process that takes more memory than there is, and nobody learns why."""
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    adam = any(name.startswith("adamw_torch") for name in optimizers)
    needed = weights * (1 if config.lora else 4 if adam else 2)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise RecipeError(
            f"model.base: to train {config.base} takes at least {needed / 1e9:,.0f} GB for weights, gradients and the "
            f"optimizer's state, but this machine has {memory / 1e9:,.0f} GB. Use a smaller model, model.lora, or a "
            "machine with a GPU."
        )
