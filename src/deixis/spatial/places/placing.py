"""Answers to "where can I put it?" and "can it go there?": who is meant, what they stand on, and what free space says.

Knows readings, a run and free places. Does not know geometry's details (free_space.py) nor how anything was located.

Geometry answers; a model's own yes or no is kept beside it in the claim. What is assumed of the surface is in the answer's note.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from deixis.geometry import Box3D, Margin
from deixis.geometry.arrangement import resting_m
from deixis.spatial.answer import Answer, Claim, FoundObject
from deixis.spatial.language import prompts
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import Reading
from deixis.spatial.language.relation_words import relation_in
from deixis.spatial.language.values import parse_value
from deixis.spatial.places.doubts import GUESSED, SpaceDoubt
from deixis.spatial.places.free_space import BEYOND_M, NOT_AT_ALL, SURE, Place, Surface, Zone, amid, beside, free_places, near
from deixis.spatial.run import Run
from deixis.spatial.scene import EVERYTHING

_SURFACE = {
    "en": re.compile(r"\bon (?:the |this |that |my )((?:\w+ )?(?:table|desk|floor|shelf|counter|cabinet|bed|carpet))\b", re.I),
    "zh": re.compile(r"(桌子?|书桌|餐桌|地板|地面|地毯|架子?|柜子?|床)(?:上|面)"),
}
_SIDES = ("left_of", "right_of", "in_front_of", "behind")
_TEXT: dict[str, dict[Language, str]] = {
    "here": {"en": "{a} fits at ({x:.0f}, {y:.0f}) px, {c:.0f} cm from the nearest thing",
             "zh": "{a}可以放在({x:.0f}, {y:.0f})像素处,离最近的物体{c:.0f}厘米"},
    "free": {"en": "free at ({x:.0f}, {y:.0f}) px, {c:.0f} cm from the nearest thing",
             "zh": "({x:.0f}, {y:.0f})像素处是空的,离最近的物体{c:.0f}厘米"},
    "yes": {"en": "Yes: at ({x:.0f}, {y:.0f}) px, with {c:.0f} cm to spare",
            "zh": "能:放在({x:.0f}, {y:.0f})像素处,还余{c:.0f}厘米"},
    "no": {"en": "No: {c:.0f} cm too little", "zh": "不能:差{c:.0f}厘米"},
    "perhaps": {"en": "perhaps at ({x:.0f}, {y:.0f}) px: nothing stands there, but how far the surface reaches is not known",
                "zh": "也许可以放在({x:.0f}, {y:.0f})像素处:那里没有物体,但不知道台面延伸到哪里"},
    "full": {"en": "no place in what is seen of the surface is free for {a}", "zh": "所见的台面上没有能放{a}的空处"},
    "tight": {"en": "too tight to tell: {c:+.0f} cm to spare", "zh": "间隙太小,无法判断:余{c:+.0f}厘米"},
    "edge": {"en": "there may be room, but not on what is known of the surface", "zh": "可能有空处,但不在已知的台面范围内"},
    "absent": {"en": "absent: not everything that the question names was found", "zh": "没有:未找到问题提到的所有物体"},
    "size": {"en": "unsure: how large it is, is not known", "zh": "不确定:不知道它的大小"},
    "flat": {"en": "unsure: the things on the surface could not be located in space",
             "zh": "不确定:未能得到台面上物体的三维位置"},
    "many": {"en": "unsure: several things are meant: {a}", "zh": "不确定:指代不明:{a}"},
    "where": {"en": "unsure: this place cannot be worked out from boxes", "zh": "不确定:无法由边界框推算这个位置"},
    "hull": {"en": "the surface is taken to reach {b:.0f} cm beyond the things that stand on it, and no farther",
             "zh": "假设台面只延伸到其上物体所占范围之外{b:.0f}厘米"},
    "alone": {"en": "unsure: nothing else stands on the surface that would tell how far it reaches",
              "zh": "不确定:台面上没有其他物体,不知道台面延伸到哪里"},
    "box": {"en": "the surface is taken to be the top of its 3D box", "zh": "假设台面为其3D框的顶面"},
    "fits": {"en": "{a} can stand there without touching anything", "zh": "{a}放在那里不碰到任何物体"},
    "thing": {"en": "it", "zh": "它"},
}  # fmt: skip


@dataclass(frozen=True)
class _Roles:
    """Indices of the objects that a question names: what is to be placed (several where the name fits several), and by what."""

    subject: tuple[int, ...]
    anchors: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Asked:
    """A question with all that was located for it. `subject` is None for "where is free space?"."""

    run: Run
    reading: Reading
    objects: tuple[FoundObject, ...]
    subject: int | None = None
    anchors: tuple[int, ...] = ()
    surface: Surface | None = None
    doubt: SpaceDoubt = GUESSED

    def text(self, key: str, **values: object) -> str:
        name = _TEXT["thing"][self.reading.language] if self.subject is None else self.objects[self.subject].label
        return _TEXT[key][self.reading.language].format(**{"a": name, **values})

    def unanswered(self, why: str, **values: object) -> Answer:
        """Absent or unsure, for want of what geometry needs."""
        return self._answer(self.text(why, **values), "absent" if why == "absent" else "unsure", 0.5)

    def answered(self, key: str, verdict: str, confidence: float, places: tuple[Place, ...]) -> Answer:
        """What free space says; for "can it go there?" with the model's own word beside it."""
        x, y = places[0].point_px if places else (0.0, 0.0)
        room_m = places[0].clearance_m if places else 0.0
        text = self.text(key, x=x, y=y, c=-100 * room_m if key == "no" else 100 * room_m)
        claims: tuple[Claim, ...] = ()
        reasoning = ""
        if self.reading.kind == "fit":
            prompt = prompts.ask(self.reading.text, self.reading.language)
            reply = self.run.complete("ask", prompt, 64)
            reasoning, said = reply.reasoning, parse_value(reply.text, self.reading.language).kind
            geometry = "undecided" if verdict == "unsure" else verdict
            agrees = said == geometry if said in ("yes", "no") and verdict != "unsure" else None
            margin = Margin(room_m, "m", {"yes": True, "no": False}.get(verdict)) if places else None
            claims = (Claim(self.text("fits"), said, geometry, agrees, margin=margin, subject=self.subject, others=self.anchors),)
        found = replace(self._answer(text, verdict, confidence), claims=claims, places=places, reasoning=reasoning)
        assumed = () if self.surface is None else (self.text(self.surface.known_by, b=100 * BEYOND_M),)
        return replace(found, provenance=found.provenance.noted(*assumed))

    def _answer(self, text: str, verdict: str, confidence: float) -> Answer:
        run = self.run
        return Answer(
            question=self.reading.text,
            language=self.reading.language,
            answer=text,
            verdict=verdict,
            confidence=confidence,
            objects=self.objects,
            claims=(),
            camera=run.camera,
            provenance=run.provenance(),
        )


def answer(run: Run, reading: Reading, doubt: SpaceDoubt = GUESSED) -> Answer:
    """The answer to a question of kind "free_space" or "fit". Its confidence was never held against truth: not calibrated."""
    everything = EVERYTHING[run.language]
    _, objects = run.boxes("locate", prompts.locate(everything, run.language))
    if objects:
        objects = run.with_3d(objects, "locate_3d", prompts.locate_3d(everything, run.language))
    asked = _Asked(run, reading, objects, doubt=doubt)
    relation = relation_in(reading.text, reading.language)
    roles = _roles(reading, [item.label for item in objects], None if relation is None else relation[1])
    if relation is not None and not roles.anchors and _SURFACE[reading.language].search(reading.text):
        relation = None  # "on the table" names the surface
    if reading.kind == "fit" and not roles.subject:
        return asked.unanswered("size" if roles.anchors else "absent")
    if relation is not None and not roles.anchors:
        return asked.unanswered("absent")
    for group in roles.anchors:
        if len(group) > 1:
            return asked.unanswered("many", a=", ".join(objects[i].label for i in group))
    boxes = {i: item.box_3d for i, item in enumerate(objects) if item.box_3d is not None}
    anchors = tuple(group[0] for group in roles.anchors)
    if not boxes or any(i not in boxes for i in (*anchors, *roles.subject)):
        return asked.unanswered("flat")
    # Of several things of that name the one that needs most room, so that any of them will do.
    subject = max(roles.subject, key=lambda i: boxes[i].size_m[0] * boxes[i].size_m[2], default=None)
    named = None if relation is None else relation[0]
    surface, base = _surface(run, reading, boxes, anchors[0] if named == "on" else None)
    surface = surface.grown()
    zone, known = _zone(named, surface, [boxes[i] for i in anchors])
    asked = replace(asked, subject=subject, anchors=anchors, surface=surface)
    if not known:
        return asked.unanswered("where")
    if surface.known_by == "hull" and not set(boxes) - {subject}:
        return asked.unanswered("alone")
    return (_fit if reading.kind == "fit" else _free_space)(asked, surface, zone, boxes, base)


def _free_space(asked: _Asked, surface: Surface, zone: Zone | None, boxes: dict[int, Box3D], base: int | None) -> Answer:
    """In view, and not where it stands already."""
    camera, thing = asked.run.camera, None if asked.subject is None else boxes[asked.subject]
    others = [box for i, box in boxes.items() if i != base]
    hidden_by = tuple(item.box_px for i, item in enumerate(asked.objects) if i != base)
    found = free_places(surface, camera, others, thing, hidden_by=hidden_by, zone=zone, doubt=asked.doubt)
    sure = tuple(place for place in found if place.probability >= SURE)
    if sure:
        x, y = sure[0].point_px
        return asked.answered("free" if thing is None else "here", f"{x:.0f},{y:.0f}", sure[0].probability, sure)
    if surface.known_by == "box":
        full = not found or found[0].probability <= NOT_AT_ALL
        return asked.answered("full", "absent" if full else "unsure", 0.5, found[:1])
    # The middle over what is known of the surface, the rest beyond: offered, but not vouched for.
    over = _both(zone, lambda at, _: surface.inset_m(at, 0 * at[:1]) >= 0)
    perhaps = free_places(
        surface, camera, others, thing, hidden_by=hidden_by, zone=over, known_only=False, count=1, doubt=asked.doubt
    )
    if perhaps and perhaps[0].probability >= SURE:
        return asked.answered("perhaps", "unsure", 0.5, perhaps)
    return asked.answered("full", "unsure", 0.5, found[:1])


def _fit(asked: _Asked, surface: Surface, zone: Zone | None, boxes: dict[int, Box3D], base: int | None) -> Answer:
    """Yes where there is surely room on what is known of the surface, no where there is none however far it reaches."""
    camera, subject = asked.run.camera, asked.subject
    others = [box for i, box in boxes.items() if i not in (base, subject)]
    thing = None if subject is None else boxes[subject]
    found = free_places(surface, camera, others, thing, zone=zone, in_view=False, doubt=asked.doubt)
    if found and found[0].probability >= SURE:
        return asked.answered("yes", "yes", found[0].probability, tuple(p for p in found if p.probability >= SURE))
    beyond = surface.known_by == "hull"
    most = free_places(
        surface, camera, others, thing, zone=zone, known_only=not beyond, in_view=False, count=1, doubt=asked.doubt
    )
    if most and most[0].probability <= NOT_AT_ALL:
        return asked.answered("no", "no", 1 - most[0].probability, most)
    return asked.answered("tight" if most and most[0].probability < SURE else "edge", "unsure", 0.5, most)


def _surface(run: Run, reading: Reading, boxes: dict[int, Box3D], on: int | None) -> tuple[Surface, int | None]:
    """What the thing shall stand on, and which of the located things that is, if any.

    Named by the question ("on the book"); else what most things rest on; else a table that the model locates when asked for the
    one the question names; else the table under the things, known only where they stand.
    """
    if on is not None:
        return Surface.on_top_of(boxes[on]), on
    for i, base in boxes.items():
        resting = [k for k in boxes if k != i and resting_m(boxes[k], base) > 0]
        if len(resting) > 1 and 2 * len(resting) >= len(boxes) - 1:
            return replace(
                Surface.under([boxes[k] for k in resting]), outline_m=Surface.on_top_of(base).outline_m, known_by="box"
            ), i
    under = Surface.under(list(boxes.values()))
    if named := _SURFACE[reading.language].search(reading.text):
        for item in run.with_3d((), "surface", prompts.locate_3d(named[1], reading.language)):
            # It is one if it carries what was located: a model that knows no tables boxes anything.
            outline = None if item.box_3d is None else under.plane.footprint_m(item.box_3d)
            table = under if outline is None else replace(under, outline_m=outline, known_by="box")
            centers = under.plane.places_m([box.center_m for box in boxes.values()])
            if outline is not None and (table.inset_m(centers, centers[:1] * 0) > 0).mean() > 0.8:
                return table, None
    return under, None


def _zone(relation: str | None, surface: Surface, anchors: Sequence[Box3D]) -> tuple[Zone | None, bool]:
    """The zone that a relation names, and whether boxes can say where that is."""
    if relation is None or relation == "on":
        return None, True
    if relation in _SIDES:
        return beside(surface.plane, anchors[0], relation), True  # type: ignore[arg-type]
    if relation in ("next_to", "near"):
        return near(surface.plane, anchors[0]), True
    if relation == "between" and len(anchors) > 1:
        return amid(surface.plane, anchors[0], anchors[1]), True
    return None, False


def _both(first: Zone | None, second: Zone) -> Zone:
    return second if first is None else lambda at, footprint: first(at, footprint) & second(at, footprint)


def _roles(reading: Reading, labels: Sequence[str], relation_at: tuple[int, int] | None) -> _Roles:
    """Who is to be placed, and by whom, from where the question names them and the relation."""
    mentions = _mentions(reading.text, labels, reading.language)
    groups = [group for _, group in mentions]
    if relation_at is None:
        return _Roles(groups[0] if groups else (), ())
    starts = [span[0] for span, _ in mentions]
    if reading.language == "en":  # "Behind the lamp, is there room for the box?" names the place first
        inverted = bool(starts) and relation_at[0] < starts[0]
    else:  # "台灯后面放得下盒子吗?" as against "盒子能放在台灯后面吗?"
        inverted = bool(starts) and starts[-1] > relation_at[0]
    if len(groups) < 2:
        lone = groups[0] if groups else ()
        # Right before 后面, or after "behind": the place; the thing itself was not found.
        place = inverted if reading.language == "en" else bool(starts) and 0 <= relation_at[0] - mentions[0][0][1] <= 1
        return _Roles((), (lone,)) if place and lone else _Roles(lone, ())
    if inverted:
        groups = [groups[-1], *groups[:-1]]
    return _Roles(groups[0], tuple(groups[1:]))


def _mentions(text: str, labels: Sequence[str], language: Language) -> list[tuple[tuple[int, int], tuple[int, ...]]]:
    """Where the text names labels, in order, and which: by the whole label, else its noun unless a longer name stands there."""
    plain = text.lower()
    spans: dict[int, list[tuple[int, int]]] = {}  # end: (start, label's index)
    for i, label in enumerate(labels):
        label = label.lower().strip()
        noun = label.rpartition(" ")[2] if language == "en" else re.sub(r"^.{1,2}色的?", "", label)
        colored = label[: len(label) - len(noun)].strip()
        whole = rf"\b{re.escape(label)}\b" if language == "en" else rf"{re.escape(colored)}的?{re.escape(noun)}"
        match = re.search(whole, plain) or re.search(rf"\b{re.escape(noun)}\b" if language == "en" else re.escape(noun), plain)
        if match and noun:
            spans.setdefault(match.end(), []).append((match.start(), i))
    found = []
    for end in sorted(spans):
        start = min(at for at, _ in spans[end])
        found.append(((start, end), tuple(i for at, i in spans[end] if at == start)))
    return found
