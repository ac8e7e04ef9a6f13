"""Stops a training that has diverged: a figure or a weight that is no finite number."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from transformers import TrainerCallback

from tradeschool.errors import RunError

FIGURES = ("loss", "grad_norm")
"""Of a log entry, those that must be finite; of other figures some are not defined at every step."""


class StopDiverged(TrainerCallback):
    """Ends the training of the stage ``title`` as soon as it has diverged, before it writes another checkpoint.

    Weights are looked at after every step, which costs far less than one; a figure when it is logged.
    """

    def __init__(self, title: str) -> None:
        self._title = title

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        check_weights(model, self._title, state.global_step, args)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Stops at a loss or a norm of gradients that is not finite.

        Raises:
            RunError: one is.
        """
        for name in FIGURES:
            # In half precision a gradient beyond its range is usual: that step is left out and the scale lowered.
            if name in (logs or {}) and not (name == "grad_norm" and args.fp16):
                value = float(logs[name])
                if not math.isfinite(value):
                    raise diverged(self._title, state.global_step, f"{name} is {value}", args)


def check_weights(model: Any, title: str, step: int, args: Any) -> None:
    """Refuse weights that are no numbers.

    Raises:
        RunError: one of those that are trained is NaN or infinite.
    """
    for name, weights in _trained(model):
        if not bool(torch.isfinite(weights).all()):
            raise diverged(title, step, f"{name} holds values that are not finite", args)


def _trained(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, weights.detach()) for name, weights in model.named_parameters() if weights.requires_grad)


def diverged(title: str, step: int, what: str, args: Any) -> RunError:
    """The error of a training whose ``what`` is not finite after ``step``."""
    return RunError(
        f"stages.{title}: the training has diverged: at step {step} {what}. Nothing of it is kept but the checkpoints "
        f"before. Lower trl.learning_rate, which is {args.learning_rate:g}, or trl.max_grad_norm, which is "
        f"{args.max_grad_norm:g}, and start a new run."
    )
