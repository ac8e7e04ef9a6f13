"""The prefix tree gives what separate rows give: log-probabilities, gradients and completions."""

import inspect
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
import torch
from torch import Tensor
from transformers import LogitsProcessorList, MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from tradeschool.train import prefix_tree
from tradeschool.train.prefix_tree import log_probs, pack, sample

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [5, 6, 7, 8]]
# Per prompt: a shared start, a completion twice, one that is another's beginning, one of one token.
UNEVEN = [
    [[20, 21, 22, 23], [20, 21, 24], [20, 21, 22, 23], [20, 21, 22], [25]],
    [[20, 21, 22, 23, 26, 27], [28, 29]],
    [[30, 31, 32]],
]
SHARED = [[[20, 21, 22, 23 + g] for g in range(4)] for _ in PROMPTS]
UNSHARED = [[[20 + g, 21, 22, 23] for g in range(4)] for _ in PROMPTS]
BATCHES = {"uneven": UNEVEN, "shared": SHARED, "unshared": UNSHARED}


def batch(completions: list[list[list[int]]], order: list[int] | None = None) -> tuple[Tensor, Tensor, int]:
    """Rows of prompt (padded left) + completion (padded right), and the completions' length."""
    rows = [(prompt, answer) for prompt, group in zip(PROMPTS, completions, strict=True) for answer in group]
    rows = [rows[i] for i in order] if order else rows
    longest, length = max(len(prompt) for prompt, _ in rows), max(len(answer) for _, answer in rows)
    ids = [[0] * (longest - len(p)) + p + a + [0] * (length - len(a)) for p, a in rows]
    mask = [[0] * (longest - len(p)) + [1] * (len(p) + len(a)) + [0] * (length - len(a)) for p, a in rows]
    return torch.tensor(ids), torch.tensor(mask), length


def separate_rows(model: Any, ids: Tensor, mask: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """TRL's own method."""
    stands_for_trainer: Any = SimpleNamespace(accelerator=SimpleNamespace(autocast=nullcontext))
    method = inspect.unwrap(GRPOTrainer._get_per_token_logps_and_entropies)
    logps, entropies, _ = method(stands_for_trainer, model, ids, mask, length, compute_entropy=True)
    return logps, entropies


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", tiny_models.FAMILIES)
@pytest.mark.parametrize("kind", BATCHES)
def test_packed_log_probs_and_gradients_are_those_of_separate_rows(family: str, attention: str, kind: str) -> None:
    model = tiny_models.model(family, attention=attention)
    add_fused_lm_head(model, temperature=0.9, outputs=("log_probs", "entropy"))
    count = sum(map(len, BATCHES[kind]))
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(3)).tolist()
    ids, mask, length = batch(BATCHES[kind], shuffled)
    real = mask[:, -length:].bool()
    weight = torch.randn(real.shape, generator=torch.Generator().manual_seed(4)) * real

    expected, expected_entropy = separate_rows(model, ids, mask, length)
    found, found_entropy = log_probs(model, pack(ids, mask, length))
    torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found_entropy[real], expected_entropy[real], atol=1e-5, rtol=1e-5)
    # The rows differ from each other: the equality above is not due to equal numbers.
    assert expected[real].std() > 0.1

    wanted = gradients(model, (expected * weight).sum())
    got = gradients(model, (found * weight).sum())
    assert max(gradient.abs().max() for gradient in wanted.values()) > 0.1
    for name, gradient in wanted.items():
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(got[name] / scale, gradient / scale, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("kind", BATCHES)
def test_a_prefix_shared_by_several_is_one_node(kind: str) -> None:
    ids, mask, length = batch(BATCHES[kind])
    packed = pack(ids, mask, length)
    distinct = [{tuple(a[: i + 1]) for a in group for i in range(len(a))} for group in BATCHES[kind]]
    longest = max(map(len, PROMPTS))
    assert packed.input_ids_PS.shape == (len(PROMPTS), longest - 1 + max(map(len, distinct)))
    assert int((packed.labels_PS != -100).sum()) == sum(map(len, distinct))
    assert {"uneven": 17, "shared": 21, "unshared": 48}[kind] == sum(map(len, distinct))


def test_prompts_that_differ_in_padding_alone_are_different_prompts() -> None:
    """A pad token may stand in a prompt as a token of its own."""
    ids = torch.tensor([[0, 5, 20, 21], [0, 5, 20, 21]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    model = tiny_models.model()
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    packed = pack(ids, mask, 2)
    assert len(packed.input_ids_PS) == 2
    found, expected = log_probs(model, packed)[0], separate_rows(model, ids, mask, 2)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found[0], found[1])


# sampling ----------------------------------------------------------------------------------------


def padded(prompts: list[list[int]] = PROMPTS) -> tuple[Tensor, Tensor]:
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    return ids, mask


def generate(model: Any, ids: Tensor, mask: Tensor, count: int, ends: list[int]) -> Tensor:
    """transformers' own greedy generation, filled to ``count`` tokens with the first end token."""
    output = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=ends,
        pad_token_id=ends[0],
    )[:, ids.shape[1] :]
    filled = output.new_full((len(ids), count), ends[0])
    filled[:, : output.shape[1]] = output
    return filled


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_greedy_completions_are_those_of_generate(family: str, attention: str) -> None:
    model = tiny_models.model(family, attention=attention)
    ids, mask = padded()
    free = generate(model, ids, mask, 8, [39])
    # An end token that one prompt reaches on its way, so that completions of different lengths are compared.
    ends = [int(free[0, 3]), 39]
    expected = generate(model, ids, mask, 8, ends)
    assert (expected[0] == ends[0]).sum() > 1
    found = sample(model, ids, mask, 3, max_new_tokens=8, ends=ends, warp=None)
    steps = found.shape[2]
    assert torch.equal(found, expected[:, None, :steps].expand(-1, 3, -1))
    assert (expected[:, steps:] == ends[0]).all()


def plain_path(model: Any, prompt: list[int], forced: dict[int, int], steps: int, end: int) -> list[int]:
    """Greedy decoding without cache, mask or batch; ``forced`` gives the token of some steps."""
    path: list[int] = []
    for step in range(steps):
        logits = model(input_ids=torch.tensor([prompt + path])).logits[0, -1]
        path.append(end if end in path else forced.get(step, int(logits.argmax())))
    return path


def test_diverging_completions_attend_to_their_own_past(monkeypatch: pytest.MonkeyPatch) -> None:
    model, end, steps = tiny_models.model(), 39, 7
    # [prompt][completion] -> step -> token: some part at once, some later, some meet in a token after parting,
    # one ends early.
    forced: list[list[dict[int, int]]] = [
        [{0: 20}, {0: 20, 2: 21}, {0: 20, 2: 21, 4: 22}, {0: 23, 2: 21}, {1: end}],
        [{0: 30, 4: 31}, {0: 30, 4: 32}, {0: 30, 4: 31, 5: 33}, {0: 30, 3: 34}, {0: 30, 3: 34}],
        [{}, {3: 20}, {3: 20, 4: end}, {2: 21, 3: 20}, {0: end}],
    ]
    draw, step = prefix_tree.draw, iter(range(steps))

    def force(logits: Tensor, place_PG: Tensor, warp: Any) -> Tensor:
        token_PG, now = draw(logits, place_PG, warp), next(step)
        for p, group in enumerate(forced):
            for g, tokens in enumerate(group):
                token_PG[p, g] = tokens.get(now, token_PG[p, g])
        return token_PG

    monkeypatch.setattr(prefix_tree, "draw", force)
    ids, mask = padded()
    found = sample(model, ids, mask, 5, max_new_tokens=steps, ends=[end], warp=None)
    expected = [
        [plain_path(model, prompt, tokens, steps, end) for tokens in group]
        for prompt, group in zip(PROMPTS, forced, strict=True)
    ]
    assert found.tolist() == expected
    assert len({tuple(path) for path in expected[0]}) == 5

    # And once more against generate, from the last forced token on.
    prompt = torch.tensor([PROMPTS[0] + expected[0][2][:5]])
    assert generate(model, prompt, torch.ones_like(prompt), 2, [end])[0].tolist() == expected[0][2][5:]


def test_a_prefix_shared_while_sampling_is_computed_once() -> None:
    model, end, groups = tiny_models.model(), 3, 16
    widths: list[int] = []

    def count(module: Any, positional: Any, given: dict[str, Any]) -> None:
        widths.append(given["input_ids"].shape[1])

    model.register_forward_pre_hook(count, with_kwargs=True)
    ids, mask = padded()
    torch.manual_seed(5)
    warp = LogitsProcessorList([TopKLogitsWarper(2)])
    paths = sample(model, ids, mask, groups, max_new_tokens=6, ends=[end], warp=warp).tolist()
    assert widths[0] == ids.shape[1]
    for step, width in enumerate(widths[1:], 1):
        alive = [{tuple(path[:step]) for path in group if end not in path[:step]} for group in paths]
        ended = [any(end in path[:step] for path in group) for group in paths]
        assert width == max(len(live) + done for live, done in zip(alive, ended, strict=True)), step
    assert widths[1] == 2
    assert widths[2] < groups


@torch.no_grad()
def test_sampled_tokens_are_drawn_from_the_models_distribution() -> None:
    """Eight thousand draws of two tokens a prompt against their exact probability, computed without the tree."""
    model, repeats, groups, temperature = tiny_models.model(vocabulary=7), 20, 400, 1.3
    prompts = [[1, 2], [3, 4, 5, 6]]
    ids, mask = padded(prompts * repeats)
    torch.manual_seed(0)
    warp = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    found = sample(model, ids, mask, groups, max_new_tokens=2, ends=[100], warp=warp)
    for n, prompt in enumerate(prompts):
        counts = Counter(map(tuple, found[n::2].flatten(0, 1).tolist()))
        first = torch.softmax(model(input_ids=torch.tensor([prompt])).logits[0, -1] / temperature, 0)
        for a in range(7):
            second = torch.softmax(model(input_ids=torch.tensor([[*prompt, a]])).logits[0, -1] / temperature, 0)
            for b in range(7):
                chance = float(first[a] * second[b])
                error = (chance * (1 - chance) / (groups * repeats)) ** 0.5
                assert abs(counts[a, b] / (groups * repeats) - chance) < 5 * error + 1e-3, (prompt, a, b)


def test_the_same_seed_draws_the_same_completions_and_warpers_are_used() -> None:
    model = tiny_models.model()
    ids, mask = padded()

    def drawn(seed: int, *warpers: Any) -> Tensor:
        torch.manual_seed(seed)
        return sample(model, ids, mask, 6, max_new_tokens=5, ends=[39], warp=LogitsProcessorList(warpers))

    hot = TemperatureLogitsWarper(2.0)
    assert torch.equal(drawn(1, hot), drawn(1, hot))
    assert not torch.equal(drawn(1, hot), drawn(2, hot))
    greedy = sample(model, ids, mask, 6, max_new_tokens=5, ends=[39], warp=None)
    assert torch.equal(drawn(1, hot, MinPLogitsWarper(1.0)), greedy)
