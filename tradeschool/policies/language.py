"""A language model of transformers as a policy, for questions of one turn and for conversations of several."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradeschool.chat import Message
from tradeschool.models.chat_renderer import ChatRenderer, end_tokens
from tradeschool.policies.base import Kind, Policy

if TYPE_CHECKING:
    from torch import Tensor

    from tradeschool.models.batched_chat import BatchedChat

LONG_BEGINNING = 64
"""Tokens that the prompts of a batch must begin with alike to be computed once."""


class LanguagePolicy(Policy):
    """Generates answers in batches of prompts of similar length.

    Of a checkpoint's generation_config.json only the tokens that end an answer are used. Training samples without a
    repetition penalty, which would also punish words that a question contains.

    Args:
        model, tokenizer: as ``models.load.load`` returns them.
        name: in tables and traces.
        kind: how a report treats its row.
        max_new_tokens: of one answer.
        temperature: 0 takes the most likely token at every step, so that answers are reproducible.
        batch_size: prompts of one forward pass.
        seed: of what :meth:`chat` draws, together with the seed of each conversation.
        on_batch: called with the number of answers so far.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        kind: Kind,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        batch_size: int = 256,
        seed: int = 0,
        on_batch: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.name, self.kind = name, kind
        self._model, self._renderer = model, ChatRenderer.of(tokenizer, end_tokens(model, tokenizer))
        self._max_new_tokens, self._temperature = max_new_tokens, temperature
        self._batch_size, self._seed, self._on_batch = batch_size, seed, on_batch

    def generate(self, conversations: Sequence[Sequence[Message]], n: int = 1) -> list[list[str]]:
        """``n`` answers to each conversation, without special tokens; ``n`` > 1 needs a temperature to differ."""
        prompts = [messages for messages in conversations for _ in range(n)]
        order = sorted(range(len(prompts)), key=lambda i: sum(len(message["content"]) for message in prompts[i]))
        answers = [""] * len(prompts)
        self._model.eval()
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            for i, answer in zip(batch, self._generate([prompts[i] for i in batch]), strict=True):
                answers[i] = answer
            self._on_batch(start + len(batch))
        return [answers[i : i + n] for i in range(0, len(answers), n)]

    def choose(self, conversations: Sequence[Sequence[Message]], choices: Sequence[Sequence[str]]) -> list[int]:
        """The place of the most likely of some answers to each conversation, by the probability of all its tokens.

        Args:
            conversations: the questions.
            choices: answers to each, in which what they have in common (the reasoning) stands first.
        """
        rows = [
            _Choices.of(self._renderer.prompt(messages), [self._renderer.answer(text) for text in answers])
            for messages, answers in zip(conversations, choices, strict=True)
        ]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].shared))
        chosen = [0] * len(rows)
        self._model.eval()
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            log_probs = _log_probs(self._model, [rows[i] for i in batch], self._renderer.tokenizer.pad_token_id)
            for i, of_row in zip(batch, log_probs, strict=True):
                chosen[i] = max(range(len(of_row)), key=of_row.__getitem__)
        return chosen

    def chat(self) -> "BatchedChat":
        """Conversations on a key-value cache, which computes every token once.

        Raises:
            RecipeError: the chat template cannot write several turns.
        """
        from transformers import LogitsProcessorList, TemperatureLogitsWarper

        from tradeschool.models.batched_chat import BatchedChat

        self._model.eval()
        warp = LogitsProcessorList([TemperatureLogitsWarper(self._temperature)]) if self._temperature else None
        return BatchedChat(self._model, self._renderer, max_new_tokens=self._max_new_tokens, warp=warp, seed=self._seed)

    def _generate(self, prompts: list[Sequence[Message]]) -> list[str]:
        import torch

        ids_BL, mask_BL, begun = self._begin(prompts)
        sampling: dict[str, Any] = {"do_sample": False}
        if self._temperature:  # top_k: by default transformers draws from the 50 most likely tokens alone
            sampling = {"do_sample": True, "temperature": self._temperature, "top_k": 0}
        with torch.inference_mode(), _without_own_settings(self._model):
            output = self._model.generate(
                input_ids=ids_BL,
                attention_mask=mask_BL,
                max_new_tokens=self._max_new_tokens,
                pad_token_id=self._renderer.tokenizer.pad_token_id,
                eos_token_id=list(self._renderer.ends),
                **sampling,
                **begun,
            )
        return [self._renderer.decode(ids) for ids in output[:, ids_BL.shape[1] :].tolist()]

    def _begin(self, prompts: list[Sequence[Message]]) -> tuple["Tensor", "Tensor", dict[str, Any]]:
        """The prompts as tokens with their mask, [B, L] each, and the cache of a long beginning that all share.

        Few-shot examples are such a beginning: they are computed once for the batch. Padding stands behind it.
        """
        import torch

        inputs, device = self._renderer.prompt_batch(prompts), self._model.device
        ids_BL, mask_BL = inputs.input_ids, inputs.attention_mask
        rows = [ids[mask.bool()] for ids, mask in zip(ids_BL, mask_BL, strict=True)]
        shortest = min(map(len, rows)) - 1
        differs = (torch.stack([ids[:shortest] for ids in rows]) != rows[0][:shortest]).any(0).nonzero()
        shared = int(differs[0]) if len(differs) else shortest
        ids_BL, mask_BL = ids_BL.to(device), mask_BL.to(device)
        if len(rows) == 1 or shared < LONG_BEGINNING:
            return ids_BL, mask_BL, {}
        beginning_1S = rows[0][None, :shared].to(device)
        with torch.inference_mode():
            cache = self._model(input_ids=beginning_1S, use_cache=True, logits_to_keep=1).past_key_values
            cache.batch_repeat_interleave(len(rows))
        first_B1 = (mask_BL == 0).sum(1, keepdim=True)
        place_L = torch.arange(ids_BL.shape[1], device=ids_BL.device)
        # Padding moves from the left to behind the beginning.
        source_BL = torch.where(place_L < shared, place_L + first_B1, place_L - shared)
        behind_BL = (place_L >= shared) & (place_L < shared + first_B1)
        source_BL = torch.where(place_L < shared + first_B1, source_BL, place_L)
        return ids_BL.gather(1, source_BL), (~behind_BL).to(mask_BL.dtype), {"past_key_values": cache}


@dataclass(frozen=True)
class _Choices:
    """Answers to one question as tokens: what all begin with, after the prompt, and the rest of each."""

    shared: list[int]
    rest: list[list[int]]

    @classmethod
    def of(cls, prompt: list[int], answers: Sequence[Sequence[int]]) -> "_Choices":
        shortest = min(map(len, answers)) - 1  # so that something is left of each
        common = next((i for i in range(shortest) if len({answer[i] for answer in answers}) > 1), shortest)
        return cls([*prompt, *answers[0][:common]], [list(answer[common:]) for answer in answers])


def _log_probs(model: Any, rows: Sequence[_Choices], pad: int) -> list[list[float]]:
    """The log-probability of each answer's own tokens. What a question's answers share is computed once.

    Shapes: B questions, A answers of the question that has most, W tokens of the longest shared part (padded left), R
    of the longest rest (padded right).
    """
    import torch

    answers = max(len(row.rest) for row in rows)
    width, length = max(len(row.shared) for row in rows), max(len(rest) for row in rows for rest in row.rest)
    shared_BW = torch.tensor([[pad] * (width - len(row.shared)) + row.shared for row in rows], device=model.device)
    mask_BW = torch.tensor([[0] * (width - len(row.shared)) + [1] * len(row.shared) for row in rows])
    rests = [rest for row in rows for rest in [*row.rest, *row.rest[:1] * (answers - len(row.rest))]]
    rest_NR = torch.tensor([rest + [pad] * (length - len(rest)) for rest in rests], device=model.device)
    mask_NR = torch.tensor([[1] * len(rest) + [0] * (length - len(rest)) for rest in rests], device=model.device)
    mask_BW = mask_BW.to(model.device)
    with torch.inference_mode():
        first = model(
            input_ids=shared_BW,
            attention_mask=mask_BW,
            position_ids=(mask_BW.cumsum(1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,
        )
        first.past_key_values.batch_repeat_interleave(answers)
        mask_NW = mask_BW.repeat_interleave(answers, 0)
        later = model(
            input_ids=rest_NR,
            attention_mask=torch.cat([mask_NW, mask_NR], dim=1),
            position_ids=mask_NW.sum(1, keepdim=True) + torch.arange(length, device=model.device),
            past_key_values=first.past_key_values,
            use_cache=True,
        )
        before_NRV = torch.cat([first.logits.repeat_interleave(answers, 0), later.logits[:, :-1]], dim=1)
        logps_NR = before_NRV.float().log_softmax(-1).gather(2, rest_NR[:, :, None]).squeeze(2)
        sum_BA = (logps_NR * mask_NR).sum(1).view(len(rows), answers).tolist()
    return [of_row[: len(row.rest)] for of_row, row in zip(sum_BA, rows, strict=True)]


@contextmanager
def _without_own_settings(model: Any) -> Iterator[None]:
    """Hide the model's own generation settings, which ``generate`` would add to its arguments."""
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
