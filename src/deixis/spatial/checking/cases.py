"""What an answer claims that can be looked at again: the claim, what was said of it so far, and what else may be asked.

Knows kinds of questions. Does not know when it is worth asking again (verify.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from deixis.backends import Completion, tokens_under
from deixis.geometry import RELATIONS, Relation
from deixis.spatial.answer import Claim, FoundObject
from deixis.spatial.checking.calibration import Opinion, log_odds_of
from deixis.spatial.checking.claims import claims_of, match_label
from deixis.spatial.checking.confidence import odds_between, word_masses
from deixis.spatial.checking.second_look import (
    WORDS_TOKENS,
    SecondView,
    geometry_of,
    mirrored,
    odds_of,
    overlap_of,
    spoken_of,
    tells,
    words_opinion,
    zoomed,
)
from deixis.spatial.language import prompts
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import Reading
from deixis.spatial.language.rewording import (
    Retell,
    Reworded,
    hidden_reworded,
    hidden_straight,
    relation_reworded,
    relation_straight,
    what_hides,
    which_extreme,
)
from deixis.spatial.language.values import Value, parse_value
from deixis.spatial.run import Run

_WAVERS = math.log(0.05)
WORDS = {"en": {"yes": "Yes", "no": "No", "absent": "absent"}, "zh": {"yes": "是", "no": "否", "absent": "没有"}}


@dataclass(frozen=True)
class Case:
    """A claim that other questions can speak to: `yes` against `no`, what was said of it so far, and what else can be asked.

    `retell` asks it straight of things of other names than `names`: those that they have in the other language.
    """

    kind: str
    language: Language
    yes: str
    no: str
    opinions: tuple[Opinion, ...]
    claims: tuple[Claim, ...]
    questions: tuple[Reworded, ...]
    view: SecondView | None
    about_view: tuple[Reworded, ...]
    names: tuple[str, ...] = ()
    retell: Retell | None = None


def case_of(
    run: Run, reading: Reading, reply: Completion, value: Value, objects: tuple[FoundObject, ...], nothing_found: float | None
) -> Case | None:
    """The claim in an answer, if it is one that can be asked about in other words."""
    if value.kind == "unsure":
        return None
    if reading.kind == "exists" and not reading.asks_for_a_name:
        return _exists(reading, reply, objects, nothing_found)
    if reading.kind == "hidden":
        return _hidden(run, reading, reply, value, objects)
    relation = reading.relation
    if reading.kind != "relation" or relation not in RELATIONS:
        return None
    if reading.asks_for_a_name and len(objects) == 2 and all(spoken_of(item.label, reading) for item in objects):
        return _two_way(run, reading, relation, reply, value, objects)
    if relation in ("nearest", "farthest"):
        return _open_choice(run, reading, reply, value, objects, (), which_extreme(relation, reading.language))
    needed = 3 if relation == "between" else 2
    if len(objects) < needed or reading.asks_for_a_name:
        return None
    members = reading.roles([item.label for item in objects[:needed]])
    labels = [objects[i].label for i in members]
    if len(set(labels)) < needed:
        return None  # twins: a label does not tell which of them is meant
    (claim, *_) = claims_of(reading, Value("yes"), objects) or (None,)
    opinions = (words_opinion(reading, reply), *geometry_of(claim))
    questions = relation_reworded(relation, labels, reading.language)
    return Case(
        _FAMILIES.get(relation, relation),
        reading.language,
        WORDS[reading.language]["yes"],
        WORDS[reading.language]["no"],
        opinions,
        _restated(claim, value),
        questions,
        mirrored(run),
        questions,
        tuple(labels),
        partial(relation_straight, relation),
    )


_FAMILIES = {
    "left_of": "side",
    "right_of": "side",
    "in_front_of": "depth order",
    "behind": "depth order",
    "nearest": "depth order",
    "farthest": "depth order",
    "on": "support",
    "under": "support",
    "above": "support",
    "below": "support",
}


def _two_way(
    run: Run, reading: Reading, relation: Relation, reply: Completion, value: Value, objects: tuple[FoundObject, ...]
) -> Case | None:
    """ "Which is further left, A or B?": the claim is that the one which the model named first in its list is."""
    if objects[0].label == objects[1].label:
        return None
    # From the side of what the model chose, so that geometry and questions speak of its choice.
    chosen = match_label(value.label, objects) if value.kind == "label" else 0
    if chosen is None:
        return None
    a, b = objects[chosen].label, objects[1 - chosen].label
    (claim, *_) = claims_of(reading, Value("label", a), objects) or (None,)
    words = Opinion("words", reading.text, reply.text.strip(), odds_between(reply, a, b))
    questions = relation_reworded(relation, (a, b), reading.language)
    view = mirrored(run)
    return Case(
        f"{_FAMILIES.get(relation, relation)}, which",
        reading.language,
        a,
        b,
        (words, *geometry_of(claim)),
        () if claim is None else (claim,),
        questions,
        view,
        questions[-2:],
        (a, b),
        partial(relation_straight, relation),
    )


def _hidden(run: Run, reading: Reading, reply: Completion, value: Value, objects: tuple[FoundObject, ...]) -> Case | None:
    """Is A hidden (by B)? What hides A?"""
    if not objects:
        return None
    if reading.asks_for_a_name:
        first = objects[0].label
        return _open_choice(run, reading, reply, value, objects, (first,), what_hides(first, reading.language))
    things = objects[:2] if len(objects) == 1 or reading.hidden_by else objects[1::-1]
    (claim, *_) = claims_of(reading, Value("yes"), objects) if len(things) == 2 else (None,)
    labels = [item.label for item in things]
    questions = hidden_reworded(labels, reading.language)
    return Case(
        "hidden by" if len(things) == 2 else "hidden",
        reading.language,
        WORDS[reading.language]["yes"],
        WORDS[reading.language]["no"],
        (words_opinion(reading, reply), *geometry_of(claim), *overlap_of(things)),
        _restated(claim, value),
        questions,
        zoomed(run, things) or mirrored(run),
        questions,
        tuple(labels),
        hidden_straight,
    )


def _open_choice(
    run: Run,
    reading: Reading,
    reply: Completion,
    value: Value,
    objects: tuple[FoundObject, ...],
    hidden: tuple[str, ...],
    other_words: Sequence[str],
) -> Case | None:
    """ "What is nearest?", "What hides A?": what the model names, against what it names when asked in other words."""
    if value.kind != "label":
        return None
    first = reply.text.strip().rstrip(".。")
    said = []
    for question in other_words:
        again = run.complete("ask_again", prompts.ask(question, reading.language), WORDS_TOKENS).text.strip().rstrip(".。")
        if parse_value(again, reading.language).kind == "label":
            said.append(again)
    votes = sum(label == first for label in said) + 0.5
    rival = next((label for label in said if label != first), None) or _second_choice(reply, first)
    how_often = Opinion("votes", other_words[0], ", ".join(said), math.log(votes / (len(said) + 1 - votes)))
    joint = math.exp(min(sum(t.logprob for t in tokens_under(reply.tokens, value.span)), 0.0)) if reply.tokens else 0.5
    words = Opinion("words", reading.text, first, log_odds_of(joint))
    claims = claims_of(reading, value, objects)
    opinions = (words, *filter(tells, [how_often]), *geometry_of(claims[0] if claims else None))
    questions: tuple[Reworded, ...] = ()
    names: tuple[str, ...] = ()
    retell: Retell | None = None
    kind = "what hides" if hidden else "which of all"
    if rival is not None:
        if hidden:
            for_it, against = (hidden_reworded((*hidden, label), reading.language) for label in (first, rival))
            questions = (*for_it, *(replace(one, how="opposite", denies=True) for one in against))
            names, retell = (*hidden, first), hidden_straight
        elif reading.relation is not None:
            relation = cast(Relation, reading.relation)
            questions = relation_reworded(relation, (first, rival), reading.language)
            names, retell = (first, rival), partial(relation_straight, relation)
        kind += ", two named"
    return Case(
        kind,
        reading.language,
        first,
        rival or first,
        opinions,
        claims,
        questions,
        mirrored(run) if rival else None,
        questions[-3:],
        names,
        retell,
    )


def _second_choice(reply: Completion, said: str) -> str | None:
    """The likeliest other end of what was said: "black plant" where it said "black phone" and wavered; None where it did not."""
    found: list[tuple[float, str]] = []
    before = ""
    for token in reply.tokens:
        if before.strip():
            found += [(p, before + other) for other, p in token.top if other != token.text and other.strip() and p > _WAVERS]
        before += token.text
    return next((label.strip() for _, label in sorted(found, reverse=True) if label.strip() != said), None)


def _exists(reading: Reading, reply: Completion, objects: tuple[FoundObject, ...], nothing_found: float | None) -> Case | None:
    if objects:
        seen = log_odds_of(max(item.score or 0.5 for item in objects))
        opinions = [Opinion("geometry", "", "yes", max(seen, 0.0))]
    elif nothing_found is not None:
        opinions = [Opinion("geometry", "", "no", -max(log_odds_of(nothing_found), 0.0))]
    else:
        opinions = []
    (claim, *_) = claims_of(reading, Value("yes"), objects) or (None,)
    masses = word_masses(reply)
    value = Value("yes" if masses["yes"] >= 0.5 else "no")
    words = Opinion("words", reading.text, reply.text.strip(), odds_of(masses["yes"], masses["no"] + masses["absent"]))
    yes, no = (WORDS[reading.language][word] for word in ("yes", "no"))
    return Case("exists", reading.language, yes, no, (words, *opinions), _restated(claim, value), (), None, ())


def _restated(claim: Claim | None, value: Value) -> tuple[Claim, ...]:
    """The claim as the model's own words have it."""
    if claim is None:
        return ()
    said = value.kind if value.kind in ("yes", "no") else claim.model if value.kind == "label" else value.kind
    agrees = None if claim.agrees is None or claim.geometry not in ("yes", "no") else claim.geometry == said
    return (replace(claim, model=said, agrees=agrees),)
