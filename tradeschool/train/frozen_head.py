"""Log-probabilities of tokens under an output layer that is not trained, such as that of a model with adapters.

TRL's kernel computes logits in the forward pass and again in the backward pass, where it multiplies in float32. But the
gradient of a token's log-probability by its hidden state does not depend on what follows: it is the token's row of the
layer less the mean row under the model's probabilities. So one pass computes both, in the model's own precision. Over a
vocabulary of 49,000 tokens it takes a third of the time.

Shapes: N tokens, H hidden size, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from trl.kernels import ChunkedLogProbFunction
from trl.trainer import utils

ROWS = 128
"""Tokens whose logits are held at a time."""
Outputs = tuple[Tensor, Tensor | None, None, None, Tensor | None]


def install(args: Any) -> None:
    """Have TRL's fused head use it where it applies.

    Args:
        args: TRL's configuration. With an entropy bonus entropies need a gradient, which only TRL's kernel gives.
    """
    bonus = getattr(args, "entropy_coef", 0.0) or getattr(args, "use_adaptive_entropy", False)
    utils._ChunkedLogProbFunction = ChunkedLogProbFunction if bonus else _Either


class _Either:
    """Takes the place of TRL's function: the same arguments and outputs."""

    @staticmethod
    def apply(
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias: Tensor | None,
        targets_N: Tensor,
        temperature: float,
        chunk_size: int,
        softcap: float | None = None,
        scale: float = 1.0,
        outputs: tuple[str, ...] = (),
    ) -> Any:
        plain = bias is None and softcap is None and scale == 1.0 and temperature == 1.0
        known = {"log_probs", "entropy", "is_top1"}
        if plain and not weight_VH.requires_grad and set(outputs) <= known and hidden_NH.dtype == weight_VH.dtype:
            return _FrozenHead.apply(hidden_NH, weight_VH, targets_N, "is_top1" in outputs)
        given = (hidden_NH, weight_VH, bias, targets_N, temperature, chunk_size, softcap, scale, outputs)
        return ChunkedLogProbFunction.apply(*given)


class _FrozenHead(torch.autograd.Function):
    """Log-probabilities and entropies of tokens, and whether each is the most likely one."""

    @staticmethod
    def forward(ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor, top1: bool) -> Outputs:
        count = len(hidden_NH)
        logps_N, entropy_N = (torch.empty(count, device=hidden_NH.device) for _ in range(2))
        top1_N = torch.empty(count, dtype=torch.bool, device=hidden_NH.device) if top1 else None
        slope_NH = torch.empty_like(hidden_NH) if ctx.needs_input_grad[0] else None
        for start in range(0, count, ROWS):
            part = slice(start, start + ROWS)
            target_n1 = targets_N[part, None]
            logits_nV = (hidden_NH[part] @ weight_VH.T).float()
            log_z_n1 = logits_nV.logsumexp(1, keepdim=True)
            logps_N[part] = (logits_nV.gather(1, target_n1) - log_z_n1).squeeze(1)
            if top1_N is not None:
                top1_N[part] = logits_nV.argmax(1) == targets_N[part]
            chances_nV = torch.exp(logits_nV.sub_(log_z_n1))
            entropy_N[part] = -torch.linalg.vecdot(chances_nV, logits_nV)
            if slope_NH is not None:
                chances_nV = chances_nV.to(weight_VH.dtype)
                slope_NH[part] = weight_VH[targets_N[part]] - chances_nV @ weight_VH
        ctx.save_for_backward(slope_NH)
        ctx.mark_non_differentiable(entropy_N, *([] if top1_N is None else [top1_N]))
        return logps_N, entropy_N, None, None, top1_N

    @staticmethod
    def backward(ctx: Any, grad_N: Tensor, *others: Any) -> tuple[Tensor, None, None, None]:
        (slope_NH,) = ctx.saved_tensors
        return (grad_N[:, None] * slope_NH).to(slope_NH.dtype), None, None, None
