"""Questions that geometry alone answers: seen from somewhere else, in metres between things, along lines of sight.

Knows the words of such questions, in English and Chinese, and the names in them. Does not know pictures, boxes or models. A
question that holds no such words, or whose names cannot be told apart from the rest, is not one of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deixis.spatial.language.prompts import Language
from deixis.spatial.language.relation_words import AnyRelation, relation_in, words

SpaceKind = Literal["relation", "choice", "distance", "within", "offset", "sight"]
CAMERA = ""  # the name of whoever looks at the picture
_METRES: Mapping[str, float] = {"m": 1.0, "米": 1.0, "cm": 0.01, "厘米": 0.01, "公分": 0.01, "mm": 0.001, "毫米": 0.001}


@dataclass(frozen=True)
class FrameWords:
    """Whose left and front are meant. `at` and `facing` name objects, or the `CAMERA`; `facing` is None where it is not said."""

    kind: Literal["camera", "object", "viewer"] = "camera"
    at: str = CAMERA
    facing: str | None = None


@dataclass(frozen=True)
class SpaceQuestion:
    """What is asked of named things. Without `other` the relation is to whoever looks (`frame.at`): "is it on the left?".

    A "choice" is between `subject` and `other`; "within" has its limit, and `beyond` where it asks for more than that.
    """

    kind: SpaceKind
    subject: str
    other: str | None = None
    relation: AnyRelation | None = None
    frame: FrameWords = FrameWords()
    limit_m: float | None = None
    beyond: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All objects that have to be found, each once; the camera is no object."""
        said = (self.subject, self.other, self.frame.at, self.frame.facing)
        return tuple(dict.fromkeys(name for name in said if name))

    @property
    def family(self) -> str:
        """What it is held against truth with: a kind or a relation, and whose frame where that changes what is measured."""
        if self.kind in ("relation", "choice"):
            return f"{self.relation}, {self.frame.kind}" if self.relation in _SIDES.values() else str(self.relation)
        return f"offset, {self.frame.kind}" if self.kind == "offset" else self.kind


# Names have an end: without one, a long text of nothing but "and" would be tried in every way that it can be cut.
_EN, _ZH = r"[^,?]{1,60}?", r"[^,?在]{1,24}?"
_END_EN = r"(?=\s*(?:[,?.]|$|\b(?:is|are|does|do|what|which|where|can|would)\b))"
_END_ZH = r"(?=(?:的?时候?|来?看去?|望去)?(?:[,?.]|$)|时)"
_SOMEONE_EN = (
    r"(?:\b(?:if|when|while|imagine|suppose)\s+)?(?:\b(?:i|you|we|one|someone)\s+)?(?:\b(?:am|are|is|were|was)\s+)?"
    r"\b(?:st(?:and|ands|anding|ood)|sit(?:s|ting)?|seen|viewed|looking|from(?! the (?:point|perspective|view)))\s+"
)
_SOMEONE_ZH = r"(?:如果|假如|假设|当)?(?:我|你|人|有人)?"
_SPOT_ZH = r"(?:那里|那儿|这里|处|旁边|旁|的位置上?|边上|边)?"
_VIEW_EN = r"(?:point of view|perspective|viewpoint|view|position|standpoint)"
# Someone who stands there and looks there; then a thing's own view; then someone of whom it is not said where he looks.
_FRAMES: tuple[tuple[Literal["object", "viewer"], dict[Language, re.Pattern[str]]], ...] = (
    (
        "viewer",
        words(
            rf"{_SOMEONE_EN}(?:at|by|near|beside|next to|where|from)?\s*(?P<at>{_EN})(?:\s+(?:is|stands))?\s*,?\s*"
            rf"(?:\b(?:and|while|when)\s+)?\b(?:facing|look(?:ing|s)? (?:at|to|towards?)|turned to(?:wards?)?|faces?)\s+"
            rf"(?P<facing>{_EN}){_END_EN}",
            rf"{_SOMEONE_ZH}(?:(?:站|坐|位于|身处)在?|从)(?P<at>[^,?]{{1,24}}?){_SPOT_ZH},?(?:并且?|且|而)?"
            rf"(?:面向|面对|面朝|朝向|朝着|朝|看向|看着|望向|望着)着?(?P<facing>[^,?]{{1,24}}?)(?:的?时候?|来?看去?|望去)?{_END_ZH}",
        ),
    ),
    (
        "object",
        words(
            rf"\b(?:as )?(?:seen )?from (?:(?P<at>{_EN})(?:'s|s'|’s)(?: own)? (?:{_VIEW_EN}|frame)"
            rf"|the {_VIEW_EN} of (?P<at_>{_EN}))"
            rf"(?:\s*,?\s*(?:(?:which|that) (?:is )?)?(?:facing|faces|looking at)\s+(?P<facing>{_EN}))?{_END_EN}",
            r"(?:(?:站在|从|以|在)(?P<at>[^,?]{1,24}?)(?:自己)?的?(?:角度|视角|立场|观点|视点)(?:上?来?[看说讲]|出发|而言|上)?"
            r"|以(?P<at_>[^,?]{1,24}?)(?:为|作)参[照考](?:系|物)?|(?:对于?|相对于?)(?P<at__>[^,?]{1,24}?)(?:来[说讲]|而言))",
        ),
    ),
    (
        "viewer",
        words(
            rf"{_SOMEONE_EN}(?:at|by|near|beside|next to|where)\s+(?P<at>{_EN})(?:\s+(?:is|stands))?(?=\s*(?:,|$))",
            rf"{_SOMEONE_ZH}(?:站|坐)在(?P<at>[^,?]{{1,24}}?){_SPOT_ZH}(?:,|看|时)",
        ),
    ),
)

_UNIT_EN = r"(?P<limit>\d+(?:\.\d+)?)\s*(?P<unit>mm|cm|m|millimet\w+|centimet\w+|met(?:er|re)s?)\b"
_LESS_EN = r"(?P<less>within|less than|closer than|no (?:more|farther|further) than|at most|under)"
_MORE_EN = r"(?P<more>more than|farther than|further than|at least|over|beyond)"
_HOW_MUCH_EN = r"(?:how (?:far|much|many (?:cm|mm|m|met\w+|centimet\w+|millimet\w+)))"
_SIDE_EN = r"(?:(?:to|on|in) )?(?:the )?(?P<side>left|right|above|below|front|behind)(?: side)?(?: of)?"
_HOW_MUCH_ZH = r"(?:有|是)?(?:多远|多少(?:厘米|公分|毫米|米)?|几(?:厘米|公分|毫米|米))"
_AND_ZH = r"(?:和|与|跟|到|离|距离?)"
_METRIC: tuple[tuple[SpaceKind, dict[Language, re.Pattern[str]]], ...] = (
    (
        "within",
        words(
            rf"^(?:is|are|was|does|do)\s+(?P<a>{_EN})\s+(?:lie |stand |sit |located )?(?:{_LESS_EN}|{_MORE_EN})\s+{_UNIT_EN}"
            rf"\s+(?:away )?(?:of|from|to)\s+(?P<b>{_EN})\W*$",
            rf"^(?P<a>{_ZH})(?:{_AND_ZH}|在)(?P<b>{_ZH})(?:之间)?(?:的?距离)?(?:是不是|是否|有没有|是)?在?"
            r"(?:(?P<less>不到|小于|少于|不超过|不足)|(?P<more>大于|超过|多于|至少))?"
            r"(?P<limit>\d+(?:\.\d+)?)\s*(?P<unit>mm|cm|m|厘米|公分|毫米|米)(?:以内|之内|内|(?P<more_>以上|以外|之外))?[吗么]?\W*$",
        ),
    ),
    (
        "offset",
        words(
            rf"{_HOW_MUCH_EN} (?:{_SIDE_EN} (?P<b>{_EN}) (?:is|are) (?P<a>{_EN})"
            rf"|(?:is|are) (?P<a_>{_EN}) {_SIDE_EN.replace('side>', 'side_>')} (?P<b_>{_EN}))\W*$",
            rf"(?P<a>{_ZH})(?:位于|在)(?P<b>{_ZH})的?(?P<side>左|右|上方|下方|前|后)(?:边|面|侧|方)?{_HOW_MUCH_ZH}(?:的地方|处)?\W*$",
        ),
    ),
    (
        "distance",
        words(
            rf"(?:{_HOW_MUCH_EN}|how close|distance|gap)\b.{{0,80}}?(?:\bbetween (?P<a>{_EN}) and (?P<b>{_EN})"
            rf"|\bapart (?:is|are) (?P<a_>{_EN}) and (?P<b_>{_EN})|\bfrom (?P<a__>{_EN}) to (?P<b__>{_EN}))\W*$"
            rf"|how (?:far|close|distant)(?: away)? (?:is|are) (?P<a___>{_EN}) (?:away )?(?:from|to) (?P<b___>{_EN})\W*$"
            rf"|how far (?:is|are) (?P<a____>{_EN}) and (?P<b____>{_EN}) apart\W*$",
            rf"(?P<a>{_ZH}){_AND_ZH}(?P<b>{_ZH})(?:之间)?(?:的?(?:距离|间距|相距|相隔|间隔))?{_HOW_MUCH_ZH}\W*$",
        ),
    ),
)
_SIGHT = words(
    rf"^(?:can|could|does|do) (?P<a>{_EN}) (?:see|look at|have (?:a )?(?:clear |free )?(?:line of sight|view) (?:to|of)) "
    rf"(?P<b>{_EN})\W*$|(?:line of sight|\bview\b|\bblock\w*|\bobstruct\w*|in the way|anything|something|obstacle).{{0,80}}?\b"
    rf"(?:between (?P<a_>{_EN}) and|from (?P<a__>{_EN}) to) (?P<b_>{_EN})\W*$"
    rf"|^is (?P<b__>{_EN}) visible from (?P<a___>{_EN})\W*$",
    r"^(?:从|在)?(?P<a>[^,?]{1,24}?)(?:处|那里|的位置|上)?,?(?:能不能|能否|是否能|能|可以)(?:直接)?(?:看到|看见|看得见|望见)(?!多)"
    r"(?P<b>[^,?]{1,24}?)[吗么]?\W*$|(?:[挡遮阻]\S{0,3}在)(?P<a_>[^,?]{1,24}?)(?:和|与|跟)(?P<b_>[^,?]{1,24}?)的?(?:之间|中间)"
    r"|(?:在|于)?(?P<a__>[^,?]{1,24}?)(?:和|与|跟|到)(?P<b__>[^,?]{1,24}?)(?:之间|中间)[^?]{0,40}[挡遮阻]",
)
_CHOICE = words(
    rf"\b(?:which|what|who)\b.{{0,80}}[,:]\s*(?P<a>{_EN}) or (?P<b>{_EN})\W*$",
    r"(?P<a>[^,?]{1,24}?)(?:和|与|还是)(?P<b>[^,?]{1,24}?),?(?:之中|中|里)?(?:哪|谁)",
)
_SIDES: Mapping[str, AnyRelation] = {
    "left": "left_of",
    "right": "right_of",
    "front": "in_front_of",
    "behind": "behind",
    "above": "above",
    "below": "below",
    "左": "left_of",
    "右": "right_of",
    "前": "in_front_of",
    "后": "behind",
    "上方": "above",
    "下方": "below",
}
_HEAD = words(
    r"^(?:(?:is|are|was|were|does|do|did|can|could|would|will|if|whether|there|that|what|so|then|please|tell|a|an|the|any|my|your"
    r"|anything|something)\s+)+",
    r"^(?:请问|那么|则|那|这时|此时|图中|画面中|图上|是不是|是否|有没有|有什么东西|有什么|有|一个|一只|一本|从|在|,)+",
)
_TAIL = words(
    r"(?:\s+(?:on|to|at|in|by|is|are|the|its|my|your|our|his|her|their|of|side|hand|located|standing|lying|placed|sitting|somewhere"
    r"|further|farther|more|right|directly|just|also|away))+$|['’]s$",
    r"(?:是不是|是否|会不会|位于|放在|摆在|正好|就|在|的|位|处|更|是|之|,)+$",
)
_OF = re.compile(r"^(?:(?:side|hand|of|than|from|to|the|with)\b\s*)+", re.IGNORECASE)
_ZH_AFTER = re.compile(r"^(?:边|面|侧|方|手边)*(?:有|是|放着|摆着)(?:没有)?(?P<name>[^?]{1,24}?)[吗么]?\W*$")
_SELF = words(
    r"(?:me|you|it|us|him|her|them|one|itself|viewer|observer|i|we)", r"(?:我|你|它|他|她|自己|它自己|我们|观察者|那个人)"
)
_CAMERA = words(
    r"(?:camera|lens|me|us|you|i|we|one|someone|anyone|viewer|observer|photographer|here|"
    r"this (?:\w+ )?(?:angle|view|viewpoint|perspective|position|picture|photo|image)|our|my|your|picture|image|photo)",
    r"(?:相机|摄像机|摄像头|镜头|摄影师|拍摄者|观察者|观众|我们?|你们?|这里|这个|画面|图片?|照片|图像|咱们)",
)


def read_space(text: str, language: Language) -> SpaceQuestion | None:
    """`text` in half width. None where it asks for nothing that these words name, or only for what the camera sees."""
    if sight := _sight(text, language):
        return sight
    frame, rest = _frame(text, language)
    if metric := _metric(rest, language, frame):
        return metric
    if frame.kind == "camera":
        return _clause(rest, language, frame) if (relation_in(rest, language) or ("", ()))[0] == "facing" else None
    return _clause(rest, language, frame)


def named_twice(text: str, language: Language) -> str | None:
    """ "cup" of "How far is the cup from the cup?": which of two is meant cannot be told from such a question."""
    for _, patterns in _METRIC:
        if match := patterns[language].search(text):
            a, b = (_name(_first(match, name) or "", language) for name in ("a", "b"))
            if a and a.lower() == b.lower():
                return a
    return None


def _frame(text: str, language: Language) -> tuple[FrameWords, str]:
    """Whose frame the question names, and the question without those words."""
    for kind, patterns in _FRAMES:
        match = patterns[language].search(text)
        if match is None:
            continue
        at, facing = _name(_first(match, "at") or "", language), _first(match, "facing")
        seen = None if facing is None else _name(facing, language)
        # "From the camera's point of view" is what is meant anyway; "the camera faces the lamp" is someone's view like another's.
        if at == CAMERA and seen in (None, CAMERA):
            return FrameWords(), text
        return FrameWords(kind, at, seen), (text[: match.start()] + " " + text[match.end() :]).strip(" ,.")
    return FrameWords(), text


def _sight(text: str, language: Language) -> SpaceQuestion | None:
    match = _SIGHT[language].search(text)
    if match is None:
        return None
    a, b = (_name(_first(match, name) or "", language) for name in ("a", "b"))
    # What the camera sees is no matter of geometry between things.
    return SpaceQuestion("sight", a, b) if a and b and a != b else None


def _metric(text: str, language: Language, frame: FrameWords) -> SpaceQuestion | None:
    for kind, patterns in _METRIC:
        match = patterns[language].search(text)
        if match is None:
            continue
        a, b = (_name(_first(match, name) or "", language) for name in ("a", "b"))
        if not a or not b or a == b:  # a distance from the camera is a depth
            return None
        if kind == "offset":
            return SpaceQuestion(kind, a, b, _SIDES[(_first(match, "side") or "").lower()], frame)
        if kind == "within":
            more = _first(match, "more") is not None
            if language == "zh" and not more and _first(match, "less") is None and not re.search(r"内[吗么]?\W*$", text):
                return None  # "is it 10 cm away?" has no side
            return SpaceQuestion(kind, a, b, None, frame, float(match["limit"]) * _metres(match["unit"].lower()), more)
        return SpaceQuestion(kind, a, b, None, frame)
    return None


def _clause(text: str, language: Language, frame: FrameWords) -> SpaceQuestion | None:
    """Who stands in which relation to whom in what is left of the question."""
    named = relation_in(text, language)
    if named is None or named[0] in ("nearest", "farthest", "between"):
        return None
    relation, (start, end) = named
    if choice := _CHOICE[language].search(text):
        a, b = (_name(choice[name], language) for name in ("a", "b"))
        return SpaceQuestion("choice", a, b, relation, frame) if a and b else None
    before, after = text[:start], text[end:]
    if language == "en":
        subject, other = _name(before, language), _name(_OF.sub("", after.strip(" ,.?")), language, own=True)
        if not subject and other:  # "to its left, is there a mouse?"
            subject, other = other, ""
    elif match := _ZH_AFTER.search(after):
        subject, other = _name(match["name"], language), _name(before, language, own=True)
    else:
        head, _, tail = before.rpartition("在")
        subject, other = _name(head or tail, language), _name(tail, language, own=True) if head else ""
        if relation == "facing":
            other = _name(re.sub(r"[吗么着]*\W*$", "", after), language)
    if not subject:
        return None
    if relation == "facing":
        return SpaceQuestion("relation", subject, other, relation, frame)
    return SpaceQuestion("relation", subject, None if other in ("", frame.at) else other, relation, frame)


def _name(text: str, language: Language, own: bool = False) -> str:
    """A name without articles and fillers; "" for the camera, and for nobody. With `own`, "me" and "it" are whoever looks."""
    name = text.strip(" ,.?!'\"")
    while (shorter := _TAIL[language].sub("", _HEAD[language].sub("", name)).strip(" ,.?!'\"")) != name:
        name = shorter
    if own and _SELF[language].fullmatch(name):
        return ""
    if _CAMERA[language].fullmatch(name) or _HEAD[language].fullmatch(name + " "):
        return CAMERA
    return name


def _first(match: re.Match[str], name: str) -> str | None:
    """The group of that name, or of that name with underscores, that took part."""
    groups = match.groupdict()
    return next((text for key, text in groups.items() if text is not None and key.rstrip("_") == name), None)


def _metres(unit: str) -> float:
    return _METRES.get(unit) or {"m": 0.001 if unit.startswith("mil") else 1.0, "c": 0.01}[unit[0]]
