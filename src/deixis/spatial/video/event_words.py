"""Events in words, English and Chinese.

Knows templates and names. Does not know how an event is recognised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deixis.spatial.language.prompts import Language
from deixis.spatial.video.detection import EventKind

_COLORS = {
    "red": "红色", "blue": "蓝色", "green": "绿色", "yellow": "黄色", "purple": "紫色", "orange": "橙色", "cyan": "青色",
    "gray": "灰色", "grey": "灰色", "white": "白色", "black": "黑色", "brown": "棕色", "pink": "粉色",
}  # fmt: skip
_NOUNS = {
    "laptop": "笔记本电脑", "keyboard": "键盘", "mouse": "鼠标", "monitor": "显示器", "cup": "杯子", "mug": "杯子",
    "bottle": "瓶子",
    "book": "书", "phone": "手机", "usb stick": "U盘", "router": "路由器", "lamp": "台灯", "plant": "植物", "pen": "笔",
    "box": "盒子", "ball": "球", "headphones": "耳机", "sphere": "球体", "cube": "立方体", "block": "方块", "cylinder": "圆柱体",
    "cone": "圆锥体", "capsule": "胶囊体", "wall": "墙", "screen": "挡板", "tray": "托盘", "hand": "手",
    "person": "人", "car": "汽车",    "table": "桌子", "ramp": "斜面", "tool": "工具", "screw": "螺丝",
}  # fmt: skip
_SAME_ZH = {"水杯": "杯子", "箱子": "盒子", "小球": "球", "皮球": "球", "书本": "书", "车": "汽车", "灯": "台灯", "墙壁": "墙"}
_EDGES: Mapping[Language, Mapping[str, str]] = {
    "en": {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom", "": ""},
    "zh": {"left": "左边", "right": "右边", "top": "上边", "bottom": "下边", "": ""},
}
_TEMPLATES: Mapping[EventKind, tuple[str, str]] = {
    "appears": ("the {a} comes into view {edge}", "{a}从{edge}进入画面"),
    "leaves": ("the {a} leaves the view {edge}", "{a}从{edge}离开画面"),
    "moves": ("the {a} moves", "{a}移动"),
    "stops": ("the {a} stops", "{a}停下"),
    "is_hidden": ("the {a} is hidden by the {b}", "{a}被{b}挡住"),
    "is_revealed": ("the {a} comes out from behind the {b}", "{a}从{b}后面露出来"),
    "is_taken_out": ("the {a} is taken away", "{a}被拿走"),
    "is_put_in": ("the {a} is put in", "{a}被放进来"),
    "falls": ("the {a} falls", "{a}掉落"),
    "hits": ("the {a} hits the {b}", "{a}撞到{b}"),
    "causes": ("the {a} sets the {b} in motion", "{a}使{b}动起来"),
    "carried_by": ("the {a} is carried along by the {b}", "{a}被{b}带走"),
    "swapped": ("the {a} and the {b} exchange places", "{a}和{b}交换了位置"),
}


def described(kind: EventKind, a: str, b: str | None = None, edge: str = "") -> dict[Language, str]:
    """One sentence in each language. `a` and `b` are labels; `edge`: left, right, top or bottom of the picture, or ""."""
    en, zh = _TEMPLATES[kind]
    named = "别的东西" if b is None else in_chinese(b)
    return {
        "en": " ".join(en.format(a=a, b=b or "something else", edge=_EDGES["en"][edge]).split()),
        "zh": zh.format(a=in_chinese(a), b=named, edge=_EDGES["zh"][edge]).replace("从进入", "进入").replace("从离开", "离开"),
    }  # fmt: skip


def in_chinese(label: str) -> str:
    """ "red cup" → "红色杯子"; what is not known stays as it is."""
    words = label.lower().split()
    color = "".join(_COLORS.get(word, "") for word in words)
    noun = " ".join(word for word in words if word not in _COLORS)
    return color + _NOUNS[noun] if noun in _NOUNS else label


def in_english(label: str) -> str:
    """ "红色的杯子" → "red cup"; what is not known stays as it is."""
    text = re.sub(r"的|那个|这个|一个|\s", "", label)
    colors = [en for en, zh in _COLORS.items() if text.startswith((zh, zh.rstrip("色")))]
    if colors:
        zh = _COLORS[colors[0]]
        rest = text[len(zh) :] if text.startswith(zh) else text[len(zh) - 1 :]
    else:
        rest = text
    rest = _SAME_ZH.get(rest, rest)
    nouns = [en for en, zh in _NOUNS.items() if zh == rest]
    return " ".join([*colors[:1], nouns[0]]) if nouns else label
