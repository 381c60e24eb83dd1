"""What Deixis answers with: objects, claims and answers, and their JSON (the contract of `ask --json` and `locate --json`).

Knows the fields. Does not know how they were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from deixis.geometry import Box3D, Camera
from deixis.geometry.relations import Margin
from deixis.spatial.checking.calibration import Opinion
from deixis.spatial.grounding.parse import Problem
from deixis.spatial.language.prompts import Language
from deixis.spatial.places.free_space import Place

Interval = tuple[float, float]
Intervals = tuple[Interval, Interval, Interval, Interval]
BoxPx = tuple[float, float, float, float]

_VERDICTS: Mapping[str, Mapping[Language, str]] = {
    "absent": {"en": "absent", "zh": "没有"},
    "unsure": {"en": "unsure", "zh": "不确定"},
}
_UNSURE_CHARACTERS = 80  # a reply that answers nothing is shown no longer than this


def as_percent(probability: float) -> str:
    """A probability for people; nothing that a model says is 100% sure."""
    return ">99%" if probability > 0.99 else f"{probability:.0%}"


@dataclass(frozen=True)
class FoundObject:
    """An object that an answer speaks of. Pixels are those of the original picture.

    `score` is the mean probability of the tokens that spell its box; `interval_px` holds, for each of x1, y1, x2, y2, where 90%
    of the probability of its digits lies. Both are None where the model gives no probabilities. `box_3d` and `depth_m` (its
    centre's z) hold for the answer's camera.
    """

    label: str
    box_px: BoxPx
    score: float | None = None
    interval_px: Intervals | None = None
    box_3d: Box3D | None = None
    depth_m: float | None = None
    visible_fraction: float | None = None

    def to_json(self) -> dict[str, Any]:
        """`box_3d` as nine numbers in Qwen3-VL's order: metres and half-turns, in the answer's camera."""
        row: dict[str, Any] = {
            "label": self.label,
            "box_px": [round(value, 2) for value in self.box_px],
            "score": None if self.score is None else round(self.score, 4),
            "interval_px": None if self.interval_px is None else [[round(v, 2) for v in pair] for pair in self.interval_px],
        }
        if self.box_3d is not None:
            row["box_3d"] = [round(value, 4) for value in self.box_3d.to_qwen()]
        if self.depth_m is not None:
            row["depth_m"] = round(self.depth_m, 4)
        if self.visible_fraction is not None:
            row["visible_fraction"] = round(self.visible_fraction, 4)
        return row


@dataclass(frozen=True)
class Claim:
    """One thing that the answer says, as the model says it and as geometry over the located boxes has it.

    `geometry` is "undecided" where the boxes cannot tell, and `agrees` is then None. `margin` is by how much the relation holds.
    `subject` and `others` index the answer's objects.
    """

    claim: str
    model: str
    geometry: str
    agrees: bool | None
    frame: Literal["camera", "object", "viewer"] = "camera"
    margin: Margin | None = None
    subject: int | None = None
    others: tuple[int, ...] = ()
    interval_m: Interval | None = None  # where 90% of what geometry measures lies
    probability: float | None = None  # of the claim, all readings together
    looked_again: tuple[Opinion, ...] = ()  # what else was asked about it

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "claim": self.claim,
            "frame": self.frame,
            "model": self.model,
            "geometry": self.geometry,
            "agrees": self.agrees,
        }
        if self.margin is not None:
            row["margin"] = {"value": round(self.margin.value, 4), "unit": self.margin.unit}
        if self.interval_m is not None:
            row["interval_m"] = [round(edge, 4) for edge in self.interval_m]
        if self.probability is not None:
            row["probability"] = round(self.probability, 4)
        if self.looked_again:
            row["looked_again"] = [opinion.to_json() for opinion in self.looked_again]
        return row


@dataclass(frozen=True)
class Provenance:
    """Which model answered, why that one, what to know of it, and how long each step took."""

    model: str
    model_why: str
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    model_metres: bool = False  # metric figures hold for the model's own camera, which is not known

    def noted(self, *notes: str) -> Provenance:
        """The same with more to know of it."""
        return replace(self, notes=(*self.notes, *notes))

    def with_load_ms(self, load_ms: float) -> Provenance:
        """`load` before the other steps; `total` is of the question alone."""
        return replace(self, timings_ms={"load": load_ms, **self.timings_ms})

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "model": self.model,
            "model_why": self.model_why,
            "timings_ms": {step: round(value, 1) for step, value in self.timings_ms.items()},
        }
        if self.model_metres:
            row["metres"] = "model"
        if self.notes:
            row["note"] = "; ".join(self.notes)
        if self.problems:
            row["problems"] = [vars(problem) for problem in self.problems]
        return row


@dataclass(frozen=True)
class Answer:
    """The answer to a question about one picture.

    `verdict` is yes, no, absent, unsure, or the value that was asked for ("3", "0.85 m", "red cup"). `confidence` (0 to 1) weighs
    the model's words against geometry and against what it said when asked again; where `calibrated`, by weights that were fitted
    to this very model on pictures with exact truth, and of answers with confidence 0.8 about 80% are right.
    """

    question: str
    language: Language
    answer: str
    verdict: str
    confidence: float
    objects: tuple[FoundObject, ...]
    claims: tuple[Claim, ...]
    camera: Camera
    provenance: Provenance
    reasoning: str = ""
    calibrated: bool = False
    places: tuple[Place, ...] = ()  # where a thing may stand, the roomiest first

    @property
    def headline(self) -> tuple[str, str]:
        """What the model said, and where the verdict is another, the verdict in the question's language; else ""."""
        said = self.answer
        if self.verdict == "unsure":
            said = " ".join(said.split())
            said = said if len(said) <= _UNSURE_CHARACTERS else said[: _UNSURE_CHARACTERS - 1] + "…"
        verdict = _VERDICTS.get(self.verdict, {}).get(self.language, "")
        if not said:
            return verdict or self.verdict, ""
        return said, "" if verdict.lower() in (said.lower(), "") or said.lower() == self.verdict else verdict

    def with_load_ms(self, load_ms: float) -> Answer:
        """The same answer with the time that the model took to load among its timings."""
        return replace(self, provenance=self.provenance.with_load_ms(load_ms))

    def with_camera(self, camera: Camera) -> Answer:
        """The same answer in another camera of the same picture, without asking the model again (see reproject.py)."""
        from deixis.spatial.places.reproject import in_camera  # which reads answers, and so stands below them

        return in_camera(self, camera)

    def to_json(self) -> dict[str, Any]:
        """The contract's fields, and after them question, why this model, notes, problems and reasoning, where there are any."""
        row = {
            "answer": self.answer,
            "verdict": self.verdict,
            "confidence": round(self.confidence, 4),
            "calibrated": self.calibrated,
            "objects": [item.to_json() for item in self.objects],
            "claims": [claim.to_json() for claim in self.claims],
            "camera": self.camera.to_json(),
            **self.provenance.to_json(),
            "question": self.question,
        }
        if self.places:
            row["places"] = [place.to_json() for place in self.places]
        return row | ({"reasoning": self.reasoning} if self.reasoning else {})


@dataclass(frozen=True)
class LocateAnswer:
    """Where something is. `absent` is True where the model says that there is none; an unreadable reply is not "absent"."""

    what: str
    language: Language
    objects: tuple[FoundObject, ...]
    absent: bool
    camera: Camera
    three_d: bool
    provenance: Provenance

    def with_load_ms(self, load_ms: float) -> LocateAnswer:
        """The same answer with the time that the model took to load among its timings."""
        return replace(self, provenance=self.provenance.with_load_ms(load_ms))

    def with_camera(self, camera: Camera) -> LocateAnswer:
        """The same objects in another camera of the same picture, without asking the model again (see reproject.py)."""
        from deixis.spatial.places.reproject import in_camera  # which reads answers, and so stands below them

        return in_camera(self, camera)

    def to_json(self) -> dict[str, Any]:
        """`objects`, `absent`, `model`, `timings_ms`; with 3D boxes also the `camera` that they hold for."""
        row: dict[str, Any] = {"objects": [item.to_json() for item in self.objects], "absent": self.absent}
        if self.three_d:
            row["camera"] = self.camera.to_json()
        return row | self.provenance.to_json() | {"what": self.what}
