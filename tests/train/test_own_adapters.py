"""A stage's own adapters: they lie on what earlier stages have learned, also after a reload."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from tiny_models import folder

from tradeschool.models.load import LoraConfig, ModelConfig, load, peft_config

PROMPT = torch.tensor([[5, 6, 7, 8]])


def logits(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        found: torch.Tensor = model(PROMPT).logits
    return found


def moved(model: Any, seed: int) -> Any:
    """Adapters with weights as if they had been trained."""
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.normal_(0, 0.2)
    return model


@pytest.fixture
def stages(tmp_path: Path) -> dict[str, Path]:
    """The folders of a base model, of adapters on it, and of a later stage's own adapters."""
    base, first, second = folder(tmp_path / "base"), tmp_path / "first", tmp_path / "second"
    config = ModelConfig(base=str(base), lora=LoraConfig(r=4))
    model, tokenizer = load(str(base), config, trainable=True)
    moved(get_peft_model(model, peft_config(config, model)), 1).save_pretrained(first)
    for one in (first, second):
        tokenizer.save_pretrained(one)
    own = config.model_copy(update={"lora": LoraConfig(r=2)})
    model, _ = load(str(first), own, trainable=True, merge=True)
    assert not isinstance(model, PeftModel)
    moved(get_peft_model(model, peft_config(own, model)), 2).save_pretrained(second)
    return {"base": base, "first": first, "second": second}


def test_own_adapters_add_to_those_of_the_stage_before(stages: dict[str, Path]) -> None:
    found = {name: load(str(path), ModelConfig(), trainable=True)[0] for name, path in stages.items()}
    outputs = {name: logits(model) for name, model in found.items()}
    assert not torch.allclose(outputs["first"], outputs["base"], atol=1e-3)
    assert not torch.allclose(outputs["second"], outputs["first"], atol=1e-3)
    assert found["second"].peft_config["default"].r == 2
    # The reference of the KL divergence: the model that the stage has started from.
    with found["second"].disable_adapter():
        assert torch.allclose(logits(found["second"]), outputs["first"], atol=1e-4)


def test_merged_adapters_are_those_of_the_folder(stages: dict[str, Path]) -> None:
    merged, _ = load(str(stages["first"]), ModelConfig(), trainable=True, merge=True)
    assert torch.allclose(logits(merged), logits(load(str(stages["first"]), ModelConfig())[0]), atol=1e-4)
