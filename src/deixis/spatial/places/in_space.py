"""The steps of a question that geometry alone answers: find what it names, decide, set the model's own words beside.

Knows the steps. Does not know how geometry decides (see frames.py), nor how such questions are worded (see space_reading.py).
"""

from __future__ import annotations

from deixis.geometry import iou_px
from deixis.spatial.answer import Answer, Claim, FoundObject
from deixis.spatial.checking.claims import sentence
from deixis.spatial.checking.confidence import mean_probability
from deixis.spatial.language import prompts
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import Reading
from deixis.spatial.language.space_reading import SpaceQuestion
from deixis.spatial.language.values import Value, parse_value
from deixis.spatial.places.doubts import GUESSED, SpaceDoubt
from deixis.spatial.places.frame_words import WORDS, framed, metres, reason, whoever_looks
from deixis.spatial.places.frames import UNSURE, Outcome, decide
from deixis.spatial.places.variants import Things
from deixis.spatial.run import Run
from deixis.spatial.scene import EVERYTHING

WORDS_TOKENS = 64
SAME_IOU = 0.5  # a box that covers a named thing so well is that thing and hides nothing of it


def answer_in_space(run: Run, reading: Reading, asked: SpaceQuestion, doubt: SpaceDoubt = GUESSED) -> Answer:
    """Answer from located 3D boxes, which may be off by so much; the model's own words are asked for, and kept in the claim."""
    language = reading.language
    reply = run.complete("ask", prompts.ask(reading.text, language), WORDS_TOKENS)
    value = parse_value(reply.text, language, wants="number" if reading.kind == "distance" else "any")
    objects: dict[str, FoundObject] = {}
    outcome: Outcome | None = None
    for name in asked.names:
        found = named_thing(run, name, language)
        if isinstance(found, Outcome):
            # "Not there" is said before "not known", whichever was met first.
            outcome = found if outcome is None or found.verdict == "absent" else outcome
        else:
            objects[name] = found
    bystanders = _bystanders(run, objects, language) if asked.kind == "sight" and outcome is None else ()
    if outcome is None:
        boxes = {name: item.box_3d for name, item in objects.items() if item.box_3d is not None}
        others = [(item.label, item.box_3d) for item in bystanders if item.box_3d is not None]
        outcome = decide(asked, Things(boxes, others, run.backend.card.box_front, doubt), language)
    guessed = () if doubt.fitted else (WORDS["guessed"][language],)
    shown = (*objects.values(), *(item for item in bystanders if item.label in outcome.text))
    return Answer(
        question=reading.text,
        language=language,
        answer=outcome.text,
        verdict=outcome.verdict,
        confidence=outcome.confidence,
        objects=shown,
        claims=(_claim(asked, outcome, value, objects, language),),
        camera=run.camera,
        provenance=run.provenance().noted(*guessed),
        reasoning=reply.reasoning,
        calibrated=doubt.knows(asked.family) and outcome.geometry != "undecided" and outcome.verdict != "absent",
    )


def named_thing(run: Run, name: str, language: Language) -> FoundObject | Outcome:
    """The one thing of that name with its 3D box, or why there is none."""
    parsed, objects = run.boxes("locate", prompts.locate(name, language))
    if not objects and not parsed.problems:
        sure = mean_probability(run.last, [(0, len(run.last.text))]) or 0.5
        return Outcome("absent", WORDS["absent"][language], sure, "no")
    if len(objects) > 1:
        return Outcome("unsure", reason("many", language, name), UNSURE)
    placed = run.with_3d(objects, "locate_3d", prompts.locate_3d(name, language))
    if not placed or placed[0].box_3d is None:
        return Outcome("unsure", reason("no_box", language, name), UNSURE)
    return placed[0]


def _bystanders(run: Run, objects: dict[str, FoundObject], language: Language) -> tuple[FoundObject, ...]:
    """Everything else in the picture with its 3D box."""
    what = EVERYTHING[language]
    _, found = run.boxes("locate", prompts.locate(what, language))
    named = [item.box_px for item in objects.values()]
    others = tuple(item for item in found if all(iou_px(item.box_px, box) < SAME_IOU for box in named))
    return run.with_3d(others, "locate_3d", prompts.locate_3d(what, language)) if others else ()


def _claim(asked: SpaceQuestion, outcome: Outcome, value: Value, objects: dict[str, FoundObject], language: Language) -> Claim:
    if outcome.verdict == "absent":
        said = "no" if value.kind == "absent" else "yes"
        return Claim(sentence(language, "all"), said, "no", said == "no")
    labels = [name if name not in objects else objects[name].label for name in (asked.subject, asked.other or "")]
    labels[1] = labels[1] or whoever_looks(asked.frame, language)
    if asked.kind in ("distance", "offset"):
        claim = sentence(language, "apart", *labels, outcome.verdict if outcome.interval_m else "?")
        said = "undecided" if value.number is None or value.unit != "m" else metres(value.number, language)
    elif asked.kind == "within":
        claim = sentence(language, "beyond" if asked.beyond else "within", *labels, metres(asked.limit_m or 0.0, language))
        said = value.kind if value.kind in ("yes", "no") else "undecided"
    else:
        name = "sees" if asked.kind == "sight" else str(asked.relation)
        claim = sentence(language, name, *labels)
        said = value.label if asked.kind == "choice" else value.kind if value.kind in ("yes", "no") else "undecided"
    order = list(objects)
    interval = outcome.interval_m
    return Claim(
        framed(asked.frame, claim, language),
        said,
        outcome.geometry,
        _agrees(said, value, outcome),
        frame=asked.frame.kind,
        margin=outcome.margin,
        subject=order.index(asked.subject) if asked.subject in order else None,
        others=tuple(order.index(name) for name in (asked.other,) if name in order),
        interval_m=None if interval is None else (interval.low, interval.high),
    )


def _agrees(said: str, value: Value, outcome: Outcome) -> bool | None:
    """Whether the model's own words say the same; None where either says nothing."""
    if "undecided" in (said, outcome.geometry):
        return None
    if outcome.interval_m is not None and outcome.geometry not in ("yes", "no"):
        return value.number is not None and value.number in outcome.interval_m
    return said.lower() == outcome.geometry.lower()
