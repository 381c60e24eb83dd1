"""One pass of the network: which tokens of which sequences are read together, and where their keys and values lie.

Knows token rows, pages and slots. Does not know requests, nor why these tokens were chosen (scheduler.py).
A page is a fixed number of tokens' room in the cache of every layer; slot = page x page size + place in the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deixis.model import TextConfig, VisualFeatures

PAGE_TOKENS = 16
_UNTOUCHED_BYTES = 2**27  # above what allocators take from memory that was used before


class KVPages:
    """Room for the keys and values of `pages` pages, in every layer: (layers, slots, kv_heads, head_dim) each."""

    def __init__(
        self, config: TextConfig, pages: int, device: torch.device | str, dtype: torch.dtype, page_tokens: int = PAGE_TOKENS
    ) -> None:
        self.page_tokens = page_tokens
        self.pages = pages
        shape = (config.num_hidden_layers, pages * page_tokens, config.num_key_value_heads, config.head_dim)
        # On the CPU large room is not touched before it is used: the system gives memory, zeroed, page by page when it is.
        large = torch.device(device).type == "cpu" and pages * self.page_bytes(config, dtype, page_tokens) >= _UNTOUCHED_BYTES
        fresh = torch.empty if large else torch.zeros
        self.keys = fresh(shape, device=device, dtype=dtype)
        self.values = fresh(shape, device=device, dtype=dtype)

    def copy(self, slots: Tensor) -> None:
        """What the slots `slots[0]` (n,) hold goes to the slots `slots[1]`, in every layer; all is read before any is written."""
        layers, count = self.keys.shape[:2]
        starts = count * torch.arange(layers, device=self.keys.device).unsqueeze(1)
        source, target = (starts + each for each in sent(slots, self.keys.device))  # (layers, n)
        for cache in (self.keys, self.values):
            rows = cache.view(layers * count, -1)
            rows.index_copy_(0, target.flatten(), rows.index_select(0, source.flatten()))

    @staticmethod
    def page_bytes(config: TextConfig, dtype: torch.dtype, page_tokens: int = PAGE_TOKENS) -> int:
        """What one page costs."""
        row = config.num_key_value_heads * config.head_dim * dtype.itemsize
        return 2 * config.num_hidden_layers * page_tokens * row


@dataclass(frozen=True)
class Span:
    """A sequence's part of a step: `count` new tokens after `start` earlier ones, all of them in `pages`, in order."""

    start: int
    count: int
    pages: Sequence[int]

    @property
    def end(self) -> int:
        """Tokens of the sequence that the cache holds after the step."""
        return self.start + self.count


@dataclass(frozen=True, eq=False)
class Step:
    """Token rows of several sequences, span after span.

    Rows are what the network computes on; `wanted` are those whose next token is asked for. `visual_rows` (v,) are the rows
    that hold visual features, in the order of `features`. `copies` (2, n) are slots that `KVPages.copy` copies first.
    """

    spans: tuple[Span, ...]
    input_ids: Tensor  # (rows,) int64
    positions: Tensor  # (3, rows) int64
    slots: Tensor  # (rows,) int64
    wanted: Tensor  # (w,) int64
    visual_rows: Tensor | None = None
    features: VisualFeatures | None = None
    copies: Tensor | None = None

    def to(self, device: torch.device) -> Step:
        """The same step with its tensors on a device; the host does not wait."""
        if device.type == "cpu":
            return self
        moved: dict[str, Any] = {
            name: sent(tensor, device)
            for name in ("input_ids", "positions", "slots", "wanted", "visual_rows", "copies")
            if (tensor := getattr(self, name)) is not None and tensor.device.type == "cpu"
        }
        return replace(self, **moved)

    @property
    def rows(self) -> int:
        """Tokens read in this step."""
        return int(self.input_ids.shape[0])


def slots_of(span: Span, page_tokens: int) -> list[int]:
    """Where a span's new tokens go."""
    return [span.pages[i // page_tokens] * page_tokens + i % page_tokens for i in range(span.start, span.end)]


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Values on a device, without waiting for what the device is doing."""
    return values if values.device.type == device.type else values.pin_memory().to(device, non_blocking=True)
