"""The operations that a step is made of, in plain PyTorch: right on every device, and what faster ones are measured against.

Knows rows, packed weights and paged keys and values. Does not know layers or requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from deixis.engine.step import KVPages, Span, Step
from deixis.engine.weights import Weight
from deixis.model import TextConfig
from deixis.model.moe import SparseMLP
from deixis.model.rope import rotate

Attention = Callable[[Tensor, tuple[Tensor, Tensor], Tensor, Tensor, Tensor, Tensor], Tensor]
"""A step's attention in one layer: qkv, norms, cos, sin, keys, values as for `TorchOps.place_qkv` -> (n, heads x head_dim).
The layer's cache then holds the step's keys and values."""


class TorchOps:
    """The reference. A subclass replaces what its device does better, and equals it (tests)."""

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """(n, size) -> same; statistics in float32."""
        if x.dtype == torch.float32:
            return F.rms_norm(x, weight.shape, weight, eps)  # the same numbers in one call
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        return weight.to(x.dtype) * normed.to(x.dtype)

    def linear(self, x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
        """(n, in), (out, in) -> (n, out)."""
        if not isinstance(weight, Tensor):
            return weight.product(x, bias)
        return F.linear(x, weight, bias)

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """(n, 2 x inner), gate before up -> (n, inner)."""
        gate, up = gate_up.chunk(2, -1)
        return F.silu(gate) * up

    def norm_linear(self, x: Tensor, norm: Tensor, eps: float, weight: Weight, bias: Tensor | None = None) -> Tensor:
        """The norm and the product behind it: (n, in) -> (n, out)."""
        return self.linear(self.rms_norm(x, norm, eps), weight, bias)

    def norm_gate_up(self, x: Tensor, norm: Tensor, eps: float, gate_up: Weight) -> Tensor:
        """The first half of an MLP with the norm before it: (n, hidden) -> (n, inner)."""
        return self.silu_mul(self.norm_linear(x, norm, eps, gate_up))

    def add_linear(self, x: Tensor, y: Tensor, weight: Weight) -> Tensor:
        """x (n, out) plus the product of y (n, in); may be written over x."""
        return x + self.linear(y, weight)

    def experts(self, x: Tensor, mlp: SparseMLP) -> Tensor:
        """A mixture's output (n, hidden) for normed rows (n, hidden)."""
        return mlp(x)  # type: ignore[no-any-return]

    def groups_experts(self, mlp: SparseMLP) -> bool:  # noqa: ARG002
        """Whether `experts` computes all of them in one product, without asking the device how many rows each has."""
        return False

    def last_norm(self, x: Tensor, wanted: Tensor, weight: Tensor, eps: float) -> Tensor:
        """The norm of the rows `wanted` (w,)."""
        return self.rms_norm(x[wanted], weight, eps)

    def scores(self, hidden: Tensor, head: Weight) -> Tensor:
        """(w, hidden) -> (w, vocab) float32."""
        return self.linear(hidden, head).float()

    def likeliest(self, logits: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The `count` best of logits (w, vocab) float32, best first: log-probabilities, ids (w, count); and log sum exp (w,)."""
        total = logits.logsumexp(-1)
        best, ids = logits.topk(count, dim=-1)
        return best - total.unsqueeze(-1), ids, total

    def best_allowed(self, logits: Tensor, bits: Tensor) -> Tensor:
        """The best token (w,) of each row of logits (w, vocab) float32 among those whose bit in `bits` (w, vocab/32) is set."""
        return allowed_only(logits, bits).argmax(-1)

    def begin(
        self, input_ids: Tensor, positions: Tensor, table: Tensor, frequencies: tuple[Tensor, Tensor, float]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (n, hidden) of ids (n,), and cos and sin (n, head_dim/2) float32 of positions (3, n).

        `frequencies` as in `MRope.tables`: inverse frequencies, the axis that each turns with, a factor on both results.
        """
        turning, axes, scale = frequencies
        angles = positions[axes].T.float() * turning
        return F.embedding(input_ids, table), angles.cos() * scale, angles.sin() * scale

    def attention(self, step: Step, kv: KVPages, config: TextConfig) -> Attention:
        """The attention of a step, planned once for all layers."""
        pages = [_pages_of(span, kv.page_tokens, step.slots.device) for span in step.spans]

        def attend(qkv: Tensor, norms: tuple[Tensor, Tensor], cos: Tensor, sin: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            q = self.place_qkv(qkv, norms, config.rms_norm_eps, cos, sin, keys, values, step.slots)
            return self.attend(q, keys, values, step.spans, pages, kv.page_tokens)

        return attend

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
        """Norm and turn queries and keys, write keys and values to their slots; queries (n, heads, head_dim).

        `qkv` (n, (heads + 2 kv_heads) x head_dim); `norms` of queries and keys (head_dim,); cos, sin (n, head_dim/2) float32;
        `keys`, `values` (slots, kv_heads, head_dim) of one layer, written in place.
        """
        kv_heads, head_dim = keys.shape[1:]
        heads = qkv.shape[1] // head_dim - 2 * kv_heads
        q, k, v = torch.split(qkv.view(len(qkv), -1, head_dim), [heads, kv_heads, kv_heads], 1)
        turns = cos.unsqueeze(1), sin.unsqueeze(1)
        q, k = (rotate(self.rms_norm(x, norm, eps), *turns) for x, norm in zip((q, k), norms, strict=True))
        keys.index_copy_(0, slots, k)
        values.index_copy_(0, slots, v)
        return q

    def attend(
        self, q: Tensor, keys: Tensor, values: Tensor, spans: Sequence[Span], pages: Sequence[slice | Tensor], page_tokens: int
    ) -> Tensor:
        """Each row attends to its own sequence up to itself. (n, heads, head_dim) -> (n, heads x head_dim).

        `pages` of each span: neighbours, or numbers.
        """
        out = torch.empty_like(q)
        at = 0
        for span, its in zip(spans, pages, strict=True):
            k, v = (
                _of_sequence(cache, its, page_tokens)[: span.end].transpose(0, 1) for cache in (keys, values)
            )  # (kv, end, dim)
            rows = slice(at, at + span.count)
            asked = q[rows].transpose(0, 1)  # (heads, count, head_dim)
            mask = None
            if span.count > 1 and span.start:
                mask = torch.ones(span.count, span.end, dtype=torch.bool, device=q.device).tril(span.start)
            causal = span.count > 1 and not span.start
            seen = F.scaled_dot_product_attention(asked[None], k[None], v[None], mask, is_causal=causal, enable_gqa=True)
            out[rows] = seen[0].transpose(0, 1)
            at += span.count
        return out.flatten(1)


def allowed_only(logits: Tensor, bits: Tensor) -> Tensor:
    """Logits (w, vocab) with -inf where the bit is not set: `bits` (w, vocab/32) int32, lowest bit first."""
    places = torch.arange(32, device=logits.device, dtype=torch.int32)
    allowed = ((bits.unsqueeze(-1) >> places) & 1).flatten(1)[:, : logits.shape[1]] == 1
    return logits.masked_fill(~allowed, float("-inf"))


def _pages_of(span: Span, page_tokens: int, device: torch.device) -> slice | Tensor:
    """The pages that a sequence fills: neighbours, or numbers (used,)."""
    used = -(-span.end // page_tokens)
    first = span.pages[0]
    if all(span.pages[i] == first + i for i in range(1, used)):
        return slice(first, first + used)
    return torch.as_tensor(span.pages[:used], device=device)


def _of_sequence(cache: Tensor, pages: slice | Tensor, page_tokens: int) -> Tensor:
    """The rows (used x page_tokens, kv_heads, head_dim) of a sequence in a layer's cache; a view of neighbouring pages."""
    if isinstance(pages, slice):
        return cache[pages.start * page_tokens : pages.stop * page_tokens]
    whole = cache.view(len(cache) // page_tokens, -1).index_select(0, pages)  # a copy a page; indexing copies number by number
    return whole.view(-1, *cache.shape[1:])
