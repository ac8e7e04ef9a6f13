"""The shared prefix tree against separate rows: one loss and gradient of a GRPO batch, side by side in one run.

    .venv/bin/python benchmarks/prefix.py

Prints the median seconds of both, their ratio, and the largest difference of the log-probabilities.
"""

import statistics
import time
from collections.abc import Callable

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, set_seed
from trl.trainer.utils import add_fused_lm_head

from tradeschool.train.prefix_tree import log_probs, pack

PROMPTS, PROMPT_TOKENS, GROUP, ANSWER_TOKENS = 120, 42, 8, 17
REPEATS = 7


def model() -> Qwen3ForCausalLM:
    """The demo's model."""
    built = Qwen3ForCausalLM._from_config(
        Qwen3Config(
            vocab_size=528,
            hidden_size=160,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=40,
            intermediate_size=640,
            tie_word_embeddings=True,
        ),
        attn_implementation="eager",
    )
    add_fused_lm_head(built, outputs=("log_probs", "entropy"))
    return built


def batch() -> torch.Tensor:
    """Answers that agree in all but the last two tokens, as those of one group do after SFT."""
    prompts = torch.randint(5, 500, (PROMPTS, 1, PROMPT_TOKENS)).expand(-1, GROUP, -1)
    facts = torch.randint(5, 500, (PROMPTS, 1, ANSWER_TOKENS - 2)).expand(-1, GROUP, -1)
    decisions = torch.randint(500, 505, (PROMPTS, GROUP, 1))
    ends = torch.full((PROMPTS, GROUP, 1), 2)
    return torch.cat([prompts, facts, decisions, ends], dim=2).flatten(0, 1)


def main() -> None:
    set_seed(0)
    network, input_ids = model(), batch()
    mask = torch.ones_like(input_ids)
    labels = input_ids.clone()
    labels[:, :PROMPT_TOKENS] = -100

    def separate() -> torch.Tensor:
        outputs = network(input_ids=input_ids, attention_mask=mask, labels=labels, fused_lm_head=True)
        return outputs.log_probs[:, -ANSWER_TOKENS:]

    def tree() -> torch.Tensor:
        return log_probs(network, pack(input_ids, mask, ANSWER_TOKENS))[0]

    difference = (separate() - tree()).abs().max().item()
    seconds: dict[str, list[float]] = {"separate rows": [], "prefix tree": []}
    for _ in range(REPEATS):
        for name, run in (("separate rows", separate), ("prefix tree", tree)):
            seconds[name].append(_timed(network, run))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    print(f"{PROMPTS} prompts of {PROMPT_TOKENS} tokens x {GROUP} answers of {ANSWER_TOKENS}, loss and gradient")
    for name, median in medians.items():
        print(f"  {name:14} {median:.3f} s (median of {REPEATS}; {min(seconds[name]):.3f} to {max(seconds[name]):.3f})")
    print(f"  ratio {medians['separate rows'] / medians['prefix tree']:.1f}, largest difference {difference:.1e}")


def _timed(network: Qwen3ForCausalLM, run: Callable[[], torch.Tensor]) -> float:
    started = time.perf_counter()
    run().mean().backward()
    network.zero_grad()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
