"""Chunks of many streams as one step of the network.

Knows streams, pages and tensors. Does not know why these chunks were chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from deixis.engine.sampling import Chosen
from deixis.engine.scheduler import Chunk
from deixis.engine.step import Span, Step, sent, slots_of
from deixis.model import VisualFeatures


def step_of(chunks: Sequence[Chunk], page_tokens: int, before: Callable[[], Chosen | None]) -> Step:
    """The step that reads `chunks`. `before` says what the step on its way chose, if there is one; it is asked last.

    Tensors are on the host, except where ids are not known there (and features).
    """
    rows = sum(chunk.count for chunk in chunks)
    spans: list[Span] = []
    slots: list[int] = []
    wanted: list[int] = []
    copies: tuple[list[int], list[int]] = [], []  # slots from and to
    unknown: list[tuple[int, int]] = []  # row here, row in `chosen`
    ids: list[int] = []
    positions = np.empty((3, rows), np.int64)
    replies: list[tuple[int, int]] = []  # row, and its place on all three axes: one assignment for all of them
    at = 0
    for chunk in chunks:
        stream, end = chunk.stream, chunk.start + chunk.count
        span = Span(chunk.start, chunk.count, stream.pages)
        spans.append(span)
        if chunk.wanted:
            wanted.append(at + chunk.count - 1)
        if chunk.count == 1 and (place := stream.place(chunk.start)) is not None:
            replies.append((at, place))
            slots.append(stream.pages[chunk.start // page_tokens] * page_tokens + chunk.start % page_tokens)
            if chunk.start < len(stream.tokens):
                ids.append(stream.tokens[chunk.start])
            else:
                unknown.append((at, stream.row))
                ids.append(0)
            at += 1
            continue
        slots += slots_of(span, page_tokens)
        if chunk.source is not None:
            for page, listed in zip((chunk.source, stream.pages[chunk.start // page_tokens]), copies, strict=True):
                listed += range(page * page_tokens, page * page_tokens + chunk.start % page_tokens)
        known = stream.tokens[chunk.start : end]
        if len(known) < chunk.count:
            unknown.append((at + chunk.count - 1, stream.row))
            known.append(0)
        ids += known
        positions[:, at : at + chunk.count] = stream.positions(chunk.start, end)
        at += chunk.count
    if replies:
        of, places = zip(*replies, strict=True)
        positions[:, of] = places
    visual_rows, features = _visual(chunks)
    input_ids = _int64(ids)
    visual = _int64(visual_rows) if features is not None else None
    where = torch.from_numpy(positions), _int64(slots), _int64(wanted)
    chosen = before()
    if unknown:
        assert chosen is not None, "a token is unknown and no step is on its way"
        input_ids = _with_chosen(input_ids, unknown, chosen.ids)
    return Step(tuple(spans), input_ids, *where, visual, features, torch.tensor(copies) if copies[0] else None)


def _with_chosen(ids: Tensor, unknown: Sequence[tuple[int, int]], chosen: Tensor) -> Tensor:
    """Ids (rows,) on the device: those known, and of the others what the device chose."""
    rows, sources = zip(*unknown, strict=True)
    if len(rows) == len(ids):
        in_order = sources == tuple(range(len(chosen)))
        return chosen if in_order else chosen[sent(_int64(sources), chosen.device)]
    ids, index, source = sent(torch.cat((ids, _int64(rows), _int64(sources))), chosen.device).split_with_sizes(
        [len(ids), len(rows), len(rows)]
    )
    return ids.index_copy(0, index, chosen[source])


def pictures_needed(chunk: Chunk) -> list[int]:
    """Which pictures of its prompt have tokens in a chunk."""
    end = chunk.start + chunk.count
    return [
        number
        for number, picture in enumerate(chunk.stream.prompt.pictures)
        if picture.places[0] < end
        and picture.places[-1] >= chunk.start
        and np.searchsorted(picture.places, chunk.start) < np.searchsorted(picture.places, end)
    ]


def _visual(chunks: Sequence[Chunk]) -> tuple[list[int], VisualFeatures | None]:
    """Rows of the step that hold features, and the features."""
    rows: list[int] = []
    parts: list[VisualFeatures] = []
    at = 0
    for chunk in chunks:
        if chunk.start < len(chunk.stream.prompt.ids):
            for number in pictures_needed(chunk):
                places = chunk.stream.prompt.pictures[number].places
                first, last = np.searchsorted(places, (chunk.start, chunk.start + chunk.count)).tolist()
                rows += (places[first:last] - chunk.start + at).tolist()
                parts.append(_cut(chunk.stream.features[number], first, last))
        at += chunk.count
    if not parts:
        return rows, None
    return rows, parts[0] if len(parts) == 1 else VisualFeatures.join(parts)


def _cut(features: VisualFeatures, first: int, last: int) -> VisualFeatures:
    if first == 0 and last == len(features.merged):
        return features
    return VisualFeatures(features.merged[first:last], tuple(tap[first:last] for tap in features.deepstack))


def _int64(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)
