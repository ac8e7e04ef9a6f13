"""Small random models, tokenizers and trainers of them, for the tests of models, policies and training."""

from pathlib import Path
from typing import Any

from tradeschool.models.load import TinyConfig, build_tokenizer

FAMILIES = ("Qwen3", "Qwen2", "Llama")
WORDS = ("<think>", "</think>", "[[[BUY]]]", "[[[SELL]]]")
TEXTS = [f"RSI 28.4{n} (oversold). Momentum up. Market trending." for n in range(10)] * 3


def tokenizer(**changes: Any) -> Any:
    """The tiny tokenizer on a few lines, with attributes (``chat_template``, ``pad_token``) replaced."""
    made = build_tokenizer(TEXTS, WORDS, TinyConfig(vocabulary=320))
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def model(
    family: str = "Qwen3", *, vocabulary: int = 40, attention: str = "eager", seed: int = 0, **options: Any
) -> Any:
    """Two layers of width 32 with random weights, four heads on two key-value heads."""
    import torch
    import transformers

    torch.manual_seed(seed)
    options = {"pad_token_id": 0, "eos_token_id": None, "bos_token_id": None, "tie_word_embeddings": False, **options}
    options.setdefault("max_position_embeddings", 256)
    if family == "Qwen3":
        options["head_dim"] = 8
    config = getattr(transformers, f"{family}Config")(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        # Wide enough that the most likely token is clear.
        initializer_range=0.3,
        **options,
    )
    made = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    return made.eval()


def folder(path: Path, family: str = "Qwen3", made: Any | None = None, **options: Any) -> Path:
    """A folder in the layout of the Hub: config.json, safetensors and the tokenizer's files."""
    made = tokenizer() if made is None else made
    tokens = {"eos_token_id": made.eos_token_id, "pad_token_id": made.pad_token_id}
    model(family, vocabulary=len(made), **{**tokens, **options}).save_pretrained(path)
    made.save_pretrained(path)
    return path


def grpo_trainer(
    cls: Any, path: Path, rows: list[dict[str, Any]], reward: Any, trl: dict[str, Any], **options: Any
) -> Any:
    """A trainer of TRL's kind for a model in ``path``, with ``trl`` in place of the options of GRPOConfig below."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig

    made = tokenizer()
    weights = folder(path / "model", made=made)
    quiet = {"disable_tqdm": True, "report_to": "none", "logging_steps": 1, "save_strategy": "no"}
    cpu = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False}
    return cls(
        model=AutoModelForCausalLM.from_pretrained(weights, attn_implementation="eager"),
        args=GRPOConfig(output_dir=str(path / "out"), lr_scheduler_type="constant", **{**quiet, **cpu, **trl}),
        reward_funcs=[reward],
        train_dataset=Dataset.from_list(rows),
        processing_class=made,
        **options,
    )
