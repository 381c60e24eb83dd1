"""Keys and values of the tokens that the decoder has already seen.

Knows shapes. Does not know which tokens they were. One buffer per layer, (b, kv_heads, capacity, head_dim), doubled when full.
"""

from __future__ import annotations

import torch
from torch import Tensor


class LayerCache:
    """One layer's keys and values."""

    def __init__(self, capacity: int = 0) -> None:
        self.length = 0
        self._wanted = capacity
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add (b, kv, t, head_dim) and return all (b, kv, length, head_dim), as views of the buffers."""
        end = self.length + keys.shape[2]
        self._keys = self._room(self._keys, keys, end)
        self._values = self._room(self._values, values, end)
        self._keys[:, :, self.length : end] = keys
        self._values[:, :, self.length : end] = values
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def crop(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens."""
        self.length = min(self.length, length)

    def copy(self, capacity: int) -> LayerCache:
        """An independent cache with the same content and room for ``capacity`` tokens in all."""
        twin = LayerCache(capacity)
        if self._keys is not None and self._values is not None:
            twin.append(self._keys[:, :, : self.length], self._values[:, :, : self.length])
        return twin

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(b.nbytes for b in (self._keys, self._values) if b is not None)

    def _room(self, buffer: Tensor | None, new: Tensor, end: int) -> Tensor:
        if buffer is not None and buffer.shape[2] >= end:
            return buffer
        capacity = max(end, self._wanted, 2 * buffer.shape[2] if buffer is not None else 0)
        b, heads, _, dim = new.shape
        larger = torch.empty(b, heads, capacity, dim, dtype=new.dtype, device=new.device)
        if buffer is not None:
            larger[:, :, : self.length] = buffer[:, :, : self.length]
        return larger


class KVCache:
    """The caches of all layers of one batch of sequences of equal length."""

    def __init__(self, num_layers: int, capacity: int = 0) -> None:
        """``capacity`` tokens get room at first use; 0 lets the first tokens decide."""
        self.layers = [LayerCache(capacity) for _ in range(num_layers)]

    @property
    def length(self) -> int:
        """Tokens held."""
        return self.layers[0].length

    @property
    def nbytes(self) -> int:
        """Bytes held by all layers."""
        return sum(layer.nbytes for layer in self.layers)

    def crop(self, length: int) -> None:
        """Forget everything after the first ``length`` tokens, in every layer."""
        for layer in self.layers:
            layer.crop(length)

    def copy(self, capacity: int = 0) -> KVCache:
        """An independent cache with the same content and room for ``capacity`` tokens in all."""
        twin = KVCache(0)
        twin.layers = [layer.copy(capacity) for layer in self.layers]
        return twin
