"""The same answer in another camera, without asking the model again.

A model's metres hold for a camera of its own; every other camera sees the same boxes at depths in proportion to its focal length
(`geometry.VirtualCamera`). So boxes, depths, metric values, relations and the claims that rest on them are worked out anew, and
what cannot be is refused or named. Knows answers, scenes and their JSON. Does not know backends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast, get_args

import numpy as np

from deixis.errors import DeixisError, OptionError
from deixis.geometry import Box3D, Camera, Margin, MarginUnit, VirtualCamera
from deixis.media import Picture
from deixis.spatial.answer import Answer, Claim, FoundObject, LocateAnswer, Provenance
from deixis.spatial.checking.claims import claims_of
from deixis.spatial.grounding.parse import Problem
from deixis.spatial.language.prompts import Language, guess_language
from deixis.spatial.language.reading import Reading, read_question
from deixis.spatial.language.values import Value, in_metres, parse_value
from deixis.spatial.places.whereabouts import places_in_words, read_open
from deixis.spatial.scene import SCHEMA, Scene, scene_of

NOTES: Mapping[str, Mapping[Language, str]] = {
    "moved": {
        "en": "worked out for another camera than the one it was asked with ({old}), without asking the model again",
        "zh": "已换算到另一相机(提问时为{old}),未重新询问模型",
    },
    "stale": {
        "en": "claims that were measured in the old camera and cannot be worked out anew are undecided: ask with this camera",
        "zh": "无法重新计算的度量论断已标为未定:请用此相机重新提问",
    },
    "confidence": {
        "en": "geometry says something else in this camera; the confidence is still that of the old one",
        "zh": "在此相机下几何结论有变,置信度仍为原相机的",
    },
}
Found = TypeVar("Found", Answer, LocateAnswer, Scene)
_NUMBERS = ("count", "depth", "visibility")  # kinds whose answer is a number
_MOVES = VirtualCamera(1.0)  # any one: its focal length cancels out


def in_camera(found: Found, camera: Camera) -> Found:
    """An answer, located objects or a scene as they are in another camera of the same picture.

    Raises OptionError for a camera of another size, for metres that hold for the model's own unknown camera, and for an answer
    that was measured in space: what was not kept in it (the things between, the surface) is needed to say it again.
    """
    old = found.camera
    if (camera.width, camera.height) != (old.width, old.height):
        raise OptionError(
            f"the camera is for {camera.width}×{camera.height} px and the answer for {old.width}×{old.height}; "
            "use camera.resized(width, height)"
        )
    if found.provenance.model_metres:
        raise OptionError(
            f"{found.provenance.model} does not say which camera its metres hold for: they cannot be converted to another"
        )
    language = found.language
    source = f"fx {old.fx:.0f} px, {old.source}"
    provenance = _noted(found.provenance, NOTES["moved"][language].format(old=source))
    objects = tuple(_moved(item, old, camera) for item in found.objects)
    if isinstance(found, Answer):
        return _answer(found, objects, camera, provenance)
    if isinstance(found, LocateAnswer):
        return replace(found, objects=objects, camera=camera, provenance=provenance)
    listed = LocateAnswer("", language, objects, not objects, camera, True, provenance)
    return scene_of(found.picture, listed)


def box_in_camera(box: Box3D, old: Camera, new: Camera) -> Box3D:
    """The box that fills the same place in the picture of another camera, at a depth in proportion to its focal length."""
    return _MOVES.to_real(_MOVES.to_virtual(box, old), new)


def _moved(item: FoundObject, old: Camera, new: Camera) -> FoundObject:
    if item.box_3d is None:
        return item
    box = box_in_camera(item.box_3d, old, new)
    return replace(item, box_3d=box, depth_m=box.center_m[2])


def _answer(found: Answer, objects: tuple[FoundObject, ...], camera: Camera, provenance: Provenance) -> Answer:
    if not found.question:
        raise OptionError("the answer does not hold its question; expected what `deixis ask --json` prints")
    reading = read_question(found.question)
    if found.places or reading.space is not None or reading.kind in ("free_space", "fit"):
        raise OptionError("this answer was measured in its camera, between things that it does not hold: ask again with --camera")
    said = parse_value(found.answer, found.language, wants="number" if reading.kind in _NUMBERS else "any")
    value, text, verdict = said, found.answer, found.verdict
    if reading.kind == "depth" and said.unit == "m" and said.number is not None:
        text = in_metres(said.number * _MOVES.depth_factor(camera) / _MOVES.depth_factor(found.camera), found.language)
        value = parse_value(text, found.language, wants="number")
        verdict = text if verdict == said.label else verdict
    open_question = read_open(reading.text, reading.language)
    if objects and open_question is not None and open_question.kind == "where":
        text = places_in_words(objects, camera, found.language)
        claims = tuple(replace(claim, geometry=text) for claim in found.claims)
        return replace(found, answer=text, verdict=text, objects=objects, claims=claims, camera=camera, provenance=provenance)
    claims, stale = _claims(found, reading, (said, value), objects)
    if stale:
        provenance = _noted(provenance, NOTES["stale"][found.language])
    if [claim.agrees for claim in claims] != [claim.agrees for claim in found.claims]:
        provenance = _noted(provenance, NOTES["confidence"][found.language])
    return replace(found, answer=text, verdict=verdict, objects=objects, claims=claims, camera=camera, provenance=provenance)


def _claims(
    found: Answer, reading: Reading, values: tuple[Value, Value], objects: tuple[FoundObject, ...]
) -> tuple[tuple[Claim, ...], bool]:
    """The claims in the new camera, and whether one of them could not be worked out.

    They are worked out as they were at first, which is checked by doing so for the old camera and finding the same.
    """
    before = claims_of(reading, values[0], found.objects)
    if [_said(claim) for claim in before] == [_said(claim) for claim in found.claims]:
        after = claims_of(reading, values[1], objects)
        if len(after) == len(before):
            return tuple(_with_geometry(old, new) for old, new in zip(found.claims, after, strict=True)), False
    deep = any(item.box_3d is not None for item in found.objects)
    metric = [_is_metric(claim, deep) for claim in found.claims]
    claims = tuple(_undecided(claim) if stale else claim for claim, stale in zip(found.claims, metric, strict=True))
    return claims, any(metric)


def _with_geometry(old: Claim, new: Claim) -> Claim:
    """The old claim with what geometry now says; what all readings together made of it holds only where that is the same."""
    same = old.geometry == new.geometry
    moved = replace(old, claim=new.claim, model=new.model, geometry=new.geometry, agrees=new.agrees, margin=new.margin)
    return moved if same else replace(moved, probability=None)


def _said(claim: Claim) -> tuple[Any, ...]:
    return claim.claim, claim.model, claim.geometry, claim.agrees


def _is_metric(claim: Claim, deep: bool) -> bool:
    return (deep and claim.margin is not None) or claim.interval_m is not None or claim.frame != "camera"


def _undecided(claim: Claim) -> Claim:
    return replace(claim, geometry="undecided", agrees=None, margin=None, interval_m=None, probability=None)


def _noted(provenance: Provenance, note: str) -> Provenance:
    return provenance if note in provenance.notes else replace(provenance, notes=(*provenance.notes, note))


# --- what `--json` wrote ---------------------------------------------------------------------------------------------------


def read_record(row: object) -> Answer | LocateAnswer | Scene:
    """What `ask --json`, `locate --3d --json` or `scene -o OUT.json` wrote, as a value again; else raises OptionError.

    Numbers are as they were rounded; what such a record does not hold (pixels, the readings of a claim) stays empty.
    """
    if not isinstance(row, dict):
        raise OptionError(f"the record is a {type(row).__name__}; expected the object that `--json` prints")
    if "error" in row:
        raise OptionError("the record is an error, which holds no boxes")
    if "camera" not in row:
        raise OptionError("the record names no camera: save one with `locate --3d --json`, `ask --json` or `scene -o OUT.json`")
    try:
        return _record(row)
    except DeixisError as error:
        raise OptionError(f"the record cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise OptionError(f"the record cannot be read ({what}); expected what ask, locate or scene wrote") from error


def _record(row: Mapping[str, Any]) -> Answer | LocateAnswer | Scene:
    camera = Camera.from_json(row["camera"])
    objects = tuple(_object(item) for item in row["objects"])
    provenance = Provenance(
        str(row["model"]),
        str(row.get("model_why", "")),
        {str(step): float(took) for step, took in row["timings_ms"].items()},
        (str(row["note"]),) if row.get("note") else (),
        tuple(Problem(**problem) for problem in row.get("problems", ())),
        model_metres=row.get("metres") == "model",
    )
    if "schema" in row:
        if row["schema"] != SCHEMA:
            raise OptionError(f"the scene has schema {row['schema']!r}; expected {SCHEMA!r}")
        shape = (int(row["picture"]["height"]), int(row["picture"]["width"]), 3)
        pixels = np.broadcast_to(np.uint8(0), shape)  # the record holds none
        picture = Picture(pixels, str(row["picture"]["sha256"]), None, str(row["picture"]["name"]))
        language = guess_language(" ".join(item.label for item in objects))
        return scene_of(picture, LocateAnswer("", language, objects, not objects, camera, True, provenance))
    if "verdict" not in row:
        what = str(row.get("what", ""))
        return LocateAnswer(what, guess_language(what), objects, bool(row["absent"]), camera, True, provenance)
    question = str(row.get("question", ""))
    return Answer(
        question=question,
        language=guess_language(question),
        answer=str(row["answer"]),
        verdict=str(row["verdict"]),
        confidence=float(row["confidence"]),
        objects=objects,
        claims=tuple(_claim(claim) for claim in row["claims"]),
        camera=camera,
        provenance=provenance,
        reasoning=str(row.get("reasoning", "")),
        calibrated=bool(row.get("calibrated", False)),
    )


def _object(row: Mapping[str, Any]) -> FoundObject:
    def pair(edges: Sequence[float]) -> tuple[float, float]:
        low, high = edges
        return float(low), float(high)

    x1, y1, x2, y2 = (float(value) for value in row["box_px"])
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)):
        raise OptionError(f"the box of {row['label']!r} is {row['box_px']}; expected finite pixels")
    intervals = row.get("interval_px")
    if intervals is not None:
        i0, i1, i2, i3 = (pair(edges) for edges in intervals)
        intervals = (i0, i1, i2, i3)
    box = None if row.get("box_3d") is None else Box3D.from_qwen(row["box_3d"])
    return FoundObject(
        str(row["label"]), (x1, y1, x2, y2), row.get("score"), intervals, box, row.get("depth_m"), row.get("visible_fraction")
    )


def _claim(row: Mapping[str, Any]) -> Claim:
    measured = row.get("margin")
    if measured is not None and measured["unit"] not in get_args(MarginUnit):
        raise OptionError(f"a margin has unit {measured['unit']!r}; expected one of {', '.join(get_args(MarginUnit))}")
    interval = row.get("interval_m")
    decided = {"yes": True, "no": False}.get(row["geometry"])
    return Claim(
        str(row["claim"]),
        str(row["model"]),
        str(row["geometry"]),
        row["agrees"],
        row["frame"],
        None if measured is None else Margin(float(measured["value"]), cast(MarginUnit, measured["unit"]), decided, row["frame"]),
        interval_m=None if interval is None else (float(interval[0]), float(interval[1])),
        probability=row.get("probability"),
    )
