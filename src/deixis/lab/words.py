"""The names of categories and colours in English and Chinese, and how phrases are built from them.

A label is the exact name in an answer ("red cup", "红色杯子"): always colour and category, in the canonical words.
Questions may use an everyday synonym instead ("mug"). Does not know pictures, truths or which
world holds what.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deixis.spatial.language.prompts import Language


@dataclass(frozen=True)
class Noun:
    """A category's words. The first of each language is the canonical one, the rest are synonyms in questions.

    ``en`` holds (singular, plural) pairs. ``plural_only``: grammatically plural even for one thing ("headphones").
    """

    en: tuple[tuple[str, str], ...]
    zh: tuple[str, ...]
    plural_only: bool = False


def _regular(*singulars: str) -> tuple[tuple[str, str], ...]:
    return tuple((s, s + ("es" if s.endswith(("x", "s", "sh", "ch")) else "s")) for s in singulars)


DESK: Mapping[str, Noun] = {
    "laptop": Noun(_regular("laptop", "laptop computer"), ("笔记本电脑", "手提电脑")),
    "keyboard": Noun(_regular("keyboard"), ("键盘",)),
    "mouse": Noun((("mouse", "mice"), ("computer mouse", "computer mice")), ("鼠标",)),
    "monitor": Noun(_regular("monitor", "computer monitor"), ("显示器", "电脑显示器")),
    "cup": Noun(_regular("cup", "mug"), ("杯子", "水杯")),
    "bottle": Noun(_regular("bottle"), ("瓶子",)),
    "book": Noun(_regular("book"), ("书", "书本")),
    "phone": Noun(_regular("phone", "smartphone", "mobile phone"), ("手机",)),
    "usb stick": Noun(_regular("USB stick", "USB drive", "flash drive"), ("U盘", "优盘")),
    "router": Noun(_regular("router"), ("路由器",)),
    "lamp": Noun(_regular("lamp", "desk lamp"), ("台灯", "灯")),
    "plant": Noun(_regular("plant", "potted plant"), ("植物", "盆栽")),
    "pen": Noun(_regular("pen"), ("笔",)),
    "box": Noun(_regular("box"), ("盒子", "箱子")),
    "ball": Noun(_regular("ball"), ("球",)),
    "headphones": Noun((("headphones", "headphones"),), ("耳机", "头戴式耳机"), plural_only=True),
}
PRIMITIVES: Mapping[str, Noun] = {
    "sphere": Noun(_regular("sphere", "ball"), ("球体", "球")),
    "cube": Noun(_regular("cube", "block"), ("立方体", "方块")),
    "cylinder": Noun(_regular("cylinder"), ("圆柱体", "圆柱")),
    "cone": Noun(_regular("cone"), ("圆锥体", "圆锥")),
    "capsule": Noun(_regular("capsule"), ("胶囊体", "胶囊")),
}
CATEGORIES: Mapping[str, Noun] = {**DESK, **PRIMITIVES}

COLORS: Mapping[str, str] = {
    "red": "红色",
    "blue": "蓝色",
    "green": "绿色",
    "yellow": "黄色",
    "purple": "紫色",
    "orange": "橙色",
    "cyan": "青色",
    "gray": "灰色",
    "white": "白色",
    "black": "黑色",
    "brown": "棕色",
    "pink": "粉色",
}
# Light and shadow turn one of these into the other: a "gray cup" is not denied beside a white one.
_CONFUSABLE = (("gray", "white"), ("gray", "black"), ("orange", "brown"), ("pink", "purple"), ("blue", "cyan"))
CONFUSABLE_COLORS = frozenset(pair for a, b in _CONFUSABLE for pair in ((a, b), (b, a)))

YES: Mapping[Language, str] = {"en": "Yes", "zh": "是"}
NO: Mapping[Language, str] = {"en": "No", "zh": "否"}
ABSENT: Mapping[Language, str] = {"en": "absent", "zh": "没有"}
VIEWPOINTS: Mapping[str, str] = {"top-down": "俯视", "oblique": "斜视", "eye-level": "平视"}


def pairs() -> list[tuple[str, str]]:
    """Every noun and colour in English and Chinese, the canonical words first, so that a label has one translation."""
    nouns = [(noun.en[0][0], noun.zh[0]) for noun in CATEGORIES.values()]
    synonyms = [(en, noun.zh[0]) for noun in CATEGORIES.values() for en, _ in noun.en[1:]]
    synonyms += [(noun.en[0][0], zh) for noun in CATEGORIES.values() for zh in noun.zh[1:]]
    return [*nouns, *COLORS.items(), *synonyms]


_LABELS: Mapping[Language, Mapping[tuple[str, str], str]] = {
    "en": {(color, category): f"{color} {category}" for color in COLORS for category in CATEGORIES},
    "zh": {(color, category): COLORS[color] + noun.zh[0] for color in COLORS for category, noun in CATEGORIES.items()},
}


def label(color: str, category: str, language: Language) -> str:
    """The exact name in an answer: "red cup", "红色杯子"."""
    return _LABELS[language][color, category]


def category_label(category: str, language: Language) -> str:
    """The canonical name of a category alone: "cup", "杯子"."""
    return category if language == "en" else CATEGORIES[category].zh[0]


def color_label(color: str, language: Language) -> str:
    """The canonical name of a colour: "red", "红色"."""
    return color if language == "en" else COLORS[color]


def with_article(phrase: str) -> str:
    """An English phrase behind its indefinite article; a leading "USB" is spoken with a consonant."""
    return f"an {phrase}" if phrase[0] in "aeio" else f"a {phrase}"
