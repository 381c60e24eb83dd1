"""What is done to every row on its own: norms, SiLU, embedding and turning angles, queries and keys into place.

Knows rows and slots. Its reference: `TorchOps`; the ViT's parts: `model/vision.py`.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit(do_not_specialize_on_alignment=["rows"])
def rms_norm(x, weight, rows, out, eps, SIZE: tl.constexpr, BLOCK: tl.constexpr, GATHER: tl.constexpr, PDL: tl.constexpr):
    """out (n, SIZE) = rms_norm(x) * weight, of the rows `rows` (n,) of x with GATHER; grid (n,)."""
    at = tl.arange(0, BLOCK)
    mask = at < SIZE
    gain = tl.load(weight + at, mask=mask, other=0.0).to(tl.float32)
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    source = row
    if GATHER:
        source = tl.load(rows + row)
    value = tl.load(x + source * SIZE + at, mask=mask, other=0.0).to(tl.float32)
    rms = tl.rsqrt(tl.sum(value * value, 0) / SIZE + eps)
    normed = (value * rms).to(out.dtype.element_ty).to(tl.float32) * gain
    tl.store(out + row * SIZE + at, normed.to(out.dtype.element_ty), mask=mask)


@triton.jit
def quantise(x, out, scale, SIZE: tl.constexpr, BLOCK: tl.constexpr, PDL: tl.constexpr):
    """out (n, SIZE) float8 = x / scale, scale (n,) float32 so that each row's largest is E4M3's, 448; grid (n,)."""
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    mask = at < SIZE
    value = tl.load(x + row * SIZE + at, mask=mask, other=0.0).to(tl.float32)
    step = tl.maximum(tl.max(tl.abs(value), 0), 1e-12) / 448.0
    tl.store(scale + row, step)
    tl.store(out + row * SIZE + at, (value / step).to(tl.float8e4nv), mask=mask)


@triton.jit
def silu_mul(gate_up, out, INNER: tl.constexpr, BLOCK: tl.constexpr, PDL: tl.constexpr):
    """out (n, INNER) = silu(first half of gate_up) * second half; grid (n, INNER / BLOCK)."""
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = at < INNER
    gate = tl.load(gate_up + row * 2 * INNER + at, mask=mask, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * INNER + INNER + at, mask=mask, other=0.0).to(tl.float32)
    gate = (gate / (1.0 + tl.exp(-gate))).to(out.dtype.element_ty).to(tl.float32)
    tl.store(out + row * INNER + at, (gate * up).to(out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["rows"], do_not_specialize_on_alignment=["input_ids", "positions"])
def begin(
    input_ids,
    positions,
    table,
    frequencies,
    axes,
    scale,
    x,
    cos,
    sin,
    rows,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
    HALF: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    """x (rows, SIZE): the tokens' embeddings; cos, sin (rows, HALF) float32 of their positions (3, rows); grid (rows,)."""
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    mask = at < SIZE
    token = tl.load(input_ids + row)
    tl.store(x + row * SIZE + at, tl.load(table + token * SIZE + at, mask=mask, other=0.0), mask=mask)
    half = tl.arange(0, HALF_BLOCK)
    within = half < HALF
    axis = tl.load(axes + half, mask=within, other=0)
    angle = tl.load(positions + axis * rows + row, mask=within, other=0).to(tl.float32)
    angle = angle * tl.load(frequencies + half, mask=within, other=0.0)
    tl.store(cos + row * HALF + half, tl.cos(angle) * scale, mask=within)
    tl.store(sin + row * HALF + half, tl.sin(angle) * scale, mask=within)


@triton.jit(do_not_specialize_on_alignment=["slots"])
def place_qkv(
    qkv,
    q_norm,
    k_norm,
    cos,
    sin,
    keys,
    values,
    slots,
    q_out,
    eps,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    """See `TorchOps.place_qkv`; q_out (n, HEADS, 2 HALF). A row with slot -1 leaves the cache as it is.

    Grid (n, heads of all three kinds / HEAD_BLOCK): a program takes HEAD_BLOCK heads of one row.
    """
    dtype = q_out.dtype.element_ty
    half = tl.arange(0, HALF)
    q_gain_a, q_gain_b = tl.load(q_norm + half), tl.load(q_norm + HALF + half)
    k_gain_a, k_gain_b = tl.load(k_norm + half), tl.load(k_norm + HALF + half)
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    ALL: tl.constexpr = HEADS + 2 * KV_HEADS
    SIZE: tl.constexpr = 2 * HALF
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEAD_BLOCK + tl.arange(0, HEAD_BLOCK)
    mask = (head < ALL)[:, None]
    at = row * ALL * SIZE + head[:, None] * SIZE + half[None, :]
    a = tl.load(qkv + at, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(qkv + at + HALF, mask=mask, other=0.0).to(tl.float32)
    is_q = (head < HEADS)[:, None]
    is_v = (head >= HEADS + KV_HEADS)[:, None]
    rms = tl.rsqrt((tl.sum(a * a, 1) + tl.sum(b * b, 1)) / SIZE + eps)[:, None]
    # Rounded where the reference rounds: after the norm, and after its weight.
    gain_a = tl.where(is_q, q_gain_a[None, :], k_gain_a[None, :]).to(tl.float32)
    gain_b = tl.where(is_q, q_gain_b[None, :], k_gain_b[None, :]).to(tl.float32)
    na = ((a * rms).to(dtype).to(tl.float32) * gain_a).to(dtype).to(tl.float32)
    nb = ((b * rms).to(dtype).to(tl.float32) * gain_b).to(dtype).to(tl.float32)
    c = tl.load(cos + row * HALF + half)[None, :]
    s = tl.load(sin + row * HALF + half)[None, :]
    ra = tl.where(is_v, a, na * c - nb * s).to(dtype)
    rb = tl.where(is_v, b, nb * c + na * s).to(dtype)
    to_q = q_out + row * HEADS * SIZE + head[:, None] * SIZE + half[None, :]
    tl.store(to_q, ra, mask=is_q)
    tl.store(to_q + HALF, rb, mask=is_q)
    slot = tl.load(slots + row)
    to_k = keys + slot * KV_HEADS * SIZE + (head - HEADS)[:, None] * SIZE + half[None, :]
    is_k = (slot >= 0) & (head >= HEADS)[:, None] & (head < HEADS + KV_HEADS)[:, None]
    tl.store(to_k, ra, mask=is_k)
    tl.store(to_k + HALF, rb, mask=is_k)
    to_v = values + slot * KV_HEADS * SIZE + (head - HEADS - KV_HEADS)[:, None] * SIZE + half[None, :]
    is_v = (slot >= 0) & is_v & mask
    tl.store(to_v, ra, mask=is_v)
    tl.store(to_v + HALF, rb, mask=is_v)


@triton.jit(do_not_specialize=["tokens"])
def turn(qkv, cos, sin, tokens, HEADS: tl.constexpr, HALF: tl.constexpr, HALF_BLOCK: tl.constexpr, HEAD_BLOCK: tl.constexpr):
    """Turn queries and keys of qkv (n, 3, HEADS, 2 HALF) in place, by cos, sin (tokens, HALF) of row modulo `tokens`.

    Grid (n, 2 HEADS / HEAD_BLOCK).
    """
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEAD_BLOCK + tl.arange(0, HEAD_BLOCK)
    half = tl.arange(0, HALF_BLOCK)
    mask = (head < 2 * HEADS)[:, None] & (half < HALF)[None, :]
    at = qkv + row * 6 * HEADS * HALF + head[:, None] * 2 * HALF + half[None, :]
    a = tl.load(at, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(at + HALF, mask=mask, other=0.0).to(tl.float32)
    angle = (row % tokens) * HALF + half
    c = tl.load(cos + angle, mask=half < HALF, other=0.0)[None, :]
    s = tl.load(sin + angle, mask=half < HALF, other=0.0)[None, :]
    tl.store(at, (a * c - b * s).to(qkv.dtype.element_ty), mask=mask)
    tl.store(at + HALF, (b * c + a * s).to(qkv.dtype.element_ty), mask=mask)


@triton.jit
def add_layer_norm(x, y, y_bias, weight, bias, out, eps, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """x += y + y_bias in place; out = layer_norm(x) * weight + bias; all (n, SIZE); grid (n,)."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    mask = at < SIZE
    value = tl.load(x + row * SIZE + at, mask=mask, other=0.0).to(tl.float32)
    value += tl.load(y + row * SIZE + at, mask=mask, other=0.0).to(tl.float32)
    value += tl.load(y_bias + at, mask=mask, other=0.0).to(tl.float32)
    kept = value.to(x.dtype.element_ty)
    tl.store(x + row * SIZE + at, kept, mask=mask)
    value = kept.to(tl.float32)
    mean = tl.sum(value, 0) / SIZE
    off = tl.where(mask, value - mean, 0.0)
    scale = tl.rsqrt(tl.sum(off * off, 0) / SIZE + eps)
    gain = tl.load(weight + at, mask=mask, other=0.0).to(tl.float32)
    shift = tl.load(bias + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + row * SIZE + at, (off * scale * gain + shift).to(out.dtype.element_ty), mask=mask)
