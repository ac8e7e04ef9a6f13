"""Groups of all decisions and GVPO: the optimum, the signs, the tokens of a decision, and stages that train on them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, tensor

from tradeschool import pipeline
from tradeschool.config.recipe import Recipe, read
from tradeschool.errors import RecipeError
from tradeschool.train.decision_groups import Branches, DecisionLoss, expected_reward_loss, gvpo_loss, mass_loss

DEMO = Path(__file__).parents[2] / "recipes" / "demo.yaml"
REWARDS = tensor([[0.5, -1.0, 0.25, 0.0, 1.5], [0.0, 0.0, 2.0, -2.0, 0.1]])


def fitted(loss: Any, logits: Tensor, steps: int = 2000) -> Tensor:
    logits = logits.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(logits.log_softmax(1)).backward()
        optimizer.step()
    return logits.detach().softmax(1)


# the losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_the_optimum_of_gvpo_is_the_softmax_of_the_rewards_whatever_the_start(tau: float) -> None:
    start = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    found = fitted(lambda log_probs: gvpo_loss(log_probs, REWARDS, tau), start)
    assert torch.allclose(found, (REWARDS / tau).softmax(1), atol=1e-3)


def test_a_reference_multiplies_the_optimum() -> None:
    reference = tensor([[0.4, 0.3, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.3, 0.1]])
    found = fitted(lambda log_probs: gvpo_loss(log_probs - reference.log(), REWARDS, 1.0), torch.zeros(2, 5))
    assert torch.allclose(found, (reference.log() + REWARDS).softmax(1), atol=1e-3)


@pytest.mark.parametrize("objective", ["gvpo", "grpo"])
def test_a_step_makes_the_better_decision_more_likely(objective: str) -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    DecisionLoss(objective, tau=0.3, sft_weight=1.0).of_decisions(
        logits.log_softmax(1), tensor([[1.0, 0.0, -1.0]])
    ).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] < logits.grad[0, 1] < logits.grad[0, 2]


def test_the_expected_reward_is_maximised_by_the_best_decision() -> None:
    found = fitted(lambda log_probs: expected_reward_loss(log_probs, REWARDS), torch.zeros(2, 5))
    assert found.argmax(1).tolist() == [4, 2]
    assert found.max(1).values.min() > 0.95


def test_the_mass_is_the_probability_of_any_decision() -> None:
    chances = tensor([[0.5, 0.25], [0.25, 0.25]])
    assert mass_loss(chances.log()).item() == pytest.approx(-(torch.log(tensor(0.75)) + torch.log(tensor(0.5))) / 2)


def test_a_reasoning_is_valued_by_what_its_decisions_are_expected_to_earn() -> None:
    loss = DecisionLoss("gvpo", tau=0.3, sft_weight=1.0, reasonings=2)
    chances = tensor([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5], [0.5, 0.5]])
    advantages = tensor([[1.0, -1.0]] * 4)
    assert loss.reasoning_advantages(chances.log(), advantages).tolist() == pytest.approx([0.8, -0.8, 0.0, 0.0])


# the tokens --------------------------------------------------------------------------------------


def test_the_tokens_of_a_decision_are_those_between_what_all_answers_share() -> None:
    found = Branches.of([[7, 1, 9, 0], [7, 2, 1, 9, 0], [7, 2, 3, 9, 0]])
    assert (found.start, found.ends) == (1, [2, 3, 3])


def test_a_decision_that_begins_another_includes_the_token_that_tells_them_apart() -> None:
    found = Branches.of([[7, 1, 9, 0], [7, 1, 2, 9, 0]])
    assert [answer[found.start : end] for answer, end in zip(found.answers, found.ends, strict=True)] == [
        [9],
        [2, 9],
    ]


@given(st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=2, max_size=5, unique_by=tuple), st.integers(0, 2))
def test_decisions_exclude_each_other_so_that_their_probabilities_add_up(decisions: Any, shared: int) -> None:
    answers = [[9] * shared + decision + [0] for decision in decisions]
    found = Branches.of(answers)
    stated = [tuple(answer[found.start : end]) for answer, end in zip(answers, found.ends, strict=True)]
    assert not any(a is not b and b[: len(a)] == a for a in stated for b in stated)
    assert len({tuple(answer[: found.start]) for answer in answers}) == 1
    assert len({tuple(answer[end:]) for answer, end in zip(answers, found.ends, strict=True)}) == 1


# stages ------------------------------------------------------------------------------------------


def recipe(stage: str, *more: str) -> Recipe:
    sft = (
        "{stage: sft, name: sft, examples: 300, trl: {max_steps: 40, per_device_train_batch_size: 16, "
        "learning_rate: 1.0e-2, logging_steps: 20, save_steps: 40}}"
    )
    return read(
        DEMO,
        [
            "market={source: synthetic, tickers: 8, days: 300, edge: 0.6}",
            "split={train: 0.7, validation: 0.1, test: 0.2, warmup: 30}",
            "task={name: rating, facts: [market, strength], horizons: [1], weights: {profit: 1.0, risk: 1.0}}",
            "model={base: tiny, tiny: {vocabulary: 300, hidden_size: 32, layers: 2, heads: 4, intermediate_size: 64}}",
            f"stages=[{sft}, {' '.join(stage.split())}]",
            *more,
        ],
    )


DECISIONS = """{stage: grpo, name: grpo, group: decisions, objective: %s, questions: 800, trl: {max_steps: 12,
  per_device_train_batch_size: 320, learning_rate: 5.0e-3, logging_steps: 1, save_steps: 5 %s}}"""


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "2-grpo" / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "reward" in row]


@pytest.mark.parametrize("objective", ["gvpo", "grpo"])
def test_training_raises_the_expected_reward_and_keeps_the_answers_form(objective: str, tmp_path: Path) -> None:
    rows = metrics(pipeline.run(recipe(DECISIONS % (objective, "")), tmp_path / "run", Console(quiet=True)))
    half = len(rows) // 2
    early, late = (sum(row["reward"] for row in part) / half for part in (rows[:half], rows[half:]))
    assert late > early
    assert rows[-1]["decision_mass"] > 0.85
    assert rows[-1]["sft_loss"] < rows[0]["sft_loss"]
    assert sum(value for name, value in rows[-1].items() if name.startswith("answers/")) == pytest.approx(1, abs=1e-4)


def test_without_an_edge_the_outcomes_part_of_the_rewards_is_dropped(tmp_path: Path) -> None:
    stage = (DECISIONS % ("gvpo", "")).replace("max_steps: 12", "max_steps: 30")
    run = pipeline.run(recipe(stage, "market.edge=0.0"), tmp_path / "run", Console(quiet=True))
    rows = metrics(run)
    assert rows[0]["shrinkage"] == 1
    found = json.loads((run / "2-grpo" / "shrinkage.json").read_text())
    assert list(found) == ["15", "21"]
    assert [rows[step]["shrinkage"] for step in (15, 21)] == pytest.approx(list(found.values()))
    assert found["21"] < 0.2
    assert rows[-1]["answers/HOLD"] > rows[15]["answers/HOLD"]


def test_batches_of_parts_train_as_one_batch_of_whole_groups(tmp_path: Path) -> None:
    """The gradients of four parts of 16 questions add up to that of 64."""
    whole = metrics(pipeline.run(recipe(DECISIONS % ("grpo", "")), tmp_path / "whole", Console(quiet=True)))
    parts = DECISIONS.replace("320", "80") % ("grpo", ", gradient_accumulation_steps: 4, steps_per_generation: 4")
    split = metrics(pipeline.run(recipe(parts), tmp_path / "parts", Console(quiet=True)))
    assert [row["reward"] for row in split[:4]] == pytest.approx([row["reward"] for row in whole[:4]], abs=2e-3)
    assert split[0]["grad_norm"] == pytest.approx(whole[0]["grad_norm"], rel=0.02)


@pytest.mark.parametrize(
    "stage",
    [
        "group: decisions, objective: gvpo, reasonings: 2",
        "group: sampled, objective: gvpo",
    ],
)
def test_sampled_reasonings_and_sampled_answers_train_too(stage: str, tmp_path: Path) -> None:
    text = f"""{{stage: grpo, name: grpo, {stage}, questions: 64, trl: {{max_steps: 2, per_device_train_batch_size: 80,
      max_completion_length: 14, learning_rate: 1.0e-3, logging_steps: 1, save_steps: 2 %s}}}}"""
    more = ", num_generations: 4" if "sampled" in stage else ", beta: 0.02"
    rows = metrics(pipeline.run(recipe(text % more), tmp_path / "run", Console(quiet=True)))
    assert len(rows) == 2
    assert all("kl" in row for row in rows)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("group: decisions, share_prefix: false", ["share_prefix"]),
        ("group: sampled, reasonings: 2", ["reasonings", "no effect"]),
        ("group: decision", ["group", "decisions"]),
        ("group: decisions, trl: {num_generations: 4}", ["num_generations", "5"]),
        ("group: decisions, trl: {per_device_train_batch_size: 12}", ["12", "multiple", "5"]),
        ("objective: gvpo, trl: {beta: 0.1}", ["beta", "tau"]),
    ],
)
def test_keys_that_do_not_go_together_are_refused_before_training(stage: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        pipeline.run(recipe(f"{{stage: grpo, name: grpo, {stage}}}"), tmp_path / "run", Console(quiet=True))
    assert all(word in str(error.value) for word in words)
    assert not (tmp_path / "run" / "1-sft").exists()
