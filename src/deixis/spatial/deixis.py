"""`Deixis`: a picture and a question in, a checked answer out.

Knows the order of steps: ask, ask for the evidence, measure, compare. Does not know how a model computes, nor HTTP or screens.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from deixis.backends import Backend, Completion, Conversation, resolve_model, tokens_under
from deixis.errors import GeometryError, OptionError
from deixis.geometry import Box3D, Camera, iou_px
from deixis.media import Picture, PictureSource, load_picture
from deixis.spatial import prompts
from deixis.spatial.answer import Answer, BoxPx, Claim, FoundObject, Interval, LocateAnswer, Provenance
from deixis.spatial.claims import DEPTH_SHARE, claims_of
from deixis.spatial.confidence import (
    after_checking,
    mean_probability,
    near_probability,
    number_interval,
    span_probability,
    yes_no_probability,
)
from deixis.spatial.parse import Kind, Parsed, ParsedObject, Problem, parse_objects
from deixis.spatial.prompts import Language
from deixis.spatial.reading import Reading, read_question
from deixis.spatial.scene import EVERYTHING, Scene, scene_of
from deixis.spatial.values import Value, parse_value

ANSWER_TOKENS = 64
BOXES_TOKENS = 2_048
SHORT_TOKENS = 8
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

# A measured value is right when it is near: its confidence is the probability of lying within so much of what is written. A share
# of it for metres, whatever their unit; else points of percent, and degrees.
_NEAR: Mapping[str, Mapping[str, float]] = {"m": {"share": DEPTH_SHARE}, "%": {"within": 10.0}, "deg": {"within": 5.0}}

CameraLike = Camera | Sequence[float]


class Deixis:
    """Spatial questions about pictures, answered by one model and checked by geometry.

    `model` is a name that `deixis.backends.resolve_model` reads (auto, nano, a directory, a hub id, an address) or a backend.
    """

    def __init__(self, model: str | Backend = "auto") -> None:
        started = time.perf_counter()
        self.backend: Backend = resolve_model(model) if isinstance(model, str) else model
        self.load_ms = (time.perf_counter() - started) * 1000

    def ask(
        self, picture: PictureSource | Picture, question: str, camera: CameraLike | None = None, evidence: bool = True
    ) -> Answer:
        """Answer a question about a picture.

        `camera` is a Camera of the picture's size, or (fx, fy, cx, cy) in its pixels; else EXIF tells, else 60° is assumed.
        `evidence=False` leaves out boxes, claims and checking. Raises PictureError, QuestionError, CameraError, or what the
        backend raises.
        """
        reading = read_question(question)
        run = _Run(self.backend, load_picture_of(picture), camera, reading.language)
        reply = run.complete("ask", prompts.ask(reading.text, reading.language), ANSWER_TOKENS)
        wants_number = reading.kind in ("count", "depth", "visibility")
        value = parse_value(reply.text, reading.language, wants="number" if wants_number else "any")
        text = reply.text.strip()
        probability = _value_probability(reply, value)
        if value.kind in ("yes", "no") and reading.asks_for_a_name:
            value, probability = replace(value, kind="unsure"), 0.0
        if value.unit == "m" and reading.kind == "depth" and value.number is not None:
            value, text = run.in_camera(value, text, reading)
        objects: tuple[FoundObject, ...] = ()
        nothing_found: float | None = None
        claims: tuple[Claim, ...] = ()
        if evidence:
            objects, nothing_found = self._evidence(run, reading)
            if objects or nothing_found is not None:  # what could not be read bears nothing out, and denies nothing
                claims = claims_of(reading, value, objects)
        verdict = _verdict(reading, value)
        if nothing_found is not None and reading.takes_for_granted and verdict != "absent":
            # The claim says that the model answered as if it were there, which halves the confidence.
            verdict, probability = "absent", nothing_found
        return Answer(
            question=reading.text,
            language=reading.language,
            answer=text,
            verdict=verdict,
            confidence=after_checking(probability, claims),
            objects=objects,
            claims=claims,
            camera=run.camera,
            provenance=run.provenance(),
            reasoning=reply.reasoning,
        )

    def locate(
        self, picture: PictureSource | Picture, what: str, three_d: bool = False, camera: CameraLike | None = None
    ) -> LocateAnswer:
        """Where every instance of `what` is: visible boxes in pixels, with `three_d` also 3D boxes in the answer's camera."""
        reading = read_question(what)
        run = _Run(self.backend, load_picture_of(picture), camera, reading.language)
        parsed, objects = run.boxes("locate", prompts.locate(reading.text, reading.language))
        absent = not objects and not parsed.problems
        if three_d and not absent:
            objects = run.with_3d(objects, "locate_3d", prompts.locate_3d(reading.text, reading.language))
            objects = self._asked_again(run, objects, reading)
        return LocateAnswer(reading.text, reading.language, objects, absent, run.camera, three_d, run.provenance())

    def scene(self, picture: PictureSource | Picture, camera: CameraLike | None = None, language: Language = "en") -> Scene:
        """Everything in the picture with 2D and 3D boxes, pairwise relations, supports and the camera; labels in `language`."""
        loaded = load_picture_of(picture)
        return scene_of(loaded, self.locate(loaded, EVERYTHING[language], three_d=True, camera=camera))

    def _asked_again(self, run: _Run, objects: tuple[FoundObject, ...], reading: Reading) -> tuple[FoundObject, ...]:
        """Objects left without a 3D box, asked for by their own label (measured on nano: that fills two gaps of three)."""
        found = list(objects)
        for label in dict.fromkeys(item.label for item in objects if item.box_3d is None and item.label != reading.text):
            # All of that label, so that none is given the box of its twin.
            alike = [i for i, item in enumerate(found) if item.label == label]
            filled = run.with_3d(tuple(found[i] for i in alike), "locate_3d", prompts.locate_3d(label, reading.language))
            for i, item in zip(alike, filled, strict=True):
                found[i] = item
        return tuple(found)

    def _evidence(self, run: _Run, reading: Reading) -> tuple[tuple[FoundObject, ...], float | None]:
        """The objects that the answer speaks of; and the probability of the empty list where the model says there are none."""
        parsed, objects = run.boxes("evidence", prompts.evidence(reading.text, reading.language))
        if not objects and not parsed.problems:
            return (), mean_probability(run.last, [(0, len(run.last.text))]) or 0.5
        if reading.needs_depth or (reading.kind == "hidden" and len(objects) > 1):
            objects = run.with_3d(objects, "evidence_3d", prompts.evidence_3d(reading.text, reading.language))
        return objects, None


class _Run:
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


def _value_probability(reply: Completion, value: Value) -> float | None:
    if value.kind in ("yes", "no"):
        return yes_no_probability(reply, value.span, "yes" if value.kind == "yes" else "no")
    if value.unit:
        near = near_probability(reply, value.span, **_NEAR[value.unit])
        if near is not None:
            return near
    joint = span_probability(reply, value.span)
    tokens = len(tokens_under(reply.tokens, value.span))
    # A sentence has many wordings that say the same: its mean token speaks for it, not the chance of this very wording.
    return joint ** (1 / tokens) if joint is not None and value.kind == "label" and tokens > SHORT_TOKENS else joint


def _verdict(reading: Reading, value: Value) -> str:
    """yes, no, absent, unsure, or the value. To "is there one?" and "how many?", "absent" is an answer of its own."""
    if value.kind == "absent":
        return {"exists": "no", "count": "0"}.get(reading.kind, "absent")
    if value.kind == "number" and value.number is not None and not value.unit:
        return f"{value.number:g}"
    return value.label if value.kind in ("number", "label") else value.kind
