"""Rotary positions: the decoder's interleaved MRoPE with YaRN, the ViT's 2D rotary, and the rotation itself.

Knows angles. Does not know tokens or grids. Angles and rotation are float32 whatever the network's dtype is.
Sources: transformers 5.17 ``Qwen3VLTextRotaryEmbedding``, ``Qwen3VLVisionRotaryEmbedding``, ``_compute_yarn_parameters``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deixis.model.config import TextConfig, YarnConfig


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the channel pairs (i, i + head_dim/2) of ``x`` (..., n, head_dim) by the angles of cos, sin (..., n, head_dim/2)."""
    a, b = x.float().chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)


def inverse_frequencies(head_dim: int, theta: float) -> Tensor:
    """theta^(-2i/head_dim) for i < head_dim/2, float32 (head_dim/2,)."""
    return 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)


def text_frequencies(config: TextConfig) -> tuple[Tensor, float]:
    """Inverse frequencies (head_dim/2,) and the factor on cos and sin (1 without YaRN)."""
    plain = inverse_frequencies(config.head_dim, config.rope_theta)
    if config.yarn is None:
        return plain, 1.0
    return _yarn(plain, config.yarn, config.head_dim, config.rope_theta)


def mrope_axes(config: TextConfig) -> Tensor:
    """Which position axis (0 time, 1 height, 2 width) each frequency turns with, int64 (head_dim/2,): T H W T H W … then T."""
    axes = torch.zeros(config.head_dim // 2, dtype=torch.int64)
    for axis in (1, 2):
        axes[axis : 3 * config.mrope_section[axis] : 3] = axis
    return axes


class MRope:
    """cos and sin of the decoder's positions.

    Not a module: its tables must stay float32 when the network is cast, and must exist when the network was built on the meta
    device. They are kept per device, so that a step copies nothing from the host.
    """

    def __init__(self, config: TextConfig) -> None:
        self.config = config
        self._on: dict[torch.device, tuple[Tensor, Tensor, float]] = {}

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """``positions`` (3, b, t) int64 -> cos, sin (b, 1, t, head_dim/2) float32."""
        frequencies, axes, scale = self.tables(positions.device)
        with torch.autocast(positions.device.type, enabled=False):
            angles = positions[axes].permute(1, 2, 0).float() * frequencies  # (b, t, head_dim/2)
            return (angles.cos() * scale).unsqueeze(1), (angles.sin() * scale).unsqueeze(1)

    def tables(self, device: torch.device) -> tuple[Tensor, Tensor, float]:
        """Inverse frequencies and the position axis that each turns with, both (head_dim/2,), and the factor on cos and sin."""
        found = self._on.get(device)
        if found is None:
            # Made outside inference mode: a table born in it could not take part in training later.
            with torch.inference_mode(False), torch.device("cpu"):
                frequencies, scale = text_frequencies(self.config)
                found = frequencies.to(device), mrope_axes(self.config).to(device), scale
            self._on[device] = found
        return found


def vision_angles(rows: Tensor, columns: Tensor, head_dim: int, theta: float) -> Tensor:
    """Angles (n, head_dim/2) of patches at ``rows``, ``columns`` (n,): one half turns with the row, the other with the column."""
    frequencies = inverse_frequencies(head_dim // 2, theta)  # (head_dim/4,)
    return torch.cat((rows.float()[:, None] * frequencies, columns.float()[:, None] * frequencies), -1)


def _yarn(plain: Tensor, yarn: YarnConfig, head_dim: int, theta: float) -> tuple[Tensor, float]:
    """Blend plain and interpolated frequencies by a ramp between the wavelengths that turn beta_fast and beta_slow times."""

    def dimension(turns: float) -> float:
        return head_dim * math.log(yarn.original_max_position_embeddings / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(yarn.beta_fast), dimension(yarn.beta_slow)
    if yarn.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    if low == high:
        high += 0.001  # a step instead of a division by zero
    ramp = ((torch.arange(head_dim // 2, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
    if yarn.attention_factor is not None:
        scale = yarn.attention_factor
    elif yarn.mscale and yarn.mscale_all_dim:
        scale = _mscale(yarn.factor, yarn.mscale) / _mscale(yarn.factor, yarn.mscale_all_dim)
    else:
        scale = _mscale(yarn.factor, 1.0)
    return plain / yarn.factor * ramp + plain * (1 - ramp), scale


def _mscale(factor: float, weight: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0
