"""Which rows attend to which stretch of keys: a step's attention cut into equal pieces of work for a GPU.

Knows spans and pages. Does not know tensors of the network. An item is some rows and one stretch of keys that all of them see
up to their own limits. Rows whose sequences begin with the same pages share the items of those pages (cascade), so many questions
about one picture read its keys once. A stretch is cut where too few items would keep a GPU busy (split-K); whoever runs the items
then merges each row's parts.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

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
    programs: int = 256  # two for each multiprocessor of a large GPU; a power of two, as is the room for a row's parts

    @property
    def wanted_items(self) -> int:
        """Below this many items a stretch is cut."""
        return max(1, self.programs // self.kv_heads)


@dataclass(slots=True)
class _Stretch:
    """Rows that see the same keys start..end, which lie in `pages` (of the whole sequence); the last sees most of them."""

    rows: Sequence[int]
    pages: Sequence[int]
    start: int
    end: int


def work_plan(spans: Sequence[Span], page_tokens: int, shape: Shape, elsewhere: Container[int] = ()) -> Plan:
    """Cut the attention of a step's spans, whose rows stand one after another; those numbered in `elsewhere` get no items."""
    numbered: list[tuple[Span, int]] = []
    limits: list[int] = []
    for i, span in enumerate(spans):
        if i in elsewhere:
            limits += [0] * span.count
        else:
            numbered.append((span, len(limits)))
            limits += range(span.start + 1, span.end + 1)
    tiles: list[_Stretch] = []
    for stretch in _stretches(numbered, 0, page_tokens):
        for i in range(0, len(stretch.rows), shape.tile_rows):
            rows = stretch.rows[i : i + shape.tile_rows]
            tiles.append(_Stretch(rows, stretch.pages, stretch.start, min(stretch.end, limits[rows[-1]])))
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
        asked = pages[at:end]
        if any(span.pages[at:end] != asked for span in spans[1:]):
            most = end - 1
        else:
            at = end
        end = (at + most + 1) // 2
    return at


def _cut(tiles: Sequence[_Stretch], limits: Sequence[int], page_tokens: int, shape: Shape) -> Plan:
    # The longest first, so that none is left alone at the end. All tiles at once: this runs between any two steps of a GPU.
    tiles = sorted(tiles, key=lambda tile: tile.start - tile.end)
    start, end, height = (np.array(column, np.int64) for column in _columns(tiles))
    length = end - start
    blocks = int(_per(length, BLOCK_KEYS).sum())
    # With items enough only those far longer than the others are cut: parts cost a pass of their own.
    enough = len(tiles) >= shape.wanted_items and int(length[0]) * len(tiles) < 4 * blocks * BLOCK_KEYS
    piece = -(-blocks // shape.wanted_items) * BLOCK_KEYS * (4 if enough else 1)
    cuts = _per(length, piece)
    size = _per(_per(length, cuts), BLOCK_KEYS) * BLOCK_KEYS
    rows: list[int] = []
    pages: list[int] = []
    first_page: list[int] = []  # the page list holds a tile's own pages alone; keys count from the sequence's beginning
    for tile in tiles:
        page = tile.start // page_tokens
        first_page.append(len(pages) - page)
        rows += tile.rows
        pages += tile.pages[page : -(-tile.end // page_tokens)]
    row_list = np.array(rows, np.int64)
    first_row = _before(height)
    # All rows of a tile at once or through partials alike: a row with one part only may still be a partial.
    parts_of_row = np.bincount(row_list, np.repeat(cuts, height), len(limits))
    direct = np.maximum.reduceat(parts_of_row[row_list], first_row) == 1 if tiles else np.zeros(0, bool)
    # Items: the pieces of tile after tile.
    of = np.repeat(np.arange(len(tiles)), _per(length, size))
    begin = start[of] + size[of] * (np.arange(len(of)) - np.repeat(_before(_per(length, size)), _per(length, size)))
    room = np.where(direct, 0, height)[of]
    to = np.where(direct[of], -1, _before(room))
    items = (first_row[of], height[of], np.array(first_page, np.int64)[of], begin, np.minimum(begin + size[of], end[of]), to)
    # Partials: row after row of the items that are not direct.
    row_of_part = row_list[np.repeat(first_row[of] - _before(room), room) + np.arange(room.sum())]
    return Plan(
        np.stack(items, 1).astype(np.int32),
        row_list.astype(np.int32),
        np.array(pages, np.int32),
        np.array(limits, np.int32),
        np.append(0, np.bincount(row_of_part, minlength=len(limits)).cumsum()).astype(np.int32),
        row_of_part.argsort(kind="stable").astype(np.int32),
    )


def _columns(tiles: Sequence[_Stretch]) -> tuple[list[int], list[int], list[int]]:
    return [tile.start for tile in tiles], [tile.end for tile in tiles], [len(tile.rows) for tile in tiles]


def _per(count: NDArray[np.int64], size: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """How many of a size hold a count."""
    return -(-count // size)


def _before(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of all counts before each."""
    return counts.cumsum() - counts
