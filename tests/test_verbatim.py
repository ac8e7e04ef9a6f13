"""What goes verbatim to a library: misspelt keys and words for true and false are refused, its own texts are not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tradeschool import pipeline
from tradeschool.errors import RecipeError
from tradeschool.recipe import read
from tradeschool.verbatim import faults

SFT, GRPO, PPO = "trl:SFTConfig", "trl:GRPOConfig", "stable_baselines3:PPO"


@pytest.mark.parametrize(
    ("target", "given", "key"),
    [
        (SFT, {"completion_only_loss": "no"}, "completion_only_loss"),
        (SFT, {"packing": "Off"}, "packing"),
        (SFT, {"packing": "false"}, "packing"),
        (GRPO, {"mask_truncated_completions": "NO"}, "mask_truncated_completions"),
        (GRPO, {"beta": 0.1, "shuffle_dataset": "yes"}, "shuffle_dataset"),
        (GRPO, {"liger_kernel_config": {"rope": "on"}}, "liger_kernel_config.rope"),
        (
            SFT,
            {"gradient_checkpointing_kwargs": {"use_reentrant": "No"}},
            "gradient_checkpointing_kwargs.use_reentrant",
        ),
        (SFT, {"model_init_kwargs": {"a": {"b": "off"}}}, "model_init_kwargs.a.b"),
        (PPO, {"normalize_advantage": "no"}, "normalize_advantage"),
        (PPO, {"use_sde": "on"}, "use_sde"),
        (PPO, {"policy_kwargs": {"optimizer_kwargs": {"amsgrad": "yes"}}}, "policy_kwargs.optimizer_kwargs.amsgrad"),
    ],
)
def test_a_word_for_true_or_false_is_refused(target: str, given: dict[str, Any], key: str) -> None:
    ((found, said),) = faults(given, target)
    assert found == key
    assert "a text, which would count as true. Write true or false." in said


@pytest.mark.parametrize(
    ("target", "given"),
    [
        (SFT, {"save_strategy": "no", "eval_strategy": "no", "logging_strategy": "no"}),
        (SFT, {"include_num_input_tokens_seen": "no", "run_name": "on", "report_to": "none"}),
        (SFT, {"completion_only_loss": False, "packing": True, "bf16": None, "eval_packing": None}),
        (GRPO, {"model_init_kwargs": {"dtype": "bfloat16", "use_cache": False}, "lr_scheduler_type": "linear"}),
        (PPO, {"normalize_advantage": False, "device": "cpu", "policy_kwargs": {"ortho_init": False}}),
    ],
)
def test_what_the_library_takes_is_let_through(target: str, given: dict[str, Any]) -> None:
    assert list(faults(given, target)) == []


def test_every_fault_is_found_and_a_misspelt_key_is_told_with_the_nearest() -> None:
    found = dict(faults({"gama": 1, "use_sde": "no", "n_steps": 2}, PPO))
    assert list(found) == ["gama", "use_sde"]
    assert found["gama"].startswith("'gama' is not a field of PPO. Did you mean 'gamma'?")


def test_a_run_is_refused_before_its_first_stage(fake_recipe: Callable[..., Path]) -> None:
    import fake_stage

    recipe = read(fake_recipe(), ["stages.fake.trl.shuffle=no"])
    assert recipe.stages[2].trl == {"shuffle": "no"}
    assert fake_stage.FakeTrlConfig.shuffle is True
    with pytest.raises(RecipeError, match=r"stages\.fake\.trl\.shuffle: is 'no', .* Write true or false"):
        pipeline.run(recipe, None, Console(quiet=True))
    assert not Path("runs").exists()
