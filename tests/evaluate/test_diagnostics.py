"""Warnings of a training: each problem is named, and a healthy training has none."""

from typing import Any

import pytest

from tradeschool.evaluate.diagnostics import training_warnings

WEIGHTS = {"profit": 1.0, "risk": 1.0, "decision": 0.0, "format": 0.05}
HEALTHY: dict[str, Any] = {
    "reward": 0.1,
    "entropy": 0.3,
    "zero_variance_groups": 0.2,
    "frac_reward_zero_std": 0.0,
    "kl": 0.5,
    "parse_errors": 0.0,
    "constant_in_group/profit": 0.2,
    "constant_in_group/format": 1.0,
    "answers/BUY": 0.5,
    "answers/HOLD": 0.5,
    "note": "text is not a figure",
}


def warn(*rows: dict[str, Any]) -> list[str]:
    return training_warnings({"grpo": rows}, WEIGHTS)


def test_a_healthy_training_warns_of_nothing() -> None:
    assert warn(*[HEALTHY] * 8) == []


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"entropy": 0.01}, "entropy fell to 0.010"),
        ({"zero_variance_groups": 0.7}, "in 70% of the groups"),
        ({"kl": 5.0}, "KL to the starting policy reached 5.0"),
        ({"parse_errors": 0.02}, "2.0% of the answers could not be read"),
        ({"constant_in_group/profit": 0.97}, "reward 'profit' was constant within 97%"),
        ({"answers/BUY": 0.95, "answers/HOLD": 0.05}, "95% of the answers were BUY"),
    ],
)
def test_each_trouble_is_named(trouble: dict[str, float], words: str) -> None:
    found = warn(*[{**HEALTHY, **trouble}] * 8)
    assert len(found) == 1
    assert found[0].startswith("grpo: ")
    assert words in found[0]


def test_trls_share_of_equal_groups_stands_in_where_ours_is_absent() -> None:
    without = {key: value for key, value in HEALTHY.items() if key != "zero_variance_groups"}
    assert "in 80% of the groups" in warn({**without, "frac_reward_zero_std": 0.8})[0]
    assert warn({**HEALTHY, "frac_reward_zero_std": 0.8}) == []


@pytest.mark.parametrize("name", ["format", "decision", "unknown"])
def test_components_that_may_be_constant(name: str) -> None:
    """Format once it is learned; whatever is not trained on."""
    assert warn({**HEALTHY, f"constant_in_group/{name}": 1.0}) == []


def test_the_last_quarter_counts_and_what_was_told_earlier_is_said_with_its_step() -> None:
    collapsed = {**HEALTHY, "entropy": 0.0}
    assert len(warn(*[HEALTHY] * 6, collapsed, collapsed)) == 1
    (passed,) = warn(*[collapsed] * 6, HEALTHY, HEALTHY)
    assert passed.startswith("grpo, around step 5, though no longer at the end: entropy fell to 0.000")
    assert warn(*[{**HEALTHY, "parse_errors": 0.9}] * 6, HEALTHY, HEALTHY) == []  # usual at the beginning


def test_rows_without_a_reward_are_not_steps_of_grpo() -> None:
    """SFT's rows, and TRL's closing summary."""
    assert training_warnings({"sft": [{"loss": 1.0, "entropy": 0.0}]}, WEIGHTS) == []
    assert warn(HEALTHY, {"train_runtime": 3.0, "entropy": 0.0}) == []
    assert training_warnings({}, WEIGHTS) == []
    assert warn() == []


def test_stages_are_named_apart() -> None:
    found = training_warnings({"grpo": [{**HEALTHY, "kl": 9.0}], "grpo-2": [{**HEALTHY, "entropy": 0.0}]}, WEIGHTS)
    assert [text.partition(":")[0] for text in found] == ["grpo", "grpo-2"]
