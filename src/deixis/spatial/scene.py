"""`Scene`: everything in one picture, how it stands to one another, what rests on what, and the camera that all of it holds for.

Knows objects and geometry. Does not know how they were found, nor glTF or pages.

The JSON of `Scene.to_json` (also what `deixis scene -o OUT.json` writes), schema "deixis.scene/1":

    schema     "deixis.scene/1"; a field that changes its meaning changes the number
    picture    {"name", "width", "height", "sha256" of the pixels}
    frame      "camera": x right, y down, z forward, metres; pixels are those of the picture, upright
    camera     {"fx", "fy", "cx", "cy", "width", "height", "source": exif | user | estimated | assumed}
    objects    [{"id", "name", "label", "box_px", "score", "interval_px", "box_3d"?, "depth_m"?}]: `id` is the place in the list,
               `name` the label made unique ("cyan pen", "cyan pen (2)"), `box_3d` Qwen3-VL's nine numbers (metres, half-turns)
    relations  [{"subject": id, "relation", "objects": [ids], "holds": true | null, "margin": {"value", "unit"}, "frame"}]
               What holds, or cannot be told (null). left_of, in_front_of, above, on and next_to are given, and their inverses
               (right_of, behind, below, under) are theirs read backwards; a pair that cannot be told stands there once.
               nearest and farthest compare one object with all the others. What is not listed does not hold.
    supports   [{"object": id, "on": id, "margin": {"value", "unit"}}]: direct support; a book on a box on a box is two rows.
               Objects in no row stand on something that is not in the list: a table, the floor.
    occlusions [{"object": id, "by": id, "share"}]: how much of an object's outline in the picture another hides, 3D boxes taken
               as solid, from OCCLUDED up; `visible_fraction` of an object with a 3D box is what is left
    stacks     [[id, id, …], …]: the chains of supports from the bottom to the top
    layout     the floor plan, or null where no object has a 3D box: room type, what stands along which side and in which corner,
               neighbours and their distances, the camera's place and height, and what is assumed (fields: see layout.py)
    model, model_why, timings_ms, note?, problems?   as in `ask --json`
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from deixis.geometry import Camera, Located, Margin, Relation, margin, visibility_of_boxes
from deixis.media import Picture
from deixis.spatial.answer import FoundObject, LocateAnswer, Provenance
from deixis.spatial.checking.claims import located
from deixis.spatial.language.prompts import Language
from deixis.spatial.places.layout import Layout, layout_of

SCHEMA = "deixis.scene/1"
EVERYTHING: dict[Language, str] = {"en": "all objects", "zh": "所有物体"}  # wordings that nano was trained on
_SIDED: tuple[Relation, ...] = ("left_of", "in_front_of")
_STACKED: tuple[Relation, ...] = ("above", "on")
OCCLUDED = 0.05  # boxes are larger than what they hold: less than this hides nothing for certain
MAX_RELATED = 60  # pairs grow with the square: more objects than these have boxes, and a note says that relations are left out


@dataclass(frozen=True)
class SceneRelation:
    """`subject` relation `objects` (indices of the scene's objects); `margin.decided` is True, or None: it cannot be told."""

    subject: int
    relation: Relation
    objects: tuple[int, ...]
    margin: Margin

    def to_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "relation": self.relation,
            "objects": list(self.objects),
            "holds": self.margin.decided,
            "margin": _margin_json(self.margin),
            "frame": self.margin.frame,
        }


@dataclass(frozen=True)
class Support:
    """Object `subject` rests directly on object `base` (indices of the scene's objects)."""

    subject: int
    base: int
    margin: Margin

    def to_json(self) -> dict[str, Any]:
        return {"object": self.subject, "on": self.base, "margin": _margin_json(self.margin)}


@dataclass(frozen=True)
class Scene:
    """Everything that was found in a picture. 3D boxes and depths hold for `camera`, whose source says how far to trust them."""

    picture: Picture
    language: Language
    objects: tuple[FoundObject, ...]
    relations: tuple[SceneRelation, ...]
    supports: tuple[Support, ...]
    camera: Camera
    provenance: Provenance

    @property
    def names(self) -> tuple[str, ...]:
        """One name an object: its label, and a number where several share it."""
        return unique_names(item.label for item in self.objects)

    @property
    def layout(self) -> Layout | None:
        """The floor plan; None where no object has a 3D box."""
        return layout_of(self.objects)

    @property
    def occlusions(self) -> tuple[tuple[int, int, float], ...]:
        """(object, what hides it, share of its outline), 3D boxes taken as solid; shares below OCCLUDED are left out."""
        return tuple(
            (i, j, share) for i, seen in self._visibilities.items() for j, share in seen.items() if i != j and share >= OCCLUDED
        )

    @cached_property
    def _visibilities(self) -> dict[int, dict[int, float]]:
        """For each object with a 3D box the shares of its outline by what is seen there, itself included."""
        placed = {i: item.box_3d for i, item in enumerate(self.objects[:MAX_RELATED]) if item.box_3d is not None}
        ids = list(placed)
        seen = visibility_of_boxes(list(placed.values()), self.camera)
        return {
            i: {i: one.visible} | {ids[k]: share for k, share in one.hidden_by.items()} for i, one in zip(ids, seen, strict=True)
        }

    @property
    def stacks(self) -> tuple[tuple[int, ...], ...]:
        """Every chain of supports, bottom first."""
        above: dict[int, list[int]] = {}
        for support in self.supports:
            above.setdefault(support.base, []).append(support.subject)
        bottoms = sorted(set(above) - {support.subject for support in self.supports})
        return tuple(chain for bottom in bottoms for chain in _chains((bottom,), above))

    def with_load_ms(self, load_ms: float) -> Scene:
        """The same scene with the time that the model took to load among its timings."""
        return replace(self, provenance=self.provenance.with_load_ms(load_ms))

    def with_camera(self, camera: Camera) -> Scene:
        """The same scene in another camera of the same picture, without asking the model again (see reproject.py)."""
        from deixis.spatial.places.reproject import in_camera  # which reads answers, and so stands below them

        return in_camera(self, camera)

    def to_json(self) -> dict[str, Any]:
        """See the module's text."""
        names, layout = self.names, self.layout
        return {
            "schema": SCHEMA,
            "picture": {
                "name": self.picture.name,
                "width": self.picture.width,
                "height": self.picture.height,
                "sha256": self.picture.sha256,
            },
            "frame": "camera",
            "camera": self.camera.to_json(),
            "objects": [
                {"id": i, "name": names[i], **replace(item, visible_fraction=self._visibilities.get(i, {}).get(i)).to_json()}
                for i, item in enumerate(self.objects)
            ],
            "relations": [relation.to_json() for relation in self.relations],
            "supports": [support.to_json() for support in self.supports],
            "occlusions": [{"object": i, "by": j, "share": round(share, 3)} for i, j, share in self.occlusions],
            "stacks": [list(stack) for stack in self.stacks],
            "layout": None if layout is None else layout.to_json(),
            **self.provenance.to_json(),
        }


def scene_of(picture: Picture, found: LocateAnswer) -> Scene:
    """The scene of everything that was located in a picture, left to right as the model lists it."""
    objects, notes = found.objects, found.provenance.notes
    relations: tuple[SceneRelation, ...] = ()
    if len(objects) <= MAX_RELATED:
        relations = relations_of([located(item) for item in objects])
    else:
        notes += (f"{len(objects)} objects: relations and supports are worked out for at most {MAX_RELATED}, and left out here",)
    return Scene(
        picture=picture,
        language=found.language,
        objects=objects,
        relations=relations,
        supports=supports_of(relations),
        camera=found.camera,
        provenance=replace(found.provenance, notes=notes),
    )


def relations_of(things: Sequence[Located]) -> tuple[SceneRelation, ...]:
    """Every relation that holds or cannot be told, pair by pair, then nearest and farthest."""
    found: list[SceneRelation] = []
    for i in range(len(things)):
        for j in range(i + 1, len(things)):
            found.extend(_pair(things, i, j))
    deep = [i for i, thing in enumerate(things) if _has_depth(thing)]
    if len(deep) > 1:
        deep.sort(key=lambda i: _depth_m(things[i]))
        ends: tuple[tuple[Relation, int], ...] = (("nearest", deep[0]), ("farthest", deep[-1]))
        for relation, subject in ends:
            others = tuple(sorted(i for i in deep if i != subject))
            measured = margin(relation, things[subject], *(things[i] for i in others))
            found.append(SceneRelation(subject, relation, others, measured))
    return tuple(found)


def supports_of(relations: Iterable[SceneRelation]) -> tuple[Support, ...]:
    """Direct supports: of "A on B, B on C, A on C" the last is left out."""
    resting = {(r.subject, r.objects[0]): r.margin for r in relations if r.relation == "on" and r.margin.decided}
    direct = [(a, b) for a, b in resting if not any((a, middle) in resting and (middle, b) in resting for _, middle in resting)]
    return tuple(Support(a, b, resting[a, b]) for a, b in direct)


def unique_names(labels: Iterable[str], taken: Iterable[str] = ()) -> tuple[str, ...]:
    """Labels made different from one another and from those taken: "cup", "cup (2)", …; an empty one is "object"."""
    used, names = set(taken), []
    for label in labels:
        base = label.strip() or "object"
        name, number = base, 1
        while name in used:
            number += 1
            name = f"{base} ({number})"
        used.add(name)
        names.append(name)
    return tuple(names)


def _pair(things: Sequence[Located], i: int, j: int) -> list[SceneRelation]:
    a, b = things[i], things[j]
    found = []
    deep = _has_depth(a) and _has_depth(b)
    for relation in _SIDED if deep else _SIDED[:1]:  # one of both ways holds, or neither can be told
        forth = margin(relation, a, b)
        found.append(
            SceneRelation(j, relation, (i,), margin(relation, b, a))
            if forth.decided is False
            else SceneRelation(i, relation, (j,), forth)
        )
    for relation in _STACKED:
        forth, back = margin(relation, a, b), margin(relation, b, a)
        if forth.decided or back.decided:
            rows = [(i, j, forth)] * bool(forth.decided) + [(j, i, back)] * bool(back.decided)
        else:  # undecided both ways: the likelier one speaks for the pair
            rows = [max(((i, j, forth), (j, i, back)), key=lambda row: (row[2].decided is None, row[2].value))]
        found.extend(SceneRelation(s, relation, (o,), m) for s, o, m in rows if m.decided is not False)
    beside = margin("next_to", a, b)
    if beside.decided is not False:
        found.append(SceneRelation(i, "next_to", (j,), beside))
    return found


def _has_depth(thing: Located) -> bool:
    return thing.box_3d is not None or thing.depth_m is not None


def _depth_m(thing: Located) -> float:
    return thing.box_3d.center_m[2] if thing.box_3d is not None else thing.depth_m or 0.0


def _chains(below: tuple[int, ...], above: dict[int, list[int]]) -> Iterable[tuple[int, ...]]:
    upper = [i for i in above.get(below[-1], ()) if i not in below]
    if not upper:
        yield below
    for i in upper:
        yield from _chains((*below, i), above)


def _margin_json(measured: Margin) -> dict[str, Any]:
    return {"value": round(measured.value, 4), "unit": measured.unit}
