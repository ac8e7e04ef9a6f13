"""PPO of a language model: advantages by hand, the sign of the gradient, the critic, and resuming."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from torch import tensor

from tradeschool.train.ppo_language import CRITIC, PPOLanguageTrainer, token_advantages

MASK = tensor([[1, 1, 1, 0], [1, 0, 0, 0]]).bool()
VALUES = tensor([[0.5, 1.0, -1.0, 9.0], [0.25, 9.0, 9.0, 9.0]])
REWARDS = tensor([2.0, -1.0])


@pytest.mark.parametrize(
    ("gae_lambda", "first"),
    [(1.0, [1.5, 1.0, 3.0, 0.0]), (0.0, [0.5, -2.0, 3.0, 0.0]), (0.5, [0.5 - 1.0 + 0.75, -2.0 + 1.5, 3.0, 0.0])],
)
def test_advantages_are_those_computed_by_hand(gae_lambda: float, first: list[float]) -> None:
    found = token_advantages(REWARDS, VALUES, MASK, gae_lambda)
    assert torch.allclose(found, tensor([first, [-1.25, 0.0, 0.0, 0.0]]))


def made(folder: Path, reward: Any, steps: int, **changes: Any) -> PPOLanguageTrainer:
    trl = {
        "num_generations": 8,
        "per_device_train_batch_size": 32,
        "max_completion_length": 3,
        "max_steps": steps,
        "learning_rate": 3e-3,
        **changes,
    }
    rows = [{"prompt": [{"role": "user", "content": f"RSI {n}."}], "n": n} for n in range(4)]
    critic = {"gae_lambda": 0.95, "critic_learning_rate": 3e-2}
    trainer: PPOLanguageTrainer = tiny_models.grpo_trainer(PPOLanguageTrainer, folder, rows, reward, trl, **critic)
    return trainer


def early(completion_ids: Any, **columns: Any) -> list[float]:
    """1 for answers whose first token is in the first half of the vocabulary."""
    return [float(ids[0] < tiny_models.tokenizer().vocab_size // 2) for ids in completion_ids]


def by_question(completion_ids: Any, n: list[int], **columns: Any) -> list[float]:
    return [float(one) for one in n]


def logged(trainer: PPOLanguageTrainer, name: str) -> list[float]:
    return [row[name] for row in trainer.state.log_history if name in row]


def test_rewarded_answers_become_more_likely(tmp_path: Path) -> None:
    trainer = made(tmp_path, early, steps=25)
    trainer.train()
    rewards = logged(trainer, "reward")
    assert sum(rewards[-5:]) / 5 > sum(rewards[:3]) / 3 + 0.2


def test_the_critic_learns_what_the_question_says_about_the_reward(tmp_path: Path) -> None:
    trainer = made(tmp_path, by_question, steps=15)
    trainer.train()
    explained = logged(trainer, "critic_explained")
    assert explained[0] < 0
    assert sum(explained[-5:]) / 5 > 0.25  # an untrained model's hidden states say little


def test_a_resumed_training_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole", early, steps=4, save_strategy="steps", save_steps=2)
    whole.train()
    checkpoint = tmp_path / "whole" / "out" / "checkpoint-2"
    resumed = made(tmp_path / "resumed", early, steps=4)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    last = torch.load(tmp_path / "whole" / "out" / "checkpoint-4" / CRITIC, weights_only=True)[0]
    assert torch.equal(resumed._critic.weight, last["weight"])
