"""Many conversations with one model, generated side by side on one key-value cache.

Shapes: B conversations, S tokens computed so far, W tokens of a forward pass, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tradeschool.chat import Message
from tradeschool.models.chat_renderer import ChatRenderer, Transcript, positions_of


class BatchedChat:
    """B conversations: :meth:`start`, then :meth:`answer` and :meth:`add_user_turn` in turn.

    A conversation without room in the model's context is over: its further answers are None. Every token is computed
    once. A row whose turn is shorter than another's has a gap in the cache, which is masked and counts no position.

    Args:
        model: a causal language model of transformers.
        renderer: of its tokenizer.
        max_new_tokens: the longest answer.
        warp: transformers' logits processors, which shape the distribution that tokens are drawn from; None takes the
            most likely token.
        seed: with the seeds of :meth:`start` the seed of each conversation's own generator.

    Raises:
        RecipeError: the chat template cannot write several turns.
    """

    def __init__(
        self, model: Any, renderer: ChatRenderer, *, max_new_tokens: int, warp: Any | None = None, seed: int = 0
    ) -> None:
        renderer.check_multi_turn()
        self._model, self._renderer = model, renderer
        self._max_new_tokens, self._warp, self._seed = max_new_tokens, warp, seed
        self._ends = torch.tensor(renderer.ends, device=model.device)
        self._limit = positions_of(model)

    def start(self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int] | None = None) -> None:
        """Begin conversations with the messages up to the first answer.

        Args:
            conversations: the messages of each.
            seeds: give each conversation its own generator, so that what is drawn does not depend on the others. None
                draws from torch's generator.
        """
        self._rng_B = None if seeds is None else [np.random.default_rng((self._seed, seed)) for seed in seeds]
        self._cache = growing_cache(self._model.config)
        self._mask_BS = torch.zeros(len(conversations), 0, dtype=torch.long, device=self._model.device)
        self._ids_B: list[list[int]] = [self._renderer.prompt(messages) for messages in conversations]
        self._turns_B: list[list[int]] = [[-1] * len(ids) for ids in self._ids_B]
        self._full_B = [self._is_too_long(len(ids)) for ids in self._ids_B]
        self._waiting_B = [[] if full else list(ids) for ids, full in zip(self._ids_B, self._full_B, strict=True)]
        self._turn = 0

    def add_user_turn(self, turns: Sequence[Sequence[Message]]) -> None:
        """Add the messages that follow the last answer; none where a conversation is over."""
        for b, messages in enumerate(turns):
            added = self._renderer.next_turn(messages, self._ids_B[b]) if messages and not self._full_B[b] else []
            self._full_B[b] = self._full_B[b] or self._is_too_long(len(self._ids_B[b]) + len(added))
            if not added or self._full_B[b]:
                self._waiting_B[b] = []
                continue
            self._ids_B[b] += added
            self._turns_B[b] += [-1] * len(added)
            self._waiting_B[b] += added

    def _is_too_long(self, length: int) -> bool:
        return self._limit is not None and length + self._max_new_tokens > self._limit

    @torch.no_grad()
    def answer(self, live: Sequence[bool] | None = None) -> list[str | None]:
        """Generate an answer in each conversation that is live and has room; None in the others."""
        count = len(self._ids_B)
        live_B = [True] * count if live is None else live
        speaks_B = [is_live and not full for is_live, full in zip(live_B, self._full_B, strict=True)]
        answer_B: list[list[int]] = [[] for _ in range(count)]
        if any(speaks_B):
            self._generate(torch.tensor(speaks_B, device=self._mask_BS.device), answer_B)
        for b, answer in enumerate(answer_B):
            self._ids_B[b] += answer
            self._turns_B[b] += [self._turn] * len(answer)
        self._turn += 1
        return [self._renderer.decode(answer_B[b]) if speaks else None for b, speaks in enumerate(speaks_B)]

    def _generate(self, open_B: Tensor, answer_B: list[list[int]]) -> None:
        """Append the generated tokens to ``answer_B``. The last token of an answer is computed with the next turn."""
        logits_BV = self._forward(*self._pack())
        for step in range(self._max_new_tokens):
            token_B = self._draw(logits_BV, open_B)
            for b, (token, is_open) in enumerate(zip(token_B.tolist(), open_B.tolist(), strict=True)):
                if is_open:
                    answer_B[b].append(token)
                    self._waiting_B[b] = [token]
            open_B = open_B & ~torch.isin(token_B, self._ends)
            if step == self._max_new_tokens - 1 or not bool(open_B.any()):
                break
            logits_BV = self._forward(token_B[:, None], open_B[:, None].long())

    def transcripts(self) -> list[Transcript]:
        """The conversations so far as tokens."""
        return [Transcript(list(ids), list(turns)) for ids, turns in zip(self._ids_B, self._turns_B, strict=True)]

    def _pack(self) -> tuple[Tensor, Tensor]:
        """The tokens that wait to be computed, padded left, and their mask: [B, W] each."""
        width = max(map(len, self._waiting_B))
        pad = self._renderer.tokenizer.pad_token_id
        rows = [[pad] * (width - len(ids)) + ids for ids in self._waiting_B]
        mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in self._waiting_B]
        self._waiting_B = [[] for _ in rows]
        device = self._mask_BS.device
        return torch.tensor(rows, device=device), torch.tensor(mask, device=device)

    def _forward(self, ids_BW: Tensor, mask_BW: Tensor) -> Tensor:
        """Logits after the last token, [B, V]."""
        self._mask_BS = torch.cat([self._mask_BS, mask_BW], dim=1)
        positions_BS = (self._mask_BS.cumsum(1) - 1).clamp(min=0)
        output = self._model(
            input_ids=ids_BW,
            attention_mask=self._mask_BS,
            position_ids=positions_BS[:, -ids_BW.shape[1] :],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_BV: Tensor = output.logits[:, -1]
        return logits_BV

    def _draw(self, logits_BV: Tensor, open_B: Tensor) -> Tensor:
        """The next token of each, [B]; any token where a conversation is not open, whose generator is not used."""
        if self._warp is None:
            return logits_BV.argmax(-1)
        # The warpers look at scores alone; the token ids are part of their signature.
        no_ids_B0 = torch.empty(len(logits_BV), 0, dtype=torch.long, device=logits_BV.device)
        scores_BV = self._warp(no_ids_B0, logits_BV.float())
        chances_BV = torch.softmax(scores_BV, dim=-1)
        if self._rng_B is None:
            return torch.multinomial(chances_BV, 1).squeeze(1)
        uniform_B = [
            rng.random() if is_open else 0.0 for rng, is_open in zip(self._rng_B, open_B.tolist(), strict=True)
        ]
        return inverse_cdf(chances_BV, uniform_B)


def inverse_cdf(chances_BV: Tensor, uniform_B: Sequence[float]) -> Tensor:
    """The token of each row at which the cumulative probability passes a number in [0, 1): [B]."""
    upto_BV = chances_BV.double().cumsum(-1)
    upto_BV /= upto_BV[:, -1:].clone()
    uniform_B1 = torch.tensor(uniform_B, dtype=torch.float64, device=chances_BV.device)[:, None]
    return torch.searchsorted(upto_BV, uniform_B1, right=True).squeeze(1)


# the cache ----------------------------------------------------------------------------------------

SPARE = 256
"""Positions reserved at a time, at least; a quarter of the present length where that is more."""


class GrowingLayer(DynamicLayer):
    """transformers' layer, which concatenates at every token, with reserved space instead.

    ``keys`` and ``values`` are views [B, H, S, D] of the states so far (H heads, D dimensions).
    """

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the new states, and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._reserved = (key_states[:, :, :0], value_states[:, :, :0])
        past = self.get_seq_length()
        length = past + key_states.shape[-2]
        if length > self._reserved[0].shape[-2]:
            self._reserved = (_longer(self._reserved[0], past, length), _longer(self._reserved[1], past, length))
        for reserved, states in zip(self._reserved, (key_states, value_states), strict=True):
            reserved[:, :, past:length] = states
        self.keys, self.values = (reserved[:, :, :length] for reserved in self._reserved)
        return self.keys, self.values


def _longer(reserved: Tensor, past: int, length: int) -> Tensor:
    longer = reserved.new_empty(*reserved.shape[:2], length + max(SPARE, length // 4), reserved.shape[-1])
    longer[:, :, :past] = reserved[:, :, :past]
    return longer


def growing_cache(config: Any) -> DynamicCache:
    """transformers' cache for a model; layers that see their whole past grow in place, others are unchanged."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
