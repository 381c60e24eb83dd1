"""The floor plan of a scene: what stands along which side and in which corner, how far neighbours are apart, and where the
camera is.

Knows 3D boxes and labels. Does not know walls: nobody located them. What is assumed, as the JSON's `assumed` says again:
- the ground is the plane under the things that rest on no other thing, level as their boxes are;
- the room reaches as far as its furniture, the table as far as the things on it, in the camera's left, right, near and far;
- a thing stands along a side when the gap to it is at most 15% of the plan, and in a corner when it does so along two;
- small things close together stand on a table; otherwise it is a room.

The JSON of `Layout.to_json`:

    kind        "tabletop" | "room": the sides are then edges or walls
    room_type   what two of the things found are usual in, and no other room as many; else "unknown"
    evidence    ids of the objects that say so
    plan_m      {"x": [left, right], "y": [near, far]}: metres right and forward of the point below the camera
    camera      {"at_m": [0, 0], "height_m" above the ground, "tilt_deg" below the horizon, "before_near_m": how far the near
                side is in front of the camera, negative where the camera stands within the plan}
    ground      {"up", "right", "forward": unit vectors of the camera frame, "offset_m": up · p of the points p on it}
    objects     [{"object": id, "at_m": [x, y], "footprint_m": [[x, y], …], "place": "left edge", "far left corner", "middle" …}]
    places      {place: [ids]}
    neighbours  [{"objects": [id, id], "distance_m"}]: everything's nearest neighbour, surface to surface, each pair once
    assumed     [sentences]
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import Box3D, GroundPlane, Viewpoint, distance_m
from deixis.spatial.answer import FoundObject
from deixis.spatial.places.free_space import Surface

Array = NDArray[np.float64]
PlanKind = Literal["tabletop", "room"]

ALONG_SHARE = 0.15  # of the plan's width or depth
TABLE_M, THING_M = 2.0, 0.8  # a table and the things on it are at most so large
MAX_MEASURED = 60  # objects between which distances are measured: pairs grow with the square
ASSUMED: Mapping[PlanKind, tuple[str, ...]] = {
    "tabletop": (
        "the table is level, under the things that rest on no other thing",
        "its edges are taken to be where the outermost things stand: it reaches farther than that",
        "left, right, near and far are the camera's",
    ),
    "room": (
        "the floor is level, under the things that rest on no other thing",
        "the walls are taken to stand right behind the outermost things: none was located",
        "left, right, near and far are the camera's",
    ),
}
# Words of labels by the room they are usual in. A thing that stands in many rooms says nothing.
_ROOMS: Mapping[str, re.Pattern[str]] = {
    room: re.compile(rf"\b({en})s?\b|{zh}", re.IGNORECASE)
    for room, en, zh in (
        ("office", "desk|monitor|keyboard|mouse|laptop|computer|printer|whiteboard|office chair|router|usb stick",
         "办公桌|书桌|显示器|键盘|鼠标|电脑|打印机|白板|路由器|U盘"),
        ("bedroom", "bed|pillow|blanket|nightstand|wardrobe|mattress", "床|枕头|被子|衣柜"),
        ("living room", "sofa|couch|armchair|tv|television|coffee table|fireplace|tv stand", "沙发|电视|茶几|壁炉"),
        ("kitchen", "stove|oven|fridge|refrigerator|microwave|sink|kettle|dishwasher|pan", "灶|烤箱|冰箱|微波炉|水槽|水壶"),
        ("bathroom", "toilet|bathtub|shower|washbasin|towel", "马桶|浴缸|淋浴|洗手盆|毛巾"),
        ("dining room", "dining table|dining chair|plate|wine glass|fork", "餐桌|餐椅|盘子|叉子"),
        ("street", "car|bus|truck|bicycle|motorcycle|traffic light|traffic sign|pedestrian|van",
         "汽车|轿车|公交车|卡车|自行车|摩托车|红绿灯|行人"),
    )
}  # fmt: skip


_SIDES_ZH = {"left": "左", "right": "右", "far": "远", "near": "近"}
PLACES_ZH: Mapping[str, str] = {
    "middle": "中间",
    **{f"{side} {end}": zh + end_zh for side, zh in _SIDES_ZH.items() for end, end_zh in (("edge", "缘"), ("wall", "墙"))},
    **{
        f"{deep} {side} corner": f"{_SIDES_ZH[side]}{_SIDES_ZH[deep]}角" for deep in ("far", "near") for side in ("left", "right")
    },
}
ROOMS_ZH: Mapping[str, str] = {
    "office": "办公",
    "bedroom": "卧室",
    "living room": "客厅",
    "kitchen": "厨房",
    "bathroom": "浴室",
    "dining room": "餐厅",
    "street": "街道",
}


@dataclass(frozen=True)
class Standing:
    """An object on the plan: its middle, its footprint and the side or corner where it stands ("" in the middle)."""

    object: int
    at_m: tuple[float, float]
    footprint_m: tuple[tuple[float, float], ...]
    side: str


@dataclass(frozen=True)
class Layout:
    """See the module's text. Objects are indices of the scene's; those without a 3D box are not on the plan."""

    kind: PlanKind
    room_type: str
    evidence: tuple[int, ...]
    low_m: tuple[float, float]
    high_m: tuple[float, float]
    ground: GroundPlane
    standing: tuple[Standing, ...]
    neighbours: tuple[tuple[int, int, float], ...]

    @property
    def camera_height_m(self) -> float:
        """Of the camera above the ground."""
        return -self.ground.offset_m

    @property
    def camera_tilt_deg(self) -> float:
        """How far the camera looks down below the horizon."""
        return Viewpoint.from_ground(self.ground).tilt_deg

    @property
    def ground_name(self) -> str:
        """What the things stand on."""
        return "table" if self.kind == "tabletop" else "floor"

    def place_of(self, thing: Standing) -> str:
        """The place by name: "far left corner", "left edge", "far wall", "middle"."""
        if not thing.side:
            return "middle"
        return f"{thing.side} {'corner' if ' ' in thing.side else 'edge' if self.kind == 'tabletop' else 'wall'}"

    @property
    def places(self) -> dict[str, list[int]]:
        """What stands in each place."""
        found: dict[str, list[int]] = {}
        for thing in self.standing:
            found.setdefault(self.place_of(thing), []).append(thing.object)
        return found

    def to_json(self) -> dict[str, Any]:
        """See the module's text."""
        return {
            "kind": self.kind,
            "room_type": self.room_type,
            "evidence": list(self.evidence),
            "plan_m": {
                "x": [round(self.low_m[0], 3), round(self.high_m[0], 3)],
                "y": [round(self.low_m[1], 3), round(self.high_m[1], 3)],
            },
            "camera": {
                "at_m": [0.0, 0.0],
                "height_m": round(self.camera_height_m, 3),
                "tilt_deg": round(self.camera_tilt_deg, 1),
                "before_near_m": round(self.low_m[1], 3),
            },
            "ground": {
                **{name: [round(v, 5) for v in axis] for name, axis in zip(("right", "forward"), self.ground.axes, strict=True)},
                "up": [round(v, 5) for v in self.ground.up],
                "offset_m": round(self.ground.offset_m, 4),
            },
            "objects": [
                {
                    "object": thing.object,
                    "at_m": [round(v, 3) for v in thing.at_m],
                    "footprint_m": [[round(v, 3) for v in corner] for corner in thing.footprint_m],
                    "place": self.place_of(thing),
                }
                for thing in self.standing
            ],
            "places": self.places,
            "neighbours": [{"objects": [a, b], "distance_m": round(apart, 3)} for a, b, apart in self.neighbours],
            "assumed": list(ASSUMED[self.kind]),
        }


def layout_of(objects: Sequence[FoundObject]) -> Layout | None:
    """The plan of the objects that have a 3D box; None where none has."""
    boxes = {i: item.box_3d for i, item in enumerate(objects) if item.box_3d is not None}
    if not boxes:
        return None
    plane = Surface.under(list(boxes.values())).plane
    footprints = {i: plane.footprint_m(box) for i, box in boxes.items()}
    every = np.concatenate(list(footprints.values()))
    low, high = every.min(axis=0), every.max(axis=0)
    small = max(float(np.ptp(corners, axis=0).max()) for corners in footprints.values()) <= THING_M
    room_type, evidence = _room_type([item.label for item in objects])
    return Layout(
        kind="tabletop" if small and float((high - low).max()) <= TABLE_M else "room",
        room_type=room_type,
        evidence=evidence,
        low_m=_pair(low),
        high_m=_pair(high),
        ground=plane,
        standing=tuple(_standing(i, plane, boxes[i], footprints[i], low, high) for i in boxes),
        neighbours=_neighbours(boxes) if len(boxes) <= MAX_MEASURED else (),
    )


def _standing(number: int, plane: GroundPlane, box: Box3D, footprint: Array, low: Array, high: Array) -> Standing:
    near = ALONG_SHARE * (high - low)
    before, after = footprint.min(axis=0) - low <= near, high - footprint.max(axis=0) <= near
    # What reaches from side to side stands along neither.
    across = "" if before[0] == after[0] else "left" if before[0] else "right"
    deep = "" if before[1] == after[1] else "near" if before[1] else "far"
    corners = tuple(_pair(corner) for corner in footprint)
    return Standing(number, _pair(plane.places_m([box.center_m])[0]), corners, f"{deep} {across}".strip())


def _neighbours(boxes: Mapping[int, Box3D]) -> tuple[tuple[int, int, float], ...]:
    apart = {(a, b): distance_m(boxes[a], boxes[b]) for a, b in combinations(boxes, 2)}
    nearest = {min((pair for pair in apart if i in pair), key=apart.__getitem__) for i in boxes} if apart else set()
    return tuple((a, b, apart[a, b]) for a, b in sorted(nearest, key=apart.__getitem__))


def _room_type(labels: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """The room in which most of the things are usual, and which they are. One thing alone says nothing, nor does a tie."""
    said = {room: tuple(i for i, label in enumerate(labels) if words.search(label)) for room, words in _ROOMS.items()}
    (best, most), (_, second) = Counter({room: len(things) for room, things in said.items()}).most_common(2)
    return (best, said[best]) if most >= 2 and most > second else ("unknown", ())


def _pair(values: Array) -> tuple[float, float]:
    return float(values[0]), float(values[1])
