"""Random steps over random pages, for whatever runs them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deixis.engine.step import Span, slots_of

PAGE = 16


def disjoint(lengths: Sequence[tuple[int, int]], seed: int = 0) -> tuple[Span, ...]:
    """Spans (start, count) of sequences whose pages lie scattered and belong to nobody else."""
    needed = [-(-(start + count) // PAGE) for start, count in lengths]
    order = torch.randperm(sum(needed), generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(Span(start, count, [order.pop() for _ in range(n)]) for (start, count), n in zip(lengths, needed, strict=True))


def sharing(prefix: int, lengths: Sequence[tuple[int, int]], seed: int = 0) -> tuple[Span, ...]:
    """Spans that begin with the same `prefix` pages; each then has (cached, new) tokens of its own."""
    own = disjoint([(start, count) for start, count in lengths], seed)
    return tuple(
        Span(prefix * PAGE + span.start, span.count, [*range(prefix), *(prefix + page for page in span.pages)]) for span in own
    )


# Name -> spans: decoding streams, chunks, second questions, many about one picture, pictures behind one system prompt.
MIXES: dict[str, tuple[Span, ...]] = {
    "one stream": disjoint([(700, 1)]),
    "first token of all": disjoint([(0, 1)]),
    "one short stream": disjoint([(64, 1)]),
    "one at a block's end": disjoint([(127, 1)]),
    "fresh and going on": disjoint([(40, 1), (0, 300), (90, 5), (0, 257)]),
    "streams": disjoint([(30, 1), (64, 1), (3, 1), (511, 1)]),
    "a picture read": disjoint([(0, 90)]),
    "chunk after chunk": disjoint([(200, 70), (17, 1)]),
    "second question": disjoint([(300, 9)]),
    "many about one": sharing(12, [(5, 1), (40, 1), (0, 3), (17, 1), (2, 25)]),
    "long beginning, short ends": sharing(40, [(1, 1)] * 9),
    "two groups": (*sharing(10, [(5, 1), (9, 2)]), *disjoint([(333, 1)], 1)),
}


def pages_of(spans: Sequence[Span]) -> int:
    """Pages that the spans' numbers reach."""
    return 1 + max(page for span in spans for page in span.pages)


def random_cache(spans: Sequence[Span], kv_heads: int, size: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Keys and values (slots, kv_heads, size) of one layer."""
    generator = torch.Generator().manual_seed(seed)
    shape = (pages_of(spans) * PAGE, kv_heads, size)
    keys, values = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    return keys, values


def slots(spans: Sequence[Span]) -> Tensor:
    """Where all rows' keys go."""
    return torch.tensor([slot for span in spans for slot in slots_of(span, PAGE)])
