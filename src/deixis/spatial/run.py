"""One question on its way: the picture, its camera, the model that is asked, and what was measured and noted so far.

Knows how to ask a backend and how its reply becomes objects in pixels and metres of the answer's camera. Does not know what a
question means.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from deixis.backends import Backend, Completion, Conversation, Schema, Turn
from deixis.errors import GeometryError, OptionError
from deixis.geometry import Box3D, Camera, VirtualCamera, iou_px
from deixis.media import Picture, PictureSource, load_picture
from deixis.spatial.answer import BoxPx, FoundObject, Interval, Intervals, Provenance
from deixis.spatial.checking.confidence import mean_probability, number_interval
from deixis.spatial.grounding.canary import Scale, full_of, known_grounding, usable_grounding
from deixis.spatial.grounding.parse import Kind, Parsed, ParsedObject, Problem, parse_objects
from deixis.spatial.grounding.schema import BOXES_SCHEMA, BOXES_TOKENS, MAX_OBJECTS
from deixis.spatial.grounding.shown import Shown, joined, shown_for_lists, shown_whole
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import Reading
from deixis.spatial.language.values import Value, in_metres

LIMITED_NOTE: Mapping[Language, str] = {
    "en": "{name} knows {knows} only; for photographs: `deixis models pull Qwen/Qwen3-VL-2B-Instruct`, "
    "then --model Qwen/Qwen3-VL-2B-Instruct",
    "zh": "{name}只认识{knows};要看照片,请先 `deixis models pull Qwen/Qwen3-VL-2B-Instruct`,"
    "再加 --model Qwen/Qwen3-VL-2B-Instruct",
}
UNKNOWN_CAMERA_NOTE: Mapping[Language, str] = {
    "en": "this model does not say which camera its metric figures hold for: they are shown as given, not converted to the "
    "camera above",
    "zh": "该模型没有说明其米制数值对应哪个相机:数值按原样给出,未换算到上面的相机",
}
SCALE_NOTE: Mapping[Language, str] = {
    "en": "{name} says coordinates in another scale than Qwen3-VL ({scale}): converted",
    "zh": "{name}的坐标尺度与Qwen3-VL不同({scale}):已换算",
}
_KNOWS_ZH = {"rendered worlds": "渲染的场景"}  # what a checkpoint's deixis.json says in English

CameraLike = Camera | Sequence[float]


class Run:
    """One question on its way: the picture, its camera, and what was measured and noted so far."""

    def __init__(self, backend: Backend, picture: Picture, camera: CameraLike | None, language: Language) -> None:
        self.backend = backend
        self.language = language
        self.picture = picture
        self.camera = camera_of(picture, camera)
        self.last = Completion("")
        self._started = time.perf_counter()
        self._timings_ms: dict[str, float] = {}
        self._problems: list[Problem] = []
        self._metric = False
        self._scale: Scale | None = None  # learned when boxes are first asked for
        self._locked = False  # asked for 2D boxes under a schema: at most once a question
        self._whole = shown_whole(picture)
        focal = backend.card.virtual_focal
        self._virtual = None if focal is None else VirtualCamera(focal)
        # The camera that would have taken what the model is shown, borders included.
        self._shown_camera = self._whole.view.camera_of_view(self.camera)

    def complete(self, step: str, prompt: str, max_new_tokens: int, shown: Shown | None = None) -> Completion:
        """The model's reply about the whole picture, or another view of it, which is also `last`; the time goes to `step`."""
        return self._complete(step, prompt, max_new_tokens, shown or self._whole)

    def complete_text(self, step: str, prompt: str, max_new_tokens: int) -> Completion:
        """The model's reply to words alone; `last` stays what was said of the picture."""
        started = time.perf_counter()
        asked = Conversation((Turn("user", (prompt,)),))
        reply = self.backend.complete(asked, max_new_tokens=self.backend.card.room_for(max_new_tokens))
        self._took(step, started)
        return reply

    def boxes(self, step: str, prompt: str) -> tuple[Parsed, tuple[FoundObject, ...]]:
        """What the model lists for a prompt: parsed, and as objects with scores."""
        lists = [(shown, *self._listed(step, prompt, shown)) for shown in shown_for_lists(self.picture)]
        parsed = Parsed(
            tuple(item for _, one, _ in lists for item in one.objects),
            tuple(item for _, one, _ in lists for item in one.problems),
        )
        return parsed, joined((shown.view, objects) for shown, _, objects in lists)

    def with_3d(self, objects: tuple[FoundObject, ...], step: str, prompt: str) -> tuple[FoundObject, ...]:
        """The objects with their 3D boxes, each of which is asked for once and belongs to one object.

        A 3D box belongs to the object of the same label whose 2D box its projection overlaps most; one that overlaps none of
        them, or none of that label, is left out, with a problem.
        """
        _, parsed = self._parsed(step, prompt, "box_3d", self._whole)
        free = [(item.label, *pair) for item in parsed.objects if (pair := self._box_3d(item)) is not None]
        if not objects:
            return tuple(FoundObject(label, px, box_3d=box, depth_m=box.center_m[2]) for label, box, px in free)
        of_label: dict[str, list[int]] = {}
        for j, (label, _, _) in enumerate(free):
            of_label.setdefault(label, []).append(j)
        # The surest pairs first, so that of two like things each gets its own.
        pairs = sorted(
            (
                (overlap, i, j)
                for i, item in enumerate(objects)
                for j in of_label.get(item.label, ())
                if (overlap := iou_px(item.box_px, free[j][2])) > 0
            ),
            reverse=True,
        )
        matched: dict[int, Box3D] = {}
        taken: set[int] = set()
        for _, i, j in pairs:
            if i not in matched and j not in taken:
                matched[i] = free[j][1]
                taken.add(j)
        if lost := [label for j, (label, _, _) in enumerate(free) if j not in taken]:
            what = f"{len(lost)} of {len(free)} 3D boxes belong to none of the objects and are left out: {_few(lost)}"
            self._problems.append(Problem("unmatched_3d", what))
        return tuple(
            replace(item, box_3d=matched[i], depth_m=matched[i].center_m[2]) if i in matched else item
            for i, item in enumerate(objects)
        )

    def in_camera(self, value: Value, text: str, reading: Reading) -> tuple[Value, str]:
        """A depth that the model gave for its own camera, as it is in the answer's."""
        self._metric = True
        if self._virtual is None or value.number is None:
            return value, text
        number = value.number * self._virtual.depth_factor(self._shown_camera)
        written = in_metres(number, reading.language)
        return replace(value, number=number, label=written), written

    def provenance(self) -> Provenance:
        card = self.backend.card
        notes = []
        if card.knows:
            knows = _KNOWS_ZH.get(card.knows, card.knows) if self.language == "zh" else card.knows
            notes.append(LIMITED_NOTE[self.language].format(name=card.name, knows=knows))
        if self._metric and self._virtual is None:
            notes.append(UNKNOWN_CAMERA_NOTE[self.language])
        if self._scale not in (None, "0-1000"):
            notes.append(SCALE_NOTE[self.language].format(name=card.name, scale=self._scale))
        total = (time.perf_counter() - self._started) * 1000
        return Provenance(
            card.name,
            card.why,
            {**self._timings_ms, "total": total},
            tuple(notes),
            tuple(self._problems),
            self._metric and self._virtual is None,
        )

    def _complete(self, step: str, prompt: str, max_new_tokens: int, shown: Shown, schema: Schema | None = None) -> Completion:
        started = time.perf_counter()
        conversation = Conversation.about(shown.pixels, prompt)
        room = self.backend.card.room_for(max_new_tokens)
        if schema is None:
            self.last = self.backend.complete(conversation, max_new_tokens=room)
        else:
            self.last = self.backend.complete(conversation, max_new_tokens=room, schema=schema)
        self._took(step, started)
        return self.last

    def _took(self, step: str, started: float) -> None:
        self._timings_ms[step] = self._timings_ms.get(step, 0.0) + (time.perf_counter() - started) * 1000

    def _listed(self, step: str, prompt: str, shown: Shown) -> tuple[Parsed, tuple[FoundObject, ...]]:
        """What was read, with every problem on the way, so that what was left out is not taken for absent; and the objects."""
        before = len(self._problems)
        reply, parsed = self._parsed(step, prompt, "box_2d", shown)
        if not self._locked and any(item.kind == "box_3d" for item in parsed.objects):
            self._locked = True
            reply, parsed = self._asked_for_2d(step, prompt, shown, reply, parsed)
        found = [self._found(item, reply, shown) for item in parsed.objects]
        parsed = Parsed(parsed.objects, tuple(self._problems[before:]))
        return parsed, tuple(item for item in found if item is not None)

    def _asked_for_2d(self, step: str, prompt: str, shown: Shown, reply: Completion, parsed: Parsed) -> tuple[Completion, Parsed]:
        """The reply under a schema of 2D boxes where the model can be held to one; else the first, whose boxes are projected."""
        if self.backend.card.enforces_schema:
            second, again = self._parsed(step, prompt, "box_2d", shown, BOXES_SCHEMA)
            if any(item.kind == "box_2d" for item in again.objects):
                count = len(again.objects)
                what = f"3D boxes where 2D ones were asked for; asked again, held to a schema: {count} 2D boxes"
                self._problems.append(Problem("asked_again", what))
                return second, again
        self.last = reply
        name = self.backend.card.name
        what = f"3D boxes where 2D ones were asked for, and {name} is not held to a schema: their projections are taken"
        self._problems.append(Problem("not_enforced", what))
        return reply, parsed

    def _parsed(
        self, step: str, prompt: str, expect: Kind, shown: Shown, schema: Schema | None = None
    ) -> tuple[Completion, Parsed]:
        """The reply, and what could be read in it: 2D coordinates in pixels of what was shown."""
        self._learn_scale()
        reply = self._complete(step, prompt, BOXES_TOKENS, shown, schema)
        width, height = shown.view.width, shown.view.height
        parsed = parse_objects(reply.text, width, height, expect=expect, full=full_of(self._scale or "0-1000", width, height))
        problems = list(parsed.problems)
        if reply.finish == "length":
            what = f"the reply reached its limit of {BOXES_TOKENS} tokens: what would have followed is missing"
            problems.append(Problem("cut_off", what))
        if schema is not None and len(parsed.objects) == schema["maxItems"]:
            what = f"the schema ends the list at {schema['maxItems']} objects: what would have followed is missing"
            problems.append(Problem("cut_off", what))
        if len(parsed.objects) > MAX_OBJECTS:
            what = f"{len(parsed.objects)} objects are listed; the first {MAX_OBJECTS} are kept"
            problems.append(Problem("too_many", what))
            parsed = replace(parsed, objects=parsed.objects[:MAX_OBJECTS])
            # Each coordinate looks for its tokens from the start.
            reply = reply.cut(0, max(end for item in parsed.objects for _, end in item.spans))
        self._problems.extend(problems)
        return reply, replace(parsed, problems=tuple(problems))

    def _learn_scale(self) -> None:
        """In which scale this model says coordinates: measured when a model is first asked for boxes on this machine."""
        if self._scale is None:
            started = time.perf_counter()
            known = known_grounding(self.backend.card.identity, self.backend.card.directory)
            self._scale = usable_grounding(self.backend).scale
            if known is None and self.backend.card.identity:
                self._took("grounding", started)

    def _found(self, item: ParsedObject, reply: Completion, shown: Shown) -> FoundObject | None:
        """A parsed object with its score and intervals; a 3D answer to a 2D request by its projection; a point is no box."""
        score = mean_probability(reply, item.spans)
        if item.box_px is not None:
            box_px = shown.box_in_picture(item.box_px, self.picture)
            if box_px is None:
                what = f"the box of {item.label!r} lies in the border beside the picture; left out"
                self._problems.append(Problem("out_of_view", what, str(item.values)))
                return None
            return FoundObject(item.label, box_px, score, self._intervals(item, box_px, reply, shown))
        if item.point_px is not None:
            what = f"{item.label!r} is a point, and boxes were asked for; left out"
            self._problems.append(Problem("no_box", what, str(item.values)))
            return None
        pair = self._box_3d(item)
        if pair is None:
            return None
        return FoundObject(item.label, pair[1], score, box_3d=pair[0], depth_m=pair[0].center_m[2])

    def _intervals(self, item: ParsedObject, box_px: BoxPx, reply: Completion, shown: Shown) -> Intervals | None:
        """90% intervals of x1, y1, x2, y2 in pixels of the picture."""
        width, height = shown.view.width, shown.view.height
        full = full_of(self._scale or "0-1000", width, height)
        found: list[Interval] = []
        for i, (span, at_px) in enumerate(zip(item.spans, box_px, strict=True)):
            interval = number_interval(reply, span)
            if interval is None:
                return None
            along_y = i % 2 == 1
            low, high = (edge * (height if along_y else width) / full[along_y] for edge in interval)
            low, high = shown.interval_in_picture((low, high), self.picture, along_y)
            found.append((min(low, at_px), max(high, at_px)))  # the coordinate itself is always inside
        x1, y1, x2, y2 = found
        return x1, y1, x2, y2

    def _box_3d(self, item: ParsedObject) -> tuple[Box3D, BoxPx] | None:
        """In the answer's camera, and where it is seen; None, with a problem, where the nine numbers are no box in view."""
        if item.box_3d is None:
            return None
        self._metric = True
        try:
            box = Box3D.from_qwen(item.box_3d)
            box = box if self._virtual is None else self._virtual.to_real(box, self._shown_camera)
        except GeometryError as error:
            self._problems.append(Problem("invalid_3d", f"{error}; left out", str(item.box_3d)))
            return None
        seen = box.project(self.camera)
        if seen is None:
            what = f"nothing of the 3D box of {item.label!r} falls into the picture; left out"
            self._problems.append(Problem("out_of_view", what, str(item.box_3d)))
            return None
        return box, seen


def load_picture_of(picture: PictureSource | Picture) -> Picture:
    """A picture, loaded unless it is already."""
    return picture if isinstance(picture, Picture) else load_picture(picture)


def camera_of(picture: Picture, camera: CameraLike | None) -> Camera:
    """The user's camera, else the one in the picture's EXIF data, else an assumed one of 60°. Raises CameraError, OptionError."""
    if isinstance(camera, Camera):
        if (camera.width, camera.height) != (picture.width, picture.height):
            raise OptionError(
                f"the camera is for {camera.width}×{camera.height} px and the picture has {picture.width}×{picture.height}; "
                "use camera.resized(width, height)"
            )
        return camera
    if camera is not None:
        numbers = tuple(camera)
        if len(numbers) != 4:
            raise OptionError(f"the camera has {len(numbers)} numbers; expected four, fx, fy, cx, cy in pixels")
        return Camera(*numbers, picture.width, picture.height, "user")
    return picture.camera or Camera.assumed(picture.width, picture.height)


def _few(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (", …" if len(labels) > 5 else "")
