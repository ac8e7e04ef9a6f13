"""TRL's GRPOTrainer with generation and log-probabilities on a prefix tree per prompt."""

import os
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from tradeschool.models.turn import Turn
from tradeschool.train.prefix import check_supported, log_probs, pack, sample


class EpochSampler(RepeatSampler):
    """TRL's sampler, with an order that depends on seed and epoch alone.

    TRL's draws on from epoch to epoch, so a run resumed in its second epoch would see the first one's
    order again. In the first epoch both give the same.
    """

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate at the start of every epoch, that of a resume included."""
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + epoch)


class ResumableTrainer(GRPOTrainer):
    """TRL's trainer, which ends alike whether it was cut off or not."""

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        theirs = super()._get_train_sampler(dataset)
        return EpochSampler(
            data_source=theirs.data_source,
            mini_repeat_count=theirs.mini_repeat_count,
            batch_size=theirs.batch_size,
            repeat_count=theirs.repeat_count,
            shuffle=theirs.shuffle,
            seed=theirs.seed,
        )


class SharedPrefixTrainer(ResumableTrainer):
    """GRPO as TRL does it; only what the answers of a group share is computed once.

    Two steps are replaced: generation (by TRL's ``rollout_func``) and the per-token
    log-probabilities. Loss, advantages, KL, clipping and logging are TRL's own.
    """

    def __init__(self, **options: Any) -> None:
        # TRL warns that rollout_func may change; its version is pinned and a contract test watches it.
        os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
        check_supported(options["model"].config)
        super().__init__(rollout_func=_rollout, **options)

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
        if compute_aux_loss or any(value is not None for value in multimodal.values()):
            return super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size=batch_size,
                compute_entropy=compute_entropy,
                compute_aux_loss=compute_aux_loss,
                **multimodal,
            )
        packed = pack(input_ids, attention_mask, logits_to_keep)
        with self.accelerator.autocast():
            logps_BC, entropies_BC = log_probs(model, packed)
        return logps_BC, entropies_BC if compute_entropy else None, None


def _rollout(prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
    """Completions for prompts that TRL has repeated ``num_generations`` times."""
    training = trainer.model.training
    groups = trainer.num_generations if training else trainer.num_generations_eval
    tokenizer, model = trainer.processing_class, trainer.accelerator.unwrap_model(trainer.model)
    inputs = Turn.of(tokenizer, trainer.eos_token_ids).questions(prompts[::groups]).to(model.device)
    model.eval()
    tokens_PGC = sample(
        model,
        inputs.input_ids,
        inputs.attention_mask,
        groups,
        max_new_tokens=trainer.args.max_completion_length,
        ends=list(trainer.eos_token_ids),
        warp=warp_of(trainer.args),
    )
    model.train(training)
    prompt_ids = [ids[mask.bool()].tolist() for ids, mask in zip(inputs.input_ids, inputs.attention_mask, strict=True)]
    ends = set(trainer.eos_token_ids)
    return {
        "prompt_ids": [ids for ids in prompt_ids for _ in range(groups)],
        "completion_ids": [_until(ids, ends) for ids in tokens_PGC.flatten(0, 1).tolist()],
        "logprobs": None,
    }


def warp_of(args: Any) -> LogitsProcessorList:
    """TRL's sampling fields as transformers' own warpers, in the order of ``generate``."""
    warp = LogitsProcessorList([TemperatureLogitsWarper(args.temperature)])
    if args.top_k:
        warp.append(TopKLogitsWarper(args.top_k))
    if args.top_p < 1:
        warp.append(TopPLogitsWarper(args.top_p))
    if args.min_p:
        warp.append(MinPLogitsWarper(args.min_p))
    return warp


def _until(ids: list[int], ends: set[int]) -> list[int]:
    """The tokens up to the first end token, that token included."""
    for position, token in enumerate(ids):
        if token in ends:
            return ids[: position + 1]
    return ids
