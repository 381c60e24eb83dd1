"""Questions with exact answers about a picture whose truth is known, in English and Chinese.

Knows kinds of questions, wordings and margins: what is ambiguous is not asked, and no wording holds its answer. Does
not know pixels, renderers or models. One file per family of kinds; a new kind is one line in its family's ``KINDS``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.random import Generator

from deixis.errors import OptionError
from deixis.lab.questions import counting, distance, evidence, locate, occlusion, relation, viewpoint
from deixis.lab.questions.evidence import evidence_of
from deixis.lab.questions.kind import Kind
from deixis.lab.questions.picture import Picture
from deixis.lab.questions.question import Question
from deixis.spatial.language.prompts import LANGUAGES, Language

__all__ = ["KINDS", "Kind", "Picture", "Question", "ask_everything", "evidence_of"]

KINDS: Mapping[str, Kind] = {
    **locate.KINDS,
    **relation.KINDS,
    **occlusion.KINDS,
    **distance.KINDS,
    **counting.KINDS,
    **viewpoint.KINDS,
    **evidence.KINDS,
}


def ask_everything(
    truth: Mapping[str, Any] | Picture,
    rng: Generator,
    *,
    languages: Sequence[Language] = LANGUAGES,
    per_kind: int = 1,
    kinds: Iterable[str] | None = None,
) -> list[Question]:
    """Up to ``per_kind`` questions of each kind and language about one picture, all different.

    ``truth``: one line of truth.jsonl (its "questions" are not read). ``kinds`` None means all. A kind without a clear
    case in this picture gives nothing. The same truth, options and generator state give the same questions.
    Raises OptionError for a kind that does not exist.
    """
    picture = truth if isinstance(truth, Picture) else Picture(truth)
    chosen = tuple(KINDS if kinds is None else kinds)
    unknown = [k for k in chosen if k not in KINDS]
    if unknown:
        raise OptionError(f"no question kind {unknown[0]!r}; choose from {', '.join(KINDS)}")
    questions: list[Question] = []
    seen: set[str] = set()
    for name in chosen:
        make = KINDS[name].make
        for language in languages:
            for _ in range(per_kind):
                question = make(picture, rng, language)
                if question is not None and question.prompt not in seen:
                    seen.add(question.prompt)
                    questions.append(question)
    return questions
