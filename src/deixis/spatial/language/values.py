"""Short answers to values: "Yes, the mouse is…", "没有", "0.85 m", "three", "B. Blue". English and Chinese. Never raises.

Knows words and numbers. Does not know the question; `wants` says whether a number is expected anywhere in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from deixis.spatial.language.prompts import Language

ValueKind = Literal["yes", "no", "absent", "unsure", "number", "label"]

# Full-width ASCII forms, as Chinese text has them, and what they are in half width. One character each, so places stay.
_HALF = {0xFEE0 + code: code for code in range(0x21, 0x7F)} | {0x3000: 0x20, 0x3002: ord("."), 0x3001: ord(",")}

_DECORATION = re.compile(r"\*\*|__|`|^\s*(?:(?:the\s+)?(?:correct\s+)?answer(?:\s+is)?|答案(?:是)?|答)\s*:\s*", re.IGNORECASE)
_BOXES = re.compile(r"(bbox|point)_[23]d")
_OPTION = re.compile(r"^\(?([A-H])\s*[.):]\s*(\S.*)$", re.DOTALL)
_EDGES = " \t\r\n.,;:!?\"'“”‘’()"
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
)


def _any(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{alternative})" for alternative in alternatives), re.IGNORECASE)


# Matched at the start of the answer; the first kind that matches decides.
_PATTERNS: dict[Language, tuple[tuple[ValueKind, re.Pattern[str]], ...]] = {
    "en": (
        (
            "unsure",
            _any(
                r"(i'?m |i am )?(not sure|unsure|uncertain|unclear|undecided)\b",
                r"(i )?(can ?not|can't) (tell|say|determine)\b",
                r"unknown\b",
                r"(it is |it's )?(impossible|hard) to (tell|say)\b",
            ),
        ),
        (
            "absent",
            _any(
                r"(absent|none|nothing)\b",
                r"(it is |it's |they are )?not (present|visible|found|there|in (the|this) (picture|image|photo|scene))\b",
                r"there (is|are) no\b",
                r"no such\b",
            ),
        ),
        # "There are three" is a count, and "it is not" a no.
        (
            "yes",
            _any(
                r"(yes|yeah|yep|true|correct)\b",
                rf"(it is|it does|they are|there is|there are)\b(?!\s*(not|\d|{_NUMBER_WORDS.replace(' ', '|')})\b)",
            ),
        ),
        ("no", _any(r"(no|nope|false|incorrect|not|it is not|it isn't|it does not|it doesn't|they are not)\b")),
    ),
    "zh": (
        ("unsure", _any("不确定|无法(判断|确定)|不能确定|难以(判断|确定)|不清楚|看不清|说不准|不知道")),
        (
            "absent",
            _any(
                "没有(?!遮|被|挡|在|放|紧|靠|挨)",
                "不存在|不在(图|画面|照片)|未(找到|发现|看到)|没(看到|找到|发现)",
                r"无(?=$|\W)",
            ),
        ),
        ("no", _any(r"否|不是|不在|不对|不能|不会|不可以|没|未|错|不(?=$|\W)")),
        ("yes", _any("是的|对的|有的|正确|可以", r"(是|对|有|能|会|在)(?=$|\W)", "(是|有|能|会|在)(?=在|被|放|遮|挡)")),
    ),
}

_EN_NUMBERS = {word: float(n) for n, word in enumerate(_NUMBER_WORDS.split())}
_ZH_DIGITS = {"零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_ZH_NUMBER = "[零〇一二两三四五六七八九]?十[一二三四五六七八九]?|[零〇一二两三四五六七八九]"
_UNITS: dict[str, tuple[str, float]] = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres", "米"), ("m", 1.0)),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres", "厘米", "公分"), ("m", 0.01)),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres", "毫米"), ("m", 0.001)),
    **dict.fromkeys(("%", "percent"), ("%", 1.0)),
    **dict.fromkeys(("°", "deg", "degree", "degrees", "度"), ("deg", 1.0)),
}
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
# The unit must end where the word ends: "3 markers" are not three metres.
_DIGIT_NUMBER = re.compile(rf"(?<![\w.])([-+]?(?:\d+(?:\.\d+)?|\.\d+))(?:\s*({_UNIT})(?![a-zA-Z]))?(?!\w*\d)", re.I)
_WORD_NUMBER = {
    "en": re.compile(rf"\b({'|'.join(_EN_NUMBERS)})\b(?:\s+({_UNIT})(?![a-zA-Z]))?", re.I),
    "zh": re.compile(rf"({_ZH_NUMBER})\s*({_UNIT}|[个只本台支把件部盆张条块])?"),
}
_APPROXIMATELY = re.compile(
    r"^(?:about|approximately|around|roughly|nearly|some|~|≈|大约|大概|约|共有|一共有?|总共有?|有)\s*", re.I
)


@dataclass(frozen=True)
class Value:
    """What a short answer says. `number` is in `unit` ("m", "%", "deg" or "" for a count); `label` is the cleaned text.

    `span` is the place in the text of the word that decides (the yes, the number), for its token probability.
    `option` is the letter of a multiple-choice answer.
    """

    kind: ValueKind
    label: str = ""
    number: float | None = None
    unit: str = ""
    span: tuple[int, int] = (0, 0)
    option: str = ""


def in_metres(number: float, language: Language) -> str:
    """A distance as an answer writes it."""
    return f"{number:.2f} m" if language == "en" else f"{number:.2f}米"


def half_width(text: str) -> str:
    """The same text with full-width punctuation, letters and digits as ASCII, character for character."""
    return text.translate(_HALF)


def parse_value(text: str, language: Language, *, wants: Literal["number", "any"] = "any") -> Value:
    """The value of a short answer. An empty text is "unsure", and so are boxes, which no question here asks for."""
    text = half_width(text)
    clean = _DECORATION.sub(" ", text).strip(_EDGES)
    option = ""
    if match := _OPTION.match(clean):
        option, clean = match.group(1), match.group(2).strip(_EDGES)
    if not clean or _BOXES.search(clean):
        return Value("unsure", span=(0, len(text)), option=option)
    at = max(text.find(clean[:12]), 0)
    whole = (at, min(at + len(clean), len(text)))
    if wants == "number":
        number = _number(clean, language, anywhere=True)
        if number is not None:
            return _placed(number, text, clean, option)
    # A Chinese model may answer an English question in Chinese, and the other way round.
    first: tuple[Language, ...] = ("zh", "en") if language == "zh" else ("en", "zh")
    for which in first:
        for kind, pattern in _PATTERNS[which]:
            if match := pattern.match(clean):
                return Value(kind, clean, span=(at, at + match.end()), option=option)
    number = _number(clean, language, anywhere=False)
    if number is not None:
        return _placed(number, text, clean, option)
    return Value("label", clean, span=whole, option=option)


@dataclass(frozen=True)
class _Number:
    value: float
    unit: str
    written: str


def _placed(number: _Number, text: str, clean: str, option: str) -> Value:
    at = max(text.find(number.written), 0)
    return Value("number", clean, number.value, number.unit, (at, at + len(number.written)), option)


def _number(clean: str, language: Language, *, anywhere: bool) -> _Number | None:
    """The first number of the text; unless `anywhere`, only where the text is little more than that number."""
    body = _APPROXIMATELY.sub("", clean)
    for pattern in (_DIGIT_NUMBER, _WORD_NUMBER[language], _WORD_NUMBER["en" if language == "zh" else "zh"]):
        match = pattern.search(body)
        if match is None or (not anywhere and match.start() > 0):
            continue
        written = match.group(1)
        value = _EN_NUMBERS.get(written.lower())
        if value is None:
            value = _zh_number(written) if written[0] in _ZH_DIGITS or written[0] == "十" else float(written)
        unit, factor = _UNITS.get((match.group(2) or "").lower(), ("", 1.0))
        counted = language == "zh" and match.group(2) is not None
        rest = body[match.end() :].strip(_EDGES)
        if anywhere or not rest or counted or (len(rest.split()) <= 3 and pattern is not _WORD_NUMBER["zh"]):
            return _Number(value * factor, unit, written)
    return None


def _zh_number(written: str) -> float:
    tens, ten, ones = written.partition("十")
    if not ten:
        return float(_ZH_DIGITS[written])
    return 10.0 * (_ZH_DIGITS[tens] if tens else 1) + (_ZH_DIGITS[ones] if ones else 0)
