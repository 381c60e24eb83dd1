"""Model text to objects: boxes, points and 3D boxes in pixels, with every repair named. Never raises.

Knows the formats of Qwen3-VL and the faults that models make in them (endless repetition, truncation, missing fences, swapped
corners, 3D answers to 2D requests). Does not know the question, the model or the camera.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from deixis.spatial.grounding.extents import Extents
from deixis.spatial.grounding.scan import Dict, List, Node, Number, Text, scan

Kind = Literal["box_2d", "point_2d", "box_3d"]
ProblemKind = Literal[
    "no_json",  # nothing that could be an object
    "truncated",  # the text ends (or a bracket is missing) inside an object, which is dropped
    "unclosed",  # a bracket or fence is missing, the content is whole
    "arity",  # neither 2, 4 nor 9 numbers: dropped
    "kind_mismatch",  # the count of numbers contradicts the key, or the request
    "not_finite",  # NaN or infinite: dropped
    "not_a_number",  # words where numbers belong: dropped
    "numbers_as_text",  # "12" or "12, 30, 40, 50": read
    "nested",  # lists in lists: read
    "swapped",  # x1 > x2 or y1 > y2: put in order
    "unit_range",  # fractions of 0–1 instead of 0–1000: scaled
    "out_of_range",  # outside of the picture: cut to it
    "empty",  # no width or height (left): dropped
    "invalid_3d",  # size <= 0, or sizes and distances that nothing in a picture has: dropped
    "behind_camera",  # depth <= 0: dropped
    "duplicate",  # said more than once: kept once
    "no_label",
    "label_cleaned",  # control characters or more than 120 characters
    "cut_off",  # the reply reached its limit of tokens: what would have followed is missing
    "too_many",  # more objects than are worked with: the first are kept
    "no_box",  # a point where a box was asked for: dropped
    "out_of_view",  # nothing of the box falls into the picture: dropped
    "unmatched_3d",  # a 3D box of none of the objects: dropped
    "asked_again",  # 3D boxes where 2D ones were asked for: asked once more, held to a schema
    "not_enforced",  # … but the model cannot be held to a schema, so that its 3D boxes are projected
]

_KEYS: dict[str, Kind] = {
    "bbox_2d": "box_2d",
    "bbox": "box_2d",
    "box_2d": "box_2d",
    "box": "box_2d",
    "bounding_box": "box_2d",
    "point_2d": "point_2d",
    "point": "point_2d",
    "coordinate": "point_2d",
    "bbox_3d": "box_3d",
    "box_3d": "box_3d",
}
_OF_ARITY: dict[int, Kind] = {2: "point_2d", 4: "box_2d", 9: "box_3d"}
_ARITY: dict[Kind, int] = {kind: count for count, kind in _OF_ARITY.items()}
_LABELS = ("label", "name", "object", "text_content", "标签", "名称")
_DIGITS = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
_LABEL_LENGTH = 120
_SMALLEST_M, _FARTHEST_M = 1e-4, 1e5


@dataclass(frozen=True)
class Problem:
    """One fault in the text, repaired or not: its kind, one line that says what was found and done, and the piece at fault."""

    kind: ProblemKind
    message: str
    fragment: str = ""


@dataclass(frozen=True)
class ParsedObject:
    """One object as the model named it. `values` are the numbers as written, `spans` their places in the text.

    Exactly one of `box_px` (x1, y1, x2, y2), `point_px` (x, y) and `box_3d` (nine numbers of FACTS' order: metres in the
    model's own camera, and half-turns) is set, by `kind`.
    """

    label: str
    kind: Kind
    values: tuple[float, ...]
    spans: tuple[tuple[int, int], ...] = ()
    box_px: tuple[float, float, float, float] | None = None
    point_px: tuple[float, float] | None = None
    box_3d: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Parsed:
    """What could be read, and what was wrong. No objects and no problems: the model said that there are none."""

    objects: tuple[ParsedObject, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass
class _Reading:
    width: int
    height: int
    full: tuple[float, float]
    expect: Kind | None
    objects: list[ParsedObject] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, kind: ProblemKind, message: str, fragment: str = "") -> None:
        self.problems.append(Problem(kind, message, fragment[:200]))


def parse_objects(
    text: str, width: int, height: int, *, expect: Kind | None = None, full: float | tuple[float, float] = 1000.0
) -> Parsed:
    """The objects in a model's reply about a picture of width × height px.

    2D coordinates run from 0 to `full` (1000; the GUI prompts use 999; x and y may differ) and come out in pixels. The count of
    numbers decides what an object is, not its key; where it is not what was `expect`ed, it is kept and a problem says so.
    """
    reading = _Reading(width, height, full if isinstance(full, tuple) else (full, full), expect)
    roots = scan(text)
    if text.count("```") % 2:
        reading.problem("unclosed", "a code fence is opened and not closed; read to the end of the text")
    found = 0
    for label, node, key, whole in _candidates(roots):
        found += 1
        _read_object(reading, text, label, node, key, whole)
    if not found and not any(isinstance(root, List) and not root.items for root in roots) and not _says_none(text):
        reading.problem("no_json", "expected JSON with bbox_2d, point_2d or bbox_3d, found none", text.strip())
    return Parsed(_without_duplicates(reading), tuple(reading.problems))


def _says_none(text: str) -> bool:
    return re.sub(r"[\W_]+", "", text).lower() in {"absent", "none", "没有", "无", "不存在", "没有找到"}


def _candidates(roots: list[Node]) -> Iterator[tuple[Node | None, Node, Kind | None, bool]]:
    """(label node, coordinates node, kind by its key, whole) of everything that may be an object, in the order of the text."""
    stack: list[Node] = list(reversed(roots))
    while stack:
        node = stack.pop()
        if isinstance(node, Dict):
            label = node.get(*_LABELS)
            coordinates = [(value, _KEYS[key]) for key, value in node.pairs if key in _KEYS]
            for value, kind in coordinates[:1]:
                # Cut off inside the coordinates or the label: what is missing cannot be known.
                whole = value.closed and (node.closed or (label is not None and label.closed))
                yield label, value, kind, whole
            if not coordinates:
                stack.extend(value for _, value in reversed(node.pairs) if isinstance(value, (List, Dict)))
        elif isinstance(node, List):
            if node.items and all(isinstance(item, Number) for item in node.items):
                yield None, node, None, node.closed
            else:
                stack.extend(item for item in reversed(node.items) if isinstance(item, (List, Dict)))


def _read_object(reading: _Reading, text: str, label: Node | None, node: Node, key: Kind | None, whole: bool) -> None:
    fragment = text[node.start : node.end]
    if not whole:
        reading.problem("truncated", "the text ends, or a bracket is missing, inside this object; left out", fragment)
        return
    if isinstance(node, List) and node.items and all(isinstance(item, List) for item in node.items):
        rows = [item for item in node.items if isinstance(item, List)]
        flat = [item for row in rows for item in row.items]
        if (
            len(rows) > 1
            and all(len(row.items) in _OF_ARITY for row in rows)
            and (len(flat) not in _OF_ARITY or key == "point_2d")
        ):
            reading.problem("nested", f"{len(rows)} lists under one label; each is read as an object", fragment)
            for row in rows:
                _read_object(reading, text, label, row, key, whole)
            return
        reading.problem("nested", "a list of lists where numbers belong; flattened", fragment)
        node = List(node.start, node.end, items=flat)
    numbers = _numbers(reading, node, fragment)
    if numbers is None:
        return
    values = tuple(value for value, _ in numbers)
    spans = tuple(span for _, span in numbers)
    kind = _OF_ARITY.get(len(values))
    if kind is None:
        expected = _ARITY[key or reading.expect or "box_2d"]
        reading.problem("arity", f"expected {expected} numbers, found {len(values)}; left out", fragment)
        return
    if not all(math.isfinite(value) for value in values):
        reading.problem("not_finite", "a coordinate is NaN or infinite; left out", fragment)
        return
    wanted = reading.expect or key
    if wanted is not None and kind != wanted:
        reading.problem("kind_mismatch", f"expected {wanted}, found {len(values)} numbers, which is {kind}", fragment)
    name = _label(reading, label, fragment)
    if kind == "box_3d":
        if min(values[3:6]) <= 0:
            reading.problem("invalid_3d", f"sizes must be > 0, found {list(values[3:6])}; left out", fragment)
        elif values[2] <= 0:
            reading.problem("behind_camera", f"depth must be > 0, found {values[2]}; left out", fragment)
        elif max(map(abs, values[:6])) > _FARTHEST_M or min(*values[3:6], values[2]) < _SMALLEST_M:
            found = f"expected sizes and distances from {_SMALLEST_M:g} to {_FARTHEST_M:g} m, found {list(values[:6])}; left out"
            reading.problem("invalid_3d", found, fragment)
        else:
            reading.objects.append(ParsedObject(name, kind, values, spans, box_3d=values))
        return
    x_px, y_px = _to_px(reading, values, fragment)
    if kind == "point_2d":
        reading.objects.append(ParsedObject(name, kind, values, spans, point_px=(x_px[0], y_px[0])))
        return
    if x_px[0] > x_px[1] or y_px[0] > y_px[1]:
        reading.problem("swapped", "corners in the wrong order; put in order", fragment)
        # Spans and values go along, so that a coordinate's probability stays with it.
        order = [2 if x_px[0] > x_px[1] else 0, 3 if y_px[0] > y_px[1] else 1]
        order += [2 - order[0], 4 - order[1]]
        values, spans = tuple(values[i] for i in order), tuple(spans[i] for i in order)
        x_px, y_px = sorted(x_px), sorted(y_px)
    if x_px[0] >= x_px[1] or y_px[0] >= y_px[1]:
        reading.problem("empty", "the box has no area inside the picture; left out", fragment)
        return
    box_px = (x_px[0], y_px[0], x_px[1], y_px[1])
    reading.objects.append(ParsedObject(name, kind, values, spans, box_px=box_px))


def _numbers(reading: _Reading, node: Node, fragment: str) -> list[tuple[float, tuple[int, int]]] | None:
    """The numbers of a coordinate list with their places, or None with a problem."""
    items = node.items if isinstance(node, List) else [node]
    numbers: list[tuple[float, tuple[int, int]]] = []
    for item in items:
        if isinstance(item, Number):
            numbers.append((item.value, (item.start, item.end)))
        elif isinstance(item, Text) and (digits := _DIGITS.findall(item.value)):
            reading.problem("numbers_as_text", "numbers written as text; read", fragment)
            numbers.extend((_parse_float(piece), (item.start, item.end)) for piece in digits)
        else:
            reading.problem("not_a_number", "a coordinate is not a number; left out", fragment)
            return None
    return numbers


def _parse_float(digits: str) -> float:
    return float(digits) if len(digits) < 300 else math.nan


def _to_px(reading: _Reading, values: tuple[float, ...], fragment: str) -> tuple[list[float], list[float]]:
    """(x…, y…) in pixels, cut to the picture."""
    full = np.array(reading.full * (len(values) // 2))
    given = np.array(values)
    if max(values) <= 1.0 and min(values) >= 0.0 and any(value % 1 for value in values):
        reading.problem("unit_range", "coordinates run from 0 to 1; scaled", fragment)
        full = np.ones_like(full)
    if ((given < 0) | (given > full)).any():
        reading.problem("out_of_range", f"expected 0 to {full[0]:g} and 0 to {full[1]:g}; cut to the picture", fragment)
    shares = (np.clip(given, 0.0, full) / full).tolist()
    return [share * reading.width for share in shares[::2]], [share * reading.height for share in shares[1::2]]


def _label(reading: _Reading, node: Node | None, fragment: str) -> str:
    if isinstance(node, Number):
        return f"{node.value:g}"
    if not isinstance(node, Text) or not node.value.strip():
        reading.problem("no_label", "the object has no label", fragment)
        return ""
    clean = "".join(char if char.isprintable() else " " for char in node.value).strip()[:_LABEL_LENGTH]
    if clean != node.value:
        reading.problem("label_cleaned", f"control characters removed, or cut to {_LABEL_LENGTH} characters", node.value)
    return clean


def _without_duplicates(reading: _Reading) -> tuple[ParsedObject, ...]:
    """The objects said first; the same label at (nearly) the same place is one object."""
    kept: list[ParsedObject] = []
    seen: set[tuple[str, Kind, tuple[float, ...]]] = set()
    placed: dict[tuple[object, ...], Extents] = {}
    dropped = 0
    for item in reading.objects:
        same = (item.label, item.kind, item.values)
        group, extent = _extent(item)
        if same in seen or (extent is not None and not placed.setdefault(group, Extents(len(extent))).add(extent)):
            dropped += 1
            continue
        seen.add(same)
        kept.append(item)
    if dropped:
        reading.problem("duplicate", f"{dropped} of {len(reading.objects)} objects repeat another; kept once")
    return tuple(kept)


def _extent(item: ParsedObject) -> tuple[tuple[object, ...], tuple[float, ...] | None]:
    """Among which others an object may be a duplicate, and its lower and upper corner; 3D boxes along their own axes."""
    if item.box_3d is None:
        return (item.label, item.kind), item.box_px
    center, size, turns = item.box_3d[:3], item.box_3d[3:6], item.box_3d[6:]
    sides = [tuple(c + sign * s / 2 for c, s in zip(center, size, strict=True)) for sign in (-1, 1)]
    return (item.label, item.kind, *(round(turn, 1) for turn in turns)), (*sides[0], *sides[1])
