"""Small layers that both halves of the network share: norms whose weights follow the activations' dtype, and initialisation.

Knows tensors. Does not know the network's layout.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, statistics in float32 (transformers ``Qwen3VLTextRMSNorm``)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., size) -> same shape and dtype."""
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        # The weight takes the activations' dtype: float32 master weights must not widen a bfloat16 stream.
        return self.weight.to(x.dtype) * normed.to(x.dtype)


class LayerNorm(nn.Module):
    """LayerNorm over the last axis that accepts weights of another dtype than its input's."""

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., size) -> same shape."""
        return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


@torch.no_grad()
def fill_normal(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    """Overwrite with N(0, std²), drawn on the generator's device, so that a seed gives the same weights on every device."""
    drawn = torch.empty(parameter.shape, dtype=torch.float32, device=generator.device).normal_(0.0, std, generator=generator)
    parameter.copy_(drawn)
