"""`Deixis`: a picture and a question in, a checked answer out.

Knows the order of steps: ask, ask for the evidence, measure, compare. Does not know how a model computes, nor HTTP or screens.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from deixis.backends import Backend, Completion, resolve_model, tokens_under
from deixis.media import Picture, PictureSource
from deixis.spatial.answer import Answer, Claim, FoundObject, LocateAnswer
from deixis.spatial.checking.calibration import calibration_of
from deixis.spatial.checking.claims import DEPTH_SHARE
from deixis.spatial.checking.confidence import mean_probability, near_probability, span_probability, yes_no_probability
from deixis.spatial.checking.verify import Weighed, judged, weigh
from deixis.spatial.language import prompts
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import Reading, read_question
from deixis.spatial.language.values import Value, parse_value
from deixis.spatial.places import placing, whereabouts
from deixis.spatial.places.in_space import answer_in_space
from deixis.spatial.run import CameraLike, Run, load_picture_of
from deixis.spatial.scene import EVERYTHING, Scene, scene_of

if TYPE_CHECKING:
    from deixis.media import VideoSource
    from deixis.spatial.video.watch import WatchOptions
    from deixis.spatial.video.watch_answer import WatchAnswer

UNCALIBRATED_NOTE: Mapping[Language, str] = {
    "en": "confidence is not calibrated for this model",
    "zh": "该模型的置信度未经校准",
}
UNPROVEN_NOTE: Mapping[Language, str] = {
    "en": "confidence is not calibrated for this kind of question",
    "zh": "这类问题的置信度未经校准",
}
UNPROVEN_MOST = 0.75  # its confidence, whatever the readings say
TWICE_NOTE: Mapping[Language, str] = {
    "en": "the question calls two things {name!r}: which two are meant cannot be told",
    "zh": "问题把两个物体都叫作“{name}”:无法判断指的是哪两个",
}
ANSWER_TOKENS = 64
SHORT_TOKENS = 8

# A measured value is right when it is near: its confidence is the probability of lying within so much of what is written. A share
# of it for metres, whatever their unit; else points of percent, and degrees.
_NEAR: Mapping[str, Mapping[str, float]] = {"m": {"share": DEPTH_SHARE}, "%": {"within": 10.0}, "deg": {"within": 5.0}}


class Deixis:
    """Spatial questions about pictures, answered by one model and checked by geometry.

    `model` is a name that `deixis.backends.resolve_model` reads (auto, nano, a directory, a hub id, an address) or a backend.
    """

    def __init__(self, model: str | Backend = "auto") -> None:
        started = time.perf_counter()
        self.backend: Backend = resolve_model(model) if isinstance(model, str) else model
        self.calibration = calibration_of(self.backend.card)
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
        run = Run(self.backend, load_picture_of(picture), camera, reading.language)
        evidence = evidence or reading.kind in ("free_space", "fit")  # which no model is asked without
        return self._vouched(self._answered(run, reading, evidence), evidence)

    def _vouched(self, answer: Answer, evidence: bool) -> Answer:
        """The answer, no surer than its kind allows, with a note where its confidence was never held against truth.

        In a model that is calibrated for other kinds, nobody must take it for as sure as those. A model's own words, without
        evidence, keep their own probability.
        """
        if not self.calibration.fitted:
            note, most = UNCALIBRATED_NOTE, 1.0
        elif evidence and not answer.calibrated:
            note, most = UNPROVEN_NOTE, UNPROVEN_MOST
        else:
            return answer
        told = answer.provenance.noted(note[answer.language])
        return replace(answer, confidence=min(answer.confidence, most), provenance=told)

    def _answered(self, run: Run, reading: Reading, evidence: bool) -> Answer:
        """The answer by whoever knows that kind of question, who also says whether it was held against truth: `calibrated`."""
        space = self.calibration.space
        if reading.kind in ("free_space", "fit"):
            located = placing.answer(run, reading, space)
        elif evidence and reading.space is not None:
            located = answer_in_space(run, reading, reading.space, space)
        elif evidence and (open_question := whereabouts.read_open(reading.text, reading.language)):
            located = whereabouts.answer(run, reading.text, open_question)
        else:
            return self._weighed_answer(run, reading, evidence)
        return replace(located, objects=self._widened(run, located.objects))

    def _weighed_answer(self, run: Run, reading: Reading, evidence: bool) -> Answer:
        """The model's own answer, weighed against geometry and against what it says when asked again."""
        reply, value, text, probability = self._said(run, reading)
        verdict, confidence = _verdict(reading, value), 0.5 if probability is None else probability
        objects: tuple[FoundObject, ...] = ()
        claims: tuple[Claim, ...] = ()
        proven = False
        if evidence:
            objects, nothing_found = self._evidence(run, reading)
            weighed = weigh(run, reading, reply, value, probability, objects, nothing_found, self.calibration)[-1]
            judged_ = judged(weighed, self.calibration, reading.language)
            claims, confidence, proven = judged_.claims, judged_.confidence, judged_.calibrated
            if judged_.text is not None:
                text = judged_.text
                verdict = _verdict(reading, parse_value(text, reading.language))
            if judged_.special is not None:
                verdict = judged_.special
            elif verdict == "absent":  # said so, and borne out by nothing
                verdict = "unsure"
        if reading.twice is not None:
            verdict, proven, confidence = "unsure", False, min(confidence, 0.5)
        twice = () if reading.twice is None else (TWICE_NOTE[run.language].format(name=reading.twice),)
        return Answer(
            question=reading.text,
            language=reading.language,
            answer=text,
            verdict=verdict,
            confidence=confidence,
            objects=objects,
            claims=claims,
            camera=run.camera,
            provenance=run.provenance().noted(*twice),
            reasoning=reply.reasoning,
            calibrated=proven,
        )

    def weighed(self, picture: PictureSource | Picture, question: str, camera: CameraLike | None = None) -> tuple[Weighed, ...]:
        """All that `ask` could weigh, however sure it is: before and, where there is one, after a second view."""
        reading = read_question(question)
        run = Run(self.backend, load_picture_of(picture), camera, reading.language)
        reply, value, _, probability = self._said(run, reading)
        objects, nothing_found = self._evidence(run, reading)
        return weigh(run, reading, reply, value, probability, objects, nothing_found, self.calibration, thorough=True)

    def _said(self, run: Run, reading: Reading) -> tuple[Completion, Value, str, float | None]:
        """What the model answers in its own words: its reply, the value, the text to show, and the value's probability."""
        reply = run.complete("ask", prompts.ask(reading.text, reading.language), ANSWER_TOKENS)
        wants_number = reading.kind in ("count", "depth", "visibility")
        value = parse_value(reply.text, reading.language, wants="number" if wants_number else "any")
        text = reply.text.strip()
        probability = _value_probability(reply, value)
        if value.kind in ("yes", "no") and reading.asks_for_a_name:
            value, probability = replace(value, kind="unsure"), 0.0
        if value.unit == "m" and reading.kind == "depth" and value.number is not None:
            value, text = run.in_camera(value, text, reading)
        return reply, value, text, probability

    def locate(
        self, picture: PictureSource | Picture, what: str, three_d: bool = False, camera: CameraLike | None = None
    ) -> LocateAnswer:
        """Where every instance of `what` is: visible boxes in pixels, with `three_d` also 3D boxes in the answer's camera."""
        reading = read_question(what)
        run = Run(self.backend, load_picture_of(picture), camera, reading.language)
        parsed, objects = run.boxes("locate", prompts.locate(reading.text, reading.language))
        objects = self._widened(run, objects)
        absent = not objects and not parsed.problems
        if three_d and not absent:
            objects = run.with_3d(objects, "locate_3d", prompts.locate_3d(reading.text, reading.language))
            objects = self._asked_again(run, objects, reading)
        return LocateAnswer(reading.text, reading.language, objects, absent, run.camera, three_d, run.provenance())

    def scene(self, picture: PictureSource | Picture, camera: CameraLike | None = None, language: Language = "en") -> Scene:
        """Everything in the picture with 2D and 3D boxes, pairwise relations, supports and the camera; labels in `language`."""
        loaded = load_picture_of(picture)
        return scene_of(loaded, self.locate(loaded, EVERYTHING[language], three_d=True, camera=camera))

    def watch(
        self, source: VideoSource, question: str, camera: CameraLike | None = None, **options: Unpack[WatchOptions]
    ) -> WatchAnswer:
        """Answer a question about a video; see `deixis.spatial.video.watch.watch` for the options."""
        from deixis.spatial.video.watch import watch  # which asks this class, and so stands below it

        return watch(self, source, question, camera, **options)

    def _asked_again(self, run: Run, objects: tuple[FoundObject, ...], reading: Reading) -> tuple[FoundObject, ...]:
        """Objects left without a 3D box, asked for by their own label (measured on nano: that fills two gaps of three)."""
        found = list(objects)
        for label in dict.fromkeys(item.label for item in objects if item.box_3d is None and item.label != reading.text):
            # All of that label, so that none is given the box of its twin.
            alike = [i for i, item in enumerate(found) if item.label == label]
            filled = run.with_3d(tuple(found[i] for i in alike), "locate_3d", prompts.locate_3d(label, reading.language))
            for i, item in zip(alike, filled, strict=True):
                found[i] = item
        return tuple(found)

    def _widened(self, run: Run, objects: tuple[FoundObject, ...]) -> tuple[FoundObject, ...]:
        """The objects with intervals that hold what they say they hold."""
        sides = (run.picture.width, run.picture.height) * 2
        found = []
        for item in objects:
            if item.interval_px is not None:
                x1, y1, x2, y2 = (
                    self.calibration.interval(low, at, high, side)
                    for (low, high), at, side in zip(item.interval_px, item.box_px, sides, strict=True)
                )
                item = replace(item, interval_px=(x1, y1, x2, y2))
            found.append(item)
        return tuple(found)

    def _evidence(self, run: Run, reading: Reading) -> tuple[tuple[FoundObject, ...], float | None]:
        """The objects that the answer speaks of; and the probability of the empty list where the model says there are none."""
        parsed, objects = run.boxes("evidence", prompts.evidence(reading.text, reading.language))
        if not objects and not parsed.problems:
            return (), mean_probability(run.last, [(0, len(run.last.text))]) or 0.5
        objects = self._widened(run, objects)
        if reading.needs_depth or (reading.kind == "hidden" and len(objects) > 1):
            objects = run.with_3d(objects, "evidence_3d", prompts.evidence_3d(reading.text, reading.language))
        return objects, None


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
