"""The operations of a step on an NVIDIA GPU: Triton kernels where few rows make bandwidth the limit, cuBLAS for many rows.

Knows rows, packed weights and paged keys and values. Does not know layers or requests. Its reference is `TorchOps` (tests).
Importing it needs triton; `network_for` does so only where there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import triton
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from deixis.engine.fp8 import E4M3, Fp8Weight
from deixis.engine.kernels import attention, gemv, rows, single, top
from deixis.engine.ops import Attention, TorchOps
from deixis.engine.plan import BLOCK_KEYS, ITEM_FIELDS, Plan, Shape, work_plan
from deixis.engine.step import KVPages, Step
from deixis.engine.weights import Weight
from deixis.model import TextConfig
from deixis.model.moe import SparseMLP

GEMV_ROWS = 1  # measured: from two rows on cuBLAS reads the matrix faster
TILES = (16, 64)  # rows x query heads of one key-value head that a program of the attention takes
FRESH_ROWS = 2048  # so many rows with nothing before them attend through flash attention, which tiles them better
STAGES = 2  # tiles of keys on their way while one is multiplied (measured: one and three are slower)
# The first that takes the shapes: cuDNN's kernels are Hopper's own, flash's are a generation older, the last runs everywhere.
BACKENDS = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
ONE_WARPS = 4
INTERPRETED = bool(triton.knobs.runtime.interpret)


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


@dataclass(frozen=True, eq=False)
class DevicePlan:
    """A `Plan` on the device, with room for its partial results."""

    items: Tensor  # (items, ITEM_FIELDS) int32
    row_list: Tensor
    pages: Tensor
    limits: Tensor
    part_starts: Tensor
    parts: Tensor
    partial: Tensor  # (partials, heads, head_dim) float32
    lse: Tensor  # (partials, heads) float32, base 2
    page_tokens: int
    merged: bool  # whether any row has parts
    most_parts: int  # that one row can have, if it is alone


class TritonOps(TorchOps):
    """`early`: kernels are started before the one in front of them has ended (programmatic dependent launch)."""

    def __init__(self, early: bool = True) -> None:
        self.early = early and not INTERPRETED
        self.tilings = dict(TILINGS)
        self._ended: dict[torch.device, Tensor] = {}

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
        kv_heads, size = keys.shape[1:]
        every = qkv.shape[1] // size
        q = qkv.new_empty(len(qkv), every - 2 * kv_heads, size)
        block = 8 if len(qkv) < 128 else triton.next_power_of_2(every)
        self._run(
            rows.place_qkv,
            (len(qkv), triton.cdiv(every, block)),
            2 if block == 8 else 4,
            (qkv, *norms, cos, sin, keys, values, slots, q, eps),
            HEADS=every - 2 * kv_heads,
            KV_HEADS=kv_heads,
            HALF=size // 2,
            HEAD_BLOCK=block,
        )
        return q

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

    def attention(self, step: Step, kv: KVPages, config: TextConfig) -> Attention:
        fresh = {i for i, span in enumerate(step.spans) if span.start == 0 and span.count >= FRESH_ROWS}
        plan = work_plan(step.spans, kv.page_tokens, plan_shape(config), fresh)
        on_device = self.device_plan(plan, kv, config)
        if not fresh:
            return self.attention_on(on_device, step.slots, config.rms_norm_eps)
        rows = np.cumsum([0, *(span.count for span in step.spans)]).tolist()

        def attend(qkv: Tensor, norms: tuple[Tensor, Tensor], cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            q = self.place_qkv(qkv, norms, config.rms_norm_eps, cos, sin, keys, values, step.slots)
            out = self._attend(q, keys, values, on_device)
            for i in fresh:
                own = slice(rows[i], rows[i + 1])
                out[own] = self._fresh(q[own], keys, values, step.slots[own])
            return out

        return attend

    def attention_on(self, plan: DevicePlan, slots: Tensor, eps: float) -> Attention:
        """The attention of a step whose plan lies on the device."""

        def attend(qkv: Tensor, norms: tuple[Tensor, Tensor], cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            if len(qkv) == 1 and keys.shape[2] >= 32:
                return self._attend_one(qkv, norms, cos, sin, keys, values, plan, slots, eps)
            q = self.place_qkv(qkv, norms, eps, cos, sin, keys, values, slots)
            return self._attend(q, keys, values, plan)

        return attend

    def _fresh(self, q: Tensor, keys: Tensor, values: Tensor, slots: Tensor) -> Tensor:
        """Rows (n, heads, head_dim) that attend to one another alone; `slots` (n,) hold their keys."""
        k, v = (cache[slots].transpose(0, 1).unsqueeze(0) for cache in (keys, values))
        with sdpa_kernel(BACKENDS[1:], set_priority=True):  # without cuDNN, which plans for every length anew
            out = F.scaled_dot_product_attention(q.transpose(0, 1).unsqueeze(0), k, v, is_causal=True, enable_gqa=True)
        return out[0].transpose(0, 1).flatten(1)

    def _attend_one(
        self,
        qkv: Tensor,
        norms: tuple[Tensor, Tensor],
        cos: Tensor,
        sin: Tensor,
        keys: Tensor,
        values: Tensor,
        plan: DevicePlan,
        slots: Tensor,
        eps: float,
    ) -> Tensor:
        kv_heads, size = keys.shape[1:]
        heads = qkv.shape[1] // size - 2 * kv_heads
        out = qkv.new_empty(1, heads * size)
        ended = self._ended.get(qkv.device)
        if ended is None:
            ended = self._ended[qkv.device] = torch.zeros(256, dtype=torch.int32, device=qkv.device)
        lists = (plan.pages, plan.limits, plan.items, plan.part_starts)
        self._run(
            single.attend,
            (len(plan.items), kv_heads),
            ONE_WARPS,
            (qkv, *norms, cos, sin, keys, values, slots, *lists, out, plan.partial, plan.lse, ended, eps, _scale(size)),
            HEADS=heads,
            KV_HEADS=kv_heads,
            HALF=size // 2,
            PAGE=plan.page_tokens,
            BLOCK_M=max(16, triton.next_power_of_2(heads // kv_heads)),
            BLOCK_KV=BLOCK_KEYS,
            PARTS=triton.next_power_of_2(plan.most_parts),
            PRECISION=_precision(qkv),
            STAGES=STAGES,
        )
        return out

    def device_plan(self, plan: Plan, kv: KVPages, config: TextConfig) -> DevicePlan:
        """A plan's lists on the cache's device, in one copy."""
        device = kv.keys.device
        arrays = (plan.items, plan.row_list, plan.pages, plan.limits, plan.part_starts, plan.parts)
        whole = torch.from_numpy(np.concatenate([array.reshape(-1) for array in arrays]))
        if device.type == "cuda":
            whole = whole.pin_memory().to(device, non_blocking=True)
        parts = torch.split(whole, [array.size for array in arrays])
        heads, size, room = config.num_attention_heads, config.head_dim, max(1, plan.partials)
        items, row_list, pages, limits, part_starts, places = parts
        return DevicePlan(
            items.view(-1, ITEM_FIELDS),
            row_list,
            pages,
            limits,
            part_starts,
            places,
            torch.empty(room, heads, size, device=device),
            torch.empty(room, heads, device=device),
            kv.page_tokens,
            plan.partials > 0,
            plan_shape(config).wanted_items,
        )

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, plan: DevicePlan) -> Tensor:
        n, heads, size = q.shape
        out = q.new_empty(n, heads * size)
        group = heads // keys.shape[1]
        less = 0
        for tile in TILES:
            if len(plan.items) and less // group < n:  # rows enough for an item of this size
                self._run(
                    attention.attend,
                    (len(plan.items), keys.shape[1]),
                    4,
                    (
                        q,
                        keys,
                        values,
                        plan.pages,
                        plan.row_list,
                        plan.limits,
                        plan.items,
                        out,
                        plan.partial,
                        plan.lse,
                        _scale(size),
                    ),
                    HEADS=heads,
                    KV_HEADS=keys.shape[1],
                    SIZE=size,
                    PAGE=plan.page_tokens,
                    SMALL_M=less,
                    LARGE_M=tile,
                    BLOCK_KV=BLOCK_KEYS,
                    PRECISION=_precision(q),
                    STAGES=STAGES,
                )
            less = tile
        if plan.merged:
            self._run(
                attention.merge,
                (n, heads),
                4,
                (plan.partial, plan.lse, plan.part_starts, plan.parts, out),
                HEADS=heads,
                SIZE=size,
                BLOCK=32,
            )
        return out

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

    def _run(self, kernel: Any, grid: tuple[int, ...], warps: int, given: tuple[Any, ...], **settings: Any) -> None:
        launch(kernel, grid, warps, given, {**settings, "PDL": self.early}, early=self.early)


def launch(
    kernel: Any, grid: tuple[int, ...], warps: int, given: tuple[Any, ...], settings: dict[str, Any], *, early: bool = False
) -> None:
    """Start a kernel; `given` and `settings` in the order of its parameters.

    Triton works out at each launch which of a kernel's compiled forms fits, which takes longer than many kernels run. What
    decides it is all in the key below, so it is asked once.
    """
    if INTERPRETED:
        kernel[grid](*given, **settings)
        return
    forms = [(x.dtype, x.data_ptr() & 15) if isinstance(x, Tensor) else x for x in given]
    key = (id(kernel), warps, early, *forms, *settings.values())
    compiled = _COMPILED.get(key)
    if compiled is None:
        _COMPILED[key] = kernel[grid](*given, **settings, num_warps=warps, launch_pdl=early)
    else:
        compiled[(*grid, 1, 1)[:3]](*given, *settings.values())


_COMPILED: dict[tuple[Any, ...], Any] = {}


def plan_shape(config: TextConfig) -> Shape:
    """How the attention of this network is cut."""
    return Shape(config.num_key_value_heads, TILES[-1] // (config.num_attention_heads // config.num_key_value_heads))


def _scale(head_dim: int) -> float:
    """On scores, for kernels whose weights are powers of two."""
    return math.log2(math.e) / math.sqrt(head_dim)


def _precision(x: Tensor) -> str:
    return "ieee" if x.dtype == torch.float32 else "tf32"


def _or(given: Tensor | None, other: Tensor) -> Tensor:
    """A tensor for an argument that the kernel does not read."""
    return other if given is None else given
