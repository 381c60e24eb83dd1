"""What a question asks: its kind, the relation it names, and who stands in that relation to whom. English and Chinese.

A small table of words, not a parser of language: what it does not recognise is "other", and then nothing is claimed that could
not be checked. Does not know pictures or models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deixis.errors import QuestionError
from deixis.spatial.language.prompts import Language, guess_language
from deixis.spatial.language.relation_words import AnyRelation, relation_in, words
from deixis.spatial.language.space_reading import SpaceQuestion, named_twice, read_space
from deixis.spatial.language.values import half_width

QuestionKind = Literal[
    "relation", "exists", "count", "depth", "visibility", "hidden", "viewpoint", "distance", "sight", "free_space", "fit", "other"
]

MAX_QUESTION = 2_000  # characters; a question about a picture is a sentence or two

# In this order: the first that matches decides. "How many metres" is a depth before it is a count, and how far two things are
# from each other is neither a depth nor "between". Gaps have an end: without one, "where can" said over and over would be tried
# from each "where" to each "can".
_KINDS: tuple[tuple[QuestionKind, dict[Language, re.Pattern[str]]], ...] = (
    (
        "free_space",
        words(
            r"\bwhere\b.{0,80}\b(can|could|should|may|might|do|to|will|would)\b.{0,80}\b(put|place|set|stand|lay|fit|go)\b|"
            r"\b(free|empty|clear) (space|spot|place|area)s?\b",
            r"(哪里|哪儿|何处|什么(地方|位置)|哪个(地方|位置)|哪块地方).{0,40}[放摆搁]|空[地位处闲]|空(着的)?(地方|位置)|"
            r"(能|可以|该|要)[^,。?]{0,40}[放摆搁]在?(哪|什么地方|什么位置)",
        ),
    ),
    (
        "fit",
        words(
            r"^\W*(can|could|may|will|would|does|do)\b.*\b(fit|go|(be )?(put|placed?|set))\b|\b(room|space) for\b|\bfits?\b",
            r"(能|可以|可否|能否|能不能|可不可以)[^,。?]{0,40}[放摆搁](?!大)|[放摆搁容]得?[下进][^,。]{0,40}[吗么]|[放摆]不[放摆]得下",
        ),
    ),
    ("other", words(r"(how far|distance)\b.{0,80}\bbetween\b|\bhow far apart\b", r"之间的距离|之间有多远|相距|相隔")),
    (
        "visibility",
        words(
            r"how much of|\bpercent|what (share|fraction|part) of|how visible|to what extent",
            r"百分|露出|可见(的|比例)|能看到多少|没有被挡住的部分|多大(一)?部分",
        ),
    ),
    (
        "hidden",
        words(
            # "The yellow block" hides nothing.
            r"\b(hid(e|es|den|ing)|occlud|cover(s|ed|ing)\b|block(ed|ing)\b|blocks? (the|an?|any|some|part|our)\b)|"
            r"\b(obscur|obstruct|in the way)",
            r"遮|挡|盖住",
        ),
    ),
    (
        "viewpoint",
        words(
            r"viewpoint|(?<!point of )\bview\b|top-down|eye-level|\btilt|\bpitch\b|look(s|ing)? (straight )?down|horizontal|"
            r"camera angle",
            r"视角(?!来?看)|俯视|平视|斜视|俯角|俯仰|倾斜|朝下|向下看|夹角",
        ),
    ),
    (
        "depth",
        words(
            r"how (far|deep|distant)\b|how many (met|centimet)|\bdepth\b|\bdistance\b",
            r"多远|多少(米|厘米)|几米|深度|距离(是|有|为)?多少",
        ),
    ),
    (
        "count",
        words(r"how many|\bcount\b|number of", r"多少(个|只|本|台|支|把|件|部)|有多少|几(个|只|本|台|支|把|件|部)|数量|数一数"),
    ),
)
_EXISTS = words(
    r"^(is|are) there\b|^(is|are|can) .*\b(visible|in (the|this) (picture|image|photo|scene)|see|find|spot)\b|\bdo you see\b|"
    r"\bdoes (the|this) (picture|image|photo|scene) (show|contain|have|include)\b",
    r"有没有|是否有|存在|有.{0,40}[吗么]|能看(到|见).{0,40}[吗么]|看得(到|见)",
)

_DEPTH_RELATIONS = frozenset(
    {"nearest", "farthest", "in_front_of", "behind", "on", "under", "above", "below", "next_to", "between"}
    | {"inside", "near", "far", "touching", "aligned", "facing"}
)
_HIDDEN_BY = words(r"\b(hidden|covered|blocked|obscured|occluded|obstructed)\b.{0,80}\b(by|behind)\b", r"被")
_CHOICE = words(r"\b(which|what|who|name)\b|\bor (the|an?)\b", r"哪|什么|还是|谁")
# Questions that yes and no may answer, although they hold "which" or "什么".
_YES_OR_NO = words(
    r"^\W*(is|are|was|were|do|does|did|has|have|can|could|will|would)\b|,\s*(right|correct|true|isn't it)\s*\??$|\bor not\b",
    r"([吗吧]|(?<![什怎多])么)\W*$|是否|是不是|有没有|能不能|会不会|在不在",
)
_ZH_COLOR = re.compile(r"^.{1,2}色的?")
_ZH_HAS = re.compile("有|是|放|摆")


@dataclass(frozen=True)
class Reading:
    """A question as understood. `choice`: the answer is one of the things, not yes or no. `relation_at` is where it is named.

    `space` is set where geometry alone can answer: another's frame, metres between things, lines of sight (see frames.py).
    `twice` is the one name by which a question calls two things.
    """

    text: str
    language: Language
    kind: QuestionKind
    relation: AnyRelation | None = None
    choice: bool = False
    relation_at: tuple[int, int] = (0, 0)
    space: SpaceQuestion | None = None
    twice: str | None = None

    @property
    def needs_depth(self) -> bool:
        """Whether 2D boxes alone cannot bear the answer out."""
        return self.kind == "depth" or self.relation in _DEPTH_RELATIONS

    @property
    def takes_for_granted(self) -> bool:
        """Whether the question presumes that what it names is there, so that finding nothing answers it: "absent"."""
        named = self.kind in ("relation", "depth", "visibility", "hidden")
        return named and self.relation not in ("nearest", "farthest")

    @property
    def asks_for_a_name(self) -> bool:
        """Whether yes and no do not answer it: "What is left of the lamp?", but not "Is there a cup which …?"."""
        return self.choice and not _YES_OR_NO[self.language].search(half_width(self.text))

    @property
    def hidden_by(self) -> bool:
        """Whether what is hidden is named first: "Is the cup hidden by the book?"; else the one that hides it is."""
        return bool(_HIDDEN_BY[self.language].search(self.text))

    def roles(self, labels: Sequence[str]) -> tuple[int, ...]:
        """Indices of `labels` (in order of mention) as subject first, then what it is related to."""
        order = list(range(len(labels)))
        if self.relation is None or self.choice or len(labels) < 2:
            return tuple(order)
        places = [self._place(label) for label in labels]
        if None not in places:
            # Models list objects in the order of mention, or from left to right: where the names are plain, the text decides.
            order.sort(key=lambda i: places[i] or 0)
            places = [places[i] for i in order]
        if self.language == "en":
            # "To the left of the keyboard, is there a mouse?"
            inverted = places[0] is not None and self.relation_at[0] < places[0]
        else:
            # "键盘左边有鼠标吗?", where the usual order is "鼠标在键盘左边吗?"
            before, after = places[-2:]
            end = self.relation_at[1]
            inverted = before is not None and after is not None and before < end and bool(_ZH_HAS.search(self.text[end:after]))
        return tuple(order[-1:] + order[:-1] if inverted else order)

    def _place(self, label: str) -> int | None:
        """Where the question names a label: whole, or by its last word (its noun)."""
        text, label = self.text.lower(), label.lower().strip()
        if self.language == "zh":
            spoken = [label, _ZH_COLOR.sub("", label)]
        else:
            spoken = [label, label.rpartition(" ")[2]]
        found = [text.find(word) for word in spoken if word]
        return next((place for place in found if place >= 0), None)


def read_question(question: str) -> Reading:
    """Raises QuestionError for an empty question or one of more than 2,000 characters."""
    text = question.strip()
    if not text:
        raise QuestionError("the question is empty; ask something about the picture")
    if len(text) > MAX_QUESTION:
        raise QuestionError(f"the question has {len(text)} characters; at most {MAX_QUESTION} are read")
    language = guess_language(text)
    plain = half_width(text)
    choice = bool(_CHOICE[language].search(plain))
    if space := read_space(plain, language):
        asked: QuestionKind = {"sight": "sight", "relation": "relation", "choice": "relation"}.get(space.kind, "distance")  # type: ignore[assignment]
        return Reading(text, language, asked, space.relation, choice, space=space)
    if twice := named_twice(plain, language):
        return Reading(text, language, "distance", choice=choice, twice=twice)
    for kind, patterns in _KINDS:
        if patterns[language].search(plain):
            return Reading(text, language, kind, choice=choice)
    if named := relation_in(plain, language):
        relation, place = named
        return Reading(text, language, "relation", relation, choice, place)
    if _EXISTS[language].search(plain):
        return Reading(text, language, "exists")
    return Reading(text, language, "other")
