"""The words that name a relation, in English and Chinese.

A small table, not a parser of language. Does not know questions, who stands in the relation, nor whether it holds.
"""

from __future__ import annotations

import re

from deixis.geometry import FrameRelation, Relation
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.values import half_width

AnyRelation = Relation | FrameRelation


def words(en: str, zh: str) -> dict[Language, re.Pattern[str]]:
    """One pattern for each language; English in any case."""
    return {"en": re.compile(en, re.IGNORECASE), "zh": re.compile(zh)}


# Verbs and phrases of each relation; the first that matches decides. "on the left" is no "on".
_RELATIONS: tuple[tuple[AnyRelation, dict[Language, re.Pattern[str]]], ...] = (
    ("nearest", words(r"\b(nearest|closest)\b|\bleast (far|distant)", r"最近|最靠近")),
    ("farthest", words(r"\b(farthest|furthest)\b|\bmost distant", r"最远")),
    ("between", words(r"\b(in )?between\b|in the middle of", r"之间|中间")),
    ("left_of", words(r"\bleft(most)?\b", r"左")),
    ("right_of", words(r"\bright(most)?\b(?! (next|behind|above|under|on|in front|beside|between|inside)\b)", r"右")),
    ("in_front_of", words(r"\bfront\b|\bforward\b|\b(nearer|closer)\b", r"前(面|方|边)|靠前|(更|较)近")),
    ("behind", words(r"\bbehind\b|\bback\b|\b(farther|further)\b|more distant", r"后(面|方|边)|靠后|背后|(更|较)远")),
    ("touching", words(r"\btouch(es|ing)?\b|\bin contact with\b", r"接触|碰到|碰着|相碰|贴着")),
    ("aligned", words(r"\b(aligned|parallel|lined up)\b", r"平行|对齐")),
    ("facing", words(r"\b(facing|faces?)\b", r"(?<!画)面向|面对|面朝|朝向|正对")),
    ("inside", words(r"\binside\b|\bcontained in\b", r"(在|装|放)(?!图|画|照)[^,.?图画照]{0,40}(里(面|边|头)?(?!有)|内部|之内)")),
    ("far", words(r"\bfar (away )?from\b", r"离[^,.?]{0,40}[很太]远|远离")),
    (
        "on",
        words(r"\bon top of\b|\b(rest|sit|stand|l)(s|ing|ting|ying|ies)? on\b|\bsupported by\b", r"(叠|压|搁)在[^,.?]{0,40}上"),
    ),
    ("above", words(r"\babove\b|\bover\b|\bhigher\b", r"上方|之上|高于")),
    ("below", words(r"\bbelow\b|\blower\b", r"下方|低于")),
    ("under", words(r"\bunder\b|\bunderneath\b|\bbeneath\b|\bsupports?\b", r"下面|底下|之下|下边|支撑")),
    ("near", words(r"\bnear\b(?! to\b)", r"附近")),
    ("next_to", words(r"\bnext to\b|\bbeside\b|\bnear to\b|\bclose to\b|\badjacent\b|\balongside\b", r"旁|挨着|靠近|紧邻|相邻")),
    (
        "on",
        words(
            r"\bon (?!(the )?(table|desk|floor|ground|picture|image|photo)\b)",
            r"(?<!从)(在|于)(?!桌|图|画|照)[^,.?]{0,40}上(面|边|头)?(?![方下])",
        ),
    ),
)
_TAG = re.compile(r",\s*(right|correct|true|isn't it|对吗|是吗)\s*[?.]*$", re.IGNORECASE)  # "…, right?" is no side


def relation_in(text: str, language: Language) -> tuple[AnyRelation, tuple[int, int]] | None:
    """The relation that a text names, and where."""
    untagged = _TAG.sub("", half_width(text))
    for relation, patterns in _RELATIONS:
        if match := patterns[language].search(untagged):
            return relation, match.span()
    return None
