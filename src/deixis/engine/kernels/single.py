"""All between the two products of one decoding row in one launch: its queries, key and value into place, its attention in pieces
side by side, and the joining of the pieces by whichever program ends last.

Knows one row, pages and the items of its plan. Its reference: `TorchOps.place_qkv` and `attend`.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def _turned(a, b, gain_a, gain_b, c, s, rms, dtype: tl.constexpr):
    """Both halves of a head, normed and turned; rounded where the reference rounds."""
    a = ((a * rms).to(dtype).to(tl.float32) * gain_a).to(dtype).to(tl.float32)
    b = ((b * rms).to(dtype).to(tl.float32) * gain_b).to(dtype).to(tl.float32)
    return (a * c - b * s).to(dtype), (b * c + a * s).to(dtype)


@triton.jit
def _tile(
    keys,
    values,
    pages,
    table,
    k0,
    end,
    kv,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK_KV: tl.constexpr,
):
    """Both halves of the keys, and the values, from k0 on; zeros beyond `end`."""
    half, d = tl.arange(0, HALF), tl.arange(0, 2 * HALF)
    at = k0 + tl.arange(0, BLOCK_KV)
    inside = at < end
    place = tl.load(pages + table + at // PAGE, mask=inside, other=0).to(tl.int64) * PAGE + at % PAGE
    line = (place * KV_HEADS + kv)[:, None] * (2 * HALF)
    ka = tl.load(keys + line + half[None, :], mask=inside[:, None], other=0.0)
    kb = tl.load(keys + line + HALF + half[None, :], mask=inside[:, None], other=0.0)
    return ka, kb, tl.load(values + line + d[None, :], mask=inside[:, None], other=0.0)


@triton.jit
def _attend(qa, qb, ka, kb, v, k0, end, scale, best, total, acc, BLOCK_KV: tl.constexpr, PRECISION: tl.constexpr):
    """The running softmax with one tile more."""
    scores = tl.dot(qa, tl.trans(ka), input_precision=PRECISION) + tl.dot(qb, tl.trans(kb), input_precision=PRECISION)
    scores = tl.where((k0 + tl.arange(0, BLOCK_KV) < end)[None, :], scores * scale, float("-inf"))
    top = tl.maximum(best, tl.max(scores, 1))
    base = tl.where(top == float("-inf"), 0.0, top)
    weight = tl.exp2(scores - base[:, None])
    decay = tl.exp2(best - base)
    acc = acc * decay[:, None] + tl.dot(weight.to(v.dtype), v, input_precision=PRECISION)
    return top, total * decay + tl.sum(weight, 1), acc


@triton.jit(do_not_specialize_on_alignment=["slots", "pages", "limits", "items", "part_starts"])
def attend(
    qkv,
    q_norm,
    k_norm,
    cos,
    sin,
    keys,
    values,
    slots,
    pages,
    limits,
    items,
    part_starts,
    out,
    partial,
    lse,
    ended,
    eps,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_KV: tl.constexpr,
    PARTS: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
    PDL: tl.constexpr,
):
    """out (1, HEADS x 2 HALF); grid (items, KV_HEADS). `ended` (KV_HEADS,) int32 zeros, and zeros again at the end."""
    GROUP: tl.constexpr = HEADS // KV_HEADS
    SIZE: tl.constexpr = 2 * HALF
    dtype = out.dtype.element_ty
    half = tl.arange(0, HALF)
    d = tl.arange(0, SIZE)
    q_gain_a, q_gain_b = tl.load(q_norm + half).to(tl.float32), tl.load(q_norm + HALF + half).to(tl.float32)
    k_gain_a, k_gain_b = tl.load(k_norm + half).to(tl.float32), tl.load(k_norm + HALF + half).to(tl.float32)
    item = items + tl.program_id(0) * 6
    kv = tl.program_id(1)
    count = tl.load(item + 1)
    table = tl.load(item + 2)
    start = tl.load(item + 3)
    end = tl.load(item + 4)
    to = tl.load(item + 5)
    slot = tl.load(slots)
    limit = tl.load(limits)
    parts = tl.load(part_starts + 1)
    newest = end == limit  # this piece holds the row's own key, which no other program may have written yet
    cached = tl.where(newest, end - 1, end)
    # What earlier steps wrote, and the lists, are there before the kernel in front has ended: often this is all there is to read.
    ka0, kb0, v0 = _tile(keys, values, pages, table, start, cached, kv, KV_HEADS, HALF, PAGE, BLOCK_KV)
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    if count > 0:
        m = tl.arange(0, BLOCK_M)
        valid = (m < GROUP)[:, None]
        head = kv * GROUP + m
        c, s = tl.load(cos + half), tl.load(sin + half)
        a = tl.load(qkv + head[:, None] * SIZE + half[None, :], mask=valid, other=0.0).to(tl.float32)
        b = tl.load(qkv + head[:, None] * SIZE + HALF + half[None, :], mask=valid, other=0.0).to(tl.float32)
        rms = tl.rsqrt((tl.sum(a * a, 1) + tl.sum(b * b, 1)) / SIZE + eps)[:, None]
        qa, qb = _turned(a, b, q_gain_a[None, :], q_gain_b[None, :], c[None, :], s[None, :], rms, dtype)
        best = tl.full((BLOCK_M,), float("-inf"), tl.float32)
        total = tl.zeros((BLOCK_M,), tl.float32)
        acc = tl.zeros((BLOCK_M, SIZE), tl.float32)
        best, total, acc = _attend(qa, qb, ka0, kb0, v0, start, cached, scale, best, total, acc, BLOCK_KV, PRECISION)
        for k0 in tl.range(start + BLOCK_KV, cached, BLOCK_KV, num_stages=STAGES):
            ka, kb, v = _tile(keys, values, pages, table, k0, cached, kv, KV_HEADS, HALF, PAGE, BLOCK_KV)
            best, total, acc = _attend(qa, qb, ka, kb, v, k0, cached, scale, best, total, acc, BLOCK_KV, PRECISION)
        if newest:
            own = qkv + (HEADS + kv) * SIZE
            a1, b1 = tl.load(own + half).to(tl.float32), tl.load(own + HALF + half).to(tl.float32)
            rms1 = tl.rsqrt((tl.sum(a1 * a1, 0) + tl.sum(b1 * b1, 0)) / SIZE + eps)
            ka1, kb1 = _turned(a1, b1, k_gain_a, k_gain_b, c, s, rms1, dtype)
            v1 = tl.load(qkv + (HEADS + KV_HEADS + kv) * SIZE + d)
            spot = slot * (KV_HEADS * SIZE) + kv * SIZE
            tl.store(keys + spot + half, ka1, mask=slot >= 0)
            tl.store(keys + spot + HALF + half, kb1, mask=slot >= 0)
            tl.store(values + spot + d, v1, mask=slot >= 0)
            score = tl.sum(qa.to(tl.float32) * ka1.to(tl.float32)[None, :], 1)
            score = (score + tl.sum(qb.to(tl.float32) * kb1.to(tl.float32)[None, :], 1)) * scale
            top = tl.maximum(best, score)
            weight = tl.exp2(score - top)
            decay = tl.exp2(best - top)
            total = total * decay + weight
            acc = acc * decay[:, None] + weight[:, None] * v1.to(tl.float32)[None, :]
            best = top
        acc = acc / total[:, None]
        if to < 0:
            tl.store(out + head[:, None] * SIZE + d[None, :], acc.to(dtype), mask=valid)
        else:
            place = to * HEADS + head
            tl.store(partial + place[:, None] * SIZE + d[None, :], acc, mask=valid)
            tl.store(lse + place, best + tl.log2(total), mask=m < GROUP)
            tl.debug_barrier()  # all threads' parts are written before one of them says so
            before = tl.atomic_add(ended + kv, 1, sem="acq_rel", scope="gpu")
            if before == parts - 1:
                tl.debug_barrier()
                p = tl.arange(0, PARTS)
                for g in tl.static_range(GROUP):
                    at = p * HEADS + kv * GROUP + g
                    share = tl.load(lse + at, mask=p < parts, other=float("-inf"), cache_modifier=".cg")
                    given = tl.load(partial + at[:, None] * SIZE + d[None, :], mask=(p < parts)[:, None], other=0.0,
                                    cache_modifier=".cg")  # fmt: skip
                    share = tl.exp2(share - tl.max(share, 0))
                    joined = tl.sum(given * share[:, None], 0) / tl.sum(share, 0)
                    tl.store(out + (kv * GROUP + g) * SIZE + d, joined.to(dtype))
                tl.store(ended + kv, 0)
