"""A key-value cache that grows in place: long conversations are not copied anew at every token."""

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

SPARE = 256
"""Places reserved at a time, at least; a quarter of what there is where that is more."""


class GrowingLayer(DynamicLayer):
    """transformers' layer, which concatenates at every token, with spare room instead.

    ``keys`` and ``values`` stay what they are there: views [B, H, S, D] of the states so far.
    """

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the new states, and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._room = (key_states[:, :, :0], value_states[:, :, :0])
        past = self.get_seq_length()
        length = past + key_states.shape[-2]
        if length > self._room[0].shape[-2]:
            self._room = (_longer(self._room[0], past, length), _longer(self._room[1], past, length))
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, past:length] = states
        self.keys, self.values = (room[:, :, :length] for room in self._room)
        return self.keys, self.values


def _longer(room: Tensor, past: int, length: int) -> Tensor:
    longer = room.new_empty(*room.shape[:2], length + max(SPARE, length // 4), room.shape[-1])
    longer[:, :, :past] = room[:, :, :past]
    return longer


def growing_cache(config: Any) -> DynamicCache:
    """transformers' cache for a model; layers that see their whole past grow in place, others are its own."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
