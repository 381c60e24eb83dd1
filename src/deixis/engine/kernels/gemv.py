"""One to four rows times a matrix, as fast as the matrix can be read: the norm in front and what follows are part of the pass.

Knows rows and weights. Its reference: `TorchOps.norm_linear`, `norm_gate_up`, `add_linear`.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def _weights(weight, columns, ks, n_mask, K: tl.constexpr, EVEN: tl.constexpr):
    """A tile (BLOCK_N, BLOCK_K) of the matrix. Read once in a step, so it should not push the cache's other lines out."""
    at = weight + columns.to(tl.int64)[:, None] * K + ks[None, :]
    if EVEN:
        return tl.load(at, mask=n_mask[:, None], other=0.0, eviction_policy="evict_first")
    return tl.load(at, mask=n_mask[:, None] & (ks < K)[None, :], other=0.0, eviction_policy="evict_first")


@triton.jit
def _row(x, row, ks, k_mask, K: tl.constexpr):
    return tl.load(x + row * K + ks, mask=k_mask, other=0.0).to(tl.float32)


@triton.jit
def _finish(
    acc,
    up,
    squares,
    row,
    columns,
    n_mask,
    scale,
    bias,
    residual,
    out,
    n,
    eps,
    K: tl.constexpr,
    NORM: tl.constexpr,
    GATED: tl.constexpr,
    SCALED: tl.constexpr,
    BIAS: tl.constexpr,
    ADD: tl.constexpr,
):
    """Reduce one row's sums, apply what follows the product, and write."""
    y = tl.sum(acc, 1)  # (BLOCK_N,)
    rms = 1.0
    if NORM:
        rms = tl.rsqrt(tl.sum(squares, 0) / K + eps)
    y = y * rms
    if SCALED:
        y = y * tl.load(scale + columns, mask=n_mask, other=0.0)
    if GATED:
        z = tl.sum(up, 1) * rms
        if SCALED:
            z = z * tl.load(scale + n + columns, mask=n_mask, other=0.0)
        y = y / (1.0 + tl.exp(-y)) * z
    if BIAS:
        y = y + tl.load(bias + columns, mask=n_mask, other=0.0).to(tl.float32)
    if ADD:
        y = y + tl.load(residual + row * n + columns, mask=n_mask, other=0.0).to(tl.float32)
    tl.store(out + row * n + columns, y.to(out.dtype.element_ty), mask=n_mask)


@triton.jit
def gemv(
    x,
    weight,
    norm,
    scale,
    bias,
    residual,
    out,
    n,
    eps,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    NORM: tl.constexpr,
    GATED: tl.constexpr,
    SCALED: tl.constexpr,
    BIAS: tl.constexpr,
    ADD: tl.constexpr,
    PDL: tl.constexpr,
):
    """out (ROWS, n) = follow(rms_norm(x (ROWS, K)) @ weight.T); grid (n / BLOCK_N,).

    NORM: x is normed over K with weights `norm`. GATED: the matrix is (2n, K), and out = silu(first half) * second half.
    SCALED: rows of the matrix have a factor (float8 weights). BIAS, ADD: plus bias (n,), plus residual (ROWS, n).
    """
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    n_mask = columns < n
    EVEN: tl.constexpr = K % BLOCK_K == 0
    ks = tl.arange(0, BLOCK_K)
    w = _weights(weight, columns, ks, n_mask, K, EVEN)
    u = w
    if GATED:
        u = _weights(weight, n + columns, ks, n_mask, K, EVEN)
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    zero = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
    none = tl.zeros((BLOCK_K,), tl.float32)
    acc0, acc1, acc2, acc3 = zero, zero, zero, zero
    up0, up1, up2, up3 = zero, zero, zero, zero
    sq0, sq1, sq2, sq3 = none, none, none, none
    for k in tl.static_range(0, K, BLOCK_K):
        at = k + ks
        k_mask = at < K
        wide = w.to(tl.float32)
        wide_up = wide
        if GATED:
            wide_up = u.to(tl.float32)
        if k + BLOCK_K < K:  # the next tile is on its way while this one is multiplied
            w = _weights(weight, columns, at + BLOCK_K, n_mask, K, EVEN)
            if GATED:
                u = _weights(weight, n + columns, at + BLOCK_K, n_mask, K, EVEN)
        gain = 1.0
        if NORM:
            gain = tl.load(norm + at, mask=k_mask, other=0.0).to(tl.float32)
        x0 = _row(x, 0, at, k_mask, K)
        if NORM:
            sq0 += x0 * x0
            x0 = x0 * gain
        acc0 += wide * x0[None, :]
        if GATED:
            up0 += wide_up * x0[None, :]
        if ROWS > 1:
            x1 = _row(x, 1, at, k_mask, K)
            if NORM:
                sq1 += x1 * x1
                x1 = x1 * gain
            acc1 += wide * x1[None, :]
            if GATED:
                up1 += wide_up * x1[None, :]
        if ROWS > 2:
            x2 = _row(x, 2, at, k_mask, K)
            if NORM:
                sq2 += x2 * x2
                x2 = x2 * gain
            acc2 += wide * x2[None, :]
            if GATED:
                up2 += wide_up * x2[None, :]
        if ROWS > 3:
            x3 = _row(x, 3, at, k_mask, K)
            if NORM:
                sq3 += x3 * x3
                x3 = x3 * gain
            acc3 += wide * x3[None, :]
            if GATED:
                up3 += wide_up * x3[None, :]
    _finish(acc0, up0, sq0, 0, columns, n_mask, scale, bias, residual, out, n, eps, K, NORM, GATED, SCALED, BIAS, ADD)
    if ROWS > 1:
        _finish(acc1, up1, sq1, 1, columns, n_mask, scale, bias, residual, out, n, eps, K, NORM, GATED, SCALED, BIAS, ADD)
    if ROWS > 2:
        _finish(acc2, up2, sq2, 2, columns, n_mask, scale, bias, residual, out, n, eps, K, NORM, GATED, SCALED, BIAS, ADD)
    if ROWS > 3:
        _finish(acc3, up3, sq3, 3, columns, n_mask, scale, bias, residual, out, n, eps, K, NORM, GATED, SCALED, BIAS, ADD)
