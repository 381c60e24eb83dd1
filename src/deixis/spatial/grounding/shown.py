"""A picture as a model is shown it: whole, with borders where it is very long, or in tiles; and the way back of what it found.

Knows views, pixels and found objects. Does not know prompts or what is asked. Models read pictures up to about 2:1 well and lose
their grip beyond 3:1 (measured on nano, 12 rendered pictures of 3.3:1, mean IoU: 0.33 as they are, 0.67 with grey borders to 2:1,
0.59 to 2.5:1; black, or the edge's colours drawn out, are no better).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from deixis.backends import Pixels
from deixis.geometry import View, clipped_px, iou_px, padded_to_aspect, tiles
from deixis.media import Picture
from deixis.spatial.answer import BoxPx, FoundObject, Interval

LONGEST = 2.5  # to 1: what is longer is not shown as it is
BORDERED = 2.0  # to 1: the shape that a border makes
TILED = 5.0  # to 1: beyond, a border would be most of what is shown, and lists of things are asked of tiles
BORDER_GREY = 127  # what a picture's mean is normalised to: as little signal as there can be
SAME_IOU = 0.5  # in the part that two tiles share


@dataclass(frozen=True, eq=False)
class Shown:
    """Pixels (h, w, 3) that a model sees, and the view of the picture that they are."""

    view: View
    pixels: Pixels

    @classmethod
    def of(cls, picture: Picture, view: View) -> Shown:
        """What of the picture lies in a view of its own scale; the rest is border."""
        if (view.window_px, view.width, view.height) == ((0, 0, picture.width, picture.height), picture.width, picture.height):
            return cls(view, picture.pixels)
        x1, y1, x2, y2 = view.window_px
        canvas = np.full((y2 - y1, x2 - x1, 3), BORDER_GREY, np.uint8)
        left, top = max(x1, 0), max(y1, 0)
        inside = picture.pixels[top : max(y2, 0), left : max(x2, 0)]
        canvas[top - y1 : top - y1 + inside.shape[0], left - x1 : left - x1 + inside.shape[1]] = inside
        return cls(view, canvas)

    def box_in_picture(self, box_px: BoxPx, picture: Picture) -> BoxPx | None:
        """A box that the model gave → the picture's pixels, cut at its edges; None where it lies in the border."""
        return clipped_px(self.view.box_to_picture(box_px), picture.width, picture.height)

    def interval_in_picture(self, interval: Interval, picture: Picture, along_y: bool) -> Interval:
        """Coordinates that the model may have meant → the picture's, cut at its edges."""
        low, high = (self.view.point_to_picture((value, value))[along_y] for value in interval)
        limit = float(picture.height if along_y else picture.width)
        return min(max(low, 0.0), limit), min(max(high, 0.0), limit)


def shown_whole(picture: Picture) -> Shown:
    """All of the picture, with borders if it is longer than `LONGEST`."""
    if _aspect(picture) <= LONGEST:
        return Shown.of(picture, View((0, 0, picture.width, picture.height), picture.width, picture.height))
    return Shown.of(picture, padded_to_aspect(picture.width, picture.height, BORDERED))


def shown_for_lists(picture: Picture) -> tuple[Shown, ...]:
    """The picture in overlapping tiles if it is longer than `TILED`, else whole."""
    if _aspect(picture) <= TILED:
        return (shown_whole(picture),)
    return tuple(Shown.of(picture, view) for view in tiles(picture.width, picture.height, BORDERED, overlap=0.3))


def _aspect(picture: Picture) -> float:
    return max(picture.width, picture.height) / min(picture.width, picture.height)


def joined(found: Iterable[tuple[View, tuple[FoundObject, ...]]]) -> tuple[FoundObject, ...]:
    """What several tiles found, once each.

    Objects of one label that fill the same part of what their tiles share are one object, whose box is the boxes' hull: a thing
    that is cut by a tile's edge comes back whole.
    """
    kept: list[tuple[BoxPx, FoundObject]] = []  # what has been seen of the picture where it was found, and the object
    for view, objects in found:
        window = tuple(float(value) for value in view.window_px)
        before = list(kept)
        for item in objects:
            seen = (window[0], window[1], window[2], window[3])
            same = next((entry for entry in before if entry in kept and _same(entry, (seen, item))), None)
            if same is None:
                kept.append((seen, item))
            else:
                kept[kept.index(same)] = (_hull(same[0], seen), _merged(same[1], item))
    return tuple(item for _, item in kept)


def _same(a: tuple[BoxPx, FoundObject], b: tuple[BoxPx, FoundObject]) -> bool:
    if a[1].label != b[1].label:
        return False
    parts = [_shared(_shared(item.box_px, a[0]), b[0]) for _, item in (a, b)]
    return parts[0] is not None and parts[1] is not None and iou_px(parts[0], parts[1]) >= SAME_IOU


def _shared(a: BoxPx | None, b: BoxPx) -> BoxPx | None:
    if a is None:
        return None
    box = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return box if box[0] < box[2] and box[1] < box[3] else None


def _hull(a: BoxPx, b: BoxPx) -> BoxPx:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _merged(a: FoundObject, b: FoundObject) -> FoundObject:
    """The hull of both; each edge's interval is that of the box which reaches farther."""
    box_px = _hull(a.box_px, b.box_px)
    scores = [item.score for item in (a, b) if item.score is not None]
    intervals = None
    if a.interval_px is not None and b.interval_px is not None:
        i0, i1, i2, i3 = (
            mine if edge == own else theirs
            for edge, own, mine, theirs in zip(box_px, a.box_px, a.interval_px, b.interval_px, strict=True)
        )
        intervals = (i0, i1, i2, i3)
    return replace(a, box_px=box_px, score=min(scores) if scores else None, interval_px=intervals)
