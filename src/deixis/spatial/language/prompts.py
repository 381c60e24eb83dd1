"""The texts that Deixis sends with a picture, in English and Chinese.

Knows the wording alone. ``nano`` is trained on exactly these texts (``lab.questions`` imports them), so a changed
word here is a new training run. Does not know pictures, models or how answers are read.
"""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from deixis.errors import QuestionError

Language = Literal["en", "zh"]
PromptKind = Literal["ask", "locate", "point", "locate_3d", "evidence", "evidence_3d"]

LANGUAGES: tuple[Language, ...] = get_args(Language)


def ask(question: str, language: Language) -> str:
    """A question to be answered in a few words."""
    if _is_chinese(language):
        return f"{question}\n请用一个词、一个数或短语回答。"
    return f"{question}\nAnswer with a word, a number or a short phrase."


def locate(what: str, language: Language) -> str:
    """All things that ``what`` describes, as ``bbox_2d`` JSON."""
    if _is_chinese(language):
        return f"在图中找出所有的{what},以JSON格式输出bbox坐标。"
    return f"Locate every instance of: {what}. Report bbox coordinates in JSON format."


def point(what: str, language: Language) -> str:
    """One visible point on each thing that ``what`` describes, as ``point_2d`` JSON."""
    if _is_chinese(language):
        return f"指出图中所有的{what},以JSON格式输出点坐标。"
    return f"Point to every instance of: {what}. Report point coordinates in JSON format."


def locate_3d(what: str, language: Language) -> str:
    """All things that ``what`` describes, as ``bbox_3d`` JSON in the model's virtual camera."""
    if _is_chinese(language):
        return f"在图中找出所有的{what},以JSON格式输出3D边界框。"
    return f"Locate every instance of: {what}. Report 3D bounding boxes in JSON format."


def evidence(question: str, language: Language) -> str:
    """The objects that a question names, in the order of mention, as ``bbox_2d`` JSON."""
    if _is_chinese(language):
        return f"{question}\n找出这个问题提到的每个物体,以JSON格式输出bbox坐标。"
    return f"{question}\nLocate every object that this question names. Report bbox coordinates in JSON format."


def evidence_3d(question: str, language: Language) -> str:
    """The objects that a question names, in the order of mention, as ``bbox_3d`` JSON in the virtual camera."""
    if _is_chinese(language):
        return f"{question}\n找出这个问题提到的每个物体,以JSON格式输出3D边界框。"
    return f"{question}\nLocate every object that this question names. Report 3D bounding boxes in JSON format."


PROMPTS: Mapping[PromptKind, Callable[[str, Language], str]] = {
    "ask": ask,
    "locate": locate,
    "point": point,
    "locate_3d": locate_3d,
    "evidence": evidence,
    "evidence_3d": evidence_3d,
}


def guess_language(text: str) -> Language:
    """``zh`` if the text holds a Chinese character (CJK ideographs and their extensions), else ``en``."""
    for character in text:
        code = ord(character)
        if 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0x20000 <= code <= 0x323AF or 0xF900 <= code <= 0xFAFF:
            return "zh"
    return "en"


def _is_chinese(language: str) -> bool:
    if language == "zh":
        return True
    if language == "en":
        return False
    raise QuestionError(f"language is {language!r}, expected 'en' or 'zh'")
