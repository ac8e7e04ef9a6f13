"""Mappings passed on to a library: misspelt keys and words for true and false are refused, valid strings are not."""

from typing import Any

import pytest

from tradeschool.config.check import faults

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
        (PPO, {"normalize_advantage": "no"}, "normalize_advantage"),
        (PPO, {"use_sde": "on"}, "use_sde"),
    ],
)
def test_a_word_for_true_or_false_is_refused(target: str, given: dict[str, Any], key: str) -> None:
    ((found, reason),) = faults(given, target)
    assert found == key
    assert "Write true or false" in reason


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
def test_valid_values_pass(target: str, given: dict[str, Any]) -> None:
    assert list(faults(given, target)) == []


def test_every_fault_is_found_and_a_misspelt_key_gets_a_suggestion() -> None:
    found = dict(faults({"gama": 1, "use_sde": "no", "n_steps": 2}, PPO))
    assert list(found) == ["gama", "use_sde"]
    assert found["gama"] == (
        "'gama' is not a field of PPO. Did you mean 'gamma'? "
        "The documentation of stable_baselines3.PPO lists the fields."
    )
