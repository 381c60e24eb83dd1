"""Questions in words about what was seen, answered from the ledger alone, with the moment and the box that bear it out.

Knows which answer each kind of question gets. Does not know models: what it does not read is answered with None, and the caller
asks a model. An answer is as sure as the ledger is; "absent" is what was never seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from deixis.spatial.language.prompts import guess_language
from deixis.spatial.language.values import half_width
from deixis.spatial.video import count_answers, event_answers, place_answers
from deixis.spatial.video.asked import Asked, MemoryAnswer
from deixis.spatial.video.memory import Source, SpatialMemory
from deixis.spatial.video.question_words import NO_NAME, QUESTIONS, Kind

_MAX_QUESTION = 500
_ANSWERS: dict[Kind, Callable[[Asked], MemoryAnswer | None]] = {
    "last_seen": place_answers.last_seen,
    "where_then": place_answers.where_then,
    "where": place_answers.where,
    "hidden_things": place_answers.hidden_things,
    "who_hides": place_answers.who_hides,
    "how_long_hidden": place_answers.how_long_hidden,
    "state": place_answers.state,
    "first_or_last": event_answers.first_or_last,
    "order": event_answers.order,
    "moved": event_answers.moved,
    "met": event_answers.met,
    "cause": event_answers.cause,
    "how_often": event_answers.how_often,
    "moment": event_answers.moment,
    "did": event_answers.did,
    "what_happened": event_answers.what_happened,
    "count_over_time": count_answers.count_over_time,
    "count": count_answers.count,
    "listed": count_answers.listed,
}


def answered(memory: SpatialMemory, question: str, source: Source | None = None) -> MemoryAnswer | None:
    """None for a question that is not one of these, is empty or long. With a source it is about what was seen up to its end."""
    plain = half_width(question).strip()
    if not plain or len(plain) > _MAX_QUESTION or memory.time_s is None:
        return None
    language = guess_language(plain)
    if language == "en":
        plain = re.sub(r"\s+", " ", plain.lower())
    else:
        plain = re.sub(r"\s+", "", re.sub(r"^请?问?", "", plain))
    for kind, patterns in QUESTIONS:
        if match := patterns[language].search(plain):
            found = {key.rstrip("_"): value for key, value in match.groupdict().items() if value is not None}
            if not any(re.search(NO_NAME[language], found.get(name, "")) for name in "ab"):
                return _ANSWERS[kind](Asked(memory, language, found, source))
    return None
