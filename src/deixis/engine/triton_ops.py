"""The operations of a step on an NVIDIA GPU: Triton kernels where few rows make bandwidth the limit, cuBLAS for many rows.

Knows rows, packed weights and paged keys and values. Does not know layers or requests. Its reference is `TorchOps` (tests).
Importing it needs triton; `network_for` does so only where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from deixis.engine.fp8 import E4M3, Fp8Weight
from deixis.engine.kernels import gemv, rows, top
from deixis.engine.paged_attention import PagedAttention
from deixis.engine.weights import Weight
from deixis.model.moe import SparseMLP

GEMV_ROWS = 1  # measured: from two rows on cuBLAS reads the matrix faster


@dataclass(frozen=True)
class GemvTiling:
    """How a product of few rows is cut: outputs and inputs of one tile, warps."""

    outputs: int
    inputs: int
    warps: int


# (outputs, inputs, gated) -> tiling, measured on one H200 for the shapes of the 2B and the 8B checkpoint.
TILINGS = {
    (4096, 2048, False): GemvTiling(8, 1024, 4),
    (2048, 2048, False): GemvTiling(4, 1024, 4),
    (6144, 2048, True): GemvTiling(4, 1024, 4),
    (2048, 6144, False): GemvTiling(4, 2048, 4),
    (151_936, 2048, False): GemvTiling(4, 2048, 4),
    (6144, 4096, False): GemvTiling(4, 2048, 4),
    (4096, 4096, False): GemvTiling(4, 512, 2),
    (12_288, 4096, True): GemvTiling(2, 1024, 4),
    (4096, 12_288, False): GemvTiling(8, 512, 2),
    (151_936, 4096, False): GemvTiling(4, 2048, 4),
}


class TritonOps(PagedAttention):
    """Like `PagedAttention`, with everything else that a step is made of."""

    def __init__(self, early: bool = True) -> None:
        super().__init__(early)
        self.tilings = dict(TILINGS)

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        return self._normed(x, weight, eps, None)

    def last_norm(self, x: Tensor, wanted: Tensor, weight: Tensor, eps: float) -> Tensor:
        return self._normed(x, weight, eps, wanted)

    def _normed(self, x: Tensor, weight: Tensor, eps: float, wanted: Tensor | None) -> Tensor:
        size = x.shape[-1]
        out = x.new_empty(len(x) if wanted is None else len(wanted), size)
        block = triton.next_power_of_2(size)
        self._run(
            rows.rms_norm,
            (len(out),),
            min(16, max(1, block // 512)),
            (x, weight, x if wanted is None else wanted, out, eps),
            SIZE=size,
            BLOCK=block,
            GATHER=wanted is not None,
        )
        return out

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        inner = gate_up.shape[1] // 2
        out = gate_up.new_empty(len(gate_up), inner)
        self._run(rows.silu_mul, (len(out), triton.cdiv(inner, 1024)), 4, (gate_up, out), INNER=inner, BLOCK=1024)
        return out

    def norm_linear(self, x: Tensor, norm: Tensor, eps: float, weight: Weight, bias: Tensor | None = None) -> Tensor:
        if self._few(x, weight):
            return self._gemv(x, weight, norm=norm, eps=eps, bias=bias)
        return super().norm_linear(x, norm, eps, weight, bias)

    def norm_gate_up(self, x: Tensor, norm: Tensor, eps: float, gate_up: Weight) -> Tensor:
        if self._few(x, gate_up):
            return self._gemv(x, gate_up, norm=norm, eps=eps, gated=True)
        return super().norm_gate_up(x, norm, eps, gate_up)

    def add_linear(self, x: Tensor, y: Tensor, weight: Weight) -> Tensor:
        if self._few(y, weight):
            return self._gemv(y, weight, residual=x)
        if isinstance(weight, Tensor):
            return x.addmm_(y, weight.t())
        return super().add_linear(x, y, weight)

    def linear(self, x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
        if not isinstance(weight, Fp8Weight) or not weight.multiplies(x):
            return super().linear(x, weight, bias)
        numbers, scale = torch.empty_like(x, dtype=E4M3), torch.empty(len(x), device=x.device)
        block = triton.next_power_of_2(x.shape[1])
        self._run(rows.quantise, (len(x),), min(16, max(1, block // 512)), (x, numbers, scale), SIZE=x.shape[1], BLOCK=block)
        return weight.scaled_product(numbers, scale, bias, x.dtype)

    def groups_experts(self, mlp: SparseMLP) -> bool:
        weight = mlp.experts.gate_up_proj
        aligned = all(size % 8 == 0 for size in (*weight.shape[1:], *mlp.experts.down_proj.shape[1:]))
        return weight.is_cuda and weight.dtype == torch.bfloat16 and aligned

    def experts(self, x: Tensor, mlp: SparseMLP) -> Tensor:
        if not self.groups_experts(mlp):
            return super().experts(x, mlp)
        weights, chosen = mlp.gate(x)  # (n, k) both
        order = chosen.flatten().argsort(stable=True)  # pairs of row and expert, grouped by expert
        up, down = mlp.experts.gate_up_proj, mlp.experts.down_proj
        counts = torch.zeros(len(up), dtype=torch.int32, device=x.device)
        counts.scatter_add_(0, chosen.flatten(), torch.ones_like(order, dtype=torch.int32))
        ends = counts.cumsum(0, dtype=torch.int32)
        inner = self.silu_mul(torch._grouped_mm(x[order // chosen.shape[1]], up.mT, offs=ends))
        grouped = torch._grouped_mm(inner, down.mT, offs=ends) * weights.flatten()[order].unsqueeze(-1)
        # Back in the rows' order, so that each row's sum has one order, too.
        return torch.empty_like(grouped).index_copy_(0, order, grouped).view(*chosen.shape, -1).sum(1)

    def scores(self, hidden: Tensor, head: Weight) -> Tensor:
        if self._few(hidden, head):
            return self._gemv(hidden, head, dtype=torch.float32)
        if isinstance(head, Tensor) and hidden.is_cuda and hidden.dtype != torch.float32:
            return torch.mm(hidden, head.t(), out_dtype=torch.float32)
        return super().scores(hidden, head)

    def best_allowed(self, logits: Tensor, bits: Tensor) -> Tensor:
        n, vocab = logits.shape
        block = 2048 if vocab > 1 << 15 else 512
        blocks = triton.cdiv(vocab, block)
        values, ids = logits.new_empty(n, blocks), logits.new_empty(n, blocks, dtype=torch.int32)
        self._run(top.allowed_of_blocks, (n, blocks), 4, (logits, bits, values, ids, vocab, bits.shape[1]), BLOCK=block)
        out = logits.new_empty(n, dtype=torch.int64)
        given = (values, ids, out, blocks, vocab)
        self._run(top.allowed_of_rows, (n,), 1, given, BLOCKS=triton.next_power_of_2(blocks))
        return out

    def begin(
        self, input_ids: Tensor, positions: Tensor, table: Tensor, frequencies: tuple[Tensor, Tensor, float]
    ) -> tuple[Tensor, Tensor, Tensor]:
        turning, axes, scale = frequencies
        n, size, half = len(input_ids), table.shape[1], len(turning)
        x = table.new_empty(n, size)
        cos, sin = (torch.empty(n, half, device=table.device) for _ in range(2))
        block = triton.next_power_of_2(size)
        self._run(
            rows.begin,
            (n,),
            4,
            (input_ids, positions, table, turning, axes, scale, x, cos, sin, n),
            SIZE=size,
            BLOCK=block,
            HALF=half,
            HALF_BLOCK=triton.next_power_of_2(half),
        )
        return x, cos, sin

    def likeliest(self, logits: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        n, vocab = logits.shape
        if count > 16 or count > vocab or vocab > 1 << 19:
            return super().likeliest(logits, count)
        block = 2048 if vocab > 1 << 15 else 512
        blocks, room = triton.cdiv(vocab, block), triton.next_power_of_2(count)
        values, ids = logits.new_empty(n, blocks, count), logits.new_empty(n, blocks, count, dtype=torch.int32)
        tops, sums = (logits.new_empty(n, blocks) for _ in range(2))
        out, out_ids = logits.new_empty(n, count), logits.new_empty(n, count, dtype=torch.int64)
        totals = logits.new_empty(n)
        given = (logits, values, ids, tops, sums, vocab)
        self._run(top.of_blocks, (n, blocks), 4, given, BLOCK=block, COUNT=count, ROOM=room)
        width, most = triton.next_power_of_2(blocks * count), triton.next_power_of_2(blocks)
        self._run(
            top.of_rows,
            (n,),
            4,
            (values, ids, tops, sums, out, out_ids, totals, blocks, vocab),
            WIDTH=width,
            BLOCKS=most,
            COUNT=count,
            ROOM=room,
        )
        return out, out_ids, totals

    def _few(self, x: Tensor, weight: Weight) -> bool:
        return len(x) <= GEMV_ROWS and isinstance(weight, Tensor | Fp8Weight)

    def _gemv(
        self,
        x: Tensor,
        weight: Weight,
        *,
        norm: Tensor | None = None,
        eps: float = 0.0,
        bias: Tensor | None = None,
        residual: Tensor | None = None,
        gated: bool = False,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        scale: Tensor | None = None
        if isinstance(weight, Fp8Weight):
            scale = weight.scale
            weight = weight.numbers
        assert isinstance(weight, Tensor)
        n = len(weight) // (2 if gated else 1)
        out = torch.empty(len(x), n, device=x.device, dtype=dtype if dtype is not None else x.dtype)
        tiling = self._tiling(n, weight.shape[1], gated, len(x))
        if scale is not None:  # bytes decide: twice the inputs for each tile
            tiling = GemvTiling(tiling.outputs, min(2 * tiling.inputs, triton.next_power_of_2(weight.shape[1])), tiling.warps)
        self._run(
            gemv.gemv,
            (triton.cdiv(n, tiling.outputs),),
            tiling.warps,
            (x, weight, _or(norm, x), _or(scale, x), _or(bias, x), _or(residual, x), out, n, eps),
            K=weight.shape[1],
            ROWS=len(x),
            BLOCK_N=tiling.outputs,
            BLOCK_K=tiling.inputs,
            NORM=norm is not None,
            GATED=gated,
            SCALED=scale is not None,
            BIAS=bias is not None,
            ADD=residual is not None,
        )
        return out

    def _tiling(self, n: int, k: int, gated: bool, count: int) -> GemvTiling:
        found = self.tilings.get((n, k, gated)) if count == 1 else None
        if found is None:
            # Each warp reads 256 inputs of a tile, 16 bytes a thread; the more rows, the fewer outputs fit the registers.
            warps = 8 if k >= 4096 else 4
            found = GemvTiling(4 if count <= 2 and not gated else 2, min(256 * warps, triton.next_power_of_2(k)), warps)
        return found


def _or(given: Tensor | None, other: Tensor) -> Tensor:
    """A tensor for an argument that the kernel does not read."""
    return other if given is None else given
