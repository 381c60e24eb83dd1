"""The ViT on a GPU: all pictures of a step in one pass, each product with what follows it.

Knows the ViT's weights and grids. Does not know pixels or requests. Its reference is `model.VisionModel` (test), whose weights it
reads. Pictures of one size attend as one batch, of several sizes size by size; everything else is done to all
of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor
from torch.nn.attention import sdpa_kernel

from deixis.engine.kernels import rows
from deixis.engine.launching import launch
from deixis.engine.paged_attention import BACKENDS
from deixis.model import Grid, VisualFeatures
from deixis.model.vision import VisionModel


@dataclass(frozen=True, eq=False)
class _Size:
    """Frames of one size, which stand together: rows first..first + frames x tokens."""

    first: int
    frames: int
    tokens: int
    places: Tensor  # (tokens, hidden) learned positions
    cos: Tensor
    sin: Tensor


class FastVision:
    """Calls like `Network.see`."""

    def __init__(self, visual: VisionModel) -> None:
        self.visual = visual
        self._tables = lru_cache(maxsize=8)(self._fresh_tables)

    def __call__(self, patches: Tensor, grids: Sequence[Grid]) -> VisualFeatures:
        """`patches` (n, patch_dim) of all grids one after another -> features in the same order."""
        visual: Any = self.visual
        config = self.visual.config
        frames = [(h, w) for t, h, w in grids for _ in range(t)]
        order = sorted(range(len(frames)), key=lambda i: frames[i])  # stable: one size stays as it is
        embed = visual.patch_embed.proj
        x = F.linear(patches.to(embed.weight.dtype), embed.weight.flatten(1), embed.bias)
        mixed = len(set(frames)) > 1
        if mixed:
            parts = torch.split(x, [h * w for h, w in frames])
            x = torch.cat([parts[i] for i in order])
        sizes = self._sizes([frames[i] for i in order])
        for size in sizes:
            x[size.first : size.first + size.frames * size.tokens].view(size.frames, size.tokens, -1).add_(size.places)
        taps: list[Tensor] = []
        norm = visual.blocks[0].norm1
        normed = F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps)
        for i, block in enumerate(visual.blocks):
            seen = self._attend(F.linear(normed, block.attn.qkv.weight, block.attn.qkv.bias), sizes)
            normed = self._add_norm(x, F.linear(seen, block.attn.proj.weight), block.attn.proj.bias, block.norm2)
            up, down = block.mlp.linear_fc1, block.mlp.linear_fc2
            inner = _gelu_linear(normed, up.weight, up.bias)
            after = visual.blocks[i + 1].norm1 if i + 1 < len(visual.blocks) else visual.merger.norm
            normed = self._add_norm(x, F.linear(inner, down.weight), down.bias, after)
            if i in config.deepstack_visual_indexes:
                taps.append(visual.deepstack_merger_list[config.deepstack_visual_indexes.index(i)](x))
        merger = visual.merger
        merged = merger.linear_fc2(F.gelu(merger.linear_fc1(normed.view(-1, merger.joined))))
        if not mixed:
            return VisualFeatures(merged, tuple(taps))
        square = config.spatial_merge_size**2
        lengths = [frames[i][0] * frames[i][1] // square for i in order]
        back = sorted(range(len(order)), key=order.__getitem__)
        ordered = [torch.cat([torch.split(features, lengths)[i] for i in back]) for features in (merged, *taps)]
        return VisualFeatures(ordered[0], tuple(ordered[1:]))

    def _sizes(self, frames: Sequence[tuple[int, int]]) -> list[_Size]:
        sizes: list[_Size] = []
        first = 0
        for h, w in dict.fromkeys(frames):
            count = frames.count((h, w))
            sizes.append(_Size(first, count, h * w, *self._tables(h, w)))
            first += count * h * w
        return sizes

    def _fresh_tables(self, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        weight = self.visual.pos_embed.weight
        index, share, cos, sin = self.visual.tables(height, width, weight.device)
        return (F.embedding(index, weight) * share.unsqueeze(-1)).sum(1).to(weight.dtype), cos, sin

    def _attend(self, qkv: Tensor, sizes: Sequence[_Size]) -> Tensor:
        heads = self.visual.config.num_heads
        head_dim = self.visual.config.head_dim
        half = head_dim // 2
        seen: list[Tensor] = []
        for size in sizes:
            own = qkv[size.first : size.first + size.frames * size.tokens]
            grid = (len(own), triton.cdiv(2 * heads, 8))
            settings = {"HEADS": heads, "HALF": half, "HALF_BLOCK": triton.next_power_of_2(half), "HEAD_BLOCK": 8}
            launch(rows.turn, grid, 1, (own, size.cos, size.sin, size.tokens), settings)
            q, k, v = own.view(size.frames, size.tokens, 3, heads, head_dim).permute(2, 0, 3, 1, 4).unbind(0)
            with sdpa_kernel(BACKENDS, set_priority=True):
                out = F.scaled_dot_product_attention(q, k, v)  # (frames, heads, tokens, head_dim)
            seen.append(out.transpose(1, 2).reshape(len(own), -1))
        return seen[0] if len(seen) == 1 else torch.cat(seen)

    def _add_norm(self, x: Tensor, y: Tensor, y_bias: Tensor, norm: Any) -> Tensor:
        """x += y + y_bias, and the norm of the sum."""
        out = torch.empty_like(x)
        size = x.shape[1]
        block = triton.next_power_of_2(size)
        given = (x, y, y_bias, norm.weight, norm.bias, out, norm.eps)
        launch(rows.add_layer_norm, (len(x),), max(1, min(8, block // 256)), given, {"SIZE": size, "BLOCK": block})
        return out


def _gelu_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """gelu(x @ weight.T + bias), tanh form, in one product where the GPU's library has it."""
    if x.is_cuda:
        return torch._addmm_activation(bias, x, weight.t(), use_gelu=True)
    return F.gelu(F.linear(x, weight, bias), approximate="tanh")
