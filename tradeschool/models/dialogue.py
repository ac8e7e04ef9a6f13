"""Many conversations with one model side by side, on one growing cache."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tradeschool.models.cache import growing_cache
from tradeschool.models.turn import Message
from tradeschool.models.turns import Transcript, Turns


class Dialogue:
    """B conversations: :meth:`open` or :meth:`hear`, then :meth:`answer`, and so on.

    A conversation that has no room left in the model's positions is over: its further answers are None. Every token is
    computed once. Rows whose turn is shorter than another's have a gap there, which nothing attends to
    and no position counts. ``warp`` shapes the distribution that tokens are drawn from (transformers' logits
    processors); None takes the likeliest. They are drawn from torch's own generator, or from one of each conversation.
    """

    def __init__(self, model: Any, turns: Turns, *, max_new_tokens: int, warp: Any | None = None) -> None:
        self._model, self._turns = model, turns
        self._max_new_tokens, self._warp = max_new_tokens, warp
        self._ends = torch.tensor(turns.ends, device=model.device)
        self._limit: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)

    def open(self, messages_B: Sequence[Sequence[Message]], seeds_B: Sequence[Sequence[int]] | None = None) -> None:
        """Begin: the messages up to the first answer.

        ``seeds_B`` gives each conversation a generator of its own, so that what is drawn in it is the same whoever is
        beside it.
        """
        self._dice_B = None if seeds_B is None else [np.random.default_rng(seed) for seed in seeds_B]
        self._cache = growing_cache(self._model.config)
        self._mask_BS = torch.zeros(len(messages_B), 0, dtype=torch.long, device=self._model.device)
        self._ids_B: list[list[int]] = [self._turns.opening(messages) for messages in messages_B]
        self._turns_B: list[list[int]] = [[-1] * len(ids) for ids in self._ids_B]
        self._full_B = [self._is_too_long(len(ids)) for ids in self._ids_B]
        self._waiting_B = [[] if full else list(ids) for ids, full in zip(self._ids_B, self._full_B, strict=True)]
        self._turn = 0

    def hear(self, texts_B: Sequence[str | None]) -> None:
        """The next message of each; None where the conversation is over."""
        for b, text in enumerate(texts_B):
            heard = None if text is None or self._full_B[b] else self._turns.heard(text, self._ids_B[b])
            if heard is None or self._is_too_long(len(self._ids_B[b]) + len(heard)):
                self._full_B[b] = self._full_B[b] or heard is not None
                self._waiting_B[b] = []
                continue
            self._ids_B[b] += heard
            self._turns_B[b] += [-1] * len(heard)
            self._waiting_B[b] += heard

    @property
    def full(self) -> list[bool]:
        """Which conversations have no room for another turn."""
        return list(self._full_B)

    def _is_too_long(self, length: int) -> bool:
        return self._limit is not None and length + self._max_new_tokens > self._limit

    @torch.no_grad()
    def answer(self, live_B: Sequence[bool] | None = None) -> list[str | None]:
        """An answer from each, at most ``max_new_tokens`` long; None from those that are not live or have no room."""
        count = len(self._ids_B)
        asked_B = [True] * count if live_B is None else live_B
        open_B = torch.tensor([ask and not full for ask, full in zip(asked_B, self._full_B, strict=True)])
        open_B = open_B.to(self._mask_BS.device)
        speaks_B = open_B.tolist()
        said_B: list[list[int]] = [[] for _ in range(count)]
        if not bool(open_B.any()):
            self._turn += 1
            return [None] * count
        logits_BV = self._forward(*self._pack())
        for step in range(self._max_new_tokens):
            token_B = self._draw(logits_BV, open_B)
            for b, (token, is_open) in enumerate(zip(token_B.tolist(), open_B.tolist(), strict=True)):
                if is_open:
                    said_B[b].append(token)
            ended_B = torch.isin(token_B, self._ends)
            fed_B = open_B & ~ended_B
            # The last token of an answer goes into the cache with what is heard next.
            for b in torch.nonzero(open_B & ended_B).flatten().tolist():
                self._waiting_B[b] = said_B[b][-1:]
            open_B = fed_B
            if step == self._max_new_tokens - 1 or not bool(open_B.any()):
                break
            logits_BV = self._forward(token_B[:, None], fed_B[:, None].long())
        for b in torch.nonzero(open_B).flatten().tolist():
            self._waiting_B[b] = said_B[b][-1:]
        for b, said in enumerate(said_B):
            self._ids_B[b] += said
            self._turns_B[b] += [self._turn] * len(said)
        self._turn += 1
        return [self._turns.decode(said) if speaks else None for said, speaks in zip(said_B, speaks_B, strict=True)]

    def transcripts(self) -> list[Transcript]:
        """All that was said and heard so far."""
        return [Transcript(list(ids), list(turns)) for ids, turns in zip(self._ids_B, self._turns_B, strict=True)]

    def _pack(self) -> tuple[Tensor, Tensor]:
        """What waits to be computed, padded left: tokens and mask [B, W]."""
        width = max(map(len, self._waiting_B))
        pad = self._turns.tokenizer.pad_token_id
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
        """The next token of each, [B]; where a conversation is not open, any, and its generator is left alone."""
        if self._warp is None:
            return logits_BV.argmax(-1)
        # The warpers look at scores alone; the token ids are part of their signature.
        scores_BV = self._warp(torch.empty(len(logits_BV), 0, dtype=torch.long), logits_BV.float())
        chances_BV = torch.softmax(scores_BV, dim=-1)
        if self._dice_B is None:
            return torch.multinomial(chances_BV, 1).squeeze(1)
        return _at(
            chances_BV,
            [rng.random() if is_open else 0.0 for rng, is_open in zip(self._dice_B, open_B.tolist(), strict=True)],
        )


def _at(chances_BV: Tensor, thrown_B: Sequence[float]) -> Tensor:
    """The token of each row at which the chances so far pass a number in [0, 1): a draw by inverting the sum."""
    upto_BV = chances_BV.double().cumsum(-1)
    upto_BV /= upto_BV[:, -1:].clone()
    thrown_B1 = torch.tensor(thrown_B, dtype=torch.float64, device=chances_BV.device)[:, None]
    return torch.searchsorted(upto_BV, thrown_B1, right=True).squeeze(1)
