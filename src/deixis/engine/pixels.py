"""Pixels to flat patches on the network's device: bytes cross over as they are, and are resized, ordered and normed there.

Knows pixels and the order of patches. Its reference is `model.patches`, which it equals to the bit where a picture is read at its
own size, and within 2/255 where it is resized (Pillow rounds between its two passes).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deixis.model import Grid, VisionConfig, pixels_of
from deixis.model.patches import flatten_patches


def device_patches(part: Mapping[str, Any], grid: Grid, config: VisionConfig, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Flat patches (n, patch_dim) of a picture's or video's part, whose `grid` says the size that it is read at.

    Raises PictureError for what is not pixels.
    """
    given = pixels_of(part)
    staged = torch.empty(given.shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    staged.numpy()[...] = given
    pixels = staged.to(device, non_blocking=True)
    return patches_of(pixels if pixels.ndim == 4 else pixels.unsqueeze(0), grid, config, dtype)


def patches_of(frames: Tensor, grid: Grid, config: VisionConfig, dtype: torch.dtype) -> Tensor:
    """Frames (t, h, w, 3) uint8 on any device -> flat patches (n, patch_dim) in [-1, 1]."""
    planes = frames.permute(0, 3, 1, 2)  # (t, 3, h, w)
    size = grid[1] * config.patch_size, grid[2] * config.patch_size
    if planes.shape[2:] != size:
        resized = F.interpolate(planes.float(), size, mode="bicubic", antialias=True)
        planes = resized.round_().clamp_(0, 255).to(torch.uint8)
    temporal = config.temporal_patch_size
    if short := -len(planes) % temporal:
        planes = torch.cat([planes, planes[-1:].expand(short, -1, -1, -1)])
    groups = planes.reshape(-1, temporal, *planes.shape[1:])
    # Bytes are put in order first: a quarter of the traffic of doing it in float32.
    return flatten_patches(groups, config.patch_size, config.spatial_merge_size).float().div_(127.5).sub_(1).to(dtype)
