"""Proximal policy optimization of a language model: GRPO's loop, with a critic in place of the mean of a group.

Sampling, rewards, clipping, KL divergence and logging are TRL's. TRL has no PPO trainer any more; what is added here is
the critic, and advantages of single tokens by generalized advantage estimation.

Shapes: B answers, C tokens of an answer (padded right), H hidden size.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tradeschool.train.grpo_trainers import SharedPrefixTrainer
from tradeschool.train.prefix_tree import hidden_states, pack

CRITIC = "critic.pt"
"""The critic and its optimizer, in a checkpoint."""
EPOCHS = 4
"""Passes over a batch by the critic. The policy makes ``num_iterations``."""


def token_advantages(rewards_B: Tensor, values_BC: Tensor, mask_BC: Tensor, gae_lambda: float) -> Tensor:
    """Generalized advantage estimation (Schulman et al. 2016, arXiv 1506.02438) without a discount.

    With ``V`` the values and the reward ``r`` after the last token only, ``delta_t = r_t + V_{t+1} - V_t`` and
    ``A_t = delta_t + lambda A_{t+1}``. A lambda of 1 gives ``r - V_t`` for every token.

    Args:
        rewards_B: of whole answers.
        values_BC: what an answer is expected to earn before each of its tokens is written.
        mask_BC: True for tokens, False for padding.
        gae_lambda: from 0 to 1.

    Returns:
        [B, C], 0 at padding.
    """
    advantages_BC, advantage_B = torch.zeros_like(values_BC), torch.zeros_like(rewards_B)
    next_B = rewards_B
    for c in reversed(range(values_BC.shape[1])):
        advantage_B = torch.where(mask_BC[:, c], next_B - values_BC[:, c] + gae_lambda * advantage_B, advantage_B)
        next_B = torch.where(mask_BC[:, c], values_BC[:, c], next_B)
        advantages_BC[:, c] = advantage_B * mask_BC[:, c]
    return advantages_BC


class PPOLanguageTrainer(SharedPrefixTrainer):
    """PPO (Schulman et al. 2017, arXiv 1707.06347) on TRL's GRPO loop.

    The critic is a linear head on the policy's last hidden states. It does not train the layers below, so that the
    policy's gradient is that of the clipped objective alone. Advantages are normalised over the batch.

    Args:
        gae_lambda: of ``token_advantages``.
        critic_learning_rate: of the critic's Adam.
        options: of TRL's trainer. ``num_generations`` answers are sampled for a question, but not compared.
    """

    def __init__(self, *, gae_lambda: float, critic_learning_rate: float, **options: Any) -> None:
        super().__init__(**options)
        width = self.model.config.get_text_config().hidden_size
        self._critic = nn.Linear(width, 1).to(self.accelerator.device)
        nn.init.zeros_(self._critic.weight)
        nn.init.zeros_(self._critic.bias)
        self._critic_optimizer = torch.optim.Adam(self._critic.parameters(), lr=critic_learning_rate)
        self._gae_lambda, self._scores_B = gae_lambda, torch.empty(0)

    def _calculate_rewards(self, *arguments: Any, **named: Any) -> Tensor:
        rewards_BK: Tensor = super()._calculate_rewards(*arguments, **named)
        self._scores_B = (rewards_BK * self.reward_weights.to(rewards_BK.device)).nansum(1)
        return rewards_BK

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        first = self.accelerator.process_index * len(inputs)
        scores_B = self._scores_B[first : first + len(inputs)].float()
        mask_BC = output["completion_mask"].bool()
        hidden_BCH = self._hidden_states(output)
        with torch.no_grad():
            values_BC = self._critic(hidden_BCH).squeeze(-1)
        advantages_BC = token_advantages(scores_B, values_BC, mask_BC, self._gae_lambda)
        output["advantages"] = self._normalised(advantages_BC, mask_BC)
        if self.model.training:
            self._fit(hidden_BCH, advantages_BC + values_BC, mask_BC)
        return output

    def _hidden_states(self, output: dict[str, Tensor]) -> Tensor:
        """[B, C, H] in float32: what the policy knows before it writes each token, without a gradient."""
        model = self.accelerator.unwrap_model(self.model)
        training, size, length = (
            model.training,
            self.args.per_device_train_batch_size,
            output["completion_ids"].shape[1],
        )
        ids_BS = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask_BS = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        model.eval()
        with torch.no_grad(), self.accelerator.autocast():
            parts = [
                hidden_states(model, pack(ids_BS[start : start + size], mask_BS[start : start + size], length)).float()
                for start in range(0, len(ids_BS), size)
            ]
        model.train(training)
        return torch.cat(parts)

    def _normalised(self, advantages_BC: Tensor, mask_BC: Tensor) -> Tensor:
        """With mean 0 and standard deviation 1 over the tokens of all processes."""
        known_N = advantages_BC[mask_BC]
        sums_3 = torch.stack([known_N.sum(), known_N.square().sum(), mask_BC.sum().to(known_N.dtype)])
        total, squares, count = self.accelerator.reduce(sums_3, reduction="sum")
        mean = total / count
        spread = (squares / count - mean.square()).clamp(min=0).sqrt()
        return (advantages_BC - mean) / (spread + 1e-4) * mask_BC

    def _fit(self, hidden_BCH: Tensor, returns_BC: Tensor, mask_BC: Tensor) -> None:
        """Regress the values on the returns. All processes take the same step."""
        hidden_NH, returns_N = hidden_BCH[mask_BC], returns_BC[mask_BC]
        for epoch in range(EPOCHS):
            loss = (self._critic(hidden_NH).squeeze(-1) - returns_N).square().mean()
            if epoch == 0:
                explained = 1 - loss.detach() / returns_N.var().clamp(min=1e-8)
                self._metrics["train"]["critic_loss"].append(loss.item())
                self._metrics["train"]["critic_explained"].append(explained.item())
            self._critic_optimizer.zero_grad()
            loss.backward()
            for weights in self._critic.parameters():
                weights.grad = self.accelerator.reduce(weights.grad, reduction="mean")
            self._critic_optimizer.step()

    # checkpoints ---------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # Before the trainer's state, which marks a checkpoint as complete.
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            torch.save([self._critic.state_dict(), self._critic_optimizer.state_dict()], folder / CRITIC)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            critic, optimizer = torch.load(Path(checkpoint) / CRITIC, weights_only=True)
            self._critic.load_state_dict(critic)
            self._critic_optimizer.load_state_dict(optimizer)
