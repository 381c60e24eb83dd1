"""What hides what: how much of each thing is seen, by which others the rest is hidden, and the order from front to back.

Knows masks, depths and boxes. Does not know labels. A line between two points past boxes is `distance.line_of_sight`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.errors import GeometryError
from deixis.geometry.box3d import Box3D
from deixis.geometry.boxes import checked_box
from deixis.geometry.camera import Camera
from deixis.geometry.slabs import crossing

__all__ = ["Visibility", "front_to_back", "visibility_of_boxes", "visibility_of_masks", "visibility_px"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Visibility:
    """Share of a thing's own outline that is seen, and of that outline what each other thing hides.

    Each hidden spot is charged to the foremost thing over it, so shares and `visible` add up to 1. A thing without any outline in
    the picture has visible 0 and nothing that hides it.
    """

    visible: float
    hidden_by: Mapping[int, float]


def visibility_of_masks(outlines: Sequence[ArrayLike], depths_m: Sequence[ArrayLike]) -> tuple[Visibility, ...]:
    """From whole outlines (h, w) of bool, hidden parts included, each with a depth: one number, or a map (h, w) in metres."""
    if len(outlines) != len(depths_m):
        raise GeometryError(f"{len(outlines)} outlines have {len(depths_m)} depths; expected one each")
    masks = [np.asarray(outline, dtype=bool) for outline in outlines]
    if any(mask.ndim != 2 or mask.shape != masks[0].shape for mask in masks):
        raise GeometryError(f"outlines have shapes {sorted({mask.shape for mask in masks})}; expected one shape (h, w) for all")
    if any(np.ndim(depth) and np.shape(depth) != mask.shape for mask, depth in zip(masks, depths_m, strict=True)):
        raise GeometryError("a depth map has another shape than its outline; expected one number, or (h, w) like the outline")
    layers = [np.where(mask, np.asarray(depth, np.float64), np.inf) for mask, depth in zip(masks, depths_m, strict=True)]
    for layer, mask in zip(layers, masks, strict=True):
        if not (layer[mask] > 0).all() or not np.isfinite(layer[mask]).all():
            raise GeometryError("a depth inside an outline is not a positive finite number; expected metres")
    found = []
    for i, mask in enumerate(masks):
        names = [i, *(j for j in range(len(masks)) if j != i)]
        found.append(_shares(mask, [layers[j] for j in names], np.ones(mask.shape), names))
    return tuple(found)


def visibility_px(boxes_px: Sequence[Sequence[float]], depths_m: Sequence[float]) -> tuple[Visibility, ...]:
    """From whole 2D boxes, taken as filled, and one depth each; exact. Equal depths do not hide one another."""
    boxes = np.array([checked_box(box) for box in boxes_px]).reshape(-1, 4)
    depths = np.asarray(depths_m, np.float64)
    if depths.shape != (len(boxes),) or not np.isfinite(depths).all() or not (depths > 0).all():
        raise GeometryError(f"{len(boxes)} boxes have depths of shape {depths.shape}; expected one positive finite number each")
    found = []
    for i, own in enumerate(boxes):
        over = np.flatnonzero(_overlapping(own, boxes) & (depths < depths[i]))
        parts = np.concatenate([own[None], np.clip(boxes[over], own[[0, 1, 0, 1]], own[[2, 3, 2, 3]])])
        xs, ys = np.unique(parts[:, [0, 2]]), np.unique(parts[:, [1, 3]])
        x, y = (xs[:-1] + xs[1:]) / 2, (ys[:-1] + ys[1:]) / 2  # the middles of cells that no edge crosses
        inside = [(x > x1) & (x < x2) & ((y > y1) & (y < y2))[:, None] for x1, y1, x2, y2 in parts]
        layers = [np.where(mask, depth, np.inf) for mask, depth in zip(inside, [depths[i], *depths[over]], strict=True)]
        found.append(_shares(inside[0], layers, np.diff(ys)[:, None] * np.diff(xs), [i, *over.tolist()]))
    return tuple(found)


def visibility_of_boxes(boxes: Sequence[Box3D], camera: Camera, samples: int = 48) -> tuple[Visibility, ...]:
    """From 3D boxes, taken as solid, by samples × samples rays over the part of each box that is in the picture."""
    if samples < 1:
        raise GeometryError(f"samples is {samples}; expected at least 1")
    windows = [box.project(camera) for box in boxes]
    table = np.array([window or (np.nan,) * 4 for window in windows]).reshape(-1, 4)
    found = []
    for i, (box, window) in enumerate(zip(boxes, windows, strict=True)):
        if window is None:
            found.append(Visibility(0.0, {}))
            continue
        share = (np.arange(samples) + 0.5) / samples
        x, y = np.meshgrid(window[0] + share * (window[2] - window[0]), window[1] + share * (window[3] - window[1]))
        rays = camera.unproject(np.stack([x.ravel(), y.ravel()], axis=1), np.ones(samples * samples))  # (n, 3), z = 1
        own = _entry(box, rays)
        others = [j for j in np.flatnonzero(_overlapping(np.array(window), table)).tolist() if j != i]
        layers = [own, *(_entry(boxes[j], rays) for j in others)]
        found.append(_shares(np.isfinite(own), layers, np.ones(len(rays)), [i, *others]))
    return tuple(found)


def front_to_back(visibilities: Sequence[Visibility]) -> tuple[int, ...]:
    """Numbers of things so that whatever hides another comes before it; where two hide each other, the more hiding one first."""
    ahead = {
        (i, j)
        for j, seen in enumerate(visibilities)
        for i, share in seen.hidden_by.items()
        if share > visibilities[i].hidden_by.get(j, 0.0)
    }
    left, order = list(range(len(visibilities))), []
    while left:
        waiting = {j: sum((i, j) in ahead for i in left) for j in left}
        order.append(min(left, key=lambda j: (waiting[j], j)))  # 0 waiting unless things hide one another in a ring
        left.remove(order[-1])
    return tuple(order)


def _overlapping(own: Array, boxes: Array) -> NDArray[np.bool_]:
    """Which boxes (n, 4) share area with one box (4,)."""
    return np.asarray(np.concatenate([boxes[:, :2] < own[2:], boxes[:, 2:] > own[:2]], axis=1).all(axis=1), dtype=np.bool_)


def _shares(mask: NDArray[np.bool_], layers: Sequence[Array], weights: Array, names: Sequence[int]) -> Visibility:
    """Shares of the masked weight by foremost layer; layer 0 is the thing itself, which wins ties."""
    whole = float(weights[mask].sum())
    if whole == 0:
        return Visibility(0.0, {})
    foremost = np.argmin([layer[mask] for layer in layers], axis=0)
    shares = np.bincount(foremost, weights[mask], len(layers)) / whole
    return Visibility(float(shares[0]), {names[i]: float(share) for i, share in enumerate(shares) if i and share > 0})


def _entry(box: Box3D, rays: Array) -> Array:
    """Depth (n,) where rays from the camera, (n, 3) with z = 1, enter the box; infinite where they miss it."""
    enter, leave = crossing(box, np.zeros((1, 3)), rays)
    return np.where(enter < leave, enter, np.inf)
