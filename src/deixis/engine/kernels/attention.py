"""Attention over pages, driven by a list of work items (plan.py), and the merging of their partial results.

Knows rows, pages and items. Does not know why rows stand together. Its reference: `TorchOps.attend`.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def _tile(
    q,
    keys,
    values,
    pages,
    row_list,
    limits,
    out,
    partial,
    lse,
    first,
    count,
    table,
    start,
    end,
    to,
    kv,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    SIZE: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_KV: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):
    """All rows of one item and the query heads of one key-value head, over keys start..end."""
    GROUP: tl.constexpr = HEADS // KV_HEADS
    m = tl.arange(0, BLOCK_M)
    d = tl.arange(0, SIZE)
    member = m // GROUP
    valid = member < count
    head = kv * GROUP + m % GROUP
    row = tl.load(row_list + first + member, mask=valid, other=0).to(tl.int64)
    limit = tl.minimum(tl.load(limits + row, mask=valid, other=0), end)  # keys that a row may see
    query = tl.load(q + row[:, None] * HEADS * SIZE + head[:, None] * SIZE + d[None, :], mask=valid[:, None], other=0.0)
    best = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, SIZE), tl.float32)
    for k0 in tl.range(start, end, BLOCK_KV, num_stages=STAGES):
        at = k0 + tl.arange(0, BLOCK_KV)
        inside = at < end
        slot = tl.load(pages + table + at // PAGE, mask=inside, other=0).to(tl.int64) * PAGE + at % PAGE
        lines = slot[:, None] * (KV_HEADS * SIZE) + kv * SIZE + d[None, :]
        k = tl.load(keys + lines, mask=inside[:, None], other=0.0)
        scores = tl.dot(query, tl.trans(k), input_precision=PRECISION) * scale
        scores = tl.where(at[None, :] < limit[:, None], scores, float("-inf"))
        top = tl.maximum(best, tl.max(scores, 1))
        base = tl.where(top == float("-inf"), 0.0, top)  # a row that sees none of these keys
        weight = tl.exp2(scores - base[:, None])
        decay = tl.exp2(best - base)
        total = total * decay + tl.sum(weight, 1)
        v = tl.load(values + lines, mask=inside[:, None], other=0.0)
        acc = acc * decay[:, None] + tl.dot(weight.to(v.dtype), v, input_precision=PRECISION)
        best = top
    acc = acc / tl.where(total > 0, total, 1.0)[:, None]
    if to < 0:
        spot = out + row[:, None] * HEADS * SIZE + head[:, None] * SIZE + d[None, :]
        tl.store(spot, acc.to(out.dtype.element_ty), mask=valid[:, None])
    else:
        place = (to + member).to(tl.int64) * HEADS + head
        tl.store(partial + place[:, None] * SIZE + d[None, :], acc, mask=valid[:, None])
        seen = total > 0
        tl.store(lse + place, tl.where(seen, best + tl.log2(tl.where(seen, total, 1.0)), float("-inf")), mask=valid)


@triton.jit(do_not_specialize_on_alignment=["pages", "row_list", "limits", "items"])
def attend(
    q,
    keys,
    values,
    pages,
    row_list,
    limits,
    items,
    out,
    partial,
    lse,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    SIZE: tl.constexpr,
    PAGE: tl.constexpr,
    SMALL_M: tl.constexpr,
    LARGE_M: tl.constexpr,
    BLOCK_KV: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
    PDL: tl.constexpr,
):
    """Grid (items, KV_HEADS). `scale` includes log2(e): weights are powers of two.

    Takes the items whose rows x group are more than SMALL_M and at most LARGE_M, in tiles of LARGE_M. Others belong to another
    launch, which needs other room: tiles of both sizes in one kernel would cost the small ones the registers of the large.
    """
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    item = items + tl.program_id(0) * 6
    kv = tl.program_id(1)
    first = tl.load(item)
    count = tl.load(item + 1)
    table = tl.load(item + 2)
    start = tl.load(item + 3)
    end = tl.load(item + 4)
    to = tl.load(item + 5)
    if (count > SMALL_M // (HEADS // KV_HEADS)) & (count <= LARGE_M // (HEADS // KV_HEADS)):
        _tile(
            q,
            keys,
            values,
            pages,
            row_list,
            limits,
            out,
            partial,
            lse,
            first,
            count,
            table,
            start,
            end,
            to,
            kv,
            scale,
            HEADS,
            KV_HEADS,
            SIZE,
            PAGE,
            LARGE_M,
            BLOCK_KV,
            PRECISION,
            STAGES,
        )


@triton.jit(do_not_specialize_on_alignment=["part_starts", "parts"])
def merge(partial, lse, part_starts, parts, out, HEADS: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, PDL: tl.constexpr):
    """Join each row's partial results; grid (rows, HEADS). A row without parts was written at once.

    `parts` part_starts[row]..part_starts[row + 1] are the places of its partials.
    """
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    begin = tl.load(part_starts + row)
    end = tl.load(part_starts + row + 1)
    d = tl.arange(0, SIZE)
    if end > begin:
        best = float("-inf")
        total = 0.0
        acc = tl.zeros((SIZE,), tl.float32)
        for p0 in tl.range(begin, end, BLOCK):
            p = p0 + tl.arange(0, BLOCK)
            inside = p < end
            place = tl.load(parts + p, mask=inside, other=0).to(tl.int64) * HEADS + head
            weight = tl.load(lse + place, mask=inside, other=float("-inf"))
            given = tl.load(partial + place[:, None] * SIZE + d[None, :], mask=inside[:, None], other=0.0)
            top = tl.maximum(best, tl.max(weight, 0))
            base = tl.where(top == float("-inf"), 0.0, top)
            weight = tl.exp2(weight - base)
            decay = tl.exp2(best - base)
            total = total * decay + tl.sum(weight, 0)
            acc = acc * decay + tl.sum(given * weight[:, None], 0)
            best = top
        tl.store(out + row * HEADS * SIZE + head * SIZE + d, (acc / total).to(out.dtype.element_ty))
