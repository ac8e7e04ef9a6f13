"""Everything that is refused before the first stage of a run, because it would fail or have no effect later."""

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from tradeschool.config.check import faults
from tradeschool.config.recipe import Recipe, makes, split_for
from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.market.panel import Panel
from tradeschool.models.load import ModelConfig, build_tokenizer, loading_options, peft_config, tiny_config
from tradeschool.models.pretrained import PACKAGED
from tradeschool.tasks.base import Task
from tradeschool.train.curriculum import CurriculumConfig, select_examples
from tradeschool.train.options import refuse_owned
from tradeschool.train.stage import CheckContext

PASSED_ON = {"trl": "TRL", "sb3": "SB3"}
"""Keys of a stage that are passed on to a library's class, and where its module names that class."""


def check_options(recipe: Recipe) -> None:
    """Check what is passed on to libraries, and what needs no market.

    Raises:
        RecipeError: a library has no such option, the option is the run's, or something is missing here.
    """
    for stage, module in zip(recipe.stages, recipe.modules, strict=True):
        for key, attribute in PASSED_ON.items():
            _check_passed_on(getattr(stage, key, {}), getattr(module, attribute, None), f"stages.{stage.name}.{key}")
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
    """Check the model, and each stage in order: its own ``check``, its curriculum, and a trial step of its library.

    Raises:
        TradeschoolError: a check found a problem.
    """
    trains = any(hasattr(module, "trl_arguments") for module in recipe.modules)
    if trains or any(getattr(stage, "base", False) for stage in recipe.stages):
        check_loading(recipe.model, task)
    split = split_for(recipe, panel)
    made: dict[str, list[str]] = {"language": [], "numeric": []}
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
        )
        where = f"stages.{stage.name}"
        try:
            if hasattr(module, "check"):
                module.check(stage, context)
        except RecipeError as error:
            if str(error).startswith(("stages.", "task.", "model.", "market.", "split.")):
                raise
            raise RecipeError(f"{where}: {error}") from error
        if isinstance(stage, CurriculumConfig):
            try:
                select_examples(task, stage, panel, seed=recipe.seed, log=lambda text: None)
            except RecipeError as error:
                raise RecipeError(f"{where}.{error}") from error
        if hasattr(module, "trl_arguments"):
            _try_training(recipe, stage, module, task)
        if (kind := makes(module)) in made:
            made[kind].append(stage.name)


def _try_training(recipe: Recipe, stage: Any, module: ModuleType, task: Task) -> None:
    # Imported here: it imports torch and TRL, and the command line must start fast.
    from tradeschool.train.trial import trial_step

    trial_step(stage, lambda small, folder: module.trl_arguments(small, task, folder, recipe.seed))


# the model ----------------------------------------------------------------------------------------


def check_loading(config: ModelConfig, task: Task) -> None:
    """Refuse a model that cannot be loaded, or that has no such attention or no such layers for adapters.

    Raises:
        RecipeError: this is the case.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if config.base != "tiny" and (Path(config.source) / "adapter_config.json").exists():
        return  # whose base only loading can judge
    shape = _shape(config, task)
    options = {key: value for key, value in loading_options(config).items() if key != "quantization_config"}
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(shape, **options)
    except (ValueError, ImportError) as error:
        raise RecipeError(
            f"model.attention is '{config.attention}', which '{config.base}' cannot use here ({_line(error)}). Use "
            "auto, eager or sdpa."
        ) from error
    _check_adapters(config, model)


def _shape(config: ModelConfig, task: Task) -> Any:
    """The model's configuration in transformers."""
    from transformers import AutoConfig

    if config.base == "tiny":
        return tiny_config(build_tokenizer(["?"], task.special_tokens, config.tiny), config.tiny)
    try:
        return AutoConfig.from_pretrained(config.source)
    except (OSError, ValueError, ImportError) as error:
        why = f"it has no usable config.json: {_line(error)}" if Path(config.base).is_dir() else _line(error)
        meant = did_you_mean(config.base, ["tiny", *PACKAGED])
        raise RecipeError(
            f"model.base: '{config.base}' cannot be loaded ({why}).{meant} Give a "
            "local folder with config.json, tokenizer.json and safetensors, a Hub name, or 'tiny'."
        ) from error


def _check_adapters(config: ModelConfig, model: Any) -> None:
    if config.lora is None:
        return
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
            f"model.lora: peft refuses it ({_line(error)}). Correct its values; the linear layers of '{config.base}' "
            f"are {', '.join(sorted(layers))}."
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:240].rstrip(".")
