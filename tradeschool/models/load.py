"""Loads a model and its tokenizer: a folder, a Hub name, adapters on these, or a tiny Qwen3 built here in seconds."""

import gc
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tradeschool.errors import RecipeError
from tradeschool.models.chat_renderer import ChatRenderer, TemplateVariables, end_tokens, positions_of, prepare_template
from tradeschool.models.pretrained import PACKAGED, checkpoint, located
from tradeschool.progress import quiet_libraries
from tradeschool.tasks.base import Message, Task

TOKENIZER_EXAMPLES = 2000
BASE_FOLDER = "base"
TRIED = 32
"""Prompts that are tokenized to find the longest."""
END, PAD, USER, SYSTEM, ASSISTANT = "<|end|>", "<|pad|>", "<|user|>", "<|system|>", "<|assistant|>"

# The same markers for every turn: appending one never changes the tokens before it.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


class TinyConfig(BaseModel):
    """The shape of the tiny model. The defaults give about 1.1 million parameters."""

    model_config = ConfigDict(extra="forbid")

    vocabulary: int = Field(default=640, ge=300, le=50_000)
    hidden_size: int = Field(default=128, ge=16, le=2048)
    layers: int = Field(default=4, ge=1, le=32)
    heads: int = Field(default=4, ge=1, le=64)
    intermediate_size: int = Field(default=512, ge=16, le=8192)
    positions: int = Field(default=1024, ge=64, le=1_000_000)

    @model_validator(mode="after")
    def _heads_fit(self) -> "TinyConfig":
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size is {self.hidden_size} and heads {self.heads}, but hidden_size must be a multiple of "
                f"2 x heads, {2 * self.heads}. Change one of them"
            )
        return self


class LoraConfig(BaseModel):
    """Passed to peft's LoraConfig as it is. The defaults have worked for GRPO on models of 4B parameters."""

    model_config = ConfigDict(extra="allow")

    r: int = Field(default=16, ge=1, le=4096)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"


class ModelConfig(BaseModel):
    """The ``model`` section of a recipe.

    ``base`` is "tiny", "smollm2-135m" (``models/pretrained.py``), a local folder or a Hub name. ``lora`` trains
    adapters instead of all weights, by default for a pretrained model (``config/model_defaults.py``). ``attention``
    is transformers' attn_implementation; "auto" takes eager on a CPU, which is faster there for short prompts, and sdpa
    elsewhere. ``load_in_4bit`` needs the ``gpu`` extra. ``template`` holds variables for the chat template, such as
    ``{enable_thinking: false}``; they are saved with the tokenizer.
    """

    model_config = ConfigDict(extra="forbid")

    base: str = "tiny"
    tiny: TinyConfig = TinyConfig()
    lora: LoraConfig | None = None
    attention: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    load_in_4bit: bool = False
    template: TemplateVariables = {}

    @field_validator("base")
    @classmethod
    def _absolute(cls, base: str) -> str:
        """A folder's real path: a run may be resumed from elsewhere, and ``runs/NAME/latest`` will be another run."""
        folder = Path(base).expanduser()
        return str(folder.resolve()) if base not in ("tiny", *PACKAGED) and folder.is_dir() else base

    @property
    def source(self) -> str:
        """The folder or Hub name that a ``base`` other than "tiny" is loaded from.

        Raises:
            RecipeError: it comes from a package that is not installed.
        """
        return str(checkpoint(self.base)) if self.base in PACKAGED else self.base


def base_source(config: ModelConfig, task: Task, run_folder: Path, seed: int) -> str:
    """The Hub name or folder of the base model; the "tiny" model is built here on the first call."""
    if config.base != "tiny":
        return config.source
    folder = run_folder / BASE_FOLDER
    if not folder.exists():
        quiet_libraries()
        tokenizer = build_tokenizer(task.tokenizer_texts(TOKENIZER_EXAMPLES, seed), task.special_tokens, config.tiny)
        # Renamed once complete: a run may be killed while it writes.
        unfinished = run_folder / f"{BASE_FOLDER}.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        tokenizer.save_pretrained(unfinished)
        build_model(tokenizer, config.tiny, seed).save_pretrained(unfinished)
        unfinished.replace(folder)
    return str(folder)


def load(source: str, config: ModelConfig, *, trainable: bool = False, merge: bool = False) -> tuple[Any, Any]:
    """Model and tokenizer from a Hub name or folder. A folder of adapters is loaded onto its base.

    The base of adapters may itself be a folder of adapters, of an earlier stage: those become part of the weights.

    Args:
        source: the Hub name or folder.
        config: how to load it; ``config.base`` is not read.
        trainable: for a trainer, which places the model itself and may train adapters further. Otherwise the model is
            on :func:`inference_device`.
        merge: make adapters part of the weights, so that others can be trained on top of them.

    Raises:
        RecipeError: the model cannot be loaded.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_libraries()
    adapters = (Path(source) / "adapter_config.json").exists()
    options = loading_options(config)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        if adapters:
            from peft import PeftConfig, PeftModel

            # Not peft's AutoPeftModel: it resizes the embeddings to the tokenizer, which changes the model.
            base = located(PeftConfig.from_pretrained(source).base_model_name_or_path)
            if (Path(base) / "adapter_config.json").exists():
                model, _ = load(base, config, trainable=True, merge=True)
            else:
                model = AutoModelForCausalLM.from_pretrained(base, **options)
            model = PeftModel.from_pretrained(model, source, is_trainable=trainable and not merge)
            if merge:
                model = model.merge_and_unload()
                # What adapters on top name as their base: without it they would be loaded onto the model before these.
                model.name_or_path = model.config._name_or_path = source
        else:
            model = AutoModelForCausalLM.from_pretrained(source, **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        why = str(error).strip().split("\n")[0][:200]
        raise RecipeError(
            f"model.base: '{source}' cannot be loaded as a causal language model ({why}). "
            "Give a local folder with config.json, tokenizer.json and safetensors, a Hub name, or 'tiny'."
        ) from error
    if not trainable:
        _place(model)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    prepare_template(tokenizer, config.template)
    return model, tokenizer


def inference_device() -> Any:
    """Where models answer: the GPU that accelerate chooses for this process, as TRL's trainers do, else the CPU.

    Apple's GPUs are left out, as in training: they have no 64-bit numbers, with which tokens are drawn.
    """
    import torch
    from accelerate import PartialState

    device = PartialState().device
    return torch.device("cpu") if device.type == "mps" else device


def _place(model: Any) -> None:
    """Move a model to :func:`inference_device`. A model in 4 bits is on its GPU already."""
    device = inference_device()
    if model.device.type != device.type:
        gc.collect()  # a trainer that is done with refers to itself, and holds its model and optimizer on the GPU
        model.to(device)


# before the weights are loaded --------------------------------------------------------------------


def preview(config: ModelConfig, task: Task, texts: Iterable[str]) -> tuple[ChatRenderer, Any] | None:
    """What writes the prompts of the base model, and an object with its ``config``, without the weights.

    The tiny model's tokenizer is built when it is first needed, from many texts. One that is built for ``texts`` alone
    needs fewer tokens for them, so a check with it refuses nothing that fits.

    Returns:
        None for a Hub name, or a folder that only :func:`load` can judge.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    if config.base == "tiny":
        tokenizer = build_tokenizer(texts, task.special_tokens, config.tiny)
        model = SimpleNamespace(config=tiny_config(tokenizer, config.tiny), generation_config=GenerationConfig())
        return ChatRenderer.of(tokenizer, end_tokens(model, tokenizer)), model
    folder = Path(config.source)
    if not (folder / "config.json").is_file():
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        known = (folder / "generation_config.json").exists()
        model = SimpleNamespace(
            config=AutoConfig.from_pretrained(folder),
            generation_config=GenerationConfig.from_pretrained(folder) if known else GenerationConfig(),
        )
    except (OSError, ValueError, ImportError):
        return None
    prepare_template(tokenizer, config.template)
    return ChatRenderer.of(tokenizer, end_tokens(model, tokenizer)), model


def refuse_too_long(key: str, config: ModelConfig, task: Task, prompts: Sequence[list[Message]], answer: int) -> None:
    """Refuse, before the model is loaded, prompts that leave no room for an answer of ``answer`` tokens.

    Args:
        key: the recipe key that sets ``answer``, such as ``stages.evaluate.max_new_tokens``.
        config: the model.
        task: the task.
        prompts: some of its prompts.
        answer: the longest answer, in tokens.

    Raises:
        RecipeError: this is the case.
    """
    found = preview(config, task, [message["content"] for messages in prompts for message in messages])
    if found is not None:
        check_room(key, prompts, found[0], answer, positions_of(found[1]))


def check_room(
    key: str, prompts: Sequence[Sequence[Message]], renderer: ChatRenderer, answer: int, positions: int | None
) -> None:
    """As :func:`refuse_too_long`, with the tokenizer at hand and the model's ``positions``.

    Raises:
        RecipeError: the prompts leave no room.
    """
    by_length = sorted(prompts, key=lambda messages: -sum(len(message["content"]) for message in messages))
    longest = max((len(renderer.prompt(messages)) for messages in by_length[:TRIED]), default=0)
    if positions is not None and longest + answer > positions:
        raise RecipeError(
            f"{key} is {answer:,}, and a prompt has {longest:,} tokens before the first answer, but the model has "
            f"{positions:,} positions. Lower {key.rpartition('.')[2]}, use fewer stocks, facts or sections, or a model "
            "with more positions (model.tiny.positions)."
        )


def peft_config(config: ModelConfig, model: Any) -> Any | None:
    """peft's LoraConfig for a model without adapters; None where none are wanted or the model has them."""
    if config.lora is None or hasattr(model, "peft_config"):
        return None
    from peft import LoraConfig as PeftLoraConfig

    return PeftLoraConfig(task_type="CAUSAL_LM", **config.lora.model_dump())


def loading_options(config: ModelConfig) -> dict[str, Any]:
    """Arguments of ``from_pretrained``."""
    import torch

    automatic = "sdpa" if torch.cuda.is_available() else "eager"
    options: dict[str, Any] = {"attn_implementation": automatic if config.attention == "auto" else config.attention}
    if config.dtype != "auto":
        options["dtype"] = getattr(torch, config.dtype)
    if config.load_in_4bit:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return options


# the tiny model -----------------------------------------------------------------------------------


def build_tokenizer(texts: Iterable[str], special_tokens: Sequence[str], config: TinyConfig) -> Any:
    """Train a byte-level BPE tokenizer. The same texts give the same tokenizer.

    Args:
        texts: what to train on. Any other text can be encoded too, byte by byte where needed. Digits are single tokens.
        special_tokens: become single tokens.
        config: the size of the vocabulary.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary - len(special_tokens),
        special_tokens=[END, PAD, USER, SYSTEM, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in special_tokens])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(tokenizer: Any, config: TinyConfig, seed: int) -> Any:
    """A Qwen3 with the tokenizer's vocabulary and random weights, which ``seed`` fixes."""
    from transformers import Qwen3ForCausalLM, set_seed

    set_seed(seed)
    return Qwen3ForCausalLM(tiny_config(tokenizer, config))


def tiny_config(tokenizer: Any, config: TinyConfig) -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.hidden_size // config.heads,
        intermediate_size=config.intermediate_size,
        max_position_embeddings=config.positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
