"""The network over packed rows: pictures first, then questions that do not see one another.

Knows tensors. ``PackedAttention`` is FlexAttention on a GPU and a dense mask elsewhere, with equal results (a test).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from deixis.lab.nano import token_id
from deixis.lab.stream import Batch
from deixis.model import Grid, Qwen3VL, patchify_batch


@dataclass(frozen=True)
class Prefix:
    """The tokens before the questions, the same for all pictures of one size."""

    ids: Tensor  # (t,)
    positions: Tensor  # (3, t)
    visual: Tensor  # (visual tokens,) indices into ids
    next_position: int


def picture_prefix(tokenizer: Tokenizer, height: int, width: int) -> Prefix:
    """``<|im_start|>user\\n<|vision_start|>…<|vision_end|>`` for a picture of ``height`` x ``width`` px."""
    rows, columns = height // 32, width // 32
    turn, begin, image, end = (
        token_id(tokenizer, f"<|{name}|>") for name in ("im_start", "vision_start", "image_pad", "vision_end")
    )
    head = [turn, *tokenizer.encode("user\n").ids, begin]
    n = rows * columns
    ids = [*head, *[image] * n, end]
    start = len(head)
    grid = torch.stack([torch.zeros(n), torch.arange(n) // columns, torch.arange(n) % columns]).long() + start
    after = start + max(rows, columns)
    positions = torch.cat([torch.arange(start).expand(3, -1), grid, torch.full((3, 1), after)], 1)
    return Prefix(torch.tensor(ids), positions, torch.arange(start, start + n), after + 1)


@dataclass(frozen=True)
class Rows:
    """A batch on the device: see ``Packed``; segments include the prefix (0)."""

    ids: Tensor  # (b, t)
    positions: Tensor  # (3, b, t)
    segment: Tensor  # (b, t)
    visual_index: Tensor  # (b * visual tokens,)
    target_index: Tensor  # (n,) flat indices of the tokens whose successor is an answer token
    target: Tensor  # (n,)
    weight: Tensor  # (n,)


def rows_of(batch: Batch, prefix: Prefix, device: torch.device | str) -> Rows:
    """The batch's questions behind the prefix of its pictures, on ``device``."""
    packed = batch.packed
    b, t = packed.ids.shape
    p = len(prefix.ids)
    ids = torch.cat([prefix.ids.expand(b, -1), torch.from_numpy(packed.ids).long()], 1)
    text = torch.from_numpy(packed.position).long() + prefix.next_position
    positions = torch.cat([prefix.positions[:, None].expand(-1, b, -1), text.expand(3, -1, -1)], 2)
    segment = torch.cat([torch.zeros(b, p, dtype=torch.int32), torch.from_numpy(packed.segment)], 1)
    at = np.flatnonzero(packed.weight)  # an answer's first token follows its question, so at - 1 is never another's
    row, column = at // t, at % t
    flat = row * (p + t) + p + column - 1
    visual = (torch.arange(b)[:, None] * (p + t) + prefix.visual).flatten()
    target, weight = torch.from_numpy(packed.ids.reshape(-1)[at]).long(), torch.from_numpy(packed.weight.reshape(-1)[at])
    tensors = (ids, positions, segment, visual, torch.from_numpy(flat), target, weight)
    if torch.device(device).type == "cuda":
        return Rows(*(x.pin_memory().to(device, non_blocking=True) for x in tensors))
    return Rows(*tensors)


class PackedAttention:
    """An ``Attend``: token q sees k if k is not later and belongs to the picture or to q's own question.

    ``segment`` (b, t) must be int32: with int16 the forward kernel is 16 times slower (11.2 against 0.69 ms a layer for 128 rows
    of 1,088 tokens on one H200, torch 2.11, default tiles).
    """

    def __init__(self, segment: Tensor) -> None:
        self.segment = segment
        self._mask: Any
        if segment.is_cuda:
            from torch.nn.attention.flex_attention import create_block_mask

            b, t = segment.shape
            self._mask = create_block_mask(sight(segment), b, None, t, t, device=segment.device)
        else:
            self._mask = dense_mask(segment)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = q.to(v.dtype), k.to(v.dtype)
        if self.segment.is_cuda:
            return _flex()(q, k, v, block_mask=self._mask, enable_gqa=True)  # type: ignore[no-any-return]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self._mask, enable_gqa=True)


def dense_mask(segment: Tensor) -> Tensor:
    """(b, t) segments -> (b, 1, t, t) bool: the reference for what PackedAttention lets see."""
    t = segment.shape[1]
    same = (segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None])
    return (same & torch.ones(t, t, dtype=torch.bool, device=segment.device).tril())[:, None]


def sight(segment: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The same as ``dense_mask``, as FlexAttention asks: (row, head, query, key) indices -> whether that query sees that key."""

    def sees(row: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & ((segment[row, k] == 0) | (segment[row, k] == segment[row, q]))

    return sees


@cache
def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def answer_logits(model: Qwen3VL, pixels: Tensor, rows: Rows, dtype: torch.dtype) -> Tensor:
    """(n, vocabulary) logits at ``rows.target_index``. ``pixels`` (b, 3, h, w) in [-1, 1]."""
    b, _, height, width = pixels.shape
    return logits_of_patches(model, patchify_batch(pixels), [(1, height // 16, width // 16)] * b, rows, dtype)


def logits_of_patches(model: Qwen3VL, patches: Tensor, grids: Sequence[Grid], rows: Rows, dtype: torch.dtype) -> Tensor:
    """The same of patches (n, patch_dim) with the grids of their pictures or videos."""
    merged, deepstack = model.visual(patches, grids)
    embeds = model.place(model.embed(rows.ids).to(dtype), rows.visual_index, merged)
    hidden = model.language(
        embeds, rows.positions, visual_index=rows.visual_index, deepstack=deepstack, attend=PackedAttention(rows.segment)
    )
    return model.logits(hidden.flatten(0, 1)[rows.target_index]).float()
