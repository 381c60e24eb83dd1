"""Free places on a surface: where a thing of a given footprint stands without touching any other.

Knows 3D boxes, the plane they stand on and the camera. Does not know questions, models or what is under a tablecloth.

What is assumed, and said with every answer (`Surface.known_by`):
"box": the surface was located, and its box's top face is all of it.
"hull": nothing is known of the table but the things on it. A table has no dents, so all that lies between things that stand on
    it is table, too; and a little more is taken to be (`BEYOND_M`), since things seldom stand at the very edge.
Places and footprints are seen from above, (n, 2) in metres, right and forward of the camera (`GroundPlane.places_m`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deixis.errors import GeometryError
from deixis.geometry import Box3D, Camera, GroundPlane, PointPx, Vec3, convex_hull
from deixis.geometry.arrangement import resting_m
from deixis.geometry.box3d import vec3
from deixis.spatial.places.doubts import GUESSED, SpaceDoubt

Array = NDArray[np.float64]
Zone = Callable[[Array, Array], NDArray[np.bool_]]  # centres (n, 2) and the footprint about its own (k, 2): which will do

BEYOND_M = 0.02  # a table is taken to reach so far beyond the things on it: with 6 cm, in rendered desks, 1 place in 5 juts out
SURE, NOT_AT_ALL = 0.8, 0.2  # the probability of room from which there is some, and up to which there is none
PLACES = 3
_STEPS = 48  # of the grid, along the longer side of the surface
_SLACK_M = 0.02  # a box that ends so far below a surface still stands on it


@dataclass(frozen=True)
class Place:
    """Where a thing may stand: the middle of its footprint, and how far the nearest other thing is (negative: how far it is in).

    `probability` is that of the clearance being above zero, as far as 3D boxes may be off against one another.
    """

    point_px: PointPx
    outline_px: tuple[PointPx, ...]
    center_m: Vec3
    footprint_m: tuple[float, float]
    clearance_m: float
    probability: float

    def to_json(self) -> dict[str, Any]:
        """Pixels of the picture; metres of the answer's camera."""
        return {
            "point_px": [round(v, 1) for v in self.point_px],
            "outline_px": [[round(v, 1) for v in corner] for corner in self.outline_px],
            "center_m": [round(v, 4) for v in self.center_m],
            "footprint_m": [round(v, 4) for v in self.footprint_m],
            "clearance_m": round(self.clearance_m, 4),
            "probability": round(self.probability, 4),
        }


@dataclass(frozen=True, eq=False)
class Surface:
    """A level surface: its plane, and the convex outline (k, 2) of what is known of it."""

    plane: GroundPlane
    outline_m: Array
    known_by: Literal["box", "hull"]

    @classmethod
    def under(cls, things: Sequence[Box3D]) -> Surface:
        """The table that things stand on: through the median of the lowest corners of those that rest on no other thing."""
        if not things:
            raise GeometryError("no thing stands on the surface; give at least one")
        up = upright(things)
        standing = [a for a in things if not any(resting_m(a, b) > 0 for b in things if b is not a)] or list(things)
        plane = GroundPlane(vec3(up), float(np.median([(box.corners_m() @ up).min() for box in standing])))
        return cls(plane, convex_hull(np.concatenate([plane.footprint_m(box) for box in standing])), "hull")

    @classmethod
    def on_top_of(cls, box: Box3D) -> Surface:
        """The top face of a box: a located table, or a book on which something shall be put."""
        up = upright([box])
        plane = GroundPlane(vec3(up), float((box.corners_m() @ up).max()))
        return cls(plane, plane.footprint_m(box), "box")

    def grown(self, by_m: float = BEYOND_M) -> Surface:
        """The surface with so much more on every side, where nothing but the things on it tells how far it reaches."""
        if self.known_by == "box":
            return self
        turns = np.linspace(0, 2 * math.pi, 16, endpoint=False)
        ring = by_m * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        return replace(self, outline_m=convex_hull((self.outline_m[:, None] + ring).reshape(-1, 2)))

    def lifted_m(self, places_m: Array) -> Array:
        """Places (n, 2) on the surface → points (n, 3) of the camera frame."""
        points: Array = places_m @ np.array(self.plane.axes) + np.array(self.plane.up) * self.plane.offset_m
        return points

    def inset_m(self, places_m: Array, footprint_m: Array) -> Array:
        """How far (n,) the footprint (k, 2), put at each place, stays inside the outline; negative where it juts out."""
        if len(self.outline_m) < 3:
            return np.full(len(places_m), -math.inf)
        normals, offsets = _outward(self.outline_m)
        reach = (footprint_m @ normals.T).max(axis=0)
        inset: Array = (offsets - reach - places_m @ normals.T).min(axis=1)
        return inset


def free_places(
    surface: Surface,
    camera: Camera,
    others: Sequence[Box3D],
    thing: Box3D | None = None,
    *,
    hidden_by: Sequence[tuple[float, float, float, float]] = (),
    zone: Zone | None = None,
    known_only: bool = True,
    in_view: bool = True,
    count: int = PLACES,
    doubt: SpaceDoubt = GUESSED,
) -> tuple[Place, ...]:
    """The places with most room for the thing (without one: for anything), the roomiest first, one footprint apart at least.

    `others` must not be touched; `hidden_by` are boxes in pixels that the outline may not reach into (what stands there is not
    seen, and boxes in the picture are surer than their depths). `zone` keeps some places alone. `known_only` keeps to what is
    known of the surface, `in_view` to the picture. The thing stands as it is turned now, or by a right angle from that.
    """
    obstacles = [surface.plane.footprint_m(box) for box in others if _in_the_way(surface.plane, box, thing)]
    found: list[Place] = []
    for footprint in _footprints(surface.plane, thing):
        at = _grid(surface, footprint, beyond=not known_only)
        inset = surface.inset_m(at, footprint)
        keep = inset >= 0 if known_only else np.ones(len(at), bool)
        if zone is not None:
            keep &= zone(at, footprint)
        at, inset = at[keep], inset[keep]
        room = np.full(len(at), math.inf)
        for obstacle in obstacles:
            room = np.minimum(room, _apart_m(at, obstacle, footprint))
        if surface.known_by == "box" or not obstacles:
            room = np.minimum(room, inset)  # one may fall off an edge that is known; the hull's is none
        for i in np.argsort(-room, kind="stable"):
            place = _place(surface, camera, at[i], footprint, float(room[i]), doubt)
            if place is None or (in_view and not _seen(place, camera, hidden_by)):
                continue
            found.append(place)
            if len(found) % (4 * count) == 0:  # enough for each way of turning
                break
    return _spread(sorted(found, key=lambda place: -place.clearance_m), count)


def beside(plane: GroundPlane, anchor: Box3D, direction: Literal["left_of", "right_of", "in_front_of", "behind"]) -> Zone:
    """Right beside the anchor on that side, as the camera sees it: at most its own depth away, not off to another side."""
    axis, sign = {"left_of": (0, -1.0), "right_of": (0, 1.0), "in_front_of": (1, -1.0), "behind": (1, 1.0)}[direction]
    corners = plane.footprint_m(anchor)

    def zone(at: Array, footprint: Array) -> NDArray[np.bool_]:
        gap = sign * at[:, axis] + (sign * footprint[:, axis]).min() - (sign * corners[:, axis]).max()
        aside = np.abs(at[:, 1 - axis] - corners[:, 1 - axis].mean())
        widths = np.ptp(corners[:, 1 - axis]), np.ptp(footprint[:, 1 - axis])
        mask: NDArray[np.bool_] = (gap > -1e-9) & (gap <= np.ptp(footprint[:, axis])) & (aside <= max(widths) / 2)
        return mask

    return zone


def near(plane: GroundPlane, anchor: Box3D) -> Zone:
    """On any side of the anchor, at most the thing's own size away."""
    corners = plane.footprint_m(anchor)

    def zone(at: Array, footprint: Array) -> NDArray[np.bool_]:
        gap = _apart_m(at, corners, footprint)
        mask: NDArray[np.bool_] = (gap > -1e-9) & (gap <= np.ptp(footprint, axis=0).mean())
        return mask

    return zone


def amid(plane: GroundPlane, first: Box3D, second: Box3D) -> Zone:
    """Between two things: over the line that joins them, off its ends, at most a quarter of it aside."""
    start, end = plane.places_m([first.center_m, second.center_m])
    line = end - start
    span = max(float(np.hypot(*line)), 1e-9)

    def zone(at: Array, _: Array) -> NDArray[np.bool_]:
        along = (at - start) @ line / span**2
        aside = np.abs((at - start) @ np.array([-line[1], line[0]])) / span
        mask: NDArray[np.bool_] = (along > 0.1) & (along < 0.9) & (aside <= span / 4)
        return mask

    return zone


def upright(boxes: Sequence[Box3D]) -> Array:
    """Unit vector against gravity: the median of the boxes' y axes, each turned up or at the camera; one leaning is outvoted."""
    axes = np.array([[row[1] for row in box.rotation] for box in boxes])  # (n, 3)
    middle = np.median(axes * np.where(axes[:, 1:].sum(axis=1) > 0, -1.0, 1.0)[:, None], axis=0)
    length = float(np.linalg.norm(middle))
    up: Array = middle / length if length > 1e-9 else np.array([0.0, -1.0, 0.0])
    return up


def probability_of_room(clearance_m: float, depth_m: float, doubt: SpaceDoubt = GUESSED) -> float:
    """That a clearance at that depth is truly above zero: errors go either way."""
    likely = doubt.within(abs(clearance_m), doubt.gap.at(max(clearance_m, 0.0), depth_m)) / 2
    return 0.5 + math.copysign(likely, clearance_m)


def _footprints(plane: GroundPlane, thing: Box3D | None) -> list[Array]:
    """The thing's footprint about its middle, as it stands and turned by 90°; a point for nothing in particular."""
    if thing is None:
        return [np.zeros((1, 2))]
    corners = plane.footprint_m(thing)
    corners = corners - (corners.min(axis=0) + corners.max(axis=0)) / 2
    return [corners, convex_hull(corners @ np.array([[0.0, 1.0], [-1.0, 0.0]]))]


def _in_the_way(plane: GroundPlane, box: Box3D, thing: Box3D | None) -> bool:
    """Whether a box shares heights with a thing that stands on the plane: not what ends below that, nor what hangs over."""
    heights = plane.height_m(box.corners_m())
    tall = math.inf if thing is None else float(np.ptp(thing.corners_m() @ np.array(plane.up)))
    stands = heights.max() > 0 or heights.min() > -_SLACK_M  # a pen is lower than boxes are exact
    return bool(stands and heights.min() < tall)


def _grid(surface: Surface, footprint: Array, beyond: bool) -> Array:
    """Places (n, 2) over the surface, and beyond it by two footprints."""
    low, high = surface.outline_m.min(axis=0), surface.outline_m.max(axis=0)
    if beyond:
        low, high = low - 2 * np.ptp(footprint, axis=0), high + 2 * np.ptp(footprint, axis=0)
    step = max(float((high - low).max()) / _STEPS, 1e-3)
    x, y = (np.arange(a, b + step / 2, step) for a, b in zip(low, high, strict=True))
    return np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)


def _apart_m(at: Array, obstacle: Array, footprint: Array) -> Array:
    """Signed distances (n,) of the footprint, put at each place, from the obstacle; negative: how deep they share ground.

    The footprint meets the obstacle where its middle lies in their Minkowski difference, which is convex as they are.
    """
    swept = convex_hull((obstacle[:, None] - footprint[None]).reshape(-1, 2))
    normals, offsets = _outward(swept)
    deep = (at @ normals.T - offsets).max(axis=1)
    start, way = swept, np.roll(swept, -1, axis=0) - swept
    reach = at[:, None] - start  # (n, k, 2)
    along = np.clip((reach * way).sum(axis=2) / (way * way).sum(axis=1), 0, 1)
    far = np.sqrt(((reach - along[..., None] * way) ** 2).sum(axis=2)).min(axis=1)
    distances: Array = np.where(deep <= 0, deep, far)
    return distances


def _outward(polygon: Array) -> tuple[Array, Array]:
    """Unit normals (k, 2) of the sides of a convex polygon, as `convex_hull` turns it, and their offsets (k,)."""
    sides = np.roll(polygon, -1, axis=0) - polygon
    normals = np.stack([sides[:, 1], -sides[:, 0]], axis=1) / np.linalg.norm(sides, axis=1, keepdims=True)
    return normals, (normals * polygon).sum(axis=1)


def _place(surface: Surface, camera: Camera, at: Array, footprint: Array, room: float, doubt: SpaceDoubt) -> Place | None:
    """None for what is not in front of the camera."""
    corners = surface.lifted_m(np.concatenate([at[None], at + footprint]))
    if corners[:, 2].min() <= 1e-3:
        return None
    px = [(float(x), float(y)) for x, y in camera.project(corners)]
    wide, long = np.ptp(footprint, axis=0).tolist()
    sure = probability_of_room(room, float(corners[0, 2]), doubt)
    return Place(px[0], tuple(px[1:]) if len(footprint) > 2 else (), vec3(corners[0]), (wide, long), room, sure)


def _seen(place: Place, camera: Camera, hidden_by: Sequence[tuple[float, float, float, float]]) -> bool:
    points = np.array([place.point_px, *place.outline_px])
    low, high = points.min(axis=0), points.max(axis=0)
    if low.min() < 0 or high[0] > camera.width or high[1] > camera.height:
        return False
    near_by = [box for box in hidden_by if box[0] < high[0] and low[0] < box[2] and box[1] < high[1] and low[1] < box[3]]
    if not near_by:
        return True
    outline = convex_hull(points.round(6))  # without corners that only rounding tells apart
    if len(outline) < 3:
        return False
    normals, offsets = _outward(outline)
    corners = np.array([[(x, y) for x in (x1, x2) for y in (y1, y2)] for x1, y1, x2, y2 in near_by])  # (n, 4, 2)
    # Apart from a box whose corners all lie beyond one of the outline's sides.
    return all((corner @ normals.T - offsets >= 0).all(axis=0).any() for corner in corners)


def _spread(places: Sequence[Place], count: int) -> tuple[Place, ...]:
    kept: list[Place] = []
    for place in places:
        apart = max(*place.footprint_m, 0.05)
        if all(math.dist(place.center_m, other.center_m) >= apart for other in kept):
            kept.append(place)
    return tuple(kept[:count])
