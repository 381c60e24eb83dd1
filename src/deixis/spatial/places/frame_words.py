"""What geometry says of things in space, in English and Chinese: verdicts, lengths, frames, and reasons for "unsure".

Knows words. Does not know boxes, nor who decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deixis.geometry import Interval
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.relation_words import words
from deixis.spatial.language.space_reading import CAMERA, FrameWords

# Nouns of things whose front everybody agrees on.
FRONTED: Mapping[Language, re.Pattern[str]] = words(
    r"(laptop|computer|monitor|screen|display|tv|television|chair|armchair|sofa|couch|desk|wardrobe|cupboard|fridge|car|van|truck|bus|"
    r"bicycle|bike|motorbike|person|man|woman|child|boy|girl|robot|camera|clock|phone|keyboard|printer|oven|microwave|piano)$",
    r"(电脑|显示器|屏幕|电视|椅子?|沙发|书桌|衣柜|冰箱|车|人|孩|相机|钟|手机|键盘|打印机|烤箱|微波炉|钢琴)$",
)
# What is said, and why nothing can be.
WORDS: Mapping[str, Mapping[Language, str]] = {
    "yes": {"en": "Yes", "zh": "是"},
    "no": {"en": "No", "zh": "否"},
    "absent": {"en": "absent", "zh": "没有"},
    "close": {"en": "too close to call", "zh": "相差太小,无法判断"},
    "doubtful": {"en": "the boxes are not exact enough to tell", "zh": "三维框不够精确,无法判断"},
    "no_box": {"en": "{a} was found, but not its place in space", "zh": "找到了{a},但不知道它在空间中的位置"},
    "many": {"en": "{a} names more than one thing in the picture", "zh": "图中不止一个{a}"},
    "facing": {"en": "say what the viewer at the {a} faces", "zh": "请说明站在{a}处的人面向什么"},
    "no_front": {
        "en": "a {a} has no front of its own; say what it faces, as in: standing at the {a} and facing …",
        "zh": "{a}没有公认的正面;请说明朝向,例如:站在{a}处面向…",
    },
    "front_unknown": {
        "en": "this model's 3D boxes do not say which side of the {a} is its front; say what it faces, as in: standing at the "
        "{a} and facing …",
        "zh": "该模型的三维框没有说明{a}哪一面是正面;请说明朝向,例如:站在{a}处面向…",
    },
    "level": {
        "en": "from the {a}, that is straight up or down: there is no left or right",
        "zh": "从{a}看是正上或正下方,没有左右之分",
    },
    "blocked": {"en": "No: {a} in the way", "zh": "不能:被{a}挡住"},
    "apart": {"en": "{a} between their surfaces ({b}), {c} between their centres", "zh": "表面相距{a}({b}),中心相距{c}"},
    "side": {"en": "{a} ({b})", "zh": "{a}({b})"},
    "other_side": {"en": "it is on the other side, by {a} ({b})", "zh": "在另一侧,相距{a}({b})"},
    "left_of": {"en": "to the left", "zh": "在左边"},
    "right_of": {"en": "to the right", "zh": "在右边"},
    "above": {"en": "above", "zh": "在上方"},
    "below": {"en": "below", "zh": "在下方"},
    "in_front_of": {"en": "in front", "zh": "在前面"},
    "behind": {"en": "behind", "zh": "在后面"},
    "viewer": {"en": "at the {a}, facing the {b}: {c}", "zh": "站在{a}处面向{b}:{c}"},
    "object": {"en": "from the {a}: {c}", "zh": "从{a}的角度:{c}"},
    "camera": {"en": "camera", "zh": "相机"},
    "self": {"en": "whoever looks", "zh": "观察者"},
    "guessed": {
        "en": "how far this model's 3D boxes are off was never measured: intervals in metres are guesses",
        "zh": "该模型三维框的误差未曾测量:以米给出的区间只是估计",
    },
}


def reason(name: str, language: Language, about: str = "") -> str:
    """One of the reasons for "unsure", in words."""
    return WORDS[name][language].format(a=about)


def metres(value: float, language: Language) -> str:
    """A length for people."""
    return f"{value:.2f} m" if language == "en" else f"{value:.2f}米"


def framed(words: FrameWords, claim: str, language: Language) -> str:
    """A claim with the frame in which it is meant."""
    if words.kind == "camera":
        return claim
    kind = "viewer" if words.facing is not None else "object"
    at, facing = (name or WORDS["camera"][language] for name in (words.at, words.facing or CAMERA))
    return WORDS[kind][language].format(a=at, b=facing, c=claim)


def whoever_looks(words: FrameWords, language: Language) -> str:
    """The second thing of a relation to whoever looks, by name."""
    return words.at if words.kind == "object" and words.at else WORDS["self"][language]


def stretch(interval: Interval, language: Language) -> str:
    """From where to where an interval reaches, for people."""
    low, high = f"{interval.low:.2f}", metres(interval.high, language)
    return f"{low} to {high}" if language == "en" else f"{low}到{high}"
