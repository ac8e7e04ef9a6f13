"""GVPO, and groups of all decisions: one outcome reveals the reward of every decision, so none has to be sampled.

A trader is a price taker: the outcome does not depend on the decision, so the rewards of all decisions are known. A
group is every decision of a question behind one reasoning; its completions are a prefix tree with short branches.

Shapes: B completions, C completion tokens, Q questions, G reasonings of a question, N = Q x G groups, A answers of a
group (its decisions, or sampled answers), K reward components.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer
from trl.trainer.utils import pad, split_tensor_dict

from tradeschool.errors import RunError
from tradeschool.market.panel import Floats
from tradeschool.models.chat_renderer import ChatRenderer
from tradeschool.tasks.base import Example, Task
from tradeschool.train.grpo_trainers import SharedPrefixTrainer, sample_tokens
from tradeschool.train.shrinking import Shrinkage


def gvpo_loss(log_ratios_NA: Tensor, advantages_NA: Tensor, tau: float) -> Tensor:
    """The mean squared difference between centred log-ratios times tau and centred rewards (eq. 9 of the paper).

    Its one optimum is the policy proportional to reference x exp(reward / tau), whatever policy the answers come from.

    Args:
        log_ratios_NA: log-probabilities of the answers less those of the reference policy. A reference that is uniform
            over the group may be left out.
        advantages_NA: rewards, divided by one spread for the whole batch.
        tau: temperature, in spreads; the paper's beta.
    """
    wanted_NA = advantages_NA - advantages_NA.mean(1, keepdim=True)
    return ((tau * (log_ratios_NA - log_ratios_NA.mean(1, keepdim=True)) - wanted_NA) ** 2).mean()


def expected_reward_loss(log_probs_NA: Tensor, advantages_NA: Tensor) -> Tensor:
    """The negative expected advantage; its gradient is GRPO's without the noise of sampled decisions."""
    return -(log_probs_NA.exp() * advantages_NA).sum(1).mean()


def mass_loss(log_probs_NA: Tensor) -> Tensor:
    """The negative log-probability that the answer is any of the decisions."""
    return -log_probs_NA.logsumexp(1).mean()


class WholeGroupTrainer(SharedPrefixTrainer):
    """TRL's GRPO trainer for losses over whole groups: what TRL shuffles answer by answer stays in order here."""

    _parts: Sequence[dict[str, Any]] = ()

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        steps = self.args.steps_per_generation
        if not self.model.training:
            scored: dict[str, Any] = self._generate_and_score_completions(generation_batch)
            return scored
        if self._step % (steps * self.num_iterations) == 0 or not self._parts:
            self._parts = split_tensor_dict(self._generate_and_score_completions(generation_batch), steps)
        inputs: dict[str, Any] = self._parts[self._step % steps]
        return inputs

    def token_log_probs(self, model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        """[B, C] of the completions' tokens."""
        logps_BC, _, _ = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            inputs["completion_ids"].shape[1],
        )
        return logps_BC

    def log_mean(self, name: str, value: Tensor) -> None:
        """Log a figure, averaged over processes."""
        mean = self.accelerator.gather(value.detach().float().reshape(1)).mean().item()
        self._metrics["train" if self.model.training else "eval"][name].append(mean)


class SampledGVPOTrainer(WholeGroupTrainer):
    """GVPO on sampled answers. The reference policy is the model that the stage starts from; tau is TRL's ``beta``."""

    def _compute_loss(self, model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        logps_BC, mask_BC = self.token_log_probs(model, inputs), inputs["completion_mask"]
        log_ratios_BC = (logps_BC - inputs["ref_per_token_logps"]) * mask_BC
        groups = (-1, self.num_generations)
        self.log_mean("kl", log_ratios_BC.sum(1).mean())
        loss = gvpo_loss(log_ratios_BC.sum(1).view(groups), inputs["advantages"].view(groups), self.beta)
        return loss / self.current_gradient_accumulation_steps


# groups of decisions ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Branches:
    """The answers of one group as tokens, one for each decision.

    Attributes:
        answers: the tokens of each whole answer, its end included.
        start: where the answers part.
        ends: where the tokens that state the decision end in each answer; the rest is the same in all.
    """

    answers: list[list[int]]
    start: int
    ends: list[int]

    @classmethod
    def of(cls, answers: Sequence[Sequence[int]]) -> "Branches":
        """The branches of answers that differ."""
        lists = [list(answer) for answer in answers]
        start = _common(lists)
        behind = min(_common([answer[::-1] for answer in lists]), min(map(len, lists)) - start)
        # What states a decision must differ from what states any other: "BUY" does not while "BUY MORE" is possible.
        while behind and _ambiguous([answer[start : len(answer) - behind] for answer in lists]):
            behind -= 1
        return cls(lists, start, [len(answer) - behind for answer in lists])


def _common(lists: Sequence[Sequence[int]]) -> int:
    """How many first elements all lists have in common."""
    shortest = min(map(len, lists))
    return next((i for i in range(shortest) if len({one[i] for one in lists}) > 1), shortest)


def _ambiguous(lists: Sequence[Sequence[int]]) -> bool:
    """Whether one of the lists begins another."""
    ordered = sorted(list(one) for one in lists)
    return any(after[: len(before)] == before for before, after in itertools.pairwise(ordered))


@dataclass(frozen=True)
class DecisionLoss:
    """What is trained on.

    Attributes:
        objective: "gvpo" (``gvpo_loss``) or "grpo" (``expected_reward_loss``), for the tokens that state a decision.
        tau: of ``gvpo_loss``.
        sft_weight: of the cross-entropy of all other tokens that are not sampled. Without it they drift, because all
            tokens share the weights.
        reasonings: how many are sampled for each question; 0 takes the task's own.
    """

    objective: str
    tau: float
    sft_weight: float
    reasonings: int = 0

    def of_decisions(self, log_probs_NA: Tensor, advantages_NA: Tensor) -> Tensor:
        """The loss of the decisions."""
        if self.objective == "gvpo":
            return gvpo_loss(log_probs_NA, advantages_NA, self.tau)
        return expected_reward_loss(log_probs_NA, advantages_NA)

    def reasoning_advantages(self, log_probs_NA: Tensor, advantages_NA: Tensor) -> Tensor:
        """[N] how much more the policy expects to earn after a reasoning than after the others of its question.

        The decisions are averaged out (a Rao-Blackwellised policy gradient), so their luck gives a reasoning no credit.
        """
        value_QG = (log_probs_NA.softmax(1) * advantages_NA).sum(1).view(-1, max(self.reasonings, 1))
        return (value_QG - value_QG.mean(1, keepdim=True)).flatten().detach()


class DecisionTrainer(WholeGroupTrainer):
    """TRL's GRPO trainer with groups of all decisions in place of sampled answers.

    Batching over processes, rewards, logging and checkpoints are TRL's.

    Args:
        task: whose ``decisions`` are finite.
        examples: of the training dataset, whose column ``example`` holds their index.
        renderer: of the model's chat template.
        loss: what is trained on.
        shrinkage: of the rewards' part that depends on the outcome; None trains on the rewards as they are.
        options: of TRL's trainer; ``num_generations`` is reasonings (at least 1) x decisions.
    """

    def __init__(
        self,
        *,
        task: Task,
        examples: Sequence[Example],
        renderer: ChatRenderer,
        loss: DecisionLoss,
        shrinkage: Shrinkage | None = None,
        **options: Any,
    ) -> None:
        super().__init__(rollout=_all_decisions, **options)
        self._task, self._examples, self._renderer, self._loss = task, examples, renderer, loss
        self._shrinkage, self._weights_K = shrinkage, torch.tensor(list(task.weights.values()))
        self._rows: list[dict[str, Any]] = []
        self._groups: list[Branches] = []
        self._rewards_BK = torch.empty(0)
        self._known: dict[int, Branches] = {}
        self._asked: dict[str, tuple[list[int], Branches]] = {}

    # the group -----------------------------------------------------------------------------------

    def groups(self, prompts: list[Any]) -> list[Branches]:
        """The N groups of the present batch, a question's reasonings one after another.

        Raises:
            RunError: not all questions have the same number of decisions.
        """
        examples = [row["example"] for row in self._rows[:: self.num_generations]]
        if self._loss.reasonings:
            self._groups = self._after_sampled_reasonings(prompts, examples)
        else:
            for i in examples:
                if i not in self._known:
                    self._known[i] = self._branches(self._examples[i], self._task.reasoning(self._examples[i]))
            self._groups = [self._known[i] for i in examples]
        return self._groups

    def _after_sampled_reasonings(self, prompts: list[Any], examples: Sequence[int]) -> list[Branches]:
        count = self._loss.reasonings
        answers = sample_tokens(prompts[:: self.num_generations], self, count)
        texts = [self._renderer.decode(ids) for ids in answers]
        return [
            self._branches(self._examples[examples[i // count]], self._task.reasoning_of(text))
            for i, text in enumerate(texts)
        ]

    def _branches(self, example: Example, reasoning: str | None) -> Branches:
        task, wanted = self._task, self.num_generations // max(self._loss.reasonings, 1)
        decisions = task.decisions(example) or ()
        if len(decisions) != wanted:
            raise RunError(f"{example.key} has {len(decisions)} decisions, others have {wanted}. Use group: sampled.")
        return Branches.of([self._renderer.answer(task.format_answer(one, reasoning or "")) for one in decisions])

    def _calculate_rewards(self, *arguments: Any, **named: Any) -> Tensor:
        self._rewards_BK = super()._calculate_rewards(*arguments, **named)
        return self._rewards_BK

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rows = inputs
        self._shrink()
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        ids_BC = output["completion_ids"]
        position_C = torch.arange(ids_BC.shape[1], device=ids_BC.device)
        spans = [(group.start, end) for group in self._groups for end in group.ends]
        start_B1, end_B1 = torch.tensor(spans, device=ids_BC.device)[:, :, None].unbind(1)
        output["reasoning_mask"] = position_C < start_B1
        output["decision_mask"] = (position_C >= start_B1) & (position_C < end_B1)
        first = self.accelerator.process_index * len(inputs)
        output["rewards"] = self._rewards_BK[first : first + len(inputs)]
        # TRL has logged means over all decisions, which say nothing about the policy.
        for name in ("reward", *(f"rewards/{name}/mean" for name in self.reward_func_names)):
            self._metrics["train"][name].pop()
        return output

    def _shrink(self) -> None:
        """Give the rewards that depend on the outcome the weights that this step trains with."""
        if self._shrinkage is not None:
            factor = self._shrinkage.factor(self.state.global_step, self.state.max_steps, self._forecast)
            known = [name in self._task.known_components for name in self.reward_func_names]
            self.reward_weights = torch.where(torch.tensor(known), self._weights_K, factor * self._weights_K)
            self._metrics["train"]["shrinkage"].append(factor)

    def _forecast(self, questions: Sequence[Example], spread: float) -> Floats:
        """[Q, A] the rewards that make the present probabilities the optimum, up to a constant for each question."""
        model = self.accelerator.unwrap_model(self.model)
        decisions = self.num_generations // max(self._loss.reasonings, 1)
        size = max(1, self.args.per_device_train_batch_size // decisions)
        training, found = model.training, []
        model.eval()
        for start in range(0, len(questions), size):
            part = questions[start : start + size]
            for one in part:
                if one.key not in self._asked:
                    prompt = self._renderer.prompt(self._renderer.supported(self._task.messages(one)))
                    self._asked[one.key] = prompt, self._branches(one, self._task.reasoning(one))
            prompts, groups = zip(*(self._asked[one.key] for one in part), strict=True)
            with torch.no_grad():
                found.append(self._decision_log_probs(model, prompts, groups))
        model.train(training)
        forecast_QA: Floats = self._loss.tau * spread * torch.cat(found).double().cpu().numpy()
        return forecast_QA

    def _decision_log_probs(self, model: Any, prompts: Sequence[list[int]], groups: Sequence[Branches]) -> Tensor:
        """[Q, A] of the tokens that state each decision."""
        pad_id, device = self.processing_class.pad_token_id, self.accelerator.device
        asked = [torch.tensor(ids) for ids, group in zip(prompts, groups, strict=True) for _ in group.answers]
        stated = [
            torch.tensor(answer[:end])
            for group in groups
            for answer, end in zip(group.answers, group.ends, strict=True)
        ]
        ids_BL, ids_BC = pad(asked, pad_id, "left").to(device), pad(stated, pad_id).to(device)
        length_B = torch.tensor([len(ids) for ids in stated], device=device)
        mask_BC = torch.arange(ids_BC.shape[1], device=device) < length_B[:, None]
        mask_BL = pad([torch.ones_like(ids) for ids in asked], 0, "left").to(device)
        logps_BC = self.token_log_probs(
            model,
            {"prompt_ids": ids_BL, "prompt_mask": mask_BL, "completion_ids": ids_BC, "completion_mask": mask_BC.long()},
        )
        start_B = torch.tensor([group.start for group in groups for _ in group.answers], device=device)
        decision_BC = mask_BC & (torch.arange(ids_BC.shape[1], device=device) >= start_B[:, None])
        return (logps_BC * decision_BC).sum(1).view(len(groups), -1)

    # the loss ------------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        logps_BC, mask_BC = self.token_log_probs(model, inputs), inputs["completion_mask"].bool()
        decision_BC, reasoning_BC = inputs["decision_mask"], inputs["reasoning_mask"]
        decisions = self.num_generations // max(self._loss.reasonings, 1)
        log_probs_NA = (logps_BC * decision_BC).sum(1).view(-1, decisions)
        advantages_NA = inputs["advantages"].view(-1, decisions)
        mass = mass_loss(log_probs_NA)
        kept_BC = mask_BC & ~decision_BC
        loss = self._loss.of_decisions(log_probs_NA, advantages_NA) + mass
        if self._loss.reasonings:
            kept_BC = kept_BC & ~reasoning_BC
            loss = loss + self._of_reasonings(logps_BC, log_probs_NA, advantages_NA, inputs)
        other_tokens = -_mean(logps_BC, kept_BC)
        loss = loss + self._loss.sft_weight * other_tokens
        self._log_policy(log_probs_NA.detach(), inputs["rewards"])
        self.log_mean("decision_mass", (-mass).exp())
        self.log_mean("sft_loss", other_tokens)
        return loss / self.current_gradient_accumulation_steps

    def _of_reasonings(
        self, logps_BC: Tensor, log_probs_NA: Tensor, advantages_NA: Tensor, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        """Policy gradient of the sampled reasonings, and ``beta`` times their KL divergence from the start."""
        reasoning_BC = inputs["reasoning_mask"]
        gain_N = self._loss.reasoning_advantages(log_probs_NA.detach(), advantages_NA)
        gain_B1 = gain_N.repeat_interleave(log_probs_NA.shape[1])[:, None]
        loss = -_mean(gain_B1 * logps_BC, reasoning_BC)
        if self.beta:
            behind_BC = inputs["ref_per_token_logps"] - logps_BC
            kl = _mean(behind_BC.exp() - behind_BC - 1, reasoning_BC)
            self.log_mean("kl", kl)
            loss = loss + self.beta * kl
        self.log_mean("reasoning_gain_std", gain_N.std())
        return loss

    def _log_policy(self, log_probs_NA: Tensor, rewards_BK: Tensor) -> None:
        """What the policy is expected to earn, and how it decides."""
        chances_NA = log_probs_NA.softmax(1)
        rewards_NAK = rewards_BK.nan_to_num().view(*log_probs_NA.shape, -1)
        expected_K = (chances_NA[:, :, None] * rewards_NAK).sum(1).mean(0)
        for k, name in enumerate(self.reward_func_names):
            self.log_mean(f"rewards/{name}/mean", expected_K[k])
        self.log_mean("reward", (expected_K * self._weights_K.to(expected_K.device)).sum())
        self.log_mean("decision_entropy", -(chances_NA * log_probs_NA.log_softmax(1)).sum(1).mean())
        # Decisions come in the same order for every question, so those of one have the classes of all.
        decisions = self._task.decisions(self._examples[self._rows[0]["example"]]) or ()
        classes = [self._task.action_name(decision) for decision in decisions]
        for name in self._task.action_names:
            places = [place for place, other in enumerate(classes) if other == name]
            self.log_mean(f"answers/{name}", chances_NA[:, places].sum(1).mean())


def _mean(value_BC: Tensor, mask_BC: Tensor) -> Tensor:
    return (value_BC * mask_BC).sum() / mask_BC.sum().clamp(min=1)


def _all_decisions(prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
    """The answers of all groups to prompts that TRL has repeated as often as a question has answers."""
    assert isinstance(trainer, DecisionTrainer)
    count, renderer = trainer.num_generations, trainer._renderer
    return {
        "prompt_ids": [ids for prompt in prompts[::count] for ids in [renderer.prompt(prompt)] * count],
        "completion_ids": [answer for group in trainer.groups(prompts) for answer in group.answers],
        "logprobs": None,
    }
