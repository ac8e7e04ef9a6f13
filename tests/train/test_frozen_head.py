"""The fast output layer gives what TRL's kernel gives: log-probabilities, entropies, gradients."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl import GRPOConfig
from trl.kernels import ChunkedLogProbFunction
from trl.trainer import utils

from tradeschool.train import frozen_head


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", ChunkedLogProbFunction)  # restored after the test
    monkeypatch.setattr(frozen_head, "ROWS", 4)
    frozen_head.install(SimpleNamespace())
    return utils._ChunkedLogProbFunction


def inputs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    hidden, weight = torch.randn(10, 16), torch.randn(50, 16)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype), torch.randint(0, 50, (10,))


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_log_probs_entropies_and_gradients_are_those_of_trls_kernel(
    installed: Any, dtype: torch.dtype, close: float
) -> None:
    hidden, weight, targets = inputs(dtype)
    found: dict[str, tuple[Any, torch.Tensor]] = {}
    for name, function in (("theirs", ChunkedLogProbFunction), ("ours", installed)):
        hidden.grad = None
        outputs = function.apply(hidden, weight, None, targets, 1.0, 32, None, 1.0, ("log_probs", "entropy", "is_top1"))
        (outputs[0] * torch.arange(10)).sum().backward()
        found[name] = (outputs, hidden.grad)
    for place in (0, 1, 4):
        torch.testing.assert_close(found["ours"][0][place], found["theirs"][0][place], atol=close, rtol=close)
    torch.testing.assert_close(found["ours"][1], found["theirs"][1], atol=10 * close, rtol=close)


@pytest.mark.parametrize("change", ["weight", "temperature", "softcap"])
def test_what_it_does_not_know_is_left_to_trl(installed: Any, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any) -> None:
        raise AssertionError("used")

    monkeypatch.setattr(frozen_head._FrozenHead, "apply", refuse)
    hidden, weight, targets = inputs(torch.float32)
    weight.requires_grad_(change == "weight")
    temperature, softcap = 0.7 if change == "temperature" else 1.0, 5.0 if change == "softcap" else None
    logps = installed.apply(hidden, weight, None, targets, temperature, 32, softcap, 1.0, ("log_probs",))[0]
    logits = hidden @ weight.T
    logits = softcap * torch.tanh(logits / softcap) if softcap else logits
    expected = (logits / temperature).log_softmax(1).gather(1, targets[:, None]).squeeze(1)
    torch.testing.assert_close(logps, expected)


@pytest.mark.parametrize("bonus", [{"entropy_coef": 0.01}, {"use_adaptive_entropy": True}])
def test_an_entropy_bonus_keeps_trls_kernel_and_its_gradient(installed: Any, bonus: dict[str, Any]) -> None:
    frozen_head.install(GRPOConfig(use_cpu=True, bf16=False, **bonus))
    assert utils._ChunkedLogProbFunction is ChunkedLogProbFunction
