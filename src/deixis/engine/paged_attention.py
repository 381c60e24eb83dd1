"""The attention of a step over pages on an NVIDIA GPU: its plan brought there, and the kernels that work it off.

Knows rows, plans and paged keys and values. Does not know layers or requests. Its reference is `TorchOps` (tests).
Importing it needs triton.
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

from deixis.engine.kernels import attention, rows, single
from deixis.engine.launching import INTERPRETED, launch
from deixis.engine.ops import Attention, TorchOps
from deixis.engine.plan import BLOCK_KEYS, ITEM_FIELDS, Plan, Shape, work_plan
from deixis.engine.step import KVPages, Step
from deixis.model import TextConfig

TILES = (16, 64)  # rows x query heads of one key-value head that a program of the attention takes
FRESH_ROWS = 2048  # so many rows with nothing before them attend through flash attention, which tiles them better
STAGES = 2  # tiles of keys on their way while one is multiplied (measured: one and three are slower)
# The first that takes the shapes: cuDNN's kernels are Hopper's own, flash's are a generation older, the last runs everywhere.
BACKENDS = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
ONE_WARPS, ONE_STAGES = 4, 1  # of the kernel for one row, where the first tile is on its way before the kernel begins


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


class PagedAttention(TorchOps):
    """`early`: kernels are started before the one in front of them has ended (programmatic dependent launch)."""

    def __init__(self, early: bool = True) -> None:
        self.early = early and not INTERPRETED
        self._ended: dict[torch.device, Tensor] = {}

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
            STAGES=ONE_STAGES,
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

    def _run(self, kernel: Any, grid: tuple[int, ...], warps: int, given: tuple[Any, ...], **settings: Any) -> None:
        launch(kernel, grid, warps, given, {**settings, "PDL": self.early}, early=self.early)


def plan_shape(config: TextConfig) -> Shape:
    """How the attention of this network is cut."""
    return Shape(config.num_key_value_heads, TILES[-1] // (config.num_attention_heads // config.num_key_value_heads))


def _scale(head_dim: int) -> float:
    """On scores, for kernels whose weights are powers of two."""
    return math.log2(math.e) / math.sqrt(head_dim)


def _precision(x: Tensor) -> str:
    return "ieee" if x.dtype == torch.float32 else "tf32"
