"""One question on its way: the picture, its camera, the model that is asked, and what was measured and noted so far.

Knows how to ask a backend and how its reply becomes objects in pixels and metres of the answer's camera. Does not know what a
question means.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from deixis.backends import Backend, Completion, Conversation
from deixis.errors import GeometryError, OptionError
from deixis.geometry import Box3D, Camera, iou_px
from deixis.media import Picture, PictureSource, load_picture
from deixis.spatial.answer import BoxPx, FoundObject, Interval, Provenance
from deixis.spatial.confidence import mean_probability, number_interval
from deixis.spatial.parse import Kind, Parsed, ParsedObject, Problem, parse_objects
from deixis.spatial.prompts import Language
from deixis.spatial.reading import Reading
from deixis.spatial.values import Value

BOXES_TOKENS = 2_048
THINKING_TOKENS = 8_192  # on top, for models that reason first

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

    @property
    def depth_factor(self) -> float:
        """z in the answer's camera over z in the model's: f / f_virtual (Omni3D); 1 where the model's camera is unknown."""
        focal = self.backend.card.virtual_focal
        return 1.0 if focal is None else self.camera.fx / (focal * max(self.picture.width, self.picture.height))

    def complete(self, step: str, prompt: str, max_new_tokens: int) -> Completion:
        started = time.perf_counter()
        if self.backend.card.thinking:
            max_new_tokens += THINKING_TOKENS
        conversation = Conversation.about(self.picture.pixels, prompt)
        self.last = self.backend.complete(conversation, max_new_tokens=max_new_tokens)
        self._timings_ms[step] = self._timings_ms.get(step, 0.0) + (time.perf_counter() - started) * 1000
        return self.last

    def boxes(self, step: str, prompt: str) -> tuple[Parsed, tuple[FoundObject, ...]]:
        """What the model lists for a prompt: parsed, and as objects with scores."""
        parsed = self._parsed(step, prompt, "box_2d")
        found = [self._found(item) for item in parsed.objects]
        return parsed, tuple(item for item in found if item is not None)

    def with_3d(self, objects: tuple[FoundObject, ...], step: str, prompt: str) -> tuple[FoundObject, ...]:
        """The objects with their 3D boxes, each of which is asked for once and belongs to one object.

        A 3D box belongs to the object of the same label whose 2D box its projection overlaps most; one that overlaps none of
        them, or none of that label, is left out.
        """
        parsed = self._parsed(step, prompt, "box_3d")
        free = [(item.label, box) for item in parsed.objects if (box := self._box_3d(item)) is not None]
        if not objects:
            projected = [(label, box, box.project(self.camera)) for label, box in free]
            return tuple(FoundObject(label, px, box_3d=box, depth_m=box.center_m[2]) for label, box, px in projected if px)
        # The surest pairs first, so that of two like things each gets its own.
        pairs = sorted(
            (
                (_overlap(item, box.project(self.camera)), i, j)
                for i, item in enumerate(objects)
                for j, (label, box) in enumerate(free)
                if label == item.label
            ),
            reverse=True,
        )
        matched: dict[int, Box3D] = {}
        taken: set[int] = set()
        for overlap, i, j in pairs:
            if overlap > 0 and i not in matched and j not in taken:
                matched[i] = free[j][1]
                taken.add(j)
        return tuple(
            replace(item, box_3d=matched[i], depth_m=matched[i].center_m[2]) if i in matched else item
            for i, item in enumerate(objects)
        )

    def in_camera(self, value: Value, text: str, reading: Reading) -> tuple[Value, str]:
        """A depth that the model gave for its own camera, as it is in the answer's."""
        self._metric = True
        if self.backend.card.virtual_focal is None or value.number is None:
            return value, text
        number = value.number * self.depth_factor
        written = f"{number:.2f} m" if reading.language == "en" else f"{number:.2f}米"
        return replace(value, number=number, label=written), written

    def provenance(self) -> Provenance:
        card = self.backend.card
        notes = []
        if card.knows:
            knows = _KNOWS_ZH.get(card.knows, card.knows) if self.language == "zh" else card.knows
            notes.append(LIMITED_NOTE[self.language].format(name=card.name, knows=knows))
        if self._metric and card.virtual_focal is None:
            notes.append(UNKNOWN_CAMERA_NOTE[self.language])
        total = (time.perf_counter() - self._started) * 1000
        return Provenance(card.name, card.why, {**self._timings_ms, "total": total}, tuple(notes), tuple(self._problems))

    def _parsed(self, step: str, prompt: str, expect: Kind) -> Parsed:
        reply = self.complete(step, prompt, BOXES_TOKENS)
        parsed = parse_objects(reply.text, self.picture.width, self.picture.height, expect=expect)
        self._problems.extend(parsed.problems)
        return parsed

    def _found(self, item: ParsedObject) -> FoundObject | None:
        """A parsed object with its score and intervals; a 3D answer to a 2D request by its projection; a point is no box."""
        score = mean_probability(self.last, item.spans)
        if item.box_px is not None:
            return FoundObject(item.label, item.box_px, score, self._intervals(item))
        box = self._box_3d(item)
        box_px = None if box is None else box.project(self.camera)
        if box is None or box_px is None:
            return None
        return FoundObject(item.label, box_px, score, box_3d=box, depth_m=box.center_m[2])

    def _intervals(self, item: ParsedObject) -> tuple[Interval, Interval, Interval, Interval] | None:
        """90% intervals of x1, y1, x2, y2 in pixels of the picture."""
        sides = (self.picture.width, self.picture.height) * 2
        found: list[Interval] = []
        for span, side, at_px in zip(item.spans, sides, item.box_px or (), strict=True):
            interval = number_interval(self.last, span)
            if interval is None:
                return None
            # The picture's edge cuts an interval, and the coordinate itself is always inside.
            low, high = (min(max(edge * side / 1000, 0.0), float(side)) for edge in interval)
            found.append((min(low, at_px), max(high, at_px)))
        x1, y1, x2, y2 = found
        return x1, y1, x2, y2

    def _box_3d(self, item: ParsedObject) -> Box3D | None:
        """In the answer's camera; None, with a problem, where the nine numbers are no box."""
        if item.box_3d is None:
            return None
        self._metric = True
        try:
            return Box3D.from_qwen(item.box_3d).rescaled_depth(self.depth_factor)
        except GeometryError as error:
            self._problems.append(Problem("invalid_3d", f"{error}; left out", str(item.box_3d)))
            return None


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


def _overlap(item: FoundObject, projected: BoxPx | None) -> float:
    return 0.0 if projected is None else iou_px(item.box_px, projected)
