"""Options that a recipe passes on to TRL: those that belong to the run, those without effect, ranges and choices.

TRL and transformers notice most of these only while they train, or never.
"""

import dataclasses
import typing
from collections.abc import Mapping
from enum import EnumType
from types import NoneType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from tradeschool.config.check import plain
from tradeschool.errors import RecipeError, did_you_mean

ONLY_IN_TRL_LOSS = (
    "loss_type",
    "epsilon",
    "epsilon_high",
    "delta",
    "importance_sampling_level",
    "top_entropy_quantile",
    "mask_truncated_completions",
)
"""Fields that only TRL's own loss reads, which GVPO and groups of decisions replace."""
_FOLDER = "a run keeps its files in its own folder. Remove it, and choose the folder with --out"
_RESUME = "a resumed run would end differently. Remove it; tradeschool resume RUN continues from the last checkpoint"
_SEED = "the recipe's seed is used. Remove it, and set seed at the top of the recipe"
_WEIGHTS = "the weights of the rewards are those of the task. Write them as task.weights"
OWNED: dict[str, str] = {
    "data_seed": _SEED,
    "ignore_data_skip": _RESUME,
    "logging_dir": _FOLDER,
    "output_dir": _FOLDER,
    "overwrite_output_dir": _FOLDER,
    "restore_callback_states_from_checkpoint": _RESUME,
    "resume_from_checkpoint": "tradeschool resume RUN continues from the last checkpoint of its run. Remove it",
    "reward_weights": _WEIGHTS,
    "save_on_each_node": _FOLDER,
    "save_only_model": _RESUME,
    "seed": _SEED,
}
"""Fields that the run sets, those of older versions included. Another folder would be written to and cleared."""

_EVALUATION = "training has no evaluation data. Remove it, and add a stage evaluate or leaderboard"
_ONE_PROCESS = "tradeschool trains in one process. Remove it"
_TOKENIZER = (
    "answers are written with the tokenizer's own template and end token. Change the tokenizer, save it beside the "
    "weights and name the folder in model.base"
)
_TOKENS = "rows reach TRL as tokens. Remove it"
_SUPPORT = (
    "log-probabilities are over all tokens, so answers must be sampled from all: the gradient would be biased. Remove "
    "it; a lower temperature, which log-probabilities have too, makes unlikely tokens rare"
)
UNUSED: dict[str, str] = {
    **dict.fromkeys(("batch_eval_metrics", "do_eval", "do_predict", "greater_is_better", "label_names"), _EVALUATION),
    **dict.fromkeys(("include_for_metrics", "load_best_model_at_end", "metric_for_best_model"), _EVALUATION),
    **dict.fromkeys(("num_generations_eval", "per_device_eval_batch_size", "prediction_loss_only"), _EVALUATION),
    **dict.fromkeys(("deepspeed", "fsdp", "fsdp_config", "local_rank", "parallelism_config"), _ONE_PROCESS),
    **dict.fromkeys(("chat_template_path", "eos_token", "pad_token"), _TOKENIZER),
    **dict.fromkeys(("dataset_kwargs", "dataset_num_proc", "dataset_text_field", "remove_unused_columns"), _TOKENS),
    **dict.fromkeys(("min_p", "top_k", "top_p"), _SUPPORT),
    "assistant_only_loss": "the loss is always on the answers alone. Remove it",
    "chat_template_kwargs": "SFT and evaluation would not use them. Write them as model.template",
    "model_init_kwargs": "the model is loaded before. Write its options in the section model",
}
"""Fields that have no effect here, or that would fail, and the cure. Their defaults may be given."""
UNUSED_BEGIN = {"ddp_": _ONE_PROCESS, "eval_": _EVALUATION}
"""As :data:`UNUSED`, for all fields that begin with this."""


def _counted_steps(value: int) -> int:
    if value < 1 and value != -1:
        raise ValueError(f"is {value}, but must be at least 1. Remove it, or give -1, to train num_train_epochs")
    return value


def _share_or_count(value: float) -> float:
    if value >= 1 and value != int(value):
        raise ValueError(f"is {value}, but must be a number of steps, or a share of the steps below 1")
    return value


POSITIVE = ("adam_epsilon", "delta", "entropy_target", "learning_rate", "repetition_penalty", "temperature")
NOT_NEGATIVE = ("beta", "entropy_coef", "epsilon", "epsilon_high", "max_grad_norm", "save_steps")
SHARES = ("label_smoothing_factor", "ref_model_mixup_alpha", "top_entropy_quantile")
LIMITS: dict[str, Any] = {
    **dict.fromkeys(POSITIVE, Field(gt=0, allow_inf_nan=False)),
    **dict.fromkeys((*NOT_NEGATIVE, "logging_steps", "neftune_noise_alpha", "weight_decay"), Field(ge=0)),
    **dict.fromkeys(SHARES, Field(ge=0, le=1)),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), Field(ge=0, lt=1)),
    **dict.fromkeys(("gradient_accumulation_steps", "per_device_train_batch_size"), Field(ge=1, le=1_000_000)),
    **dict.fromkeys(("num_iterations", "ref_model_sync_steps", "steps_per_generation"), Field(ge=1, le=100_000)),
    "dataloader_num_workers": Field(ge=0, le=256),
    "max_completion_length": Field(ge=1),
    "max_length": Field(ge=1),
    "max_steps": Annotated[int, AfterValidator(_counted_steps), Field(le=10_000_000)],
    "num_generations": Field(ge=2, le=100_000),
    "num_train_epochs": Field(gt=0, le=10_000),
    "save_total_limit": Field(ge=1),
    "warmup_steps": Annotated[float, Field(ge=0), AfterValidator(_share_or_count)],
}
"""Of fields that TRL and transformers do not check before training, or for which they accept an endless training."""
CHOICES: dict[tuple[str, str], Any] = {
    ("SFTConfig", "loss_type"): Literal["nll", "dft"],
    ("GRPOConfig", "importance_sampling_level"): Literal["token", "sequence"],
    ("GRPOConfig", "loss_type"): Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"],
    ("GRPOConfig", "max_completion_length"): int,
    ("GRPOConfig", "multi_objective_aggregation"): Literal["sum_then_normalize", "normalize_then_sum"],
    ("GRPOConfig", "scale_rewards"): Literal["group", "batch", "none", True, False],
    **{(cls, "save_strategy"): Literal["no", "steps", "epoch"] for cls in ("SFTConfig", "GRPOConfig")},
}
"""Values that TRL looks at only during training, or that would have no effect here."""


def refuse_owned(given: Mapping[str, Any], where: str) -> None:
    """Refuse fields that the run sets."""
    for key in given:
        if key in OWNED:
            raise RecipeError(f"{where}.{key}: {OWNED[key]}.")


def check_options(cls: type[Any], given: Mapping[str, Any], where: str) -> None:
    """Check the options of a stage, at ``where`` in the recipe, that TRL's class has fields for.

    A RecipeError if one belongs to the run, has no effect here, is of the wrong type, or is out of range.
    """
    from transformers import GenerationConfig

    refuse_owned(given, where)
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key, value in given.items():
        unused = UNUSED.get(key) or next((why for begin, why in UNUSED_BEGIN.items() if key.startswith(begin)), "")
        if unused and value not in (None, {}, fields[key].default):
            raise RecipeError(f"{where}.{key}: {unused}.")
        hint = CHOICES.get((cls.__name__, key), hints.get(key, Any))
        # The words that a field may have: those of its class of choices, or those that transformers lists.
        kinds: list[Any] = [kind for kind in typing.get_args(hint) if isinstance(kind, EnumType)]
        choices = tuple(str(one.value) for kind in kinds for one in kind) or tuple(
            fields[key].metadata.get("choices", ())
        )
        if choices and isinstance(value, str):
            hint = Literal[choices]
        if fault := _fault(value, hint, LIMITS.get(key)):
            raise RecipeError(f"{where}.{key} {fault.rstrip('.')}{'' if fault.endswith('?') else '.'}")
    known = GenerationConfig().to_dict()
    for key in given.get("generation_kwargs") or ():
        if key not in known:
            text = f"'{key}' is not a field of GenerationConfig.{did_you_mean(str(key), known)}"
            raise RecipeError(f"{where}.generation_kwargs: {text}")


def _fault(value: Any, hint: Any, limit: Any) -> str:
    """Why a field of numbers or choices cannot have ``value``; fields of other types are left to the library."""
    if typing.get_origin(hint) is not Literal and not set(typing.get_args(hint) or (hint,)) <= {int, float, NoneType}:
        return ""
    if limit is not None:
        hint = limit if typing.get_origin(limit) is Annotated else Annotated[hint, limit]
    try:
        # Strict, because pydantic otherwise takes "1" and true for numbers.
        TypeAdapter(hint).validate_python(value, strict=isinstance(value, bool | str))
    except ValidationError as error:
        return plain(error.errors(include_url=False)[-1])
    return ""
