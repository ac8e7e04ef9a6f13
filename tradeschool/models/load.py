"""A model and its tokenizer by one path: the local tiny model, a folder, a Hub name, or adapters on any of them."""

import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tradeschool.errors import RecipeError, did_you_mean
from tradeschool.models.template import Template, prepare
from tradeschool.models.tiny import TinyConfig, build_model, build_tokenizer
from tradeschool.tasks.base import Task

TOKENIZER_EXAMPLES = 2000
BASE_FOLDER = "base"


class LoraConfig(BaseModel):
    """Handed verbatim to peft's LoraConfig; defaults as seen to work for GRPO on 4B models."""

    model_config = ConfigDict(extra="allow")

    r: int = Field(default=16, ge=1)
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    target_modules: str | list[str] = "all-linear"


class ModelConfig(BaseModel):
    """``base`` is "tiny", a local folder or a Hub name; ``lora`` trains adapters instead of all weights.

    ``attention`` is transformers' attn_implementation; "auto" takes eager on a CPU, where it is the faster one for
    short prompts, and sdpa elsewhere. ``load_in_4bit`` needs the ``gpu`` extra. ``template`` are variables for the chat
    template, as ``{enable_thinking: false}``: they become part of the tokenizer's, and so go with the weights.
    """

    model_config = ConfigDict(extra="forbid")

    base: str = "tiny"
    tiny: TinyConfig = TinyConfig()
    lora: LoraConfig | None = None
    attention: str = "auto"
    dtype: str = "auto"
    load_in_4bit: bool = False
    template: Template = {}


def base_source(config: ModelConfig, task: Task, run_folder: Path, seed: int) -> str:
    """Where the untrained model is: a Hub name or folder, or for "tiny" a folder that is built now, once."""
    if config.base != "tiny":
        return config.base
    folder = run_folder / BASE_FOLDER
    if not folder.exists():
        tokenizer = build_tokenizer(task.texts(TOKENIZER_EXAMPLES, seed), task.words, config.tiny)
        # Under its own name only once it is whole: a run may be killed while it writes.
        unfinished = run_folder / f"{BASE_FOLDER}.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        tokenizer.save_pretrained(unfinished)
        build_model(tokenizer, config.tiny, seed).save_pretrained(unfinished)
        unfinished.replace(folder)
    return str(folder)


def load(source: str, config: ModelConfig, *, trainable: bool = False) -> tuple[Any, Any]:
    """Model and tokenizer from a Hub name or folder; a folder of adapters is loaded onto its base.

    Raises:
        RecipeError: there is no such model, with what was tried.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapters = (Path(source) / "adapter_config.json").exists()
    options: dict[str, Any] = {"attn_implementation": _attention(config)}
    if config.dtype != "auto":
        options["dtype"] = _dtype(config.dtype)
    if config.load_in_4bit:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        if adapters:
            from peft import PeftConfig, PeftModel

            # Not peft's AutoPeftModel: it resizes the embeddings to the tokenizer, which changes the model.
            base = PeftConfig.from_pretrained(source).base_model_name_or_path
            model = AutoModelForCausalLM.from_pretrained(base, **options)
            model = PeftModel.from_pretrained(model, source, is_trainable=trainable)
        else:
            model = AutoModelForCausalLM.from_pretrained(source, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise RecipeError(
            f"model.base: '{source}' cannot be loaded as a causal language model ({_first_line(error)}). "
            "Give a local folder with config.json, tokenizer.json and safetensors, a Hub name, or 'tiny'."
        ) from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    prepare(tokenizer, config.template)
    return model, tokenizer


def peft_config(config: ModelConfig, model: Any) -> Any | None:
    """peft's LoraConfig for a model without adapters yet; None where none is wanted or it has them."""
    if config.lora is None or hasattr(model, "peft_config"):
        return None
    from peft import LoraConfig as PeftLoraConfig

    return PeftLoraConfig(task_type="CAUSAL_LM", **config.lora.model_dump())


def _attention(config: ModelConfig) -> str:
    import torch

    if config.attention != "auto":
        return config.attention
    return "sdpa" if torch.cuda.is_available() else "eager"


def _dtype(name: str) -> Any:
    import torch

    names = ("float32", "bfloat16", "float16")
    if name not in names:
        raise RecipeError(
            f"model.dtype: '{name}' is no type for weights.{did_you_mean(name, names)} Choose from {names}."
        )
    return getattr(torch, name)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
