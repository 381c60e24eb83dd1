"""Looking again: every claim from several sides, fused into one answer with a confidence, or `unsure`.

Knows which other questions bear on a claim, and other views of the picture: mirrored, or a crop around what is asked about. Does
not know how the weights of the readings were found (see calibration.py), nor the wording of the questions (see rewording.py).

The cost is bounded: where it is in doubt whether all is there `MOST_LOOKS` (missing.py); at most `MOST_QUESTIONS` short questions
about the picture, which the model has read already (open choices are first asked in up to three other wordings); `MOST_ABROAD` in
the other language, the names to be translated first by a model that came without words; and where that leaves doubt at most
`MOST_ABOUT_VIEW` about another view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deixis.backends import Completion
from deixis.geometry import RELATIONS
from deixis.spatial.answer import Claim, FoundObject
from deixis.spatial.checking.calibration import Calibration, Opinion, log_odds_of, probability_of
from deixis.spatial.checking.cases import WORDS, Case, case_of
from deixis.spatial.checking.claims import claims_of
from deixis.spatial.checking.missing import looked_for, missing_of, weights_of
from deixis.spatial.checking.second_look import PLAUSIBLE, SecondView, in_other_language, opinion_on, tells
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import Reading
from deixis.spatial.language.values import Value
from deixis.spatial.run import Run

MOST_QUESTIONS = 5
MOST_ABOUT_VIEW = 4
MOST_ABROAD = 2
SURE = 0.98  # fused confidence at which nothing is looked at again


@dataclass(frozen=True)
class Weighed:
    """What was found for and against an answer.

    `opinions` are on the claim that `yes` is the answer; against it stands `no`, None where nothing else was considered. `kind`
    and `again` name the weights for them: again after a second view. `missing` are opinions on the claim that something that the
    question names is not there, where the question takes it for granted.
    """

    kind: str
    yes: str
    no: str | None
    opinions: tuple[Opinion, ...]
    missing: tuple[Opinion, ...] = ()
    again: bool = False
    claims: tuple[Claim, ...] = ()
    objects: tuple[FoundObject, ...] = ()

    @property
    def weights(self) -> str:
        kind = f"value, {self.kind}" if self.no is None else f"claim, {self.kind}"
        return f"{kind}, seen again" if self.again else kind


@dataclass(frozen=True)
class Verdict:
    """The answer's text (None: as the model said it), its verdict where that is not its text, and the confidence.

    `calibrated`: answers of this kind were held against truth.
    """

    text: str | None
    special: str | None
    confidence: float
    claims: tuple[Claim, ...]
    calibrated: bool = False


def judged(weighed: Weighed, calibration: Calibration, language: Language) -> Verdict:
    """The fused answer, `absent`, or `unsure` where neither answer is likely enough."""
    missing = 0.0
    if weighed.missing:
        missing = probability_of(_lost(weighed.missing, calibration))
    if missing > calibration.absent_above:
        there = tuple(replace(one, log_odds=-one.log_odds) for one in weighed.missing)
        told = _told(weighed, there, 1 - missing)
        return Verdict(WORDS[language]["absent"], "absent", missing, told, calibration.knows("absent"))
    known = calibration.knows(weighed.weights)
    holds = probability_of(calibration.fusion(weighed.weights).log_odds(weighed.opinions))
    claims = _told(weighed, weighed.opinions, holds)
    if weighed.no is None:
        likely = holds * (1 - missing)
        special = "unsure" if known and likely < calibration.unsure_below else None
        return Verdict(None, special, likely, claims, known)
    sure = (holds if weighed.yes == weighed.no else max(holds, 1 - holds)) * (1 - missing)
    if sure < calibration.unsure_below:
        return Verdict(None, "unsure", sure, claims, known)
    return Verdict(weighed.yes if holds >= 0.5 else weighed.no, None, sure, claims, known)


def weigh(
    run: Run,
    reading: Reading,
    reply: Completion,
    value: Value,
    probability: float | None,
    objects: tuple[FoundObject, ...],
    nothing_found: float | None,
    calibration: Calibration,
    thorough: bool = False,
) -> tuple[Weighed, ...]:
    """All that bears on the answer, looked at again as far as doubt remains.

    `thorough`, for who does not know yet what a doubt is worth: everything is asked, a second view is taken unless all are of one
    mind, and then there are two items, without and with it.
    """
    missing = missing_of(run, reading, reply, objects, nothing_found) if reading.takes_for_granted else ()
    lost = _lost(missing, calibration)
    if missing and (not (_of_one_mind(missing) and _plain(missing[0])) if thorough else abs(lost) < log_odds_of(SURE)):
        missing = (*missing, *looked_for(run, reading, objects))
        lost = _lost(missing, calibration)
    case = case_of(run, reading, reply, value, objects, nothing_found)
    if case is None:
        plain = plain_of(reading, value, probability, objects, nothing_found)
        return (replace(plain, missing=missing, objects=objects),)
    first = Weighed(case.kind, case.yes, case.no, case.opinions, missing, claims=case.claims, objects=objects)
    if not thorough and ((missing and lost > 0) or _sure(first, calibration)):
        return (first,)
    first = replace(first, opinions=(*first.opinions, *_asked(run, case, None)))
    if case.view is None or (_of_one_mind(first.opinions) if thorough else _sure(first, calibration)):
        return (first,)
    second = replace(first, opinions=(*first.opinions, *_asked(run, case, case.view)), again=True)
    return (first, second) if thorough else (second,)


def _asked(run: Run, case: Case, view: SecondView | None) -> tuple[Opinion, ...]:
    questions = case.questions[:MOST_QUESTIONS] if view is None else case.about_view[: MOST_ABOUT_VIEW - 1]
    found = [opinion_on(run, one, case.language, view) for one in questions]
    if view is None and case.retell is not None:
        abroad = in_other_language(run, case.names, case.retell, case.language)
        found += [] if abroad is None else [abroad]
    return tuple(filter(tells, found))


def _sure(weighed: Weighed, calibration: Calibration) -> bool:
    return abs(calibration.fusion(weighed.weights).log_odds(weighed.opinions)) >= log_odds_of(SURE)


def _of_one_mind(opinions: Sequence[Opinion]) -> bool:
    """Whether nothing was said against what the model said, and most of it plainly."""
    odds = [opinion.log_odds for opinion in opinions]
    return (min(odds) >= 0 or max(odds) <= 0) and abs(sum(odds)) >= PLAUSIBLE * len(odds)


def _lost(missing: Sequence[Opinion], calibration: Calibration) -> float:
    return calibration.fusion(weights_of(one.how for one in missing)).log_odds(missing)


def _plain(words: Opinion) -> bool:
    return abs(words.log_odds) > log_odds_of(SURE)


def plain_of(
    reading: Reading,
    value: Value,
    probability: float | None,
    objects: tuple[FoundObject, ...],
    nothing_found: float | None,
) -> Weighed:
    """A value that no other question was asked about: the claim is that it is right."""
    claims = claims_of(reading, value, objects) if objects or nothing_found is not None else ()
    opinions = [
        Opinion("words", reading.text, value.label or value.kind, log_odds_of(0.5 if probability is None else probability))
    ]
    opinions += [
        Opinion("geometry", "", claim.geometry, PLAUSIBLE if claim.agrees else -PLAUSIBLE)
        for claim in claims
        if claim.agrees is not None
    ]
    # A relation that is asked in no other words is none of those that "relation" was measured on: it goes by its own name.
    kind = reading.relation if reading.relation is not None and reading.relation not in RELATIONS else reading.kind
    return Weighed(kind, value.label, None, tuple(opinions), claims=claims)


def _told(weighed: Weighed, opinions: tuple[Opinion, ...], holds: float) -> tuple[Claim, ...]:
    """The claims with what was looked at again, and what all of it together makes of the first."""
    again = tuple(one for one in opinions if one.asked and one.how != "words")
    return tuple(replace(claim, probability=holds, looked_again=again) for claim in weighed.claims[:1])
