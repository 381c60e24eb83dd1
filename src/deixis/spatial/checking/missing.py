"""Whether all that a question takes for granted is there: what the model's words, its boxes and further looks say.

Knows the names in a question and ways to look for one. Does not know what the readings are worth (calibration.py). Every opinion
here is on the claim that something is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deixis.backends import Completion
from deixis.spatial.answer import FoundObject
from deixis.spatial.checking.calibration import MOST_LOG_ODDS, Opinion, log_odds_of
from deixis.spatial.checking.claims import match_label
from deixis.spatial.checking.confidence import word_masses
from deixis.spatial.checking.second_look import (
    PLAUSIBLE,
    in_other_language,
    noun_of,
    opinion_on,
    spoken_of,
    tells,
    zoomed,
)
from deixis.spatial.language.reading import Reading
from deixis.spatial.language.rewording import exists_reworded
from deixis.spatial.language.translation import named_in
from deixis.spatial.run import Run

_AT_ONCE = frozenset({"words", "geometry", "named", "score"})
MOST_NAMES = 3  # as many as any question that is understood
MOST_LOOKS = MOST_NAMES + 3  # in the other language, with a translation before it; a crop


def weights_of(missing: Iterable[str]) -> str:
    """The name of the weights for opinions that came about in these ways."""
    return "absent" if set(missing) <= _AT_ONCE else "absent, seen again"


def missing_of(
    run: Run, reading: Reading, reply: Completion, objects: tuple[FoundObject, ...], nothing_found: float | None
) -> tuple[Opinion, ...]:
    """What is known without asking again."""
    masses = word_masses(reply)
    words = Opinion("words", reading.text, reply.text.strip(), log_odds_of(masses["absent"]))
    if not objects and nothing_found is None:
        return (words,)
    least = 3 if reading.relation == "between" else 2 if reading.kind == "relation" else 1
    needed = max(least, min(len(named_in(reading.text, reading.language, run.backend.card.words)), MOST_NAMES))
    if len(objects) < needed:
        there = Opinion("geometry", "", f"{len(objects)} of {needed} found", PLAUSIBLE if objects else MOST_LOG_ODDS)
        return words, there
    strange = sum(not _named(item.label, reading) for item in objects[:needed])
    named = Opinion("named", "", f"{strange} found of another name", PLAUSIBLE if strange else -PLAUSIBLE)
    scores = [item.score for item in objects[:needed] if item.score is not None]
    score = [Opinion("score", "", f"{min(scores):.2f}", -log_odds_of(min(scores)))] if scores else []
    return words, Opinion("geometry", "", "all found", -PLAUSIBLE), named, *score


def looked_for(run: Run, reading: Reading, objects: Sequence[FoundObject]) -> tuple[Opinion, ...]:
    """Each name asked for by itself; the likeliest to be missing in the other language too, and in a crop where it would be.

    The question itself about the picture in a mirror told nothing more (fitted on nano: a weight of 0).
    """
    found: list[Opinion] = []
    asked = {
        name: opinion_on(run, exists_reworded((name,), reading.language), reading.language)
        for name in _names(run, reading, objects)
    }
    if told := {name: one for name, one in asked.items() if tells(one)}:
        name = min(told, key=lambda name: told[name].log_odds)
        found.append(told[name])
        if (abroad := in_other_language(run, (name,), exists_reworded, reading.language)) is not None:
            found.append(abroad)
        place = match_label(name, objects)
        view = None if place is None else zoomed(run, [objects[place]])
        if view is not None:
            found.append(opinion_on(run, exists_reworded((name,), reading.language), reading.language, view))
    return tuple(Opinion(one.how, one.asked, one.said, -one.log_odds) for one in filter(tells, found))


def _names(run: Run, reading: Reading, objects: Sequence[FoundObject]) -> tuple[str, ...]:
    """What the question names, where the model's words are known; else what it found of it."""
    named = named_in(reading.text, reading.language, run.backend.card.words)
    return (named or tuple(dict.fromkeys(item.label for item in objects if spoken_of(item.label, reading))))[:MOST_NAMES]


def _named(label: str, reading: Reading) -> bool:
    """Whether the question speaks of a thing so called, or at least of no other of that noun."""
    plain, noun = reading.text.lower().replace("的", ""), noun_of(label, reading.language)
    if label.lower().replace("的", "") in plain or noun not in plain:
        return True
    before = plain[: plain.find(noun)].rstrip()
    if reading.language == "zh":
        return not before.endswith("色")
    return not before or before.split()[-1] in ("the", "a", "an", "any")
