"""The texts that Deixis sends with a picture, in English and Chinese.

Knows the wording alone. `nano` is trained on exactly these texts (`lab.questions` imports them), so a changed
word here is a new training run. Does not know pictures, models or how answers are read.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, get_args

from deixis.errors import QuestionError

Language = Literal["en", "zh"]
PromptKind = Literal["ask", "locate", "point", "locate_3d", "evidence", "evidence_3d"]

LANGUAGES: tuple[Language, ...] = get_args(Language)


_CHINESE = re.compile("[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U000323af\uf900-\ufaff]")
# Each with the place of what is asked about.
_TEXTS: Mapping[PromptKind, Mapping[Language, str]] = {
    "ask": {"en": "{}\nAnswer with a word, a number or a short phrase.", "zh": "{}\n请用一个词、一个数或短语回答。"},
    "locate": {
        "en": "Locate every instance of: {}. Report bbox coordinates in JSON format.",
        "zh": "在图中找出所有的{},以JSON格式输出bbox坐标。",
    },
    "point": {
        "en": "Point to every instance of: {}. Report point coordinates in JSON format.",
        "zh": "指出图中所有的{},以JSON格式输出点坐标。",
    },
    "locate_3d": {
        "en": "Locate every instance of: {}. Report 3D bounding boxes in JSON format.",
        "zh": "在图中找出所有的{},以JSON格式输出3D边界框。",
    },
    "evidence": {
        "en": "{}\nLocate every object that this question names. Report bbox coordinates in JSON format.",
        "zh": "{}\n找出这个问题提到的每个物体,以JSON格式输出bbox坐标。",
    },
    "evidence_3d": {
        "en": "{}\nLocate every object that this question names. Report 3D bounding boxes in JSON format.",
        "zh": "{}\n找出这个问题提到的每个物体,以JSON格式输出3D边界框。",
    },
}


def _prompt(kind: PromptKind, about: str, language: Language) -> str:
    """Raises QuestionError for another language."""
    if language not in LANGUAGES:
        raise QuestionError(f"language is {language!r}, expected 'en' or 'zh'")
    return _TEXTS[kind][language].replace("{}", about)


PROMPTS: Mapping[PromptKind, Callable[[str, Language], str]] = {kind: partial(_prompt, kind) for kind in _TEXTS}
ask = PROMPTS["ask"]  # a question to be answered in a few words
locate = PROMPTS["locate"]  # all things that fit a description, as `bbox_2d` JSON
point = PROMPTS["point"]  # one visible point on each of them, as `point_2d` JSON
locate_3d = PROMPTS["locate_3d"]  # all of them, as `bbox_3d` JSON in the model's virtual camera
evidence = PROMPTS["evidence"]  # the objects that a question names, in the order of mention, as `bbox_2d` JSON
evidence_3d = PROMPTS["evidence_3d"]  # the same as `bbox_3d` JSON


def guess_language(text: str) -> Language:
    """`zh` if the text holds a Chinese character (CJK ideographs and their extensions), else `en`."""
    return "zh" if _CHINESE.search(text) else "en"
