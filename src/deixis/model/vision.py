"""The ViT: flat patches to merged visual tokens, with interpolated and rotary positions and DeepStack taps.

Knows patches and grids (time, height, width in patches). Does not know pixels, tokens or text.
Source: transformers 5.17 ``Qwen3VLVisionModel`` and ``vision_utils.py``. Patches come in merge-block order: the
``merge x merge`` patches that become one visual token stand together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deixis.model.config import VisionConfig
from deixis.model.layers import LayerNorm
from deixis.model.rope import rotate, vision_angles

Grid = tuple[int, int, int]
FrameTables = tuple[Tensor, Tensor, Tensor, Tensor]


class PatchEmbed(nn.Module):
    """A linear map of flat patches. Keeps transformers' Conv3d shape, applied as the equal and far faster matrix product."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        kernel = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_channels, config.hidden_size, kernel_size=kernel, stride=kernel)

    def forward(self, patches: Tensor) -> Tensor:
        """(n, patch_dim) -> (n, hidden)."""
        weight = self.proj.weight
        return F.linear(patches.to(weight.dtype), weight.flatten(1), self.proj.bias)


class VisionAttention(nn.Module):
    """Full attention within each picture (or frame), with 2D rotary positions."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, windows: tuple[int, ...] | None) -> Tensor:
        """(b, n, hidden) -> same; each row is one window, or, with ``windows``, the lengths of those inside a single row."""
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)  # (b, heads, n, head_dim)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if windows is None:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            parts = zip(*(z.split(windows, dim=2) for z in (q, k, v)), strict=True)
            out = torch.cat([F.scaled_dot_product_attention(*part) for part in parts], dim=2)
        out = out.transpose(1, 2).reshape(b, n, -1)
        return self.proj(out)  # type: ignore[no-any-return]


class VisionMLP(nn.Module):
    """Two linear maps around a tanh-approximated GELU."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.linear_fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., hidden) -> same."""
        return self.linear_fc2(F.gelu(self.linear_fc1(x), approximate="tanh"))  # type: ignore[no-any-return]


class VisionBlock(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = LayerNorm(config.hidden_size)
        self.norm2 = LayerNorm(config.hidden_size)
        self.attn = VisionAttention(config)
        self.mlp = VisionMLP(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, windows: tuple[int, ...] | None = None) -> Tensor:
        """(b, n, hidden), cos and sin (n, head_dim/2) -> (b, n, hidden)."""
        x = x + self.attn(self.norm1(x), cos, sin, windows)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class PatchMerger(nn.Module):
    """The patches of one merge block to one visual token. A DeepStack tap norms after joining them, the last one before."""

    def __init__(self, config: VisionConfig, *, tap: bool) -> None:
        super().__init__()
        self.joined = config.hidden_size * config.spatial_merge_size**2
        self.tap = tap
        self.norm = LayerNorm(self.joined if tap else config.hidden_size)
        self.linear_fc1 = nn.Linear(self.joined, self.joined)
        self.linear_fc2 = nn.Linear(self.joined, config.out_hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., n, hidden) -> (all patches / merge², out_hidden)."""
        x = self.norm(x.reshape(-1, self.joined)) if self.tap else self.norm(x).reshape(-1, self.joined)
        return self.linear_fc2(F.gelu(self.linear_fc1(x)))  # type: ignore[no-any-return]


class VisionModel(nn.Module):
    """The whole ViT."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.pos_embed = nn.Embedding(config.num_position_embeddings, config.hidden_size)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.depth))
        self.merger = PatchMerger(config, tap=False)
        self.deepstack_merger_list = nn.ModuleList(PatchMerger(config, tap=True) for _ in config.deepstack_visual_indexes)

    def forward(self, patches: Tensor, grid: Sequence[Grid]) -> tuple[Tensor, list[Tensor]]:
        """Encode pictures and videos; frames of a video do not attend to one another.

        ``patches`` (n, patch_dim) of all entries of ``grid`` (time, height, width in patches) one after another.
        Returns merged features (n / merge², out_hidden) and one such tensor per DeepStack tap.
        """
        frames = [(h, w) for t, h, w in grid for _ in range(t)]
        tables = [self.tables(h, w, patches.device) for h, w in frames]
        x = self.patch_embed(patches)
        windows: tuple[int, ...] | None = None
        if len(set(frames)) == 1:  # one batch of equal windows
            index, weight, cos, sin = tables[0]
            x = x.view(len(frames), -1, x.shape[-1])
        else:
            index, weight, cos, sin = (torch.cat(parts) for parts in zip(*tables, strict=True))
            x = x.unsqueeze(0)
            windows = tuple(h * w for h, w in frames)
        x = x + (self.pos_embed(index) * weight.unsqueeze(-1)).sum(1).to(x.dtype)  # (b, n, hidden)
        taps: dict[int, Tensor] = {}
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin, windows)
            if i in self.config.deepstack_visual_indexes:
                taps[i] = self.deepstack_merger_list[self.config.deepstack_visual_indexes.index(i)](x)
        # transformers hands the taps on in the order of the blocks, whatever order the config names them in.
        return self.merger(x), list(taps.values())

    def tables(self, height: int, width: int, device: torch.device) -> FrameTables:
        """Position tables of one frame of ``height`` x ``width`` patches: see ``frame_tables``, kept for the sizes seen last."""
        c = self.config
        return _cached_tables(height, width, c.spatial_merge_size, c.position_side, c.head_dim, c.rope_theta, str(device))


def frame_tables(height: int, width: int, merge: int, side: int, head_dim: int, theta: float, device: str) -> FrameTables:
    """What the ViT needs to know about where the patches of one frame are, patches in merge-block order.

    Returns ``index`` (n, 4) int64 and ``weight`` (n, 4) float32, the bilinear taps into the ``side`` x ``side`` learned
    table stretched over the frame with its corners aligned; and cos, sin (n, head_dim/2) float32 of the 2D rotary.
    """
    # Outside inference mode: the cached tables may take part in training later.
    with torch.inference_mode(False), torch.device("cpu"):
        blocks = torch.arange(height * width).view(height // merge, merge, width // merge, merge).transpose(1, 2).flatten()
        rows, columns = blocks // width, blocks % width
        (y0, y1, fy), (x0, x1, fx) = _stretch(rows, height, side), _stretch(columns, width, side)
        index = torch.stack((y0 * side + x0, y0 * side + x1, y1 * side + x0, y1 * side + x1), -1)
        weight = torch.stack(((1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx), -1)
        angles = vision_angles(rows, columns, head_dim, theta)
        return index.to(device), weight.to(device), angles.cos().to(device), angles.sin().to(device)


# Made outside every compiled part: training compiles blocks, not the ViT (`lab.train`). Shielding it from a compiler would load
# one, which costs each new process 0.9 s.
_cached_tables = lru_cache(maxsize=32)(frame_tables)


def _stretch(position: Tensor, size: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours in a table of length ``side`` and the fraction between them, for positions 0..size-1 laid over it end to end."""
    at = position.float() * (side - 1) / max(size - 1, 1)
    low = at.floor()
    return low.long(), (low.long() + 1).clamp(max=side - 1), at - low
