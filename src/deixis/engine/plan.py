"""Which rows attend to which stretch of keys: a step's attention cut into equal pieces of work for a GPU.

Knows spans and pages. Does not know tensors of the network. An item is some rows and one stretch of keys that all of them see
up to their own limits. Rows whose sequences begin with the same pages share the items of those pages (cascade), so many questions
about one picture read its keys once. A stretch is cut where too few items would keep a GPU busy (split-K); whoever runs the items
then merges each row's parts.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deixis.engine.step import Span

BLOCK_KEYS = 64  # keys that a program reads at a time: no stretch is cut finer
SHARED_KEYS = 128  # a shorter common beginning is read by each sequence on its own
ITEM_FIELDS = 6  # first in the row list, rows, first in the page list, first key, end of keys, first partial (or -1)


@dataclass(frozen=True, eq=False)
class Plan:
    """Work items (n, ITEM_FIELDS) and what they point to, all int32.

    `row_list` are the rows of the items one after another, `pages` the page numbers. `limits` (rows,) are the keys that each row
    sees. The partial results of row r are at `parts[part_starts[r]:part_starts[r + 1]]`; a row without any is written at once.
    """

    items: NDArray[np.int32]
    row_list: NDArray[np.int32]
    pages: NDArray[np.int32]
    limits: NDArray[np.int32]
    part_starts: NDArray[np.int32]
    parts: NDArray[np.int32]

    @property
    def partials(self) -> int:
        """Room that partial results need: (row, item) pairs."""
        return len(self.parts)


@dataclass(frozen=True)
class Shape:
    """What the plan is cut for: key-value heads (each a program of its own), and rows that one program takes at most."""

    kv_heads: int
    tile_rows: int
    programs: int = 264  # two for each multiprocessor of a large GPU

    @property
    def wanted_items(self) -> int:
        """Below this many items a stretch is cut."""
        return max(1, self.programs // self.kv_heads)


@dataclass
class _Stretch:
    """Rows that see the same keys start..end, which lie in `pages` (of the whole sequence)."""

    rows: Sequence[int]
    pages: Sequence[int]
    start: int
    end: int


@dataclass
class _Lists:
    items: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)


def work_plan(spans: Sequence[Span], page_tokens: int, shape: Shape, elsewhere: Container[int] = ()) -> Plan:
    """Cut the attention of a step's spans, whose rows stand one after another; those numbered in `elsewhere` get no items."""
    firsts = np.cumsum([0, *(span.count for span in spans)]).tolist()
    numbered = [(span, firsts[i]) for i, span in enumerate(spans) if i not in elsewhere]
    limits = np.zeros(firsts[-1], np.int32)
    for span, first in numbered:
        limits[first : first + span.count] = np.arange(span.start + 1, span.end + 1, dtype=np.int32)
    tiles = [
        _Stretch(stretch.rows[i : i + shape.tile_rows], stretch.pages, stretch.start, stretch.end)
        for stretch in _stretches(numbered, 0, page_tokens)
        for i in range(0, len(stretch.rows), shape.tile_rows)
    ]
    for tile in tiles:  # no row of a tile looks further than the one that sees most
        tile.end = min(tile.end, int(limits[list(tile.rows)].max()))
    return _cut(tiles, limits, page_tokens, shape)


def _stretches(spans: Sequence[tuple[Span, int]], done: int, page_tokens: int) -> Iterator[_Stretch]:
    """What all of `spans` see from key `done` on, shared beginnings first. All of them have the same pages before `done`."""
    groups: dict[tuple[int, ...], list[tuple[Span, int]]] = {}
    at = done // page_tokens
    least = at + -(-SHARED_KEYS // page_tokens)  # pages up to here are worth sharing
    for span, first in spans:
        whole = len(spans) > 1 and span.start >= least * page_tokens  # else it writes to these pages
        groups.setdefault(tuple(span.pages[at:least]) if whole else (-1, first), []).append((span, first))
    for group in groups.values():
        span, first = group[0]
        if len(group) == 1:
            yield _Stretch(range(first, first + span.count), span.pages, done, span.end)
        else:
            shared = _common([each for each, _ in group], least, page_tokens) * page_tokens
            yield _Stretch([row + i for each, row in group for i in range(each.count)], span.pages, done, shared)
            yield from _stretches(group, shared, page_tokens)


def _common(spans: Sequence[Span], at: int, page_tokens: int) -> int:
    """Pages that all spans begin with and that none of them writes to; at least `at`."""
    most = min(span.start // page_tokens for span in spans)
    pages = spans[0].pages
    end = most
    while at < most:  # at: known to be common; most: not known not to be; the common case, all of them, is tried first
        if any(span.pages[at:end] != pages[at:end] for span in spans[1:]):
            most = end - 1
        else:
            at = end
        end = (at + most + 1) // 2
    return at


def _cut(tiles: Sequence[_Stretch], limits: NDArray[np.int32], page_tokens: int, shape: Shape) -> Plan:
    blocks = sum(-(-(tile.end - tile.start) // BLOCK_KEYS) for tile in tiles)
    tiles = sorted(tiles, key=lambda tile: tile.start - tile.end)  # the longest first, so that none is left alone at the end
    # With items enough only those far longer than the others are cut: parts cost a pass of their own.
    enough = len(tiles) >= shape.wanted_items and (tiles[0].end - tiles[0].start) * len(tiles) < 4 * blocks * BLOCK_KEYS
    piece = -(-blocks // shape.wanted_items) * BLOCK_KEYS * (4 if enough else 1)
    pieces = [max(1, -(-(tile.end - tile.start) // piece)) for tile in tiles]
    counts = np.zeros(len(limits), np.int32)
    for tile, cuts in zip(tiles, pieces, strict=True):
        counts[list(tile.rows)] += cuts
    lists = _Lists()
    partials: list[list[int]] = [[] for _ in limits]
    room = 0
    for tile, cuts in zip(tiles, pieces, strict=True):
        # All rows of a tile at once or through partials alike: a row with one part only may still be a partial.
        direct = cuts == 1 and all(counts[row] == 1 for row in tile.rows)
        first_row, first_page = len(lists.rows), len(lists.pages)
        page = tile.start // page_tokens
        lists.rows += tile.rows
        lists.pages += tile.pages[page : -(-tile.end // page_tokens)]
        each = -(-(tile.end - tile.start) // cuts)
        size = -(-each // BLOCK_KEYS) * BLOCK_KEYS
        for start in range(tile.start, tile.end, size):
            to = -1 if direct else room
            # The page list holds the tile's own pages alone; keys count from the sequence's beginning.
            lists.items.append((first_row, len(tile.rows), first_page - page, start, min(start + size, tile.end), to))
            if not direct:
                for i, row in enumerate(tile.rows):
                    partials[row].append(room + i)
                room += len(tile.rows)
    starts = np.cumsum([0, *(len(own) for own in partials)], dtype=np.int32)
    return Plan(
        np.array(lists.items, np.int32).reshape(-1, ITEM_FIELDS),
        np.array(lists.rows, np.int32),
        np.array(lists.pages, np.int32),
        limits,
        starts,
        np.array([place for own in partials for place in own], np.int32),
    )
