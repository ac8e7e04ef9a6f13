"""Defaults of a pretrained model: laid over a recipe's values for the tiny one, and visible in the resolved recipe."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models

from tradeschool.config.model_defaults import is_large
from tradeschool.config.recipe import from_mapping, read

RECIPES = Path(__file__).parents[2] / "recipes"
HUB = "model.base=Qwen/Qwen3-0.6B"


def stages(*sets: str, recipe: str = "stocks.yaml") -> tuple[dict[str, Any], Any]:
    found = read(RECIPES / recipe, sets)
    return {stage["name"]: stage for stage in found.resolved["stages"]}, found


def test_another_model_replaces_what_was_meant_for_the_tiny_one() -> None:
    by_name, recipe = stages(HUB)
    assert by_name["sft"]["trl"]["learning_rate"] == 2e-4
    assert by_name["sft"]["trl"]["per_device_train_batch_size"] == 8
    assert by_name["gvpo"]["trl"]["learning_rate"] == 5e-5
    assert "per_device_train_batch_size" not in by_name["gvpo"]["trl"]  # follows from the accumulation
    assert by_name["gvpo"]["trl"]["gradient_accumulation_steps"] == 8
    assert by_name["evaluate"]["max_new_tokens"] == 128
    assert recipe.resolved["model"]["lora"]["r"] == 16
    assert recipe.task.instructions is True
    (note,) = recipe.notes
    assert "stages.sft.trl.learning_rate 0.002 (now 0.0002)" in note
    assert "stages.gvpo.trl.per_device_train_batch_size 400 (left out)" in note


def test_options_are_kept() -> None:
    options = ("stages.sft.trl.learning_rate=3e-3", "stages.gvpo.trl={learning_rate: 2e-3}", "model.lora=null")
    by_name, recipe = stages(HUB, *options, "task.instructions=false")
    assert by_name["sft"]["trl"]["learning_rate"] == 3e-3
    assert by_name["gvpo"]["trl"]["learning_rate"] == 2e-3
    assert recipe.model.lora is None
    assert recipe.task.instructions is False


def test_a_recipe_for_a_pretrained_model_keeps_its_values() -> None:
    given = {
        "name": "own",
        "task": {"name": "rating"},
        "model": {"base": "Qwen/Qwen3-0.6B"},
        "stages": [{"stage": "sft", "trl": {"learning_rate": 5e-5}}, {"stage": "evaluate"}],
    }
    recipe = from_mapping(given)
    assert recipe.resolved["stages"][0]["trl"] == {"learning_rate": 5e-5, "per_device_train_batch_size": 8}
    assert recipe.resolved["stages"][1]["batch_size"] == 32
    assert recipe.model.lora is not None
    assert recipe.notes == ()
    assert from_mapping(recipe.resolved).resolved == recipe.resolved


@pytest.mark.parametrize("option", ["model.base=tiny", "seed=1"])
def test_the_tiny_model_keeps_the_values_of_its_recipe(option: str) -> None:
    by_name, recipe = stages(option)
    assert by_name["sft"]["trl"]["learning_rate"] == 2e-3
    assert recipe.model.lora is None
    assert recipe.task.instructions is False


def test_a_folder_counts_by_its_weights(tmp_path: Path) -> None:
    small = tiny_models.folder(tmp_path / "small")
    assert not is_large(str(small))
    large = tmp_path / "large"
    large.mkdir()
    with (large / "model.safetensors").open("wb") as file:
        file.truncate(200_000_000)  # a hole: no disk space
    assert is_large(str(large))
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    for base, expected in ((large, True), (small, False), ("Qwen/Qwen3-0.6B", True)):
        (adapters / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{base}"}}')
        assert is_large(str(adapters)) is expected
