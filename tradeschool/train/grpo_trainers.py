"""TRL's GRPOTrainer with other sources of completions: a prefix tree per prompt, and episodes of several turns.

Loss, KL, clipping and logging are TRL's own.
"""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from tradeschool.chat import ChatEnv, Episode
from tradeschool.errors import RunError
from tradeschool.market.panel import Floats
from tradeschool.models.batched_chat import BatchedChat
from tradeschool.models.chat_renderer import ChatRenderer, Transcript, end_tokens
from tradeschool.rollout import MultiTurnTask, run_episodes
from tradeschool.tasks.base import Example, Task
from tradeschool.train.prefix_tree import check_supported, log_probs, pack, sample
from tradeschool.train.rewards import States, logged_shares, turn_advantages

# TRL warns that rollout_func may change; its version is pinned and a contract test checks it.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")


TOLERANCE = {"full": 1e-3, "half": 0.1}
"""Mean difference of a token's log-probability that rounding explains, in float32 and in half precision."""


class EpochSampler(RepeatSampler):
    """TRL's sampler, with an order that depends on seed and epoch alone.

    TRL's generator runs on from epoch to epoch, so a run resumed in its second epoch would see the first epoch's order
    again. In the first epoch both give the same order.
    """

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate at the start of every epoch, also after a resume."""
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + epoch)


class ResumableTrainer(GRPOTrainer):
    """TRL's trainer, with the same result whether a run was interrupted and resumed or not."""

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        theirs = super()._get_train_sampler(dataset)
        names = ("data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed")
        return EpochSampler(**{name: getattr(theirs, name) for name in names})


# single questions ---------------------------------------------------------------------------------


class SharedPrefixTrainer(ResumableTrainer):
    """GRPO as TRL does it, but what the answers of a group share is computed once.

    Two steps are replaced: generation (by TRL's ``rollout_func``) and the per-token log-probabilities. On the first
    batch these are compared with those of separate rows; where they differ, separate rows are used from then on.

    Args:
        rollout: makes the answers, by default :func:`sample_answers`.
        log: is told where the shared prefix cannot be used.
        options: of TRL's trainer.
    """

    def __init__(
        self,
        *,
        rollout: Callable[..., dict[str, Any]] | None = None,
        log: Callable[[str], None] = warnings.warn,
        **options: Any,
    ) -> None:
        check_supported(options["model"].config)
        super().__init__(rollout_func=rollout or sample_answers, **options)
        self._shares_prefix, self._checked, self._log = True, False, log

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **multimodal: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        special = compute_aux_loss or any(value is not None for value in multimodal.values())
        if not special and not self._checked:
            self._check_prefix(model, input_ids, attention_mask, logits_to_keep)
        if special or not self._shares_prefix:
            given = (model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss)
            full: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
            full = super()._get_per_token_logps_and_entropies(*given, **multimodal)
            return full
        packed = pack(input_ids, attention_mask, logits_to_keep)
        with self.accelerator.autocast():
            logps_BC, entropies_BC = log_probs(model, packed)
        return logps_BC, entropies_BC if compute_entropy else None, None

    def _check_prefix(self, model: Any, ids_BS: torch.Tensor, mask_BS: torch.Tensor, length: int) -> None:
        """Compare the log-probabilities of the first answers with those of separate rows, without dropout."""
        self._checked, training = True, model.training
        ids, mask = ids_BS[: 2 * self.num_generations], mask_BS[: 2 * self.num_generations]
        model.eval()
        with torch.no_grad(), self.accelerator.autocast():
            shared_BC, _ = log_probs(model, pack(ids, mask, length))
            separate_BC, _, _ = super()._get_per_token_logps_and_entropies(model, ids, mask, length)
        model.train(training)
        difference_N = (shared_BC - separate_BC)[mask[:, -length:].bool()].abs()
        difference, dtype = float(difference_N.mean()), next(model.parameters()).dtype
        allowed = TOLERANCE["half" if dtype.itemsize == 2 or self.args.bf16 or self.args.fp16 else "full"]
        if not difference <= allowed:
            self._shares_prefix = False
            self._log(
                f"Warning: with the shared prefix log-probabilities differ by {difference:.2g} a token from those of "
                f"separate rows (up to {allowed:g} is rounding), so this model's attention does not follow its mask. "
                "Training goes on with separate rows, which takes longer. Set share_prefix: false to avoid the check."
            )


def sample_answers(prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
    """Completions for prompts that TRL has repeated ``num_generations`` times."""
    groups = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
    renderer = ChatRenderer.of(trainer.processing_class, trainer.eos_token_ids)
    return {
        "prompt_ids": [ids for prompt in prompts[::groups] for ids in [renderer.prompt(prompt)] * groups],
        "completion_ids": sample_tokens(prompts[::groups], trainer, groups),
        "logprobs": None,
    }


def sample_tokens(prompts: list[Any], trainer: GRPOTrainer, groups: int) -> list[list[int]]:
    """The tokens of ``groups`` sampled answers to each prompt, the end included."""
    training, model = trainer.model.training, trainer.accelerator.unwrap_model(trainer.model)
    inputs = ChatRenderer.of(trainer.processing_class, trainer.eos_token_ids).prompt_batch(prompts).to(model.device)
    model.eval()
    with trainer.accelerator.autocast():
        tokens_PGC = sample(
            model,
            inputs.input_ids,
            inputs.attention_mask,
            groups,
            max_new_tokens=trainer.args.max_completion_length,
            ends=list(trainer.eos_token_ids),
            warp=logits_processors(trainer.args),
        )
    model.train(training)
    ends = set(trainer.eos_token_ids)
    return [_until(ids, ends) for ids in tokens_PGC.flatten(0, 1).tolist()]


def logits_processors(args: Any) -> LogitsProcessorList:
    """TRL's temperature as a processor of transformers. Sampling from fewer tokens is refused (``options.py``)."""
    return LogitsProcessorList([TemperatureLogitsWarper(args.temperature)])


def _until(ids: list[int], ends: set[int]) -> list[int]:
    """The tokens up to the first end token, that token included."""
    for position, token in enumerate(ids):
        if token in ends:
            return ids[: position + 1]
    return ids


# episodes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """B episodes that a model has played: as tokens, with their rewards, [D, B] by component."""

    episodes: Sequence[Episode]
    transcripts: Sequence[Transcript]
    rewards: dict[str, Floats]


class MultiTurnTrainer(ResumableTrainer):
    """GRPO as TRL does it, where a completion is a conversation. Ours are only completions and turn-level advantages.

    The environment's messages are part of a completion, masked from the loss, and no token is rendered twice. The
    completions of a group begin alike and run in environments of their own, so their rewards differ.
    ``max_completion_length`` is that of one answer.

    Args:
        task: a task with conversations.
        examples: of the training dataset, whose column ``example`` holds their index.
        options: of TRL's trainer.
    """

    def __init__(self, *, task: Task, examples: Sequence[Example], **options: Any) -> None:
        super().__init__(rollout_func=play_episodes, reward_funcs=_episode_sums(task.weights), **options)
        assert isinstance(task, MultiTurnTask)
        self._task, self._discounts, self.examples = task, task.turn_discounts, examples
        self._envs: list[ChatEnv] = []
        self.renderer = ChatRenderer.of(self.processing_class, end_tokens(options["model"], self.processing_class))
        self._rows: list[dict[str, Any]] = []
        self.played: Batch | None = None
        self._advantages_DB: Floats | None = None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rows = inputs
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self._advantages_DB is not None:
            output["advantages"] = self._by_token(output["completion_ids"], self._advantages_DB)
        return output

    def _by_token(self, completion_ids_BC: torch.Tensor, advantages_DB: Floats) -> torch.Tensor:
        """[B, C] the advantage of the turn that each token was generated in, 0 for the environment's tokens."""
        assert self.played is not None
        by_token_BC = np.zeros(tuple(completion_ids_BC.shape), np.float32)
        for b, (_, turns) in enumerate(map(completion, self.played.transcripts)):
            turn_C = np.array(turns)
            by_token_BC[b, : len(turns)] = np.where(turn_C >= 0, advantages_DB[turn_C, b], 0.0)
        return torch.from_numpy(by_token_BC).to(completion_ids_BC.device)

    def play(self, count: int) -> Batch:
        """Play the ``count`` episodes of the present batch.

        Raises:
            RunError: a reward or an advantage is not finite.
        """
        self._envs += [self._task.chat_env("train") for _ in range(count - len(self._envs))]
        examples = [self.examples[row["example"]] for row in self._rows]
        model = self.accelerator.unwrap_model(self.model)
        training = model.training
        model.eval()
        length, warp = self.args.max_completion_length, logits_processors(self.args)
        chat = BatchedChat(model, self.renderer, max_new_tokens=length, warp=warp)
        with self.accelerator.autocast():
            episodes = run_episodes(chat, self._envs[:count], examples)
        self.played = Batch(episodes, chat.transcripts(), self._task.episode_rewards(episodes))
        model.train(training)
        self._compare_and_log(self.played, self.num_generations if training else self.num_generations_eval)
        return self.played

    def _compare_and_log(self, played: Batch, group: int) -> None:
        task, step = self._task, self.state.global_step + 1
        assert isinstance(task, Task)
        check_finite(played.rewards, step)
        states = States.of(played.episodes)
        if self._discounts is not None:
            self._advantages_DB = turn_advantages(
                played.rewards, states, task.weights, self._discounts, group, self.scale_rewards
            )
            check_finite({"advantage": self._advantages_DB}, step)
        for name, share in logged_shares(played.episodes, task, states, group, self._advantages_DB).items():
            self._log_metric(name, share)


def check_finite(values: Mapping[str, Floats], step: int) -> None:
    """Refuse NaN and infinity, which TRL would take for rewards that were not given.

    Raises:
        RunError: a value is not finite.
    """
    wrong = [name for name, value_DB in values.items() if not np.isfinite(value_DB).all()]
    if wrong:
        raise RunError(
            f"At step {step} of GRPO the {', '.join(wrong)} of an episode is not finite, so nothing can be learned "
            "from it. Check the market's prices (tradeschool data check) and task.weights, then start a new run."
        )


def completion(transcript: Transcript) -> tuple[list[int], list[int]]:
    """The tokens from the first answer on, and for each the turn it was generated in, -1 for the environment's."""
    first = next(i for i, turn in enumerate(transcript.turns) if turn >= 0)
    return transcript.ids[first:], transcript.turns[first:]


def play_episodes(prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
    """Episodes for prompts that TRL has repeated ``num_generations`` times."""
    played = trainer.play(len(prompts))
    completions = [completion(transcript) for transcript in played.transcripts]
    return {
        "prompt_ids": [
            transcript.ids[: len(transcript.ids) - len(ids)]
            for transcript, (ids, _) in zip(played.transcripts, completions, strict=True)
        ],
        "completion_ids": [ids for ids, _ in completions],
        "logprobs": None,
        "env_mask": [[int(turn >= 0) for turn in turns] for _, turns in completions],
        **{f"sum_{name}": value_DB.sum(axis=0).tolist() for name, value_DB in played.rewards.items()},
    }


def _episode_sums(weights: Mapping[str, float]) -> list[Callable[..., list[float]]]:
    """One reward function for each component, in the order of ``weights``: the sum over an episode's turns."""

    def component(name: str) -> Callable[..., list[float]]:
        def reward(completions: list[Any], **columns: Any) -> list[float]:
            sums: list[float] = columns[f"sum_{name}"]
            return sums

        reward.__name__ = name
        return reward

    return [component(name) for name in weights]
