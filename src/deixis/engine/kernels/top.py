"""The likeliest tokens of each row of logits and the logarithm of all rows' weights, and the best of those allowed: two short
passes each.

Knows logits and bits. Its references: `TorchOps.likeliest`, `TorchOps.best_allowed`.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def _best(values, ids, found, found_ids, COUNT: tl.constexpr):
    """Take the COUNT largest of `values` one after another; equal ones by their place."""
    at = tl.arange(0, found.shape[0])
    for i in tl.static_range(COUNT):
        top = tl.max(values, 0)
        first = tl.min(tl.where(values == top, ids, 2147483647), 0)
        found = tl.where(at == i, top, found)
        found_ids = tl.where(at == i, first, found_ids)
        values = tl.where(ids == first, float("-inf"), values)
    return found, found_ids


@triton.jit
def of_blocks(
    logits, values, ids, tops, sums, vocab, BLOCK: tl.constexpr, COUNT: tl.constexpr, ROOM: tl.constexpr, PDL: tl.constexpr
):
    """Of each block of BLOCK logits its COUNT largest, its largest and the sum of exp(logit - largest); grid (rows, blocks)."""
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    blocks = tl.num_programs(1)
    at = block * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(logits + row * vocab + at, mask=at < vocab, other=float("-inf"))
    top = tl.max(value, 0)
    base = tl.where(top == float("-inf"), 0.0, top)
    tl.store(tops + row * blocks + block, top)
    tl.store(sums + row * blocks + block, tl.sum(tl.exp(value - base), 0))
    place = tl.arange(0, ROOM)
    nothing = tl.full((ROOM,), float("-inf"), tl.float32)
    found, found_ids = _best(value, at, nothing, tl.zeros((ROOM,), tl.int32), COUNT)
    to = (row * blocks + block) * COUNT + place
    tl.store(values + to, found, mask=place < COUNT)
    tl.store(ids + to, found_ids, mask=place < COUNT)


@triton.jit
def of_rows(
    values,
    ids,
    tops,
    sums,
    out,
    out_ids,
    totals,
    blocks,
    vocab,
    WIDTH: tl.constexpr,
    BLOCKS: tl.constexpr,
    COUNT: tl.constexpr,
    ROOM: tl.constexpr,
    PDL: tl.constexpr,
):
    """Of each row the COUNT largest of its blocks' largest, as log-probabilities, and log sum exp; grid (rows,)."""
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    b = tl.arange(0, BLOCKS)
    top = tl.load(tops + row * blocks + b, mask=b < blocks, other=float("-inf"))
    share = tl.load(sums + row * blocks + b, mask=b < blocks, other=0.0)
    most = tl.max(top, 0)
    total = most + tl.log(tl.sum(tl.where(top == float("-inf"), 0.0, share * tl.exp(top - most)), 0))
    at = tl.arange(0, WIDTH)
    value = tl.load(values + row * blocks * COUNT + at, mask=at < blocks * COUNT, other=float("-inf"))
    number = tl.load(ids + row * blocks * COUNT + at, mask=at < blocks * COUNT, other=2147483646)
    place = tl.arange(0, ROOM)
    nothing = tl.full((ROOM,), float("-inf"), tl.float32)
    found, found_ids = _best(value, number, nothing, tl.zeros((ROOM,), tl.int32), COUNT)
    tl.store(out + row * COUNT + place, found - total, mask=place < COUNT)
    # Where logits are no numbers nothing is the largest: the log-probabilities say so, and the ids stay ids.
    tl.store(out_ids + row * COUNT + place, tl.minimum(found_ids, vocab - 1).to(tl.int64), mask=place < COUNT)
    tl.store(totals + row, total)


@triton.jit
def allowed_of_blocks(logits, bits, values, ids, vocab, words, BLOCK: tl.constexpr, PDL: tl.constexpr):
    """Of each block of BLOCK logits the largest whose bit is set, and its place; grid (rows, blocks)."""
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    at = block * BLOCK + tl.arange(0, BLOCK)
    word = tl.load(bits + row * words + at // 32, mask=at < vocab, other=0)
    value = tl.load(logits + row * vocab + at, mask=((word >> (at % 32)) & 1) == 1, other=float("-inf"))
    best = tl.max(value, 0)
    to = row * tl.num_programs(1) + block
    tl.store(values + to, best)
    tl.store(ids + to, tl.min(tl.where(value == best, at, 2147483647), 0))


@triton.jit
def allowed_of_rows(values, ids, out, blocks, vocab, BLOCKS: tl.constexpr, PDL: tl.constexpr):
    """Of each row the place of the largest of its blocks' largest, the first of equal ones; grid (rows,)."""
    if PDL:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    b = tl.arange(0, BLOCKS)
    value = tl.load(values + row * blocks + b, mask=b < blocks, other=float("-inf"))
    place = tl.load(ids + row * blocks + b, mask=b < blocks, other=2147483647)
    first = tl.min(tl.where(value == tl.max(value, 0), place, 2147483647), 0)
    tl.store(out + row, tl.minimum(first, vocab - 1).to(tl.int64))  # where logits are no numbers, an id all the same
