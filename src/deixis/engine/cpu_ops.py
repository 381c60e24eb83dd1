"""The operations of a step on a CPU in float32, in fewer calls: for one row of a small network they cost as much as the sums.

Knows what `TorchOps` knows, and equals it (test).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from deixis.engine.ops import TorchOps
from deixis.engine.weights import Weight


class CpuOps(TorchOps):
    """`TorchOps` for a CPU; bfloat16 takes the reference's way."""

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """(n, size) -> same."""
        if x.dtype != torch.float32:
            return super().rms_norm(x, weight, eps)
        return F.rms_norm(x, weight.shape, weight, eps)

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """(n, 2 x inner), gate before up -> (n, inner). `gate_up` is written over."""
        gate, up = gate_up.chunk(2, -1)
        return F.silu(gate, inplace=True).mul_(up)

    def add_linear(self, x: Tensor, y: Tensor, weight: Weight) -> Tensor:
        """x (n, out) plus the product of y (n, in)."""
        return torch.addmm(x, y, weight.T) if isinstance(weight, Tensor) else weight.product(y).add_(x)

    def place_qkv(
        self,
        qkv: Tensor,
        norms: tuple[Tensor, Tensor],
        eps: float,
        cos: Tensor,
        sin: Tensor,
        keys: Tensor,
        values: Tensor,
        slots: Tensor,
    ) -> Tensor:
        """As the reference: queries and keys are normed and turned together."""
        if qkv.dtype != torch.float32:
            return super().place_qkv(qkv, norms, eps, cos, sin, keys, values, slots)
        kv_heads, head_dim = keys.shape[1:]
        whole = qkv.view(len(qkv), -1, head_dim)  # (n, heads + 2 kv_heads, head_dim)
        heads = whole.shape[1] - 2 * kv_heads
        both = F.rms_norm(whole[:, : heads + kv_heads], (head_dim,), None, eps)
        both[:, :heads].mul_(norms[0])
        both[:, heads:].mul_(norms[1])
        a, b = both.chunk(2, -1)  # the pairs (i, i + head_dim/2) of `rotate`
        c, s = cos.unsqueeze(1), sin.unsqueeze(1)
        turned = torch.cat(((a * c).addcmul_(b, s, value=-1), (b * c).addcmul_(a, s)), -1)
        keys.index_copy_(0, slots, turned[:, heads:])
        values.index_copy_(0, slots, whole[:, heads + kv_heads :])
        return turned[:, :heads]
